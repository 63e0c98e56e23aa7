//! Each callback is carried out once (`L13`, `H07`).
//!
//! A browser may send one callback several times: a double click, a reload, a proxy that retries. The
//! first redeems the code, in a task of its own so that a closed connection loses nothing; the others
//! wait for it, or get its result for a minute. After that the state is known to be used.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::crypto::digest::sha256;
use crate::flow::{FlowError, SessionRecord, Transaction};
use crate::protocol::State;

/// What the callback came to: a session, or why there is none.
pub(super) type Outcome = Arc<Result<SessionRecord, FlowError>>;

#[derive(Debug, Default)]
pub(super) struct Callbacks(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// In the order of their beginning, with the monotonic time at which all of it can be forgotten.
    order: VecDeque<(Duration, Key)>,
    /// In the order of their end, with the time at which the result can be forgotten.
    results: VecDeque<(Duration, Key)>,
}

type Key = [u8; 16];

#[derive(Debug)]
enum Entry {
    Running(watch::Receiver<Option<Outcome>>),
    Done(Outcome),
    Used,
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
        F: Future<Output = Result<SessionRecord, FlowError>> + Send + 'static,
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
        F: Future<Output = Result<SessionRecord, FlowError>> + Send + 'static,
    {
        let callbacks = Arc::downgrade(self);
        async move {
            let outcome = Arc::new(work.await);
            if let Some(callbacks) = callbacks.upgrade() {
                let until = clock.monotonic().saturating_add(RESULT_KEPT);
                callbacks.lock().end(key, Arc::clone(&outcome), until);
            }
            sender.send_replace(Some(outcome));
            // Tokens do not wait in memory for the next login to come along.
            clock.sleep(RESULT_KEPT).await;
            if let Some(callbacks) = callbacks.upgrade() {
                callbacks.lock().forget(clock.monotonic());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(entry) = self.entries.get_mut(&key) {
            *entry = Entry::Done(outcome);
            self.results.push_back((until, key));
        }
        while self.results.len() > MAX_RESULTS {
            self.forget_result();
        }
    }

    fn forget(&mut self, now: Duration) {
        while self.results.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_result();
        }
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.order.pop_front() {
                self.entries.remove(&key);
            }
        }
    }

    fn forget_result(&mut self) {
        let Some((_, key)) = self.results.pop_front() else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(&key) {
            *entry = Entry::Used;
        }
    }
}

fn key(state: &State) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(state.expose().as_bytes())[..16]);
    key
}

const RESULT_KEPT: Duration = Duration::from_secs(60);

/// As long as its transaction could be presented again, and the time to carry it out.
const STATE_KEPT: Duration = Transaction::LIFETIME.saturating_add(RESULT_KEPT);

/// Results hold a session each; used states a few bytes. Each is the price of a sealed transaction and
/// a token request, so nobody fills them for nothing.
const MAX_RESULTS: usize = 1000;
const MAX_ENTRIES: usize = 100_000;
