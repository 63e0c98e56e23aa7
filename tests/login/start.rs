//! The start of a login: which requests start one, the authorization request, and the transaction
//! cookie.

mod attacks;
mod many_tabs;

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};

use crate::support::shop::*;

/// RFC 6749 §10.10: values are not guessable and never repeat.
#[tokio::test]
async fn no_two_logins_share_a_state_a_nonce_or_a_challenge() {
    let shop = Shop::new();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let answer = shop.send(Ask::page("/auth/login")).await;
        for name in ["state", "nonce", "code_challenge"] {
            assert!(seen.insert(answer.parameter(name).unwrap()), "{name}");
        }
    }
}

/// Only navigations are redirected.
#[tokio::test]
async fn only_a_navigation_starts_a_login_and_only_a_navigation_is_redirected() {
    let shop = Shop::new();
    let cases = [
        ("put", Ask::new("PUT", "{}").with(&PAGE)),
        (
            "post by a script",
            Ask::new("POST", "{}")
                .with(&PAGE)
                .set("sec-fetch-mode", "cors"),
        ),
        ("head", Ask::new("HEAD", "{}").with(&PAGE)),
        ("preflight", Ask::new("OPTIONS", "{}").with(&PAGE)),
        ("any accept", Ask::page("{}").set("accept", "*/*")),
        ("json", Ask::page("{}").set("accept", "application/json")),
        ("no accept", Ask::page("{}").without("accept")),
        ("fetch", Ask::page("{}").set("sec-fetch-mode", "cors")),
        ("frame", Ask::page("{}").set("sec-fetch-dest", "iframe")),
        ("image", Ask::page("{}").set("sec-fetch-dest", "image")),
        ("prefetch", Ask::page("{}").set("sec-purpose", "prefetch")),
        (
            "prerender",
            Ask::page("{}").set("sec-purpose", "prefetch;prerender"),
        ),
        ("old prefetch", Ask::page("{}").set("purpose", "prefetch")),
        (
            "xhr",
            Ask::page("{}").set("x-requested-with", "XMLHttpRequest"),
        ),
        ("htmx", Ask::page("{}").set("hx-request", "true")),
        ("websocket", Ask::page("{}").set("upgrade", "websocket")),
    ];
    for path in ["/auth/login", "/account"] {
        for (name, ask) in cases.clone() {
            let name = format!("{name} {path}");
            let answer = shop.send(ask.at(path)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}");
            assert_eq!(answer.set_cookies(), [""; 0], "{name}");
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{name}"
            );
            assert_eq!(
                answer.header("www-authenticate"),
                "Cookie realm=\"login\"",
                "{name}"
            );
            assert_eq!(answer.header("location"), "", "{name}");
            if answer.body.is_empty() {
                assert_eq!(name, format!("head {path}"));
                continue;
            }
            assert_eq!(answer.json()["login_url"], "/auth/login", "{name}");
            assert_eq!(answer.json()["code"], "login_required", "{name}");
        }
        let worker = shop
            .send(Ask::page(path).set("sec-fetch-dest", "empty"))
            .await;
        assert_eq!(
            worker.status,
            StatusCode::SEE_OTHER,
            "service worker {path}"
        );
    }
}

/// A redirect would lose the form, and users do not read JSON.
#[tokio::test]
async fn a_form_without_a_session_gets_a_page() {
    let shop = Shop::new();
    for path in ["/auth/login", "/account"] {
        let answer = shop.send(Ask::new("POST", path).with(&PAGE)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.set_cookies(), [""; 0], "{path}");
        assert_eq!(answer.header("location"), "", "{path}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, "Cookie realm=\"login\"", "{path}");
        let kind = answer.header("content-type");
        assert_eq!(kind, "text/html; charset=utf-8", "{path}");
        assert!(answer.text().contains("href=\"/auth/login\""), "{path}");
    }
}

#[tokio::test]
async fn htmx_is_redirected_to_the_login_and_returns_to_its_page() {
    let shop = Shop::new();
    for (current, expected) in [
        (
            "https://shop.example.com/notes?a=1",
            "/auth/login?return_to=%2Fnotes%3Fa%3D1",
        ),
        ("https://evil.example/notes", "/auth/login"),
        ("https://shop.example.com.evil.example/notes", "/auth/login"),
        ("https://shop.example.com//evil.example", "/auth/login"),
    ] {
        let ask = Ask::page("/account")
            .set("hx-request", "true")
            .set("hx-current-url", current);
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{current}");
        assert_eq!(answer.header("hx-redirect"), expected, "{current}");
    }
}

/// Limits on pending logins.
#[tokio::test]
async fn five_logins_are_kept_and_the_oldest_is_evicted_first() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let mut order = Vec::new();
    for _ in 0..5 {
        let answer = shop.start("/auth/login", &mut jar).await;
        assert_eq!(answer.clears(), [""; 0]);
        assert!(!order.contains(&answer.sets()[0].to_owned()));
        order.push(answer.sets()[0].to_owned());
        shop.clock().advance(Duration::from_secs(1));
    }
    for oldest in &order {
        let answer = shop.start("/auth/login", &mut jar).await;
        assert_eq!(answer.sets(), [oldest.as_str()]);
        assert_eq!(jar.transactions().len(), 5);
        shop.clock().advance(Duration::from_secs(1));
    }
}

