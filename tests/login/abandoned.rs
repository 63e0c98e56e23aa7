//! A login that is never completed leaves no memory behind in the process. Counted in bytes.

use allocation_counter::measure;
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use tower_oauth::store::MemoryStore;
use tower_oauth::{BearerLayer, LoginLayer};

use crate::support::shop::*;

const API: &str = "https://api.example.test";
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

/// RFC 6819 §4.6.6: requests that cost an attacker nothing leave no tasks, no entries and no requests to the authorization
/// server.
#[tokio::test]
async fn a_flood_of_anonymous_requests_leaves_no_tasks_and_no_requests() {
    let shop = Shop::new();
    let layer = BearerLayer::jwt(&shop.server.authorization_server(), API).unwrap();
    let api = Router::new()
        .route("/", get(|| async { "in" }))
        .layer(layer);
    let forged = shop.server.access_token().with_audience(API);
    let present = async |token: String| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    // Both layers fetch keys and metadata once, and the first bad signature of a key fetches the key set again.
    assert_eq!(present(forged.sign()).await, StatusCode::OK);
    present(forged.clone().with_broken_signature().sign()).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    shop.start("/auth/login", &mut Jar::default()).await;
    for number in 0..4 {
        present(
            forged
                .clone()
                .with_header("kid", format!("kid-{number}"))
                .sign(),
        )
        .await;
    }
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let (before, asked) = (tasks(), shop.server.requests().len());
    for number in 0..500 {
        shop.start("/auth/login", &mut Jar::default()).await;
        let unknown = format!("/auth/callback?code=c{number}&state=s{number}&iss={ISSUER}");
        let answer = shop.send(Ask::page(&unknown)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        shop.send(Ask::page("/").jar(&Jar::of(&[(SESSION, "x")])))
            .await;
        let junk = forged.clone().with_header("kid", format!("junk-{number}"));
        for token in [junk, forged.clone().with_broken_signature()] {
            assert_eq!(present(token.sign()).await, StatusCode::UNAUTHORIZED);
        }
    }
    assert_eq!(tasks(), before);
    assert_eq!(shop.server.requests().len(), asked);
}
