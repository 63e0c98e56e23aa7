use std::collections::HashMap;

use serde_json::json;
use url::Url;

use super::support::{ISSUER, Login, REDIRECT_URI, Server, code_of};
use crate::crypto::{base64url, digest};
use crate::flow::{FlowErrorKind, StartRequest};

fn query_of(location: &str) -> HashMap<String, String> {
    Url::parse(location)
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect()
}

#[tokio::test]
async fn the_authorization_url_has_all_parameters_of_the_flow() {
    let started = Login::start(&Server::new()).await.started;
    assert!(
        started
            .location
            .starts_with(&format!("{ISSUER}/authorize?"))
    );
    let query = query_of(&started.location);
    let transaction = &started.transaction;
    let challenge = digest::sha256(transaction.verifier.expose().as_bytes());
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid"),
        ("state", transaction.state.expose()),
        ("nonce", transaction.nonce.expose()),
        ("code_challenge", &base64url::encode(&challenge)),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    assert_eq!(query.len(), 8);
    assert!(!started.location.contains(transaction.verifier.expose()));
}

#[tokio::test]
async fn each_login_has_a_new_state_nonce_and_verifier() {
    let server = Server::new();
    let secrets_of = |login: &Login| {
        let it = &login.started.transaction;
        [
            it.state.expose().to_owned(),
            it.nonce.expose().into(),
            it.verifier.expose().into(),
        ]
    };
    let (one, two) = (Login::start(&server).await, Login::start(&server).await);
    let mut secrets = [secrets_of(&one), secrets_of(&two)].concat();
    assert!(
        secrets
            .iter()
            .all(|secret| base64url::decode(secret).unwrap().len() == 32)
    );
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 6);
}

#[tokio::test]
async fn parameters_of_the_request_are_sent_and_kept_in_the_transaction() {
    let request = StartRequest {
        return_to: "/account".into(),
        by_person: true,
        login_hint: Some("alice@example.com".into()),
        prompt: Some("none".into()),
        ui_locales: Some("de en".into()),
        acr_values: Some("gold".into()),
        max_age: Some(0),
        replaces: None,
    };
    let started = Login::start_with(&Server::new(), request).await.started;
    let query = query_of(&started.location);
    for (name, value) in [
        ("login_hint", "alice@example.com"),
        ("prompt", "none"),
        ("ui_locales", "de en"),
        ("acr_values", "gold"),
        ("max_age", "0"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    let transaction = started.transaction;
    assert!(transaction.silent && transaction.by_person);
    assert_eq!(transaction.return_to, "/account");
    assert_eq!(transaction.max_age, Some(0));
    assert_eq!(transaction.acr_values.as_deref(), Some("gold"));
}

#[tokio::test]
async fn parameters_of_the_request_take_precedence_over_those_of_the_application() {
    let flow = Server::new()
        .flow()
        .with_scopes("openid profile")
        .unwrap()
        .with_authorization_parameter("audience", "https://api.example.com")
        .unwrap()
        .with_authorization_parameter("ui_locales", "en")
        .unwrap();
    let request = StartRequest {
        ui_locales: Some("de".into()),
        ..Default::default()
    };
    let query = query_of(&flow.start(request).await.unwrap().location);
    assert_eq!(query["audience"], "https://api.example.com");
    assert_eq!(query["ui_locales"], "de");
    assert_eq!(query["scope"], "openid profile");
}

/// OpenID Connect Core §11: `offline_access` requires `prompt=consent`.
#[tokio::test]
async fn the_configured_prompt_is_combined_with_that_of_the_login() {
    let flow = |value| {
        let flow = Server::new().flow();
        flow.with_authorization_parameter("prompt", value)
    };
    for refused in ["none", "login", "consent login", "Consent"] {
        assert!(flow(refused).is_err(), "{refused}");
    }
    for (requested, expected) in [
        (None, "consent"),
        (Some("login"), "login consent"),
        (Some("login consent"), "login consent"),
        (Some("consent"), "consent"),
        (Some("none"), "none"),
    ] {
        let request = StartRequest {
            prompt: requested.map(str::to_owned),
            ..Default::default()
        };
        let started = flow("consent").unwrap().start(request).await.unwrap();
        let prompt = &query_of(&started.location)["prompt"];
        assert_eq!(prompt, expected, "{requested:?}");
    }
}

#[tokio::test]
async fn requests_with_invalid_parameters_are_rejected() {
    let flow = Server::new().flow();
    for (request, code) in [
        (
            StartRequest {
                prompt: Some("shout".into()),
                ..Default::default()
            },
            "prompt_unsupported",
        ),
        (
            StartRequest {
                prompt: Some("none login".into()),
                ..Default::default()
            },
            "prompt_unsupported",
        ),
        (
            StartRequest {
                login_hint: Some("a\r\nb".into()),
                ..Default::default()
            },
            "parameter_malformed",
        ),
        (
            StartRequest {
                login_hint: Some("a".repeat(513)),
                ..Default::default()
            },
            "parameter_malformed",
        ),
        (
            StartRequest {
                acr_values: Some(String::new()),
                ..Default::default()
            },
            "parameter_malformed",
        ),
    ] {
        let error = flow.start(request.clone()).await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            (code, FlowErrorKind::Request),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn a_login_fails_if_the_server_does_not_support_s256() {
    for (methods, code) in [
        (json!(["S256"]), "ok"),
        (json!(["plain", "S256"]), "ok"),
        (json!(["plain"]), "pkce_unsupported"),
        (json!([]), "pkce_unsupported"),
        (json!(["s256"]), "pkce_unsupported"),
    ] {
        let server = Server::new();
        server.set_metadata("code_challenge_methods_supported", methods.clone());
        let flow = server.flow();
        assert_eq!(
            code_of(flow.start(StartRequest::default()).await),
            code,
            "{methods}"
        );
        assert_eq!(code_of(flow.ready().await), code, "{methods}");
        assert!(server.authorization_server().ready().await.is_ok());
    }
}

#[tokio::test]
async fn a_login_fails_without_metadata_or_without_an_endpoint() {
    let server = Server::new();
    server.set_metadata("issuer", json!("https://other.example.com"));
    let error = server
        .flow()
        .start(StartRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), FlowErrorKind::Unavailable);
    assert!(error.retry_after().is_some());

    for (name, code) in [
        ("authorization_endpoint", "no_authorization_endpoint"),
        ("token_endpoint", "no_token_endpoint"),
    ] {
        let server = Server::new();
        server.set_metadata(name, json!(null));
        let error = server.flow().ready().await.unwrap_err();
        assert_eq!(
            (error.code(), error.kind()),
            (code, FlowErrorKind::Configuration)
        );
    }
}
