//! Signed responses (JARM).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;
use tower_oauth::Algorithm;
use tower_oauth::login::ResponseMode;
use tower_oauth::testing::{Endpoint, Fault, TestSigningKey, TokenMint};

use super::{callback, code_of, response_of_alice, shop_in, shop_with};
use crate::support::api::settle;
use crate::support::logs::Logs;
use crate::support::shop::*;

const EVIL: &str = "https://evil.example";

/// Hostile: nothing of a response counts before all of its checks, and a rejected one does not use up the login.
#[tokio::test]
async fn a_response_that_is_not_valid_is_rejected_without_a_token_request() {
    type Change = fn(TokenMint) -> TokenMint;
    let cases: &[(&str, Change, &str)] = &[
        ("issuer", |jwt| jwt.with_issuer(EVIL), "response_jwt"),
        (
            "issuer with slash",
            |jwt| jwt.with_issuer("https://id.example.test/"),
            "response_jwt",
        ),
        ("no issuer", |jwt| jwt.without_claim("iss"), "response_jwt"),
        (
            "audience",
            |jwt| jwt.with_audience("other"),
            "response_jwt_audience",
        ),
        (
            "no audience",
            |jwt| jwt.without_claim("aud"),
            "response_jwt_audience",
        ),
        (
            "further audience",
            |jwt| jwt.with_audience(vec!["shop", "other"]),
            "response_jwt_audience",
        ),
        ("no expiry", |jwt| jwt.without_claim("exp"), "response_jwt"),
        ("expired", |jwt| jwt.with_expires_in(-31), "response_jwt"),
        (
            "not yet",
            |jwt| jwt.with_claim("nbf", 1_800_000_031),
            "response_jwt",
        ),
        ("none", TokenMint::without_signature, "response_jwt"),
        ("HMAC", |jwt| jwt.with_hmac("shop-secret"), "response_jwt"),
        ("other key", TokenMint::with_wrong_key, "response_jwt"),
        (
            "signature",
            TokenMint::with_broken_signature,
            "response_jwt",
        ),
        (
            "access token",
            |jwt| jwt.with_header("typ", "at+jwt"),
            "response_jwt",
        ),
        (
            "logout token",
            |jwt| jwt.with_header("typ", "logout+jwt"),
            "response_jwt",
        ),
        (
            "request object",
            |jwt| jwt.with_header("typ", "oauth-authz-req+jwt"),
            "response_jwt",
        ),
        (
            "no state",
            |jwt| jwt.without_claim("state"),
            "state_missing",
        ),
        (
            "state in a list",
            |jwt| jwt.with_claim("state", vec!["x"]),
            "callback_malformed_value",
        ),
        (
            "code twice",
            |jwt| jwt.add_raw_claim("code", "\"x\""),
            "response_jwt",
        ),
        (
            "issuer twice",
            |jwt| jwt.add_raw_claim("iss", "\"https://evil.example\""),
            "response_jwt",
        ),
        (
            "number",
            |jwt| jwt.with_claim("code", 7),
            "callback_malformed_value",
        ),
        (
            "token",
            |jwt| jwt.with_claim("access_token", "x"),
            "callback_token",
        ),
        (
            "ID token",
            |jwt| jwt.with_claim("id_token", "a.b.c"),
            "callback_token",
        ),
    ];
    for mode in [ResponseMode::Jwt, ResponseMode::FormPostJwt] {
        for (name, change, code) in cases {
            let shop = shop_in(mode);
            let mut jar = Jar::default();
            let start = shop.start("/auth/login?return_to=/notes", &mut jar).await;
            shop.server.fail_once(
                Endpoint::Authorization,
                Fault::authorization_response(*change),
            );
            let bad = super::response_to(&shop, start.location(), "alice", "wonderland").await;
            let answer = callback(&shop, &jar, &bad, mode).await;
            let found = (answer.status.as_u16(), code_of(&answer));
            assert_eq!(found, (400, (*code).to_owned()), "{mode:?} {name}");
            assert!(
                answer.set_cookies().is_empty(),
                "{mode:?} {name}: the login is not used up"
            );
            assert_eq!(shop.token_calls(), 0, "{mode:?} {name}");
            let good = super::response_to(&shop, start.location(), "alice", "wonderland").await;
            let answer = callback(&shop, &jar, &good, mode).await;
            assert_eq!(answer.location(), "/notes", "{mode:?} {name}");
        }
    }
}

