//! Each code is redeemed once (`L13`, `H07`).
//!
//! A browser may send one callback several times: a double click, a reload, a proxy that retries. The
//! first redeems the code, in a task of its own so that a closed connection loses nothing; the others
//! wait for it, or get its result for a minute. After that the state is known to be used.
//!
//! What this costs is bounded. Only a code to redeem gets in here, so that nothing is kept which did not
//! cost its sender a token request. Token requests under way are [limited](super::redemption_limit), and the limits
//! of the back channel end them; a callback whose code was not sent leaves nothing behind and can be repeated. When a
//! redemption is done, one task for all forgets the results in time.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::chunks::NotWritten;
use super::redeemed::{BothClocks, Entry, Key, Redeemed, Waiters};
use super::redemption_limit::{RedemptionLimit, RedemptionPermit};
use crate::clock::{Clock, SharedClock};
use crate::crypto::digest::sha256;
use crate::flow::FlowError;
use crate::protocol::State;
use crate::session::{CreateSessionError, LoadedSession, LoginRejection};
use crate::store::StoreError;

/// What the callback came to: a session, or why there is none.
pub(super) type Outcome = Arc<Result<LoadedSession, SignInError>>;

/// Why a callback began no session.
#[derive(Clone, Debug)]
pub(super) enum SignInError {
    Flow(FlowError),
    /// Too many callbacks wait for their token request. Nothing was sent.
    Busy,
    /// Another replica has redeemed the state.
    Used,
    /// The state could not be claimed. Nothing was sent.
    Store(StoreError),
    LoginRejection(LoginRejection),
    CreateSessionError(CreateSessionError),
    NotWritten(NotWritten),
}

impl SignInError {
    /// Returns whether the code was certainly neither sent nor claimed, so that the same callback can be repeated.
    pub(super) fn can_be_repeated(&self) -> bool {
        matches!(self, Self::Busy | Self::Store(StoreError::Full))
    }
}

#[derive(Debug, Default)]
pub(super) struct RedemptionCache {
    inner: Mutex<Inner>,
    limit: RedemptionLimit,
}

#[derive(Debug, Default)]
struct Inner {
    redeemed: Redeemed,
    /// Forgets results while there are any, though no other login comes along: they hold tokens.
    sweeper: Option<JoinHandle<()>>,
}

impl From<FlowError> for SignInError {
    fn from(error: FlowError) -> Self {
        Self::Flow(error)
    }
}

impl From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LoginRejection> for SignInError {
    fn from(error: LoginRejection) -> Self {
        Self::LoginRejection(error)
    }
}

impl From<NotWritten> for SignInError {
    fn from(error: NotWritten) -> Self {
        Self::NotWritten(error)
    }
}

impl From<CreateSessionError> for SignInError {
    fn from(error: CreateSessionError) -> Self {
        Self::CreateSessionError(error)
    }
}

/// The answer to one more request with the same state.
#[derive(Debug)]
pub(super) enum Answer {
    Outcome(Outcome),
    /// It was carried out before, too long ago to say what came of it.
    Used,
    /// The task that carried it out is gone without a result.
    Lost,
}

