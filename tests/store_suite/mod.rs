//! What every store promises, as tests that take any of them.
//!
//! A store of one's own is tried by a [`Subject`] for it and a `#[tokio::test]` for each function here.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tower_oauth::store::{Expect, Key, Put, Removed, Store, StoreError};

/// A store to try, and the time it reads.
pub trait Subject {
    type Store: Store;

    fn store(&self) -> Arc<Self::Store>;

    /// Lets time pass: turns a clock, or waits.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;

    /// A time to live that is short enough to wait for.
    fn moment(&self) -> Duration;
}

/// Long enough that no test sees its end.
const LONG: Duration = Duration::from_secs(3600);

/// A key that no other test has, also where the store is shared.
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

pub async fn what_was_put_is_there_until_it_is_removed(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
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

pub async fn values_of_any_bytes_come_back_as_they_were(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
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

pub async fn a_verb_takes_effect_only_where_the_entry_is_as_expected(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
    let put = async |text, expect| store.put(&key, value(text), LONG, expect).await.unwrap();
    let remove = async |expect| store.remove(&key, expect).await.unwrap();
    let held = async || {
        let record = store.get(&key).await.unwrap();
        record.map(|record| record.into_value())
    };

    // Nothing is there.
    assert_eq!(put("a", Expect::Version(1)).await, Put::Conflict);
    assert_eq!(remove(Expect::Version(1)).await, Removed::Absent);
    assert_eq!(remove(Expect::Absent).await, Removed::Absent);
    assert_eq!(held().await, None);

    // Something is.
    let Put::Stored(first) = put("a", Expect::Absent).await else {
        panic!("not stored")
    };
    assert_eq!(put("b", Expect::Absent).await, Put::Conflict);
    assert_eq!(put("b", Expect::Version(first + 1)).await, Put::Conflict);
    assert_eq!(remove(Expect::Absent).await, Removed::Conflict);
    assert_eq!(remove(Expect::Version(first + 1)).await, Removed::Conflict);
    assert_eq!(held().await, Some(value("a")));

    // It is replaced: the version before is none any more.
    let Put::Stored(second) = put("b", Expect::Version(first)).await else {
        panic!("not stored")
    };
    assert_eq!(put("c", Expect::Version(first)).await, Put::Conflict);
    assert_eq!(remove(Expect::Version(first)).await, Removed::Conflict);
    assert_eq!(held().await, Some(value("b")));
    assert_eq!(remove(Expect::Version(second)).await, Removed::Removed);
    assert_eq!(held().await, None);
}

pub async fn no_key_sees_a_version_twice(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
    let mut versions = vec![store_it(&*store, &key, "first", LONG).await];
    versions.push(store_it(&*store, &key, "replaced", LONG).await);
    store.remove(&key, Expect::Anything).await.unwrap();
    versions.push(store_it(&*store, &key, "after a removal", subject.moment()).await);
    subject.pass(subject.moment() * 2).await;
    versions.push(store_it(&*store, &key, "after an end", LONG).await);
    store.remove(&key, Expect::Anything).await.unwrap();
    versions.push(store_it(&*store, &key, "after both", LONG).await);
    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
}

pub async fn an_entry_whose_time_is_over_is_absent_to_every_verb(subject: &impl Subject) {
    let (store, keys) = (subject.store(), [fresh_key(), fresh_key(), fresh_key()]);
    let mut versions = Vec::new();
    for key in &keys {
        versions.push(store_it(&*store, key, "short", subject.moment()).await);
        assert!(store.get(key).await.unwrap().is_some());
    }
    subject.pass(subject.moment() * 2).await;
    let [read, put, removed] = &keys;
    assert_eq!(store.get(read).await.unwrap(), None);
    let stale = Expect::Version(versions[1]);
    let answer = store.put(put, value("new"), LONG, stale).await.unwrap();
    assert_eq!(answer, Put::Conflict, "there is nothing of that version");
    let answer = store.put(put, value("new"), LONG, Expect::Absent).await;
    assert!(matches!(answer, Ok(Put::Stored(_))));
    let answer = store.remove(removed, Expect::Anything).await.unwrap();
    assert_eq!(answer, Removed::Absent);
}

pub async fn each_put_sets_the_time_to_live_anew(subject: &impl Subject) {
    let (store, longer, shorter) = (subject.store(), fresh_key(), fresh_key());
    store_it(&*store, &longer, "a", subject.moment()).await;
    store_it(&*store, &longer, "b", LONG).await;
    store_it(&*store, &shorter, "a", LONG).await;
    store_it(&*store, &shorter, "b", subject.moment()).await;
    subject.pass(subject.moment() * 2).await;
    assert!(store.get(&longer).await.unwrap().is_some());
    assert!(store.get(&shorter).await.unwrap().is_none());
}

pub async fn no_time_to_live_is_stored_and_gone(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
    let first = store_it(&*store, &key, "a", Duration::ZERO).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
    let answer = store.put(&key, value("b"), LONG, Expect::Absent).await;
    assert!(matches!(answer, Ok(Put::Stored(second)) if second > first));
}

pub async fn of_many_that_put_at_once_one_is_first(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
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

/// Puts entries of this purpose until there is no room for another one.
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
    panic!("this store has too much room for this test")
}

/// Purposes whose entries end sessions, or protect them while they change.
const PROTECTED: [&str; 5] = ["cookie", "lease", "logout", "ended-user", "ended-sid"];

/// What callers without credentials create fills the room of nobody else, and neither do sessions fill that of
/// sign-outs and leases. For a store with room for a few thousand entries of 4 KiB at most.
pub async fn each_class_keeps_its_room(subject: &impl Subject) {
    let store = subject.store();
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
        let refused = store.put(&state, Bytes::new(), LONG, Expect::Absent).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    }
    // Nothing was given up for any of it.
    for key in states.iter().chain(&sessions) {
        assert!(store.get(key).await.unwrap().is_some());
    }
}

/// For a store with room for a few thousand entries of 4 KiB at most.
pub async fn an_existing_entry_is_replaced_when_there_is_no_room(subject: &impl Subject) {
    let store = subject.store();
    for purpose in ["state", "session"] {
        let keys = fill(&*store, purpose).await;
        for key in keys.iter().take(20) {
            store_it(&*store, key, "replaced", LONG).await;
            let record = store.get(key).await.unwrap().unwrap();
            assert_eq!(record.value(), &value("replaced"));
            let removed = store.remove(key, Expect::Anything).await.unwrap();
            assert_eq!(removed, Removed::Removed);
        }
        store_it(&*store, &fresh_key_of(purpose), "there is room again", LONG).await;
    }
}

/// A counter that many raise by compare-and-swap loses no step.
pub async fn swaps_by_version_lose_nothing(subject: &impl Subject) {
    let (store, key) = (subject.store(), fresh_key());
    let start = Bytes::from_static(&[0]);
    let put = store.put(&key, start, LONG, Expect::Absent).await;
    assert!(matches!(put, Ok(Put::Stored(_))));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                let mut raised = 0;
                while raised < 10 {
                    let record = store.get(&key).await.unwrap().unwrap();
                    let next = Bytes::from(vec![record.value()[0] + 1]);
                    let expect = Expect::Version(record.version());
                    match store.put(&key, next, LONG, expect).await.unwrap() {
                        Put::Stored(_) => raised += 1,
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
