use serde_json::json;

use super::support::{ISSUER, Login, Server, sign_in};
use crate::protocol::{State, form};

#[tokio::test]
async fn the_logout_url_has_client_redirect_uri_state_and_hint() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    let flow = flow
        .with_post_logout_redirect_uri("https://shop.example.com/bye?x=1")
        .unwrap();
    let end = flow.end_session(&record, &State::new("s")).await.unwrap();
    assert!(end.returns_state);
    let (endpoint, query) = end.url.split_once('?').unwrap();
    assert_eq!(endpoint, format!("{ISSUER}/logout"));
    let id_token = record.tokens().id_token.as_ref().unwrap().expose();
    let expected = [
        ("client_id", "shop"),
        (
            "post_logout_redirect_uri",
            "https://shop.example.com/bye?x=1",
        ),
        ("state", "s"),
        ("id_token_hint", id_token),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form::parse(query).unwrap(), expected);
}

#[tokio::test]
async fn the_logout_url_omits_a_long_hint_and_keeps_the_query_of_the_endpoint() {
    let server = Server::new();
    let endpoint = format!("{ISSUER}/logout?a=1&client_id=x");
    server.set_metadata(&json!({ "end_session_endpoint": endpoint }));
    let login = Login::start(&server).await;
    login.grant(&json!({ "x": "x".repeat(4000) }));
    let flow = login.flow.clone();
    let record = login.call_back().await.unwrap();
    let end = flow.end_session(&record, &State::new("s")).await.unwrap();
    assert_eq!(end.url, format!("{ISSUER}/logout?a=1&client_id=shop"));
    assert!(!end.returns_state);
}

#[tokio::test]
async fn a_configured_logout_endpoint_replaces_that_of_the_metadata() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    for (endpoint, parameter, expected) in [
        (
            "https://tenant.example.com/v2/logout?federated",
            "returnTo",
            "https://tenant.example.com/v2/logout?federated=&client_id=shop\
             &returnTo=https%3A%2F%2Fshop.example.com%2Fbye",
        ),
        (
            "https://pool.example.com/logout",
            "logout_uri",
            "https://pool.example.com/logout?client_id=shop\
             &logout_uri=https%3A%2F%2Fshop.example.com%2Fbye",
        ),
    ] {
        let flow = flow.clone();
        let flow = flow.with_end_session_endpoint(endpoint, parameter).unwrap();
        let end = flow.end_session(&record, &State::new("s")).await.unwrap();
        let bare = expected.split(&format!("&{parameter}")).next().unwrap();
        assert_eq!(end.url, bare);
        let flow = flow.with_post_logout_redirect_uri("https://shop.example.com/bye");
        let end = flow.unwrap().end_session(&record, &State::new("s")).await;
        let end = end.unwrap();
        assert_eq!(end.url, expected);
        assert!(!end.returns_state);
    }
    for (endpoint, parameter) in [
        ("http://id.example.com/logout", "returnTo"),
        ("/logout", "returnTo"),
        ("https://id.example.com/logout#x", "returnTo"),
        ("https://id.example.com/logout", ""),
        ("https://id.example.com/logout", "client_id"),
        ("https://id.example.com/logout", "a&b"),
        ("https://id.example.com/logout", "return to"),
    ] {
        let flow = flow.clone().with_end_session_endpoint(endpoint, parameter);
        assert!(flow.is_err(), "{endpoint} {parameter}");
    }
}

#[tokio::test]
async fn there_is_no_logout_url_if_the_metadata_has_no_endpoint() {
    let server = Server::new();
    server.set_metadata(&json!({ "end_session_endpoint": null }));
    let (flow, record) = sign_in(&server).await;
    let end = flow.end_session(&record, &State::new("s")).await;
    assert!(end.is_none());
}
