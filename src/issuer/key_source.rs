//! The cached key set of an authorization server.
//!
//! Concurrent requests share one fetch. The set is refreshed before it expires, kept during an outage, and fetched
//! again for an unknown key id.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::back_channel::{BackChannelClient, FetchError};
use super::discovery::MetadataSource;
use super::fetch_budget::{Buckets, FetchBudget};
use super::health::{Health, KeySetHealth};
use super::key_fetch::MAX_BACKOFF;
use super::key_set::{KeySet, MIN_LIFETIME, SelectedKey, Selection};
use super::key_status::KeySetEpoch;
use super::server::Unavailable;
use super::single_flight::{SingleFlight, lock};
use crate::clock::{Now, SharedClock, within};
use crate::crypto::Algorithm;
use crate::random::Random;
use crate::telemetry::LogLimits;
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

pub(super) type KeySetResult = Result<Arc<CachedKeySet>, FetchError>;

/// The error of selecting the key for a token.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key set has no such key")]
    Unknown,
    #[error("the key is not for this algorithm")]
    Unfit,
    #[error("several keys match")]
    Ambiguous,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Debug)]
pub(super) struct KeySource {
    pub(super) issuer: String,
    pub(super) metadata: Arc<MetadataSource>,
    pub(super) channel: BackChannelClient,
    pub(super) clock: SharedClock,
    pub(super) outage_limit: Duration,
    pub(super) random: Random,
    pub(super) cached: RwLock<Option<Arc<CachedKeySet>>>,
    pub(super) epoch: KeySetEpoch,
    pub(super) state: Mutex<KeySourceState>,
    pub(super) flight: SingleFlight<KeySetResult>,
    /// Wakes the background task: the lifetime of a new set may be shorter than that of the previous one.
    pub(super) refreshed: Arc<Notify>,
    pub(super) logs: LogLimits,
}

#[derive(Debug)]
pub(super) struct CachedKeySet {
    pub(super) keys: KeySet,
    /// Incremented, from 1, whenever a fetched set has other keys than the previous one.
    pub(super) generation: u64,
    pub(super) fetched_at: Duration,
    pub(super) lifetime: Duration,
    pub(super) refresh_at: Duration,
}

