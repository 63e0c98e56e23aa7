use serde_json::json;

use super::support::{ISSUER, Login, NOW, Server, code_of, sign_in, sign_in_with};
use crate::crypto::Algorithm;
use crate::flow::StartRequest;
use crate::token::id_token::half_hash;

/// `token::id_token` has the rules; these are the values that the flow passes to them.
#[tokio::test]
async fn the_id_token_is_verified_for_this_login() {
    let half = |value: &str| half_hash(Algorithm::EdDsa, value.as_bytes());
    for (changes, code) in [
        (json!({ "nonce": "other" }), "id_token_nonce"),
        (json!({ "aud": "other" }), "id_token_audience"),
        (json!({ "at_hash": half("the-access-token") }), "ok"),
        (
            json!({ "at_hash": half("other") }),
            "id_token_access_token_hash",
        ),
        (json!({ "c_hash": half("the-code") }), "ok"),
        (json!({ "c_hash": half("other") }), "id_token_code_hash"),
        (json!({ "s_hash": half("other") }), "id_token_state_hash"),
        (json!({ "auth_time": null }), "id_token_auth_time"),
        (
            json!({ "auth_time": NOW - 91 }),
            "id_token_authenticated_long_ago",
        ),
        (json!({ "acr": "lead" }), "id_token_authentication_context"),
        // Measured from the start of the login, so that time on the consent page does not count.
        (
            json!({ "auth_time": NOW - 60, "iat": NOW + 300, "exp": NOW + 600 }),
            "ok",
        ),
    ] {
        let server = Server::new();
        let request = StartRequest {
            max_age: Some(60),
            acr_values: Some("gold".into()),
            ..Default::default()
        };
        let login = Login::start_with(&server, server.flow(), request).await;
        let mut claims = json!({ "auth_time": NOW, "acr": "gold" });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        login.grant(&claims);
        if changes.get("iat").is_some() {
            server.clock.advance(300);
        }
        assert_eq!(code_of(login.call_back().await), code, "{changes}");
        assert_eq!(server.requests("/userinfo").len(), 0, "{changes}");
    }
}

/// RFC 6749 §5.1.
#[tokio::test]
async fn scopes_and_lifetime_of_the_access_token_are_those_of_the_response() {
    for (members, scopes, lifetime) in [
        (json!({ "expires_in": null }), "openid", 300),
        (json!({ "scope": "" }), "openid", 600),
        (json!({ "scope": {}, "expires_in": -1 }), "", 60),
        (
            json!({ "scope": "openid admin", "expires_in": 60 }),
            "openid admin",
            60,
        ),
        (
            json!({ "scope": ["openid"], "expires_in": "60" }),
            "openid",
            60,
        ),
    ] {
        let (_, record) = sign_in_with(&Server::new(), &members).await;
        let tokens = record.tokens();
        assert_eq!(tokens.scopes.to_string(), scopes, "{members}");
        let expires_at = NOW + lifetime;
        assert_eq!(tokens.access_token_expires_at, expires_at, "{members}");
    }
}

#[tokio::test]
async fn two_logins_of_a_user_are_two_sessions() {
    let server = Server::new();
    let (_, one) = sign_in(&server).await;
    let (_, two) = sign_in(&server).await;
    assert_ne!(one.id(), two.id());
}

/// A user who was not identified has no use for the tokens, which the server may have issued for months.
#[tokio::test]
async fn tokens_beside_an_id_token_that_is_rejected_are_revoked() {
    for (members, code) in [
        (json!({}), "ok"),
        (json!({ "id_token": null }), "id_token_missing"),
        (json!({ "id_token": "a.b.c" }), "id_token_malformed"),
        (
            json!({ "id_token": { "nonce": "other" } }),
            "id_token_nonce",
        ),
    ] {
        let server = Server::new();
        server.set_metadata(&json!({ "revocation_endpoint": format!("{ISSUER}/revoke") }));
        let login = Login::start(&server).await;
        let id_token = match members.get("id_token") {
            None => login.id_token(&json!({})).into(),
            Some(claims) if claims.is_object() => login.id_token(claims).into(),
            Some(other) => other.clone(),
        };
        server.grant(&json!({ "id_token": id_token }));
        assert_eq!(code_of(login.call_back().await), code, "{members}");
        let forms = server.forms("/revoke").into_iter();
        let tokens = forms.map(|form| form.into_iter().find(|(name, _)| name == "token"));
        let tokens: Vec<_> = tokens.map(|token| token.unwrap().1).collect();
        let expected: &[&str] = match code {
            "ok" => &[],
            _ => &["the-refresh-token", "the-access-token"],
        };
        assert_eq!(tokens, expected, "{members}");
    }
}
