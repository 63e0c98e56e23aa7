//! The contract of a [`Store`] as test functions for any implementation.
//!
//! Implement [`StoreUnderTest`] for the store, and call [`check_contract`] from a test of its own runtime:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use tower_oauth::store::MemoryStore;
//! use tower_oauth::testing::store_suite::{self, StoreUnderTest};
//!
//! struct Mine(Arc<MemoryStore>);
//!
//! impl StoreUnderTest for Mine {
//!     type Store = MemoryStore;
//!
//!     fn store(&self) -> Arc<MemoryStore> {
//!         Arc::clone(&self.0)
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         tokio::time::sleep(time).await;
//!     }
//!
//!     fn short_ttl(&self) -> Duration {
//!         Duration::from_millis(50)
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! store_suite::check_contract(&Mine(Arc::new(MemoryStore::new()))).await;
//! # });
//! ```
//!
//! [`each_class_has_separate_capacity`] and [`a_full_store_accepts_replacements`] require an empty store with little
//! capacity. Outages and timeouts depend on the store and are not part of the suite. All functions panic if the store
//! violates the contract.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::store::{Expect, Key, Put, Removed, Store, StoreError};

/// A store to test, and control over the time that it observes.
pub trait StoreUnderTest {
    /// The implementation.
    type Store: Store;

    /// Returns the store.
    fn store(&self) -> Arc<Self::Store>;

    /// Lets time pass: advances a manual clock, or waits.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;

    /// Returns a time to live that is short enough to wait for.
    fn short_ttl(&self) -> Duration;
}

/// Checks the contract, except for capacity. Takes a second or two. All functions use
/// keys of their own, so the store may have other entries.
pub async fn check_contract(tested: &impl StoreUnderTest) {
    an_entry_is_readable_until_it_is_removed(tested).await;
    values_of_any_bytes_are_returned_unchanged(tested).await;
    an_operation_takes_effect_only_if_its_condition_is_met(tested).await;
    versions_of_a_key_are_unique_and_increasing(tested).await;
    an_expired_entry_is_absent_for_all_operations(tested).await;
    each_put_replaces_the_time_to_live(tested).await;
    an_entry_with_a_time_to_live_of_zero_is_absent_immediately(tested).await;
    exactly_one_of_many_concurrent_puts_succeeds(tested).await;
    compare_and_swap_loses_no_update(tested).await;
    versions_grow_although_writers_compete(tested).await;
}

/// A time to live that no test waits for.
const LONG: Duration = Duration::from_secs(3600);

/// Returns a key that no other test uses, even if they share the store.
pub fn fresh_key() -> Key {
    fresh_key_of("suite")
}

fn fresh_key_of(purpose: &'static str) -> Key {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Key::new(purpose, &format!("{}-{count}", now.as_nanos()))
}