#[derive(Debug)]
pub(super) struct KeySourceState {
    pub(super) buckets: Buckets,
    pub(super) failures: u32,
    pub(super) last_failure: Option<FetchFailure>,
    pub(super) refresher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct FetchFailure {
    pub(super) error: FetchError,
    pub(super) at: Duration,
    /// When the background task tries again.
    pub(super) retry_at: Duration,
}

impl KeySource {
    pub(super) fn new(
        issuer: String,
        metadata: Arc<MetadataSource>,
        channel: BackChannelClient,
        clock: SharedClock,
        outage_limit: Duration,
    ) -> Self {
        let state = KeySourceState {
            buckets: Buckets::new(clock.monotonic()),
            failures: 0,
            last_failure: None,
            refresher: None,
        };
        Self {
            issuer,
            metadata,
            channel,
            clock,
            outage_limit,
            random: Random::system(),
            cached: RwLock::new(None),
            epoch: KeySetEpoch::default(),
            state: Mutex::new(state),
            flight: SingleFlight::default(),
            refreshed: Arc::default(),
            logs: LogLimits::per_minute(),
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
    ) -> Verification<Result<SelectedKey, KeyError>> {
        let key_set = self.current(now.monotonic(&self.clock));
        if let Some(result) =
            key_set.and_then(|key_set| resolve(key_set.keys.select(key_id, algorithm)))
        {
            return Verification::Ready(result);
        }
        let (source, key_id) = (Arc::clone(self), key_id.map(str::to_owned));
        Verification::pending(async move {
            let fetched = source.key_after_fetch(key_id.as_deref(), algorithm, budget);
            if let Some(result) = within(&*source.clock, WAIT_TIMEOUT, fetched).await {
                return result;
            }
            // If the refresh takes too long, the stale key set is used.
            let stale = source
                .usable(source.clock.monotonic())
                .and_then(|key_set| resolve(key_set.keys.select(key_id.as_deref(), algorithm)));
            stale.unwrap_or_else(|| Err(source.unavailable("no response in time").into()))
        })
    }

    async fn key_after_fetch(
        self: &Arc<Self>,
        key_id: Option<&str>,
        algorithm: Algorithm,
        budget: FetchBudget,
    ) -> Result<SelectedKey, KeyError> {
        let now = self.clock.monotonic();
        let key_set = match self.usable(now) {
            Some(key_set) if !self.is_overdue(&key_set, now) => key_set,
            stale => match (self.refresh().await, stale) {
                (Ok(key_set), _) | (Err(_), Some(key_set)) => key_set,
                (Err(error), None) => return Err(self.unavailable(&error.to_string()).into()),
            },
        };
        if let Some(result) = resolve(key_set.keys.select(key_id, algorithm)) {
            return result;
        }
        // A fetch that was in flight already may have read the set before the key was published, so another one
        // follows it.
        loop {
            let Some(waiter) = self.flight.join_or(|| self.unknown_key_attempt(budget)) else {
                return Err(self.error_without_fetch());
            };
            let has_started = waiter.has_started();
            let key_set = match waiter.outcome().await {
                Some(Ok(key_set)) => key_set,
                Some(Err(error)) => return Err(self.unavailable(&error.to_string()).into()),
                None => return Err(self.unavailable("the fetch was canceled").into()),
            };
            match resolve(key_set.keys.select(key_id, algorithm)) {
                Some(result) => return result,
                None if has_started => return Err(KeyError::Unknown),
                None => {}
            }
        }
    }

    /// Begins a fetch for an unknown key id, unless its budget is exhausted.
    fn unknown_key_attempt(
        self: &Arc<Self>,
        budget: FetchBudget,
    ) -> Option<impl Future<Output = KeySetResult> + Send + use<>> {
        let now = self.clock.monotonic();
        let is_allowed = lock(&self.state).buckets.take(budget, now);
        is_allowed.then(|| Arc::clone(self).attempt())
    }

    /// Returns the error for an unknown key if the budget is exhausted: the key does not exist if the set is recent.
    /// Otherwise it is not known whether it exists.
    fn error_without_fetch(&self) -> KeyError {
        let now = self.clock.monotonic();
        match self.usable(now) {
            Some(key_set) if now.saturating_sub(key_set.fetched_at) < UNKNOWN_KEY_TTL => {
                KeyError::Unknown
            }
            _ => self.unavailable("too many unknown keys").into(),
        }
    }

    /// Waits for the fetch in flight, or for a new one.
    pub(super) async fn refresh(self: &Arc<Self>) -> KeySetResult {
        // A fetch may have completed since the caller looked at the cache. Then there must not be a second one.
        let is_fresh = |key_set: &Arc<CachedKeySet>| {
            self.clock.monotonic().saturating_sub(key_set.fetched_at) < key_set.lifetime
        };
        let completed = || self.cached().filter(is_fresh);
        let start = || match completed() {
            Some(_) => None,
            None => self.attempt_unless_just_failed(),
        };
        let Some(waiter) = self.flight.join_or(start) else {
            if let Some(key_set) = completed() {
                return Ok(key_set);
            }
            let state = lock(&self.state);
            let failure = state
                .last_failure
                .as_ref()
                .map(|failure| failure.error.clone());
            return Err(failure.unwrap_or(FetchError::Document("no attempt was made")));
        };
        waiter
            .outcome()
            .await
            .unwrap_or(Err(FetchError::Document("the fetch was canceled")))
    }

    fn attempt_unless_just_failed(
        self: &Arc<Self>,
    ) -> Option<impl Future<Output = KeySetResult> + Send + use<>> {
        let now = self.clock.monotonic();
        let has_just_failed = lock(&self.state)
            .last_failure
            .as_ref()
            .is_some_and(|failure| now.saturating_sub(failure.at) < FAILURE_TTL);
        (!has_just_failed).then(|| Arc::clone(self).attempt())
    }

    pub(super) fn cached(&self) -> Option<Arc<CachedKeySet>> {
        self.cached
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the cached set if requests may use it without waiting for a refresh.
    pub(super) fn current(&self, now: Duration) -> Option<Arc<CachedKeySet>> {
        let key_set = self.usable(now)?;
        (!self.is_overdue(&key_set, now)).then_some(key_set)
    }

    /// Returns the cached set unless it is past the outage limit.
    fn usable(&self, now: Duration) -> Option<Arc<CachedKeySet>> {
        let key_set = self.cached()?;
        let age = now.saturating_sub(key_set.fetched_at);
        (age < key_set.lifetime + self.outage_limit).then_some(key_set)
    }

    /// Returns whether a set is past its lifetime although no refresh failed: the background task did not run, for
    /// example because the machine was suspended. A key may have been withdrawn in the meantime, so requests
    /// wait for a refresh.
    fn is_overdue(&self, key_set: &CachedKeySet, now: Duration) -> bool {
        let age = now.saturating_sub(key_set.fetched_at);
        age >= key_set.lifetime && lock(&self.state).last_failure.is_none()
    }

    fn unavailable(&self, reason: &str) -> Unavailable {
        Unavailable::new(reason, Duration::from_secs(1))
    }

    pub(super) fn health(&self) -> Health {
        let keys = match self.cached() {
            None => KeySetHealth::Empty,
            Some(key_set) => {
                let age = self.clock.monotonic().saturating_sub(key_set.fetched_at);
                if age < key_set.lifetime {
                    KeySetHealth::Fresh { age }
                } else if age < key_set.lifetime + self.outage_limit {
                    KeySetHealth::Stale { age }
                } else {
                    KeySetHealth::Expired { age }
                }
            }
        };
        let state = lock(&self.state);
        let last_error = state
            .last_failure
            .as_ref()
            .map(|failure| failure.error.to_string());
        Health {
            keys,
            failures: state.failures,
            last_error,
        }
    }
}

/// Converts a selection into a result. Returns `None` if a newer key set could have the key.
pub(super) fn resolve(selection: Selection) -> Option<Result<SelectedKey, KeyError>> {
    match selection {
        Selection::Found(key) => Some(Ok(key)),
        Selection::Unfit => Some(Err(KeyError::Unfit)),
        Selection::Ambiguous => Some(Err(KeyError::Ambiguous)),
        Selection::Unknown => None,
    }
}
