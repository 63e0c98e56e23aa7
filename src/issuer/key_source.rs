//! The engine that keeps a key set at hand: fetched once for all who wait, refreshed ahead of its end,
//! kept through an outage, and asked again for a key id it does not have.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::back_channel::{BackChannel, FetchError};
use super::discovery::MetadataSource;
use super::fetch_budget::{Buckets, FetchBudget};
use super::flight::{Flight, lock};
use super::health::{Health, KeySetHealth};
use super::key_fetch::MAX_BACKOFF;
use super::key_set::{KeySet, MIN_LIFETIME, SelectedKey, Selection};
use super::key_status::KeySetEpoch;
use super::server::Unavailable;
use crate::clock::{SharedClock, within};
use crate::crypto::Algorithm;
use crate::random::Random;
use crate::telemetry::LogLimits;

/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(2);

/// While no set is held, requests share one attempt in this time.
const RETRY: Duration = Duration::from_millis(250);

/// For so long a fetch that succeeded is believed when it lacked a key.
const BELIEVED: Duration = Duration::from_secs(30);

/// No pause is longer than the shortest life of a key set, so that none outlasts what it guards (`J21`).
const _: () = assert!(
    BELIEVED.as_secs() <= MIN_LIFETIME.as_secs()
        && MAX_BACKOFF.as_secs() <= MIN_LIFETIME.as_secs()
        && RETRY.as_secs() < PATIENCE.as_secs()
);

pub(super) type Outcome = Result<Arc<Held>, FetchError>;

/// Why there is no key for a token.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key set has no such key")]
    Unknown,
    #[error("the key is not for this algorithm")]
    Unfit,
    #[error("several keys would do")]
    Ambiguous,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

#[derive(Debug)]
pub(super) struct KeySource {
    pub(super) issuer: String,
    pub(super) metadata: Arc<MetadataSource>,
    pub(super) channel: BackChannel,
    pub(super) clock: SharedClock,
    pub(super) outage_limit: Duration,
    pub(super) random: Random,
    pub(super) held: RwLock<Option<Arc<Held>>>,
    pub(super) pulse: KeySetEpoch,
    pub(super) state: Mutex<State>,
    pub(super) flight: Flight<Outcome>,
    /// Tells the refresher that a set has come whose life may be shorter than that of the last.
    pub(super) renewed: Arc<Notify>,
    pub(super) logs: LogLimits,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) keys: KeySet,
    /// Counts the sets that had other keys than the one before, from 1.
    pub(super) generation: u64,
    pub(super) fetched_at: Duration,
    pub(super) lifetime: Duration,
    pub(super) refresh_at: Duration,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) buckets: Buckets,
    pub(super) failures: u32,
    pub(super) last_failure: Option<Failure>,
    pub(super) refresher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: FetchError,
    pub(super) at: Duration,
    /// When the refresher tries again.
    pub(super) retry_at: Duration,
}

impl KeySource {
    pub(super) fn new(
        issuer: String,
        metadata: Arc<MetadataSource>,
        channel: BackChannel,
        clock: SharedClock,
        outage_limit: Duration,
    ) -> Self {
        let state = State {
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
            held: RwLock::new(None),
            pulse: KeySetEpoch::default(),
            state: Mutex::new(state),
            flight: Flight::default(),
            renewed: Arc::default(),
            logs: LogLimits::per_minute(),
        }
    }

    /// The key for a token, where that can be said without waiting: always for a key that is held
    /// (`J5`, `J11`).
    pub(super) fn cached_key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<Result<SelectedKey, KeyError>> {
        let held = self.current()?;
        settle(held.keys.select(key_id, algorithm))
    }

    /// The key for a token; waits for a fetch where one is needed, at most 2 seconds.
    pub(super) async fn key(
        self: &Arc<Self>,
        key_id: Option<&str>,
        algorithm: Algorithm,
        source: FetchBudget,
    ) -> Result<SelectedKey, KeyError> {
        if let Some(decided) = self.cached_key(key_id, algorithm) {
            return decided;
        }
        within(
            &*self.clock,
            PATIENCE,
            self.key_after_fetch(key_id, algorithm, source),
        )
        .await
        .unwrap_or_else(|| {
            // Who waited in vain for a refresh still has the keys of before (`J12`).
            let held = self
                .usable()
                .and_then(|held| settle(held.keys.select(key_id, algorithm)));
            held.unwrap_or_else(|| Err(self.unavailable("no answer in time").into()))
        })
    }

