//! Optional members that serializers print for what is not set (`null`, `""`, `[]`), or that are malformed.

use http::StatusCode;
use serde_json::{Value, json};
use tower_oauth::testing::{Endpoint, Fault};

use crate::support::shop::*;

/// Signs in with these faults. Returns the status and code of an error, or the greeting.
async fn sign_in(faults: Vec<(Endpoint, Fault)>) -> Result<String, (StatusCode, String)> {
    let shop = Shop::new();
    for (endpoint, fault) in faults {
        shop.server.fail(endpoint, fault);
    }
    let mut jar = Jar::default();
    let mut answer = shop.send(Ask::page("/auth/login").jar(&jar)).await;
    if answer.status == StatusCode::SEE_OTHER {
        jar.take(&answer);
        let callback = shop.approve(answer.location(), "alice").await;
        answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    }
    jar.take(&answer);
    match answer.status {
        StatusCode::SEE_OTHER => Ok(shop.greeting(&jar).await),
        status => Err((status, answer.text())),
    }
}

#[tokio::test]
async fn an_unset_member_counts_as_absent() {
    for text in ["null", r#""""#, "[]"] {
        let value: Value = serde_json::from_str(text).unwrap();
        let member = |name: &str| Fault::member(name, value.clone());
        let mut cases: Vec<(&str, Endpoint, Fault)> = Vec::new();
        for name in [
            "userinfo_endpoint",
            "end_session_endpoint",
            "introspection_endpoint",
            "revocation_endpoint",
            "prompt_values_supported",
            "code_challenge_methods_supported",
            "token_endpoint_auth_methods_supported",
            "authorization_response_iss_parameter_supported",
            "require_pushed_authorization_requests",
            "require_signed_request_object",
        ] {
            cases.push((name, Endpoint::Metadata, member(name)));
        }
        for name in [
            "refresh_token",
            "refresh_expires_in",
            "expires_in",
            "scope",
            "error",
            "error_description",
        ] {
            cases.push((name, Endpoint::Token, member(name)));
        }
        for name in [
            "nbf",
            "auth_time",
            "azp",
            "at_hash",
            "c_hash",
            "s_hash",
            "acr",
            "amr",
            "sid",
        ] {
            let fault = Fault::id_token(move |mint| mint.with_raw_claim(name, text));
            cases.push((name, Endpoint::Token, fault));
        }
        for (name, endpoint, fault) in cases {
            let outcome = sign_in(vec![(endpoint, fault)]).await;
            assert_eq!(outcome, Ok("hello alice".to_owned()), "{name}: {text}");
        }
        // We sent a nonce, and requested an ID token.
        let fault = Fault::id_token(move |mint| mint.with_raw_claim("nonce", text));
        for fault in [
            fault,
            member("id_token"),
            member("access_token"),
            member("token_type"),
        ] {
            let (status, body) = sign_in(vec![(Endpoint::Token, fault)]).await.unwrap_err();
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{text}: {body}");
        }
    }
}

/// A malformed member that nothing of the login depends on costs nothing. One that raises its protection is not ignored:
/// the secret would be sent by a method that the server may not have, or a check would be omitted.
#[tokio::test]
async fn a_malformed_member_fails_only_what_needs_it() {
    let greeting = Ok("hello alice".to_owned());
    for (name, value) in [
        ("userinfo_endpoint", json!("/userinfo")),
        ("end_session_endpoint", json!({})),
        ("introspection_endpoint", json!(1)),
        (
            "revocation_endpoint",
            json!("http://id.example.test/revoke"),
        ),
        ("prompt_values_supported", json!("none")),
    ] {
        let outcome = sign_in(vec![(Endpoint::Metadata, Fault::member(name, value))]).await;
        assert_eq!(outcome, greeting, "{name}");
    }
    for (name, value) in [
        ("refresh_token", json!({})),
        ("refresh_token", json!("printable, with spaces")),
        ("expires_in", json!(-1)),
        ("scope", json!(7)),
    ] {
        let outcome = sign_in(vec![(Endpoint::Token, Fault::member(name, value))]).await;
        assert_eq!(outcome, greeting, "{name}");
    }
    for text in [r#""1700000000""#, "true", "{}"] {
        let fault = Fault::id_token(move |mint| mint.with_raw_claim("auth_time", text));
        assert_eq!(
            sign_in(vec![(Endpoint::Token, fault)]).await,
            greeting,
            "{text}"
        );
    }
    for (name, value) in [
        ("token_endpoint", json!("http://id.example.test/token")),
        ("authorization_endpoint", json!("/authorize")),
        (
            "token_endpoint_auth_methods_supported",
            json!("private_key_jwt"),
        ),
        ("code_challenge_methods_supported", json!(["S256", 7])),
        (
            "authorization_response_iss_parameter_supported",
            json!("true"),
        ),
        ("require_pushed_authorization_requests", json!("yes")),
        ("require_signed_request_object", json!(1)),
    ] {
        let outcome = sign_in(vec![(Endpoint::Metadata, Fault::member(name, value))]).await;
        let (status, _) = outcome.unwrap_err();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
    }
}