fn value(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn store_it(store: &impl Store, key: &Key, text: &'static str, ttl: Duration) -> u64 {
    match store.put(key, value(text), ttl, Expect::Anything).await {
        Ok(Put::Stored(version)) => version,
        other => panic!("{other:?}"),
    }
}

/// An entry is readable until it is removed.
pub async fn an_entry_is_readable_until_it_is_removed(tested: &impl StoreUnderTest) {
    let (store, key) = (tested.store(), fresh_key());
    assert_eq!(store.get(&key).await.unwrap(), None);
    let version = store_it(&*store, &key, "one", LONG).await;
    let record = store.get(&key).await.unwrap().unwrap();
    assert_eq!((record.value(), record.version()), (&value("one"), version));
    assert_eq!(store.get(&fresh_key()).await.unwrap(), None);
    let removed = store.remove(&key, Expect::Anything).await.unwrap();
    assert_eq!(removed, Removed::Removed);
    assert_eq!(store.get(&key).await.unwrap(), None);
    let removed = store.remove(&key, Expect::Anything).await.unwrap();
    assert_eq!(removed, Removed::Absent);
}

/// Values of any bytes are returned unchanged.
pub async fn values_of_any_bytes_are_returned_unchanged(tested: &impl StoreUnderTest) {
    let (store, key) = (tested.store(), fresh_key());
    let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for value in [
        Bytes::new(),
        Bytes::from(all),
        Bytes::from_static(b"\0\r\n"),
    ] {
        let put = store.put(&key, value.clone(), LONG, Expect::Anything);
        assert!(matches!(put.await, Ok(Put::Stored(_))));
        let record = store.get(&key).await.unwrap().unwrap();
        assert_eq!(record.into_value(), value);
    }
}

/// An operation takes effect only if its condition is met.
pub async fn an_operation_takes_effect_only_if_its_condition_is_met(tested: &impl StoreUnderTest) {
    let (store, key) = (tested.store(), fresh_key());
    let put = async |text, expect| store.put(&key, value(text), LONG, expect).await.unwrap();
    let remove = async |expect| store.remove(&key, expect).await.unwrap();
    let current = async || {
        let record = store.get(&key).await.unwrap();
        record.map(|record| record.into_value())
    };

    // Without an entry.
    assert_eq!(put("a", Expect::Version(1)).await, Put::Conflict);
    assert_eq!(remove(Expect::Version(1)).await, Removed::Absent);
    assert_eq!(remove(Expect::Absent).await, Removed::Absent);
    assert_eq!(current().await, None);

    // With an entry.
    let Put::Stored(first) = put("a", Expect::Absent).await else {
        panic!("not stored")
    };
    assert_eq!(put("b", Expect::Absent).await, Put::Conflict);
    assert_eq!(put("b", Expect::Version(first + 1)).await, Put::Conflict);
    assert_eq!(remove(Expect::Absent).await, Removed::Conflict);
    assert_eq!(remove(Expect::Version(first + 1)).await, Removed::Conflict);
    assert_eq!(current().await, Some(value("a")));

    // After a replacement, the previous version no longer matches.
    let Put::Stored(second) = put("b", Expect::Version(first)).await else {
        panic!("not stored")
    };
    assert_eq!(put("c", Expect::Version(first)).await, Put::Conflict);
    assert_eq!(remove(Expect::Version(first)).await, Removed::Conflict);
    assert_eq!(current().await, Some(value("b")));
    assert_eq!(remove(Expect::Version(second)).await, Removed::Removed);
    assert_eq!(current().await, None);
}

/// Versions of a key are unique and increasing, also after a removal and after expiry.
pub async fn versions_of_a_key_are_unique_and_increasing(tested: &impl StoreUnderTest) {
    let (store, key) = (tested.store(), fresh_key());
    let mut versions = vec![store_it(&*store, &key, "first", LONG).await];
    versions.push(store_it(&*store, &key, "replaced", LONG).await);
    store.remove(&key, Expect::Anything).await.unwrap();
    versions.push(store_it(&*store, &key, "after a removal", tested.short_ttl()).await);
    tested.pass(tested.short_ttl() * 2).await;
    versions.push(store_it(&*store, &key, "after expiry", LONG).await);
    store.remove(&key, Expect::Anything).await.unwrap();
    versions.push(store_it(&*store, &key, "after both", LONG).await);
    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
}

/// An expired entry is absent for all operations.
pub async fn an_expired_entry_is_absent_for_all_operations(tested: &impl StoreUnderTest) {
    let (store, keys) = (tested.store(), [fresh_key(), fresh_key(), fresh_key()]);
    let mut versions = Vec::new();
    for key in &keys {
        versions.push(store_it(&*store, key, "short", tested.short_ttl()).await);
        assert!(store.get(key).await.unwrap().is_some());
    }
    tested.pass(tested.short_ttl() * 2).await;
    let [read, put, removed] = &keys;
    assert_eq!(store.get(read).await.unwrap(), None);
    let stale = Expect::Version(versions[1]);
    let answer = store.put(put, value("new"), LONG, stale).await.unwrap();
    assert_eq!(answer, Put::Conflict, "the version has expired");
    let answer = store.put(put, value("new"), LONG, Expect::Absent).await;
    assert!(matches!(answer, Ok(Put::Stored(_))));
    let answer = store.remove(removed, Expect::Anything).await.unwrap();
    assert_eq!(answer, Removed::Absent);
}

/// Each `put` replaces the time to live.
pub async fn each_put_replaces_the_time_to_live(tested: &impl StoreUnderTest) {
    let (store, longer, shorter) = (tested.store(), fresh_key(), fresh_key());
    store_it(&*store, &longer, "a", tested.short_ttl()).await;
    store_it(&*store, &longer, "b", LONG).await;
    store_it(&*store, &shorter, "a", LONG).await;
    store_it(&*store, &shorter, "b", tested.short_ttl()).await;
    tested.pass(tested.short_ttl() * 2).await;
    assert!(store.get(&longer).await.unwrap().is_some());
    assert!(store.get(&shorter).await.unwrap().is_none());
}

/// An entry with a time to live of zero is absent immediately.
pub async fn an_entry_with_a_time_to_live_of_zero_is_absent_immediately(
    tested: &impl StoreUnderTest,
) {
    let (store, key) = (tested.store(), fresh_key());
    let first = store_it(&*store, &key, "a", Duration::ZERO).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
    let answer = store.put(&key, value("b"), LONG, Expect::Absent).await;
    assert!(matches!(answer, Ok(Put::Stored(second)) if second > first));
}

/// Of many concurrent `put`s with [`Expect::Absent`], exactly one succeeds.
pub async fn exactly_one_of_many_concurrent_puts_succeeds(tested: &impl StoreUnderTest) {
    let (store, key) = (tested.store(), fresh_key());
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move { store.put(&key, Bytes::new(), LONG, Expect::Absent).await })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        match task.await.unwrap().unwrap() {
            Put::Stored(_) => stored += 1,
            Put::Conflict => {}
        }
    }
    assert_eq!(stored, 1);
}

