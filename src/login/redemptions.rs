//! Redeems each authorization code once (RFC 6749 §4.1.2).
//!
//! A browser may send a callback several times: a double click, a reload, a proxy that retries. The
//! first request redeems the code, in a task that a closed connection does not cancel. The others
//! wait for its result, or get the cached result for a minute. After that, the state is known to be
//! used.
//!
//! The cost is bounded. Only requests with a code to redeem get here, so each entry costs its
//! sender a token request. Concurrent token requests are [limited](crate::request_permits) and
//! time out. A callback whose code was not sent leaves no entry and can be repeated. One task
//! removes expired results.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::chunks::SealedCookies;
use crate::clock::{BothClocks, SharedClock};
use crate::expiring_map::ExpiringMap;
use crate::flow::StateDigest;
use crate::request_permits::{RequestPermit, RequestPermits};
use crate::session::{LoadedSession, SignInError};
use crate::single_flight::{NewFlight, SingleFlight};
use crate::sync::Mutex;

/// The result of a callback: a session with its cookies, or an error.
pub(super) type RedemptionResult = Arc<Result<SignedIn, SignInError>>;

/// A new session, and its cookies.
pub(super) type SignedIn = (LoadedSession, SealedCookies);

/// The response of the cache to one more request with the same state.
#[derive(Debug)]
pub(super) enum Redemption {
    Completed(RedemptionResult),
    /// The state was redeemed, too long ago for a cached result.
    AlreadyRedeemed,
    /// The task ended without a result.
    Aborted,
}

#[derive(Debug)]
pub(super) struct RedemptionCache {
    flights: SingleFlight<StateDigest, RedemptionResult>,
    finished: Arc<Mutex<FinishedRedemptions>>,
    permits: RequestPermits,
    clock: SharedClock,
}

/// The place of a redemption in the queue for permits.
pub(super) struct PermitRequest {
    permits: RequestPermits,
    clock: SharedClock,
    flight: NewFlight<RedemptionResult>,
}

/// Sessions and failures have separate limits: forged codes cannot evict the result of an honest
/// login.
#[derive(Debug)]
struct FinishedRedemptions {
    sessions: RedemptionResults,
    failures: RedemptionResults,
    /// Removes expired results, which contain tokens, even if no other login takes place.
    sweeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct RedemptionResults {
    results: ExpiringMap<StateDigest, RedemptionResult>,
    /// The states whose code was sent. The lifetime of a state is measured by the wall clock, so
    /// both clocks must have passed it: setting the clock back must not allow a code to be sent
    /// again.
    used: ExpiringMap<StateDigest, (), BothClocks>,
}

impl RedemptionCache {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self {
            flights: SingleFlight::default(),
            finished: Arc::default(),
            permits: RequestPermits::default(),
            clock,
        }
    }

    /// Redeems the code of this state, unless that was done before or is being done. `lifetime` is
    /// that of the transaction.
    pub(super) async fn once<F>(
        &self,
        key: StateDigest,
        lifetime: Duration,
        redeem: impl FnOnce(PermitRequest) -> F,
    ) -> Redemption
    where
        F: Future<Output = Result<SignedIn, SignInError>> + Send + 'static,
    {
        let used_for = lifetime.saturating_add(RESULT_TTL);
        let (finished, clock) = (Arc::clone(&self.finished), Arc::clone(&self.clock));
        let start = |flight| {
            let now = BothClocks::now(&*self.clock);
            self.finished.lock().begin(key, used_for, now)?;
            let redemption = redeem(PermitRequest {
                permits: self.permits.clone(),
                clock: Arc::clone(&self.clock),
                flight,
            });
            // Events of the login belong to the span of the request that caused it.
            Ok(async move { Arc::new(redemption.await) }.in_current_span())
        };
        let store = move |result: &RedemptionResult| {
            let mut redemptions = finished.lock();
            let now = BothClocks::now(&*clock);
            redemptions.end(key, result, used_for, now);
            redemptions.sweep_with(&finished, clock);
        };
        match self.flights.join_and_store(key, start, store) {
            Ok(waiter) => waiter
                .outcome()
                .await
                .map_or(Redemption::Aborted, Redemption::Completed),
            Err(known) => known,
        }
    }
}

impl PermitRequest {
    /// Waits for a permit, at most while a request waits for the redemption: if all of them are
    /// gone before the code was sent, other callbacks get the permit.
    pub(super) async fn wait(self) -> Option<RequestPermit> {
        let abandoned = self.flight.abandoned();
        self.permits.acquire(&*self.clock, abandoned).await
    }
}

