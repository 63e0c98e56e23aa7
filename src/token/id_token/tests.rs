//! The rules for the ID token of a login.

use serde_json::{Value, json};

use super::{AcrValues, ClaimRequirements, IdTokenSettings, LoginExpectations, half_hash, verify};
use crate::clock::tests::StillClock;
use crate::crypto::{Algorithm, SigningKey, UnsignedJws, base64url};
use crate::issuer::{AuthorizationServer, StaticKeys};
use crate::protocol::{AccessToken, AuthorizationCode, IdToken, Nonce, State};

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const NOW: i64 = 1_800_000_000;

/// Returns a key with the key id `1`, a different one for each seed.
pub(crate) fn signing_key(seed: u8) -> SigningKey {
    // PKCS#8 of an Ed25519 key (RFC 8410 §7).
    let mut der = base64url::decode("MC4CAQAwBQYDK2VwBCIEIA").unwrap();
    der.extend([seed; 32]);
    let text = base64url::encode(&der);
    let text = text.replace('-', "+").replace('_', "/");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(&pem).unwrap().with_key_id("1")
}

/// Returns a server that signs with the key of seed 1.
pub(crate) fn server(now: i64) -> AuthorizationServer {
    let keys = json!({ "keys": [signing_key(1).public_jwk()] });
    let keys = StaticKeys::from_jwks(&keys.to_string()).unwrap();
    let server = AuthorizationServer::new(ISSUER).unwrap();
    server.with_keys(keys).with_clock(StillClock::new(now))
}

pub(crate) fn sign(claims: &str) -> String {
    let header = r#"{"alg":"EdDSA","kid":"1"}"#;
    signing_key(1)
        .sign_jws(UnsignedJws::new(header, claims))
        .unwrap()
}

/// Replaces these claims. `null` removes one.
pub(crate) fn change(claims: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW,
        "nonce": "the-Nonce",
    })
}

fn half(value: &str) -> String {
    half_hash(Algorithm::EdDsa, value.as_bytes())
}

/// Validates an ID token for a login that requested this much. Returns the end of the error code.
async fn validate_at(now: i64, token: String, max_age: Option<u32>, acr: Option<&str>) -> String {
    validate_with(&IdTokenSettings::default(), now, token, max_age, acr).await
}

async fn validate_with(
    settings: &IdTokenSettings,
    now: i64,
    token: String,
    max_age: Option<u32>,
    acr: Option<&str>,
) -> String {
    let (acr_values, claims) = (acr.and_then(AcrValues::parse), ClaimRequirements::default());
    let expected = LoginExpectations {
        settings,
        client_id: "shop",
        nonce: Some(&Nonce::new("the-Nonce")),
        access_token: &AccessToken::new("the-token"),
        code: &AuthorizationCode::new("the-code"),
        state: &State::new("the-state"),
        max_age,
        started_at: NOW,
        acr_values: acr_values.as_ref(),
        claims: [&claims; 2],
    };
    match verify(&server(now), &IdToken::new(token), &expected).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().replace("id_token_", ""),
    }
}

async fn validate(token: String) -> String {
    validate_at(NOW, token, None, None).await
}

