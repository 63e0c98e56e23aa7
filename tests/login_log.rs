//! The log of a login: stable names, and no secret, whatever happens.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use login_support::logs::Logs;
use login_support::*;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{Client, CookieKey, Session};

fn events(log: &str) -> Vec<String> {
    log.lines()
        .filter(|line| line.contains("tower_oauth::login"))
        .filter_map(|line| line.split("event=\"").nth(1))
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// L75: one event for what happened, under a name that does not change.
#[tokio::test]
async fn each_thing_that_happens_is_one_event_of_a_stable_name() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut jar = Jar::default();
    let heard = |what: &str, expected: &[&str]| {
        let text = log.take();
        assert_eq!(events(&text), expected, "{what}: {text}");
        text
    };
    let start = shop.start("/auth/login", &mut jar).await;
    let text = heard("start", &["login_started"]);
    assert!(
        text.contains("by_person=true") && text.contains("evicted=0"),
        "{text}"
    );
    let callback = shop.approve(start.location(), "alice").await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    heard("callback", &["login_succeeded"]);
    jar.take(&answer);

    shop.send(Ask::page("/").jar(&jar)).await;
    heard("a page", &[]);
    shop.send(Ask::new("POST", "/notes").jar(&jar)).await;
    let text = heard("another site", &["login_refused"]);
    assert!(
        text.contains("code=\"cross_site_request\"") && text.contains("status=403"),
        "{text}"
    );

    let planted = jar.clone().and(SESSION, "x").and(SESSION, "y");
    shop.send(Ask::page("/").jar(&planted)).await;
    heard("cookies planted beside the session", &[]);
    let tossed = Jar::of(&[(SESSION, "x"), (SESSION, "y")]);
    shop.send(Ask::page("/").jar(&tossed)).await;
    let text = heard("tossed cookies, told once", &["session_ended"]);
    assert!(text.contains("reason=\"spoiled\""), "{text}");

    let own = [("sec-fetch-site", "same-origin")];
    shop.send(Ask::new("POST", "/auth/logout").with(&own).jar(&jar))
        .await;
    let text = heard("sign-out", &["signed_out"]);
    assert!(text.contains("at_the_server=true"), "{text}");
    shop.send(Ask::page("/").jar(&jar)).await;
    let text = heard("a copy", &["session_ended"]);
    assert!(text.contains("reason=\"signed_out\""), "{text}");

    let jar = shop.signed_in().await;
    log.take();
    shop.clock().advance(Duration::from_secs(3600));
    shop.send(Ask::page("/").jar(&jar)).await;
    let text = heard("an idle session", &["session_ended"]);
    assert!(text.contains("reason=\"expired\""), "{text}");

    let mut jar = Jar::default();
    let start = shop.start("/auth/login?prompt=none", &mut jar).await;
    let state = start.parameter("state").unwrap();
    log.take();
    let silent = format!("/auth/callback?error=login_required&state={state}&iss={ISSUER}");
    shop.send(Ask::page(&silent).jar(&jar)).await;
    heard("nobody there", &["login_not_signed_in"]);

    let mut jar = Jar::default();
    for expected in [0, 0, 0, 0, 0, 1] {
        shop.start("/auth/login", &mut jar).await;
        let text = heard("another tab", &["login_started"]);
        assert!(text.contains(&format!("evicted={expected}")), "{text}");
    }
}

/// L73: the correlation id of the page is that of the log, and only there is the reason.
#[tokio::test]
async fn the_correlation_id_leads_from_the_page_to_the_log() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut jar = Jar::default();
    let start = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(start.location(), "alice").await;
    let wrong = Fault::id_token(|mint| mint.with_claim("nonce", "other"));
    shop.server.fail(Endpoint::Token, wrong);
    log.take();
    let ask = Ask::page(&callback).set("accept", "application/json");
    let problem = shop.send(ask.jar(&jar)).await.json();
    let id = problem["correlation_id"].as_str().unwrap();
    let text = log.take();
    let line = text.lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("ERROR"), "{line}");
    let code = problem["code"].as_str().unwrap();
    assert!(line.contains(&format!("code=\"{code}\"")), "{line}");
    assert!(
        line.contains("reason=\"the ID token was rejected"),
        "{line}"
    );
    assert!(!problem.to_string().contains("refused"), "{problem}");
}

