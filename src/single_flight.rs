//! Single flight: concurrent callers share one attempt for each key.
//!
//! The attempt runs in a task of its own and continues if its callers leave. A caller that needs an outcome to be
//! remembered lets the attempt store it before it completes, or passes `store`; whatever must not happen twice is
//! checked in `start`, under the lock. An attempt that must leave a trace even if it panics or its runtime shuts
//! down needs a drop guard inside its future, which is dropped before the flight can no longer be joined.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use tokio::sync::watch;

use crate::sync::Mutex;

/// The flights in progress, by key. Clones share them.
pub(crate) struct SingleFlight<K, T>(Arc<Flights<K, T>>);

struct Flights<K, T> {
    by_key: Mutex<HashMap<K, Sender<T>>>,
    /// Each task has a receiver, so that the channel is closed while no task runs.
    tasks: watch::Sender<()>,
}

/// Sends the outcome of a flight. Its address identifies the flight.
type Sender<T> = Arc<watch::Sender<Option<T>>>;

/// A flight that is about to begin.
pub(crate) struct NewFlight<T> {
    sender: Sender<T>,
    in_progress: usize,
}

/// Waits for the outcome of a flight.
#[derive(Clone, Debug)]
pub(crate) struct Waiter<T> {
    receiver: watch::Receiver<Option<T>>,
    has_started: bool,
}

impl<K, T> SingleFlight<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the flight in progress for `key`, or begins one with the future that `start` returns.
    ///
    /// `start` is called under the lock, so it must not use this object. If it returns an error, no flight begins.
    pub(crate) fn join<F, E>(
        &self,
        key: K,
        start: impl FnOnce(NewFlight<T>) -> Result<F, E>,
    ) -> Result<Waiter<T>, E>
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.join_and_store(key, start, |_| {})
    }

    /// Does the same as [`join`](Self::join). Unless the flight was detached, `store` gets its outcome, under the
    /// same lock as `start` of a later flight: a later caller either joins or finds what was stored.
    pub(crate) fn join_and_store<F, E>(
        &self,
        key: K,
        start: impl FnOnce(NewFlight<T>) -> Result<F, E>,
        store: impl FnOnce(&T) + Send + 'static,
    ) -> Result<Waiter<T>, E>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.0.by_key.lock();
        if let Some(sender) = flights.get(&key) {
            return Ok(Waiter {
                receiver: sender.subscribe(),
                has_started: false,
            });
        }
        let (sender, receiver) = watch::channel(None);
        let sender = Arc::new(sender);
        let future = start(NewFlight {
            sender: Arc::clone(&sender),
            in_progress: flights.len(),
        })?;
        flights.insert(key.clone(), Arc::clone(&sender));
        drop(flights);
        let flight = Flight {
            future,
            entry: RemoveOnDrop {
                flights: Arc::clone(&self.0),
                key,
                sender,
                _task: self.0.tasks.subscribe(),
            },
        };
        // Not under the lock: a runtime that is shutting down drops the task at once.
        tokio::spawn(flight.run(store));
        Ok(Waiter {
            receiver,
            has_started: true,
        })
    }

    /// Detaches the flight of this key: later callers begin a new one, and its outcome is not stored. `then` is called
    /// under the lock, before a new flight can begin.
    pub(crate) fn detach(&self, key: &K, then: impl FnOnce()) {
        let mut flights = self.0.by_key.lock();
        flights.remove(key);
        then();
    }

    /// Waits until no flight is in progress, including detached ones.
    pub(crate) async fn wait_until_idle(&self) {
        closed(&self.0.tasks).await;
    }
}

impl<T> NewFlight<T> {
    /// Returns the number of other flights in progress.
    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress
    }

    /// Completes when no caller waits for the outcome any more. Another caller may join just afterwards; it gets the
    /// same outcome.
    pub(crate) async fn abandoned(self) {
        closed(&self.sender).await;
    }
}

impl<T: Clone> Waiter<T> {
    /// Returns whether the caller has begun the flight, instead of joining one in progress.
    pub(crate) fn has_started(&self) -> bool {
        self.has_started
    }

    /// Waits for the outcome. Returns `None` if the flight panicked or its runtime shut down.
    pub(crate) async fn outcome(mut self) -> Option<T> {
        let outcome = self.receiver.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    /// Returns whether the flight has ended, with or without an outcome.
    pub(crate) fn is_over(&self) -> bool {
        self.receiver.has_changed().is_err()
    }

    /// Returns the outcome if it is available.
    pub(crate) fn result(&self) -> Option<T> {
        self.receiver.borrow().clone()
    }
}

/// A flight in its task. The future is dropped first, so that what it does on drop precedes the next flight.
struct Flight<F, K: Eq + Hash, T> {
    future: F,
    entry: RemoveOnDrop<K, T>,
}

impl<F, K, T> Flight<F, K, T>
where
    F: Future<Output = T>,
    K: Eq + Hash,
{
    async fn run(self, store: impl FnOnce(&T)) {
        let Self { future, entry } = self;
        let outcome = future.await;
        entry.remove(|| store(&outcome));
        // After the removal: a waiter that asks again begins a new flight.
        entry.sender.send_replace(Some(outcome));
    }
}

/// The entry of a flight. It is removed when the task ends, also by a panic or by the end of the runtime.
struct RemoveOnDrop<K: Eq + Hash, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
    sender: Sender<T>,
    _task: watch::Receiver<()>,
}

impl<K: Eq + Hash, T> RemoveOnDrop<K, T> {
    /// Removes the entry and calls `then`, unless the flight was detached.
    fn remove(&self, then: impl FnOnce()) {
        let mut flights = self.flights.by_key.lock();
        let current = flights.get(&self.key);
        if current.is_some_and(|sender| Arc::ptr_eq(sender, &self.sender)) {
            flights.remove(&self.key);
            then();
        }
    }
}

