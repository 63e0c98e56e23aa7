//! The promises of a store, kept by the one in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod store_suite;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store_suite::{Subject, fresh_key};
use tower_oauth::clock::Clock as _;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::ManualClock;

struct Memory {
    store: Arc<MemoryStore>,
    clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        Self::of(MemoryStore::new())
    }

    fn of(store: MemoryStore) -> Self {
        let clock = ManualClock::new(1_800_000_000);
        Self {
            store: Arc::new(store.with_clock(clock.clone())),
            clock,
        }
    }
}

impl Subject for Memory {
    type Store = MemoryStore;

    fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn moment(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[tokio::test]
async fn what_was_put_is_there_until_it_is_removed() {
    store_suite::what_was_put_is_there_until_it_is_removed(&Memory::new()).await;
}

#[tokio::test]
async fn values_of_any_bytes_come_back_as_they_were() {
    store_suite::values_of_any_bytes_come_back_as_they_were(&Memory::new()).await;
}

#[tokio::test]
async fn a_verb_takes_effect_only_where_the_entry_is_as_expected() {
    store_suite::a_verb_takes_effect_only_where_the_entry_is_as_expected(&Memory::new()).await;
}

#[tokio::test]
async fn no_key_sees_a_version_twice() {
    store_suite::no_key_sees_a_version_twice(&Memory::new()).await;
}

#[tokio::test]
async fn an_entry_whose_time_is_over_is_absent_to_every_verb() {
    store_suite::an_entry_whose_time_is_over_is_absent_to_every_verb(&Memory::new()).await;
}

#[tokio::test]
async fn each_put_sets_the_time_to_live_anew() {
    store_suite::each_put_sets_the_time_to_live_anew(&Memory::new()).await;
}

#[tokio::test]
async fn no_time_to_live_is_stored_and_gone() {
    store_suite::no_time_to_live_is_stored_and_gone(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_put_at_once_one_is_first() {
    store_suite::of_many_that_put_at_once_one_is_first(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn swaps_by_version_lose_nothing() {
    store_suite::swaps_by_version_lose_nothing(&Memory::new()).await;
}

#[tokio::test]
async fn each_class_keeps_its_room() {
    let small = MemoryStore::new().with_max_entries(1_000).unwrap();
    store_suite::each_class_keeps_its_room(&Memory::of(small)).await;
}

#[tokio::test]
async fn an_existing_entry_is_replaced_when_there_is_no_room() {
    let small = MemoryStore::new().with_max_entries(1_000).unwrap();
    store_suite::an_existing_entry_is_replaced_when_there_is_no_room(&Memory::of(small)).await;
}

async fn put(
    store: &MemoryStore,
    key: &Key,
    seconds: u64,
    expect: Expect,
) -> Result<Put, StoreError> {
    let ttl = Duration::from_secs(seconds);
    store.put(key, Bytes::from_static(b"x"), ttl, expect).await
}

/// `D20`: a flood finds no room, and what lives is still there.
#[tokio::test]
async fn a_full_store_says_so_and_gives_up_nothing() {
    let subject = Memory::of(MemoryStore::new().with_max_entries(100).unwrap());
    let store = subject.store();
    let keys: Vec<Key> = (0..100).map(|_| fresh_key()).collect();
    for key in &keys {
        assert!(matches!(
            put(&store, key, 60, Expect::Absent).await,
            Ok(Put::Stored(_))
        ));
    }
    for _ in 0..1000 {
        let refused = put(&store, &fresh_key(), 60, Expect::Absent).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    }
    assert_eq!(store.len(), 100);
    for key in &keys {
        assert!(store.get(key).await.unwrap().is_some());
        // What is there can be replaced, and is known for being there.
        assert_eq!(
            put(&store, key, 60, Expect::Absent).await.unwrap(),
            Put::Conflict
        );
        assert!(matches!(
            put(&store, key, 60, Expect::Anything).await,
            Ok(Put::Stored(_))
        ));
    }
    // One goes, one comes.
    assert_eq!(
        store.remove(&keys[0], Expect::Anything).await.unwrap(),
        Removed::Removed
    );
    assert!(matches!(
        put(&store, &fresh_key(), 60, Expect::Absent).await,
        Ok(Put::Stored(_))
    ));
    assert!(matches!(
        put(&store, &fresh_key(), 60, Expect::Absent).await,
        Err(StoreError::Full)
    ));
}

/// How many entries of this purpose a store takes.
async fn room(store: &MemoryStore, purpose: &'static str) -> usize {
    for n in 0.. {
        let key = Key::new(purpose, &n.to_string());
        match put(store, &key, 60, Expect::Absent).await {
            Ok(Put::Stored(_)) => {}
            Err(StoreError::Full) => return n,
            other => panic!("{other:?}"),
        }
    }
    unreachable!()
}

#[tokio::test]
async fn strangers_have_half_of_the_room_and_protected_entries_a_room_of_their_own() {
    for (purposes, expected) in [
        (["state", "session", "lease"], [500, 500, 1_000]),
        (["session", "state", "lease"], [1_000, 0, 1_000]),
        (["lease", "session", "state"], [1_000, 1_000, 0]),
        (["lease", "cookie", "state"], [1_000, 0, 500]),
        (["dpop", "session", "ended-sid"], [1_000, 0, 1_000]),
    ] {
        let store = Memory::of(MemoryStore::new().with_max_entries(1_000).unwrap()).store();
        let mut rooms = Vec::new();
        for purpose in purposes {
            rooms.push(room(&store, purpose).await);
        }
        assert_eq!(rooms, expected, "{purposes:?}");
    }
}

/// Those of another class that ended long ago are not in the way.
#[tokio::test]
async fn an_ended_entry_makes_room_in_its_own_class_whatever_else_has_ended() {
    let subject = Memory::of(MemoryStore::new().with_max_entries(1_000).unwrap());
    let store = subject.store();
    assert_eq!(room(&store, "state").await, 500);
    subject.clock.advance(Duration::from_secs(1));
    assert_eq!(room(&store, "lease").await, 1_000);
    subject.clock.advance(Duration::from_secs(60));
    put(&store, &Key::new("lease", "new"), 60, Expect::Absent)
        .await
        .unwrap();
    put(&store, &Key::new("state", "new"), 60, Expect::Absent)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_store_has_room_again_as_soon_as_one_entry_has_ended() {
    let subject = Memory::of(MemoryStore::new().with_max_entries(3).unwrap());
    let store = subject.store();
    for seconds in [10, 30, 30] {
        put(&store, &fresh_key(), seconds, Expect::Absent)
            .await
            .unwrap();
    }
    subject.clock.advance(Duration::from_millis(9_999));
    assert!(matches!(
        put(&store, &fresh_key(), 9, Expect::Absent).await,
        Err(StoreError::Full)
    ));
    subject.clock.advance(Duration::from_millis(1));
    put(&store, &fresh_key(), 9, Expect::Absent).await.unwrap();
    assert!(matches!(
        put(&store, &fresh_key(), 9, Expect::Absent).await,
        Err(StoreError::Full)
    ));
}

#[tokio::test]
async fn ended_entries_are_cleared_away_and_none_but_them() {
    let subject = Memory::new();
    let store = subject.store();
    let kept = fresh_key();
    put(&store, &kept, 1000, Expect::Absent).await.unwrap();
    for _ in 0..1600 {
        put(&store, &fresh_key(), 60, Expect::Absent).await.unwrap();
    }
    assert_eq!(store.len(), 1601);
    subject.clock.advance(Duration::from_secs(60));
    // A few at each put, so that none takes long.
    for round in 1..=100 {
        put(&store, &fresh_key(), 600, Expect::Absent)
            .await
            .unwrap();
        assert_eq!(store.len(), 1601 - 16 * round + round);
    }
    put(&store, &fresh_key(), 600, Expect::Absent)
        .await
        .unwrap();
    assert_eq!(store.len(), 102);
    assert!(store.get(&kept).await.unwrap().is_some());
}

#[tokio::test]
async fn a_wall_clock_that_is_turned_changes_no_time_to_live() {
    let subject = Memory::new();
    let (store, key) = (subject.store(), fresh_key());
    put(&store, &key, 60, Expect::Absent).await.unwrap();
    for seconds in [86_400, -2 * 86_400] {
        subject.clock.adjust_wall_clock(seconds);
        assert!(store.get(&key).await.unwrap().is_some());
    }
    subject.clock.advance(Duration::from_secs(60));
    assert!(subject.clock.monotonic() >= Duration::from_secs(60));
    assert!(store.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_hundred_thousand_entries_and_times_without_end_are_fine() {
    let subject = Memory::new();
    let store = subject.store();
    for _ in 0..100_000 {
        put(&store, &fresh_key(), 60, Expect::Absent).await.unwrap();
    }
    assert_eq!(store.len(), 100_000);
    let key = fresh_key();
    store
        .put(&key, Bytes::new(), Duration::MAX, Expect::Absent)
        .await
        .unwrap();
    subject.clock.advance(Duration::from_secs(1 << 40));
    assert!(store.get(&key).await.unwrap().is_some());
}

#[test]
fn a_store_without_room_is_a_configuration_error_and_nothing_shows_what_is_kept() {
    assert!(MemoryStore::new().with_max_entries(0).is_err());
    assert!(MemoryStore::default().is_empty());
    let shown = format!(
        "{:?} {:?} {:?}",
        Key::new("session", "4711"),
        Record::new(Bytes::from_static(b"secret"), 7),
        StoreError::unavailable("no route"),
    );
    assert!(
        !shown.contains("4711") && !shown.contains("secret"),
        "{shown}"
    );
    assert_eq!(Key::new("session", "4711").as_str(), "session:4711");
}
