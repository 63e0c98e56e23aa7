use std::time::Duration;

use serde_json::{Value, json};

use super::support::{ISSUER, Login, NOW, Server, sign_in};
use crate::crypto::{Algorithm, SigningKey};
use crate::flow::{Flow, RefreshFailure, Refreshed};
use crate::issuer::Client;
use crate::protocol::form;
use crate::record::SessionRecord;
use crate::token::id_token::half_hash;

const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----";

/// Returns the name of a failure and the code of its error.
fn name_of(result: Result<Refreshed, RefreshFailure>) -> (&'static str, &'static str) {
    match result {
        Ok(_) => ("ok", "ok"),
        Err(failure) => {
            let code = failure.error().code();
            let name = match failure {
                RefreshFailure::Refused(_) => "refused",
                RefreshFailure::OtherSubject(_) => "other subject",
                RefreshFailure::Misconfigured(_) => "misconfigured",
                RefreshFailure::Unavailable(_) => "unavailable",
                RefreshFailure::Unclear(_) => "unclear",
            };
            (name, code)
        }
    }
}

/// Returns a token response with these members added or replaced.
fn response(members: &Value) -> String {
    let mut body = json!({ "access_token": "a2", "token_type": "Bearer", "expires_in": 300 });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// Signs alice in with a token response that has these members.
async fn signed_in_with(server: &Server, members: Value) -> (Flow, SessionRecord) {
    let login = Login::start(server).await;
    let header = json!({ "alg": "EdDSA", "kid": "1" });
    let mut body = json!({
        "access_token": "a1", "token_type": "Bearer", "expires_in": 300, "refresh_token": "r1",
        "id_token": server.sign(&header, &login.claims().to_string()),
    });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    server.answer_token_request(200, &body.to_string());
    let flow = login.flow.clone();
    (flow, login.call_back().await.unwrap())
}

/// Returns the parameters of all token requests after the login.
fn refreshes(server: &Server) -> Vec<Vec<(String, String)>> {
    let requests = server.requests("/token").into_iter().skip(1);
    requests
        .map(|request| form::parse(std::str::from_utf8(request.body()).unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn the_request_contains_only_the_refresh_token_and_client_authentication() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    server.answer_token_request(200, &response(&json!({})));
    flow.refresh(&record).await.unwrap();
    let requests = server.requests("/token");
    assert_eq!(requests.len(), 2);
    let request = &requests[1];
    assert_eq!(request.method(), http::Method::POST);
    assert_eq!(request.headers()["authorization"], "Basic c2hvcDpzZWNyZXQ=");
    assert_eq!(
        request.body(),
        "grant_type=refresh_token&refresh_token=the-refresh-token&client_id=shop"
    );
}

#[tokio::test]
async fn each_refresh_has_a_new_client_assertion() {
    let server = Server::new();
    let (_, record) = sign_in(&server).await;
    let key = SigningKey::from_pem(KEY).unwrap();
    let flow = server.flow_of(Client::private_key_jwt("shop", key));
    server.answer_token_request(200, &response(&json!({})));
    flow.refresh(&record).await.unwrap();
    flow.refresh(&record).await.unwrap();
    let assertions: Vec<String> = refreshes(&server)
        .into_iter()
        .flatten()
        .filter(|(name, _)| name == "client_assertion")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(assertions.len(), 2);
    assert_ne!(assertions[0], assertions[1]);
}

#[tokio::test]
async fn failures_are_classified_by_the_state_of_the_refresh_token() {
    let huge = "x".repeat((1 << 20) + 1);
    for (name, status, body, expected) in [
        (
            "invalid_grant",
            400,
            r#"{"error":"invalid_grant"}"#,
            ("refused", "refresh_refused"),
        ),
        (
            "Keycloak, an expired JWT",
            400,
            r#"{"error":"JwtToken"}"#,
            ("refused", "refresh_refused"),
        ),
        (
            "GitHub, with status 200",
            200,
            r#"{"error":"bad_refresh_token"}"#,
            ("refused", "refresh_refused"),
        ),
        (
            "Entra, a policy",
            400,
            r#"{"error":"interaction_required"}"#,
            ("refused", "refresh_refused"),
        ),
        (
            "invalid_client",
            401,
            r#"{"error":"invalid_client"}"#,
            ("misconfigured", "client_refused"),
        ),
        (
            "unauthorized_client",
            400,
            r#"{"error":"unauthorized_client"}"#,
            ("misconfigured", "client_refused"),
        ),
        (
            "unsupported_grant_type",
            400,
            r#"{"error":"unsupported_grant_type"}"#,
            ("misconfigured", "client_refused"),
        ),
        (
            "invalid_scope",
            400,
            r#"{"error":"invalid_scope"}"#,
            ("misconfigured", "client_refused"),
        ),
        (
            "invalid_request",
            400,
            r#"{"error":"invalid_request"}"#,
            ("misconfigured", "token_endpoint_error"),
        ),
        (
            "access_denied by a policy",
            400,
            r#"{"error":"access_denied"}"#,
            ("misconfigured", "token_endpoint_error"),
        ),
        (
            "an unknown error",
            400,
            r#"{"error":"invalid_grants"}"#,
            ("misconfigured", "token_endpoint_error"),
        ),
        (
            "an error that is not a string",
            400,
            r#"{"error":{"a":"invalid_grant"}}"#,
            ("misconfigured", "token_endpoint_error"),
        ),
        (
            "use_dpop_nonce",
            400,
            r#"{"error":"use_dpop_nonce"}"#,
            ("misconfigured", "token_endpoint_error"),
        ),
        (
            "400 of a proxy",
            400,
            "<html>",
            ("misconfigured", "token_endpoint_status"),
        ),
        ("401", 401, "", ("misconfigured", "token_endpoint_status")),
        (
            "a redirect",
            302,
            "",
            ("misconfigured", "token_endpoint_status"),
        ),
        (
            "a timeout of a proxy",
            408,
            "",
            ("unclear", "token_endpoint_status"),
        ),
        (
            "429",
            429,
            "",
            ("unavailable", "token_endpoint_unavailable"),
        ),
        (
            "503",
            503,
            "<html>",
            ("unavailable", "token_endpoint_unavailable"),
        ),
        (
            "temporarily_unavailable",
            503,
            r#"{"error":"temporarily_unavailable"}"#,
            ("unavailable", "token_endpoint_busy"),
        ),
        (
            "server_error",
            500,
            r#"{"error":"server_error"}"#,
            ("unclear", "token_endpoint_error"),
        ),
        ("500", 500, "", ("unclear", "token_endpoint_unavailable")),
        (
            "502",
            502,
            "<html>",
            ("unclear", "token_endpoint_unavailable"),
        ),
        (
            "another success",
            201,
            r#"{"access_token":"a","token_type":"Bearer"}"#,
            ("unclear", "token_endpoint_status"),
        ),
        (
            "a page",
            200,
            "<html>",
            ("unclear", "token_response_malformed"),
        ),
        ("empty", 200, "", ("unclear", "token_response_malformed")),
        (
            "no type",
            200,
            r#"{"access_token":"a"}"#,
            ("unclear", "token_type"),
        ),
        (
            "DPoP",
            200,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            ("unclear", "token_type"),
        ),
        (
            "CRLF",
            200,
            r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#,
            ("unclear", "token_response_member"),
        ),
        (
            "a refresh token that is empty",
            200,
            r#"{"access_token":"a","token_type":"Bearer","refresh_token":""}"#,
            ("unclear", "token_response_member"),
        ),
        (
            "a scope that is a number",
            200,
            r#"{"access_token":"a","token_type":"Bearer","scope":1}"#,
            ("unclear", "token_response_member"),
        ),
        (
            "twice",
            200,
            r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
            ("unclear", "token_response_malformed"),
        ),
        (
            "more than 1 MiB",
            200,
            &huge,
            ("unclear", "token_response_too_large"),
        ),
    ] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        server.answer_token_request(status, body);
        assert_eq!(name_of(flow.refresh(&record).await), expected, "{name}");
        assert_eq!(refreshes(&server).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_refresh_without_endpoint_or_refresh_token_sends_no_request() {
    for (endpoint, expected) in [
        (json!(null), ("misconfigured", "no_token_endpoint")),
        (
            json!("http://id.example.com/token"),
            ("unavailable", "metadata_unavailable"),
        ),
    ] {
        let server = Server::new();
        let (_, record) = sign_in(&server).await;
        server.set_metadata("token_endpoint", endpoint);
        // A new handle that has not fetched the metadata.
        let flow = server.flow();
        assert_eq!(name_of(flow.refresh(&record).await), expected);
        assert_eq!(refreshes(&server).len(), 0);
    }
    let server = Server::new();
    let (flow, record) = signed_in_with(&server, json!({ "refresh_token": null })).await;
    assert_eq!(
        name_of(flow.refresh(&record).await),
        ("refused", "no_refresh_token")
    );
    assert_eq!(refreshes(&server).len(), 0);
}

#[tokio::test]
async fn retry_after_of_the_response_is_reported() {
    for (status, field, seconds) in [
        (503, "120", Some(120)),
        (429, "0", Some(0)),
        (500, "7", Some(7)),
        (503, "soon", Some(5)),
        (503, "-1", Some(5)),
        (400, "120", None),
    ] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        server.answer_token_request(status, "");
        server.set_retry_after(field);
        let failure = flow.refresh(&record).await.unwrap_err();
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(failure.error().retry_after(), expected, "{status} {field}");
    }
}

/// RFC 6749 §5.1, §6.
#[tokio::test]
async fn omitted_members_keep_their_value_or_use_the_default() {
    let rotated = json!({ "refresh_token": "r2", "refresh_expires_in": 1800 });
    let rotated_without_end = json!({ "refresh_token": "r2" });
    for (name, members, refresh_token, refresh_end, token_end) in [
        ("nothing new", json!({}), "r1", Some(3600), 300),
        ("rotated", rotated, "r2", Some(1810), 300),
        (
            "rotated, without a lifetime",
            rotated_without_end,
            "r2",
            None,
            300,
        ),
        (
            "a new lifetime of the old refresh token",
            json!({ "refresh_expires_in": 7200 }),
            "r1",
            Some(7210),
            300,
        ),
        (
            "without expires_in",
            json!({ "expires_in": null }),
            "r1",
            Some(3600),
            120,
        ),
        (
            "an invalid lifetime",
            json!({ "refresh_token": "r2", "refresh_expires_in": "never" }),
            "r2",
            None,
            300,
        ),
    ] {
        let server = Server::new();
        let granted = json!({ "refresh_expires_in": 3600 });
        let (flow, record) = signed_in_with(&server, granted).await;
        let flow = flow.with_default_token_lifetime(Duration::from_secs(120));
        assert_eq!(record.tokens().refresh_token_expires_at, Some(NOW + 3600));
        server.answer_token_request(200, &response(&members));
        server.clock.advance(10);
        let refreshed = flow.refresh(&record).await.unwrap();
        let after = refreshed.applied_to(&record, 7);
        assert_eq!(after.tokens().access_token.expose(), "a2", "{name}");
        assert_eq!(
            after.tokens().access_token_expires_at,
            NOW + 10 + token_end,
            "{name}"
        );
        let kept = after
            .tokens()
            .refresh_token
            .as_ref()
            .map(|token| token.expose());
        assert_eq!(kept, Some(refresh_token), "{name}");
        let end = refresh_end.map(|end| NOW + end);
        assert_eq!(after.tokens().refresh_token_expires_at, end, "{name}");
        assert_eq!(after.generation(), 7, "{name}");
        assert_eq!(after.id(), record.id(), "{name}");
        assert_eq!(after.claims().as_json(), record.claims().as_json());
        assert_eq!(after.tokens().id_token, record.tokens().id_token);
        assert_eq!(after.created_at(), record.created_at());
    }
}

/// RFC 6749 §6: a refresh cannot add scopes.
#[tokio::test]
async fn a_refresh_can_remove_scopes_but_not_add_any() {
    for (name, scope, left) in [
        (
            "not mentioned",
            json!(null),
            "openid notes:read notes:write",
        ),
        (
            "the same",
            json!("notes:write notes:read openid"),
            "openid notes:read notes:write",
        ),
        ("fewer", json!("openid notes:read"), "openid notes:read"),
        ("none", json!(""), ""),
        (
            "more",
            json!("openid notes:read notes:write admin"),
            "openid notes:read notes:write",
        ),
        ("others", json!("admin"), ""),
        ("a list", json!(["notes:read", "admin"]), "notes:read"),
        ("another case", json!("Notes:read"), ""),
    ] {
        let server = Server::new();
        let granted = json!({ "scope": "openid notes:read notes:write" });
        let (flow, record) = signed_in_with(&server, granted).await;
        server.answer_token_request(200, &response(&json!({ "scope": scope })));
        let once = flow.refresh(&record).await.unwrap().applied_to(&record, 1);
        assert_eq!(once.tokens().scopes.to_string(), left, "{name}");
        server.answer_token_request(
            200,
            &response(&json!({ "scope": "openid notes:read notes:write" })),
        );
        let twice = flow.refresh(&once).await.unwrap().applied_to(&once, 2);
        assert_eq!(
            twice.tokens().scopes.to_string(),
            left,
            "{name}: removed for good"
        );
    }
}

/// Signs in with the first changes to the claims of the ID token and refreshes with the second.
async fn refresh_with_id_token(
    first: &[(&str, Value)],
    second: &[(&str, Value)],
) -> (&'static str, &'static str) {
    let server = Server::new();
    let login = Login::start(&server).await;
    let change = |claims: &mut Value, changes: &[(&str, Value)]| {
        for (name, value) in changes {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
    };
    let mut claims = login.claims();
    change(&mut claims, first);
    login.grant_claims(&claims);
    let flow = login.flow.clone();
    let record = login.call_back().await.unwrap();

    server.clock.advance(3000);
    claims["iat"] = json!(NOW + 3000);
    claims["exp"] = json!(NOW + 3300);
    change(&mut claims, second);
    let header = json!({ "alg": "EdDSA", "kid": "1" });
    let id_token = server.sign(&header, &claims.to_string());
    server.answer_token_request(200, &response(&json!({ "id_token": id_token })));
    let outcome = flow.refresh(&record).await;
    if let Ok(refreshed) = &outcome {
        let after = refreshed.applied_to(&record, 1);
        assert_eq!(after.tokens().id_token.as_ref().unwrap().expose(), id_token);
        assert_eq!(after.claims().as_json(), record.claims().as_json());
    }
    name_of(outcome)
}

/// OpenID Connect Core §12.2.
#[tokio::test]
async fn the_id_token_of_a_refresh_must_match_that_of_the_login() {
    let good = ("ok", "ok");
    let other = |code| ("other subject", code);
    let unclear = |code| ("unclear", code);
    let at_hash = |token: &str| json!(half_hash(Algorithm::EdDsa, token.as_bytes()));
    for (name, first, second, expected) in [
        ("the same nonce", vec![], vec![], good),
        ("no nonce", vec![], vec![("nonce", json!(null))], good),
        (
            "another nonce",
            vec![],
            vec![("nonce", json!("n"))],
            unclear("id_token_nonce"),
        ),
        (
            "a nonce that is not a string",
            vec![],
            vec![("nonce", json!(1))],
            unclear("id_token_nonce"),
        ),
        (
            "another subject",
            vec![],
            vec![("sub", json!("mallory"))],
            other("id_token_other_subject"),
        ),
        (
            "a subject with different case",
            vec![],
            vec![("sub", json!("Alice"))],
            other("id_token_other_subject"),
        ),
        (
            "no subject",
            vec![],
            vec![("sub", json!(null))],
            unclear("id_token_subject"),
        ),
        (
            "another issuer",
            vec![],
            vec![("iss", json!(format!("{ISSUER}/")))],
            other("id_token_issuer"),
        ),
        (
            "for another client",
            vec![],
            vec![("aud", json!("other"))],
            other("id_token_audience"),
        ),
        (
            "for additional audiences",
            vec![],
            vec![("aud", json!(["shop", "other"])), ("azp", json!("shop"))],
            other("id_token_untrusted_audience"),
        ),
        (
            "aud as a list",
            vec![],
            vec![("aud", json!(["shop"]))],
            good,
        ),
        (
            "issued to another client",
            vec![],
            vec![("azp", json!("other"))],
            other("id_token_authorized_party"),
        ),
        (
            "the same auth_time",
            vec![("auth_time", json!(NOW - 60))],
            vec![],
            good,
        ),
        (
            "auth_time omitted",
            vec![("auth_time", json!(NOW - 60))],
            vec![("auth_time", json!(null))],
            good,
        ),
        (
            "auth_time of the refresh",
            vec![("auth_time", json!(NOW - 60))],
            vec![("auth_time", json!(NOW + 3000))],
            unclear("id_token_other_auth_time"),
        ),
        (
            "auth_time added, of the login",
            vec![],
            vec![("auth_time", json!(NOW))],
            good,
        ),
        (
            "auth_time added, of the refresh",
            vec![],
            vec![("auth_time", json!(NOW + 3000))],
            unclear("id_token_other_auth_time"),
        ),
        (
            "auth_time that is not a number",
            vec![],
            vec![("auth_time", json!("now"))],
            unclear("id_token_auth_time"),
        ),
        (
            "the ID token of the login again",
            vec![],
            vec![("iat", json!(NOW)), ("exp", json!(NOW + 9000))],
            unclear("id_token_issued_long_ago"),
        ),
        (
            "no iat",
            vec![],
            vec![("iat", json!(null))],
            unclear("id_token_issued_at"),
        ),
        (
            "expired",
            vec![],
            vec![("exp", json!(NOW + 2900))],
            unclear("id_token_expired"),
        ),
        ("at_hash", vec![], vec![("at_hash", at_hash("a2"))], good),
        (
            "at_hash of another token",
            vec![],
            vec![("at_hash", at_hash("a1"))],
            unclear("id_token_access_token_hash"),
        ),
    ] {
        let outcome = refresh_with_id_token(&first, &second).await;
        assert_eq!(outcome, expected, "{name}");
    }
}

#[tokio::test]
async fn a_response_whose_id_token_is_not_signed_by_the_server_is_rejected() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    let other_server = Server::new();
    let header = json!({ "alg": "EdDSA", "kid": "1" });
    let claims =
        json!({ "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW });
    for (id_token, code) in [
        (
            other_server.sign(&header, &claims.to_string()),
            "id_token_signature",
        ),
        ("a.b.c".to_owned(), "id_token_malformed"),
        (
            server.sign(&json!({ "alg": "none" }), &claims.to_string()),
            "id_token_algorithm",
        ),
    ] {
        server.answer_token_request(200, &response(&json!({ "id_token": id_token })));
        assert_eq!(name_of(flow.refresh(&record).await), ("unclear", code));
    }
}

#[tokio::test]
async fn without_keys_a_rotated_refresh_token_is_kept_and_other_subjects_are_rejected() {
    let server = Server::new();
    let (_, record) = sign_in(&server).await;
    server.set_metadata("jwks_uri", json!(format!("{ISSUER}/nowhere")));
    let flow = server.flow();
    let header = json!({ "alg": "EdDSA", "kid": "1" });
    let claims = |sub: &str, aud: &str| {
        let claims = json!({ "iss": ISSUER, "sub": sub, "aud": aud, "exp": NOW + 300, "iat": NOW });
        let id_token = server.sign(&header, &claims.to_string());
        response(&json!({ "id_token": id_token, "refresh_token": "r2" }))
    };
    server.answer_token_request(200, &claims("alice", "shop"));
    let after = flow.refresh(&record).await.unwrap().applied_to(&record, 1);
    assert_eq!(
        after.tokens().refresh_token.as_ref().unwrap().expose(),
        "r2"
    );
    assert_eq!(after.tokens().id_token, record.tokens().id_token);

    server.answer_token_request(200, &claims("mallory", "shop"));
    let outcome = name_of(flow.refresh(&record).await);
    assert_eq!(outcome, ("other subject", "id_token_other_subject"));
    server.answer_token_request(200, &claims("alice", "other"));
    let outcome = name_of(flow.refresh(&record).await);
    assert_eq!(outcome, ("other subject", "id_token_audience"));
}