/// A frame of an attacker's page cannot evict logins that a user started.
#[tokio::test]
async fn logins_not_started_by_a_user_are_evicted_first() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let by_hand = shop.start("/auth/login", &mut jar).await.sets()[0].to_owned();
    let value = jar.value(&by_hand).to_owned();
    for _ in 0..20 {
        shop.clock().advance(Duration::from_secs(1));
        let ask = Ask::page("/auth/login").without("sec-fetch-user").jar(&jar);
        let answer = shop.send(ask).await;
        jar.take(&answer);
    }
    assert_eq!(jar.value(&by_hand), value);
    assert_eq!(jar.transactions().len(), 5);
}

/// Only some parameters are forwarded.
#[tokio::test]
async fn only_listed_parameters_are_forwarded() {
    let shop = Shop::new();
    let ask = Ask::page(
        "/auth/login?client_id=evil&redirect_uri=https%3A%2F%2Fevil.example&scope=admin&state=s&nonce=n\
         &response_type=token&code_challenge=c&code_challenge_method=plain&request=r&request_uri=u\
         &response_mode=fragment&login_hint=alice%40example.com&ui_locales=de&acr_values=gold&max_age=60",
    );
    let answer = shop.send(ask).await;
    for (name, expected) in [
        ("client_id", Some("shop")),
        ("redirect_uri", Some(CALLBACK)),
        ("scope", Some("openid")),
        ("response_type", Some("code")),
        ("code_challenge_method", Some("S256")),
        ("request", None),
        ("request_uri", None),
        ("response_mode", None),
        ("login_hint", Some("alice@example.com")),
        ("ui_locales", Some("de")),
        ("acr_values", Some("gold")),
        ("max_age", Some("60")),
    ] {
        assert_eq!(answer.parameter(name).as_deref(), expected, "{name}");
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert!(answer.parameter(name).unwrap().len() > 20, "{name}");
    }
    for query in [
        "prompt=destroy",
        "max_age=-1",
        "max_age=x",
        "login_hint=a&login_hint=b",
        "acr_values=%ff",
    ] {
        let answer = shop.send(Ask::page(&format!("/auth/login?{query}"))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.set_cookies(), [""; 0], "{query}");
    }
    let answer = shop.send(Ask::page("/auth/login?prompt=login")).await;
    assert_eq!(answer.parameter("prompt").as_deref(), Some("login"));
}

/// Every site can link to the login route.
#[tokio::test]
async fn a_link_can_raise_the_requirements_of_every_login_and_not_lower_them() {
    let shop = Shop::with(|login| {
        let set =
            |login: LoginLayer, (name, value)| login.with_authorization_parameter(name, value);
        let settings = [
            ("max_age", "300"),
            ("acr_values", "gold silver"),
            ("prompt", "login"),
        ];
        settings.into_iter().try_fold(login, set).unwrap()
    });
    for (query, expected) in [
        ("", ["300", "gold silver", "login"]),
        ("max_age=60", ["60", "gold silver", "login"]),
        ("max_age=86400", ["300", "gold silver", "login"]),
        ("acr_values=gold", ["300", "gold", "login"]),
        ("acr_values=lead+gold", ["300", "gold", "login"]),
        ("prompt=consent", ["300", "gold silver", "consent login"]),
        ("prompt=login", ["300", "gold silver", "login"]),
    ] {
        let answer = shop.send(Ask::page(&format!("/auth/login?{query}"))).await;
        let sent = ["max_age", "acr_values", "prompt"].map(|name| answer.parameter(name).unwrap());
        assert_eq!(sent, expected, "{query}");
    }
    for query in ["acr_values=lead", "prompt=none"] {
        let answer = shop.send(Ask::page(&format!("/auth/login?{query}"))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
    // The ID token is checked against them.
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(
        answer.status,
        StatusCode::BAD_GATEWAY,
        "the test server sends no `acr`"
    );

    for (name, value) in [
        ("max_age", "-1"),
        ("max_age", "5m"),
        ("acr_values", "gold  silver"),
        ("acr_values", "gold\n"),
        ("prompt", "none"),
        ("prompt", "login none"),
        ("prompt", ""),
    ] {
        let login = login(&server()).with_authorization_parameter(name, value);
        assert!(login.is_err(), "{name}={value}");
    }
    let twice = |login: LoginLayer| login.with_authorization_parameter("max_age", "60");
    assert!(twice(twice(login(&server())).unwrap()).is_err());
}

/// Open redirects (RFC 9700 §4.11).
#[tokio::test]
async fn a_hostile_return_target_becomes_the_default() {
    let shop = Shop::new();
    let long = format!("/{}", "a".repeat(8 * 1024));
    let nested = "/auth/login?return_to=".repeat(1000);
    for (query, expected) in [
        ("return_to=%2Fnotes%3Fx%3D1%23top", "/notes?x=1#top"),
        ("return%5fto=/notes", "/notes"),
        ("return_to=//evil.example", "/"),
        ("return_to=%2F%2Fevil.example", "/"),
        ("return_to=/%5Cevil.example", "/"),
        ("return_to=/%09/evil.example", "/"),
        ("return_to=https://evil.example/", "/"),
        ("return_to=https://shop.example.com/notes", "/"),
        ("return_to=javascript:alert(1)", "/"),
        ("return_to=/%0d%0aSet-Cookie:a=b", "/"),
        ("return_to=/auth/login", "/"),
        ("return_to=/auth/logout", "/"),
        ("return_to=/AUTH/%2561llback/../login", "/"),
        ("return_to=/notes&return_to=//evil.example", "/"),
        ("return_to=//evil.example&return_to=/notes", "/"),
        ("return_to=", "/"),
        ("", "/"),
        (&format!("return_to={long}"), "/"),
        (&format!("return_to={nested}"), "/"),
    ] {
        let mut jar = Jar::default();
        let answer = shop.start(&format!("/auth/login?{query}"), &mut jar).await;
        assert!(jar.bytes() < 4096, "{query:.80}");
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.location(), expected, "{query:.80}");
    }
}

/// Host headers are not trusted.
#[tokio::test]
async fn no_header_changes_a_redirect() {
    let shop = Shop::new();
    for path in ["/auth/login", "https://evil.example/auth/login"] {
        let ask = Ask::page(path).with(&[
            ("host", "evil.example"),
            ("host", "evil.example"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "host=evil.example"),
            ("x-original-url", "//evil.example"),
        ]);
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.parameter("redirect_uri").as_deref(), Some(CALLBACK));
        assert!(!answer.head().contains("evil"), "{answer:?}");
    }
}

