//! The response as a form (OAuth 2.0 Form Post Response Mode).

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower_oauth::login::ResponseMode;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{Client, CookieKey, LoginLayer};

use super::{callback, code_of, posted, response_of_alice, shop_in, shop_with};
use crate::support::logs::Logs;
use crate::support::shop::*;

const JSON: &str = "application/json";

/// Hostile: a form of any site, with any type and length. None of them uses up the login.
#[tokio::test]
async fn a_form_that_is_not_the_expected_one_is_rejected_and_the_login_can_still_complete() {
    let shop = shop_in(ResponseMode::FormPost);
    let mut jar = Jar::default();
    let good = response_of_alice(&shop, &mut jar).await;
    let before = shop.server.requests().len();
    let url_encoded = "application/x-www-form-urlencoded";
    let ask = || posted(&good).set("accept", JSON).jar(&jar);
    for (name, ask, status, code) in [
        (
            "text",
            ask().set("content-type", "text/plain"),
            415,
            "callback_content_type",
        ),
        (
            "multipart",
            ask().set("content-type", "multipart/form-data; boundary=x"),
            415,
            "callback_content_type",
        ),
        (
            "JSON",
            ask().set("content-type", JSON),
            415,
            "callback_content_type",
        ),
        (
            "no type",
            ask().without("content-type"),
            415,
            "callback_content_type",
        ),
        (
            "two types",
            ask().with(&[("content-type", "text/plain")]),
            415,
            "callback_content_type",
        ),
        (
            "longer type",
            ask().set("content-type", &format!("{url_encoded}x")),
            415,
            "callback_content_type",
        ),
        (
            "long",
            ask().body(&format!("{good}&x={}", "x".repeat(17_000))),
            413,
            "callback_too_large",
        ),
        (
            "long URL",
            ask().body(&format!("{good}&x={}", "x".repeat(8_000))),
            413,
            "callback_too_large",
        ),
        (
            "query",
            ask().at("/auth/callback?x=y"),
            400,
            "callback_malformed",
        ),
        (
            "empty query",
            ask().at("/auth/callback?"),
            400,
            "callback_malformed",
        ),
        (
            "not UTF-8",
            ask().body("state=%ff&code=x"),
            400,
            "callback_malformed",
        ),
        (
            "code twice",
            ask().body(&format!("{good}&code=x")),
            400,
            "callback_repeated_parameter",
        ),
        (
            "state twice",
            ask().body(&format!("{good}&state=x")),
            400,
            "callback_repeated_parameter",
        ),
        (
            "token",
            ask().body(&format!("{good}&id_token=x")),
            400,
            "callback_token",
        ),
        (
            "JWT",
            ask().body(&format!("{good}&response=a.b.c")),
            400,
            "response_mode_mismatch",
        ),
        ("nothing", ask().body(""), 400, "state_missing"),
        (
            "other site",
            ask().set("origin", "https://evil.example"),
            403,
            "callback_origin",
        ),
        (
            "own site",
            ask().set("origin", SHOP),
            403,
            "callback_origin",
        ),
        (
            "port",
            ask().set("origin", "https://id.example.test:8443"),
            403,
            "callback_origin",
        ),
        (
            "two origins",
            ask().with(&[("origin", ISSUER)]),
            403,
            "callback_origin",
        ),
        (
            "script",
            ask().set("sec-fetch-mode", "cors"),
            400,
            "callback_no_navigation",
        ),
        (
            "frame",
            ask().set("sec-fetch-dest", "iframe"),
            400,
            "callback_no_navigation",
        ),
    ] {
        let answer = shop.send(ask).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {answer:?}");
        assert_eq!(code_of(&answer), code, "{name}");
        assert!(
            answer.set_cookies().is_empty(),
            "{name}: the login is not used up"
        );
        // What is left of the form is not the next request.
        assert_eq!(answer.header("connection"), "close", "{name}");
    }
    for method in ["PUT", "HEAD", "OPTIONS", "DELETE"] {
        let answer = shop
            .send(Ask::new(method, "/auth/callback").with(&PAGE))
            .await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), "GET, POST", "{method}");
    }
    assert_eq!(shop.server.requests().len(), before);
    let answer = callback(&shop, &jar, &good, ResponseMode::FormPost).await;
    assert_eq!(answer.location(), "/notes");
    jar.take(&answer);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
}

