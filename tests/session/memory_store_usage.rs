//! Memory usage of the in-memory store, measured by counting allocations.

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use tokio::runtime::Builder;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Store, StoreError};
use tower_oauth::testing::ManualClock;

const SESSIONS: usize = 100_000;

/// The size of an encrypted session with typical tokens.
const SIZE: usize = 1500;

const DAY: Duration = Duration::from_secs(86_400);

/// Returns a key of the length of session keys.
fn session(number: usize) -> Key {
    Key::new("session", &format!("{number:043}"))
}

async fn put(store: &MemoryStore, key: &Key, size: usize) -> Result<Put, StoreError> {
    let value = Bytes::from(vec![7; size]);
    store.put(key, value, DAY, Expect::Absent).await
}

/// A flood of login attempts must not evict sessions or use more memory.
#[test]
fn a_hundred_thousand_sessions_have_little_overhead_and_none_is_evicted() {
    let clock = ManualClock::new(1_800_000_000);
    let store = MemoryStore::new()
        .with_max_entries(SESSIONS)
        .unwrap()
        .with_clock(clock.clone());
    let runtime = Builder::new_current_thread().build().unwrap();

    let filled = measure(|| {
        runtime.block_on(async {
            for number in 0..SESSIONS {
                let stored = put(&store, &session(number), SIZE).await;
                assert!(matches!(stored, Ok(Put::Stored(_))));
            }
        });
    });
    let each = usize::try_from(filled.bytes_current).unwrap() / SESSIONS;
    let most = usize::try_from(filled.bytes_max).unwrap() / SESSIONS;
    println!(
        "{SESSIONS} sessions of {SIZE} bytes: {each} bytes each, overhead {} ({most} each at most)",
        each - SIZE
    );
    assert!(each < SIZE + 300, "{each}");
    assert!(most < SIZE + 400, "{most}");

    // A flood of login attempts uses no memory and ends no session.
    let flooded = measure(|| {
        runtime.block_on(async {
            for number in 0..10_000 {
                let key = Key::new("state", &format!("{number:043}"));
                let rejected = put(&store, &key, 0).await;
                assert!(matches!(rejected, Err(StoreError::Full)), "{rejected:?}");
            }
        });
    });
    println!("10000 more: {} bytes", flooded.bytes_current);
    assert_eq!(flooded.bytes_current, 0);
    runtime.block_on(async {
        for number in 0..SESSIONS {
            let record = store.get(&session(number)).await.unwrap();
            assert!(record.is_some_and(|record| record.value().len() == SIZE));
        }
    });

    // A day later, new entries remove the expired ones and free their memory.
    clock.advance(DAY);
    let cleared = measure(|| {
        runtime.block_on(async {
            for number in SESSIONS..SESSIONS + SESSIONS / 10 {
                let stored = put(&store, &session(number), 0).await;
                assert!(matches!(stored, Ok(Put::Stored(_))));
            }
        });
    });
    assert_eq!(store.len(), SESSIONS / 10);
    let freed = usize::try_from(-cleared.bytes_current).unwrap();
    println!("a day later: {freed} bytes are freed");
    assert!(freed > SESSIONS * SIZE);
}