impl<K: Eq + Hash, T> Drop for RemoveOnDrop<K, T> {
    fn drop(&mut self) {
        self.remove(|| {});
    }
}

/// Waits until a channel has no receiver.
async fn closed<T>(sender: &watch::Sender<T>) {
    loop {
        sender.closed().await;
        // Another receiver may have subscribed since.
        if sender.receiver_count() == 0 {
            return;
        }
    }
}

impl<K, T> Clone for SingleFlight<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Arc::new(Flights {
            by_key: Mutex::default(),
            tasks: watch::channel(()).0,
        }))
    }
}

impl<K, T> fmt::Debug for SingleFlight<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_progress = self.0.by_key.lock().len();
        f.debug_struct("SingleFlight")
            .field("in_progress", &in_progress)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    type Flights = SingleFlight<&'static str, u32>;

    /// Begins a flight that ends with what is sent.
    fn begin(flights: &Flights, key: &'static str) -> (oneshot::Sender<u32>, Waiter<u32>) {
        let (end, outcome) = oneshot::channel();
        let start = |_| Ok::<_, Infallible>(async move { outcome.await.unwrap() });
        let Ok(waiter) = flights.join(key, start);
        assert!(waiter.has_started());
        (end, waiter)
    }

    fn join(flights: &Flights, key: &'static str) -> Option<Waiter<u32>> {
        let refuse = |_| Err::<std::future::Pending<u32>, ()>(());
        flights.join(key, refuse).ok()
    }

    #[tokio::test]
    async fn callers_with_one_key_share_a_flight_until_it_ends() {
        let flights = Flights::default();
        let (end, first) = begin(&flights, "a");
        let second = join(&flights, "a").unwrap();
        assert!(!second.has_started() && !second.is_over());
        assert!(join(&flights, "b").is_none(), "no other key");
        assert_eq!(second.result(), None);
        end.send(7).unwrap();
        assert_eq!(first.outcome().await, Some(7));
        assert!(join(&flights, "a").is_none(), "removed before the outcome");
        yield_now().await;
        assert!(second.is_over());
        assert_eq!(
            (second.result(), second.outcome().await),
            (Some(7), Some(7))
        );
    }

    #[tokio::test]
    async fn a_flight_goes_on_without_callers_and_knows_that_they_left() {
        let flights = Flights::default();
        let (noticed, notice) = oneshot::channel();
        let start = |flight: NewFlight<u32>| {
            Ok::<_, Infallible>(async move {
                flight.abandoned().await;
                noticed.send(()).unwrap();
                8
            })
        };
        let Ok(first) = flights.join("a", start);
        let second = join(&flights, "a").unwrap();
        drop(first);
        yield_now().await;
        assert!(!second.is_over(), "one caller is left");
        drop(second);
        notice.await.unwrap();
        flights.wait_until_idle().await;
        assert!(join(&flights, "a").is_none());
    }

    #[tokio::test]
    async fn a_flight_that_panics_leaves_no_entry() {
        let flights = Flights::default();
        let (end, waiter) = begin(&flights, "a");
        drop(end);
        assert_eq!(waiter.outcome().await, None);
        assert!(join(&flights, "a").is_none());
        flights.wait_until_idle().await;
    }

    #[test]
    fn a_flight_whose_runtime_ends_leaves_no_entry() {
        struct NotJoinable(Flights);
        impl Drop for NotJoinable {
            fn drop(&mut self) {
                // The future is dropped before another flight can begin.
                assert!(join(&self.0, "a").is_some());
            }
        }
        for is_polled in [false, true] {
            let flights = Flights::default();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let waiter = runtime.block_on(async {
                let guard = NotJoinable(flights.clone());
                let flight = async move {
                    let _guard = guard;
                    pending().await
                };
                let Ok(waiter) = flights.join("a", |_| Ok::<_, Infallible>(flight));
                if is_polled {
                    yield_now().await;
                }
                waiter
            });
            drop(runtime);
            assert!(waiter.is_over());
            assert!(join(&flights, "a").is_none());
        }
    }

    #[tokio::test]
    async fn a_detached_flight_stores_nothing_and_does_not_end_its_successor() {
        let flights = Flights::default();
        let stored = Arc::new(AtomicU32::new(0));
        let mut ends = Vec::new();
        for _ in 0..2 {
            let (end, outcome) = oneshot::channel();
            ends.push(end);
            let stored = Arc::clone(&stored);
            let start = |_| Ok::<_, Infallible>(async move { outcome.await.unwrap() });
            let store = move |outcome: &u32| stored.store(*outcome, Ordering::Relaxed);
            let Ok(waiter) = flights.join_and_store("a", start, store);
            assert!(waiter.has_started());
            if ends.len() == 1 {
                flights.detach(&"a", || {});
            }
        }
        let second = join(&flights, "a").unwrap();
        ends.remove(0).send(1).unwrap();
        yield_now().await;
        assert!(join(&flights, "a").is_some(), "the second is in progress");
        assert_eq!(stored.load(Ordering::Relaxed), 0);
        ends.remove(0).send(2).unwrap();
        assert_eq!(second.outcome().await, Some(2));
        assert_eq!(stored.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_new_flight_knows_how_many_others_are_in_progress() {
        let flights = Flights::default();
        let _ends = [begin(&flights, "a"), begin(&flights, "b")];
        let start = |flight: NewFlight<u32>| match flight.in_progress() {
            0 => Ok(ready(1)),
            others => Err(others),
        };
        assert_eq!(flights.join("c", start).err(), Some(2));
    }
}
