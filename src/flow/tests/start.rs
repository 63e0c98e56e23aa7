use std::collections::HashMap;

use serde_json::json;
use url::Url;

use super::support::{ISSUER, Login, REDIRECT_URI, Server, code_of};
use crate::crypto::{base64url, digest};
use crate::flow::{Flow, FlowErrorKind, StartRequest};
use crate::protocol::State;
use crate::token::id_token::AcrValues;

async fn query_of(flow: &Flow, request: StartRequest) -> HashMap<String, String> {
    let state = flow.new_state().unwrap();
    let started = flow.start(&state, request).await.unwrap();
    query(&started.location)
}

fn query(location: &str) -> HashMap<String, String> {
    let url = Url::parse(location).unwrap();
    url.query_pairs().into_owned().collect()
}

/// RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1.
#[tokio::test]
async fn the_authorization_url_has_all_parameters_of_the_flow() {
    let login = Login::start(&Server::new()).await;
    let started = &login.started;
    let location = &started.location;
    assert!(location.starts_with(&format!("{ISSUER}/authorize?")));
    let query = query(location);
    let secret = &started.transaction.secret;
    let challenge = digest::sha256(secret.verifier().expose().as_bytes());
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid"),
        ("state", login.state.expose()),
        ("nonce", secret.nonce().expose()),
        ("code_challenge", &base64url::encode(&challenge)),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query[name], value, "{name}");
    }
    assert_eq!(query.len(), 8);
    assert!(!location.contains(secret.verifier().expose()));
}

#[tokio::test]
async fn each_login_has_a_new_state_nonce_and_verifier() {
    let server = Server::new();
    let secrets_of = |login: &Login| {
        let secret = &login.started.transaction.secret;
        let (nonce, verifier) = (secret.nonce(), secret.verifier());
        [login.state.expose(), nonce.expose(), verifier.expose()].map(str::to_owned)
    };
    let (one, two) = (Login::start(&server).await, Login::start(&server).await);
    let mut secrets = [secrets_of(&one), secrets_of(&two)].concat();
    let length = |secret: &String| base64url::decode(secret).unwrap().len();
    assert!(secrets.iter().all(|secret| length(secret) == 32));
    secrets.sort();
    secrets.dedup();
    assert_eq!(secrets.len(), 6);
}

#[tokio::test]
async fn parameters_of_the_request_are_sent_and_kept_in_the_transaction() {
    let request = StartRequest {
        by_person: true,
        login_hint: Some("alice@example.com".into()),
        prompt: Some("none".into()),
        ui_locales: Some("de en".into()),
        acr_values: Some("gold".into()),
        max_age: Some(0),
        authorization_details: None,
        requested_claims: None,
        replaces: None,
        ..StartRequest::default()
    };
    let server = Server::new();
    let login = Login::start_with(&server, server.flow(), request).await;
    let started = login.started;
    let query = query(&started.location);
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
    assert_eq!(transaction.max_age, Some(0));
    assert_eq!(transaction.acr_values, AcrValues::parse("gold"));
}

#[tokio::test]
async fn parameters_of_the_request_take_precedence_over_those_of_the_application() {
    let flow = Server::new().flow().with_scopes("openid profile").unwrap();
    let flow = flow.with_authorization_parameter("audience", "https://api.example.com");
    let flow = flow
        .unwrap()
        .with_authorization_parameter("ui_locales", "en");
    let request = StartRequest {
        ui_locales: Some("de".into()),
        ..Default::default()
    };
    let query = query_of(&flow.unwrap(), request).await;
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
    for refused in ["none", "consent none", "Consent"] {
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
        let query = query_of(&flow("consent").unwrap(), request).await;
        assert_eq!(query["prompt"], expected, "{requested:?}");
    }
}

#[tokio::test]
async fn requests_with_invalid_parameters_are_rejected() {
    let flow = Server::new().flow();
    let request = |name: &str, value: &str| {
        let mut request = StartRequest::default();
        let parameter = match name {
            "prompt" => &mut request.prompt,
            "login_hint" => &mut request.login_hint,
            "ui_locales" => &mut request.ui_locales,
            _ => &mut request.acr_values,
        };
        *parameter = Some(value.to_owned());
        request
    };
    for (name, value, code) in [
        ("prompt", "shout", "prompt_unsupported"),
        ("prompt", "none login", "prompt_unsupported"),
        ("login_hint", "a\r\nb", "parameter_malformed"),
        ("login_hint", &"a".repeat(513), "parameter_malformed"),
        ("ui_locales", "", "parameter_malformed"),
        ("acr_values", "", "parameter_malformed"),
        ("acr_values", "1 2 3 4 5 6 7 8 9", "parameter_malformed"),
    ] {
        let error = flow
            .start(&State::new("s"), request(name, value))
            .await
            .unwrap_err();
        let expected = (code, FlowErrorKind::Request);
        assert_eq!((error.code(), error.kind()), expected, "{name} {value:.9}");
        let text = error.to_string();
        assert!(text.contains(&format!("`{name}`")), "{text}");
        let shows = text.contains(&format!("`prompt` is {value:?}, expected `none` alone"));
        assert_eq!(shows, name == "prompt", "{text}");
    }
}

/// RFC 9700 §2.1.1.
#[tokio::test]
async fn a_login_fails_if_the_server_does_not_support_s256() {
    for (methods, code) in [
        (json!(["S256"]), "ok"),
        (json!(["plain", "S256"]), "ok"),
        (json!(null), "ok"),
        (json!(["plain"]), "pkce_unsupported"),
        (json!([]), "ok"),
        (json!(""), "ok"),
        (json!("S256"), "metadata_malformed"),
        (json!(["S256", null]), "metadata_malformed"),
        (json!(["s256"]), "pkce_unsupported"),
    ] {
        let server = Server::new();
        server.set_metadata(&json!({ "code_challenge_methods_supported": methods }));
        let flow = server.flow();
        let started = flow.start(&State::new("s"), StartRequest::default()).await;
        assert_eq!(code_of(started), code, "{methods}");
        assert_eq!(code_of(flow.ready().await), code, "{methods}");
        assert!(server.authorization_server().ready().await.is_ok());
    }
}

#[tokio::test]
async fn a_login_fails_without_metadata_or_without_an_endpoint() {
    let server = Server::new();
    server.set_metadata(&json!({ "issuer": "https://other.example.com" }));
    let started = server
        .flow()
        .start(&State::new("s"), StartRequest::default())
        .await;
    let error = started.unwrap_err();
    assert_eq!(error.kind(), FlowErrorKind::Configuration);
    assert!(error.retry_after().is_none());

    for (name, code) in [
        ("authorization_endpoint", "no_authorization_endpoint"),
        ("token_endpoint", "no_token_endpoint"),
    ] {
        let server = Server::new();
        server.set_metadata(&json!({ name: null }));
        let error = server.flow().ready().await.unwrap_err();
        let expected = (code, FlowErrorKind::Configuration);
        assert_eq!((error.code(), error.kind()), expected);
    }
}
