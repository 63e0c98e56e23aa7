//! Logins with malicious ID tokens, through the complete layer.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{BearerLayer, Client, CookieKey, LoginLayer};

use crate::support::shop::*;

/// Signs in with a modified token response. Returns the status, the error code and the cookies.
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

/// OpenID Connect Core §3.1.3.7: values that lenient JSON parsers would accept.
#[tokio::test]
async fn a_claim_that_is_almost_valid_creates_no_session() {
    let shop = Shop::new();
    let cases: [(&str, &str, Value, &str); 3] = [
        (
            "audience with a space",
            "aud",
            json!("shop "),
            "id_token_audience",
        ),
        ("expiry before 1970", "exp", json!(-1), "id_token_expiry"),
        ("nonce null", "nonce", json!(null), "id_token_nonce"),
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
        ("expiry beyond any number", "exp", "1e400", false),
        ("a fraction", "exp", "1800000300.75", true),
    ] {
        let fault = Fault::id_token(move |mint| mint.with_raw_claim(claim, text));
        let (status, code, jar) = sign_in_with(&shop, fault).await;
        assert_eq!(status == StatusCode::SEE_OTHER, good, "{name}: {code}");
        assert_eq!(jar.names().contains(&SESSION), good, "{name}");
    }
}

/// Unknown keys cause a limited number of key set fetches and never a session.
#[tokio::test]
async fn logins_with_unknown_keys_cause_few_key_set_fetches() {
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
    // Cached keys are not affected.
    shop.signed_in().await;
    assert_eq!(shop.server.count(Endpoint::KeySet), fetches);
}

/// Tokens at an API and logins have separate fetch budgets.
#[tokio::test]
async fn unknown_key_ids_at_an_api_do_not_prevent_logins_after_key_rotation() {
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

/// OpenID Connect Core §3.1.3.7, RFC 8725 §3.1.
#[tokio::test]
async fn only_asymmetric_algorithms_are_accepted() {
    let shop = Shop::new();
    for (name, fault) in [
        ("none", Fault::id_token(|mint| mint.without_signature())),
        (
            "HMAC with the client's secret",
            Fault::id_token(|mint| mint.with_hmac(b"shop-secret")),
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

/// An expired access token is not refreshed until it is needed, and the session keeps its identity.
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
