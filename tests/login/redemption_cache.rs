//! What callbacks leave behind in the process, and that no login suffers from the callbacks of
//! others.

use std::time::Duration;

use http::StatusCode;
use tokio::runtime::Handle;

use crate::support::shop::*;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn run_pending_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Starts a login in a new browser and sends this query to its callback.
async fn callback_status(shop: &Shop, query: &str) -> StatusCode {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let state = answer.parameter("state").unwrap();
    let callback = format!("/auth/callback?state={state}&{query}");
    shop.send(Ask::page(&callback).jar(&jar)).await.status
}

/// Signs Alice in, and returns the request that a second click on the callback sends.
async fn repeated_callback(shop: &Shop) -> Ask {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let click = Ask::page(&callback).jar(&jar);
    assert_eq!(shop.send(click.clone()).await.sets(), [SESSION]);
    click
}

/// A response that needs no token request is sent without a task.
#[tokio::test]
async fn a_callback_without_a_code_to_redeem_spawns_no_task() {
    let shop = Shop::new();
    for (query, status) in [
        (format!("error=access_denied&iss={ISSUER}"), 403),
        (format!("error=server_error&code=c&iss={ISSUER}"), 400),
        ("code=c&iss=https://evil.example".to_owned(), 400),
        ("code=c".to_owned(), 400),
        (format!("iss={ISSUER}"), 400),
    ] {
        assert_eq!(callback_status(&shop, &query).await, status, "{query}");
        run_pending_tasks().await;
        let (before, sleepers) = (tasks(), shop.clock().sleepers());
        for _ in 0..50 {
            assert_eq!(callback_status(&shop, &query).await, status, "{query}");
        }
        run_pending_tasks().await;
        assert_eq!(tasks(), before, "{query}");
        assert_eq!(shop.clock().sleepers(), sleepers, "{query}");
    }
    assert_eq!(shop.token_calls(), 0);
}

/// A thousand canceled logins do not evict the result that a double click needs.
#[tokio::test]
async fn canceled_logins_of_other_users_do_not_evict_the_result_of_a_login() {
    let shop = Shop::new();
    let click = repeated_callback(&shop).await;
    let query = format!("error=access_denied&iss={ISSUER}");
    for _ in 0..1001 {
        assert_eq!(callback_status(&shop, &query).await, 403);
    }
    assert_eq!(shop.send(click).await.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1);
}

/// A thousand forged codes do not evict it either.
#[tokio::test]
async fn forged_codes_do_not_evict_the_result_of_a_login() {
    let shop = Shop::new();
    let click = repeated_callback(&shop).await;
    let query = format!("code=made-up&iss={ISSUER}");
    for _ in 0..1001 {
        assert!(!callback_status(&shop, &query).await.is_redirection());
    }
    assert_eq!(shop.send(click).await.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1002);
}

/// One task removes all expired results, and ends with the last of them.
#[tokio::test]
async fn one_task_removes_the_results_of_many_logins() {
    let shop = Shop::new();
    repeated_callback(&shop).await;
    shop.clock().advance(Duration::from_secs(61));
    run_pending_tasks().await;
    let (before, sleepers) = (tasks(), shop.clock().sleepers());
    for _ in 0..20 {
        repeated_callback(&shop).await;
        shop.clock().advance(Duration::from_secs(2));
        run_pending_tasks().await;
    }
    assert_eq!(tasks(), before + 1);
    assert_eq!(shop.clock().sleepers(), sleepers + 1);
    for _ in 0..70 {
        shop.clock().advance(Duration::from_secs(1));
        run_pending_tasks().await;
    }
    assert_eq!(tasks(), before);
    assert_eq!(shop.clock().sleepers(), sleepers);
}
