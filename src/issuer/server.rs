//! [`AuthorizationServer`], the handle of an authorization server.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use super::back_channel::{HttpPolicy, check_issuer};
use super::discovery::MetadataSource;
use super::error::{BackChannelError, KeyError, Unavailable};
use super::health::{Health, KeySetHealth};
use super::key_fetch::{FetchBudget, KeyFetcher};
use super::key_ref::KeyRef;
use super::key_set::{KeyCandidates, SelectedKey};
use super::key_source::KeySource;
use super::settings::Settings;
use crate::ConfigError;
use crate::clock::{Now, SharedClock};
use crate::crypto::Algorithm;
use crate::protocol::Metadata;
use crate::verification::Verification;

/// Discovers and caches the metadata and keys of an authorization server, which its issuer identifies.
///
/// Create one per issuer and pass it to all layers; cloning is cheap, and clones share one cache. Constructors perform
/// no I/O. Metadata (OpenID Connect Discovery, or [RFC 8414]) and signing keys are fetched on first use, cached,
/// refreshed in the background and kept for up to an hour if the server is unreachable. Concurrent requests share one
/// fetch. Until the first fetch succeeds, requests are rejected with 503 and `Retry-After`.
///
/// Fetches run in their own tasks, so it must be used within a Tokio runtime.
///
/// ```
/// use tower_oauth::AuthorizationServer;
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// assert_eq!(server.issuer(), "https://id.example.com");
/// assert!(AuthorizationServer::new("http://id.example.com").is_err());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
#[derive(Clone)]
pub struct AuthorizationServer {
    pub(super) settings: Settings,
    metadata: Arc<MetadataSource>,
    keys: Arc<KeySource>,
}

