//! Fetches the key set.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::back_channel::BackChannelClient;
use super::discovery::MetadataSource;
use super::error::FetchError;
use super::key_cache::CachedKeySet;
use super::key_set::{KeySet, lifetime};
use crate::clock::SharedClock;
use crate::random::Random;
use crate::telemetry::{self, LogLimits};

/// The longest interval between background refreshes that fail.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);

pub(super) type KeySetResult = Result<Arc<CachedKeySet>, FetchError>;

/// Fetches the key set of one issuer, from the location in its metadata.
#[derive(Debug)]
pub(super) struct KeyFetcher {
    issuer: String,
    metadata: Arc<MetadataSource>,
    channel: BackChannelClient,
    clock: SharedClock,
    random: Random,
    logs: LogLimits,
}

impl KeyFetcher {
    pub(super) fn new(
        issuer: String,
        metadata: Arc<MetadataSource>,
        channel: BackChannelClient,
        clock: SharedClock,
    ) -> Self {
        Self {
            issuer,
            metadata,
            channel,
            clock,
            random: Random::system(),
            logs: LogLimits::per_minute(),
        }
    }

    /// Fetches the key set once, and logs and counts the outcome. After a failure the metadata is fetched again too.
    pub(super) async fn fetch(&self, previous: Option<Arc<CachedKeySet>>) -> KeySetResult {
        let issuer = self.issuer.as_str();
        let span = tracing::debug_span!(target: "tower_oauth::issuer", "fetch_key_set", issuer);
        let outcome = self.request(previous).instrument(span).await;
        match &outcome {
            Ok(key_set) => {
                telemetry::KeyFetch::Success.count();
                tracing::debug!(
                    name: "key_set_fetched",
                    target: "tower_oauth::issuer",
                    issuer,
                    keys = key_set.keys.len(),
                    "fetched the key set"
                );
            }
            Err(error) => {
                telemetry::KeyFetch::Failure.count();
                let now = self.clock.monotonic();
                if self.logs.allows("key_fetch_failed", error.kind(), now) {
                    tracing::warn!(
                        name: "key_fetch_failed",
                        target: "tower_oauth::issuer",
                        issuer,
                        %error,
                        "failed to fetch the key set"
                    );
                } else {
                    tracing::debug!(
                        name: "key_fetch_failed_again",
                        target: "tower_oauth::issuer",
                        issuer,
                        %error,
                        "failed to fetch the key set"
                    );
                }
                self.metadata.mark_stale();
            }
        }
        outcome
    }

    /// Only a set that was parsed replaces the previous one, as a whole.
    async fn request(&self, previous: Option<Arc<CachedKeySet>>) -> KeySetResult {
        let metadata = self.metadata.refreshed().await?;
        let uri = metadata
            .jwks_uri()
            .ok_or(FetchError::Document("the metadata has no jwks_uri"))?;
        let response = self.channel.fetch_json(uri).await?;
        let (fetched_at, lifetime) = (self.clock.monotonic(), lifetime(response.headers()));
        // Jitter, so that processes that started together do not keep refreshing together.
        let refresh_after = lifetime.mul_f64(0.8 - 0.1 * self.random.fraction());
        let mut keys = KeySet::parse(response.body()).map_err(FetchError::Document)?;
        let generation = match previous {
            None => 1,
            Some(previous) if keys.reuse_keys_of(&previous.keys) => previous.generation,
            Some(previous) => previous.generation + 1,
        };
        Ok(Arc::new(CachedKeySet {
            keys,
            generation,
            fetched_at,
            lifetime,
            refresh_at: fetched_at + refresh_after,
        }))
    }
}

/// Returns 1, 2, 4 … 60 seconds, reduced by up to a tenth, so that many processes do not retry at the same time.
pub(super) fn backoff(failures: u32) -> Duration {
    let steps = failures.saturating_sub(1).min(6);
    let full = Duration::from_secs(1 << steps).min(MAX_BACKOFF);
    full.mul_f64(1.0 - 0.1 * Random::system().fraction())
}