impl FinishedRedemptions {
    /// Marks a state as used before its redemption begins, so that it stays used if the task is
    /// aborted. Returns an error if the state was used before.
    fn begin(
        &mut self,
        key: StateDigest,
        used_for: Duration,
        now: BothClocks,
    ) -> Result<(), Redemption> {
        self.remove_expired(now);
        for kind in [&self.sessions, &self.failures] {
            if let Some(result) = kind.results.get(&key) {
                return Err(Redemption::Completed(Arc::clone(result)));
            }
            if kind.used.get(&key).is_some() {
                return Err(Redemption::AlreadyRedeemed);
            }
        }
        self.failures.used.insert(key, (), now.after(used_for));
        Ok(())
    }

    fn end(
        &mut self,
        key: StateDigest,
        result: &RedemptionResult,
        used_for: Duration,
        now: BothClocks,
    ) {
        self.failures.used.remove(&key);
        let kind = match result.as_ref() {
            Ok(_) => &mut self.sessions,
            Err(error) if error.can_be_repeated() => return,
            Err(_) => &mut self.failures,
        };
        let until = now.monotonic.saturating_add(RESULT_TTL);
        kind.results.insert(key, Arc::clone(result), until);
        kind.used.insert(key, (), now.after(used_for));
    }

    fn remove_expired(&mut self, now: BothClocks) {
        for kind in [&mut self.sessions, &mut self.failures] {
            kind.results.remove_expired(now.monotonic);
            while kind
                .used
                .pop_first_if(|until| until.has_passed(now))
                .is_some()
            {}
        }
    }

    /// Starts the task that removes expired results, unless it is running.
    fn sweep_with(&mut self, shared: &Arc<Mutex<Self>>, clock: SharedClock) {
        // Finished without being removed: its runtime was shut down.
        if self.sweeper.as_ref().is_none_or(JoinHandle::is_finished) && self.next_expiry().is_some()
        {
            self.sweeper = Some(tokio::spawn(sweep(Arc::downgrade(shared), clock)));
        }
    }

    fn next_expiry(&self) -> Option<Duration> {
        let kinds = [&self.sessions, &self.failures];
        kinds
            .iter()
            .filter_map(|kind| kind.results.next_expiry())
            .min()
    }
}

/// Removes results as they expire, until none is left.
async fn sweep(finished: Weak<Mutex<FinishedRedemptions>>, clock: SharedClock) {
    let next_sleep = || {
        let finished = finished.upgrade()?;
        let mut finished = finished.lock();
        let now = BothClocks::now(&*clock);
        finished.remove_expired(now);
        let next = finished.next_expiry();
        if next.is_none() {
            finished.sweeper = None;
        }
        next.map(|until| until.saturating_sub(now.monotonic))
    };
    while let Some(duration) = next_sleep() {
        clock.sleep(duration).await;
    }
}

impl Default for FinishedRedemptions {
    fn default() -> Self {
        let kind = || RedemptionResults {
            results: ExpiringMap::new(MAX_RESULTS),
            used: ExpiringMap::new(MAX_ENTRIES),
        };
        Self {
            sessions: kind(),
            failures: kind(),
            sweeper: None,
        }
    }
}

/// How long a result is cached for further requests with the same code.
const RESULT_TTL: Duration = Duration::from_secs(60);

/// Limit on results per kind; a session is as large as its tokens. Beyond it the oldest is dropped,
/// and a repeated callback gets `login_used`.
const MAX_RESULTS: usize = 1000;

/// Limit on used states per kind, about 15 MB. Beyond it the oldest is dropped; its code can be
/// sent again, which the authorization server rejects.
const MAX_ENTRIES: usize = 100_000;

