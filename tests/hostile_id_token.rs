//! ID tokens of a login that are not the ones of this login, through the whole layer.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use login_support::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{BearerLayer, Client, CookieKey, LoginLayer};

/// One login whose token response is changed so: the status, the code of the refusal and the session.
async fn sign_in_with(shop: &Shop, fault: Fault) -> (StatusCode, String, Jar) {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    shop.server.fail_once(Endpoint::Token, fault);
    let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
    jar.take(&answer);
    let code = match answer.body.is_empty() {
        true => String::new(),
        false => answer.json()["code"].as_str().unwrap().to_owned(),
    };
    (answer.status, code, jar)
}

/// L23 to L26: values that some readers of JSON would take for right.
#[tokio::test]
async fn a_claim_that_is_almost_right_makes_no_session() {
    let shop = Shop::new();
    let now = shop.clock().unix_seconds();
    let cases: [(&str, &str, Value, &str); 22] = [
        (
            "L23 audience with a blank",
            "aud",
            json!("shop "),
            "id_token_audience",
        ),
        (
            "L23 audience in capitals",
            "aud",
            json!("SHOP"),
            "id_token_audience",
        ),
        (
            "L23 audience of words",
            "aud",
            json!("shop other"),
            "id_token_audience",
        ),
        (
            "L23 audience in a list in a list",
            "aud",
            json!([["shop"]]),
            "id_token_audience",
        ),
        (
            "L23 audience an object",
            "aud",
            json!({ "shop": true }),
            "id_token_audience",
        ),
        (
            "L23 ourselves and another",
            "aud",
            json!(["shop", "other"]),
            "id_token_no_authorized_party",
        ),
        (
            "L23 authorized party empty",
            "azp",
            json!(""),
            "id_token_authorized_party",
        ),
        (
            "L23 authorized party null",
            "azp",
            json!(null),
            "id_token_authorized_party",
        ),
        (
            "L23 issuer with a slash",
            "iss",
            json!(format!("{ISSUER}/")),
            "id_token_issuer",
        ),
        (
            "L23 issuer in capitals",
            "iss",
            json!("https://ID.example.test"),
            "id_token_issuer",
        ),
        (
            "L23 issuer with a NUL",
            "iss",
            json!(format!("{ISSUER}\0")),
            "id_token_issuer",
        ),
        (
            "L24 expiry as text",
            "exp",
            json!((now + 300).to_string()),
            "id_token_expiry",
        ),
        ("L24 expiry true", "exp", json!(true), "id_token_expiry"),
        (
            "L24 expiry in a list",
            "exp",
            json!([now + 300]),
            "id_token_expiry",
        ),
        (
            "L24 expiry before 1970",
            "exp",
            json!(-1),
            "id_token_expiry",
        ),
        (
            "L24 issued in milliseconds",
            "iat",
            json!(now * 1000),
            "id_token_issued_at",
        ),
        (
            "L24 issued eleven minutes ago",
            "iat",
            json!(now - 660),
            "id_token_issued_long_ago",
        ),
        (
            "L24 not before, in milliseconds",
            "nbf",
            json!(now * 1000),
            "id_token_not_before",
        ),
        ("L25 nonce empty", "nonce", json!(""), "id_token_nonce"),
        ("L25 nonce null", "nonce", json!(null), "id_token_nonce"),
        (
            "L26 at_hash empty",
            "at_hash",
            json!(""),
            "id_token_access_token_hash",
        ),
        (
            "L26 c_hash null",
            "c_hash",
            json!(null),
            "id_token_code_hash",
        ),
    ];
    for (name, claim, value, expected) in cases {
        let claim: &'static str = claim;
        let fault = Fault::id_token(move |mint| mint.with_claim(claim, value.clone()));
        let calls = shop.token_calls();
        let (status, code, jar) = sign_in_with(&shop, fault).await;
        assert_eq!(code, expected, "{name}");
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{name}");
        assert_eq!(jar.names(), [""; 0], "{name}");
        assert_eq!(shop.token_calls(), calls + 1, "{name}");
    }
    for (name, claim, text, good) in [
        ("L24 expiry 1e300", "exp", "1e300", false),
        ("L24 expiry beyond any number", "exp", "1e400", false),
        ("L24 expiry no number", "exp", "NaN", false),
        ("L24 issued 1e300", "iat", "1e300", false),
        ("L24 issued -1e300", "iat", "-1e300", false),
        ("L24 a fraction", "exp", "1800000300.75", true),
        ("L25 nonce twice", "nonce", "\"x\",\"nonce\":\"y\"", false),
    ] {
        let fault = Fault::id_token(move |mint| mint.with_raw_claim(claim, text));
        let (status, code, jar) = sign_in_with(&shop, fault).await;
        assert_eq!(status == StatusCode::SEE_OTHER, good, "{name}: {code}");
        assert_eq!(jar.names().contains(&SESSION), good, "{name}");
    }
}

