//! The metadata document: where it is, whether it can be believed, and how long.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::back_channel::{BackChannel, FetchError};
use super::flight::{Flight, Seat, lock};
use crate::clock::SharedClock;
use crate::protocol::Metadata;
use crate::telemetry::LogLimits;

/// After this, the next fetch of keys or the next login reads the document again; until that has
/// worked, the old one stays in use.
const LIFETIME: Duration = Duration::from_secs(3600);

/// While there is none, those who ask share one attempt in this time.
const RETRY: Duration = Duration::from_millis(250);

pub(super) type Outcome = Result<Arc<Metadata>, FetchError>;

/// The metadata of one issuer: given by hand, or discovered when first needed.
#[derive(Debug)]
pub(super) struct MetadataSource {
    issuer: String,
    clock: SharedClock,
    given: bool,
    held: Mutex<Held>,
    flight: Flight<Outcome>,
    logs: LogLimits,
}

#[derive(Debug, Default)]
struct Held {
    /// With the moment from which it is time to read it again.
    metadata: Option<(Arc<Metadata>, Duration)>,
    last_failure: Option<(FetchError, Duration)>,
}

impl MetadataSource {
    pub(super) fn new(issuer: String, clock: SharedClock, given: Option<Arc<Metadata>>) -> Self {
        let metadata = given.map(|metadata| (metadata, Duration::MAX));
        Self {
            issuer,
            clock,
            given: metadata.is_some(),
            held: Mutex::new(Held {
                metadata,
                last_failure: None,
            }),
            flight: Flight::default(),
            logs: LogLimits::per_minute(),
        }
    }

    /// What is known, and whether it is time to read it again.
    pub(super) fn known(&self) -> Option<(Arc<Metadata>, bool)> {
        let held = lock(&self.held);
        let (metadata, due) = held.metadata.as_ref()?;
        Some((Arc::clone(metadata), self.clock.monotonic() >= *due))
    }

    /// Has the document read again at the next occasion, since an endpoint in it has failed.
    pub(super) fn doubt(&self) {
        if let (false, Some((_, due))) = (self.given, lock(&self.held).metadata.as_mut()) {
            *due = Duration::ZERO;
        }
    }

    /// A seat in the one attempt to read the document, or the error of one just failed.
    pub(super) fn read(
        self: &Arc<Self>,
        channel: &BackChannel,
    ) -> Result<Seat<Outcome>, FetchError> {
        let start = || {
            let (source, channel) = (Arc::clone(self), channel.clone());
            let now = self.clock.monotonic();
            let waiting = lock(&self.held)
                .last_failure
                .as_ref()
                .is_some_and(|(_, at)| now.saturating_sub(*at) < RETRY);
            (!waiting).then_some(async move { source.attempt(&channel).await })
        };
        self.flight.join_or(start).ok_or_else(|| {
            let held = lock(&self.held);
            let failure = held.last_failure.as_ref().map(|(error, _)| error.clone());
            failure.unwrap_or(FetchError::Document("the metadata could not be read"))
        })
    }

    async fn attempt(&self, channel: &BackChannel) -> Outcome {
        let outcome = self.fetch(channel).await.map(Arc::new);
        let now = self.clock.monotonic();
        let mut held = lock(&self.held);
        match &outcome {
            Ok(metadata) => {
                held.metadata = Some((Arc::clone(metadata), now + LIFETIME));
                held.last_failure = None;
            }
            Err(error) => {
                if self.logs.allows("metadata_failed", error.kind(), now) {
                    tracing::warn!(
                        name: "metadata_failed",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "metadata could not be read"
                    );
                } else {
                    tracing::debug!(
                        name: "metadata_failed_again",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "metadata could not be read"
                    );
                }
                held.last_failure = Some((error.clone(), now));
            }
        }
        outcome
    }

    /// OpenID Connect Discovery §4 first; a server without it is asked by RFC 8414 §3.
    async fn fetch(&self, channel: &BackChannel) -> Result<Metadata, FetchError> {
        let issuer = self.issuer.trim_end_matches('/');
        let openid = format!("{issuer}/.well-known/openid-configuration");
        let answer = match channel.fetch_json(&openid).await {
            Err(FetchError::Status(status)) if status.is_client_error() => {
                channel.fetch_json(&well_known(issuer)).await?
            }
            other => other?,
        };
        let metadata = Metadata::parse(answer.body())
            .map_err(|_| FetchError::Document("the metadata is not a metadata document"))?;
        self.check(&metadata, channel)?;
        Ok(metadata)
    }

    fn check(&self, metadata: &Metadata, channel: &BackChannel) -> Result<(), FetchError> {
        // RFC 8414 §3.3: byte for byte, or another server could speak for this one (`J20`).
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

/// The well-known part goes between host and path (RFC 8414 §3.1).
fn well_known(issuer: &str) -> String {
    const NAME: &str = "/.well-known/oauth-authorization-server";
    let host = issuer.find("://").map_or(0, |at| at + 3);
    match issuer[host..].find('/') {
        Some(path) => format!("{}{NAME}{}", &issuer[..host + path], &issuer[host + path..]),
        None => format!("{issuer}{NAME}"),
    }
}
