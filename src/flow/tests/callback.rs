use serde_json::json;

use super::support::{ISSUER, Login, REDIRECT_URI, Server, code_of};
use crate::flow::transaction::{Destination, StateDigest};
use crate::flow::{FlowErrorKind, StartRequest};
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::protocol::{State, form};

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
        let query = form::encode([("state", login.state.expose()), ("code", "c")]);
        let transaction = &mut login.started.transaction;
        match name {
            "state" => transaction.state = StateDigest::of(&State::new("another")),
            "age" => server.clock.advance(600),
            "issuer" => {
                transaction.destination = Destination::new(&format!("{ISSUER}/"), REDIRECT_URI);
            }
            _ => {
                let moved = format!("{REDIRECT_URI}2");
                transaction.destination = Destination::new(ISSUER, &moved);
            }
        }
        let response = AuthorizationResponse::parse(&query).unwrap();
        let accepted = login.flow.accept(login.started.transaction, response);
        let error = accepted.await.unwrap_err();
        let expected = (code, FlowErrorKind::Request);
        assert_eq!((error.code(), error.kind()), expected, "{name}");
        assert_eq!(server.count(), before, "{name}");
    }
}

/// RFC 9207 §2.4.
#[tokio::test]
async fn the_issuer_of_a_response_must_be_the_expected_one() {
    let slash = format!("{ISSUER}/");
    let port = format!("{ISSUER}:443");
    let evil = "https://evil.example";
    for (announced, parameters, code) in [
        (true, &[("iss", ISSUER), ("code", "c")][..], "ok"),
        (false, &[("iss", ISSUER), ("code", "c")], "ok"),
        (false, &[("code", "c")], "ok"),
        (true, &[("code", "c")], "issuer_missing"),
        (true, &[("error", "access_denied")], "issuer_missing"),
        (false, &[("iss", evil), ("code", "c")], "issuer_mismatch"),
        (false, &[("iss", "x"), ("error", "x")], "issuer_mismatch"),
        (true, &[("iss", &slash), ("code", "c")], "issuer_mismatch"),
        (true, &[("iss", &port), ("code", "c")], "issuer_mismatch"),
        (
            true,
            &[("iss", "https://ID.example.com"), ("code", "c")],
            "issuer_mismatch",
        ),
    ] {
        let server = Server::new();
        let name = "authorization_response_iss_parameter_supported";
        server.set_metadata(&json!({ name: announced }));
        let login = Login::start(&server).await;
        login.grant(&json!({}));
        let outcome = login.call_back_with(parameters).await;
        if code == "issuer_mismatch" {
            let text = outcome.as_ref().unwrap_err().to_string();
            let expected = format!("iss is {:?}, expected {ISSUER:?}", parameters[0].1);
            assert!(text.contains(&expected), "{text}");
        }
        assert_eq!(code_of(outcome), code, "{announced} {parameters:?}");
        let requests = server.requests("/token").len();
        assert_eq!(requests, usize::from(code == "ok"), "{parameters:?}");
    }
}

/// RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6.
#[tokio::test]
async fn error_responses_are_classified_and_cause_no_token_request() {
    use FlowErrorKind::{NotSignedIn, Refused};
    let silent = Some("none");
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
        (silent, "login_required", "not_signed_in", NotSignedIn),
        (silent, "interaction_required", "not_signed_in", NotSignedIn),
        (silent, "consent_required", "not_signed_in", NotSignedIn),
        (
            silent,
            "account_selection_required",
            "not_signed_in",
            NotSignedIn,
        ),
        (silent, "access_denied", "access_denied", Refused),
    ] {
        let server = Server::new();
        let request = StartRequest {
            prompt: prompt.map(str::to_owned),
            ..Default::default()
        };
        let login = Login::start_with(&server, server.flow(), request).await;
        let parameters = [
            ("error", error),
            ("error_description", "why"),
            ("code", "c"),
        ];
        let refusal = login.call_back_with(&parameters).await.unwrap_err();
        assert_eq!((refusal.code(), refusal.kind()), (code, kind), "{error}");
        assert_eq!(refusal.oauth_error().unwrap().as_str(), error);
        assert_eq!(refusal.description().as_deref(), Some("why"));
        assert_eq!(server.requests("/token").len(), 0);
    }
    let server = Server::new();
    let login = Login::start(&server).await;
    assert_eq!(code_of(login.call_back_with(&[]).await), "code_missing");
    assert_eq!(server.requests("/token").len(), 0);
}

/// RFC 8707 §2, RFC 9396 §5.
#[tokio::test]
async fn a_response_that_refuses_the_requested_access_names_the_setting() {
    for (error, expected) in [
        (
            "invalid_target",
            &[r#"["urn:a", "urn:b"]"#, "LoginLayer::add_resource"][..],
        ),
        (
            "invalid_authorization_details",
            &["LoginLayer::with_authorization_details"],
        ),
    ] {
        let server = Server::new();
        let flow = server.flow().add_resource("urn:a").unwrap();
        let flow = flow.add_resource("urn:b").unwrap();
        let login = Login::start_with(&server, flow, StartRequest::default()).await;
        let refusal = login.call_back_with(&[("error", error)]).await.unwrap_err();
        let text = refusal.to_string();
        for expected in expected {
            assert!(text.contains(expected), "{text}");
        }
    }
}