#[cfg(feature = "testing")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowError;
    use crate::protocol::State;
    use crate::protocol::authorization_response::AuthorizationResponse;
    use crate::testing::ManualClock;

    const USED_FOR: Duration = Duration::from_secs(660);

    type CachedResult = Result<SignedIn, SignInError>;

    const START: BothClocks = BothClocks {
        monotonic: Duration::ZERO,
        wall: 1_800_000_000,
    };

    fn cache() -> (RedemptionCache, ManualClock) {
        let clock = ManualClock::new(START.wall);
        (RedemptionCache::new(Arc::new(clock.clone())), clock)
    }

    fn failure() -> CachedResult {
        let error = AuthorizationResponse::parse("").unwrap_err();
        Err(FlowError::from(error).into())
    }

    fn key(name: &str) -> StateDigest {
        StateDigest::of(&State::new(name))
    }

    /// Returns a weak reference to the cached result of a failed login.
    async fn fail(cache: &RedemptionCache, name: &str) -> Weak<CachedResult> {
        let work = |_| async { failure() };
        match cache.once(key(name), USED_FOR, work).await {
            Redemption::Completed(result) => Arc::downgrade(&result),
            other => panic!("{other:?}"),
        }
    }

    async fn run_pending_tasks() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_result_is_removed_after_a_minute_without_further_requests() {
        let (cache, clock) = cache();
        // The second time, the sweeper has ended in between.
        for round in 0..2 {
            let first = fail(&cache, &format!("first {round}")).await;
            clock.advance(RESULT_TTL / 2);
            let second = fail(&cache, &format!("second {round}")).await;
            for counts in [(1, 1), (0, 1), (0, 0)] {
                run_pending_tasks().await;
                assert_eq!((first.strong_count(), second.strong_count()), counts);
                clock.advance(RESULT_TTL / 2);
            }
            assert!(cache.finished.lock().sweeper.is_none());
        }
    }

    #[tokio::test]
    async fn results_are_bounded_and_states_stay_used() {
        let (cache, _) = cache();
        let mut cached = Vec::new();
        for n in 0..=MAX_RESULTS {
            cached.push(fail(&cache, &n.to_string()).await);
        }
        run_pending_tasks().await;
        let alive = cached.iter().filter(|one| one.strong_count() > 0).count();
        assert_eq!((cached[0].strong_count(), alive), (0, MAX_RESULTS));
        let again = cache
            .once(key("0"), USED_FOR, |_| async { panic!("twice") })
            .await;
        assert!(matches!(again, Redemption::AlreadyRedeemed));
    }

    #[tokio::test]
    async fn an_aborted_redemption_is_used_and_one_that_sent_nothing_is_not() {
        let (cache, _) = cache();
        let aborted = key("aborted");
        let first = cache
            .once(aborted, USED_FOR, |_| async { panic!("aborted") })
            .await;
        assert!(matches!(first, Redemption::Aborted));
        let again = cache
            .once(aborted, USED_FOR, |_| async { panic!("twice") })
            .await;
        assert!(matches!(again, Redemption::AlreadyRedeemed));
        let busy = key("busy");
        for _ in 0..2 {
            let result = cache
                .once(busy, USED_FOR, |_| async { Err(SignInError::Busy) })
                .await;
            assert!(matches!(result, Redemption::Completed(_)));
            assert!(cache.finished.lock().failures.results.is_empty());
        }
    }

    #[test]
    fn failures_are_bounded_and_evict_no_session() {
        let mut finished = FinishedRedemptions::default();
        let until = START.after(USED_FOR);
        finished.sessions.used.insert(key("session"), (), until);
        let failure = Arc::new(failure());
        for n in 0..2 * MAX_ENTRIES {
            let key = key(&n.to_string());
            finished.begin(key, USED_FOR, START).unwrap();
            finished.end(key, &failure, USED_FOR, START);
        }
        let failures = &finished.failures;
        assert_eq!(failures.used.len(), MAX_ENTRIES);
        assert_eq!(failures.results.len(), MAX_RESULTS);
        assert!(finished.begin(key("session"), USED_FOR, START).is_err());
        finished.remove_expired(until);
        assert!(finished.failures.used.is_empty() && finished.sessions.used.is_empty());
        assert_eq!(finished.next_expiry(), None);
    }

    #[test]
    fn a_state_stays_used_until_both_clocks_have_passed_its_end() {
        let end = START.after(USED_FOR);
        let before = START.after(USED_FOR - Duration::from_secs(1));
        let later = START.after(10 * USED_FOR);
        for (monotonic, wall, is_kept) in [
            (before, before, true),
            (end, before, true),
            (later, START, true),
            (before, later, true),
            (end, end, false),
        ] {
            let now = BothClocks {
                monotonic: monotonic.monotonic,
                wall: wall.wall,
            };
            let mut finished = FinishedRedemptions::default();
            finished.begin(key("state"), USED_FOR, START).unwrap();
            finished.end(key("state"), &Arc::new(failure()), USED_FOR, START);
            let again = finished.begin(key("state"), USED_FOR, now);
            assert_eq!(again.is_err(), is_kept, "{now:?}");
        }
    }
}