/// An outage of the authorization server.
#[tokio::test]
async fn an_outage_of_the_authorization_server_is_a_503_and_logins_recover() {
    let shop = Shop::new();
    shop.server.fail(Endpoint::Metadata, Fault::status(500));
    let answer = shop.send(Ask::page("/auth/login?return_to=/notes")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert!(
        answer.text().contains("/auth/login?return_to=%2Fnotes"),
        "{}",
        answer.text()
    );
    assert_eq!(shop.greeting(&Jar::default()).await, "hello stranger");

    shop.server.clear_faults(Endpoint::Metadata);
    shop.clock().advance(Duration::from_secs(60));
    let answer = shop.send(Ask::page("/auth/login")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
}

/// RFC 9700 §2.1.1: PKCE with S256 is required.
#[tokio::test]
async fn a_server_without_s256_is_a_configuration_error() {
    let shop = Shop::new();
    let plain = serde_json::json!(["plain"]);
    shop.server.fail(
        Endpoint::Metadata,
        Fault::member("code_challenge_methods_supported", plain),
    );
    let layer = login(&shop.server);
    let error = layer.ready().await.unwrap_err();
    assert_eq!(error.code(), "pkce_unsupported");
    let answer = send(&app(&layer), Ask::page("/auth/login")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("pkce_unsupported"));
}

#[tokio::test]
async fn invalid_configuration_is_rejected_at_construction() {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    let new = |uri: &str| {
        let key = CookieKey::from_bytes(&KEY).unwrap();
        LoginLayer::new(&server, Client::confidential("shop", "s"), uri, key)
    };
    for uri in [
        "https://shop.example.com/auth/callback#x",
        "http://shop.example.com/auth/callback",
        "https://shop.example.com/auth/",
        "https://shop.example.com",
        "https://shop.example.com/auth/login",
        "https://shop.example.com/auth/session",
        "/auth/callback",
    ] {
        let error = new(uri).unwrap_err();
        assert!(
            error.to_string().contains(uri.trim_end_matches('/')),
            "{error}"
        );
    }
    let layer = || new(CALLBACK).unwrap();
    for error in [
        layer().with_scopes("openid a\"b").unwrap_err(),
        layer().with_scopes("profile").unwrap_err(),
        layer()
            .with_default_return_to("//evil.example")
            .unwrap_err(),
        layer().with_default_return_to("/auth/login").unwrap_err(),
        layer()
            .with_default_return_to("https://shop.example.com/")
            .unwrap_err(),
        layer()
            .with_post_logout_redirect_uri("https://evil.example/")
            .unwrap_err(),
        layer().with_post_logout_redirect_uri("/").unwrap_err(),
        layer().with_cookie_name("a b").unwrap_err(),
        layer().with_cookie_name("").unwrap_err(),
        layer()
            .with_authorization_parameter("state", "x")
            .unwrap_err(),
        layer()
            .with_session_limits(Duration::from_secs(3600), Duration::ZERO)
            .unwrap_err(),
        layer()
            .with_session_limits(Duration::from_secs(3600), Duration::from_secs(3601))
            .unwrap_err(),
        CookieKey::from_bytes(&[1; 31]).unwrap_err(),
    ] {
        assert!(!error.to_string().is_empty());
    }
}