/// OpenID Connect Core §3.1.3.7.
#[tokio::test]
async fn each_claim_is_checked_and_each_failure_has_a_code() {
    for (changes, expected) in [
        (json!({}), "ok"),
        (json!({ "iss": "https://evil.example" }), "issuer"),
        (json!({ "iss": format!("{ISSUER}/") }), "issuer"),
        (json!({ "iss": "https://ID.example.com" }), "issuer"),
        (json!({ "iss": format!("{ISSUER}\0") }), "issuer"),
        (json!({ "iss": [ISSUER] }), "issuer"),
        (json!({ "iss": null }), "issuer"),
        (json!({ "aud": ["shop"] }), "ok"),
        (json!({ "aud": "other" }), "audience"),
        (json!({ "aud": "Shop" }), "audience"),
        (json!({ "aud": "shop " }), "audience"),
        (json!({ "aud": "shop other" }), "audience"),
        (json!({ "aud": [["shop"]] }), "audience"),
        (json!({ "aud": { "shop": true } }), "audience"),
        (json!({ "aud": ["shop", 1] }), "audience"),
        (json!({ "aud": 1 }), "audience"),
        (json!({ "aud": [] }), "audience"),
        (json!({ "aud": null }), "audience"),
        (json!({ "aud": ["shop", "shop"] }), "ok"),
        (json!({ "aud": ["shop", "x"] }), "no_authorized_party"),
        (
            json!({ "aud": ["shop", "x"], "azp": "shop" }),
            "untrusted_audience",
        ),
        (json!({ "azp": "shop" }), "ok"),
        (json!({ "azp": "other" }), "authorized_party"),
        (json!({ "azp": "" }), "ok"),
        (json!({ "azp": 7 }), "authorized_party"),
        (json!({ "azp": ["shop"] }), "authorized_party"),
        (json!({ "sub": "a".repeat(255) }), "ok"),
        (json!({ "sub": "a".repeat(256) }), "subject"),
        (json!({ "sub": "" }), "subject"),
        (json!({ "sub": "a\0b" }), "subject"),
        (json!({ "sub": "é" }), "subject"),
        (json!({ "sub": 1 }), "subject"),
        (json!({ "sub": null }), "subject"),
        (json!({ "exp": NOW - 29 }), "ok"),
        (json!({ "exp": NOW - 30 }), "expired"),
        (json!({ "exp": "1800000300" }), "expiry"),
        (json!({ "exp": [NOW + 300] }), "expiry"),
        (json!({ "exp": true }), "expiry"),
        (json!({ "exp": -1 }), "expiry"),
        (json!({ "exp": 1e300 }), "expiry"),
        (json!({ "exp": null }), "expiry"),
        (json!({ "exp": 1_800_000_009.5 }), "ok"),
        (json!({ "iat": 1_799_999_999.5 }), "ok"),
        (json!({ "iat": NOW + 30 }), "ok"),
        (json!({ "iat": NOW + 31 }), "issued_later"),
        (json!({ "iat": NOW - 630 }), "ok"),
        (json!({ "iat": NOW - 631 }), "issued_long_ago"),
        (json!({ "iat": NOW * 1000 }), "issued_at"),
        (json!({ "iat": -1e300 }), "issued_at"),
        (json!({ "iat": "now" }), "issued_at"),
        (json!({ "iat": null }), "issued_at"),
        (json!({ "nbf": NOW + 30 }), "ok"),
        (json!({ "nbf": NOW + 31 }), "not_yet_valid"),
        (json!({ "nbf": NOW * 1000 }), "not_before"),
        (json!({ "nbf": "now" }), "not_before"),
        (json!({ "nonce": "the-nonce" }), "nonce"),
        (json!({ "nonce": "" }), "nonce"),
        (json!({ "nonce": ["the-Nonce"] }), "nonce"),
        (json!({ "nonce": null }), "no_nonce"),
        (json!({ "at_hash": half("the-token") }), "ok"),
        (json!({ "at_hash": half("other") }), "access_token_hash"),
        (json!({ "at_hash": "" }), "ok"),
        (json!({ "at_hash": 1 }), "access_token_hash"),
        (json!({ "c_hash": half("the-code") }), "ok"),
        (json!({ "c_hash": half("other") }), "code_hash"),
        (json!({ "s_hash": half("the-state") }), "ok"),
        (json!({ "s_hash": half("other") }), "state_hash"),
        (json!({ "auth_time": "now" }), "ok"),
    ] {
        let mut changed = claims();
        change(&mut changed, &changes);
        let outcome = validate(sign(&changed.to_string())).await;
        assert_eq!(outcome, expected, "{changes:.80}");
    }
}

