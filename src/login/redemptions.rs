//! Redeems each authorization code once (RFC 6749 §4.1.2).
//!
//! A browser may send a callback several times: a double click, a reload, a proxy that retries. The
//! first request redeems the code, in a task that a closed connection does not cancel. The others
//! wait for its result, or get the cached result for a minute. After that, the state is known to be
//! used.
//!
//! The cost is bounded. Only requests with a code to redeem get here, so each entry costs its
//! sender a token request. Concurrent token requests are [limited](super::redemption_limit) and
//! time out. A callback whose code was not sent leaves no entry and can be repeated. One task
//! removes expired results.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::redemption_limit::{RedemptionLimit, RedemptionPermit};
use super::redemption_table::{
    BothClocks, RedemptionEntry, RedemptionTable, RedemptionWaiters, StateDigest,
};
use crate::clock::{Clock, SharedClock};
use crate::crypto::digest::sha256;
use crate::protocol::State;
use crate::session::{LoadedSession, SignInError};

/// The result of a callback: a session with its cookies, or an error.
pub(super) type RedemptionResult = Arc<Result<SignedIn, SignInError>>;

/// A new session, and the names and values of its cookies.
pub(super) type SignedIn = (LoadedSession, Vec<(String, String)>);

#[derive(Debug, Default)]
pub(super) struct RedemptionCache {
    inner: Mutex<RedemptionCacheInner>,
    limit: RedemptionLimit,
}

#[derive(Debug, Default)]
struct RedemptionCacheInner {
    table: RedemptionTable,
    /// Removes expired results, which contain tokens, even if no other login takes place.
    sweeper: Option<JoinHandle<()>>,
}

/// The response of the cache to one more request with the same state.
#[derive(Debug)]
pub(super) enum Redemption {
    Completed(RedemptionResult),
    /// The state was redeemed, too long ago for a cached result.
    AlreadyRedeemed,
    /// The task ended without a result.
    Aborted,
}

impl RedemptionCache {
    /// Runs `work` for this state when a permit is free, unless it ran before or is running.
    pub(super) async fn once<F>(
        self: &Arc<Self>,
        state: &State,
        clock: &SharedClock,
        work: impl FnOnce(RedemptionPermit) -> F + Send + 'static,
    ) -> Redemption
    where
        F: Future<Output = Result<SignedIn, SignInError>> + Send + 'static,
    {
        let key = key(state);
        let mut receiver = {
            let mut inner = self.lock();
            inner.table.remove_expired(BothClocks::now(&**clock));
            match inner.table.get(&key) {
                Some(RedemptionEntry::Done(result)) => {
                    return Redemption::Completed(Arc::clone(result));
                }
                Some(RedemptionEntry::Used) => return Redemption::AlreadyRedeemed,
                Some(RedemptionEntry::InFlight(waiters)) => waiters.subscribe(),
                None => {
                    let (waiters, receiver) = watch::channel(None);
                    let waiters = Arc::new(waiters);
                    inner.table.begin(key, Arc::clone(&waiters));
                    let running = RunningRedemption {
                        cache: Arc::downgrade(self),
                        key,
                        clock: Arc::clone(clock),
                        ended: false,
                    };
                    let redemption = running.run(self.limit.clone(), waiters, work);
                    // Events of the login belong to the span of the request that caused it.
                    tokio::spawn(redemption.in_current_span());
                    receiver
                }
            }
        };
        match receiver.wait_for(Option::is_some).await {
            Ok(result) => result
                .clone()
                .map_or(Redemption::Aborted, Redemption::Completed),
            Err(_) => Redemption::Aborted,
        }
    }

    fn insert(self: &Arc<Self>, key: StateDigest, result: &RedemptionResult, clock: &SharedClock) {
        let mut inner = self.lock();
        if let Err(error) = result.as_ref()
            && error.can_be_repeated()
        {
            inner.table.abandon(&key);
            return;
        }
        let cached = Some(Arc::clone(result));
        inner.table.end(key, cached, BothClocks::now(&**clock));
        // Finished without being removed: its runtime was shut down.
        if inner.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            let sweeper = sweep(Arc::downgrade(self), Arc::clone(clock));
            inner.sweeper = Some(tokio::spawn(sweeper));
        }
    }

    fn lock(&self) -> MutexGuard<'_, RedemptionCacheInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A redemption in flight. If its task is dropped, the state counts as used.
struct RunningRedemption {
    cache: Weak<RedemptionCache>,
    key: StateDigest,
    clock: SharedClock,
    ended: bool,
}

impl RunningRedemption {
    async fn run<F>(
        mut self,
        limit: RedemptionLimit,
        waiters: Arc<RedemptionWaiters>,
        work: impl FnOnce(RedemptionPermit) -> F,
    ) where
        F: Future<Output = Result<SignedIn, SignInError>>,
    {
        // If all requests for this state are gone before the code was sent, other callbacks get the
        // permit.
        let permit = limit.acquire(&*self.clock, abandoned(&waiters)).await;
        let result = match permit {
            Some(permit) => work(permit).await,
            None => Err(SignInError::Busy),
        };
        let result = Arc::new(result);
        if let Some(cache) = self.cache.upgrade() {
            cache.insert(self.key, &result, &self.clock);
        }
        self.ended = true;
        waiters.send_replace(Some(result));
    }
}

