//! The engine that keeps a key set at hand: fetched once for all who wait, refreshed ahead of its end,
//! kept through an outage, and asked again for a key id it does not have.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::back_channel::{BackChannel, FetchError};
use super::discovery::MetadataSource;
use super::flight::{Flight, lock};
use super::health::{Health, KeySetHealth};
use super::key_set::{KeySet, MIN_LIFETIME, SelectedKey, Selection, lifetime};
use super::limiter::Bucket;
use super::server::Unavailable;
use crate::clock::{SharedClock, within};
use crate::crypto::Algorithm;
use crate::random::Random;

/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(2);

/// While no set is held, requests share one attempt in this time.
const RETRY: Duration = Duration::from_millis(250);

/// For so long a fetch that succeeded is believed when it lacked a key.
const BELIEVED: Duration = Duration::from_secs(30);

const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// No pause is longer than the shortest life of a key set, so that none outlasts what it guards (`J21`).
const _: () = assert!(
    BELIEVED.as_secs() <= MIN_LIFETIME.as_secs()
        && MAX_BACKOFF.as_secs() <= MIN_LIFETIME.as_secs()
        && RETRY.as_secs() < PATIENCE.as_secs()
);

type Outcome = Result<Arc<Held>, FetchError>;

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
    random: Random,
    held: RwLock<Option<Arc<Held>>>,
    state: Mutex<State>,
    flight: Flight<Outcome>,
    /// Tells the refresher that a set has come whose life may be shorter than that of the last.
    renewed: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Held {
    keys: KeySet,
    fetched_at: Duration,
    lifetime: Duration,
    refresh_at: Duration,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    failures: u32,
    last_failure: Option<Failure>,
    refresher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Failure {
    error: FetchError,
    at: Duration,
    /// When the refresher tries again.
    retry_at: Duration,
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
            bucket: Bucket::new(clock.monotonic()),
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
            state: Mutex::new(state),
            flight: Flight::default(),
            renewed: Arc::default(),
        }
    }

    /// The key for a token, where that can be said without waiting: always for a key that is held
    /// (`J5`, `J11`).
    pub(super) fn key_at_hand(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<Result<SelectedKey, KeyError>> {
        let held = self.usable()?;
        if self.is_overdue(&held) {
            return None;
        }
        settle(held.keys.select(key_id, algorithm))
    }

    /// The key for a token; waits for a fetch where one is needed, at most 2 seconds.
    pub(super) async fn key(
        self: &Arc<Self>,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<SelectedKey, KeyError> {
        if let Some(decided) = self.key_at_hand(key_id, algorithm) {
            return decided;
        }
        within(
            &*self.clock,
            PATIENCE,
            self.key_after_fetch(key_id, algorithm),
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
            let Some(seat) = self.flight.join_or(|| self.unknown_key_attempt()) else {
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
    ) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        let now = self.clock.monotonic();
        let granted = lock(&self.state).bucket.take(now).is_ok();
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
        let Some(seat) = self.flight.join_or(|| self.spaced_attempt()) else {
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

    async fn attempt(self: Arc<Self>) -> Outcome {
        let outcome = self.fetch().await;
        let now = self.clock.monotonic();
        match &outcome {
            Ok(held) => {
                tracing::debug!(
                    issuer = self.issuer,
                    keys = held.keys.len(),
                    "key set fetched"
                );
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(held));
                let mut state = lock(&self.state);
                (state.failures, state.last_failure) = (0, None);
                self.keep_fresh(&mut state);
            }
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "key set could not be fetched");
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
        Ok(Arc::new(Held {
            keys: KeySet::read(answer.body())?,
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

    fn held(&self) -> Option<Arc<Held>> {
        self.held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
fn settle(selection: Selection) -> Option<Result<SelectedKey, KeyError>> {
    match selection {
        Selection::Found(key) => Some(Ok(key)),
        Selection::Unfit => Some(Err(KeyError::Unfit)),
        Selection::Ambiguous => Some(Err(KeyError::Ambiguous)),
        Selection::Unknown => None,
    }
}
