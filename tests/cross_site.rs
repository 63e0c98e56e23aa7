//! Requests that another site makes a browser send: nothing is done in the session's name for them.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use login_support::*;
use tower_oauth::Session;
use tower_oauth::login::Csrf;

const EVIL: &str = "https://evil.example";
const SIBLING: &str = "https://blog.example.com";

/// A shop whose every path says who asked, and counts.
fn counting(
    configure: impl FnOnce(tower_oauth::LoginLayer) -> tower_oauth::LoginLayer,
) -> (Shop, Arc<AtomicUsize>) {
    let server = server();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let app = Router::new()
        .fallback(move |session: Option<Session>| async move {
            counter.fetch_add(1, Ordering::Relaxed);
            session.map_or_else(
                || "nobody".to_owned(),
                |session| session.subject().to_owned(),
            )
        })
        .layer(configure(login(&server)));
    (Shop { server, app }, calls)
}

type Fields = &'static [(&'static str, &'static str)];

/// What a browser says of where a request comes from, and whether that is from here: nothing said is `None`.
const SITES: [(Fields, Option<bool>); 9] = [
    (&[], None),
    (&[("sec-fetch-site", "same-origin")], Some(true)),
    (&[("sec-fetch-site", "same-site")], Some(false)),
    (&[("sec-fetch-site", "cross-site")], Some(false)),
    (&[("sec-fetch-site", "none")], Some(false)),
    (&[("sec-fetch-site", "")], Some(false)),
    (&[("sec-fetch-site", "Same-Origin")], Some(false)),
    (
        &[("sec-fetch-site", "same-origin, cross-site")],
        Some(false),
    ),
    (
        &[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "same-origin"),
        ],
        Some(false),
    ),
];

const ORIGINS: [(Fields, Option<bool>); 11] = [
    (&[], None),
    (&[("origin", SHOP)], Some(true)),
    (&[("origin", "null")], None),
    (&[("origin", EVIL)], Some(false)),
    (&[("origin", SIBLING)], Some(false)),
    (&[("origin", "http://shop.example.com")], Some(false)),
    (&[("origin", "https://shop.example.com:8443")], Some(false)),
    (
        &[("origin", "https://shop.example.com.evil.example")],
        Some(false),
    ),
    (&[("origin", "https://shop.example.com/")], Some(false)),
    (
        &[("origin", "https://shop.example.com, https://evil.example")],
        Some(false),
    ),
    (&[("origin", SHOP), ("origin", SHOP)], Some(false)),
];

const HEADERS: [(Fields, bool); 3] = [
    (&[], false),
    (&[("x-csrf", "1")], true),
    (
        &[("x-csrf", "true"), ("referer", "https://shop.example.com/")],
        false,
    ),
];

