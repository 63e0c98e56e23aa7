//! Logout tokens that are accepted and rejected.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::Algorithm;
use crate::testing::{Endpoint, Fault, TestServer, TokenMint};

const ISSUER: &str = "https://id.example.test";

fn good(server: &TestServer) -> TokenMint {
    server
        .id_token("shop")
        .with_header("typ", "logout+jwt")
        .with_claim("jti", "one")
        .with_claim("sid", "s-1")
        .with_claim("events", json!({ EVENT: {} }))
}

/// Returns the code of the error without its prefix.
async fn code(server: &TestServer, token: &str) -> &'static str {
    match verify(
        &server.authorization_server(),
        token,
        "shop",
        &IdTokenSettings::default(),
    )
    .await
    {
        Ok(_) => "ok",
        Err(error) => {
            assert!(!error.to_string().contains("evil"), "{error}");
            let code = error.code();
            code.strip_prefix("logout_token_").unwrap_or(code)
        }
    }
}

/// OpenID Connect Back-Channel Logout §2.4, §2.6.
#[tokio::test]
async fn each_violation_has_its_own_error_code() {
    let server = TestServer::new(ISSUER).unwrap();
    let now = server.clock().unix_seconds();
    let long = "a".repeat(256);
    let fits = "a".repeat(255);
    let mint = || good(&server);
    let claim = |name: &str, value: serde_json::Value| mint().with_claim(name, value);
    let cases = [
        ("good", mint(), "ok"),
        ("typ JWT", mint().with_header("typ", "JWT"), "ok"),
        ("no typ", mint().without_header("typ"), "ok"),
        (
            "typ in full",
            mint().with_header("typ", "application/logout+JWT"),
            "ok",
        ),
        (
            "an access token",
            mint().with_header("typ", "at+jwt"),
            "type",
        ),
        (
            "another event",
            mint().with_header("typ", "secevent+jwt"),
            "type",
        ),
        ("no exp", mint().without_claim("exp"), "ok"),
        ("only sub", mint().without_claim("sid"), "ok"),
        ("only sid", mint().without_claim("sub"), "ok"),
        ("aud as a list", claim("aud", json!(["shop"])), "ok"),
        ("an unknown claim", claim("evil", json!([1])), "ok"),
        (
            "other events beside it",
            claim("events", json!({ "x": 1, EVENT: { "y": 2 } })),
            "ok",
        ),
        ("a sid of 255 characters", claim("sid", json!(fits)), "ok"),
        (
            "neither sub nor sid",
            mint().without_claim("sub").without_claim("sid"),
            "no_subject",
        ),
        ("sub a number", claim("sub", json!(1)), "claims"),
        ("sub null", claim("sub", json!(null)), "ok"),
        ("sub empty", claim("sub", json!("")), "claims"),
        ("sub too long", claim("sub", json!(long)), "subject"),
        ("sub not ASCII", claim("sub", json!("é")), "subject"),
        ("sub with NUL", claim("sub", json!("a\0")), "subject"),
        ("sid a list", claim("sid", json!(["s"])), "session_id"),
        ("sid null", claim("sid", json!(null)), "ok"),
        ("sid empty", claim("sid", json!("")), "ok"),
        ("sid too long", claim("sid", json!(long)), "session_id"),
        ("no iss", mint().without_claim("iss"), "issuer"),
        (
            "another iss",
            mint().with_issuer("https://evil.example"),
            "issuer",
        ),
        ("no aud", mint().without_claim("aud"), "audience"),
        ("another aud", mint().with_audience("evil"), "audience"),
        (
            "another client in aud",
            claim("aud", json!(["shop", "evil"])),
            "audience",
        ),
        ("azp of another", claim("azp", json!("evil")), "audience"),
        ("no iat", mint().without_claim("iat"), "issued_at"),
        ("iat as text", claim("iat", json!("1")), "claims"),
        (
            "iat of just now",
            claim("iat", json!(now - MAX_AGE - 30 + 1)),
            "ok",
        ),
        (
            "iat too long ago",
            claim("iat", json!(now - MAX_AGE - 30)),
            "issued_long_ago",
        ),
        (
            "iat ahead",
            claim("iat", json!(now + 30 + 1)),
            "not_yet_valid",
        ),
        ("expired", mint().with_expires_in(-30), "expired"),
        ("exp as text", claim("exp", json!("x")), "claims"),
        ("no jti", mint().without_claim("jti"), "jwt_id"),
        ("jti empty", claim("jti", json!("")), "claims"),
        ("jti a number", claim("jti", json!(7)), "claims"),
        ("jti too long", claim("jti", json!(long)), "jwt_id"),
        ("no events", mint().without_claim("events"), "event"),
        ("events a list", claim("events", json!([EVENT])), "event"),
        ("events a string", claim("events", json!(EVENT)), "event"),
        (
            "the event a string",
            claim("events", json!({ EVENT: "" })),
            "event",
        ),
        (
            "the event true",
            claim("events", json!({ EVENT: true })),
            "event",
        ),
        (
            "the event null",
            claim("events", json!({ EVENT: null })),
            "event",
        ),
        (
            "another event alone",
            claim("events", json!({ "https://evil.example": {} })),
            "event",
        ),
        ("an ID token", server.id_token("shop"), "event"),
        ("a nonce", claim("nonce", json!("n")), "nonce"),
        ("a nonce of null", claim("nonce", json!(null)), "nonce"),
        (
            "a duplicate claim",
            mint().add_raw_claim("sid", "\"evil\""),
            "malformed",
        ),
        (
            "a duplicate event",
            mint().with_raw_claim("events", &format!("{{\"{EVENT}\":{{}},\"{EVENT}\":{{}}}}")),
            "malformed",
        ),
        ("no signature", mint().without_signature(), "algorithm"),
        ("another server's key", mint().with_wrong_key(), "signature"),
        (
            "crit",
            mint().with_header("crit", json!(["evil"])),
            "extension",
        ),
        (
            "too long",
            claim("padding", json!("a".repeat(MAX_PRESENTED_TOKEN))),
            "too_long",
        ),
    ];
    for (name, mint, expected) in cases {
        assert_eq!(code(&server, &mint.sign()).await, expected, "{name}");
    }
    for (name, text) in [("empty", ""), ("not a JWT", "evil"), ("dots", "..")] {
        assert_eq!(code(&server, text).await, "malformed", "{name}");
    }
}

