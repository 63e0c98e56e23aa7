//! What a login that nobody finishes leaves behind in the process: nothing (P15). Counted, in bytes.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod login_support;

use allocation_counter::measure;
use login_support::*;
use tokio::runtime::{Builder, Runtime};
use tower_oauth::LoginLayer;

const LOGINS: usize = 10_000;

/// One person after another sets out for the authorization server, and never comes back.
fn abandon(runtime: &Runtime, shop: &Shop, times: usize) {
    runtime.block_on(async {
        for _ in 0..times {
            let answer = shop.send(Ask::page("/auth/login?return_to=/notes")).await;
            assert_eq!(answer.sets().len(), 1);
        }
    });
}

fn left_behind(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> i64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let shop = Shop::with(configure);
    // Metadata, and the first growth of whatever grows once.
    abandon(&runtime, &shop, 100);
    let counted = measure(|| abandon(&runtime, &shop, LOGINS));
    assert!(counted.count_total > 10 * 10_000, "nothing was counted");
    println!(
        "{LOGINS} abandoned logins leave {} bytes; at once at most {}",
        counted.bytes_current, counted.bytes_max,
    );
    assert!(counted.bytes_max < 100_000, "{counted:?}");
    counted.bytes_current
}

#[test]
fn ten_thousand_abandoned_logins_leave_not_a_byte_behind() {
    assert_eq!(left_behind(|login| login), 0);
}