/// Keycloak sends its issuer twice. A claim with two values is another matter.
#[tokio::test]
async fn a_response_with_the_same_issuer_twice_is_accepted() {
    let shop = shop_in(ResponseMode::Jwt);
    let mut jar = Jar::default();
    shop.server.fail_once(
        Endpoint::Authorization,
        Fault::authorization_response(|jwt| {
            jwt.add_raw_claim("iss", "\"https://id.example.test\"")
        }),
    );
    let response = response_of_alice(&shop, &mut jar).await;
    let answer = callback(&shop, &jar, &response, ResponseMode::Jwt).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert_eq!(shop.token_calls(), 1);
}

/// Hostile: a forged response would make the layer fetch keys for every caller.
#[tokio::test]
async fn what_the_claims_rule_out_causes_no_key_fetch() {
    type Change = fn(TokenMint) -> TokenMint;
    let unknown = |jwt: TokenMint| jwt.with_header("kid", "unknown");
    let cases: &[(&str, Change, usize)] = &[
        ("issuer", |jwt| jwt.with_issuer(EVIL), 0),
        ("expired", |jwt| jwt.with_expires_in(-31), 0),
        ("type", |jwt| jwt.with_header("typ", "at+jwt"), 0),
        ("HMAC", |jwt| jwt.with_hmac("x"), 0),
        // The first fetch, and one for the unknown key.
        ("unknown key", |jwt| jwt, 2),
    ];
    for (name, change, fetches) in cases {
        let shop = shop_in(ResponseMode::Jwt);
        let mut jar = Jar::default();
        let change = *change;
        let alter = move |jwt| change(unknown(jwt));
        shop.server.fail_once(
            Endpoint::Authorization,
            Fault::authorization_response(alter),
        );
        let bad = response_of_alice(&shop, &mut jar).await;
        let answer = callback(&shop, &jar, &bad, ResponseMode::Jwt).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(shop.server.count(Endpoint::KeySet), *fetches, "{name}");
    }
}

/// Hostile: a code and the state of a login of the attacker beside the good response, and every other part of a plain one.
#[tokio::test]
async fn a_good_response_beside_plain_parameters_is_rejected() {
    for mode in [ResponseMode::Jwt, ResponseMode::FormPostJwt] {
        let shop = shop_in(mode);
        let (mut jar, mut other) = (Jar::default(), Jar::default());
        let good = response_of_alice(&shop, &mut jar).await;
        let second = response_of_alice(&shop, &mut other).await;
        let state = super::state_of(&second);
        for more in [
            format!("code=x&state={state}"),
            "code=x".to_owned(),
            format!("state={state}"),
            "error=access_denied".to_owned(),
            "id_token=a.b.c".to_owned(),
            second.clone(),
        ] {
            for both in [format!("{good}&{more}"), format!("{more}&{good}")] {
                let answer = callback(&shop, &jar, &both, mode).await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{mode:?} {more}");
                assert!(answer.set_cookies().is_empty(), "{mode:?} {more}");
            }
        }
        assert_eq!(shop.token_calls(), 0);
        let answer = callback(&shop, &jar, &good, mode).await;
        assert_eq!(answer.location(), "/notes");
    }
}

