//! The key set of an authorization server.
//!
//! Concurrent requests share one fetch. The set is refreshed before it expires, kept during an outage, and fetched
//! again for an unknown key id.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::error::{KeyError, Unavailable};
use super::fetch_error::FetchError;
use super::health::{Health, KeySetHealth};
use super::key_cache::{CachedKeySet, KeyCache};
use super::key_fetch::{Buckets, FetchBudget};
use super::key_fetch::{KeyFetcher, KeySetResult, MAX_BACKOFF, backoff};
use super::key_recheck::Rechecks;
use super::key_set::{KeyCandidates, MIN_LIFETIME};
use crate::clock::{BothClocks, Now, SharedClock, within};
use crate::crypto::Algorithm;
use crate::single_flight::SingleFlight;
use crate::sync::Mutex;
use crate::verification::Verification;

/// How long a request waits for a fetch. The fetch itself continues.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a failed fetch is not repeated for requests, while none is cached.
const FAILURE_TTL: Duration = Duration::from_millis(250);

/// How long a fetched key set proves that a key does not exist, if no further fetch is allowed.
const UNKNOWN_KEY_TTL: Duration = Duration::from_secs(30);

/// No delay is longer than the shortest lifetime of a key set, so that none outlasts the set it is about.
const _: () = assert!(
    UNKNOWN_KEY_TTL.as_secs() <= MIN_LIFETIME.as_secs()
        && MAX_BACKOFF.as_secs() <= MIN_LIFETIME.as_secs()
        && FAILURE_TTL.as_secs() < WAIT_TIMEOUT.as_secs()
);

#[derive(Debug)]
pub(super) struct KeySource {
    fetcher: KeyFetcher,
    pub(super) clock: SharedClock,
    outage_limit: Duration,
    pub(super) cache: KeyCache,
    state: Mutex<KeySourceState>,
    flight: SingleFlight<(), KeySetResult>,
    /// Wakes the background task: the lifetime of a new set may be shorter than that of the previous one.
    refreshed: Arc<Notify>,
}

#[derive(Debug)]
struct KeySourceState {
    buckets: Buckets,
    rechecks: Rechecks,
    failures: u32,
    last_failure: Option<FetchFailure>,
    refresher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct FetchFailure {
    error: FetchError,
    at: Duration,
    /// When the background task tries again.
    retry_at: Duration,
}

impl KeySource {
    pub(super) fn new(fetcher: KeyFetcher, clock: SharedClock, outage_limit: Duration) -> Self {
        let state = KeySourceState {
            buckets: Buckets::new(clock.monotonic()),
            rechecks: Rechecks::default(),
            failures: 0,
            last_failure: None,
            refresher: None,
        };
        Self {
            fetcher,
            clock,
            outage_limit,
            cache: KeyCache::default(),
            state: Mutex::new(state),
            flight: SingleFlight::default(),
            refreshed: Arc::default(),
        }
    }

    /// Returns the key for a token. A cached key never waits for a refresh; otherwise the fetch is waited for at most 2
    /// seconds.
    pub(super) fn key(
        self: &Arc<Self>,
        key_id: Option<&str>,
        algorithm: Algorithm,
        budget: FetchBudget,
        now: &Now<'_>,
    ) -> Verification<Result<KeyCandidates, KeyError>> {
        let key_set = self.current(now.both(&self.clock));
        if let Some(result) = key_set.and_then(|key_set| key_set.keys.key(key_id, algorithm)) {
            return Verification::Ready(result);
        }
        let (source, key_id) = (Arc::clone(self), key_id.map(str::to_owned));
        Verification::pending(async move {
            let fetched = source.key_after_fetch(key_id.as_deref(), algorithm, budget);
            if let Some(result) = within(&*source.clock, WAIT_TIMEOUT, fetched).await {
                return result;
            }
            // If the refresh takes too long, the stale key set is used.
            let stale = source.usable(source.now());
            let stale = stale.and_then(|key_set| key_set.keys.key(key_id.as_deref(), algorithm));
            stale.unwrap_or_else(|| Err(unavailable("no response in time")))
        })
    }

    async fn key_after_fetch(
        self: &Arc<Self>,
        key_id: Option<&str>,
        algorithm: Algorithm,
        budget: FetchBudget,
    ) -> Result<KeyCandidates, KeyError> {
        let now = self.now();
        let key_set = match self.usable(now) {
            Some(key_set) if !self.is_overdue(&key_set, now) => key_set,
            stale => match (self.refresh().await, stale) {
                (Ok(key_set), _) | (Err(_), Some(key_set)) => key_set,
                (Err(error), None) => return Err(Unavailable::from(error).into()),
            },
        };
        if let Some(result) = key_set.keys.key(key_id, algorithm) {
            return result;
        }
        // A fetch that was in flight already may have read the set before the key was published, so another one
        // follows it.
        loop {
            let start = |_| {
                let now = self.now();
                let is_allowed = self.state.lock().buckets.take(budget, now.monotonic);
                match is_allowed {
                    true => Ok(Arc::clone(self).attempt()),
                    false if budget == FetchBudget::Empty => Err(KeyError::Unknown),
                    false => Err(self.error_without_fetch(now)),
                }
            };
            let waiter = self.flight.join((), start)?;
            let has_started = waiter.has_started();
            let key_set = match waiter.outcome().await {
                Some(outcome) => outcome.map_err(Unavailable::from)?,
                None => return Err(unavailable("the fetch was canceled")),
            };
            match key_set.keys.key(key_id, algorithm) {
                Some(result) => return result,
                None if has_started => return Err(KeyError::Unknown),
                None => {}
            }
        }
    }

