//! Fetches the key set, and refreshes it in the background before it expires.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::Instrument as _;

use super::back_channel::FetchError;
use super::key_set::{KeySet, lifetime};
use super::key_source::{CachedKeySet, FetchFailure, KeySetResult, KeySource, KeySourceState};
use super::single_flight::lock;
use crate::clock::within;
use crate::telemetry;

/// The longest interval between background refreshes that fail.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);

impl KeySource {
    /// Fetches the key set once and records the outcome.
    pub(super) async fn attempt(self: Arc<Self>) -> KeySetResult {
        let issuer = self.issuer.as_str();
        let span = tracing::debug_span!(target: "tower_oauth::issuer", "fetch_key_set", issuer);
        let outcome = self.fetch().instrument(span).await;
        let now = self.clock.monotonic();
        match &outcome {
            Ok(key_set) => {
                telemetry::KeyFetch::Success.count();
                tracing::debug!(
                    name: "key_set_fetched",
                    target: "tower_oauth::issuer",
                    issuer = self.issuer,
                    keys = key_set.keys.len(),
                    "fetched the key set"
                );
                *self.cached.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Arc::clone(key_set));
                self.epoch.store(key_set);
                let mut state = lock(&self.state);
                (state.failures, state.last_failure) = (0, None);
                self.refresh_in_background(&mut state);
            }
            Err(error) => {
                telemetry::KeyFetch::Failure.count();
                if self.logs.allows("key_fetch_failed", error.kind(), now) {
                    tracing::warn!(
                        name: "key_fetch_failed",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "failed to fetch the key set"
                    );
                } else {
                    tracing::debug!(
                        name: "key_fetch_failed_again",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "failed to fetch the key set"
                    );
                }
                self.metadata.mark_stale();
                let mut state = lock(&self.state);
                state.failures = state.failures.saturating_add(1);
                state.last_failure = Some(FetchFailure {
                    error: error.clone(),
                    at: now,
                    retry_at: now + self.backoff(state.failures),
                });
            }
        }
        outcome
    }

    /// Fetches the key set. Only a set that was parsed replaces the cached one, as a whole.
    async fn fetch(&self) -> KeySetResult {
        let metadata = match self.metadata.cached() {
            Some((metadata, false)) => metadata,
            cached => {
                let fresh = match self.metadata.refresh(&self.channel) {
                    Ok(waiter) => waiter
                        .outcome()
                        .await
                        .unwrap_or(Err(FetchError::Document("the metadata fetch was canceled"))),
                    Err(error) => Err(error),
                };
                match (fresh, cached) {
                    (Ok(metadata), _) | (Err(_), Some((metadata, _))) => metadata,
                    (Err(error), None) => return Err(error),
                }
            }
        };
        let uri = metadata
            .jwks_uri()
            .ok_or(FetchError::Document("the metadata has no jwks_uri"))?;
        let response = self.channel.fetch_json(uri).await?;
        let (fetched_at, lifetime) = (self.clock.monotonic(), lifetime(response.headers()));
        // Jitter, so that processes that started together do not keep refreshing together.
        let refresh_after = lifetime.mul_f64(0.8 - 0.1 * self.random.fraction());
        let mut keys = KeySet::read(response.body())?;
        let generation = match self.cached() {
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

    /// Starts the task that refreshes the set after about three quarters of its lifetime, and with back-off while
    /// that fails. The task ends with the last handle of the server.
    fn refresh_in_background(self: &Arc<Self>, state: &mut KeySourceState) {
        if state
            .refresher
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            self.refreshed.notify_one();
            return;
        }
        let (source, clock) = (Arc::downgrade(self), Arc::clone(&self.clock));
        let refreshed = Arc::clone(&self.refreshed);
        state.refresher = Some(tokio::spawn(async move {
            while let Some(wait) = source.upgrade().map(|source| source.until_refresh()) {
                within(&*clock, wait, refreshed.notified()).await;
                let Some(source) = source.upgrade() else {
                    return;
                };
                if source.until_refresh().is_zero() {
                    let waiter = source
                        .flight
                        .join_or(|| Some(Arc::clone(&source).attempt()));
                    drop(source);
                    if let Some(waiter) = waiter {
                        waiter.outcome().await;
                    }
                }
            }
        }));
    }

    fn until_refresh(&self) -> Duration {
        let now = self.clock.monotonic();
        let state = lock(&self.state);
        let due_at = match (&state.last_failure, self.cached()) {
            (Some(failure), _) => failure.retry_at,
            (None, Some(key_set)) => key_set.refresh_at,
            (None, None) => now + MAX_BACKOFF,
        };
        due_at.saturating_sub(now)
    }

    /// Returns 1, 2, 4 … 60 seconds, reduced by up to a tenth, so that many processes do not retry at the same time.
    fn backoff(&self, failures: u32) -> Duration {
        let steps = failures.saturating_sub(1).min(6);
        let full = Duration::from_secs(1 << steps).min(MAX_BACKOFF);
        full.mul_f64(1.0 - 0.1 * self.random.fraction())
    }
}
