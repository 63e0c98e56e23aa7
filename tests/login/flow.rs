//! The complete login in a browser.

use http::StatusCode;
use tower_oauth::testing::Endpoint;

use crate::support::shop::*;

#[tokio::test]
async fn a_browser_signs_in_has_a_session_and_signs_out() {
    let shop = Shop::new();
    let browser = shop.browser();

    let page = browser.navigate(&format!("{SHOP}/")).await.unwrap();
    assert_eq!(page.text(), "hello stranger");

    let page = browser
        .navigate(&format!("{SHOP}/account?tab=2#x"))
        .await
        .unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.text(), "account of alice");
    assert!(
        page.url().starts_with(&format!("{SHOP}/account?tab=2")),
        "{}",
        page.url()
    );
    assert_eq!(shop.token_calls(), 1);

    let page = browser.navigate(&format!("{SHOP}/")).await.unwrap();
    assert_eq!(page.text(), "hello alice");

    let page = browser
        .document(
            &format!("{SHOP}/"),
            "<form method=post action=\"/auth/logout?return_to=/notes\"><button>Sign out</button></form>",
        )
        .unwrap();
    let page = page.form("").unwrap().submit().await.unwrap();
    assert_eq!(shop.server.count(Endpoint::EndSession), 1, "{}", page.url());
    assert_eq!(page.url(), format!("{SHOP}/notes"));
    assert_eq!(page.text(), "hello stranger");
    assert_eq!(
        browser.cookies(SHOP).len(),
        0,
        "{:?}",
        browser.cookies(SHOP)
    );
}

#[tokio::test]
async fn two_tabs_sign_in_at_the_same_time() {
    let shop = Shop::new();
    let browser = shop.browser();
    let one = browser
        .navigate(&format!("{SHOP}/account?tab=1"))
        .await
        .unwrap();
    let two = browser
        .navigate(&format!("{SHOP}/account?tab=2"))
        .await
        .unwrap();
    let one = one.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(one.url(), format!("{SHOP}/account?tab=1"));
    let two = two.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(two.url(), format!("{SHOP}/account?tab=2"));
}

#[tokio::test]
async fn each_step_sends_what_the_specifications_require() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/account", &mut jar).await;

    // RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1.
    assert!(
        answer.location().starts_with(ISSUER),
        "{}",
        answer.location()
    );
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(answer.parameter(name).as_deref(), Some(value), "{name}");
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert!(answer.parameter(name).unwrap().len() >= 22, "{name}");
    }
    // One transaction cookie.
    let [cookie] = answer.set_cookies()[..] else {
        panic!("{:?}", answer.set_cookies());
    };
    assert!(cookie.starts_with(SLOT), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=4200"),
        "{cookie}"
    );
    let state = answer.parameter("state").unwrap();
    assert!(!cookie.contains(&state[state.len() - 8..]), "{cookie}");
    // Forbids caching.
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("vary"), "cookie");

    let callback = shop.approve(answer.location(), "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    // 303 to the return target, without leaking the code in `Referer`.
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/account");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(answer.clears(), jar.transactions());
    // The attributes of the session cookie.
    let session = answer.set_cookies()[0];
    assert!(
        session.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=28800"),
        "{session}"
    );
    assert_eq!(shop.token_calls(), 1);
}
