//! The claims. Each is checked in every interleaving that the schedulers choose; shuttle reports a deadlock if a task
//! is never woken.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use shuttle::future::block_on;
use shuttle::thread;
use shuttle_tokio::sync::oneshot;
use shuttle_tokio::task::yield_now;

use crate::single_flight::{NewFlight, SingleFlight, Waiter};
use crate::sync::Mutex;
use crate::{abort_last_task, panic_in_flight};

type Flights = SingleFlight<u8, usize>;

pub(crate) type Claim = fn(Flights);

pub(crate) const ALL: &[(&str, Claim)] = &[
    (
        "at most one flight for each key, and each caller wakes",
        one_flight,
    ),
    ("a later caller joins or finds what was stored", stored),
    (
        "a flight is removed before its outcome is sent",
        removed_first,
    ),
    ("a flight that panics leaves no entry", panics),
    (
        "a flight that is dropped leaves no entry, and its future is dropped first",
        dropped,
    ),
    ("the outcome of a detached flight is not stored", detached),
    ("a flight knows when no caller is left", abandoned),
    ("waiting until idle ends, with no task left", idle),
    ("no more flights than the limit", limited),
];

/// Checks a claim. No flight may be left at the end: shuttle cannot drop a task that waits for a lock.
pub(crate) fn check(claim: Claim) {
    let flights = Flights::default();
    claim(flights.clone());
    block_on(flights.wait_until_idle());
    assert!(join(&flights, 0).is_none(), "an entry is left");
}

fn begin<F>(flights: &Flights, key: u8, future: F) -> Waiter<usize>
where
    F: Future<Output = usize> + Send + 'static,
{
    let Ok(waiter) = flights.join(key, |_| Ok::<_, Infallible>(future));
    waiter
}

/// Joins a flight in progress.
fn join(flights: &Flights, key: u8) -> Option<Waiter<usize>> {
    let refuse = |_| Err::<std::future::Ready<usize>, ()>(());
    flights.join(key, refuse).ok()
}

fn spawn_all(
    count: usize,
    work: impl Fn(usize) + Send + Sync + 'static,
) -> Vec<thread::JoinHandle<()>> {
    let work = Arc::new(work);
    let threads = (0..count).map(|n| {
        let work = Arc::clone(&work);
        thread::spawn(move || work(n))
    });
    threads.collect()
}

