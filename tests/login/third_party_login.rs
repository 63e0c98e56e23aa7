//! `LoginLayer::with_third_party_login`: logins that another party starts (OpenID Connect Core §4).

use std::time::Duration;

use http::StatusCode;
use tower_oauth::LoginLayer;

use crate::support::logs::Logs;
use crate::support::shop::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn shop() -> Shop {
    Shop::with(LoginLayer::with_third_party_login)
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The same parameters as a link and as a form of another site.
fn both(query: &str) -> [Ask; 2] {
    let cross_site = |ask: Ask| ask.set("sec-fetch-site", "cross-site");
    let form = Ask::new("POST", "/auth/login")
        .with(&PAGE)
        .with(&[FORM, ("origin", "https://portal.example")]);
    [
        cross_site(Ask::page(&format!("/auth/login?{query}"))),
        cross_site(form).body(query),
    ]
}

/// Follows the redirect after a form, which has the Lax cookies of the browser.
async fn start(shop: &Shop, ask: Ask, jar: &Jar) -> Answer {
    let answer = shop.send(ask).await;
    if !answer.location().starts_with("/auth/login?iss=") {
        return answer;
    }
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.set_cookies(), [""; 0]);
    let ask = Ask::page(answer.location()).without("sec-fetch-user");
    let ask = ask.set("sec-fetch-site", "cross-site");
    shop.send(ask.jar(jar)).await
}

