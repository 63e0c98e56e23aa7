//! Metadata discovery: fetches, validates and caches the metadata document.

use std::sync::Arc;
use std::time::Duration;

use super::back_channel::{BackChannelClient, TOTAL_TIMEOUT};
use super::error::Unavailable;
use super::fetch_error::FetchError;
use super::settings::Settings;
use crate::clock::{BothClocks, SharedClock, within};
use crate::protocol::Metadata;
use crate::protocol::sanitize::log_safe;
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
    revocation_endpoint: Option<String>,
    state: Mutex<MetadataState>,
    flight: SingleFlight<(), MetadataResult>,
    logs: LogLimits,
}

#[derive(Debug)]
struct MetadataState {
    /// The metadata and when it was fetched, or `None` if it is due for a refresh anyway.
    metadata: Option<(Arc<Metadata>, Option<BothClocks>)>,
    last_failure: Option<(FetchError, Duration)>,
    /// The address that is configured, or had the document before.
    address: Option<String>,
}

impl MetadataSource {
    pub(super) fn new(settings: &Settings) -> Self {
        let configured = settings.static_metadata.clone();
        let mut source = Self {
            issuer: settings.issuer.clone(),
            channel: settings.channel.clone(),
            clock: Arc::clone(&settings.clock),
            is_static: configured.is_some(),
            revocation_endpoint: settings.revocation_endpoint.clone(),
            state: Mutex::new(MetadataState {
                metadata: None,
                last_failure: None,
                address: settings.metadata_url.clone(),
            }),
            flight: SingleFlight::default(),
            logs: LogLimits::per_minute(),
        };
        let metadata = configured.map(|metadata| Arc::new(source.with_configured(metadata)));
        source.state.get_mut().metadata = metadata.map(|metadata| (metadata, None));
        source
    }

    /// Replaces the endpoints that are configured.
    fn with_configured(&self, metadata: Metadata) -> Metadata {
        match &self.revocation_endpoint {
            Some(url) => metadata.with_revocation_endpoint(url.as_str()),
            None => metadata,
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
        let timeout = || {
            Unavailable::new(
                "the metadata was not fetched in time",
                Duration::from_secs(1),
            )
        };
        Ok(outcome.flatten().ok_or_else(timeout)??)
    }

    /// Returns the metadata for a key fetch: the cached one is used if it is due for a refresh that fails.
    pub(super) async fn refreshed(self: &Arc<Self>) -> MetadataResult {
        let cached = match self.cached() {
            Some((metadata, false)) => return Ok(metadata),
            cached => cached,
        };
        let fresh = match self.refresh() {
            Ok(waiter) => waiter
                .outcome()
                .await
                .unwrap_or_else(|| Err(FetchError::canceled())),
            Err(error) => Err(error),
        };
        fresh.or_else(|error| cached.map(|(metadata, _)| metadata).ok_or(error))
    }

    /// Returns the cached metadata and whether it is due for a refresh.
    pub(super) fn cached(&self) -> Option<(Arc<Metadata>, bool)> {
        let state = self.state.lock();
        let (metadata, fetched_at) = state.metadata.as_ref()?;
        let now = BothClocks::now(&*self.clock);
        let is_due = fetched_at.is_none_or(|fetched_at| fetched_at.age(now) >= METADATA_TTL);
        Some((Arc::clone(metadata), is_due && !self.is_static))
    }

    /// Marks the metadata as due for a refresh, after a request to one of its endpoints failed.
    pub(super) fn mark_stale(&self) {
        if let Some((_, fetched_at)) = &mut self.state.lock().metadata {
            *fetched_at = None;
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
        let outcome = self.fetch().await;
        let outcome = outcome.map(|metadata| Arc::new(self.with_configured(metadata)));
        let fetched_at = BothClocks::now(&*self.clock);
        let now = fetched_at.monotonic;
        let mut state = self.state.lock();
        match &outcome {
            Ok(metadata) => {
                let previous = state.metadata.as_ref().map(|(previous, _)| &**previous);
                log_malformed(metadata, previous);
                state.metadata = Some((Arc::clone(metadata), Some(fetched_at)));
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

    /// Fetches the document from the address that had it before. At first it is that of OpenID Connect Discovery §4 or,
    /// if the server has no document of this issuer there, that of RFC 8414 §3.
    async fn fetch(&self) -> Result<Metadata, FetchError> {
        let known = self.state.lock().address.clone();
        let addresses = known.map_or_else(|| self.addresses(), |known| vec![known]);
        let mut failures = Vec::new();
        for address in addresses {
            match self.fetch_from(&address).await {
                Ok(metadata) => {
                    self.state.lock().address = Some(address);
                    return Ok(metadata);
                }
                Err(error) => failures.push(error),
            }
            if !failures.last().is_some_and(FetchError::is_response) {
                break;
            }
        }
        Err(FetchError::of_all(
            &failures,
            "check the issuer, or set the address of the metadata with \
             `AuthorizationServer::with_metadata_url`",
        ))
    }

    fn addresses(&self) -> Vec<String> {
        let issuer = self.issuer.trim_end_matches('/');
        let openid = format!("{issuer}/.well-known/openid-configuration");
        vec![openid, well_known_url(issuer)]
    }

    async fn fetch_from(&self, url: &str) -> Result<Metadata, FetchError> {
        let response = self.channel.fetch_json(url, "application/json").await?;
        let mut metadata = Metadata::parse(response.body())
            .map_err(|_| FetchError::unreadable(url, "the response is not a metadata document"))?;
        // RFC 8414 §3.3: the issuer is compared byte for byte. Otherwise another server could impersonate this one.
        if metadata.issuer() != self.issuer {
            let (found, expected) = (log_safe(metadata.issuer()), &self.issuer);
            return Err(FetchError::configuration(
                url,
                "another_issuer",
                format_args!("the metadata is of another issuer: {found}, expected {expected:?}"),
                "pass the issuer that the server publishes to `AuthorizationServer::new`",
            ));
        }
        // An endpoint that is not https fails the use that needs it, and no other.
        metadata.retain_endpoints(|url| self.channel.allows(url));
        Ok(metadata)
    }
}

/// Logs the members that are not used because of their values, once each.
pub(super) fn log_malformed(metadata: &Metadata, previous: Option<&Metadata>) {
    let known = previous.map_or(&[][..], Metadata::malformed);
    for member in metadata.malformed() {
        if !known.contains(member) {
            tracing::warn!(
                name: "metadata_member_ignored",
                target: "tower_oauth::issuer",
                issuer = metadata.issuer(),
                member = member.name,
                error = %member,
                "ignored a malformed member of the metadata; what needs it fails"
            );
        }
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