/// A page with `Referrer-Policy: no-referrer`, and a browser or proxy that sends no `Origin`.
#[tokio::test]
async fn a_form_without_an_origin_is_accepted() {
    for (name, origin, content_type) in [
        ("null", Some("null"), "application/x-www-form-urlencoded"),
        ("absent", None, "application/x-www-form-urlencoded"),
        (
            "own",
            Some(ISSUER),
            "application/x-www-form-urlencoded; charset=UTF-8",
        ),
    ] {
        let shop = shop_in(ResponseMode::FormPost);
        let mut jar = Jar::default();
        let good = response_of_alice(&shop, &mut jar).await;
        let ask = posted(&good)
            .without("origin")
            .set("content-type", content_type);
        let ask = match origin {
            Some(origin) => ask.set("origin", origin),
            None => ask,
        };
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        let answer = shop.send(Ask::page(answer.location()).jar(&jar)).await;
        assert_eq!(answer.location(), "/notes", "{name}");
    }
}

/// Hostile: a body without end, and one that stops.
#[tokio::test]
async fn a_form_that_does_not_arrive_is_rejected_in_time() {
    let shop = shop_in(ResponseMode::FormPost);
    let send = |body: Body| {
        let request = Request::post("/auth/callback")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .unwrap();
        tokio::spawn(shop.app.clone().oneshot(request))
    };
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x=y&")));
    let answer = send(Body::from_stream(endless)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let broken = stream::iter([
        Ok(Bytes::from_static(b"x=")),
        Err(std::io::Error::other("x")),
    ]);
    let answer = send(Body::from_stream(broken)).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);

    for body in [
        Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()),
        // Empty chunks count toward no limit but that of the time.
        Body::from_stream(stream::repeat_with(
            || Ok::<_, std::io::Error>(Bytes::new()),
        )),
    ] {
        let stalled = send(body);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!stalled.is_finished());
        shop.clock().advance(Duration::from_secs(11));
        let answer = stalled.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "callback_timeout");
    }
}

/// RFC 9700 §4.12. The cookies of the browser are not even read.
#[tokio::test]
async fn the_form_is_answered_with_a_303_that_hides_the_response() {
    let shop = shop_in(ResponseMode::FormPost);
    let mut jar = Jar::default();
    let good = response_of_alice(&shop, &mut jar).await;
    let answer = shop.send(posted(&good).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.header("cache-control").contains("no-store"));
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert!(answer.set_cookies().is_empty());
    let location = answer.location();
    assert!(location.starts_with("/auth/callback?form="), "{location}");
    for name in ["code", "state"] {
        let value = parameter(&format!("/?{good}"), name).unwrap();
        assert!(!location.contains(&value), "{name}");
    }
    assert!(
        !format!("{answer:?}").contains(location),
        "the header value is sensitive"
    );
    assert_eq!(shop.token_calls(), 0);
}

