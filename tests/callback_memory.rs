//! What callbacks leave behind in the process, and that nobody's login suffers from those of others.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::time::Duration;

use http::StatusCode;
use login_support::*;
use tokio::runtime::Handle;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn come_to_rest() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A login of a browser of its own that comes back with this in place of an answer.
async fn come_back_with(shop: &Shop, query: &str) -> StatusCode {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let state = answer.parameter("state").unwrap();
    let callback = format!("/auth/callback?state={state}&{query}");
    shop.send(Ask::page(&callback).jar(&jar)).await.status
}

/// A login of Alice that went well, and what a second click on its callback would send.
async fn signed_in_once(shop: &Shop) -> Ask {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let click = Ask::page(&callback).jar(&jar);
    assert_eq!(shop.send(click.clone()).await.sets(), [SESSION]);
    click
}

/// L11: what comes before the token request is answered on the spot.
#[tokio::test]
async fn a_callback_without_a_code_to_redeem_leaves_no_task_behind() {
    let shop = Shop::new();
    for (query, status) in [
        (format!("error=access_denied&iss={ISSUER}"), 403),
        (format!("error=server_error&code=c&iss={ISSUER}"), 400),
        ("code=c&iss=https://evil.example".to_owned(), 400),
        ("code=c".to_owned(), 400),
        (format!("iss={ISSUER}"), 400),
    ] {
        assert_eq!(come_back_with(&shop, &query).await, status, "{query}");
        come_to_rest().await;
        let (before, sleepers) = (tasks(), shop.clock().sleepers());
        for _ in 0..50 {
            assert_eq!(come_back_with(&shop, &query).await, status, "{query}");
        }
        come_to_rest().await;
        assert_eq!(tasks(), before, "{query}");
        assert_eq!(shop.clock().sleepers(), sleepers, "{query}");
    }
    assert_eq!(shop.token_calls(), 0);
}

/// L13: a thousand people who cancel do not make a double click a stranger's.
#[tokio::test]
async fn refused_logins_of_others_do_not_take_away_what_a_login_came_to() {
    let shop = Shop::new();
    let click = signed_in_once(&shop).await;
    let query = format!("error=access_denied&iss={ISSUER}");
    for _ in 0..1001 {
        assert_eq!(come_back_with(&shop, &query).await, 403);
    }
    assert_eq!(shop.send(click).await.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1);
}

/// L13: neither do a thousand codes that somebody made up.
#[tokio::test]
async fn made_up_codes_of_others_do_not_take_away_what_a_login_came_to() {
    let shop = Shop::new();
    let click = signed_in_once(&shop).await;
    let query = format!("code=made-up&iss={ISSUER}");
    for _ in 0..1001 {
        assert!(!come_back_with(&shop, &query).await.is_redirection());
    }
    assert_eq!(shop.send(click).await.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1002);
}

/// However many codes were redeemed, one task forgets what came of them, and ends with the last of it.
#[tokio::test]
async fn one_task_forgets_what_many_logins_came_to() {
    let shop = Shop::new();
    signed_in_once(&shop).await;
    shop.clock().advance(Duration::from_secs(61));
    come_to_rest().await;
    let (before, sleepers) = (tasks(), shop.clock().sleepers());
    for _ in 0..20 {
        signed_in_once(&shop).await;
        shop.clock().advance(Duration::from_secs(2));
        come_to_rest().await;
    }
    assert_eq!(tasks(), before + 1);
    assert_eq!(shop.clock().sleepers(), sleepers + 1);
    for _ in 0..70 {
        shop.clock().advance(Duration::from_secs(1));
        come_to_rest().await;
    }
    assert_eq!(tasks(), before);
    assert_eq!(shop.clock().sleepers(), sleepers);
}