    async fn key_after_fetch(
        self: &Arc<Self>,
        key_id: Option<&str>,
        algorithm: Algorithm,
        source: FetchBudget,
    ) -> Result<SelectedKey, KeyError> {
        let held = match self.usable() {
            Some(held) if !self.is_overdue(&held) => held,
            stale => match (self.renew().await, stale) {
                (Ok(held), _) | (Err(_), Some(held)) => held,
                (Err(error), None) => return Err(self.unavailable(&error.to_string()).into()),
            },
        };
        if let Some(decided) = settle(held.keys.select(key_id, algorithm)) {
            return decided;
        }
        // An attempt that was already under way may have read the set before the key was published,
        // so after it there is one of our own.
        loop {
            let Some(seat) = self.flight.join_or(|| self.unknown_key_attempt(source)) else {
                return Err(self.verdict_without_fetch());
            };
            let own = seat.started();
            let held = match seat.outcome().await {
                Some(Ok(held)) => held,
                Some(Err(error)) => return Err(self.unavailable(&error.to_string()).into()),
                None => return Err(self.unavailable("the fetch was torn down").into()),
            };
            match settle(held.keys.select(key_id, algorithm)) {
                Some(decided) => return decided,
                None if own => return Err(KeyError::Unknown),
                None => {}
            }
        }
    }

    /// An attempt for a key id that is not held, as long as the bucket gives one (`J4`).
    fn unknown_key_attempt(
        self: &Arc<Self>,
        source: FetchBudget,
    ) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        let now = self.clock.monotonic();
        let granted = lock(&self.state).buckets.take(source, now);
        granted.then(|| Arc::clone(self).attempt())
    }

    /// With the bucket empty: the key does not exist if a fetch of late lacked it, else nobody knows.
    fn verdict_without_fetch(&self) -> KeyError {
        let now = self.clock.monotonic();
        match self.usable() {
            Some(held) if now.saturating_sub(held.fetched_at) < BELIEVED => KeyError::Unknown,
            _ => self.unavailable("too many unknown keys").into(),
        }
    }

    /// Waits for the attempt under way, or for a new one.
    pub(super) async fn renew(self: &Arc<Self>) -> Result<Arc<Held>, FetchError> {
        // Whoever comes just after an attempt has landed looked at what was held before: `J1` wants no second.
        let is_fresh = |held: &Arc<Held>| {
            self.clock.monotonic().saturating_sub(held.fetched_at) < held.lifetime
        };
        let landed = || self.held().filter(is_fresh);
        let start = || match landed() {
            Some(_) => None,
            None => self.spaced_attempt(),
        };
        let Some(seat) = self.flight.join_or(start) else {
            if let Some(held) = landed() {
                return Ok(held);
            }
            let state = lock(&self.state);
            let failure = state
                .last_failure
                .as_ref()
                .map(|failure| failure.error.clone());
            return Err(failure.unwrap_or(FetchError::Document("no attempt was made")));
        };
        seat.outcome()
            .await
            .unwrap_or(Err(FetchError::Document("the fetch was torn down")))
    }

    fn spaced_attempt(self: &Arc<Self>) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        let now = self.clock.monotonic();
        let failed_just_now = lock(&self.state)
            .last_failure
            .as_ref()
            .is_some_and(|failure| now.saturating_sub(failure.at) < RETRY);
        (!failed_just_now).then(|| Arc::clone(self).attempt())
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The set at hand, where no request has to ask for another first.
    pub(super) fn current(&self) -> Option<Arc<Held>> {
        let held = self.held()?;
        let age = self.clock.monotonic().saturating_sub(held.fetched_at);
        if age < held.lifetime {
            return Some(held);
        }
        self.usable().filter(|held| !self.is_overdue(held))
    }

    /// The set at hand, unless it has outlived even what an outage may last (`J12`).
    fn usable(&self) -> Option<Arc<Held>> {
        let held = self.held()?;
        let age = self.clock.monotonic().saturating_sub(held.fetched_at);
        (age < held.lifetime + self.outage_limit).then_some(held)
    }

    /// Past its life without a failure on record: the refresher did not get to run, as after a machine
    /// slept. Then a key that was withdrawn must not pass for lack of asking (`J19`).
    fn is_overdue(&self, held: &Held) -> bool {
        let age = self.clock.monotonic().saturating_sub(held.fetched_at);
        age >= held.lifetime && lock(&self.state).last_failure.is_none()
    }

    fn unavailable(&self, reason: &str) -> Unavailable {
        Unavailable::new(reason, Duration::from_secs(1))
    }

    pub(super) fn health(&self) -> Health {
        let keys = match self.held() {
            None => KeySetHealth::Empty,
            Some(held) => {
                let age = self.clock.monotonic().saturating_sub(held.fetched_at);
                if age < held.lifetime {
                    KeySetHealth::Fresh { age }
                } else if age < held.lifetime + self.outage_limit {
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

/// What a selection decides; `None` where a newer set could decide otherwise.
pub(super) fn settle(selection: Selection) -> Option<Result<SelectedKey, KeyError>> {
    match selection {
        Selection::Found(key) => Some(Ok(key)),
        Selection::Unfit => Some(Err(KeyError::Unfit)),
        Selection::Ambiguous => Some(Err(KeyError::Ambiguous)),
        Selection::Unknown => None,
    }
}
