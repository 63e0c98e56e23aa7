use serde_json::{Value, json};

use super::support::{ISSUER, Login, NOW, Server, code_of};
use crate::crypto::{Algorithm, base64url};
use crate::flow::{FlowErrorKind, StartRequest};
use crate::token::id_token::half_hash;

fn set(claims: &mut Value, name: &str, value: Value) {
    match value {
        Value::Null => {
            claims.as_object_mut().unwrap().remove(name);
        }
        value => claims[name] = value,
    }
}

fn half(value: &str) -> String {
    half_hash(Algorithm::EdDsa, value.as_bytes())
}

#[tokio::test]
async fn each_claim_is_checked_and_each_failure_has_a_code() {
    let long = "a".repeat(256);
    for (name, changes, code) in [
        ("good", &[][..], "ok"),
        ("aud as a list", &[("aud", json!(["shop"]))], "ok"),
        ("azp is the client", &[("azp", json!("shop"))], "ok"),
        ("sub of 255", &[("sub", json!("a".repeat(255)))], "ok"),
        (
            "fractions",
            &[
                ("exp", json!(1_800_000_009.5)),
                ("iat", json!(1_799_999_999.5)),
            ],
            "ok",
        ),
        ("exp within the leeway", &[("exp", json!(NOW - 29))], "ok"),
        ("iat within the leeway", &[("iat", json!(NOW + 30))], "ok"),
        ("nbf within the leeway", &[("nbf", json!(NOW + 30))], "ok"),
        (
            "at_hash",
            &[("at_hash", json!(half("the-access-token")))],
            "ok",
        ),
        ("c_hash", &[("c_hash", json!(half("the-code")))], "ok"),
        (
            "iss other",
            &[("iss", json!("https://evil.example"))],
            "id_token_issuer",
        ),
        (
            "iss with a slash",
            &[("iss", json!(format!("{ISSUER}/")))],
            "id_token_issuer",
        ),
        (
            "iss as a list",
            &[("iss", json!([ISSUER]))],
            "id_token_issuer",
        ),
        ("iss missing", &[("iss", json!(null))], "id_token_issuer"),
        (
            "another client",
            &[("aud", json!("other"))],
            "id_token_audience",
        ),
        ("aud missing", &[("aud", json!(null))], "id_token_audience"),
        ("aud empty", &[("aud", json!([]))], "id_token_audience"),
        ("aud a number", &[("aud", json!(1))], "id_token_audience"),
        (
            "aud with a number",
            &[("aud", json!(["shop", 1]))],
            "id_token_audience",
        ),
        (
            "aud in another case",
            &[("aud", json!("Shop"))],
            "id_token_audience",
        ),
        (
            "two aud, no azp",
            &[("aud", json!(["shop", "other"]))],
            "id_token_no_authorized_party",
        ),
        (
            "two aud, azp is the client",
            &[("aud", json!(["shop", "other"])), ("azp", json!("shop"))],
            "id_token_untrusted_audience",
        ),
        (
            "azp other",
            &[("azp", json!("other"))],
            "id_token_authorized_party",
        ),
        (
            "azp a list",
            &[("azp", json!(["shop"]))],
            "id_token_authorized_party",
        ),
        ("sub missing", &[("sub", json!(null))], "id_token_subject"),
        ("sub empty", &[("sub", json!(""))], "id_token_subject"),
        ("sub a number", &[("sub", json!(1))], "id_token_subject"),
        ("sub too long", &[("sub", json!(long))], "id_token_subject"),
        (
            "sub with a NUL",
            &[("sub", json!("a\0b"))],
            "id_token_subject",
        ),
        (
            "sub beyond ASCII",
            &[("sub", json!("é"))],
            "id_token_subject",
        ),
        ("exp missing", &[("exp", json!(null))], "id_token_expiry"),
        (
            "exp a string",
            &[("exp", json!("1800000300"))],
            "id_token_expiry",
        ),
        ("exp a boolean", &[("exp", json!(true))], "id_token_expiry"),
        (
            "exp out of range",
            &[("exp", json!(1e300))],
            "id_token_expiry",
        ),
        (
            "exp in the past",
            &[("exp", json!(NOW - 30))],
            "id_token_expired",
        ),
        ("iat missing", &[("iat", json!(null))], "id_token_issued_at"),
        (
            "iat a string",
            &[("iat", json!("now"))],
            "id_token_issued_at",
        ),
        (
            "iat in the future",
            &[("iat", json!(NOW + 31))],
            "id_token_issued_later",
        ),
        (
            "iat long ago",
            &[("iat", json!(NOW - 631))],
            "id_token_issued_long_ago",
        ),
        (
            "nbf in the future",
            &[("nbf", json!(NOW + 31))],
            "id_token_not_yet_valid",
        ),
        (
            "nbf a string",
            &[("nbf", json!("now"))],
            "id_token_not_before",
        ),
        (
            "nonce missing",
            &[("nonce", json!(null))],
            "id_token_no_nonce",
        ),
        (
            "nonce other",
            &[("nonce", json!("other"))],
            "id_token_nonce",
        ),
        (
            "nonce a list",
            &[("nonce", json!(["other"]))],
            "id_token_nonce",
        ),
        (
            "at_hash wrong",
            &[("at_hash", json!(half("other")))],
            "id_token_access_token_hash",
        ),
        (
            "at_hash a number",
            &[("at_hash", json!(1))],
            "id_token_access_token_hash",
        ),
        (
            "c_hash wrong",
            &[("c_hash", json!(half("other")))],
            "id_token_code_hash",
        ),
        (
            "s_hash wrong",
            &[("s_hash", json!(half("other")))],
            "id_token_state_hash",
        ),
        (
            "auth_time a string",
            &[("auth_time", json!("now"))],
            "id_token_auth_time",
        ),
    ] {
        let server = Server::new();
        let login = Login::start(&server).await;
        let mut claims = login.claims();
        for (claim, value) in changes {
            set(&mut claims, claim, value.clone());
        }
        login.grant_claims(&claims);
        let result = login.call_back().await;
        assert!(
            result
                .as_ref()
                .err()
                .is_none_or(|it| it.kind() == FlowErrorKind::Server),
            "{name}"
        );
        assert_eq!(code_of(result), code, "{name}");
        assert_eq!(server.requests("/userinfo").len(), 0, "{name}");
    }
}