/// Adds entries of this purpose until the store is full for their class.
async fn fill(store: &impl Store, purpose: &'static str) -> Vec<Key> {
    let value = Bytes::from(vec![7; 4096]);
    let mut keys = Vec::new();
    while keys.len() < 100_000 {
        let key = fresh_key_of(purpose);
        match store.put(&key, value.clone(), LONG, Expect::Absent).await {
            Ok(Put::Stored(_)) => keys.push(key),
            Err(StoreError::Full) => return keys,
            other => panic!("{other:?}"),
        }
    }
    panic!("this store has too much capacity for this test")
}

/// The purposes of protected entries.
const PROTECTED: [&str; 5] = ["cookie", "lease", "logout", "ended-user", "ended-sid"];

/// Entries of unauthenticated callers must not use up the capacity of sessions, and sessions not that of protected
/// entries. Requires a store with capacity for at most a few thousand entries of 4 KiB.
pub async fn each_class_has_separate_capacity(tested: &impl StoreUnderTest) {
    let store = tested.store();
    let states = fill(&*store, "state").await;
    assert!(!states.is_empty());
    for purpose in ["session", "user", "sid", "dpop", "suite"] {
        store_it(&*store, &fresh_key_of(purpose), "a", LONG).await;
    }
    let sessions = fill(&*store, "session").await;
    assert!(!sessions.is_empty());
    for _ in 0..20 {
        for purpose in PROTECTED {
            let key = fresh_key_of(purpose);
            store_it(&*store, &key, "a", LONG).await;
            assert!(store.get(&key).await.unwrap().is_some());
            store_it(&*store, &key, "b", LONG).await;
        }
        let state = fresh_key_of("state");
        let rejected = store.put(&state, Bytes::new(), LONG, Expect::Absent).await;
        assert!(matches!(rejected, Err(StoreError::Full)), "{rejected:?}");
    }
    // No entry was evicted.
    for key in states.iter().chain(&sessions) {
        assert!(store.get(key).await.unwrap().is_some());
    }
}

/// Requires a store with capacity for at most a few thousand entries of 4 KiB.
pub async fn a_full_store_accepts_replacements(tested: &impl StoreUnderTest) {
    let store = tested.store();
    for purpose in ["state", "session"] {
        let keys = fill(&*store, purpose).await;
        for key in keys.iter().take(20) {
            store_it(&*store, key, "replaced", LONG).await;
            let record = store.get(key).await.unwrap().unwrap();
            assert_eq!(record.value(), &value("replaced"));
            let removed = store.remove(key, Expect::Anything).await.unwrap();
            assert_eq!(removed, Removed::Removed);
        }
        store_it(&*store, &fresh_key_of(purpose), "accepted again", LONG).await;
    }
}

/// Increments a counter concurrently by compare-and-swap.
pub async fn compare_and_swap_loses_no_update(tested: &impl StoreUnderTest) {
    let (store, key) = (tested.store(), fresh_key());
    let start = Bytes::from_static(&[0]);
    let put = store.put(&key, start, LONG, Expect::Absent).await;
    assert!(matches!(put, Ok(Put::Stored(_))));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                let mut increments = 0;
                while increments < 10 {
                    let record = store.get(&key).await.unwrap().unwrap();
                    let next = Bytes::from(vec![record.value()[0] + 1]);
                    let expect = Expect::Version(record.version());
                    match store.put(&key, next, LONG, expect).await.unwrap() {
                        Put::Stored(_) => increments += 1,
                        Put::Conflict => tokio::task::yield_now().await,
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let record = store.get(&key).await.unwrap().unwrap();
    assert_eq!(record.value()[0], 80);
}

/// Versions of a key grow although many writers compete: a store that draws a version before it has the lock (or from a
/// sequence of the database before it has the row) stores a smaller version over a greater one at times. A process that
/// was overtaken would then hold the greater fencing token.
///
/// Takes half a second. The writers are threads on the runtime of the caller.
pub async fn versions_grow_although_writers_compete(tested: &impl StoreUnderTest) {
    let key = fresh_key();
    let (start, greatest) = (Arc::new(Barrier::new(WRITERS)), Arc::new(AtomicU64::new(0)));
    let runtime = tokio::runtime::Handle::current();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (store, key, runtime) = (tested.store(), key.clone(), runtime.clone());
            let (start, greatest) = (Arc::clone(&start), Arc::clone(&greatest));
            tokio::task::spawn_blocking(move || {
                start.wait();
                let end = Instant::now() + COMPETITION;
                while Instant::now() < end {
                    let put = store.put(&key, Bytes::new(), LONG, Expect::Anything);
                    let Put::Stored(version) = runtime.block_on(put).unwrap() else {
                        panic!("a put without a condition is a conflict");
                    };
                    greatest.fetch_max(version, Ordering::SeqCst);
                    // Of a write that has completed, so a read that begins now sees it or a later one.
                    let completed = greatest.load(Ordering::SeqCst);
                    let current = runtime.block_on(store.get(&key)).unwrap().unwrap();
                    let current = current.version();
                    assert!(
                        current >= completed,
                        "the version decreased from {completed} to {current}: draw it while the entry is locked"
                    );
                }
            })
        })
        .collect();
    for writer in writers {
        if let Err(failed) = writer.await {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

const WRITERS: usize = 8;
const COMPETITION: Duration = Duration::from_millis(500);