/// The nonce was sent, so it cannot be `null`; a number that no `f64` holds is not a time.
#[tokio::test]
async fn unset_claims_are_absent_and_duplicate_ones_are_rejected() {
    for (claim, text, expected) in [
        ("azp", r#""azp":null"#, "ok"),
        ("nonce", r#""nonce":null"#, "nonce"),
        ("c_hash", r#""c_hash":null"#, "ok"),
        ("c_hash", r#""c_hash":false"#, "code_hash"),
        ("exp", r#""exp":1e400"#, "malformed"),
        ("exp", r#""exp":NaN"#, "malformed"),
        ("sub", r#""sub":"alice","sub":"bob""#, "malformed"),
        ("nonce", r#""nonce":"x","nonce":"the-Nonce""#, "malformed"),
    ] {
        let mut changed = claims();
        change(&mut changed, &json!({ claim: null }));
        let changed = changed.to_string();
        let token = sign(&changed.replacen('{', &format!("{{{text},"), 1));
        assert_eq!(validate(token).await, expected, "{text}");
    }
}

#[tokio::test]
async fn a_malformed_token_or_one_of_another_type_or_key_is_rejected() {
    let claims = claims().to_string();
    for (header, expected) in [
        (json!({ "alg": "EdDSA", "kid": "1", "typ": "JWT" }), "ok"),
        (
            json!({ "alg": "Ed25519", "kid": "1", "typ": "application/jwt" }),
            "ok",
        ),
        (json!({ "alg": "EdDSA" }), "ok"),
        (json!({ "alg": "EdDSA", "typ": "at+jwt" }), "type"),
        (json!({ "alg": "EdDSA", "typ": "logout+jwt" }), "type"),
        (json!({ "alg": "none" }), "algorithm"),
        (json!({ "alg": "None" }), "algorithm"),
        (json!({ "alg": "HS256", "kid": "1" }), "algorithm"),
        (json!({ "alg": "RS512", "kid": "1" }), "key_unfit"),
        (json!({ "alg": ["EdDSA"] }), "algorithm"),
        (json!({ "kid": "1" }), "algorithm"),
        (json!({ "alg": "ES256", "kid": "1" }), "key_unfit"),
        (json!({ "alg": "EdDSA", "kid": "2" }), "key_unknown"),
        (json!({ "alg": "EdDSA", "cty": "JWT" }), "extension"),
        (json!({ "alg": "EdDSA", "crit": ["x"] }), "extension"),
    ] {
        let token = signing_key(1).sign_jws(UnsignedJws::new(&header.to_string(), &claims));
        assert_eq!(validate(token.unwrap()).await, expected, "{header}");
    }
    let header = json!({ "alg": "EdDSA", "kid": "1" }).to_string();
    let with_key = json!({ "alg": "EdDSA", "jwk": signing_key(2).public_jwk() });
    let other = signing_key(2);
    let signed = sign(&claims);
    let (unsigned, _) = signed.rsplit_once('.').unwrap();
    let long = format!(r#"{{"x":"{}","#, "x".repeat(200_000));
    for (name, token, expected) in [
        ("five parts", format!("{signed}.e30.e30"), "malformed"),
        ("no object", sign("[]"), "malformed"),
        ("long", sign(&claims.replacen('{', &long, 1)), "too_long"),
        ("no signature", format!("{unsigned}."), "malformed"),
        (
            "another key",
            other.sign_jws(UnsignedJws::new(&header, &claims)).unwrap(),
            "signature",
        ),
        (
            "a key in the token",
            other
                .sign_jws(UnsignedJws::new(&with_key.to_string(), &claims))
                .unwrap(),
            "signature",
        ),
    ] {
        assert_eq!(validate(token).await, expected, "{name}");
    }
}

#[tokio::test]
async fn settings_name_the_algorithms_the_trusted_audiences_and_the_leeway() {
    let trusted = |audiences: &[&str]| {
        let audiences = audiences.iter().map(|one| (*one).to_owned()).collect();
        IdTokenSettings::default()
            .with_trusted_audiences(audiences)
            .unwrap()
    };
    let algorithms = |list: &[Algorithm]| {
        IdTokenSettings::default()
            .with_algorithms(list.to_vec())
            .unwrap()
    };
    let leeway = |seconds| {
        let leeway = std::time::Duration::from_secs(seconds);
        IdTokenSettings::default().with_leeway(leeway)
    };
    let late = json!({ "exp": NOW - 299, "iat": NOW - 599 });
    let early = json!({ "iat": NOW + 300, "exp": NOW + 600 });
    for (settings, changes, expected) in [
        (algorithms(&[Algorithm::EdDsa]), json!({}), "ok"),
        (algorithms(&[Algorithm::Rs256]), json!({}), "algorithm"),
        (
            trusted(&["x", "y"]),
            json!({ "aud": ["x", "shop"], "azp": "shop" }),
            "ok",
        ),
        (
            trusted(&["x"]),
            json!({ "aud": ["shop", "shop", "x"], "azp": "shop" }),
            "ok",
        ),
        (
            trusted(&["x"]),
            json!({ "aud": ["shop", "x"] }),
            "no_authorized_party",
        ),
        (
            trusted(&["x"]),
            json!({ "aud": ["shop", "x"], "azp": "x" }),
            "authorized_party",
        ),
        (
            trusted(&["x"]),
            json!({ "aud": ["shop", "x", "z"], "azp": "shop" }),
            "untrusted_audience",
        ),
        (
            trusted(&["x"]),
            json!({ "aud": ["x"], "azp": "shop" }),
            "audience",
        ),
        (leeway(300).unwrap(), late, "ok"),
        (leeway(300).unwrap(), early, "ok"),
        (leeway(0).unwrap(), json!({ "exp": NOW }), "expired"),
    ] {
        let mut changed = claims();
        change(&mut changed, &changes);
        let token = sign(&changed.to_string());
        let outcome = validate_with(&settings, NOW, token, None, None).await;
        assert_eq!(outcome, expected, "{settings:?} {changes}");
    }
    assert!(leeway(301).is_err());
    assert!(
        IdTokenSettings::default()
            .with_algorithms(Vec::new())
            .is_err()
    );
    assert!(
        IdTokenSettings::default()
            .with_trusted_audiences(vec![String::new()])
            .is_err()
    );
}

/// OpenID Connect Core §3.1.3.7 (12), (13).
#[tokio::test]
async fn requested_max_age_and_acr_values_are_checked() {
    for (max_age, acr, changes, expected) in [
        (None, None, json!({}), "ok"),
        (Some(60), None, json!({ "auth_time": NOW - 60 }), "ok"),
        (Some(60), None, json!({ "auth_time": NOW - 90 }), "ok"),
        (Some(0), None, json!({ "auth_time": NOW }), "ok"),
        (Some(60), None, json!({}), "auth_time"),
        (
            Some(60),
            None,
            json!({ "auth_time": NOW.to_string() }),
            "auth_time",
        ),
        (Some(60), None, json!({ "auth_time": null }), "auth_time"),
        (
            Some(60),
            None,
            json!({ "auth_time": NOW + 1000 }),
            "auth_time",
        ),
        (
            Some(60),
            None,
            json!({ "auth_time": NOW - 91 }),
            "authenticated_long_ago",
        ),
        (None, Some("gold silver"), json!({ "acr": "gold" }), "ok"),
        (None, Some("gold silver"), json!({ "acr": "silver" }), "ok"),
        (
            None,
            Some("gold"),
            json!({ "acr": "lead" }),
            "authentication_context",
        ),
        (None, Some("gold"), json!({}), "authentication_context"),
        (
            None,
            Some("gold"),
            json!({ "acr": ["gold"] }),
            "authentication_context",
        ),
    ] {
        let mut changed = claims();
        change(&mut changed, &changes);
        let token = sign(&changed.to_string());
        let outcome = validate_at(NOW, token, max_age, acr).await;
        assert_eq!(outcome, expected, "{changes}");
    }
    // Time on the consent page does not count toward `max_age`.
    let mut later = claims();
    let times = json!({ "auth_time": NOW + 20, "iat": NOW + 300, "exp": NOW + 600 });
    change(&mut later, &times);
    let token = sign(&later.to_string());
    assert_eq!(validate_at(NOW + 300, token, Some(0), None).await, "ok");
}

#[test]
fn half_hashes_match_the_examples_of_the_specification() {
    // OpenID Connect Core, Appendices A.3 and A.4.
    for (value, hash) in [
        (
            "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y",
            "77QmUPtjPfzWtF2AnpK9RQ",
        ),
        (
            "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk",
            "LDktKdoQak3Pk0cnXxCltA",
        ),
    ] {
        assert_eq!(half_hash(Algorithm::Rs256, value.as_bytes()), hash);
    }
    assert_eq!(half_hash(Algorithm::Es384, b"x").len(), 32);
    assert_eq!(half_hash(Algorithm::EdDsa, b"x").len(), 43);
}