#[tokio::test]
async fn a_nonce_with_different_case_is_rejected() {
    let login = Login::start(&Server::new()).await;
    let mut claims = login.claims();
    let nonce = claims["nonce"].as_str().unwrap();
    let swapped: String = nonce
        .chars()
        .map(|c| {
            if c.is_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect();
    set(&mut claims, "nonce", json!(swapped));
    login.grant_claims(&claims);
    assert_eq!(code_of(login.call_back().await), "id_token_nonce");
}

#[tokio::test]
async fn requested_max_age_and_acr_values_are_checked() {
    for (name, max_age, acr_values, changes, code) in [
        ("nothing requested", None, None, &[][..], "ok"),
        (
            "recent",
            Some(60),
            None,
            &[("auth_time", json!(NOW - 60))],
            "ok",
        ),
        (
            "within the leeway",
            Some(60),
            None,
            &[("auth_time", json!(NOW - 90))],
            "ok",
        ),
        (
            "right now",
            Some(0),
            None,
            &[("auth_time", json!(NOW))],
            "ok",
        ),
        ("no auth_time", Some(60), None, &[], "id_token_auth_time"),
        (
            "long ago",
            Some(60),
            None,
            &[("auth_time", json!(NOW - 91))],
            "id_token_authenticated_long_ago",
        ),
        (
            "gold",
            None,
            Some("gold silver"),
            &[("acr", json!("gold"))],
            "ok",
        ),
        (
            "silver",
            None,
            Some("gold silver"),
            &[("acr", json!("silver"))],
            "ok",
        ),
        (
            "lead",
            None,
            Some("gold"),
            &[("acr", json!("lead"))],
            "id_token_authentication_context",
        ),
        (
            "none",
            None,
            Some("gold"),
            &[],
            "id_token_authentication_context",
        ),
        (
            "a list",
            None,
            Some("gold"),
            &[("acr", json!(["gold"]))],
            "id_token_authentication_context",
        ),
    ] {
        let request = StartRequest {
            max_age,
            acr_values: acr_values.map(str::to_owned),
            ..Default::default()
        };
        let login = Login::start_with(&Server::new(), request).await;
        let mut claims = login.claims();
        for (claim, value) in changes {
            set(&mut claims, claim, value.clone());
        }
        login.grant_claims(&claims);
        assert_eq!(code_of(login.call_back().await), code, "{name}");
    }
}

#[tokio::test]
async fn time_on_the_consent_page_does_not_count_toward_max_age() {
    let request = StartRequest {
        max_age: Some(0),
        ..Default::default()
    };
    let login = Login::start_with(&Server::new(), request).await;
    let mut claims = login.claims();
    set(&mut claims, "auth_time", json!(NOW + 20));
    set(&mut claims, "iat", json!(NOW + 300));
    set(&mut claims, "exp", json!(NOW + 600));
    login.grant_claims(&claims);
    login.server.clock.advance(300);
    assert_eq!(code_of(login.call_back().await), "ok");
}

#[tokio::test]
async fn a_malformed_token_or_one_of_another_type_or_key_is_rejected() {
    for (name, header, code) in [
        (
            "type JWT",
            json!({ "alg": "EdDSA", "kid": "1", "typ": "JWT" }),
            "ok",
        ),
        (
            "type jwt",
            json!({ "alg": "Ed25519", "kid": "1", "typ": "application/jwt" }),
            "ok",
        ),
        ("no key id, one key", json!({ "alg": "EdDSA" }), "ok"),
        (
            "access token",
            json!({ "alg": "EdDSA", "kid": "1", "typ": "at+jwt" }),
            "id_token_type",
        ),
        (
            "logout token",
            json!({ "alg": "EdDSA", "kid": "1", "typ": "logout+jwt" }),
            "id_token_type",
        ),
        ("none", json!({ "alg": "none" }), "id_token_algorithm"),
        (
            "HMAC",
            json!({ "alg": "HS256", "kid": "1" }),
            "id_token_algorithm",
        ),
        ("no algorithm", json!({ "kid": "1" }), "id_token_algorithm"),
        (
            "not on the list",
            json!({ "alg": "RS512", "kid": "1" }),
            "id_token_algorithm",
        ),
        (
            "other algorithm",
            json!({ "alg": "ES256", "kid": "1" }),
            "id_token_key_unfit",
        ),
        (
            "other key",
            json!({ "alg": "EdDSA", "kid": "2" }),
            "id_token_key_unknown",
        ),
        (
            "nested",
            json!({ "alg": "EdDSA", "kid": "1", "cty": "JWT" }),
            "id_token_extension",
        ),
        (
            "critical",
            json!({ "alg": "EdDSA", "kid": "1", "crit": ["x"] }),
            "id_token_extension",
        ),
    ] {
        let login = Login::start(&Server::new()).await;
        login.grant(&login.server.sign(&header, &login.claims().to_string()));
        assert_eq!(code_of(login.call_back().await), code, "{name}");
    }
    let header = json!({ "alg": "EdDSA", "kid": "1" });
    let encoded = base64url::encode(b"{}");
    for (name, change, code) in [
        ("five parts", "five", "id_token_malformed"),
        ("no object", "list", "id_token_malformed"),
        ("a claim twice", "twice", "id_token_malformed"),
        ("long", "long", "id_token_too_long"),
        (
            "signature of another key",
            "signature",
            "id_token_signature",
        ),
    ] {
        let login = Login::start(&Server::new()).await;
        let good = login.claims().to_string();
        let sign = |claims: &str| login.server.sign(&header, claims);
        login.grant(&match change {
            "five" => format!("{}.{encoded}.{encoded}", sign(&good)),
            "list" => sign("[]"),
            "twice" => sign(&good.replacen('{', r#"{"sub":"bob","#, 1)),
            "long" => sign(&good.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(20_000)), 1)),
            _ => Server::new().sign(&header, &good),
        });
        assert_eq!(code_of(login.call_back().await), code, "{name}");
    }
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