/// Back-Channel Logout §2.6: the algorithms are those of ID tokens.
#[tokio::test]
async fn each_asymmetric_algorithm_is_accepted_and_hmac_is_rejected() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ] {
        let server = TestServer::new(ISSUER).unwrap().with_algorithm(algorithm);
        assert_eq!(
            code(&server, &good(&server).sign()).await,
            "ok",
            "{algorithm:?}"
        );
    }
    let server = TestServer::new(ISSUER).unwrap();
    let mac = good(&server).with_hmac(b"shop-secret").sign();
    assert_eq!(code(&server, &mac).await, "algorithm");
}

#[tokio::test]
async fn a_token_is_valid_until_its_exp_or_its_maximum_age() {
    let server = TestServer::new(ISSUER).unwrap();
    let now = server.clock().unix_seconds();
    let handle = server.authorization_server();
    for (name, mint, until) in [
        ("exp is sooner", good(&server), now + 300 + 30),
        (
            "exp is later",
            good(&server).with_expires_in(86_400),
            now + MAX_AGE + 30,
        ),
        (
            "no exp",
            good(&server).without_claim("exp"),
            now + MAX_AGE + 30,
        ),
    ] {
        let read = verify(&handle, &mint.sign(), "shop", &IdTokenSettings::default())
            .await
            .unwrap();
        assert_eq!(read.valid_until, until, "{name}");
        assert_eq!(
            (
                read.jwt_id.as_str(),
                read.issued_at,
                read.subject.as_deref()
            ),
            ("one", now, Some("alice")),
            "{name}"
        );
    }
}

/// Unknown keys cause a burst of three fetches and one every 30 seconds, without reducing the budget of other tokens.
#[tokio::test]
async fn a_flood_of_unknown_keys_causes_few_fetches() {
    let server = TestServer::new(ISSUER)
        .unwrap()
        .with_algorithm(Algorithm::EdDsa);
    let handle = server.authorization_server();
    let settings = IdTokenSettings::default();
    let is_ok = async |token: String| verify(&handle, &token, "shop", &settings).await.is_ok();
    assert!(is_ok(good(&server).sign()).await);
    let before = server.count(Endpoint::KeySet);
    for n in 0..10_000 {
        let junk = good(&server).with_header("kid", format!("evil-{n}")).sign();
        assert!(!is_ok(junk).await);
        server.clock().advance(Duration::from_millis(1));
    }
    assert_eq!(server.count(Endpoint::KeySet) - before, 3);
    assert!(is_ok(good(&server).sign()).await);
}

#[tokio::test]
async fn an_outage_of_the_keys_is_reported_as_unavailable() {
    let server = TestServer::new(ISSUER).unwrap();
    server.fail(Endpoint::KeySet, Fault::status(500));
    assert_eq!(
        code(&server, &good(&server).sign()).await,
        "keys_unavailable"
    );
}