/// L59, decision 26: every combination, and no handler runs for a refused one.
#[tokio::test]
async fn the_matrix_of_methods_sites_origins_and_upgrades_has_no_hole() {
    let (shop, calls) = counting(|login| login);
    let jar = shop.signed_in().await;
    let (mut passed, mut refused) = (0, 0);
    for method in [
        "GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "PURGE",
        "get",
    ] {
        let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].contains(&method);
        for upgrade in [
            &[][..],
            &[("connection", "Upgrade"), ("upgrade", "websocket")],
        ] {
            for (site, site_says) in SITES {
                for (origin, origin_says) in ORIGINS {
                    for (header, header_says) in HEADERS {
                        let fields = [upgrade, site, origin, header].concat();
                        let name = format!("{method} {fields:?}");
                        let from_here = site_says.or(origin_says).unwrap_or(header_says);
                        let passes = from_here || (safe && upgrade.is_empty());
                        let before = calls.load(Ordering::Relaxed);
                        let ask = Ask::new(method, "/orders").with(&fields);
                        let answer = shop.send(ask.jar(&jar)).await;
                        let called = calls.load(Ordering::Relaxed) - before;
                        if passes {
                            assert_eq!((answer.status, called), (StatusCode::OK, 1), "{name}");
                            passed += 1;
                        } else {
                            let expected = (StatusCode::FORBIDDEN, 0);
                            assert_eq!((answer.status, called), expected, "{name}");
                            let said = answer.text().contains("cross_site_request");
                            assert!(said || method == "HEAD", "{name}");
                            assert_eq!(answer.set_cookies(), [""; 0], "{name}");
                            refused += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(passed + refused, 11 * 2 * 9 * 11 * 3);
    assert!(passed > 1000 && refused > 1000, "{passed} {refused}");
    assert_eq!(shop.send(Ask::page("/").jar(&jar)).await.text(), "alice");
}

/// L59: without a session there is nothing to abuse, and what is no session is none.
#[tokio::test]
async fn who_is_nobody_needs_no_evidence() {
    let (shop, _) = counting(|login| login);
    let jar = shop.signed_in().await;
    let expired = jar.clone();
    let post = || Ask::new("POST", "/orders").with(&[("sec-fetch-site", "cross-site")]);
    for jar in [
        Jar::default(),
        Jar::of(&[(SESSION, "x")]),
        jar.clone().and(SESSION, "x"),
    ] {
        let answer = shop.send(post().jar(&jar)).await;
        assert_eq!(answer.text(), "nobody");
    }
    assert_eq!(
        shop.send(post().jar(&jar)).await.status,
        StatusCode::FORBIDDEN
    );
    shop.clock().advance(Duration::from_secs(3600));
    assert_eq!(shop.send(post().jar(&expired)).await.text(), "nobody");
}

/// Decision 26: a WebSocket over HTTP/2 begins with CONNECT.
#[tokio::test]
async fn an_extended_connect_is_a_websocket_too() {
    let (shop, calls) = counting(|login| login);
    let jar = shop.signed_in().await;
    for (fields, status) in [
        (&[("origin", EVIL)][..], StatusCode::FORBIDDEN),
        (
            &[("sec-fetch-site", "cross-site"), ("origin", EVIL)],
            StatusCode::FORBIDDEN,
        ),
        (&[], StatusCode::FORBIDDEN),
        (&[("origin", SHOP)], StatusCode::OK),
        (
            &[("sec-fetch-site", "same-origin"), ("origin", SHOP)],
            StatusCode::OK,
        ),
    ] {
        let before = calls.load(Ordering::Relaxed);
        let ask = Ask::new("CONNECT", "https://shop.example.com/socket").with(fields);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, status, "{fields:?}");
        let called = calls.load(Ordering::Relaxed) - before;
        assert_eq!(called, usize::from(status == StatusCode::OK), "{fields:?}");
    }
}

/// A proxy that adds `Connection: upgrade` to every request makes no WebSocket of a page.
#[tokio::test]
async fn a_page_behind_a_proxy_that_always_says_upgrade_is_a_page() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let ask = Ask::page("/account").with(&[("connection", "upgrade")]);
    let answer = shop.send(ask.jar(&jar)).await;
    assert_eq!(answer.text(), "account of alice");
}

/// Decision 26: an application may do it by itself; signing out stays ours.
#[tokio::test]
async fn unchecked_frees_the_application_and_not_the_sign_out() {
    let (shop, calls) = counting(|login| login.with_csrf(Csrf::Unchecked));
    let jar = shop.signed_in().await;
    let foreign = [("sec-fetch-site", "cross-site"), ("origin", EVIL)];
    let answer = shop
        .send(Ask::new("POST", "/orders").with(&foreign).jar(&jar))
        .await;
    assert_eq!(
        (answer.text().as_str(), calls.load(Ordering::Relaxed)),
        ("alice", 1)
    );
    let answer = shop
        .send(Ask::new("POST", "/auth/logout").with(&foreign).jar(&jar))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(shop.send(Ask::page("/").jar(&jar)).await.text(), "alice");
}

/// A refused request is no use of the session either: it keeps nobody awake.
#[tokio::test]
async fn a_refused_request_does_not_prolong_the_session() {
    let (shop, _) = counting(|login| login);
    let jar = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(1800));
    let answer = shop.send(Ask::new("POST", "/orders").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// L59, H101: the same in a browser, of today and of some years ago, with its own rules for cookies.
#[tokio::test]
async fn forms_of_other_sites_do_nothing_and_our_own_do_something() {
    for old in [false, true] {
        let (shop, calls) = counting(|login| login);
        let mut browser = shop.browser();
        if old {
            browser = browser.without_fetch_metadata();
        }
        let page = browser
            .navigate(&format!("{SHOP}/auth/login"))
            .await
            .unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.text(), "alice");
        let form = format!("<form method=post action='{SHOP}/orders'><button>Buy</button></form>");
        for (site, status, text) in [
            // The cookie stays at home.
            (EVIL, 200, "nobody"),
            // It comes along from a sibling, for whom this application does nothing.
            (SIBLING, 403, ""),
            (SHOP, 200, "alice"),
        ] {
            let before = calls.load(Ordering::Relaxed);
            let page = browser.document(&format!("{site}/page"), &form).unwrap();
            let page = page.form("").unwrap().press("Buy").await.unwrap();
            assert_eq!(page.status().as_u16(), status, "{site} {old}");
            let called = calls.load(Ordering::Relaxed) - before;
            assert_eq!(called, usize::from(status == 200), "{site} {old}");
            if status == 200 {
                assert_eq!(page.text(), text, "{site} {old}");
            } else {
                assert!(
                    page.text().contains("cross_site_request"),
                    "{}",
                    page.text()
                );
            }
        }
    }
}
