//! Fetches the key set, within a budget for unknown keys.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::back_channel::BackChannelClient;
use super::discovery::MetadataSource;
use super::fetch_error::FetchError;
use super::key_cache::CachedKeySet;
use super::key_set::{KeySet, MAX_KEYS, lifetime};
use crate::clock::{BothClocks, SharedClock};
use crate::random::Random;
use crate::telemetry::{self, LogLimits};

/// The longest interval between background refreshes that fail.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// RFC 7517 §8.5.2. Many servers use the type of JSON.
const KEY_SET_TYPES: &str = "application/jwk-set+json, application/json";

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
        let surplus_before = previous.as_ref().map_or(0, |set| set.keys.surplus());
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
                let surplus = key_set.keys.surplus();
                if surplus > surplus_before {
                    tracing::warn!(
                        name: "key_set_truncated",
                        target: "tower_oauth::issuer",
                        issuer,
                        used = MAX_KEYS,
                        ignored = surplus,
                        "the key set has more keys than are used; tokens signed with the others are rejected"
                    );
                }
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
        let uri = metadata.jwks_uri().ok_or_else(|| {
            FetchError::missing(
                metadata.why_unusable("jwks_uri"),
                "set the keys with `AuthorizationServer::with_keys`",
            )
        })?;
        let response = self.channel.fetch_json(uri, KEY_SET_TYPES).await?;
        let fetched_at = BothClocks::now(&*self.clock);
        let lifetime = lifetime(response.headers());
        // Jitter, so that processes that started together do not keep refreshing together.
        let refresh_age = lifetime.mul_f64(0.8 - 0.1 * self.random.fraction());
        let mut keys =
            KeySet::parse(response.body()).map_err(|reason| FetchError::unreadable(uri, reason))?;
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
            refresh_age,
        }))
    }
}

/// Returns 1, 2, 4 … 60 seconds, reduced by up to a tenth, so that many processes do not retry at the same time.
pub(super) fn backoff(failures: u32) -> Duration {
    let steps = failures.saturating_sub(1).min(6);
    let full = Duration::from_secs(1 << steps).min(MAX_BACKOFF);
    full.mul_f64(1.0 - 0.1 * Random::system().fraction())
}

/// The capacity of a bucket.
const BURST: u32 = 3;

/// The time in which a bucket gains one fetch.
const REFILL_INTERVAL: Duration = Duration::from_secs(30);

/// The budget that a fetch for an unknown key is counted against, by the origin of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchBudget {
    /// An access token in a request, from any caller.
    Request,
    /// A token that the authorization server sent over the back channel.
    BackChannel,
    /// A logout token in a request, from any caller.
    LogoutToken,
    /// An authorization response in a request of a browser with a login in progress.
    AuthorizationResponse,
    /// None: an authorization response in a request of any other caller. Only cached keys verify it.
    Empty,
}

/// A token bucket per budget, so that forged access tokens cannot exhaust the fetches that logins need, and forged
/// logout tokens or authorization responses those of neither.
#[derive(Debug)]
pub(super) struct Buckets {
    request: Bucket,
    back_channel: Bucket,
    logout_token: Bucket,
    authorization_response: Bucket,
}

impl Buckets {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            request: Bucket::new(now),
            back_channel: Bucket::new(now),
            logout_token: Bucket::new(now),
            authorization_response: Bucket::new(now),
        }
    }

    /// Takes one fetch from the bucket. Returns whether one was left.
    pub(super) fn take(&mut self, budget: FetchBudget, now: Duration) -> bool {
        match budget {
            FetchBudget::Request => self.request.take(now),
            FetchBudget::BackChannel => self.back_channel.take(now),
            FetchBudget::LogoutToken => self.logout_token.take(now),
            FetchBudget::AuthorizationResponse => self.authorization_response.take(now),
            FetchBudget::Empty => false,
        }
    }
}

/// A bucket of three fetches that gains one every 30 seconds.
///
/// The burst lets a key rotation be noticed immediately even if a forged key id has just caused a fetch.
#[derive(Debug)]
struct Bucket {
    left: u32,
    refilled_at: Duration,
}

impl Bucket {
    fn new(now: Duration) -> Self {
        Self {
            left: BURST,
            refilled_at: now,
        }
    }

    /// Takes one fetch from the bucket. Returns whether one was left.
    fn take(&mut self, now: Duration) -> bool {
        while self.left < BURST && now.saturating_sub(self.refilled_at) >= REFILL_INTERVAL {
            self.left += 1;
            self.refilled_at += REFILL_INTERVAL;
        }
        if self.left == BURST {
            self.refilled_at = now;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_three_then_one_each_thirty_seconds() {
        let mut bucket = Bucket::new(Duration::ZERO);
        let granted = (0..10_000_u64)
            .filter(|step| bucket.take(Duration::from_millis(step * 30)))
            .count();
        // Attempts over 300 seconds.
        assert_eq!(granted, 3 + 9);
    }
}
