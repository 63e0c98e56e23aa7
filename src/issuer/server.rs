//! The handle of an authorization server.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::back_channel::{BackChannel, BackChannelError, TOTAL_TIMEOUT, is_loopback};
use super::discovery::MetadataSource;
use super::fetch_budget::FetchBudget;
use super::health::{Health, KeySetHealth};
use super::key_set::SelectedKey;
use super::key_source::{KeyError, KeySource};
use super::key_status::{KeyRef, KeyStatus};
use super::static_keys::StaticKeys;
use crate::ConfigError;
use crate::clock::{Clock, SharedClock, SystemClock, within};
use crate::crypto::Algorithm;
use crate::protocol::Metadata;

/// How long an outage may last before keys are no longer believed.
const OUTAGE_LIMIT: Duration = Duration::from_secs(3600);
const MAX_OUTAGE_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// An authorization server, known by its issuer identifier.
///
/// One for each issuer, cheap to clone, shared by all layers. Nothing is fetched here: metadata
/// (OpenID Connect Discovery, or [RFC 8414]) and keys come when a request needs them, are fetched once
/// for all who wait, renewed ahead of their end, and kept for an hour while the server is away. While
/// nothing is known yet, requests get 503 with `Retry-After`, and that mends itself.
///
/// Fetches run in tasks of their own: use it within a Tokio runtime.
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
    channel: BackChannel,
    given: Option<Arc<Metadata>>,
    given_keys: Option<StaticKeys>,
    outage_limit: Duration,
}

/// The authorization server could not be asked, so nothing can be said yet. Not the caller's fault.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the authorization server is unavailable: {reason}")]
pub struct Unavailable {
    reason: Arc<str>,
    retry_after: Duration,
}

impl Unavailable {
    pub(crate) fn new(reason: &str, retry_after: Duration) -> Self {
        Self {
            reason: reason.into(),
            retry_after,
        }
    }

