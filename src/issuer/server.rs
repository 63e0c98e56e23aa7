//! [`AuthorizationServer`], the handle of an authorization server.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::back_channel::{BackChannelClient, BackChannelService, check_issuer};
use super::discovery::MetadataSource;
use super::error::{BackChannelError, KeyError, Unavailable};
use super::health::{Health, KeySetHealth};
use super::key_fetch::FetchBudget;
use super::key_fetch::KeyFetcher;
use super::key_ref::KeyRef;
use super::key_set::SelectedKey;
use super::key_source::KeySource;
use super::static_keys::StaticKeys;
use crate::ConfigError;
use crate::clock::{Clock, Now, SharedClock, system_clock};
use crate::crypto::Algorithm;
use crate::protocol::Metadata;
use crate::verification::Verification;

/// How long keys are used beyond their lifetime while the server is unreachable.
const DEFAULT_OUTAGE_LIMIT: Duration = Duration::from_secs(3600);
const MAX_OUTAGE_LIMIT: Duration = Duration::from_secs(24 * 3600);

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
    settings: Settings,
    metadata: Arc<MetadataSource>,
    keys: Arc<KeySource>,
}

#[derive(Clone)]
struct Settings {
    issuer: String,
    clock: SharedClock,
    channel: BackChannelClient,
    static_metadata: Option<Arc<Metadata>>,
    static_keys: Option<StaticKeys>,
    outage_limit: Duration,
}

impl AuthorizationServer {
    /// Creates the handle of the server with this issuer identifier, which is compared byte for byte with `iss`
    /// ([RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] unless the issuer is an https URL without query, fragment and user name. For
    /// development, http is accepted for a loopback host.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        let allows_http = check_issuer(issuer).map_err(|reason| ConfigError::Issuer {
            value: issuer.to_owned(),
            reason,
        })?;
        let clock = system_clock();
        Ok(Self::from_settings(Settings {
            issuer: issuer.to_owned(),
            channel: BackChannelClient::new(default_service(), Arc::clone(&clock), allows_http),
            clock,
            static_metadata: None,
            static_keys: None,
            outage_limit: DEFAULT_OUTAGE_LIMIT,
        }))
    }

    fn from_settings(settings: Settings) -> Self {
        let (issuer, channel) = (settings.issuer.clone(), settings.channel.clone());
        let clock = Arc::clone(&settings.clock);
        let metadata = settings.static_metadata.clone();
        let metadata = Arc::new(MetadataSource::new(issuer, channel, clock, metadata));
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

    /// Sends all requests to the authorization server through `service`: for a proxy, client certificates, retries or
    /// a recorder.
    ///
    /// The limits still apply: a response must arrive within 5 seconds and have at most 1 MiB, and URLs must be https
    /// unless the issuer is on loopback. The service should not follow redirects.
    ///
    /// If nothing of a request was sent, return [`BackChannelError::NotSent`], or an error that has it as a source:
    /// introspection pauses only after this error, and a refresh token is then known to be unused. Close pooled
    /// connections that were idle for 15 seconds, and open new ones after a timeout.
    ///
    /// Call this and the other `with_` methods before creating layers: the returned handle has an empty cache.
    #[must_use]
    pub fn with_back_channel<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        self.settings.channel = self.settings.channel.with_service(service);
        Self::from_settings(self.settings)
    }

    /// Sets the clock of the server and of the layers created from it.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self.settings.channel = self
            .settings
            .channel
            .with_clock(Arc::clone(&self.settings.clock));
        Self::from_settings(self.settings)
    }

    /// Sets the metadata instead of discovering it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if the metadata is of another issuer, [`ConfigError::Url`] if an endpoint is not https
    /// (or http, for an issuer on loopback).
    pub fn with_metadata(mut self, metadata: Metadata) -> Result<Self, ConfigError> {
        if metadata.issuer() != self.settings.issuer {
            return Err(ConfigError::Issuer {
                value: metadata.issuer().to_owned(),
                reason: "the metadata is of another issuer",
            });
        }
        if let Some((setting, url)) = metadata
            .endpoints()
            .find(|(_, url)| !self.settings.channel.allows(url))
        {
            return Err(ConfigError::Url {
                setting,
                value: url.to_owned(),
                reason: "it must be https, without a user name or a fragment",
            });
        }
        self.settings.static_metadata = Some(Arc::new(metadata));
        Ok(Self::from_settings(self.settings))
    }

    /// Sets the signing keys instead of fetching the key set, which is then never fetched: not by a layer, not by
    /// [`ready`](Self::ready), not in the background.
    ///
    /// For tests, and for networks without access to the authorization server.
    #[must_use]
    pub fn with_keys(mut self, keys: StaticKeys) -> Self {
        self.settings.static_keys = Some(keys);
        Self::from_settings(self.settings)
    }

    /// Sets how long keys are used beyond their lifetime while the server is unreachable: 1 hour by default. With zero
    /// they are not. After that time requests are rejected with 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for more than 24 hours.
    pub fn with_outage_limit(mut self, limit: Duration) -> Result<Self, ConfigError> {
        if limit > MAX_OUTAGE_LIMIT {
            return Err(ConfigError::Setting {
                setting: "outage limit",
                value: format!("{limit:?}"),
                reason: "it must be at most 24 hours",
            });
        }
        self.settings.outage_limit = limit;
        Ok(Self::from_settings(self.settings))
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

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.settings.clock
    }

    /// Returns the cached metadata, even if it is due for a refresh, which then begins in the background. Waits for a
    /// fetch if there is none.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, Unavailable> {
        self.metadata.available().await
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
    ) -> Verification<Result<SelectedKey, KeyError>> {
        match &self.settings.static_keys {
            Some(keys) => Verification::Ready(keys.key(key_id, algorithm)),
            None => self.keys.key(key_id, algorithm, budget, now),
        }
    }

    /// Creates a reference to a key that verified a token.
    pub(crate) fn key_ref(&self, key: SelectedKey) -> KeyRef {
        let is_configured = self.settings.static_keys.is_some();
        KeyRef::new(key, (!is_configured).then(|| Arc::clone(&self.keys)))
    }
}

#[cfg(feature = "reqwest")]
fn default_service() -> Option<BackChannelService> {
    Some(super::reqwest::service())
}

#[cfg(not(feature = "reqwest"))]
fn default_service() -> Option<BackChannelService> {
    None
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer")
            .field("issuer", &self.settings.issuer)
            .field("keys", &self.health().keys)
            .finish_non_exhaustive()
    }
}
