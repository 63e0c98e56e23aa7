//! Sign-ins that succeed and whose sessions the next page does not accept.

use std::time::Duration;

use axum::Router;
use http::StatusCode;
use tower_oauth::login::SameSite;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{BrowserError, Endpoint, Fault, ManualClock, Page, TestServer};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::logs::Logs;
use crate::support::shop::*;

/// A replica with this key and clock.
fn replica(server: &TestServer, key: u8, clock: &ManualClock, same_site: SameSite) -> LoginLayer {
    let server = server.authorization_server().with_clock(clock.clone());
    let client = Client::confidential("shop", "shop-secret");
    let key = CookieKey::from_bytes(&[key; 32]).unwrap();
    let login = LoginLayer::new(&server, client, CALLBACK, key).unwrap();
    login.with_same_site(same_site)
}

async fn sign_in(server: &TestServer, app: Router) -> Result<Page, BrowserError> {
    let browser = server.browser().with_origin(SHOP, app).unwrap();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    finish(page.sign_in("alice", "wonderland").await?).await
}

/// Follows the pages that a browser follows by itself with a Strict cookie.
async fn finish(mut page: Page) -> Result<Page, BrowserError> {
    for _ in 0..9 {
        if !page.text().contains("Signed in Continue") {
            break;
        }
        page = page.click("Continue").await?;
    }
    Ok(page)
}

#[tokio::test]
async fn a_browser_whose_sessions_are_not_accepted_gets_an_error_page_and_no_endless_redirect() {
    for (name, key, ahead, same_site, reason) in [
        ("another key", 8, 0, SameSite::Lax, "invalid"),
        ("another key, strict", 8, 0, SameSite::Strict, "invalid"),
        ("another clock", 7, 61, SameSite::Lax, "expired"),
    ] {
        let (server, logs) = (server(), Logs::default());
        let pages_clock = server.clock();
        let login_clock = ManualClock::new(pages_clock.unix_seconds() + ahead);
        let pages = replica(&server, key, &pages_clock, same_site);
        let logins = replica(&server, 7, &login_clock, same_site);
        // One replica handles the routes of the layer, another one the pages.
        let app = app(&pages).merge(logins.routes());
        let _recording = logs.record();
        let page = sign_in(&server, app).await.unwrap();
        assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR, "{name}");
        assert!(
            page.text().contains("session_not_accepted"),
            "{name}: {}",
            page.text()
        );
        let logged = logs.take();
        let has = |level: &str, event: &str, detail: &str| {
            let event = format!("event=\"{event}\"");
            logged
                .lines()
                .any(|line| line.contains(level) && line.contains(&event) && line.contains(detail))
        };
        assert!(
            has("WARN", "new_session_rejected", reason),
            "{name}: {logged}"
        );
        assert!(
            has("ERROR", "login_failed", "session_not_accepted"),
            "{name}: {logged}"
        );
        assert_eq!(
            server.count(Endpoint::Token),
            1,
            "{name}: the second code is not used"
        );
    }
}

/// The next request would find no session.
#[tokio::test]
async fn a_session_that_has_ended_already_is_rejected_at_the_callback() {
    let (shop, logs) = (Shop::new(), Logs::default());
    let past = shop.clock().unix_seconds() - 5;
    shop.server.fail(
        Endpoint::Token,
        Fault::id_token(move |mint| mint.with_claim("session_expiry", past)),
    );
    let _recording = logs.record_only("login_failed");
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.sets(), [""; 0]);
    let logged = logs.take();
    assert!(logged.contains("session_expired_at_sign_in"), "{logged}");
    assert!(logged.contains("5 seconds ago"), "{logged}");
}

/// A new login with a session, after a sign-out, or later, is no loop.
#[tokio::test]
async fn two_sign_ins_in_a_row_are_not_a_loop_by_themselves() {
    for same_site in [SameSite::Lax, SameSite::Strict] {
        let shop = Shop::with(|login| login.with_same_site(same_site));
        let browser = shop.browser();
        let url = |path: &str| format!("{SHOP}{path}");
        let page = browser.navigate(&url("/account")).await.unwrap();
        let page = finish(page.sign_in("alice", "wonderland").await.unwrap())
            .await
            .unwrap();
        assert_eq!(page.text(), "account of alice");
        let again = url("/auth/login?return_to=/account");
        let page = finish(page.follow(&again).await.unwrap()).await.unwrap();
        assert_eq!(page.text(), "account of alice", "{same_site:?}");
        let page = browser.navigate(&url("/auth/logout")).await.unwrap();
        page.form("").unwrap().press("Sign out").await.unwrap();
        let page = browser.navigate(&url("/account")).await.unwrap();
        let page = finish(page.sign_in("alice", "wonderland").await.unwrap())
            .await
            .unwrap();
        assert_eq!(page.text(), "account of alice", "{same_site:?}");
    }
}

/// A page has accepted the session, so that what happened to it afterwards is no loop.
#[tokio::test]
async fn a_user_whose_session_was_ended_at_once_can_sign_in_again() {
    let store = MemoryStore::new().with_single_process();
    let server = server();
    let login = login(&server).with_session_store(store);
    let browser = server.browser().with_origin(SHOP, app(&login)).unwrap();
    for attempt in 0..3 {
        let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
        let page = match attempt {
            0 => page.sign_in("alice", "wonderland").await.unwrap(),
            _ => page,
        };
        assert_eq!(page.text(), "account of alice", "attempt {attempt}");
        let ended = login.sessions().end_user("alice").await.unwrap();
        assert_eq!(ended, 1);
        // Sessions that begin in the same second have ended too.
        server.clock().advance(Duration::from_secs(2));
    }
}

#[tokio::test]
async fn the_mark_of_a_sign_in_lasts_30_seconds_and_the_first_accepted_request_clears_it() {
    let marks = |answer: &Answer| -> Vec<String> {
        let all = answer.headers.get_all("set-cookie").iter();
        let all = all.map(|value| value.to_str().unwrap().to_owned());
        all.filter(|one| one.contains("-signed-in=")).collect()
    };
    let cookie = |value: &str, age: u32| {
        let name = "__Host-Http-shop-signed-in";
        format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={age}")
    };
    for same_site in [SameSite::Lax, SameSite::Strict] {
        let shop = Shop::with(|login| login.with_same_site(same_site));
        let mut jar = Jar::default();
        let answer = shop.start("/auth/login", &mut jar).await;
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(marks(&answer), [cookie("1", 30)], "{same_site:?}");
        jar.take(&answer);
        let marked = jar.and("__Host-Http-shop-signed-in", "1");
        let answer = shop.send(Ask::page("/").jar(&marked)).await;
        assert_eq!(marks(&answer), [cookie("", 0)], "{same_site:?}");
        assert_eq!(answer.text(), "hello alice");
    }
}
