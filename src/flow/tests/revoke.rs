use serde_json::json;

use super::support::{ISSUER, REDIRECT_URI, Server, sign_in, sign_in_with};
use crate::flow::Flow;
use crate::issuer::Client;
use crate::protocol::endpoint::ServerEndpoint;

fn server() -> Server {
    let server = Server::new();
    server.set_metadata(&json!({ "revocation_endpoint": format!("{ISSUER}/revoke") }));
    server
}

/// Returns hint and token of each request so far.
fn revoked(server: &Server) -> Vec<(String, String)> {
    let forms = server.forms("/revoke").into_iter();
    let one = |form: &[(String, String)], name: &str| {
        let mut values = form.iter().filter(|(other, _)| other == name);
        let value = values.next().unwrap().1.clone();
        assert!(values.next().is_none());
        value
    };
    forms
        .map(|form| (one(&form, "token_type_hint"), one(&form, "token")))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    expected.iter().map(owned).collect()
}

const BOTH: &[(&str, &str)] = &[
    ("refresh_token", "the-refresh-token"),
    ("access_token", "the-access-token"),
];

/// RFC 7009 §2.1, §2.2.
#[tokio::test]
async fn the_refresh_token_is_revoked_first_and_the_client_authenticates() {
    let server = server();
    let (flow, record) = sign_in(&server).await;
    flow.revoke(&record).await;
    assert_eq!(revoked(&server), pairs(BOTH));
    for request in server.requests("/revoke") {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().to_string(), format!("{ISSUER}/revoke"));
        let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(field("authorization"), "Basic c2hvcDpzZWNyZXQ=");
        assert_eq!(field("content-type"), "application/x-www-form-urlencoded");
    }
    let public = server.flow_of(Client::public("shop"));
    public.revoke(&record).await;
    let last = server.requests("/revoke").pop().unwrap();
    assert!(!last.headers().contains_key("authorization"));
    assert!(last.body().ends_with(b"client_id=shop"));
}

/// RFC 7009 §2.2.1.
#[tokio::test]
async fn a_failed_revocation_is_not_retried() {
    let unsupported = r#"{"error":"unsupported_token_type"}"#;
    for (name, answers, expected) in [
        ("invalid tokens", &[(200, "x"), (200, "{")][..], BOTH),
        (
            "refresh tokens are not revoked",
            &[(400, unsupported)],
            BOTH,
        ),
        (
            "access tokens are not revoked",
            &[(200, ""), (400, unsupported)],
            BOTH,
        ),
        ("busy", &[(503, "")], &BOTH[..1]),
        (
            "client rejected",
            &[(401, r#"{"error":"invalid_client"}"#)],
            &BOTH[..1],
        ),
        (
            "a bad request",
            &[(400, "unsupported_token_type")],
            &BOTH[..1],
        ),
        ("redirect", &[(302, "")], &BOTH[..1]),
    ] {
        let server = server();
        let (flow, record) = sign_in(&server).await;
        server.answer_revocations(answers);
        flow.revoke(&record).await;
        assert_eq!(revoked(&server), pairs(expected), "{name}");
    }
}

#[tokio::test]
async fn no_request_is_sent_without_an_endpoint_and_one_without_a_refresh_token() {
    let server = server();
    let (flow, record) = sign_in_with(&server, &json!({ "refresh_token": null })).await;
    flow.revoke(&record).await;
    assert_eq!(revoked(&server), pairs(&BOTH[1..]));
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    let before = server.count();
    flow.revoke(&record).await;
    assert_eq!(server.count(), before);
}

#[tokio::test]
async fn without_an_endpoint_one_warning_names_the_setting() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    flow.revoke(&record).await;
    assert!(
        !flow.missing_revocation_warning.is_first(),
        "nothing was logged"
    );
    let metadata = flow.server().metadata().await.unwrap();
    let missing = flow
        .client()
        .endpoint(&metadata, ServerEndpoint::Revocation);
    let reason = missing.unwrap_err().to_string();
    assert!(
        reason.contains("AuthorizationServer::with_revocation_endpoint"),
        "{reason}"
    );

    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    let handle = flow.server().clone();
    let handle = handle.with_revocation_endpoint(&format!("{ISSUER}/revoke"));
    let flow = Flow::new(&handle.unwrap(), flow.client().clone(), REDIRECT_URI).unwrap();
    flow.revoke(&record).await;
    assert_eq!(revoked(&server), pairs(BOTH));
}
