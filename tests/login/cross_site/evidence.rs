//! Which requests with a session are accepted without the static header: a table of the evidence that browsers, old
//! browsers and programs may send.

use std::sync::atomic::Ordering;

use http::StatusCode;
use tower_oauth::login::Csrf;

use super::{EVIL, Fields, SIBLING, WEBSOCKET, counting};

use crate::support::shop::*;

const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

const METHODS: [&str; 11] = [
    "GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "PURGE", "get",
];

const ACCEPTS: [Fields; 4] = [
    &[],
    &[("accept", HTML)],
    &[("accept", "*/*")],
    &[("accept", "application/json")],
];

/// Every `Origin` other than none and the application's.
const FOREIGN_ORIGINS: [Fields; 16] = [
    &[("origin", EVIL)],
    &[("origin", SIBLING)],
    &[("origin", "null")],
    &[("origin", "NULL")],
    &[("origin", "")],
    &[("origin", "https://shop.example.com/")],
    &[("origin", "https://shop.example.com:443")],
    &[("origin", "https://shop.example.com:8443")],
    &[("origin", "https://SHOP.example.com")],
    &[("origin", "https://shop.example.com.")],
    &[("origin", "http://shop.example.com")],
    &[("origin", "shop.example.com")],
    &[("origin", "https://shop.example.com.evil.example")],
    &[("origin", "https://shop.example.com, https://evil.example")],
    &[("origin", SHOP), ("origin", SHOP)],
    &[("origin", SHOP), ("origin", EVIL)],
];

