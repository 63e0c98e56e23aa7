//! A login that is never completed leaves no memory behind in the process. Counted in bytes.

use allocation_counter::measure;
use tokio::runtime::{Builder, Runtime};
use tower_oauth::LoginLayer;
use tower_oauth::store::MemoryStore;

use crate::support::shop::*;

const LOGINS: usize = 10_000;

/// Starts logins of different users that never come back.
fn abandon(runtime: &Runtime, shop: &Shop, times: usize) {
    runtime.block_on(async {
        for _ in 0..times {
            let answer = shop.send(Ask::page("/auth/login?return_to=/notes")).await;
            assert_eq!(answer.sets().len(), 1);
        }
    });
}

fn bytes_left(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> i64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let shop = Shop::with(configure);
    // Fetches the metadata, and lets caches grow to their first size.
    abandon(&runtime, &shop, 100);
    let counted = measure(|| abandon(&runtime, &shop, LOGINS));
    assert!(counted.count_total > 100_000, "nothing was counted");
    println!(
        "{LOGINS} abandoned logins leave {} bytes; at once at most {}",
        counted.bytes_current, counted.bytes_max,
    );
    assert!(counted.bytes_max < 100_000, "{counted:?}");
    counted.bytes_current
}

/// The same with a store, which is not called either.
#[test]
fn abandoned_logins_cause_no_store_operations() {
    for in_store in [false, true] {
        let store = MemoryStore::new().with_single_process();
        let left = bytes_left(|login| match in_store {
            true => login.with_session_store(store.clone()),
            false => login.with_shared_store(store.clone()),
        });
        assert_eq!((left, store.len()), (0, 0));
    }
}

#[test]
fn ten_thousand_abandoned_logins_use_no_memory() {
    assert_eq!(bytes_left(|login| login), 0);
}
