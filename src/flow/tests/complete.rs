use http::header::AUTHORIZATION;
use serde_json::json;

use super::support::{ISSUER, Login, NOW, REDIRECT_URI, Server, code_of, sign_in};
use crate::flow::{FlowErrorKind, StartRequest};
use crate::issuer::Client;
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::protocol::{State, form};

#[tokio::test]
async fn a_code_is_redeemed_with_one_token_request() {
    let server = Server::new();
    let login = Login::start(&server).await;
    login.grant_claims(&login.claims());
    let verifier = login.started.transaction.verifier.expose().to_owned();
    let record = login.call_back().await.unwrap();

    assert_eq!((record.issuer(), record.subject()), (ISSUER, "alice"));
    assert_eq!((record.created_at(), record.last_seen()), (NOW, NOW));
    assert!(record.tokens().scopes.contains("openid"));

    let requests = server.requests("/token");
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].headers()[AUTHORIZATION],
        "Basic c2hvcDpzZWNyZXQ="
    );
    let body = form::parse(std::str::from_utf8(requests[0].body()).unwrap()).unwrap();
    let expected = [
        ("grant_type", "authorization_code"),
        ("code", "the-code"),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", &verifier),
        ("client_id", "shop"),
    ];
    assert_eq!(
        body,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn clients_authenticate_in_the_body_or_not_at_all_if_configured() {
    for (client, secret) in [
        (Client::confidential_post("shop", "s e"), Some("s e")),
        (Client::public("shop"), None),
    ] {
        let server = Server::new();
        let flow = server.flow_of(client);
        let started = flow.start(StartRequest::default()).await.unwrap();
        let login = Login {
            server: server.clone(),
            flow,
            started,
        };
        login.grant_claims(&login.claims());
        login.call_back().await.unwrap();
        let request = &server.requests("/token")[0];
        assert!(!request.headers().contains_key(AUTHORIZATION));
        let body = form::parse(std::str::from_utf8(request.body()).unwrap()).unwrap();
        let sent = body.iter().find(|(name, _)| name == "client_secret");
        assert_eq!(sent.map(|(_, value)| &**value), secret);
        assert!(body.contains(&("client_id".into(), "shop".into())));
    }
}

#[tokio::test]
async fn a_response_that_does_not_match_its_transaction_causes_no_request() {
    for (name, code) in [
        ("state", "state_mismatch"),
        ("age", "transaction_expired"),
        ("issuer", "transaction_elsewhere"),
        ("redirect URI", "transaction_elsewhere"),
    ] {
        let server = Server::new();
        let mut login = Login::start(&server).await;
        let before = server.count();
        let transaction = &mut login.started.transaction;
        let query = form::encode([("state", transaction.state.expose()), ("code", "c")]);
        match name {
            "state" => transaction.state = State::new("another"),
            "age" => server.clock.advance(600),
            "issuer" => transaction.issuer.push('/'),
            _ => transaction.redirect_uri.push('2'),
        }
        let response = AuthorizationResponse::parse(&query).unwrap();
        let error = login
            .flow
            .accept(login.started.transaction, response)
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            (code, FlowErrorKind::Request),
            "{name}"
        );
        assert_eq!(server.count(), before, "{name}");
    }
}

