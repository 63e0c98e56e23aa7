//! Cross-site request forgery: requests that another site makes a browser send do not use the
//! session.

mod evidence;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use tower_oauth::Session;
use tower_oauth::login::Csrf;

use crate::support::shop::*;

const EVIL: &str = "https://evil.example";

const SIBLING: &str = "https://blog.example.com";

/// A shop that returns the user on every path, and counts calls.
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
                || "signed out".to_owned(),
                |session| session.subject().to_owned(),
            )
        })
        .layer(configure(login(&server)));
    (Shop { server, app }, calls)
}

type Fields = &'static [(&'static str, &'static str)];

/// The fields by which a browser reports the origin of a request, and whether that is this
/// application; `None` if there are none.
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

/// Every combination is tried, and no handler is called for a rejected request.
#[tokio::test]
async fn every_combination_of_method_site_origin_and_upgrade_is_checked() {
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
                            let is_reported = answer.text().contains("cross_site_request");
                            assert!(is_reported || method == "HEAD", "{name}");
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

/// Without a valid session there is nothing to forge.
#[tokio::test]
async fn requests_without_a_session_are_not_checked() {
    let (shop, _) = counting(|login| login);
    let jar = shop.signed_in().await;
    let expired = jar.clone();
    let post = || Ask::new("POST", "/orders").with(&[("sec-fetch-site", "cross-site")]);
    for jar in [Jar::default(), Jar::of(&[(SESSION, "x")])] {
        let answer = shop.send(post().jar(&jar)).await;
        assert_eq!(answer.text(), "signed out");
    }
    // A planted cookie does not hide the session.
    for jar in [jar.clone(), jar.clone().and(SESSION, "x")] {
        let answer = shop.send(post().jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    shop.clock().advance(Duration::from_secs(3600));
    assert_eq!(shop.send(post().jar(&expired)).await.text(), "signed out");
}

/// The request of a row in the table of `Csrf`.
struct Row {
    name: &'static str,
    method: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

const WEBSOCKET: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "websocket")];

const fn row(name: &'static str, method: &'static str, fields: Fields) -> Row {
    Row {
        name,
        method,
        fields,
    }
}

const ROWS: [Row; 26] = [
    row(
        "a form of another site",
        "POST",
        &[
            ("accept", "text/html"),
            ("origin", EVIL),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    row(
        "a form of a sibling subdomain",
        "POST",
        &[
            ("accept", "text/html"),
            ("origin", SIBLING),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    row(
        "a link of another site to a page",
        "GET",
        &[
            ("accept", "text/html"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    row(
        "`fetch` of another origin with `no-cors`, POST",
        "POST",
        &[
            ("origin", SIBLING),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "`fetch` of another origin with `no-cors`, GET",
        "GET",
        &[
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "`fetch` of another origin with `cors` and the header",
        "POST",
        &[
            ("origin", SIBLING),
            ("x-csrf", "1"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "the preflight of another origin, which has no cookie",
        "OPTIONS",
        &[
            ("origin", SIBLING),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "x-csrf"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "an image, script or frame in a page of another origin",
        "GET",
        &[
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "image"),
        ],
    ),
    row(
        "a WebSocket of another origin",
        "GET",
        &[
            WEBSOCKET[0],
            WEBSOCKET[1],
            ("origin", SIBLING),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "an extended CONNECT of another origin",
        "CONNECT",
        &[("origin", SIBLING), ("sec-fetch-site", "same-site")],
    ),
    row(
        "a form of another origin, from a browser without Fetch Metadata",
        "POST",
        &[("accept", "text/html"), ("origin", SIBLING)],
    ),
    row(
        "an image of another origin, from a browser without Fetch Metadata",
        "GET",
        &[("accept", "image/avif,image/*,*/*;q=0.8")],
    ),
    row(
        "a form of another origin's `no-referrer` page, from a browser without Fetch Metadata",
        "POST",
        &[("accept", "text/html"), ("origin", "null")],
    ),
    row(
        "a form of our own `no-referrer` page, from a browser without Fetch Metadata",
        "POST",
        &[("accept", "text/html"), ("origin", "null")],
    ),
    row(
        "a form of our own `no-referrer` page",
        "POST",
        &[
            ("accept", "text/html"),
            ("origin", "null"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    row(
        "a form of our own page",
        "POST",
        &[
            ("accept", "text/html"),
            ("origin", SHOP),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ],
    ),
    row(
        "`fetch` of our own page without the header, POST",
        "POST",
        &[
            ("origin", SHOP),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "`fetch` or `EventSource` of our own page without the header, GET",
        "GET",
        &[
            ("accept", "text/event-stream"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "`fetch` of our own page with the header",
        "POST",
        &[
            ("origin", SHOP),
            ("x-csrf", "1"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "an image, script or frame in our own page",
        "GET",
        &[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "no-cors"),
            ("sec-fetch-dest", "script"),
        ],
    ),
    row(
        "an image in our own page, from a browser without Fetch Metadata",
        "GET",
        &[("accept", "image/avif,image/*,*/*;q=0.8")],
    ),
    row(
        "a WebSocket of our own page",
        "GET",
        &[
            WEBSOCKET[0],
            WEBSOCKET[1],
            ("origin", SHOP),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "websocket"),
            ("sec-fetch-dest", "empty"),
        ],
    ),
    row(
        "an extended CONNECT of our own page",
        "CONNECT",
        &[("origin", SHOP), ("sec-fetch-site", "same-origin")],
    ),
    row("curl with the cookie, GET", "GET", &[("accept", "*/*")]),
    row("curl with the cookie, POST", "POST", &[("accept", "*/*")]),
    row(
        "curl with the cookie and the header, POST",
        "POST",
        &[("accept", "*/*"), ("x-csrf", "1")],
    ),
];

/// The documented table is tested row by row.
#[tokio::test]
async fn every_row_of_the_documented_table_is_true_in_both_modes() {
    let source = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/login/csrf.rs"),
    )
    .unwrap();
    let documented: Vec<Vec<&str>> = source
        .lines()
        .filter_map(|line| line.strip_prefix("/// | "))
        .map(|line| {
            line.trim_end_matches('|')
                .split(" | ")
                .map(str::trim)
                .collect()
        })
        .skip(2)
        .collect();
    let names: Vec<_> = documented.iter().map(|row| row[0]).collect();
    assert_eq!(names, ROWS.map(|row| row.name));
    for (column, mode) in [(1, Csrf::SameOrigin), (2, Csrf::StaticHeader)] {
        let (shop, calls) = counting(|login| login.with_csrf(mode));
        let jar = shop.signed_in().await;
        for (row, documented) in ROWS.iter().zip(&documented) {
            let before = calls.load(Ordering::Relaxed);
            let uri = match row.method {
                "CONNECT" => "https://shop.example.com/socket",
                _ => "/orders",
            };
            let mut ask = Ask::new(row.method, uri).with(row.fields);
            // Preflights have no cookies.
            if row.method != "OPTIONS" {
                ask = ask.jar(&jar);
            }
            let answer = shop.send(ask).await;
            let called = calls.load(Ordering::Relaxed) - before;
            let result = match (answer.status.as_u16(), called) {
                (200, 1) => "passes",
                (403, 0) => "403",
                other => panic!("{mode:?} {}: {other:?}", row.name),
            };
            assert_eq!(result, documented[column], "{mode:?} {}", row.name);
        }
    }
}

/// RFC 10017 §6.1.3.3.2: a script needs the static header, whatever else its requests have.
#[tokio::test]
async fn every_combination_is_checked_with_the_static_header_too() {
    let (shop, calls) = counting(|login| login.with_csrf(Csrf::StaticHeader));
    let jar = shop.signed_in().await;
    let dests: [(Fields, bool); 5] = [
        (&[], false),
        (&[("sec-fetch-dest", "empty")], false),
        (&[("sec-fetch-dest", "")], false),
        (&[("sec-fetch-dest", "style")], true),
        (
            &[("sec-fetch-dest", "style"), ("sec-fetch-dest", "script")],
            false,
        ),
    ];
    let (mut passed, mut refused) = (0, 0);
    for method in ["GET", "HEAD", "POST", "CONNECT"] {
        for upgrade in [&[][..], &WEBSOCKET] {
            for (site, site_says) in SITES {
                for (origin, origin_says) in &ORIGINS[..5] {
                    for (header, header_says) in HEADERS {
                        for (dest, is_part) in dests {
                            let fields = [upgrade, site, *origin, header, dest].concat();
                            let socket = method == "CONNECT" || !upgrade.is_empty();
                            let from_here = site_says.or(*origin_says).unwrap_or(header_says);
                            let own_part = is_part
                                && site_says == Some(true)
                                && ["GET", "HEAD"].contains(&method);
                            let passes = from_here && (socket || header_says || own_part);
                            let before = calls.load(Ordering::Relaxed);
                            let ask = Ask::new(method, "/orders").with(&fields);
                            let answer = shop.send(ask.jar(&jar)).await;
                            let called = calls.load(Ordering::Relaxed) - before;
                            let expected = match passes {
                                true => (StatusCode::OK, 1),
                                false => (StatusCode::FORBIDDEN, 0),
                            };
                            assert_eq!((answer.status, called), expected, "{method} {fields:?}");
                            passed += usize::from(passes);
                            refused += usize::from(!passes);
                        }
                    }
                }
            }
        }
    }
    assert!(passed > 300 && refused > 3000, "{passed} {refused}");
}

/// Only the configured header counts, and it must be one that browsers do not set.
#[tokio::test]
async fn the_static_header_can_be_renamed() {
    let (shop, _) = counting(|login| {
        let login = login.with_csrf(Csrf::StaticHeader);
        login.with_csrf_header("X-Shop-Script").unwrap()
    });
    let jar = shop.signed_in().await;
    for (header, status) in [
        (("x-shop-script", "1"), StatusCode::OK),
        (("x-shop-script", "2"), StatusCode::FORBIDDEN),
        (("x-csrf", "1"), StatusCode::FORBIDDEN),
    ] {
        let ask = Ask::new("POST", "/orders").with(&[header]).jar(&jar);
        assert_eq!(shop.send(ask).await.status, status, "{header:?}");
    }
    for refused in [
        "accept",
        "range",
        "sec-fetch-site",
        "cookie",
        "",
        "x-",
        "x csrf",
        "origin",
    ] {
        let error = login(&server()).with_csrf_header(refused).unwrap_err();
        assert!(error.to_string().contains("begins with `x-`"), "{refused}");
    }
}

/// The layer answers no preflight and allows no origin. A CORS layer inside decides alone, and even
/// one that allows all origins opens no request that is rejected.
#[tokio::test]
async fn a_preflight_has_no_session_and_cors_allows_no_rejected_request() {
    let permissive = |response: axum::response::Response| async move {
        let mut response = response;
        for (name, value) in [
            ("access-control-allow-origin", SIBLING),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "x-csrf"),
        ] {
            let value = http::HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    };
    for (mode, readable) in [(Csrf::SameOrigin, true), (Csrf::StaticHeader, false)] {
        let server = server();
        let app = Router::new()
            .fallback(|session: Option<Session>| async move {
                session.map_or_else(|| "signed out".to_owned(), |one| one.subject().to_owned())
            })
            .layer(axum::middleware::map_response(permissive))
            .layer(login(&server).with_csrf(mode));
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let preflight = Ask::new("OPTIONS", "/orders").with(&[
            ("origin", SIBLING),
            ("access-control-request-method", "POST"),
        ]);
        assert_eq!(shop.send(preflight).await.text(), "signed out", "{mode:?}");
        for (method, reads) in [("GET", readable), ("POST", false)] {
            for site in [&[][..], &[("sec-fetch-site", "same-site")]] {
                let ask = Ask::new(method, "/orders").with(site);
                let ask = ask.with(&[("origin", SIBLING), ("x-csrf", "1")]);
                let answer = shop.send(ask.jar(&jar)).await;
                assert_eq!(
                    answer.text() == "alice",
                    reads,
                    "{mode:?} {method} {site:?}"
                );
            }
        }
        // The routes of the login layer are outside of the CORS layer.
        let ask = Ask::new("GET", "/auth/session").with(&[("origin", SIBLING)]);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{mode:?}");
    }
}

/// RFC 10017 §6.1.2.1: the session route needs the static header too.
#[tokio::test]
async fn the_session_route_requires_the_static_header_in_that_mode() {
    let script = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-dest", "empty"),
    ];
    for (mode, header, status) in [
        (Csrf::SameOrigin, &[][..], 200),
        (Csrf::StaticHeader, &[], 403),
        (Csrf::StaticHeader, &[("x-csrf", "1")], 200),
    ] {
        let shop = Shop::with(|login| login.with_csrf(mode));
        let jar = shop.signed_in().await;
        let ask = Ask::new("GET", "/auth/session").with(&script).with(header);
        let answer = shop.send(ask.clone().jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{mode:?} {header:?}");
        assert_eq!(answer.text().contains("alice"), status == 200);
        assert_eq!(shop.send(ask).await.status, StatusCode::UNAUTHORIZED);
    }
}

/// No route gives a token to a script, or to another origin.
#[tokio::test]
async fn no_route_of_the_layer_returns_a_token() {
    let server = server();
    let app = Router::new()
        .route(
            "/token-for-the-test",
            axum::routing::get(|session: Session| async move {
                session.access_token().await.unwrap().expose().to_owned()
            }),
        )
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let answer = shop.send(Ask::page("/token-for-the-test").jar(&jar)).await;
    let token = answer.text();
    assert!(token.len() > 40, "{token}");
    // The layer has no route for tokens.
    for route in [
        "token",
        "access_token",
        "refresh",
        "refresh_token",
        "userinfo",
        "session",
        "login",
        "session?extend=true",
        "callback",
        "logout",
        "id_token",
    ] {
        for method in ["GET", "POST"] {
            let ask = Ask::new(method, &format!("/auth/{route}")).with(&[
                ("sec-fetch-site", "same-origin"),
                ("origin", SHOP),
                ("x-csrf", "1"),
            ]);
            let answer = shop.send(ask.jar(&jar)).await;
            let everything = format!("{} {}", answer.head(), answer.text());
            for part in token.split('.') {
                assert!(!everything.contains(part), "{method} {route}: {everything}");
            }
        }
    }
}

/// RFC 8441: the same over an HTTP/2 connection, where `:protocol` makes an extended CONNECT.
#[tokio::test]
async fn an_extended_connect_over_http2_must_be_same_origin() {
    let (shop, calls) = counting(|login| login);
    let jar = shop.signed_in().await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let service = hyper_util::service::TowerToHyperService::new(shop.app.clone());
    let serving = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
        .enable_connect_protocol()
        .serve_connection(hyper_util::rt::TokioIo::new(far), service);
    tokio::spawn(serving);
    let (mut client, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(near),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    // The server announces extended CONNECT in its settings, which have to arrive first.
    let first = http::Request::get("https://shop.example.com/").body(String::new());
    client.send_request(first.unwrap()).await.unwrap();
    for (origin, status) in [(EVIL, 403), (SIBLING, 403), (SHOP, 200)] {
        let before = calls.load(Ordering::Relaxed);
        let mut request = http::Request::new(String::new());
        *request.method_mut() = http::Method::CONNECT;
        *request.uri_mut() = "https://shop.example.com/socket".parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("origin", http::HeaderValue::from_static(origin));
        headers.insert("cookie", jar.header().parse().unwrap());
        headers.insert(
            "sec-websocket-version",
            http::HeaderValue::from_static("13"),
        );
        let protocol = hyper::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{origin}");
        let called = calls.load(Ordering::Relaxed) - before;
        assert_eq!(called, usize::from(status == 200), "{origin}");
    }
}

/// RFC 8441: a WebSocket over HTTP/2 starts with CONNECT.
#[tokio::test]
async fn an_extended_connect_is_checked_like_a_websocket() {
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

/// `Connection: upgrade` alone, which some proxies add to every request, does not make a WebSocket.
#[tokio::test]
async fn a_connection_upgrade_without_an_upgrade_field_is_not_a_websocket() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let ask = Ask::page("/account").with(&[("connection", "upgrade")]);
    let answer = shop.send(ask.jar(&jar)).await;
    assert_eq!(answer.text(), "account of alice");
}

/// An application may turn the check off for its routes, but not for the sign-out.
#[tokio::test]
async fn unchecked_applies_to_the_application_and_not_to_the_sign_out() {
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

/// A rejected request does not count as use of the session.
#[tokio::test]
async fn a_rejected_request_does_not_extend_the_session() {
    let (shop, _) = counting(|login| login);
    let jar = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(1800));
    let answer = shop.send(Ask::new("POST", "/orders").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// The same with sessions in a store, where each use is recorded.
#[tokio::test]
async fn a_rejected_request_does_not_extend_a_session_in_a_store() {
    let (shop, _) = counting(|login| {
        let store = tower_oauth::store::MemoryStore::new().with_single_process();
        login.with_session_store(store)
    });
    let jar = shop.signed_in().await;
    let expires_at = || async {
        let answer = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
        answer.json()["expires_at"].as_i64().unwrap()
    };
    let before = expires_at().await;
    shop.clock().advance(Duration::from_secs(1800));
    let answer = shop.send(Ask::new("POST", "/orders").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(expires_at().await, before);
    assert_eq!(
        shop.send(Ask::page("/orders").jar(&jar)).await.text(),
        "alice"
    );
    assert!(expires_at().await >= before + 1800);
}

/// The same in current and older browsers, with their cookie rules.
#[tokio::test]
async fn forms_of_other_sites_are_rejected_and_own_forms_pass() {
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
            // The browser sends no cookie.
            (EVIL, 200, "signed out"),
            // A sibling subdomain's request has the cookie and is rejected.
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

/// The header fields must match exactly.
#[tokio::test]
async fn malformed_csrf_fields_are_not_accepted() {
    type Row = &'static [(&'static str, &'static str)];
    const ROWS: [Row; 22] = [
        &[("sec-fetch-site", "Same-Origin")],
        &[("sec-fetch-site", "same-origin ,same-origin")],
        &[("sec-fetch-site", "same-origin;x")],
        &[("sec-fetch-site", "\"same-origin\"")],
        &[("sec-fetch-site", "")],
        &[("sec-fetch-site", ""), ("x-csrf", "1")],
        &[("sec-fetch-site", "none"), ("x-csrf", "1")],
        &[
            ("sec-fetch-site", "none"),
            ("origin", SHOP),
            ("x-csrf", "1"),
        ],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", SHOP),
            ("x-csrf", "1"),
        ],
        &[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "same-origin"),
            ("x-csrf", "1"),
        ],
        &[("origin", "HTTPS://shop.example.com"), ("x-csrf", "1")],
        &[("origin", "https://SHOP.example.com")],
        &[("origin", "https://shop.example.com:443")],
        &[("origin", "https://shop.example.com/")],
        &[("origin", "https://shop.example.com."), ("x-csrf", "1")],
        &[
            ("origin", "https://shop.example.com, https://evil.example"),
            ("x-csrf", "1"),
        ],
        &[("origin", ""), ("x-csrf", "1")],
        &[("origin", "NULL"), ("x-csrf", "1")],
        &[("x-csrf", "1,1")],
        &[("x-csrf", "01")],
        &[("x_csrf", "1")],
        &[("x-csrf", "true")],
    ];
    for mode in [Csrf::SameOrigin, Csrf::StaticHeader] {
        let shop = Shop::with(|login| login.with_csrf(mode));
        let jar = shop.signed_in().await;
        for row in ROWS {
            for method in ["POST", "PUT", "PURGE", "get", "CONNECT"] {
                let ask = Ask::new(method, "/notes").with(row);
                // A method override or an `Accept` field changes nothing.
                let ask = ask.with(&[("accept", "text/html"), ("x-http-method-override", "GET")]);
                let answer = shop.send(ask.jar(&jar)).await;
                assert_eq!(
                    answer.status,
                    StatusCode::FORBIDDEN,
                    "{mode:?} {method} {row:?}"
                );
            }
            let socket = [("upgrade", "x"), ("connection", "keep-alive")];
            let ask = Ask::new("GET", "/notes").with(row).with(&socket);
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{mode:?} socket {row:?}"
            );
            if mode == Csrf::StaticHeader {
                for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
                    let ask = Ask::new(method, "/notes")
                        .with(row)
                        .with(&[("accept", "*/*")]);
                    let answer = shop.send(ask.jar(&jar)).await;
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {row:?}");
                }
            }
        }
    }
}