    /// Returns the error for an unknown key if the budget is exhausted: the key does not exist if the set is recent.
    /// Otherwise it is not known whether it exists.
    fn error_without_fetch(&self, now: BothClocks) -> KeyError {
        match self.usable(now) {
            Some(key_set) if key_set.age(now) < UNKNOWN_KEY_TTL => KeyError::Unknown,
            _ => unavailable("too many unknown keys"),
        }
    }

    /// Waits for the fetch in flight, or for a new one.
    pub(super) async fn refresh(self: &Arc<Self>) -> KeySetResult {
        let start = |_| {
            let now = self.now();
            // A fetch may have completed since the caller looked at the cache. Then there must not be a second one.
            if let Some(key_set) = self.cache.get().filter(|key_set| key_set.is_fresh(now)) {
                return Err(Ok(key_set));
            }
            match &self.state.lock().last_failure {
                Some(failure) if now.monotonic.saturating_sub(failure.at) < FAILURE_TTL => {
                    Err(Err(failure.error.clone()))
                }
                _ => Ok(Arc::clone(self).attempt()),
            }
        };
        match self.flight.join((), start) {
            Ok(waiter) => waiter
                .outcome()
                .await
                .unwrap_or_else(|| Err(FetchError::canceled())),
            Err(known) => known,
        }
    }

    /// Fetches the key set in the background, within limits, after a signature did not verify with any of these keys: one
    /// may have been replaced under the same `kid`. The token must otherwise be one of this issuer for its recipient.
    pub(super) fn recheck(self: &Arc<Self>, keys: &KeyCandidates) {
        let Some(key_set) = self.cache.get() else {
            return;
        };
        let mut is_allowed = false;
        for key in keys.iter() {
            let (now, mut state) = (self.clock.monotonic(), self.state.lock());
            is_allowed |= state.rechecks.allow(key, key_set.lifetime, now);
        }
        if is_allowed {
            let start = |_| Ok::<_, Infallible>(Arc::clone(self).attempt());
            let Ok(_continues) = self.flight.join((), start);
        }
    }

    /// Fetches the key set once and records the outcome.
    async fn attempt(self: Arc<Self>) -> KeySetResult {
        let outcome = self.fetcher.fetch(self.cache.get()).await;
        match &outcome {
            Ok(key_set) => {
                self.cache.store(key_set);
                let mut state = self.state.lock();
                (state.failures, state.last_failure) = (0, None);
                self.refresh_in_background(&mut state);
            }
            Err(error) => {
                let now = self.clock.monotonic();
                let mut state = self.state.lock();
                state.failures = state.failures.saturating_add(1);
                state.last_failure = Some(FetchFailure {
                    error: error.clone(),
                    at: now,
                    retry_at: now + backoff(state.failures),
                });
            }
        }
        outcome
    }

    /// Starts the task that refreshes the set after about three quarters of its lifetime, and with back-off while
    /// that fails. The task ends with the last handle of the server.
    fn refresh_in_background(self: &Arc<Self>, state: &mut KeySourceState) {
        let refresher = state.refresher.as_ref();
        if refresher.is_some_and(|task| !task.is_finished()) {
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
                    let start = |_| Ok::<_, Infallible>(Arc::clone(&source).attempt());
                    let Ok(waiter) = source.flight.join((), start);
                    drop(source);
                    waiter.outcome().await;
                }
            }
        }));
    }

    fn until_refresh(&self) -> Duration {
        let now = self.now();
        match (&self.state.lock().last_failure, self.cache.get()) {
            (Some(failure), _) => failure.retry_at.saturating_sub(now.monotonic),
            (None, Some(key_set)) => key_set.refresh_age.saturating_sub(key_set.age(now)),
            (None, None) => MAX_BACKOFF,
        }
    }

    fn now(&self) -> BothClocks {
        BothClocks::now(&*self.clock)
    }

    /// Returns the cached set if requests may use it without waiting for a refresh.
    pub(super) fn current(&self, now: BothClocks) -> Option<Arc<CachedKeySet>> {
        let key_set = self.usable(now)?;
        (!self.is_overdue(&key_set, now)).then_some(key_set)
    }

    /// Returns the cached set unless it is past the outage limit.
    fn usable(&self, now: BothClocks) -> Option<Arc<CachedKeySet>> {
        let key_set = self.cache.get()?;
        (key_set.age(now) < key_set.lifetime + self.outage_limit).then_some(key_set)
    }

    /// Returns whether a set is past its lifetime although no refresh failed: the background task did not run, for
    /// example because the machine was suspended. A key may have been withdrawn in the meantime, so requests
    /// wait for a refresh.
    fn is_overdue(&self, key_set: &CachedKeySet, now: BothClocks) -> bool {
        !key_set.is_fresh(now) && self.state.lock().last_failure.is_none()
    }

    pub(super) fn health(&self) -> Health {
        let now = self.now();
        let key_set = self.cache.get();
        let state = self.state.lock();
        let last_error = state.last_failure.as_ref();
        Health {
            keys: key_set.map_or(KeySetHealth::Empty, |key_set| {
                key_set.health(now, self.outage_limit)
            }),
            failures: state.failures,
            last_error: last_error.map(|failure| failure.error.to_string()),
        }
    }
}

fn unavailable(reason: &str) -> KeyError {
    Unavailable::new(reason, Duration::from_secs(1)).into()
}