impl RedemptionCache {
    /// Carries out `work` for this state once it is its turn, unless that is done or being done.
    pub(super) async fn once<F>(
        self: &Arc<Self>,
        state: &State,
        clock: &SharedClock,
        work: impl FnOnce(RedemptionPermit) -> F + Send + 'static,
    ) -> Answer
    where
        F: Future<Output = Result<LoadedSession, SignInError>> + Send + 'static,
    {
        let key = key(state);
        let mut receiver = {
            let mut inner = self.lock();
            inner.redeemed.forget(BothClocks::now(&**clock));
            match inner.redeemed.get(&key) {
                Some(Entry::Done(outcome)) => return Answer::Outcome(Arc::clone(outcome)),
                Some(Entry::Used) => return Answer::Used,
                Some(Entry::Running(waiters)) => waiters.subscribe(),
                None => {
                    let (waiters, receiver) = watch::channel(None);
                    let waiters = Arc::new(waiters);
                    inner.redeemed.begin(key, Arc::clone(&waiters));
                    let running = Running {
                        callbacks: Arc::downgrade(self),
                        key,
                        clock: Arc::clone(clock),
                        ended: false,
                    };
                    tokio::spawn(running.run(self.limit.clone(), waiters, work));
                    receiver
                }
            }
        };
        match receiver.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().map_or(Answer::Lost, Answer::Outcome),
            Err(_) => Answer::Lost,
        }
    }

    fn keep(self: &Arc<Self>, key: Key, outcome: &Outcome, clock: &SharedClock) {
        let mut inner = self.lock();
        if let Err(error) = outcome.as_ref()
            && error.can_be_repeated()
        {
            inner.redeemed.abandon(&key);
            return;
        }
        let kept = Some(Arc::clone(outcome));
        inner.redeemed.end(key, kept, BothClocks::now(&**clock));
        // Finished, but still there: its runtime was shut down.
        if inner.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            let sweeper = sweep(Arc::downgrade(self), Arc::clone(clock));
            inner.sweeper = Some(tokio::spawn(sweeper));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A redemption under way. If its task breaks off, the state counts as used.
struct Running {
    callbacks: Weak<RedemptionCache>,
    key: Key,
    clock: SharedClock,
    ended: bool,
}

impl Running {
    async fn run<F>(
        mut self,
        limit: RedemptionLimit,
        waiters: Arc<Waiters>,
        work: impl FnOnce(RedemptionPermit) -> F,
    ) where
        F: Future<Output = Result<LoadedSession, SignInError>>,
    {
        // Where the browsers that wanted it are gone, others need the place: nothing was sent.
        let permit = limit.acquire(&*self.clock, abandoned(&waiters)).await;
        let outcome = match permit {
            Some(permit) => work(permit).await,
            None => Err(SignInError::Busy),
        };
        let outcome = Arc::new(outcome);
        if let Some(callbacks) = self.callbacks.upgrade() {
            callbacks.keep(self.key, &outcome, &self.clock);
        }
        self.ended = true;
        waiters.send_replace(Some(outcome));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended
            && let Some(callbacks) = self.callbacks.upgrade()
        {
            let now = BothClocks::now(&*self.clock);
            callbacks.lock().redeemed.end(self.key, None, now);
        }
    }
}

/// Completes once no request waits any more.
async fn abandoned(waiters: &Waiters) {
    loop {
        waiters.closed().await;
        if waiters.receiver_count() == 0 {
            return;
        }
    }
}

async fn sweep(callbacks: Weak<RedemptionCache>, clock: SharedClock) {
    let rest = || {
        let callbacks = callbacks.upgrade()?;
        callbacks.lock().sweep(&*clock)
    };
    while let Some(rest) = rest() {
        clock.sleep(rest).await;
    }
}

impl Inner {
    /// Forgets what is due, and says how long until there is something again; `None` when that was all.
    fn sweep(&mut self, clock: &dyn Clock) -> Option<Duration> {
        let now = BothClocks::now(clock);
        self.redeemed.forget(now);
        let next = self.redeemed.next_due();
        if next.is_none() {
            self.sweeper = None;
        }
        next.map(|until| until.saturating_sub(clock.monotonic()))
    }
}

fn key(state: &State) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(state.expose().as_bytes())[..16]);
    key
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Sleep;
    use crate::login::redeemed::{MAX_OUTCOMES, OUTCOME_KEPT};
    use crate::protocol::authorization_response::AuthorizationResponse;

    /// A monotonic clock that is turned by hand.
    #[derive(Debug)]
    struct Turned(watch::Sender<Duration>);

    impl Clock for Turned {
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

    /// What is still known of a login that failed.
    async fn fail(callbacks: &Arc<RedemptionCache>, clock: &SharedClock, name: &str) -> Weak<Kept> {
        let error = FlowError::from(AuthorizationResponse::parse("").unwrap_err());
        let error = SignInError::Flow(error);
        let work = |_| async move { Err(error) };
        match callbacks.once(&State::new(name), clock, work).await {
            Answer::Outcome(outcome) => Arc::downgrade(&outcome),
            other => panic!("{other:?}"),
        }
    }

    type Kept = Result<LoadedSession, SignInError>;

    async fn come_to_rest() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_result_is_gone_after_a_minute_though_nobody_comes_along() {
        let turned = Arc::new(Turned(watch::Sender::new(Duration::ZERO)));
        let clock: SharedClock = Arc::<Turned>::clone(&turned);
        let callbacks = Arc::new(RedemptionCache::default());
        // The second time, with a sweeper that ended in between.
        for _ in 0..2 {
            let first = fail(&callbacks, &clock, &format!("{:?}", clock.monotonic())).await;
            turned.0.send_modify(|now| *now += OUTCOME_KEPT / 2);
            let second = fail(&callbacks, &clock, &format!("{:?}", clock.monotonic())).await;
            come_to_rest().await;
            assert_eq!((first.strong_count(), second.strong_count()), (1, 1));
            turned.0.send_modify(|now| *now += OUTCOME_KEPT / 2);
            come_to_rest().await;
            assert_eq!((first.strong_count(), second.strong_count()), (0, 1));
            turned.0.send_modify(|now| *now += OUTCOME_KEPT / 2);
            come_to_rest().await;
            assert_eq!(second.strong_count(), 0);
            assert!(callbacks.lock().sweeper.is_none());
        }
    }

    #[tokio::test]
    async fn results_are_bounded_and_states_stay_used() {
        let clock: SharedClock = Arc::new(Turned(watch::Sender::new(Duration::ZERO)));
        let callbacks = Arc::new(RedemptionCache::default());
        let mut kept = Vec::new();
        for n in 0..=MAX_OUTCOMES {
            kept.push(fail(&callbacks, &clock, &n.to_string()).await);
        }
        come_to_rest().await;
        let alive = |kept: &[Weak<Kept>]| kept.iter().filter(|it| it.strong_count() > 0).count();
        assert_eq!((alive(&kept[..1]), alive(&kept)), (0, MAX_OUTCOMES));
        let state = State::new("0");
        let again = callbacks.once(&state, &clock, |_| async { panic!("twice") });
        assert!(matches!(again.await, Answer::Used));
    }
}
