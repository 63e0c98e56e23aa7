//! What the store in memory takes: counted, not timed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use tokio::runtime::Builder;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Store, StoreError};
use tower_oauth::testing::ManualClock;

const SESSIONS: usize = 100_000;

/// A session with the tokens of a usual server, sealed.
const SIZE: usize = 1500;

const DAY: Duration = Duration::from_secs(86_400);

/// As long as the names of sessions are.
fn session(number: usize) -> Key {
    Key::new("session", &format!("{number:043}"))
}

async fn put(store: &MemoryStore, key: &Key, size: usize) -> Result<Put, StoreError> {
    let value = Bytes::from(vec![7; size]);
    store.put(key, value, DAY, Expect::Absent).await
}

/// `H37`: a hundred thousand sessions take what they are and a little more, a flood of logins behind them
/// finds no room, and not one of them is given up for it.
#[test]
fn a_hundred_thousand_sessions_take_little_more_than_themselves_and_none_is_evicted() {
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
        "{SESSIONS} sessions of {SIZE} bytes: {each} bytes each, {} of them the store's own ({most} each at most)",
        each - SIZE
    );
    assert!(each < SIZE + 300, "{each}");
    assert!(most < SIZE + 400, "{most}");

    // Whoever starts logins without end makes it no bigger and nobody's session end.
    let flooded = measure(|| {
        runtime.block_on(async {
            for number in 0..10_000 {
                let key = Key::new("state", &format!("{number:043}"));
                let refused = put(&store, &key, 0).await;
                assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
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

    // A day later they are cleared away by those that come, and what they took is free.
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
    println!("a day later: {freed} bytes are free again");
    assert!(freed > SESSIONS * SIZE);
}