#[tokio::test]
async fn a_login_of_the_own_issuer_starts_and_returns_to_a_target_of_this_origin() {
    let shop = shop();
    for (target, expected) in [
        ("", "/"),
        ("https://shop.example.com/notes?a=b", "/notes?a=b"),
        ("https://shop.example.com", "/"),
        ("https://shop.example.com/", "/"),
        ("/notes", "/notes"),
        ("//evil", "/"),
        ("https://shop.example.com//evil", "/"),
        ("https://shop.example.com.evil/", "/"),
        ("https://shop.example.com@evil/", "/"),
        ("https://user@shop.example.com/notes", "/"),
        ("https://shop.example.com:8443/notes", "/"),
        ("http://shop.example.com/notes", "/"),
        ("https://shop.example.com/auth/logout", "/"),
        ("https://shop.example.com\\evil", "/"),
        ("https://SHOP.example.com.evil/", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let query = format!(
            "iss={}&login_hint=alice&target_link_uri={}",
            encode(ISSUER),
            encode(target)
        );
        for ask in both(&query) {
            let mut jar = Jar::default();
            let answer = start(&shop, ask, &jar).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{target}: {answer:?}");
            assert!(answer.location().starts_with(ISSUER), "{target}");
            assert_eq!(answer.parameter("login_hint").as_deref(), Some("alice"));
            jar.take(&answer);
            let callback = shop.approve(answer.location(), "alice").await;
            let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
            assert_eq!(answer.location(), expected, "{target}");
        }
    }
}

#[tokio::test]
async fn a_foreign_target_is_logged() {
    let shop = shop();
    let query = format!("iss={}&target_link_uri=%2F%2Fevil", encode(ISSUER));
    for ask in both(&query) {
        let logs = Logs::default();
        let recording = logs.record_only("return_target_dropped");
        let name = format!("{ask:?}");
        let answer = start(&shop, ask, &Jar::default()).await;
        drop(recording);
        assert!(answer.location().starts_with(ISSUER), "{name}: {answer:?}");
        assert!(logs.take().contains("target_link_uri"), "{name}");
    }
}

#[tokio::test]
async fn another_issuer_is_400_and_the_session_is_untouched() {
    let shop = shop();
    let jar = shop.signed_in().await;
    for (issuer, reason) in [
        ("https://id.example.test/", "a slash more"),
        ("https://ID.example.test", "another case"),
        ("https://id.example.test:443", "a port"),
        ("https://evil.example", "another server"),
        ("", "empty"),
        (
            "https://id.example.test&iss=https%3A%2F%2Fid.example.test",
            "repeated",
        ),
    ] {
        for ask in both(&format!("iss={issuer}&target_link_uri=%2Fnotes")) {
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{reason}");
            assert_eq!(answer.set_cookies(), [""; 0], "{reason}");
            assert_eq!(answer.header("location"), "", "{reason}");
            assert_eq!(answer.header("cache-control"), "no-store", "{reason}");
            assert_eq!(shop.greeting(&jar).await, "hello alice", "{reason}");
        }
    }
}

#[tokio::test]
async fn a_signed_in_user_keeps_the_session_until_the_new_login_completes() {
    let shop = shop();
    for number in 0..2 {
        let mut jar = shop.signed_in().await;
        let old = jar.clone();
        let ask = both(&format!("iss={}", encode(ISSUER)))[number].clone();
        // A form of another site has no Lax cookie.
        let ask = match number {
            0 => ask.jar(&jar),
            _ => ask,
        };
        let answer = start(&shop, ask, &jar).await;
        jar.take(&answer);
        assert_eq!(shop.greeting(&jar).await, "hello alice");
        let callback = shop.approve(answer.location(), "bob").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        jar.take(&answer);
        assert_eq!(shop.greeting(&jar).await, "hello bob");
        assert_eq!(shop.greeting(&old).await, "hello stranger");
    }
}

/// A form of another site has no Lax cookie, so a login that it started would not see those of the user.
#[tokio::test]
async fn forms_of_another_site_do_not_evict_a_login_of_the_user() {
    let shop = shop();
    let mut jar = Jar::default();
    let target = format!("/notes?{}", "a".repeat(300));
    let path = format!("/auth/login?return_to={}", encode(&target));
    let started = shop.start(&path, &mut jar).await;
    for _ in 0..20 {
        let [_, form] = both(&format!("iss={}", encode(ISSUER)));
        let answer = start(&shop, form, &jar).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        jar.take(&answer);
    }
    let callback = shop.approve(started.location(), "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.location(), target, "{}", answer.text());
}

#[tokio::test]
async fn a_form_is_typed_and_bounded() {
    let shop = shop();
    let query = format!("iss={}", encode(ISSUER));
    let large = format!("{query}&login_hint={}", "a".repeat(20_000));
    let too_long = format!("{query}&login_hint={}", "a".repeat(8_000));
    for (name, content_type, body, status) in [
        ("text", "text/plain", &*query, 415),
        ("multipart", "multipart/form-data; boundary=x", &query, 415),
        ("too large", FORM.1, &large, 413),
        ("too long for a URL", FORM.1, &too_long, 413),
        ("no issuer", FORM.1, "login_hint=alice", 400),
    ] {
        let ask = Ask::new("POST", "/auth/login")
            .with(&PAGE)
            .with(&[("content-type", content_type)]);
        let answer = shop.send(ask.body(body)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        // The rest of the form is not the next request.
        assert_eq!(answer.header("connection"), "close", "{name}");
    }
    // A script starts no login.
    let script = Ask::new("POST", "/auth/login").with(&[FORM]).body(&query);
    assert_eq!(shop.send(script).await.status, StatusCode::UNAUTHORIZED);
    // A form that never ends.
    let app = shop.app.clone();
    let request = http::Request::post("/auth/login")
        .header("content-type", FORM.1)
        .header("accept", PAGE[0].1)
        .body(axum::body::Body::new(Endless))
        .unwrap();
    let pending = tokio::spawn(async move {
        let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
        Answer::read(response).await
    });
    shop.clock().wait_for_sleepers(1).await;
    shop.clock().advance(Duration::from_secs(5));
    let answer = pending.await.unwrap();
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.header("connection"), "close");
}

/// A body without frames and without an end.
struct Endless;

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

/// Off by default: the parameters are ignored, and a form starts nothing.
#[tokio::test]
async fn without_the_setting_another_party_starts_nothing_with_a_form() {
    let shop = Shop::new();
    let query = "iss=https%3A%2F%2Fevil.example&target_link_uri=%2Fnotes&return_to=%2Fmine";
    let [link, form] = both(query);
    let answer = shop.send(link).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let answer = shop.send(form).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.set_cookies(), [""; 0]);
}