/// Hostile: what an error response of another issuer says is not shown: neither its code nor its description.
#[tokio::test]
async fn nothing_of_an_error_response_with_a_foreign_issuer_is_shown() {
    for mode in super::MODES {
        let shop = shop_in(mode);
        let mut jar = Jar::default();
        let text = "call 555-0100 to unlock";
        for (name, value) in [
            ("error", "access_denied_by_evil"),
            ("error_description", text),
            ("iss", EVIL),
        ] {
            shop.server
                .fail(Endpoint::Authorization, Fault::parameter(name, value));
        }
        shop.server
            .fail(Endpoint::Authorization, Fault::without_parameter("code"));
        let bad = response_of_alice(&shop, &mut jar).await;
        let answer = callback(&shop, &jar, &bad, mode).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{mode:?}: {answer:?}"
        );
        let expected = match mode {
            ResponseMode::Jwt | ResponseMode::FormPostJwt => "response_jwt",
            _ => "issuer_mismatch",
        };
        assert_eq!(code_of(&answer), expected, "{mode:?}");
        for part in [text, "555", "access_denied", "by_evil", EVIL] {
            assert!(
                !answer.text().contains(part),
                "{mode:?} {part}: {}",
                answer.text()
            );
        }
    }
}

/// The keys rotate, and are unavailable for a while.
#[tokio::test]
async fn an_outage_of_the_keys_does_not_use_up_the_login() {
    let shop = shop_in(ResponseMode::Jwt);
    let mut jar = Jar::default();
    let good = response_of_alice(&shop, &mut jar).await;
    shop.server.fail(Endpoint::KeySet, Fault::status(503));
    let answer = callback(&shop, &jar, &good, ResponseMode::Jwt).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(code_of(&answer), "keys_unavailable");
    assert!(answer.headers.contains_key("retry-after") && answer.set_cookies().is_empty());
    shop.server.clear_faults(Endpoint::KeySet);
    shop.clock().advance(Duration::from_secs(30));
    let answer = callback(&shop, &jar, &good, ResponseMode::Jwt).await;
    assert_eq!(answer.location(), "/notes");
}

/// Hostile: forged responses of callers without a login use up the fetches that a rotation of the keys needs.
#[tokio::test]
async fn without_a_login_in_the_browser_an_unknown_key_causes_no_fetch() {
    for mode in [ResponseMode::Jwt, ResponseMode::FormPostJwt] {
        let shop = shop_in(mode);
        let mut jar = Jar::default();
        let good = response_of_alice(&shop, &mut jar).await;
        let forged_cookie = Jar::of(&[(jar.transactions()[0], "AAAA")]);
        let answer = callback(&shop, &jar, &good, mode).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{mode:?}");
        assert_eq!(shop.server.count(Endpoint::KeySet), 1, "{mode:?}");
        for number in 0..20 {
            for jar in [&Jar::default(), &forged_cookie] {
                let answer = callback(&shop, jar, &forged(number), mode).await;
                let found = (answer.status.as_u16(), code_of(&answer));
                assert_eq!(found, (400, "response_jwt".to_owned()), "{mode:?}");
            }
        }
        assert_eq!(shop.server.count(Endpoint::KeySet), 1, "{mode:?}");

        shop.server.rotate_keys();
        let mut jar = Jar::default();
        let good = response_of_alice(&shop, &mut jar).await;
        let answer = callback(&shop, &jar, &good, mode).await;
        assert_eq!(answer.location(), "/notes", "{mode:?}: {answer:?}");
    }
}

/// Returns a response with an unknown key and otherwise plausible claims.
fn forged(number: usize) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(serde_json::json!({ "alg": "RS256", "kid": format!("evil-{number}") }));
    let payload = part(serde_json::json!({
        "iss": ISSUER, "aud": "shop", "exp": 4_000_000_000_u64, "state": "s", "code": "c",
    }));
    let signature = URL_SAFE_NO_PAD.encode([7; 256]);
    format!("response={header}.{payload}.{signature}")
}