fn join_all(threads: Vec<thread::JoinHandle<()>>) {
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

fn one_flight(flights: Flights) {
    let running = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let threads = spawn_all(4, move |n| {
        let (key, counts) = (n % 2, Arc::clone(&running));
        let flight = async move {
            assert_eq!(counts[key].fetch_add(1, SeqCst), 0, "two flights at once");
            yield_now().await;
            counts[key].fetch_sub(1, SeqCst);
            key
        };
        let waiter = begin(&flights, u8::try_from(key).unwrap(), flight);
        assert_eq!(block_on(waiter.outcome()), Some(key));
    });
    join_all(threads);
}

fn stored(flights: Flights) {
    let cache = Arc::new(Mutex::<Option<usize>>::default());
    let begun = Arc::new(AtomicUsize::new(0));
    let threads = spawn_all(3, move |_| {
        let start = |_| match *cache.lock() {
            Some(cached) => Err(cached),
            None => {
                let number = begun.fetch_add(1, SeqCst);
                Ok(async move {
                    yield_now().await;
                    number
                })
            }
        };
        let stored = Arc::clone(&cache);
        let store = move |outcome: &usize| *stored.lock() = Some(*outcome);
        let outcome = match flights.join_and_store(0, start, store) {
            Ok(waiter) => block_on(waiter.outcome()).unwrap(),
            Err(cached) => cached,
        };
        assert_eq!(outcome, 0, "a second flight");
    });
    join_all(threads);
}

fn removed_first(flights: Flights) {
    let threads = spawn_all(2, move |n| {
        let first = begin(&flights, 0, async move {
            yield_now().await;
            n
        });
        let first = block_on(first.outcome()).unwrap();
        // The flight of the other caller may be joined, but not the one whose outcome is known.
        let again = begin(&flights, 0, ready(2));
        if again.has_started() {
            assert_eq!(block_on(again.outcome()), Some(2));
        } else {
            let joined = block_on(again.outcome()).unwrap();
            assert!(joined != first, "joined a flight that has ended");
        }
    });
    join_all(threads);
}

fn panics(flights: Flights) {
    let inner = flights.clone();
    let threads = spawn_all(2, move |_| {
        let waiter = begin(&inner, 0, async {
            yield_now().await;
            panic_in_flight()
        });
        let other = waiter.clone();
        assert_eq!(block_on(waiter.outcome()), None);
        assert!(other.is_over() && other.result().is_none());
    });
    join_all(threads);
    assert!(join(&flights, 0).is_none(), "an entry is left");
}

fn dropped(flights: Flights) {
    /// Counts flights whose future exists.
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let threads = spawn_all(2, move |_| {
        let count = Arc::clone(&count);
        let start = |_| {
            assert_eq!(count.fetch_add(1, SeqCst), 0, "the former future exists");
            let counted = Counted(count);
            Ok::<_, Infallible>(async move {
                yield_now().await;
                drop(counted);
                1
            })
        };
        let Ok(waiter) = flights.join(0, start);
        abort_last_task();
        assert!(matches!(block_on(waiter.outcome()), None | Some(1)));
    });
    join_all(threads);
}

fn detached(flights: Flights) {
    let epoch = Arc::new(AtomicUsize::new(0));
    let cache = Arc::new(Mutex::<Option<usize>>::default());
    let (callers, revoker) = (flights.clone(), flights.clone());
    let (at, kept) = (Arc::clone(&epoch), Arc::clone(&cache));
    let mut threads = spawn_all(2, move |_| {
        let at = Arc::clone(&at);
        let start = |_| {
            let begun = at.load(SeqCst);
            Ok::<_, Infallible>(async move {
                yield_now().await;
                begun
            })
        };
        let stored = Arc::clone(&kept);
        let store = move |outcome: &usize| *stored.lock() = Some(*outcome);
        let Ok(waiter) = callers.join_and_store(0, start, store);
        assert!(block_on(waiter.outcome()).is_some());
    });
    let (next, cleared) = (Arc::clone(&epoch), Arc::clone(&cache));
    threads.extend(spawn_all(1, move |_| {
        revoker.detach(&0, || {
            next.fetch_add(1, SeqCst);
            *cleared.lock() = None;
        });
    }));
    join_all(threads);
    block_on(flights.wait_until_idle());
    let stored = *cache.lock();
    assert!(
        stored.is_none_or(|begun| begun == epoch.load(SeqCst)),
        "stored too late"
    );
}

fn abandoned(flights: Flights) {
    let threads = spawn_all(3, move |n| {
        let start = |flight: NewFlight<usize>| {
            Ok::<_, Infallible>(async move {
                flight.abandoned().await;
                1
            })
        };
        let Ok(waiter) = flights.join(0, start);
        if n == 0 {
            thread::yield_now();
        }
        drop(waiter);
    });
    join_all(threads);
}

fn idle(flights: Flights) {
    let running = Arc::new(AtomicUsize::new(0));
    for key in 0..2 {
        let (end, ended) = oneshot::channel();
        running.fetch_add(1, SeqCst);
        let count = Arc::clone(&running);
        let flight = async move {
            let _ = ended.await;
            count.fetch_sub(1, SeqCst);
            0
        };
        let waiter = begin(&flights, key, flight);
        thread::spawn(move || end.send(()));
        if key == 0 {
            flights.detach(&key, || {});
        }
        drop(waiter);
    }
    block_on(flights.wait_until_idle());
    assert_eq!(running.load(SeqCst), 0, "a task is left");
}

fn limited(flights: Flights) {
    let running = Arc::new(AtomicUsize::new(0));
    let threads = spawn_all(3, move |n| {
        let count = Arc::clone(&running);
        let start = |flight: NewFlight<usize>| match flight.in_progress() {
            2.. => Err(()),
            _ => Ok(async move {
                assert!(count.fetch_add(1, SeqCst) < 2, "three flights at once");
                yield_now().await;
                count.fetch_sub(1, SeqCst);
                n
            }),
        };
        if let Ok(waiter) = flights.join(u8::try_from(n).unwrap(), start) {
            assert_eq!(block_on(waiter.outcome()), Some(n));
        }
    });
    join_all(threads);
}