/// L74: not a secret in it, in the way of things and in every failure, at the finest level.
#[tokio::test]
async fn no_secret_is_ever_logged() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut secrets = vec![
        "shop-secret".to_owned(),
        "wonderland".to_owned(),
        url::form_urlencoded::byte_serialize(b"shop-secret").collect(),
    ];
    let faults: [Option<Fault>; 7] = [
        None,
        Some(Fault::status(500)),
        Some(Fault::disconnect()),
        Some(Fault::body(
            "application/json",
            "{\"access_token\":\"leaky-token\",\"error\":\"invalid_scope\"}",
        )),
        Some(Fault::id_token(|mint| {
            mint.with_claim("nonce", "leaky-nonce")
        })),
        Some(Fault::id_token(|mint| mint.with_broken_signature())),
        Some(Fault::id_token(|mint| {
            mint.with_claim("blob", "b".repeat(7000))
        })),
    ];
    secrets.extend(["leaky-token".to_owned(), "leaky-nonce".to_owned()]);
    for fault in faults {
        let mut jar = Jar::default();
        let start = shop
            .start("/auth/login?login_hint=leaky-hint", &mut jar)
            .await;
        for name in ["state", "nonce", "code_challenge"] {
            secrets.push(start.parameter(name).unwrap());
        }
        let callback = shop.approve(start.location(), "alice").await;
        secrets.push(parameter(&callback, "code").unwrap());
        if let Some(fault) = fault {
            shop.server.fail_once(Endpoint::Token, fault);
        }
        let tampered = with_parameter(&callback, "state", Some("leaky-state"));
        shop.send(Ask::page(&tampered).jar(&jar)).await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        // Again, and without the cookie.
        shop.send(Ask::page(&callback).jar(&jar)).await;
        shop.send(Ask::page(&callback)).await;
        jar.take(&answer);
        secrets.extend(jar.0.iter().map(|(_, value)| value.clone()));
        shop.send(Ask::page("/account").jar(&jar)).await;
        shop.send(Ask::new("POST", "/notes").jar(&jar)).await;
        let cut = Jar(jar
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value[1..].to_owned()))
            .collect());
        shop.send(Ask::page("/account").jar(&cut)).await;
        let own = [("sec-fetch-site", "same-origin")];
        let answer = shop
            .send(Ask::new("POST", "/auth/logout").with(&own).jar(&jar))
            .await;
        secrets.extend(parameter(answer.location(), "state"));
        secrets.extend(parameter(answer.location(), "id_token_hint"));
        secrets.push("leaky-state".to_owned());
    }
    for request in shop.server.requests() {
        if request.endpoint() == Endpoint::Token {
            secrets.push(request.parameter("code_verifier").unwrap());
            secrets.push(request.header("authorization").unwrap().to_owned());
        }
    }
    let text = log.take();
    assert!(events(&text).len() > 30, "{text}");
    assert!(secrets.len() > 50 && secrets.iter().all(|secret| secret.len() > 5));
    for secret in &secrets {
        // Nor a part that one could begin with.
        let part = &secret[..secret.len().min(20)];
        assert!(!text.contains(part), "{part} is in the log");
    }
    assert!(!text.contains("leaky-hint"));
}

/// L74: nor does anything print one that a developer may print.
#[tokio::test]
async fn nothing_that_can_be_printed_prints_a_secret() {
    let log = Logs::default();
    let _recording = log.record();
    let material = [0x61_u8; 32];
    let key = CookieKey::from_bytes(&material).unwrap();
    let server = server();
    let client = Client::confidential("shop", "shop-secret");
    let layer = login_with(&server, key.clone());
    let printed: Arc<Mutex<String>> = Arc::default();
    let kept = Arc::clone(&printed);
    let app = axum::Router::new()
        .route(
            "/",
            axum::routing::get(
                move |session: Session, request: axum::extract::Request| async move {
                    let token = session.access_token().await.unwrap();
                    *kept.lock().unwrap() = format!(
                        "{session:?} {session:#?} {token:?} {:?} {:?} {:?}",
                        request.extensions(),
                        session.user_key(),
                        session.claims(),
                    );
                    token.expose().to_owned()
                },
            ),
        )
        .layer(layer.clone());
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let token = shop.send(Ask::page("/").jar(&jar)).await.text();
    assert!(token.len() > 20);
    let service = tower::Layer::layer(&layer, axum::Router::<()>::new());
    let all = format!(
        "{} {key:?} {client:?} {layer:?} {layer:#?} {service:?} {:?} {}",
        printed.lock().unwrap(),
        layer.required(),
        log.take(),
    );
    assert!(all.contains("Session"), "{all}");
    for secret in [
        "shop-secret",
        "aaaaaaaa",
        "97, 97, 97",
        &token[..20],
        &token[token.len() - 20..],
        &jar.value(SESSION)[..20],
    ] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

/// A trace of all header fields, as `tower_http` makes it, shows no cookie of ours, and no address that
/// holds a state, a nonce or an ID token.
#[tokio::test]
async fn a_log_of_header_fields_shows_no_cookie_and_no_way_to_the_server() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let shown = |answer: &Answer| format!("{:?}", answer.headers);

    let start = shop.start("/auth/login", &mut jar).await;
    for name in ["state", "nonce"] {
        let value = start.parameter(name).unwrap();
        assert!(!shown(&start).contains(&value), "{}", shown(&start));
    }
    let callback = shop.approve(start.location(), "alice").await;
    let back = shop.send(Ask::page(&callback).jar(&jar)).await;
    jar.take(&back);
    // A page of the application's own targets may be seen.
    assert!(shown(&back).contains("\"location\": \"/\""));
    shop.clock().advance(Duration::from_secs(600));
    let renewed = shop.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(renewed.sets(), [SESSION]);
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    let left = shop.send(ask.jar(&jar)).await;
    let hint = left.parameter("id_token_hint").unwrap();
    assert!(!shown(&left).contains(&hint), "{}", shown(&left));

    for answer in [start, back, renewed, left] {
        assert!(!answer.set_cookies().is_empty());
        for cookie in answer.headers.get_all("set-cookie") {
            assert!(cookie.is_sensitive(), "{}", shown(&answer));
        }
    }
}