#[tokio::test]
async fn the_issuer_of_a_response_must_be_the_expected_one() {
    let slash = format!("{ISSUER}/");
    let port = format!("{ISSUER}:443");
    for (name, announced, parameters, code) in [
        ("right", true, &[("iss", ISSUER), ("code", "c")][..], "ok"),
        (
            "right, not announced",
            false,
            &[("iss", ISSUER), ("code", "c")],
            "ok",
        ),
        ("missing, not announced", false, &[("code", "c")], "ok"),
        ("missing", true, &[("code", "c")], "issuer_missing"),
        (
            "missing with an error",
            true,
            &[("error", "access_denied")],
            "issuer_missing",
        ),
        (
            "another",
            false,
            &[("iss", "https://evil.example"), ("code", "c")],
            "issuer_mismatch",
        ),
        (
            "another with an error",
            false,
            &[("iss", "x"), ("error", "x")],
            "issuer_mismatch",
        ),
        (
            "trailing slash",
            true,
            &[("iss", &slash), ("code", "c")],
            "issuer_mismatch",
        ),
        (
            "port",
            true,
            &[("iss", &port), ("code", "c")],
            "issuer_mismatch",
        ),
        (
            "case",
            true,
            &[("iss", "https://ID.example.com"), ("code", "c")],
            "issuer_mismatch",
        ),
    ] {
        let server = Server::new();
        server.set_metadata(
            "authorization_response_iss_parameter_supported",
            json!(announced),
        );
        let login = Login::start(&server).await;
        login.grant_claims(&login.claims());
        assert_eq!(
            code_of(login.call_back_with(parameters).await),
            code,
            "{name}"
        );
        assert_eq!(
            server.requests("/token").len(),
            usize::from(code == "ok"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn error_responses_are_classified_and_cause_no_token_request() {
    use FlowErrorKind::*;
    for (prompt, error, code, kind) in [
        (None, "access_denied", "access_denied", Refused),
        (None, "<script>", "authorization_error", Refused),
        (None, "server_error", "authorization_server_error", Refused),
        (
            None,
            "temporarily_unavailable",
            "authorization_server_busy",
            Refused,
        ),
        (None, "login_required", "authorization_error", Refused),
        (Some("none"), "login_required", "not_signed_in", NotSignedIn),
        (
            Some("none"),
            "interaction_required",
            "not_signed_in",
            NotSignedIn,
        ),
        (
            Some("none"),
            "consent_required",
            "not_signed_in",
            NotSignedIn,
        ),
        (
            Some("none"),
            "account_selection_required",
            "not_signed_in",
            NotSignedIn,
        ),
        (Some("none"), "access_denied", "access_denied", Refused),
    ] {
        let server = super::support::Server::new();
        let request = StartRequest {
            prompt: prompt.map(str::to_owned),
            ..Default::default()
        };
        let login = Login::start_with(&server, request).await;
        let parameters = [
            ("error", error),
            ("error_description", "why"),
            ("code", "c"),
        ];
        let refusal = login.call_back_with(&parameters).await.unwrap_err();
        assert_eq!((refusal.code(), refusal.kind()), (code, kind), "{error}");
        assert_eq!(refusal.oauth_error().unwrap().as_str(), error);
        assert_eq!(refusal.description(), Some("why"));
        assert_eq!(server.requests("/token").len(), 0, "{error}");
    }
    let server = super::support::Server::new();
    let login = Login::start(&server).await;
    assert_eq!(code_of(login.call_back_with(&[]).await), "code_missing");
    assert_eq!(server.requests("/token").len(), 0);
}

#[tokio::test]
async fn a_failed_token_request_is_classified_and_never_retried() {
    use FlowErrorKind::*;
    for (status, body, code, kind) in [
        (400, r#"{"error":"invalid_grant"}"#, "code_refused", Request),
        (
            401,
            r#"{"error":"invalid_client"}"#,
            "client_refused",
            Configuration,
        ),
        (
            400,
            r#"{"error":"unauthorized_client"}"#,
            "client_refused",
            Configuration,
        ),
        (
            400,
            r#"{"error":"invalid_request"}"#,
            "token_endpoint_error",
            Server,
        ),
        (
            200,
            r#"{"error":"bad_verification_code"}"#,
            "token_endpoint_error",
            Server,
        ),
        (400, "<html>", "token_endpoint_status", Server),
        (302, "", "token_endpoint_status", Server),
        (429, "", "token_endpoint_unavailable", Unavailable),
        (500, "", "token_endpoint_unavailable", Unavailable),
        (502, "<html>", "token_endpoint_unavailable", Unavailable),
        (200, "<html>", "token_response_malformed", Server),
        (
            200,
            r#"{"access_token":"a","token_type":"mac"}"#,
            "token_type",
            Server,
        ),
        (
            200,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            "token_response_member",
            Server,
        ),
        (
            200,
            r#"{"access_token":"a","token_type":"Bearer"}"#,
            "id_token_missing",
            Server,
        ),
    ] {
        let server = super::support::Server::new();
        let login = Login::start(&server).await;
        server.answer_token_request(status, body);
        let error = login.call_back().await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            (code, kind),
            "{status} {body}"
        );
        assert_eq!(
            error.retry_after().is_some(),
            kind == Unavailable,
            "{status} {body}"
        );
        assert_eq!(server.requests("/token").len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn scopes_and_lifetime_of_the_access_token_are_those_of_the_response() {
    for (members, scopes, lifetime) in [
        (json!({}), "openid", 300),
        (json!({ "scope": "" }), "", 300),
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
        let server = Server::new();
        let login = Login::start(&server).await;
        let header = json!({ "alg": "EdDSA", "kid": "1" });
        let mut body = json!({
            "access_token": "a", "token_type": "bearer",
            "id_token": server.sign(&header, &login.claims().to_string()),
        });
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        server.answer_token_request(200, &body.to_string());
        let record = login.call_back().await.unwrap();
        assert_eq!(record.tokens().scopes.to_string(), scopes, "{members}");
        let expires_at = NOW + i64::from(lifetime);
        assert_eq!(
            record.tokens().access_token_expires_at,
            expires_at,
            "{members}"
        );
    }
}

#[tokio::test]
async fn two_logins_of_a_user_are_two_sessions() {
    let server = Server::new();
    let (_, one) = sign_in(&server).await;
    let (_, two) = sign_in(&server).await;
    assert_ne!(one.id(), two.id());
}
