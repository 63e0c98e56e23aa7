//! The contract of a store, tested with the in-memory store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tower_oauth::clock::Clock as _;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::ManualClock;
use tower_oauth::testing::store_suite::{self, StoreUnderTest, fresh_key};

struct Memory {
    store: Arc<MemoryStore>,
    clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        Self::with_store(MemoryStore::new())
    }

    fn with_store(store: MemoryStore) -> Self {
        let clock = ManualClock::new(1_800_000_000);
        Self {
            store: Arc::new(store.with_clock(clock.clone())),
            clock,
        }
    }
}

impl StoreUnderTest for Memory {
    type Store = MemoryStore;

    fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store)
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn short_ttl(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[tokio::test]
async fn an_entry_is_readable_until_it_is_removed() {
    store_suite::an_entry_is_readable_until_it_is_removed(&Memory::new()).await;
}

#[tokio::test]
async fn values_of_any_bytes_are_returned_unchanged() {
    store_suite::values_of_any_bytes_are_returned_unchanged(&Memory::new()).await;
}

#[tokio::test]
async fn an_operation_takes_effect_only_if_its_condition_is_met() {
    store_suite::an_operation_takes_effect_only_if_its_condition_is_met(&Memory::new()).await;
}

#[tokio::test]
async fn versions_of_a_key_are_unique_and_increasing() {
    store_suite::versions_of_a_key_are_unique_and_increasing(&Memory::new()).await;
}

#[tokio::test]
async fn an_expired_entry_is_absent_for_all_operations() {
    store_suite::an_expired_entry_is_absent_for_all_operations(&Memory::new()).await;
}

#[tokio::test]
async fn each_put_replaces_the_time_to_live() {
    store_suite::each_put_replaces_the_time_to_live(&Memory::new()).await;
}

#[tokio::test]
async fn an_entry_with_a_time_to_live_of_zero_is_absent_immediately() {
    store_suite::an_entry_with_a_time_to_live_of_zero_is_absent_immediately(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_concurrent_puts_succeeds() {
    store_suite::exactly_one_of_many_concurrent_puts_succeeds(&Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compare_and_swap_loses_no_update() {
    store_suite::compare_and_swap_loses_no_update(&Memory::new()).await;
}

#[tokio::test]
async fn versions_grow_although_writers_compete() {
    store_suite::versions_grow_although_writers_compete(&Memory::new()).await;
}

#[tokio::test]
async fn the_memory_store_passes_the_suite() {
    store_suite::check_contract(&Memory::new()).await;
}

/// A store with a frequent fault: it draws a version before it has the lock.
#[derive(Default)]
struct DrawsBeforeItLocks {
    versions: AtomicU64,
    entries: Mutex<HashMap<String, (Bytes, u64)>>,
}

impl Store for DrawsBeforeItLocks {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let entries = self.entries.lock().unwrap();
        let entry = entries.get(key.as_str()).cloned();
        Ok(entry.map(|(value, version)| Record::new(value, version)))
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        _: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let version = self.versions.fetch_add(1, Ordering::SeqCst) + 1;
        let mut entries = self.entries.lock().unwrap();
        let current = entries.get(key.as_str()).map(|(_, version)| *version);
        let is_met = match expect {
            Expect::Absent => current.is_none(),
            Expect::Version(version) => current == Some(version),
            _ => true,
        };
        if !is_met {
            return Ok(Put::Conflict);
        }
        entries.insert(key.as_str().to_owned(), (value, version));
        Ok(Put::Stored(version))
    }

    async fn remove(&self, key: &Key, _: Expect) -> Result<Removed, StoreError> {
        Ok(match self.entries.lock().unwrap().remove(key.as_str()) {
            Some(_) => Removed::Removed,
            None => Removed::Absent,
        })
    }
}

struct Faulty(Arc<DrawsBeforeItLocks>);

impl StoreUnderTest for Faulty {
    type Store = DrawsBeforeItLocks;

    fn store(&self) -> Arc<DrawsBeforeItLocks> {
        Arc::clone(&self.0)
    }

    async fn pass(&self, _: Duration) {}

    fn short_ttl(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test]
async fn a_store_that_draws_its_version_before_it_locks_fails_the_suite() {
    let suite = tokio::spawn(async {
        store_suite::versions_grow_although_writers_compete(&Faulty(Arc::default())).await;
    });
    let panic = suite.await.unwrap_err().into_panic();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("the version decreased"), "{text}");
}

#[tokio::test]
async fn each_class_has_separate_capacity() {
    let small = MemoryStore::new().with_max_entries(1_000).unwrap();
    store_suite::each_class_has_separate_capacity(&Memory::with_store(small)).await;
}

#[tokio::test]
async fn a_full_store_accepts_replacements() {
    let small = MemoryStore::new().with_max_entries(1_000).unwrap();
    store_suite::a_full_store_accepts_replacements(&Memory::with_store(small)).await;
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

/// Eviction would permit replays (RFC 9449 §11.1) and end sessions.
#[tokio::test]
async fn a_full_store_rejects_new_keys_and_evicts_nothing() {
    let subject = Memory::with_store(MemoryStore::new().with_max_entries(100).unwrap());
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
        // Existing entries are found and can be replaced.
        assert_eq!(
            put(&store, key, 60, Expect::Absent).await.unwrap(),
            Put::Conflict
        );
        assert!(matches!(
            put(&store, key, 60, Expect::Anything).await,
            Ok(Put::Stored(_))
        ));
    }
    // Removing an entry frees its capacity.
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

/// Fills the store with entries of this purpose and returns their number.
async fn fill(store: &MemoryStore, purpose: &'static str) -> usize {
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
async fn unauthenticated_entries_use_at_most_half_and_protected_entries_are_separate() {
    for (purposes, expected) in [
        (["state", "session", "lease"], [500, 500, 1_000]),
        (["session", "state", "lease"], [1_000, 0, 1_000]),
        (["lease", "session", "state"], [1_000, 1_000, 0]),
        (["lease", "cookie", "state"], [1_000, 0, 500]),
        (["dpop", "session", "ended-sid"], [1_000, 0, 1_000]),
    ] {
        let store = Memory::with_store(MemoryStore::new().with_max_entries(1_000).unwrap()).store();
        let mut counts = Vec::new();
        for purpose in purposes {
            counts.push(fill(&store, purpose).await);
        }
        assert_eq!(counts, expected, "{purposes:?}");
    }
}

/// Older expired entries of another class do not delay the removal.
#[tokio::test]
async fn an_expired_entry_frees_capacity_in_its_own_class() {
    let subject = Memory::with_store(MemoryStore::new().with_max_entries(1_000).unwrap());
    let store = subject.store();
    assert_eq!(fill(&store, "state").await, 500);
    subject.clock.advance(Duration::from_secs(1));
    assert_eq!(fill(&store, "lease").await, 1_000);
    subject.clock.advance(Duration::from_secs(60));
    put(&store, &Key::new("lease", "new"), 60, Expect::Absent)
        .await
        .unwrap();
    put(&store, &Key::new("state", "new"), 60, Expect::Absent)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_store_accepts_a_new_key_as_soon_as_one_entry_has_expired() {
    let subject = Memory::with_store(MemoryStore::new().with_max_entries(3).unwrap());
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
async fn only_expired_entries_are_removed() {
    let subject = Memory::new();
    let store = subject.store();
    let kept = fresh_key();
    put(&store, &kept, 1000, Expect::Absent).await.unwrap();
    for _ in 0..1600 {
        put(&store, &fresh_key(), 60, Expect::Absent).await.unwrap();
    }
    assert_eq!(store.len(), 1601);
    subject.clock.advance(Duration::from_secs(60));
    // Each put removes a limited number, so that it stays fast.
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
async fn a_change_of_the_wall_clock_does_not_affect_times_to_live() {
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
async fn a_hundred_thousand_entries_and_unlimited_times_to_live_are_supported() {
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
fn a_store_without_capacity_is_rejected_and_debug_output_shows_no_contents() {
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
