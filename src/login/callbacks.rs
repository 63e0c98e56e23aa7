//! Each code is redeemed once (`L13`, `H07`).
//!
//! A browser may send one callback several times: a double click, a reload, a proxy that retries. The
//! first redeems the code, in a task of its own so that a closed connection loses nothing; the others
//! wait for it, or get its result for a minute. After that the state is known to be used.
//!
//! What this costs is bounded. Only a code to redeem gets in here, so that nothing is kept which did not
//! cost its sender a token request. Each token request under way is a task, and the limits of the back
//! channel end it; when it is done, one task for all forgets the results in time.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::chunks::NotWritten;
use crate::clock::SharedClock;
use crate::crypto::digest::sha256;
use crate::flow::{FlowError, Transaction};
use crate::protocol::State;
use crate::session::{Held, NotAdmitted, NotBegun};
use crate::store::StoreError;

/// What the callback came to: a session, or why there is none.
pub(super) type Outcome = Arc<Result<Held, SignInError>>;

/// Why a callback began no session.
#[derive(Clone, Debug)]
pub(super) enum SignInError {
    Flow(FlowError),
    /// Another replica has redeemed the state.
    Used,
    Store(StoreError),
    NotAdmitted(NotAdmitted),
    NotBegun(NotBegun),
    NotWritten(NotWritten),
}

#[derive(Debug, Default)]
pub(super) struct Callbacks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// In the order of their beginning; when it is due, all of an entry can be forgotten.
    order: Queue,
    /// In the order of their end; when it is due, a result can be forgotten. Failures stand apart, so that
    /// made-up codes push out nobody's session.
    sessions: Queue,
    failures: Queue,
    /// Forgets results while there are any, though no other login comes along: they hold tokens.
    sweeper: Option<JoinHandle<()>>,
}

type Key = [u8; 16];

/// By the monotonic time at which they are due.
type Queue = VecDeque<(Duration, Key)>;

#[derive(Debug)]
enum Entry {
    Running(watch::Receiver<Option<Outcome>>),
    Done(Outcome),
    Used,
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

impl From<NotAdmitted> for SignInError {
    fn from(error: NotAdmitted) -> Self {
        Self::NotAdmitted(error)
    }
}

impl From<NotWritten> for SignInError {
    fn from(error: NotWritten) -> Self {
        Self::NotWritten(error)
    }
}

impl From<NotBegun> for SignInError {
    fn from(error: NotBegun) -> Self {
        Self::NotBegun(error)
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

impl Callbacks {
    /// Carries out `work` for this state, unless that is done or being done.
    pub(super) async fn once<F>(
        self: &Arc<Self>,
        state: &State,
        clock: &SharedClock,
        work: impl FnOnce() -> F,
    ) -> Answer
    where
        F: Future<Output = Result<Held, SignInError>> + Send + 'static,
    {
        let key = key(state);
        let mut receiver = {
            let mut inner = self.lock();
            inner.forget(clock.monotonic());
            match inner.entries.get(&key) {
                Some(Entry::Done(outcome)) => return Answer::Outcome(Arc::clone(outcome)),
                Some(Entry::Used) => return Answer::Used,
                Some(Entry::Running(receiver)) => receiver.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    inner.begin(key, receiver.clone(), clock.monotonic());
                    let task = self.run(key, Arc::clone(clock), sender, work());
                    tokio::spawn(task);
                    receiver
                }
            }
        };
        match receiver.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().map_or(Answer::Lost, Answer::Outcome),
            Err(_) => Answer::Lost,
        }
    }