/// L22: a key that nobody knows costs a bounded number of fetches, and no session ever.
#[tokio::test]
async fn logins_with_unknown_keys_do_not_hammer_the_key_set() {
    let shop = Shop::new();
    shop.signed_in().await;
    assert_eq!(shop.server.count(Endpoint::KeySet), 1);
    for number in 0..20 {
        let fault = Fault::id_token(move |mint| {
            mint.with_wrong_key()
                .with_header("kid", format!("unknown-{number}"))
        });
        let (status, code, jar) = sign_in_with(&shop, fault).await;
        assert!(status.is_server_error(), "{number} {status} {code}");
        assert_eq!(jar.names(), [""; 0], "{number}");
    }
    let fetches = shop.server.count(Endpoint::KeySet);
    assert!((2..=4).contains(&fetches), "{fetches}");
    // A key that is known never waits for any of that.
    shop.signed_in().await;
    assert_eq!(shop.server.count(Endpoint::KeySet), fetches);
}

/// L22: what strangers send to an API has a bucket of its own.
#[tokio::test]
async fn junk_key_ids_at_an_api_keep_nobody_from_signing_in_while_keys_rotate() {
    let server = server();
    let issuer = server.authorization_server();
    let client = Client::confidential("shop", "shop-secret");
    let key = CookieKey::from_bytes(&[7; 32]).unwrap();
    let login = LoginLayer::new(&issuer, client, CALLBACK, key).unwrap();
    let app = app(&login);
    let shop = Shop { server, app };
    shop.signed_in().await;
    let api = Router::new()
        .route("/", get(|| async { "in" }))
        .layer(BearerLayer::jwt(&issuer, "https://api.example.com").unwrap());
    for number in 0..10 {
        let junk = shop
            .server
            .access_token()
            .with_audience("https://api.example.com")
            .with_header("kid", format!("junk-{number}"))
            .sign();
        let request = Request::get("/").header("authorization", format!("Bearer {junk}"));
        let answer = api
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(shop.server.count(Endpoint::KeySet), 1 + 3);
    shop.server.rotate_keys();
    shop.signed_in().await;
    assert_eq!(shop.server.count(Endpoint::KeySet), 1 + 3 + 1);
}

/// L22: by algorithm.
#[tokio::test]
async fn no_algorithm_but_those_of_public_keys_signs_anybody_in() {
    let shop = Shop::new();
    for (name, fault) in [
        ("none", Fault::id_token(|mint| mint.without_signature())),
        (
            "HMAC with the client's secret",
            Fault::id_token(|mint| mint.with_hmac(b"shop-secret")),
        ),
        (
            "HMAC by name only",
            Fault::id_token(|mint| mint.with_header("alg", "HS256")),
        ),
        (
            "none by name only",
            Fault::id_token(|mint| mint.with_header("alg", "none")),
        ),
        (
            "None",
            Fault::id_token(|mint| mint.with_header("alg", "None")),
        ),
        (
            "no algorithm",
            Fault::id_token(|mint| mint.without_header("alg")),
        ),
        (
            "an algorithm in a list",
            Fault::id_token(|mint| mint.with_header("alg", json!(["RS256"]))),
        ),
        (
            "a key in the token",
            Fault::id_token(|mint| {
                mint.with_wrong_key()
                    .with_header("jwk", json!({ "kty": "oct", "k": "AA" }))
            }),
        ),
        (
            "a key at an address",
            Fault::id_token(|mint| {
                mint.with_wrong_key()
                    .with_header("jku", "https://evil.example/keys")
            }),
        ),
    ] {
        let (status, code, jar) = sign_in_with(&shop, fault).await;
        assert!(status.is_server_error(), "{name}: {status} {code}");
        assert_eq!(jar.names(), [""; 0], "{name}");
    }
    let foreign = shop.server.requests();
    assert!(foreign.iter().all(|it| it.endpoint() != Endpoint::Unknown));
}

/// L28: there is no refresh yet, so nothing after the login says anew who signed in. An access token
/// that has run out is not exchanged, and the session is who it was.
#[tokio::test]
async fn a_session_outlives_its_access_token_without_another_token_request() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    for _ in 0..3 {
        shop.clock().advance(std::time::Duration::from_secs(1100));
        let view = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
        assert_eq!(view.json()["subject"], "alice");
        assert_eq!(view.json()["issuer"], ISSUER);
    }
    assert_eq!(shop.token_calls(), 1);
}