/// Some servers replace a key under the same `kid`.
#[tokio::test]
async fn a_key_that_was_replaced_under_its_id_is_found_in_the_background() {
    for mode in [ResponseMode::Jwt, ResponseMode::FormPostJwt] {
        let shop = shop_in(mode);
        let mut jar = Jar::default();
        let response = response_of_alice(&shop, &mut jar).await;
        let answer = callback(&shop, &jar, &response, mode).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{mode:?}");
        let old = shop.server.key(Algorithm::Rs256);
        let new = TestSigningKey::generate(Algorithm::Rs256).with_kid(old.kid());
        shop.server.remove_key(old.kid());
        shop.server.sign_with(&new);
        shop.server.publish_key(&new);
        shop.clock().advance(Duration::from_secs(31));
        let mut jar = Jar::default();
        let response = response_of_alice(&shop, &mut jar).await;
        // A response of a browser without a login, and one for another client, cause no fetch.
        let elsewhere = callback(&shop, &Jar::default(), &response, mode).await;
        shop.server.fail_once(
            Endpoint::Authorization,
            Fault::authorization_response(|jwt| jwt.with_audience("other")),
        );
        let mut other = Jar::default();
        let for_other = response_of_alice(&shop, &mut other).await;
        let for_other = callback(&shop, &other, &for_other, mode).await;
        for answer in [elsewhere, for_other] {
            assert_eq!(code_of(&answer), "response_jwt", "{mode:?}");
        }
        settle().await;
        assert_eq!(shop.server.count(Endpoint::KeySet), 1, "{mode:?}");

        let answer = callback(&shop, &jar, &response, mode).await;
        assert_eq!(code_of(&answer), "response_jwt", "{mode:?}");
        settle().await;
        let answer = callback(&shop, &jar, &response, mode).await;
        assert_eq!(answer.location(), "/notes", "{mode:?}: {answer:?}");
        assert_eq!(shop.server.count(Endpoint::KeySet), 2, "{mode:?}");
    }
}

#[tokio::test]
async fn the_algorithms_of_id_tokens_apply_to_responses() {
    for (algorithm, status) in [(Algorithm::Es256, 303), (Algorithm::Rs256, 400)] {
        let shop = shop_with(|login| {
            let login = login.with_response_mode(ResponseMode::Jwt);
            login.with_id_token_algorithms([Algorithm::Es256]).unwrap()
        });
        let server = shop.server.clone().with_algorithm(Algorithm::Es256);
        let change = move |jwt: TokenMint| jwt.with_algorithm(algorithm);
        server.fail_once(
            Endpoint::Authorization,
            Fault::authorization_response(change),
        );
        let mut jar = Jar::default();
        let response = response_of_alice(&shop, &mut jar).await;
        let answer = callback(&shop, &jar, &response, ResponseMode::Jwt).await;
        assert_eq!(answer.status.as_u16(), status, "{algorithm:?}: {answer:?}");
    }
}

#[tokio::test]
async fn the_log_explains_a_rejected_response() {
    let log = Logs::default();
    let shop = shop_in(ResponseMode::Jwt);
    let _recording = log.record();
    type Change = fn(TokenMint) -> TokenMint;
    let cases: &[(Change, &str)] = &[
        (|jwt| jwt.with_expires_in(-100), "LoginLayer::with_leeway"),
        (
            |jwt| jwt.with_hmac("x"),
            "LoginLayer::with_id_token_algorithms",
        ),
        (
            |jwt| jwt.with_audience("other"),
            r#"found aud [\"other\"]; expected \"shop\", beside it trusted audiences only"#,
        ),
    ];
    for (change, expected) in cases {
        shop.server.fail_once(
            Endpoint::Authorization,
            Fault::authorization_response(*change),
        );
        let mut jar = Jar::default();
        let bad = response_of_alice(&shop, &mut jar).await;
        callback(&shop, &jar, &bad, ResponseMode::Jwt).await;
        let text = log.take();
        assert!(text.contains(expected), "{text}");
    }
    callback(&shop, &Jar::default(), &forged(0), ResponseMode::Jwt).await;
    let text = log.take();
    assert!(text.contains("no cookie of a login in progress"), "{text}");
    let encrypted = "response=a.b.c.d.e";
    callback(&shop, &Jar::default(), encrypted, ResponseMode::Jwt).await;
    let text = log.take();
    assert!(
        text.contains("encrypted responses are not supported"),
        "{text}"
    );
}