    fn run<F>(
        self: &Arc<Self>,
        key: Key,
        clock: SharedClock,
        sender: watch::Sender<Option<Outcome>>,
        work: F,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = Result<Held, SignInError>> + Send + 'static,
    {
        let callbacks = Arc::downgrade(self);
        async move {
            let outcome = Arc::new(work.await);
            if let Some(callbacks) = callbacks.upgrade() {
                callbacks.keep(key, Arc::clone(&outcome), &clock);
            }
            sender.send_replace(Some(outcome));
        }
    }

    fn keep(self: &Arc<Self>, key: Key, outcome: Outcome, clock: &SharedClock) {
        let mut inner = self.lock();
        let until = clock.monotonic().saturating_add(RESULT_KEPT);
        inner.end(key, outcome, until);
        // Finished, but still there: its runtime was shut down.
        if inner.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            let sweeper = sweep(Arc::downgrade(self), Arc::clone(clock));
            inner.sweeper = Some(tokio::spawn(sweeper));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(callbacks: Weak<Callbacks>, clock: SharedClock) {
    let rest = || {
        let callbacks = callbacks.upgrade()?;
        callbacks.lock().sweep(clock.monotonic())
    };
    while let Some(rest) = rest() {
        clock.sleep(rest).await;
    }
}

impl Inner {
    fn begin(&mut self, key: Key, receiver: watch::Receiver<Option<Outcome>>, now: Duration) {
        while self.order.len() >= MAX_ENTRIES {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        self.order.push_back((now.saturating_add(STATE_KEPT), key));
        self.entries.insert(key, Entry::Running(receiver));
    }

    fn end(&mut self, key: Key, outcome: Outcome, until: Duration) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let results = match *outcome {
            Ok(_) => &mut self.sessions,
            Err(_) => &mut self.failures,
        };
        *entry = Entry::Done(outcome);
        results.push_back((until, key));
        if results.len() > MAX_RESULTS
            && let Some((_, oldest)) = results.pop_front()
        {
            self.forget_result(&oldest);
        }
    }

    fn forget(&mut self, now: Duration) {
        while let Some(key) = due(&mut self.sessions, now).or_else(|| due(&mut self.failures, now))
        {
            self.forget_result(&key);
        }
        while let Some(key) = due(&mut self.order, now) {
            self.entries.remove(&key);
        }
    }

    fn forget_result(&mut self, key: &Key) {
        if let Some(entry @ Entry::Done(_)) = self.entries.get_mut(key) {
            *entry = Entry::Used;
        }
    }

    /// Forgets what is due, and says how long until there is something again; `None` when that was all.
    fn sweep(&mut self, now: Duration) -> Option<Duration> {
        self.forget(now);
        let fronts = [self.sessions.front(), self.failures.front()];
        let next = fronts.into_iter().flatten().map(|&(until, _)| until).min();
        if next.is_none() {
            self.sweeper = None;
        }
        next.map(|until| until.saturating_sub(now))
    }
}

/// Takes out the first, if its time has come.
fn due(queue: &mut Queue, now: Duration) -> Option<Key> {
    queue.front().filter(|(until, _)| *until <= now)?;
    queue.pop_front().map(|(_, key)| key)
}

fn key(state: &State) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(state.expose().as_bytes())[..16]);
    key
}

const RESULT_KEPT: Duration = Duration::from_secs(60);

/// As long as its transaction could be presented again, and the time to carry it out.
const STATE_KEPT: Duration = Transaction::LIFETIME.saturating_add(RESULT_KEPT);

/// Of each kind; a session is as large as its tokens. Beyond that the oldest is forgotten, and a second
/// click on its callback hears that it was used.
const MAX_RESULTS: usize = 1000;

/// About 10 MB. Beyond that the oldest is forgotten; a code sent again after that is one that the
/// authorization server has seen.
const MAX_ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::{Clock, Sleep};
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
    async fn fail(callbacks: &Arc<Callbacks>, clock: &SharedClock, name: &str) -> Weak<Kept> {
        let error = FlowError::from(AuthorizationResponse::parse("").unwrap_err());
        let error = SignInError::Flow(error);
        let work = || async move { Err(error) };
        match callbacks.once(&State::new(name), clock, work).await {
            Answer::Outcome(outcome) => Arc::downgrade(&outcome),
            other => panic!("{other:?}"),
        }
    }

    type Kept = Result<Held, SignInError>;

    async fn come_to_rest() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_result_is_gone_after_a_minute_though_nobody_comes_along() {
        let turned = Arc::new(Turned(watch::Sender::new(Duration::ZERO)));
        let clock: SharedClock = Arc::<Turned>::clone(&turned);
        let callbacks = Arc::new(Callbacks::default());
        // The second time, with a sweeper that ended in between.
        for _ in 0..2 {
            let first = fail(&callbacks, &clock, &format!("{:?}", clock.monotonic())).await;
            turned.0.send_modify(|now| *now += RESULT_KEPT / 2);
            let second = fail(&callbacks, &clock, &format!("{:?}", clock.monotonic())).await;
            come_to_rest().await;
            assert_eq!((first.strong_count(), second.strong_count()), (1, 1));
            turned.0.send_modify(|now| *now += RESULT_KEPT / 2);
            come_to_rest().await;
            assert_eq!((first.strong_count(), second.strong_count()), (0, 1));
            turned.0.send_modify(|now| *now += RESULT_KEPT / 2);
            come_to_rest().await;
            assert_eq!(second.strong_count(), 0);
            assert!(callbacks.lock().sweeper.is_none());
        }
        assert_eq!(callbacks.lock().entries.len(), 4);
    }

    #[tokio::test]
    async fn results_and_states_are_bounded() {
        let clock: SharedClock = Arc::new(Turned(watch::Sender::new(Duration::ZERO)));
        let callbacks = Arc::new(Callbacks::default());
        let mut kept = Vec::new();
        for n in 0..=MAX_RESULTS {
            kept.push(fail(&callbacks, &clock, &n.to_string()).await);
        }
        come_to_rest().await;
        let alive = |kept: &[Weak<Kept>]| kept.iter().filter(|it| it.strong_count() > 0).count();
        assert_eq!((alive(&kept[..1]), alive(&kept)), (0, MAX_RESULTS));
        let state = State::new("0");
        let again = callbacks.once(&state, &clock, || async { panic!("twice") });
        assert!(matches!(again.await, Answer::Used));
        for n in 0..MAX_ENTRIES {
            let mut key = [9; 16];
            key[..8].copy_from_slice(&n.to_be_bytes());
            callbacks
                .lock()
                .begin(key, watch::channel(None).1, Duration::ZERO);
        }
        let inner = callbacks.lock();
        assert_eq!(
            (inner.entries.len(), inner.order.len()),
            (MAX_ENTRIES, MAX_ENTRIES)
        );
    }
}
