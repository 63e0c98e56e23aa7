//! The wire format of rejections in a golden file: status, challenge and header names, without texts.
//!
//! `tests/golden/refusals.txt` has one line for each rejection. A change of texts does not affect it; a change of behavior
//! appears in its diff. `UPDATE_GOLDEN=1 cargo test --test project golden` regenerates it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use tower_oauth::bearer::{FormTokenLayer, Policy};
use tower_oauth::testing::{DpopKey, Endpoint, Fault, TestClient, TestServer};
use tower_oauth::token::{Dpop, IntrospectionVerifier, JwtVerifier};
use tower_oauth::{Algorithm, BearerLayer, Client, ScopeLayer};

use crate::support::challenge;
use crate::support::shop::*;

const API: &str = "https://api.example.test";

/// The line of one response: status, names of the header fields, and challenge parameters other than texts.
fn line(name: &str, answer: &Answer) -> String {
    let names: BTreeSet<&str> = answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    let challenges: Vec<String> = challenge::parse(&answer.headers)
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one.scheme, one.parameter("error").unwrap_or("-")))
        .collect();
    let text = answer.text();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    // Pages end with a line with status, code and correlation id.
    let code = json["error"].as_str().or_else(|| text.split(" · ").nth(1));
    format!(
        "{name} => {} [{}] {{{}}} {}",
        answer.status.as_u16(),
        names.join(" "),
        challenges.join(", "),
        code.unwrap_or("-"),
    )
}

fn issuer() -> TestServer {
    server()
        .with_algorithm(Algorithm::Es256)
        .add_client(TestClient::confidential("api", "api-secret"))
}

fn api(layer: BearerLayer) -> Router {
    let old = ScopeLayer::new(Policy::max_age(Duration::from_secs(300)).unwrap());
    Router::new()
        .route("/", any(|| async { "in" }))
        .route(
            "/read",
            get(|| async { "in" }).layer(ScopeLayer::all("read").unwrap()),
        )
        .route("/fresh", get(|| async { "in" }).layer(old))
        .layer(layer)
}

async fn api_refusals() -> Vec<String> {
    let server = issuer();
    let jwt = || JwtVerifier::new(&server.authorization_server(), API).unwrap();
    let good = || server.access_token().with_audience(API);
    let plain = api(BearerLayer::new(jwt()));
    let optional = api(BearerLayer::new(jwt()).optional());
    let dpop =
        api(BearerLayer::new(jwt()).with_dpop(Dpop::new(API).unwrap().with_clock(server.clock())));
    let form = plain.clone().layer(FormTokenLayer::new());
    let get = || Ask::new("GET", "/");
    let bearing = |token: &str| get().with(&[("authorization", &format!("Bearer {token}"))]);
    let key = DpopKey::new(Algorithm::Es256);
    let bound = good().bound_to(&key).sign();
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let proof = key
        .proof("GET", &format!("{API}/other"))
        .with_access_token(&bound)
        .sign();
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let cases: Vec<(&str, &Router, Ask)> = vec![
        ("bearer: no credentials", &plain, get()),
        (
            "bearer: another scheme",
            &plain,
            get().with(&[("authorization", "Basic YTpi")]),
        ),
        (
            "bearer: no token after the scheme",
            &plain,
            get().with(&[("authorization", "Bearer ")]),
        ),
        ("bearer: two fields", &plain, get().with(&twice)),
        ("bearer: not a token", &plain, bearing("a b")),
        ("bearer: not a JWT", &plain, bearing("opaque")),
        (
            "bearer: optional and malformed",
            &optional,
            bearing("opaque"),
        ),
        (
            "bearer: expired",
            &plain,
            bearing(&good().with_expires_in(-600).sign()),
        ),
        (
            "bearer: not valid yet",
            &plain,
            bearing(&good().with_claim("nbf", 4_000_000_000_u64).sign()),
        ),
        (
            "bearer: another audience",
            &plain,
            bearing(&good().with_audience("x").sign()),
        ),
        (
            "bearer: another issuer",
            &plain,
            bearing(&good().with_issuer("https://x.test").sign()),
        ),
        (
            "bearer: broken signature",
            &plain,
            bearing(&good().with_broken_signature().sign()),
        ),
        (
            "bearer: without a signature",
            &plain,
            bearing(&good().without_signature().sign()),
        ),
        (
            "bearer: not an access token",
            &plain,
            bearing(&good().with_header("typ", "JWT").sign()),
        ),
        ("bearer: bound, no proof expected", &plain, bearing(&bound)),
        (
            "bearer: scope is missing",
            &plain,
            bearing(&good().with_scope("write").sign()).at("/read"),
        ),
        (
            "bearer: login too old",
            &plain,
            bearing(&good().with_claim("auth_time", 1).sign()).at("/fresh"),
        ),
        (
            "bearer: unknown key",
            &plain,
            bearing(&good().with_wrong_key().sign()),
        ),
        (
            "bearer: gRPC without credentials",
            &plain,
            Ask::new("POST", "/").with(&grpc),
        ),
        ("dpop: no credentials", &dpop, get()),
        ("dpop: bound token as Bearer", &dpop, bearing(&bound)),
        (
            "dpop: no proof",
            &dpop,
            get().with(&[("authorization", &format!("DPoP {bound}"))]),
        ),
        (
            "dpop: proof of another URL",
            &dpop,
            get().with(&[
                ("authorization", &format!("DPoP {bound}")),
                ("dpop", &proof),
            ]),
        ),
        (
            "form: two tokens",
            &form,
            Ask::new("POST", "/")
                .with(&[("content-type", "application/x-www-form-urlencoded")])
                .body("access_token=a&access_token=b"),
        ),
    ];
    let mut lines = Vec::new();
    for (name, app, ask) in cases {
        lines.push(line(name, &send(app, ask).await));
    }

    let introspection = IntrospectionVerifier::new(
        &server.authorization_server(),
        Client::confidential("api", "api-secret"),
        API,
    )
    .unwrap();
    let opaque = api(BearerLayer::new(introspection));
    lines.push(line(
        "introspection: not active",
        &send(&opaque, bearing("unknown")).await,
    ));
    server.fail(Endpoint::Introspection, Fault::status(502));
    lines.push(line(
        "introspection: outage",
        &send(&opaque, bearing("other")).await,
    ));
    server.fail(Endpoint::Introspection, Fault::status(401));
    lines.push(line(
        "introspection: our own credentials",
        &send(&opaque, bearing("third")).await,
    ));

    let away = issuer();
    away.fail(Endpoint::KeySet, Fault::status(500));
    let token = away.access_token().with_audience(API).sign();
    let verifier = JwtVerifier::new(&away.authorization_server(), API).unwrap();
    lines.push(line(
        "bearer: no keys",
        &send(&api(BearerLayer::new(verifier)), bearing(&token)).await,
    ));
    let naked = Router::new().route(
        "/",
        axum::routing::get(|_: tower_oauth::VerifiedToken| async {}),
    );
    lines.push(line(
        "extractor: no BearerLayer",
        &send(&naked, get()).await,
    ));
    lines
}