impl AuthorizationServer {
    /// Creates the handle of the server with this issuer identifier, which is compared byte for byte with `iss`
    /// ([RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] unless the issuer is an https URL without query, fragment and user name. For
    /// development, http is accepted for a loopback address and for `localhost`.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        let http = check_issuer(issuer, false).map_err(|reason| invalid(issuer, reason))?;
        Ok(Self::from_settings(Settings::new(issuer, http)))
    }

    /// Creates the handle of a server whose issuer may be an http URL of any host, for containers and service meshes:
    /// `http://keycloak:8080/realms/shop`.
    ///
    /// **Insecure.** An attacker on the path to the authorization server can replace its keys and forge any token, and
    /// reads client secrets. The constructor logs a warning that says so.
    ///
    /// If the issuer is http, endpoints may be http too. An https issuer still accepts only https endpoints. Redirect
    /// URIs and cookies are not affected, and the metadata must still be of this issuer.
    ///
    /// ```
    /// use tower_oauth::AuthorizationServer;
    ///
    /// // Browsers and tokens use the first name, containers the second one.
    /// let server = AuthorizationServer::new_with_insecure_http("http://localhost:8080/realms/shop")?
    ///     .with_metadata_url("http://keycloak:8080/realms/shop/.well-known/openid-configuration")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] unless the issuer is an https or http URL without query, fragment and user name.
    pub fn new_with_insecure_http(issuer: &str) -> Result<Self, ConfigError> {
        let http = check_issuer(issuer, true).map_err(|reason| invalid(issuer, reason))?;
        if http == HttpPolicy::AnyHost {
            tracing::warn!(
                name: "insecure_http",
                target: "tower_oauth::issuer",
                issuer,
                "requests to the authorization server are not encrypted: an attacker on the path can forge tokens"
            );
        }
        Ok(Self::from_settings(Settings::new(issuer, http)))
    }

    /// Creates the handle of a server from metadata that is configured and never fetched. The issuer may be any string,
    /// for servers whose tokens have an `iss` that is not an https URL, such as AD FS and Kubernetes.
    ///
    /// Endpoints must be https. With [`with_keys`](Self::with_keys) no endpoint is necessary to validate JWTs.
    ///
    /// ```
    /// use tower_oauth::AuthorizationServer;
    /// use tower_oauth::protocol::Metadata;
    ///
    /// let metadata = Metadata::new("http://adfs.example.com/adfs/services/trust")
    ///     .with_jwks_uri("https://adfs.example.com/adfs/discovery/keys");
    /// let server = AuthorizationServer::from_metadata(metadata)?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if the issuer is empty, [`ConfigError::Url`] if an endpoint is not https.
    pub fn from_metadata(metadata: Metadata) -> Result<Self, ConfigError> {
        let issuer = metadata.issuer().to_owned();
        if issuer.is_empty() || issuer.chars().any(char::is_control) {
            let reason = "it must not be empty or contain control characters";
            return Err(invalid(&issuer, reason));
        }
        let http = check_issuer(&issuer, false).unwrap_or(HttpPolicy::Never);
        Self::from_settings(Settings::new(&issuer, http)).with_metadata(metadata)
    }

    pub(super) fn from_settings(settings: Settings) -> Self {
        let metadata = Arc::new(MetadataSource::new(&settings));
        let fetcher = KeyFetcher::new(
            settings.issuer.clone(),
            Arc::clone(&metadata),
            settings.channel.clone(),
            Arc::clone(&settings.clock),
        );
        let clock = Arc::clone(&settings.clock);
        let keys = Arc::new(KeySource::new(fetcher, clock, settings.outage_limit));
        Self {
            settings,
            metadata,
            keys,
        }
    }

    /// Returns the issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Fetches metadata and keys now, so that an application can check them before it serves requests.
    ///
    /// Makes one attempt and does not retry. Calling it is optional.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the attempt failed.
    pub async fn ready(&self) -> Result<(), Unavailable> {
        if self.health().is_ready() {
            return Ok(());
        }
        self.keys.refresh().await?;
        Ok(())
    }

    /// Returns the state of the cached keys, for a readiness probe. Performs no I/O.
    pub fn health(&self) -> Health {
        match &self.settings.static_keys {
            Some(_) => Health {
                keys: KeySetHealth::Static,
                failures: 0,
                last_error: None,
            },
            None => self.keys.health(),
        }
    }

    /// Returns whether this is another handle of the same server: issuer, metadata address, back channel and the other
    /// settings are the same, and nothing is configured instead of fetched.
    pub(crate) fn may_take_over(&self, previous: &Self) -> bool {
        !Arc::ptr_eq(&self.keys, &previous.keys) && self.settings.fetches_as(&previous.settings)
    }

    /// Uses the cached metadata and keys of `previous`.
    pub(crate) fn take_over(&mut self, previous: &Self) {
        self.metadata = Arc::clone(&previous.metadata);
        self.keys = Arc::clone(&previous.keys);
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.settings.clock
    }

    /// Returns the cached metadata, even if it is due for a refresh, which then begins in the background. Waits for a
    /// fetch if there is none.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, Unavailable> {
        self.metadata.available().await
    }

    /// Returns whether an algorithm is one of those that the cached metadata lists for ID tokens, if it lists any (OpenID
    /// Connect Discovery §3).
    pub(crate) fn may_sign_id_tokens_with(&self, algorithm: Algorithm) -> bool {
        let metadata = self.metadata.cached();
        let listed = metadata
            .as_ref()
            .and_then(|(metadata, _)| metadata.id_token_signing_alg_values_supported());
        listed.is_none_or(|names| {
            names
                .iter()
                .any(|name| Algorithm::from_name(name) == Some(algorithm))
        })
    }

    /// Returns whether requests may be sent to this URL.
    pub(crate) fn allows(&self, url: &str) -> bool {
        self.settings.channel.allows(url)
    }

    /// Sends a request over the back channel and returns the response, whatever its status.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BackChannelError> {
        self.settings.channel.send(request).await
    }

    /// Returns the key for a token: immediately if it is cached, else after a fetch that `budget` allows.
    pub(crate) fn key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
        budget: FetchBudget,
        now: &Now<'_>,
    ) -> Verification<Result<KeyCandidates, KeyError>> {
        match &self.settings.static_keys {
            Some(keys) => Verification::Ready(keys.key(key_id, algorithm)),
            None => self.keys.key(key_id, algorithm, budget, now),
        }
    }

    /// Fetches the key set in the background, within limits, after a signature did not verify with these keys.
    pub(crate) fn recheck(&self, keys: &KeyCandidates) {
        if self.settings.static_keys.is_none() {
            self.keys.recheck(keys);
        }
    }

    /// Creates a reference to a key that verified a token.
    pub(crate) fn key_ref(&self, key: SelectedKey) -> KeyRef {
        let is_configured = self.settings.static_keys.is_some();
        KeyRef::new(key, (!is_configured).then(|| Arc::clone(&self.keys)))
    }
}

fn invalid(issuer: &str, reason: &'static str) -> ConfigError {
    ConfigError::Issuer {
        value: issuer.to_owned(),
        reason,
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("issuer", &self.settings.issuer)
            .field("keys", &self.health().keys)
            .finish_non_exhaustive()
    }
}