    /// When it is worth asking again.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl AuthorizationServer {
    /// The server with this issuer identifier, compared byte for byte with `iss` everywhere
    /// ([RFC 8414 §2](https://www.rfc-editor.org/rfc/rfc8414#section-2)).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] unless it is an https URL without query, fragment and user name; http
    /// is accepted for a loopback host, for development.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        let refuse = |reason| {
            Err(ConfigError::Issuer {
                value: issuer.to_owned(),
                reason,
            })
        };
        let Ok(url) = url::Url::parse(issuer) else {
            return refuse("it is not a URL");
        };
        let plain_http = match url.scheme() {
            "https" => false,
            "http" if is_loopback(&url) => true,
            _ => return refuse("it must be https, or http on a loopback host"),
        };
        if issuer.contains(['?', '#']) || !url.username().is_empty() || url.password().is_some() {
            return refuse("it must have no query, no fragment and no user name");
        }
        // The URL reader above forgives much that would not be the same text in `iss` and on the wire:
        // missing or turned slashes, spaces, letters that are not ASCII.
        let in_full = issuer.parse::<http::Uri>().is_ok_and(|uri| {
            let host = uri.authority().map_or("@", |one| one.as_str());
            uri.scheme().is_some() && !host.contains('@')
        });
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if !in_full || !issuer.bytes().all(plain) {
            return refuse("it must be written out in full, in ASCII and without backslash");
        }
        let clock: SharedClock = Arc::new(SystemClock);
        Ok(Self::from_settings(Settings {
            issuer: issuer.to_owned(),
            channel: BackChannel::new(Arc::clone(&clock), plain_http),
            clock,
            given: None,
            given_keys: None,
            outage_limit: OUTAGE_LIMIT,
        }))
    }

    fn from_settings(settings: Settings) -> Self {
        let metadata = Arc::new(MetadataSource::new(
            settings.issuer.clone(),
            Arc::clone(&settings.clock),
            settings.given.clone(),
        ));
        let keys = Arc::new(KeySource::new(
            settings.issuer.clone(),
            Arc::clone(&metadata),
            settings.channel.clone(),
            Arc::clone(&settings.clock),
            settings.outage_limit,
        ));
        Self {
            settings,
            metadata,
            keys,
        }
    }

    /// Sends every request to the authorization server through this service: for a proxy, client
    /// certificates, retries or a recorder.
    ///
    /// Whatever it does, an answer must come within 5 seconds and have at most 1 MiB, and URLs must be
    /// https unless the issuer itself is on loopback. It should not follow redirects.
    ///
    /// If nothing of a request was sent, let the error be [`BackChannelError::NotSent`] or have it as a source:
    /// introspection pauses only then, and a refresh is known not to have happened. Close pooled connections
    /// that were idle for 15 seconds, and use new ones after a timeout.
    ///
    /// Like every setting here, call it before layers are made from the server: what was fetched so
    /// far is forgotten.
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

    /// Reads time from this clock; layers made from the server read the same one.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self.settings.channel = self
            .settings
            .channel
            .with_clock(Arc::clone(&self.settings.clock));
        Self::from_settings(self.settings)
    }

    /// Uses metadata given by hand instead of discovering it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] where it is of another issuer, [`ConfigError::Url`] where an endpoint
    /// is not https (or http, for an issuer on loopback).
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
                reason: "it must be https, without user name and fragment",
            });
        }
        self.settings.given = Some(Arc::new(metadata));
        Ok(Self::from_settings(self.settings))
    }

    /// Verifies with these keys instead of those the server publishes, which is then never asked for
    /// them: not by a layer, not by [`ready`](Self::ready), not in the background.
    ///
    /// For tests, and for networks without a way to the authorization server.
    #[must_use]
    pub fn with_keys(mut self, keys: StaticKeys) -> Self {
        self.settings.given_keys = Some(keys);
        Self::from_settings(self.settings)
    }

    /// Sets how long keys are used past their life while the server cannot be reached: 1 hour unless
    /// said otherwise, zero to stop at once. After it, requests get 503.
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

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Fetches metadata and keys now, for an application that wants to know before it serves.
    ///
    /// One attempt: call it again to try again. Layers work without it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where the attempt failed.
    pub async fn ready(&self) -> Result<(), Unavailable> {
        if self.health().is_ready() {
            return Ok(());
        }
        let failed =
            |error: &dyn fmt::Display| Unavailable::new(&error.to_string(), Duration::from_secs(1));
        self.keys
            .renew()
            .await
            .map(|_| ())
            .map_err(|error| failed(&error))
    }

    /// What is known of the server at this moment, for a readiness probe. No I/O.
    pub fn health(&self) -> Health {
        match &self.settings.given_keys {
            Some(_) => Health {
                keys: KeySetHealth::Given,
                failures: 0,
                last_error: None,
            },
            None => self.keys.health(),
        }
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.settings.clock
    }

    /// The metadata: what is held, even where it is time to read it again, or what one shared attempt
    /// brings.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, Unavailable> {
        let failed = |reason: &str| Unavailable::new(reason, Duration::from_secs(1));
        let known = self.metadata.known();
        if let Some((metadata, false)) = known {
            return Ok(metadata);
        }
        let seat = self.metadata.read(&self.settings.channel);
        if let Some((metadata, _)) = known {
            return Ok(metadata);
        }
        let seat = seat.map_err(|error| failed(&error.to_string()))?;
        let outcome = within(&**self.clock(), 2 * TOTAL_TIMEOUT, seat.outcome()).await;
        match outcome.flatten() {
            Some(outcome) => outcome.map_err(|error| failed(&error.to_string())),
            None => Err(failed("no answer in time")),
        }
    }

    /// Whether requests to this URL are sent at all.
    pub(crate) fn allows(&self, url: &str) -> bool {
        self.settings.channel.allows(url)
    }

    /// A request over the back channel, answered with whatever status.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BackChannelError> {
        self.settings.channel.send(request).await
    }

    pub(crate) fn cached_key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<Result<SelectedKey, KeyError>> {
        match &self.settings.given_keys {
            Some(keys) => Some(keys.key(key_id, algorithm)),
            None => self.keys.cached_key(key_id, algorithm),
        }
    }

    /// Whether a key that vouched for a token still does.
    pub(crate) fn key_status(&self, voucher: &KeyRef) -> KeyStatus {
        match &self.settings.given_keys {
            // What was given by hand never changes.
            Some(_) => KeyStatus::Current,
            None => self.keys.key_status(voucher),
        }
    }

    pub(crate) async fn key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
        source: FetchBudget,
    ) -> Result<SelectedKey, KeyError> {
        match &self.settings.given_keys {
            Some(keys) => keys.key(key_id, algorithm),
            None => self.keys.key(key_id, algorithm, source).await,
        }
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