/// Hostile: a copy of the URL, from a log or of another layer.
#[tokio::test]
async fn the_encrypted_response_is_valid_for_a_minute_in_its_browser_and_at_its_layer() {
    let shop = shop_in(ResponseMode::FormPost);
    let mut jar = Jar::default();
    let good = response_of_alice(&shop, &mut jar).await;
    let answer = shop.send(posted(&good)).await;
    let location = answer.location().to_owned();
    let ask = |uri: &str| Ask::page(uri).set("accept", JSON).jar(&jar);
    let sealed = parameter(&location, "form").unwrap();
    let (rest, last) = sealed.split_at(sealed.len() - 1);
    let other = if last == "A" { "Q" } else { "A" };
    let changed = with_parameter(&location, "form", Some(&format!("{rest}{other}")));
    let state = parameter(&format!("/?{good}"), "state").unwrap();
    for (name, uri, code) in [
        ("changed", changed, "callback_malformed"),
        (
            "cut",
            format!("/auth/callback?form={}", &sealed[..40]),
            "callback_malformed",
        ),
        (
            "a state",
            format!("/auth/callback?form={state}"),
            "callback_malformed",
        ),
        (
            "twice",
            format!("{location}&form={sealed}"),
            "response_mode_mismatch",
        ),
        (
            "and more",
            format!("{location}&code=x"),
            "response_mode_mismatch",
        ),
        (
            "none",
            "/auth/callback".to_owned(),
            "response_mode_mismatch",
        ),
    ] {
        let answer = shop.send(ask(&uri)).await;
        assert_eq!(
            (answer.status.as_u16(), code_of(&answer).as_str()),
            (400, code),
            "{name}"
        );
        assert!(answer.set_cookies().is_empty(), "{name}");
    }

    let client = Client::confidential("shop", "shop-secret");
    let key = CookieKey::from_bytes(&KEY).unwrap();
    let uri = "https://shop.example.com/admin/callback";
    let other = LoginLayer::new(&shop.server.authorization_server(), client, uri, key).unwrap();
    let other = app(&other.with_response_mode(ResponseMode::FormPost));
    let elsewhere = location.replace("/auth/", "/admin/");
    let answer = send(&other, ask(&elsewhere)).await;
    assert_eq!(code_of(&answer), "callback_malformed");

    let stranger = shop.send(Ask::page(&location).set("accept", JSON)).await;
    assert_eq!(code_of(&stranger), "login_unknown");
    shop.clock().advance(Duration::from_secs(60));
    let late = shop.send(ask(&location)).await;
    assert_eq!(
        (late.status.as_u16(), code_of(&late).as_str()),
        (400, "callback_expired")
    );
    assert_eq!(shop.token_calls(), 0);
}

/// A reload while the token endpoint is down, and one after the login.
#[tokio::test]
async fn a_reload_does_not_redeem_the_code_again() {
    let shop = shop_in(ResponseMode::FormPost);
    let mut jar = Jar::default();
    let good = response_of_alice(&shop, &mut jar).await;
    let location = shop.send(posted(&good)).await.location().to_owned();
    let answer = shop.send(Ask::page(&location).jar(&jar)).await;
    assert_eq!(answer.location(), "/notes");
    let again = shop.send(Ask::page(&location).jar(&jar)).await;
    assert_eq!(
        again.location(),
        "/notes",
        "concurrent callbacks share the result"
    );
    jar.take(&answer);
    let back = shop.send(Ask::page(&location).jar(&jar)).await;
    assert_eq!(back.location(), "/notes", "the back button");
    assert_eq!(shop.token_calls(), 1);
}

#[tokio::test]
async fn the_log_says_which_origin_was_found_and_expected() {
    let log = Logs::default();
    let shop = shop_in(ResponseMode::FormPost);
    let mut jar = Jar::default();
    let good = response_of_alice(&shop, &mut jar).await;
    let _recording = log.record();
    shop.send(posted(&good).set("origin", "https://login.example"))
        .await;
    let text = log.take();
    assert!(
        text.contains("https://login.example") && text.contains(ISSUER),
        "{text}"
    );
    shop.send(posted(&good).set("content-type", "text/plain"))
        .await;
    let text = log.take();
    assert!(
        text.contains("text/plain") && text.contains("x-www-form-urlencoded"),
        "{text}"
    );
    shop.send(Ask::page(&format!("/auth/callback?{good}")))
        .await;
    let text = log.take();
    assert!(text.contains("`LoginLayer::with_response_mode`"), "{text}");
    let code = parameter(&format!("/?{good}"), "code").unwrap();
    assert!(!text.contains(&code), "{text}");
}

/// The origin comes from the metadata, which is not there yet.
#[tokio::test]
async fn without_metadata_the_origin_cannot_be_checked() {
    let shop = shop_with(|login| login.with_response_mode(ResponseMode::FormPost));
    shop.server.fail(Endpoint::Metadata, Fault::status(503));
    let answer = shop
        .send(posted("code=x&state=y").set("accept", JSON))
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code_of(&answer), "metadata_unavailable");
}
