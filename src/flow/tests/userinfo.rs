use http::header::AUTHORIZATION;
use serde_json::json;

use super::support::{ISSUER, NOW, Server, sign_in, sign_in_with};
use crate::flow::UserInfoError;
use crate::token::id_token::tests::sign;

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
    let userinfo = flow.userinfo(record.tokens(), "alice").await.unwrap();
    assert_eq!(userinfo.subject(), "alice");
    assert_eq!(userinfo.get("x"), Some(&json!({ "y": 1 })));
    flow.userinfo(record.tokens(), "alice").await.unwrap();
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
        let error = flow.userinfo(record.tokens(), "alice").await.unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
    }
}

/// OpenID Connect Core §5.3.2.
#[tokio::test]
async fn a_signed_response_for_another_client_is_rejected_with_both_client_ids() {
    for (audience, is_ours) in [("shop", true), ("other", false)] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        let claims = json!({ "iss": ISSUER, "aud": audience, "sub": "alice", "iat": NOW });
        server.answer_userinfo(200, "application/jwt", &sign(&claims.to_string()));
        match flow.userinfo(record.tokens(), "alice").await {
            Ok(_) => assert!(is_ours),
            Err(UserInfoError::Unverified(error)) => {
                let text = error.to_string();
                assert!(!is_ours, "{text}");
                assert!(text.contains(r#"aud ["other"]; expected "shop""#), "{text}");
            }
            Err(error) => panic!("{audience}: {error:?}"),
        }
    }
}

/// RFC 6749 §A.12, RFC 6750 §2.1: any printable token is kept, and only a b64token is sent in a header field.
#[tokio::test]
async fn a_token_with_a_space_is_kept_and_not_sent() {
    let server = Server::new();
    let granted = json!({ "access_token": "two words", "refresh_token": "a refresh token" });
    let (flow, record) = sign_in_with(&server, &granted).await;
    let tokens = record.tokens();
    let refresh_token = tokens.refresh_token.as_ref().unwrap();
    assert_eq!(refresh_token.expose(), "a refresh token");
    assert_eq!(tokens.access_token.expose(), "two words");
    let outcome = flow.userinfo(tokens, "alice").await;
    assert!(matches!(outcome, Err(UserInfoError::UnusableAccessToken)));
    assert!(server.requests("/userinfo").is_empty());
}
