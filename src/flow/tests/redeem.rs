use http::header::AUTHORIZATION;
use serde_json::json;

use super::support::{ISSUER, Login, NOW, REDIRECT_URI, Server};
use crate::flow::{FlowErrorKind, StartRequest};
use crate::issuer::Client;

#[tokio::test]
async fn a_code_is_redeemed_with_one_token_request() {
    let server = Server::new();
    let login = Login::start(&server).await;
    login.grant(&json!({}));
    let verifier = login
        .started
        .transaction
        .secret
        .verifier()
        .expose()
        .to_owned();
    let record = login.call_back().await.unwrap();

    assert_eq!((record.issuer(), record.subject()), (ISSUER, "alice"));
    assert_eq!((record.created_at(), record.last_seen()), (NOW, NOW));
    assert!(record.tokens().scopes.contains("openid"));

    let requests = server.requests("/token");
    let credentials = &requests[0].headers()[AUTHORIZATION];
    assert_eq!(credentials, "Basic c2hvcDpzZWNyZXQ=");
    let expected = [
        ("grant_type", "authorization_code"),
        ("code", "the-code"),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", &verifier),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(server.forms("/token"), [expected]);
}

#[tokio::test]
async fn clients_authenticate_in_the_body_or_not_at_all_if_configured() {
    for (client, secret) in [
        (Client::confidential_post("shop", "s e"), Some("s e")),
        (Client::public("shop"), None),
    ] {
        let server = Server::new();
        let flow = server.flow_of(client);
        let login = Login::start_with(&server, flow, StartRequest::default()).await;
        login.grant(&json!({}));
        login.call_back().await.unwrap();
        let request = &server.requests("/token")[0];
        assert!(!request.headers().contains_key(AUTHORIZATION));
        let form = &server.forms("/token")[0];
        let sent = form.iter().find(|(name, _)| name == "client_secret");
        assert_eq!(sent.map(|(_, value)| &**value), secret);
        assert!(form.contains(&("client_id".into(), "shop".into())));
    }
}

#[tokio::test]
async fn a_failed_token_request_is_classified_and_never_retried() {
    use FlowErrorKind::{Configuration, Request, Server as FromServer, Unavailable};
    let error = |code: &str| json!({ "error": code }).to_string();
    for (status, body, code, kind) in [
        (400, error("invalid_grant"), "code_refused", Request),
        (
            401,
            error("invalid_client"),
            "client_refused",
            Configuration,
        ),
        (
            400,
            error("unauthorized_client"),
            "client_refused",
            Configuration,
        ),
        (
            400,
            error("invalid_request"),
            "token_endpoint_error",
            FromServer,
        ),
        (
            200,
            error("bad_verification_code"),
            "token_endpoint_error",
            FromServer,
        ),
        (400, "<html>".into(), "token_endpoint_status", FromServer),
        (302, String::new(), "token_endpoint_status", FromServer),
        (
            429,
            String::new(),
            "token_endpoint_unavailable",
            Unavailable,
        ),
        (
            500,
            String::new(),
            "token_endpoint_unavailable",
            Unavailable,
        ),
        (
            502,
            "<html>".into(),
            "token_endpoint_unavailable",
            Unavailable,
        ),
        (200, "<html>".into(), "token_response_malformed", FromServer),
        (
            200,
            r#"{"access_token":"a","token_type":"mac"}"#.into(),
            "token_type",
            FromServer,
        ),
        (
            200,
            r#"{"access_token":"","token_type":"Bearer"}"#.into(),
            "token_response_member",
            FromServer,
        ),
        (
            200,
            r#"{"access_token":"a","token_type":"Bearer"}"#.into(),
            "id_token_missing",
            FromServer,
        ),
    ] {
        let server = Server::new();
        let login = Login::start(&server).await;
        server.answer_token_request(status, &body);
        let error = login.call_back().await.unwrap_err();
        let found = (error.code(), error.kind());
        assert_eq!(found, (code, kind), "{status} {body}");
        let is_unavailable = kind == Unavailable;
        assert_eq!(error.retry_after().is_some(), is_unavailable, "{status}");
        assert_eq!(server.requests("/token").len(), 1, "{status} {body}");
    }
}
