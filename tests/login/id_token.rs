//! Logins with malicious ID tokens, through the complete layer.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{Algorithm, BearerLayer, Client, CookieKey, LoginLayer};

use crate::support::logs::Logs;
use crate::support::shop::*;

/// The time of the server at its start.
const NOW: i64 = 1_800_000_000;

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
        shop.clock().advance(Duration::from_secs(1100));
        let view = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
        assert_eq!(view.json()["subject"], "alice");
        assert_eq!(view.json()["issuer"], ISSUER);
    }
    assert_eq!(shop.token_calls(), 1);
}

/// OpenID Connect Core §3.1.3.7 (3) to (8): what a setting permits is accepted, and otherwise the log names the setting.
#[tokio::test]
async fn the_log_of_a_rejected_login_says_what_was_found_and_which_setting_changes_it() {
    type Setting = fn(LoginLayer) -> LoginLayer;
    let plain: Setting = |login| login;
    let trusting: Setting = |login| login.with_trusted_audiences(["project", "other"]).unwrap();
    let patient: Setting = |login| login.with_leeway(Duration::from_secs(300)).unwrap();
    let strict: Setting = |login| login.with_id_token_algorithms([Algorithm::Es256]).unwrap();
    let changes = |claims: Value| {
        Fault::id_token(move |mint| {
            let claims = claims.as_object().unwrap().iter();
            claims.fold(mint, |mint, (name, value)| {
                mint.with_claim(name, value.clone())
            })
        })
    };
    let zitadel = json!({ "aud": ["shop", "project"], "azp": "shop" });
    let slow = json!({ "iat": NOW + 290, "exp": NOW + 900 });
    let late = json!({ "iat": NOW - 600, "exp": NOW - 200 });
    for (algorithm, setting, claims, expected) in [
        (
            Algorithm::Es256,
            plain,
            json!({ "aud": ["shop", "shop"] }),
            vec![],
        ),
        (
            Algorithm::Es256,
            plain,
            zitadel.clone(),
            vec![
                "id_token_untrusted_audience",
                "project",
                "with_trusted_audiences",
            ],
        ),
        (Algorithm::Es256, trusting, zitadel, vec![]),
        (
            Algorithm::Es256,
            plain,
            slow.clone(),
            vec![
                "id_token_issued_later",
                "iat 290 seconds ahead",
                "LoginLayer::with_leeway",
            ],
        ),
        (Algorithm::Es256, patient, slow, vec![]),
        (
            Algorithm::Es256,
            plain,
            late.clone(),
            vec![
                "id_token_expired",
                "exp 200 seconds ago",
                "at most 30 seconds",
            ],
        ),
        (Algorithm::Es256, patient, late, vec![]),
        (Algorithm::Rs512, plain, json!({}), vec![]),
        (
            Algorithm::Rs512,
            strict,
            json!({}),
            vec![
                "id_token_algorithm",
                "alg RS512",
                "alg ES256",
                "with_id_token_algorithms",
            ],
        ),
    ] {
        let server = server().with_algorithm(algorithm);
        let app = app(&setting(login(&server)));
        let shop = Shop { server, app };
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let (status, code, _) = sign_in_with(&shop, changes(claims.clone())).await;
        drop(recording);
        assert_eq!(
            status == StatusCode::SEE_OTHER,
            expected.is_empty(),
            "{claims}: {code}"
        );
        for part in expected {
            assert!(logs.text().contains(part), "{claims}: {}", logs.text());
        }
    }
}

/// OpenID Connect Discovery §3: ID and logout tokens are signed with the listed algorithms.
#[tokio::test]
async fn an_algorithm_that_the_metadata_or_a_setting_does_not_list_is_rejected() {
    let strict: fn(LoginLayer) -> LoginLayer =
        |login| login.with_id_token_algorithms([Algorithm::Rs256]).unwrap();
    for (listed, setting, is_accepted) in [
        (json!(["ES256", "RS256"]), None, true),
        (json!("ES256"), None, true),
        (json!(["RS256", "none", "HS256"]), None, false),
        (json!(["ES256"]), Some(strict), false),
    ] {
        let name = format!("{listed}, {}", setting.is_some());
        let server = server().with_algorithm(Algorithm::Es256);
        let list = Fault::member("id_token_signing_alg_values_supported", listed);
        server.fail(Endpoint::Metadata, list);
        let login = login(&server).with_session_store(MemoryStore::new().with_single_process());
        let app = app(&match setting {
            Some(setting) => setting(login),
            None => login,
        });
        let shop = Shop { server, app };
        let (status, code, _) = sign_in_with(&shop, Fault::id_token(|mint| mint)).await;
        assert_eq!(status == StatusCode::SEE_OTHER, is_accepted, "{name}");
        assert_eq!(code == "id_token_algorithm", !is_accepted, "{name}");
        let token = shop
            .server
            .logout_token("shop")
            .with_subject("alice")
            .sign();
        let request = Ask::new("POST", "/auth/backchannel-logout")
            .set("content-type", "application/x-www-form-urlencoded")
            .body(&format!("logout_token={token}"));
        let status = shop.send(request).await.status;
        assert_eq!(status == StatusCode::OK, is_accepted, "{name}: {status}");
    }
}