async fn login_refusals() -> Vec<String> {
    let shop = Shop::new();
    let script = |uri: &str| Ask::new("GET", uri).with(&[("accept", "application/json")]);
    let foreign = [("sec-fetch-site", "cross-site")];
    let signed_in = shop.signed_in().await;
    let mut jar = Jar::default();
    let start = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let state = start.parameter("state").unwrap();
    let denied = format!("/auth/callback?error=access_denied&state={state}&iss={ISSUER}");
    let mut broken = jar.clone();
    for (_, value) in &mut broken.0 {
        value.push('A');
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let cases: Vec<(&str, Ask)> = vec![
        ("login: script without a session", script("/account")),
        ("login: page without a session", Ask::page("/account")),
        (
            "login: htmx without a session",
            script("/account").with(&[("hx-request", "true")]),
        ),
        (
            "login: POST without a session",
            Ask::new("POST", "/account"),
        ),
        (
            "login: cross-site POST",
            Ask::new("POST", "/notes").with(&foreign).jar(&signed_in),
        ),
        (
            "login: cross-site sign-out",
            Ask::new("POST", "/auth/logout")
                .with(&foreign)
                .jar(&signed_in),
        ),
        (
            "login: callback without state",
            Ask::page("/auth/callback?code=c"),
        ),
        (
            "login: callback of an unknown login",
            Ask::page("/auth/callback?code=c&state=s"),
        ),
        (
            "login: callback with a broken cookie",
            Ask::page(&denied).jar(&broken),
        ),
        ("login: denied", Ask::page(&denied).jar(&jar)),
        (
            "login: repeated parameter",
            Ask::page("/auth/login?prompt=a&prompt=b"),
        ),
        (
            "login: unknown prompt",
            Ask::page("/auth/login?prompt=dance"),
        ),
        (
            "login: method of the callback",
            Ask::new("DELETE", "/auth/callback"),
        ),
        (
            "login: method of the login",
            Ask::new("POST", "/auth/login"),
        ),
        ("login: session without one", script("/auth/session")),
        (
            "login: back channel without a store",
            Ask::new("POST", "/auth/backchannel-logout")
                .with(&form)
                .body("logout_token=x"),
        ),
    ];
    let mut lines = Vec::new();
    for (name, ask) in cases {
        lines.push(line(name, &shop.send(ask).await));
    }
    shop.server.fail(Endpoint::Token, Fault::status(500));
    let mut jar = Jar::default();
    let start = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(start.location(), "alice").await;
    lines.push(line(
        "login: token endpoint fails",
        &shop.send(Ask::page(&callback).jar(&jar)).await,
    ));

    let away = Shop::new();
    away.server.fail(Endpoint::Metadata, Fault::status(500));
    lines.push(line(
        "login: no metadata",
        &away.send(Ask::page("/auth/login")).await,
    ));
    let store = tower_oauth::store::MemoryStore::new().with_single_process();
    let shared = Shop::with(|login| login.with_session_store(store));
    let logout = Ask::new("POST", "/auth/backchannel-logout").with(&form);
    lines.push(line(
        "login: not a logout token",
        &shared.send(logout.clone().body("logout_token=x")).await,
    ));
    lines.push(line(
        "login: no logout token",
        &shared.send(logout.body("")).await,
    ));
    let naked = Router::new().route("/", get(|_: tower_oauth::Session| async {}));
    lines.push(line(
        "extractor: no LoginLayer",
        &send(&naked, Ask::page("/")).await,
    ));
    lines
}

#[tokio::test]
async fn rejections_have_the_status_the_challenge_and_the_fields_of_the_golden_file() {
    let mut lines = api_refusals().await;
    lines.extend(login_refusals().await);
    let found = lines.join("\n") + "\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/refusals.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(lines.len() >= 40, "{} refusals", lines.len());
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}