impl Drop for RunningRedemption {
    fn drop(&mut self) {
        if !self.ended
            && let Some(cache) = self.cache.upgrade()
        {
            let now = BothClocks::now(&*self.clock);
            cache.lock().table.end(self.key, None, now);
        }
    }
}

/// Completes when no request waits any more.
async fn abandoned(waiters: &RedemptionWaiters) {
    loop {
        waiters.closed().await;
        if waiters.receiver_count() == 0 {
            return;
        }
    }
}

async fn sweep(cache: Weak<RedemptionCache>, clock: SharedClock) {
    let next_sleep = || {
        let cache = cache.upgrade()?;
        cache.lock().sweep(&*clock)
    };
    while let Some(duration) = next_sleep() {
        clock.sleep(duration).await;
    }
}

impl RedemptionCacheInner {
    /// Removes expired results and returns the time until the next one expires; `None` if there are
    /// none.
    fn sweep(&mut self, clock: &dyn Clock) -> Option<Duration> {
        let now = BothClocks::now(clock);
        self.table.remove_expired(now);
        let next = self.table.next_expiry();
        if next.is_none() {
            self.sweeper = None;
        }
        next.map(|until| until.saturating_sub(clock.monotonic()))
    }
}

fn key(state: &State) -> StateDigest {
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(state.expose().as_bytes())[..16]);
    key
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Sleep;
    use crate::flow::FlowError;
    use crate::login::redemption_table::{MAX_RESULTS, RESULT_TTL};
    use crate::protocol::authorization_response::AuthorizationResponse;

    /// A monotonic clock that the test sets.
    #[derive(Debug)]
    struct ManualClock(watch::Sender<Duration>);

    impl Clock for ManualClock {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            *self.0.borrow()
        }

        fn sleep(&self, duration: Duration) -> Sleep {
            let until = self.monotonic() + duration;
            let mut time = self.0.subscribe();
            Box::pin(async move { drop(time.wait_for(|now| *now >= until).await) })
        }
    }

    /// Returns a weak reference to the cached result of a failed login.
    async fn fail(
        cache: &Arc<RedemptionCache>,
        clock: &SharedClock,
        name: &str,
    ) -> Weak<CachedResult> {
        let error = FlowError::from(AuthorizationResponse::parse("").unwrap_err());
        let error = SignInError::Flow(error);
        let work = |_| async move { Err(error) };
        match cache.once(&State::new(name), clock, work).await {
            Redemption::Completed(result) => Arc::downgrade(&result),
            other => panic!("{other:?}"),
        }
    }

    type CachedResult = Result<SignedIn, SignInError>;

    async fn run_pending_tasks() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_result_is_removed_after_a_minute_without_further_requests() {
        let manual = Arc::new(ManualClock(watch::Sender::new(Duration::ZERO)));
        let clock: SharedClock = Arc::<ManualClock>::clone(&manual);
        let cache = Arc::new(RedemptionCache::default());
        // The second time, the sweeper has ended in between.
        for _ in 0..2 {
            let first = fail(&cache, &clock, &format!("{:?}", clock.monotonic())).await;
            manual.0.send_modify(|now| *now += RESULT_TTL / 2);
            let second = fail(&cache, &clock, &format!("{:?}", clock.monotonic())).await;
            run_pending_tasks().await;
            assert_eq!((first.strong_count(), second.strong_count()), (1, 1));
            manual.0.send_modify(|now| *now += RESULT_TTL / 2);
            run_pending_tasks().await;
            assert_eq!((first.strong_count(), second.strong_count()), (0, 1));
            manual.0.send_modify(|now| *now += RESULT_TTL / 2);
            run_pending_tasks().await;
            assert_eq!(second.strong_count(), 0);
            assert!(cache.lock().sweeper.is_none());
        }
    }

    #[tokio::test]
    async fn results_are_bounded_and_states_stay_used() {
        let clock: SharedClock = Arc::new(ManualClock(watch::Sender::new(Duration::ZERO)));
        let cache = Arc::new(RedemptionCache::default());
        let mut cached = Vec::new();
        for n in 0..=MAX_RESULTS {
            cached.push(fail(&cache, &clock, &n.to_string()).await);
        }
        run_pending_tasks().await;
        let alive = |cached: &[Weak<CachedResult>]| {
            cached.iter().filter(|it| it.strong_count() > 0).count()
        };
        assert_eq!((alive(&cached[..1]), alive(&cached)), (0, MAX_RESULTS));
        let state = State::new("0");
        let again = cache.once(&state, &clock, |_| async { panic!("twice") });
        assert!(matches!(again.await, Redemption::AlreadyRedeemed));
    }
}
