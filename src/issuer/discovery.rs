//! Metadata discovery: fetches, validates and caches the metadata document.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::back_channel::{BackChannelClient, FetchError};
use super::single_flight::{SingleFlight, Waiter, lock};
use crate::clock::SharedClock;
use crate::protocol::Metadata;
use crate::telemetry::LogLimits;

/// After this time the next key fetch or login fetches the document again. The old one stays in use until that has
/// succeeded.
const METADATA_TTL: Duration = Duration::from_secs(3600);

/// How long a failure is returned to further callers while there is no metadata.
const FAILURE_TTL: Duration = Duration::from_millis(250);

pub(super) type MetadataResult = Result<Arc<Metadata>, FetchError>;

/// The metadata of one issuer: configured, or discovered on first use.
#[derive(Debug)]
pub(super) struct MetadataSource {
    issuer: String,
    clock: SharedClock,
    is_static: bool,
    state: Mutex<MetadataState>,
    flight: SingleFlight<MetadataResult>,
    logs: LogLimits,
}

#[derive(Debug, Default)]
struct MetadataState {
    /// The metadata and the time from which it is due for a refresh.
    metadata: Option<(Arc<Metadata>, Duration)>,
    last_failure: Option<(FetchError, Duration)>,
}

impl MetadataSource {
    pub(super) fn new(
        issuer: String,
        clock: SharedClock,
        configured: Option<Arc<Metadata>>,
    ) -> Self {
        let metadata = configured.map(|metadata| (metadata, Duration::MAX));
        Self {
            issuer,
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

    /// Returns the cached metadata and whether it is due for a refresh.
    pub(super) fn cached(&self) -> Option<(Arc<Metadata>, bool)> {
        let state = lock(&self.state);
        let (metadata, due_at) = state.metadata.as_ref()?;
        Some((Arc::clone(metadata), self.clock.monotonic() >= *due_at))
    }

    /// Marks the metadata as due for a refresh, after a request to one of its endpoints failed.
    pub(super) fn mark_stale(&self) {
        if let (false, Some((_, due_at))) = (self.is_static, lock(&self.state).metadata.as_mut()) {
            *due_at = Duration::ZERO;
        }
    }

    /// Joins or begins the fetch of the document. Returns the error of the last fetch if it has just failed.
    pub(super) fn refresh(
        self: &Arc<Self>,
        channel: &BackChannelClient,
    ) -> Result<Waiter<MetadataResult>, FetchError> {
        let start = || {
            let (source, channel) = (Arc::clone(self), channel.clone());
            let now = self.clock.monotonic();
            let has_just_failed = lock(&self.state)
                .last_failure
                .as_ref()
                .is_some_and(|(_, at)| now.saturating_sub(*at) < FAILURE_TTL);
            (!has_just_failed).then_some(async move { source.attempt(&channel).await })
        };
        self.flight.join_or(start).ok_or_else(|| {
            let state = lock(&self.state);
            let failure = state.last_failure.as_ref().map(|(error, _)| error.clone());
            failure.unwrap_or(FetchError::Document("the metadata could not be fetched"))
        })
    }

    async fn attempt(&self, channel: &BackChannelClient) -> MetadataResult {
        let outcome = self.fetch(channel).await.map(Arc::new);
        let now = self.clock.monotonic();
        let mut state = lock(&self.state);
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
    async fn fetch(&self, channel: &BackChannelClient) -> Result<Metadata, FetchError> {
        let issuer = self.issuer.trim_end_matches('/');
        let openid = format!("{issuer}/.well-known/openid-configuration");
        let response = match channel.fetch_json(&openid).await {
            Err(FetchError::Status(status)) if status.is_client_error() => {
                channel.fetch_json(&well_known_url(issuer)).await?
            }
            other => other?,
        };
        let metadata = Metadata::parse(response.body())
            .map_err(|_| FetchError::Document("the response is not a metadata document"))?;
        self.check(&metadata, channel)?;
        Ok(metadata)
    }

    fn check(&self, metadata: &Metadata, channel: &BackChannelClient) -> Result<(), FetchError> {
        // RFC 8414 §3.3: the issuer is compared byte for byte. Otherwise another server could impersonate this one.
        if metadata.issuer() != self.issuer {
            return Err(FetchError::Document("the metadata is of another issuer"));
        }
        if metadata.endpoints().any(|(_, url)| !channel.allows(url)) {
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
