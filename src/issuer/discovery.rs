//! Metadata discovery: fetches, validates and caches the metadata document.

use std::sync::Arc;
use std::time::Duration;

use super::back_channel::{BackChannelClient, TOTAL_TIMEOUT};
use super::error::{FetchError, Unavailable};
use crate::clock::{SharedClock, within};
use crate::protocol::Metadata;
use crate::single_flight::{SingleFlight, Waiter};
use crate::sync::Mutex;
use crate::telemetry::LogLimits;

/// After this time the next key fetch or login fetches the document again. The old one stays in use until that has
/// succeeded.
const METADATA_TTL: Duration = Duration::from_secs(3600);

/// How long a failure is returned to further callers while there is no metadata.
const FAILURE_TTL: Duration = Duration::from_millis(250);

type MetadataResult = Result<Arc<Metadata>, FetchError>;

/// The metadata of one issuer: configured, or discovered on first use.
#[derive(Debug)]
pub(super) struct MetadataSource {
    issuer: String,
    channel: BackChannelClient,
    clock: SharedClock,
    is_static: bool,
    state: Mutex<MetadataState>,
    flight: SingleFlight<(), MetadataResult>,
    logs: LogLimits,
}

#[derive(Debug)]
struct MetadataState {
    /// The metadata and the time from which it is due for a refresh.
    metadata: Option<(Arc<Metadata>, Duration)>,
    last_failure: Option<(FetchError, Duration)>,
}

impl MetadataSource {
    pub(super) fn new(
        issuer: String,
        channel: BackChannelClient,
        clock: SharedClock,
        configured: Option<Arc<Metadata>>,
    ) -> Self {
        let metadata = configured.map(|metadata| (metadata, Duration::MAX));
        Self {
            issuer,
            channel,
            clock,
            is_static: metadata.is_some(),
            state: Mutex::new(MetadataState {
                metadata,
                last_failure: None,
            }),
            flight: SingleFlight::default(),
            logs: LogLimits::per_minute(),
        }
    }

    /// Returns the cached metadata, even if it is due for a refresh, which then begins in the background. Waits for a
    /// fetch if there is none.
    pub(super) async fn available(self: &Arc<Self>) -> Result<Arc<Metadata>, Unavailable> {
        let cached = self.cached();
        if let Some((metadata, false)) = cached {
            return Ok(metadata);
        }
        let waiter = self.refresh();
        if let Some((metadata, _)) = cached {
            return Ok(metadata);
        }
        let outcome = within(&*self.clock, 2 * TOTAL_TIMEOUT, waiter?.outcome()).await;
        let timeout = || Unavailable::new("no response in time", Duration::from_secs(1));
        Ok(outcome.flatten().ok_or_else(timeout)??)
    }

    /// Returns the metadata for a key fetch: the cached one is used if it is due for a refresh that fails.
    pub(super) async fn refreshed(self: &Arc<Self>) -> MetadataResult {
        let cached = match self.cached() {
            Some((metadata, false)) => return Ok(metadata),
            cached => cached,
        };
        let canceled = FetchError::Document("the metadata fetch was canceled");
        let fresh = match self.refresh() {
            Ok(waiter) => waiter.outcome().await.unwrap_or(Err(canceled)),
            Err(error) => Err(error),
        };
        fresh.or_else(|error| cached.map(|(metadata, _)| metadata).ok_or(error))
    }

    /// Returns the cached metadata and whether it is due for a refresh.
    fn cached(&self) -> Option<(Arc<Metadata>, bool)> {
        let state = self.state.lock();
        let (metadata, due_at) = state.metadata.as_ref()?;
        Some((Arc::clone(metadata), self.clock.monotonic() >= *due_at))
    }

    /// Marks the metadata as due for a refresh, after a request to one of its endpoints failed.
    pub(super) fn mark_stale(&self) {
        if let (false, Some((_, due_at))) = (self.is_static, &mut self.state.lock().metadata) {
            *due_at = Duration::ZERO;
        }
    }

    /// Joins or begins the fetch of the document. Returns the error of the last fetch if it has just failed.
    fn refresh(self: &Arc<Self>) -> Result<Waiter<MetadataResult>, FetchError> {
        self.flight.join((), |_| {
            let now = self.clock.monotonic();
            match &self.state.lock().last_failure {
                Some((error, at)) if now.saturating_sub(*at) < FAILURE_TTL => Err(error.clone()),
                _ => Ok(Arc::clone(self).attempt()),
            }
        })
    }

    async fn attempt(self: Arc<Self>) -> MetadataResult {
        let outcome = self.fetch().await.map(Arc::new);
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        match &outcome {
            Ok(metadata) => {
                state.metadata = Some((Arc::clone(metadata), now + METADATA_TTL));
                state.last_failure = None;
            }
            Err(error) => {
                if self.logs.allows("metadata_fetch_failed", error.kind(), now) {
                    tracing::warn!(
                        name: "metadata_fetch_failed",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "failed to fetch the metadata"
                    );
                } else {
                    tracing::debug!(
                        name: "metadata_fetch_failed_again",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "failed to fetch the metadata"
                    );
                }
                state.last_failure = Some((error.clone(), now));
            }
        }
        outcome
    }

    /// Fetches the document from the location of OpenID Connect Discovery §4. If the server has none there, from that
    /// of RFC 8414 §3.
    async fn fetch(&self) -> Result<Metadata, FetchError> {
        let issuer = self.issuer.trim_end_matches('/');
        let openid = format!("{issuer}/.well-known/openid-configuration");
        let response = match self.channel.fetch_json(&openid).await {
            Err(FetchError::Status(status)) if status.is_client_error() => {
                self.channel.fetch_json(&well_known_url(issuer)).await?
            }
            other => other?,
        };
        let metadata = Metadata::parse(response.body())
            .map_err(|_| FetchError::Document("the response is not a metadata document"))?;
        self.check(&metadata)?;
        Ok(metadata)
    }

    fn check(&self, metadata: &Metadata) -> Result<(), FetchError> {
        // RFC 8414 §3.3: the issuer is compared byte for byte. Otherwise another server could impersonate this one.
        if metadata.issuer() != self.issuer {
            return Err(FetchError::Document("the metadata is of another issuer"));
        }
        if metadata
            .endpoints()
            .any(|(_, url)| !self.channel.allows(url))
        {
            return Err(FetchError::Document(
                "the metadata has an endpoint that is not https",
            ));
        }
        Ok(())
    }
}

/// Returns the metadata URL of RFC 8414 §3.1, with the well-known part between host and path.
fn well_known_url(issuer: &str) -> String {
    const NAME: &str = "/.well-known/oauth-authorization-server";
    let host = issuer.find("://").map_or(0, |at| at + 3);
    match issuer[host..].find('/') {
        Some(path) => format!("{}{NAME}{}", &issuer[..host + path], &issuer[host + path..]),
        None => format!("{issuer}{NAME}"),
    }
}
