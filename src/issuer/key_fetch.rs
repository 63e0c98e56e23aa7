//! How a key set comes to hand: the fetch itself, and the task that renews the set ahead of its end.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::Instrument as _;

use super::back_channel::FetchError;
use super::flight::lock;
use super::key_set::{KeySet, lifetime};
use super::key_source::{Failure, Held, KeySource, Outcome, State};
use crate::clock::within;
use crate::telemetry;

pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(60);

impl KeySource {
    pub(super) async fn attempt(self: Arc<Self>) -> Outcome {
        let issuer = self.issuer.as_str();
        let span = tracing::debug_span!(target: "tower_oauth::issuer", "fetch_key_set", issuer);
        let outcome = self.fetch().instrument(span).await;
        let now = self.clock.monotonic();
        match &outcome {
            Ok(held) => {
                telemetry::KeyFetch::Success.count();
                tracing::debug!(
                    name: "key_set_fetched",
                    target: "tower_oauth::issuer",
                    issuer = self.issuer,
                    keys = held.keys.len(),
                    "key set fetched"
                );
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(held));
                self.pulse.follow(held);
                let mut state = lock(&self.state);
                (state.failures, state.last_failure) = (0, None);
                self.keep_fresh(&mut state);
            }
            Err(error) => {
                telemetry::KeyFetch::Failure.count();
                let news = self.logs.allows("key_set_failed", error.kind(), now);
                if news {
                    tracing::warn!(
                        name: "key_set_failed",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "key set could not be fetched"
                    );
                } else {
                    tracing::debug!(
                        name: "key_set_failed_again",
                        target: "tower_oauth::issuer",
                        issuer = self.issuer,
                        %error,
                        "key set could not be fetched"
                    );
                }
                self.metadata.doubt();
                let mut state = lock(&self.state);
                state.failures = state.failures.saturating_add(1);
                state.last_failure = Some(Failure {
                    error: error.clone(),
                    at: now,
                    retry_at: now + self.backoff(state.failures),
                });
            }
        }
        outcome
    }

    /// The whole set replaces the one before, and only when it could be read (`J8`).
    async fn fetch(&self) -> Outcome {
        let metadata = match self.metadata.known() {
            Some((metadata, false)) => metadata,
            known => {
                let seat = self.metadata.read(&self.channel);
                let fresh = match seat {
                    Ok(seat) => seat.outcome().await.unwrap_or(Err(FetchError::Document(
                        "reading the metadata was torn down",
                    ))),
                    Err(error) => Err(error),
                };
                match (fresh, known) {
                    (Ok(metadata), _) | (Err(_), Some((metadata, _))) => metadata,
                    (Err(error), None) => return Err(error),
                }
            }
        };
        let uri = metadata
            .jwks_uri()
            .ok_or(FetchError::Document("the metadata names no jwks_uri"))?;
        let answer = self.channel.fetch_json(uri).await?;
        let (fetched_at, lifetime) = (self.clock.monotonic(), lifetime(answer.headers()));
        // Jitter, so that a fleet that started together does not ask together for ever.
        let early = lifetime.mul_f64(0.8 - 0.1 * self.random.fraction());
        let mut keys = KeySet::read(answer.body())?;
        let generation = match self.held() {
            None => 1,
            Some(before) if keys.take_over(&before.keys) => before.generation,
            Some(before) => before.generation + 1,
        };
        Ok(Arc::new(Held {
            keys,
            generation,
            fetched_at,
            lifetime,
            refresh_at: fetched_at + early,
        }))
    }

    /// A task that renews the set at four fifths of its life, and more often while that fails; it
    /// ends with the last handle of the server (`J11`).
    fn keep_fresh(self: &Arc<Self>, state: &mut State) {
        if state
            .refresher
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            self.renewed.notify_one();
            return;
        }
        let (source, clock) = (Arc::downgrade(self), Arc::clone(&self.clock));
        let renewed = Arc::clone(&self.renewed);
        state.refresher = Some(tokio::spawn(async move {
            while let Some(wait) = source.upgrade().map(|source| source.until_refresh()) {
                within(&*clock, wait, renewed.notified()).await;
                let Some(source) = source.upgrade() else {
                    return;
                };
                if source.until_refresh().is_zero() {
                    let seat = source
                        .flight
                        .join_or(|| Some(Arc::clone(&source).attempt()));
                    drop(source);
                    if let Some(seat) = seat {
                        seat.outcome().await;
                    }
                }
            }
        }));
    }

    fn until_refresh(&self) -> Duration {
        let now = self.clock.monotonic();
        let state = lock(&self.state);
        let due = match (&state.last_failure, self.held()) {
            (Some(failure), _) => failure.retry_at,
            (None, Some(held)) => held.refresh_at,
            (None, None) => now + MAX_BACKOFF,
        };
        due.saturating_sub(now)
    }

    /// 1, 2, 4 … 60 seconds, and up to a tenth less, so that a fleet does not come back as one (`J15`).
    fn backoff(&self, failures: u32) -> Duration {
        let steps = failures.saturating_sub(1).min(6);
        let full = Duration::from_secs(1 << steps).min(MAX_BACKOFF);
        full.mul_f64(1.0 - 0.1 * self.random.fraction())
    }
}
