use http::header::AUTHORIZATION;
use serde_json::json;

use super::support::{ISSUER, Login, Server, sign_in};
use crate::flow::UserInfoError;
use crate::protocol::{State, form};
use crate::record::SessionRecord;

#[tokio::test]
async fn a_record_is_unchanged_by_encoding_and_decoding() {
    let (_, record) = sign_in(&Server::new()).await;
    let again = SessionRecord::from_bytes(&record.to_bytes()).unwrap();
    assert_eq!(*again.to_bytes(), *record.to_bytes());
    assert!(!format!("{again:?}").contains("the-access-token"));
    let again = again.without_id_token();
    assert!(again.tokens().id_token.is_none());
    assert_eq!(again.subject(), "alice");
}

#[tokio::test]
async fn each_userinfo_request_sends_the_token_in_the_header() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    assert_eq!(server.requests("/userinfo").len(), 0);
    server.answer_userinfo(
        200,
        "Application/JSON; charset=utf-8",
        r#"{"sub":"alice","x":{"y":1}}"#,
    );
    let userinfo = flow
        .userinfo(&record.tokens().access_token, "alice")
        .await
        .unwrap();
    assert_eq!(userinfo.subject(), "alice");
    assert_eq!(userinfo.get("x"), Some(&json!({ "y": 1 })));
    flow.userinfo(&record.tokens().access_token, "alice")
        .await
        .unwrap();
    let requests = server.requests("/userinfo");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].method(), "GET");
    assert_eq!(
        requests[0].headers()[AUTHORIZATION],
        "Bearer the-access-token"
    );
    assert!(requests[0].uri().query().is_none() && requests[0].body().is_empty());
}

#[tokio::test]
async fn userinfo_of_another_subject_or_without_a_subject_is_rejected() {
    const JSON: &str = "application/json";
    let other: fn(&UserInfoError) -> bool = |it| matches!(it, UserInfoError::OtherSubject);
    let invalid: fn(&UserInfoError) -> bool = |it| matches!(it, UserInfoError::Invalid(_));
    let rejected: fn(&UserInfoError) -> bool =
        |it| matches!(it, UserInfoError::AccessTokenRejected);
    let huge = format!(r#"{{"sub":"alice","x":"{}"}}"#, "x".repeat(1 << 20));
    for (name, status, media_type, body, expected) in [
        ("other sub", 200, JSON, r#"{"sub":"bob"}"#, other),
        ("other case", 200, JSON, r#"{"sub":"Alice"}"#, other),
        ("no sub", 200, JSON, "{}", invalid),
        ("number", 200, JSON, r#"{"sub":1}"#, invalid),
        (
            "sub twice",
            200,
            JSON,
            r#"{"sub":"alice","sub":"bob"}"#,
            invalid,
        ),
        ("list", 200, JSON, r#"["alice"]"#, invalid),
        ("string", 200, JSON, r#""alice""#, invalid),
        ("null", 200, JSON, "null", invalid),
        ("HTML", 200, "text/html", r#"{"sub":"alice"}"#, invalid),
        ("unsigned JWT", 200, "application/jwt", "e30.e30.", |it| {
            matches!(it, UserInfoError::Unverified(_))
        }),
        ("no type", 200, "", r#"{"sub":"alice"}"#, invalid),
        ("redirect", 302, JSON, r#"{"sub":"alice"}"#, invalid),
        ("error", 500, JSON, r#"{"sub":"alice"}"#, invalid),
        ("token rejected", 401, JSON, "{}", rejected),
        ("huge", 200, JSON, &huge, |it| {
            matches!(it, UserInfoError::BackChannel(_))
        }),
    ] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        server.answer_userinfo(status, media_type, body);
        let error = flow
            .userinfo(&record.tokens().access_token, "alice")
            .await
            .unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
    }
}

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
    server.set_metadata(
        "end_session_endpoint",
        json!(format!("{ISSUER}/logout?a=1&client_id=x")),
    );
    let login = Login::start(&server).await;
    let mut claims = login.claims();
    claims["x"] = json!("x".repeat(4000));
    login.grant_claims(&claims);
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
    server.set_metadata("end_session_endpoint", json!(null));
    let (flow, record) = sign_in(&server).await;
    let end = flow.end_session(&record, &State::new("s")).await;
    assert!(end.is_none());
}