/// Fetch metadata that does not state that the request is same-origin.
const METADATA: [Fields; 22] = [
    // A browser without fetch metadata.
    &[],
    // A navigation, from elsewhere and by the address bar.
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
    &[
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
    &[
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-user", "?1"),
    ],
    &[
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
    // Scripts and parts of foreign pages.
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
    ],
    &[
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-dest", "script"),
    ],
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "iframe"),
    ],
    &[
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "websocket"),
        ("sec-fetch-dest", "websocket"),
    ],
    // Incomplete.
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("sec-fetch-site", "none")],
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-dest", "document"),
    ],
    &[("sec-fetch-dest", "document")],
    &[("sec-fetch-dest", "empty")],
    &[("sec-fetch-mode", "cors")],
    // Repeated, empty, or with values that no browser sends.
    &[
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
    &[
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "document"),
    ],
    &[
        ("sec-fetch-site", "Same-Origin"),
        ("sec-fetch-mode", "Navigate"),
        ("sec-fetch-dest", "Document"),
    ],
    &[
        ("sec-fetch-site", "same-origin, cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
    &[
        ("sec-fetch-site", "elsewhere"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
    &[
        ("sec-fetch-site", ""),
        ("sec-fetch-mode", ""),
        ("sec-fetch-dest", ""),
    ],
];

/// The entries of [`METADATA`] that describe a navigation, or are empty.
const NAVIGATIONS: usize = 5;

/// A request with another origin, or one that cannot be compared, is rejected with any method, `Accept` and fetch metadata.
#[tokio::test]
async fn with_the_static_header_a_foreign_origin_is_never_a_navigation() {
    let (shop, calls) = counting(|login| login.with_csrf(Csrf::StaticHeader));
    let jar = shop.signed_in().await;
    for method in METHODS {
        // The whole table only for GET, which is accepted in most cases.
        let (accepts, origins) = match method {
            "GET" => (&ACCEPTS[..], &FOREIGN_ORIGINS[..]),
            _ => (&ACCEPTS[1..2], &FOREIGN_ORIGINS[..3]),
        };
        for accept in accepts {
            for origin in origins {
                for metadata in METADATA {
                    for upgrade in [&[][..], &WEBSOCKET] {
                        let fields = [*accept, *origin, metadata, upgrade].concat();
                        let ask = Ask::new(method, "/orders").with(&fields).jar(&jar);
                        let status = shop.send(ask).await.status;
                        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {fields:?}");
                    }
                }
            }
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// Nor if the fetch metadata contradicts the origin: no browser sends both.
#[tokio::test]
async fn with_the_static_header_an_own_navigation_with_a_foreign_origin_is_refused() {
    let (shop, calls) = counting(|login| login.with_csrf(Csrf::StaticHeader));
    let jar = shop.signed_in().await;
    for method in ["GET", "HEAD"] {
        for origin in FOREIGN_ORIGINS {
            let own = [
                ("accept", HTML),
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ];
            let ask = Ask::new(method, "/orders").with(&own).with(origin);
            let status = shop.send(ask.jar(&jar)).await.status;
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {origin:?}");
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// Without the header and without evidence, only GET requests for pages are accepted, and only if all fetch metadata agrees.
#[tokio::test]
async fn with_the_static_header_only_navigations_pass_without_evidence() {
    let (shop, calls) = counting(|login| login.with_csrf(Csrf::StaticHeader));
    let jar = shop.signed_in().await;
    let mut passed = 0;
    for method in METHODS {
        for accept in ACCEPTS {
            for origin in [&[][..], &[("origin", SHOP)]] {
                for (at, metadata) in METADATA.iter().enumerate() {
                    for upgrade in [&[][..], &WEBSOCKET] {
                        let fields = [accept, origin, metadata, upgrade].concat();
                        let page = method == "GET"
                            && accept == ACCEPTS[1]
                            && at < NAVIGATIONS
                            && upgrade.is_empty();
                        // A WebSocket needs no header, and its origin is evidence if no metadata is sent.
                        let says_site = metadata.iter().any(|(name, _)| *name == "sec-fetch-site");
                        let socket = method == "CONNECT" || !upgrade.is_empty();
                        let own_socket = socket && !origin.is_empty() && !says_site;
                        let ask = Ask::new(method, "/orders").with(&fields).jar(&jar);
                        let status = shop.send(ask).await.status;
                        let expected = match page || own_socket {
                            true => StatusCode::OK,
                            false => StatusCode::FORBIDDEN,
                        };
                        assert_eq!(status, expected, "{method} {fields:?}");
                        passed += usize::from(expected == StatusCode::OK);
                    }
                }
            }
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), passed);
}

/// Without a session, a request of an old browser with a foreign origin gets 401, and neither a redirect nor a cookie.
/// Fetch metadata that describes a navigation is trusted, because scripts cannot forge it.
#[tokio::test]
async fn a_script_of_another_origin_is_not_sent_to_sign_in() {
    let shop = Shop::new();
    let foreign = FOREIGN_ORIGINS.iter().map(|origin| (*origin, true));
    let own = [(&[][..], false), (&[("origin", SHOP)][..], false)];
    for (origin, is_foreign) in foreign.chain(own) {
        for path in ["/account", "/auth/login", "/auth/login?return_to=/notes"] {
            for (at, metadata) in METADATA.iter().enumerate() {
                let page = Ask::new("GET", path).with(&[("accept", HTML)]);
                let answer = shop.send(page.with(metadata).with(origin)).await;
                let name = format!("{path} {metadata:?} {origin:?}");
                if at < NAVIGATIONS && (at > 0 || !is_foreign) {
                    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
                } else {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
                    assert_eq!(answer.set_cookies(), [""; 0], "{name}");
                }
            }
        }
    }
}

/// What signs out at once is a link of our own page; anything else is asked first.
#[tokio::test]
async fn a_link_with_a_foreign_origin_signs_out_only_after_it_was_asked() {
    let own = [
        ("accept", HTML),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for origin in FOREIGN_ORIGINS {
        let shop = Shop::new();
        let jar = shop.signed_in().await;
        let ask = Ask::new("GET", "/auth/logout").with(&own).with(origin);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::OK, "{origin:?}");
        assert_eq!(answer.set_cookies(), [""; 0], "{origin:?}");
        assert_eq!(shop.greeting(&jar).await, "hello alice", "{origin:?}");
    }
}
