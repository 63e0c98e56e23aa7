use std::time::Duration;

use serde_json::{Value, json};

use super::support::{ISSUER, Login, NOW, Server, sign_in, sign_in_with};
use crate::flow::{RefreshFailure, RefreshTarget, StartRequest};
use crate::issuer::Client;
use crate::token::id_token::tests::{change, sign, signing_key};

/// Sets the response to a refresh: a token response with these members added or replaced.
fn refresh_with(server: &Server, changes: &Value) {
    let mut body = json!({ "access_token": "a2", "token_type": "Bearer", "expires_in": 300 });
    change(&mut body, changes);
    server.answer_token_request(200, &body.to_string());
}

/// Returns the name of a failure and the code of its error.
fn name_of(failure: &RefreshFailure) -> (&'static str, &'static str) {
    let (name, error) = failure.parts();
    (name, error.code())
}

/// RFC 6749 §6.
#[tokio::test]
async fn the_request_contains_only_the_refresh_token_and_client_authentication() {
    let server = Server::new();
    let (flow, record) = sign_in(&server).await;
    refresh_with(&server, &json!({}));
    flow.refresh(&record, RefreshTarget::Session).await.unwrap();
    let requests = server.requests("/token");
    assert_eq!(requests.len(), 2);
    let request = &requests[1];
    assert_eq!(request.method(), http::Method::POST);
    assert_eq!(request.headers()["authorization"], "Basic c2hvcDpzZWNyZXQ=");
    assert_eq!(
        request.body(),
        "grant_type=refresh_token&refresh_token=the-refresh-token"
    );
}

#[tokio::test]
async fn each_refresh_has_a_new_client_assertion() {
    let server = Server::new();
    let (_, record) = sign_in(&server).await;
    let flow = server.flow_of(Client::private_key_jwt("shop", signing_key(3)));
    refresh_with(&server, &json!({}));
    flow.refresh(&record, RefreshTarget::Session).await.unwrap();
    flow.refresh(&record, RefreshTarget::Session).await.unwrap();
    let parameters = server.forms("/token").into_iter().flatten();
    let assertions = parameters.filter(|(name, _)| name == "client_assertion");
    let assertions: Vec<_> = assertions.collect();
    assert_eq!(assertions.len(), 2);
    assert_ne!(assertions[0], assertions[1]);
}

#[tokio::test]
async fn a_failed_refresh_sends_one_request() {
    let huge = "x".repeat((1 << 20) + 1);
    for (status, body, expected) in [
        (
            400,
            r#"{"error":"invalid_grant"}"#,
            ("refused", "refresh_refused"),
        ),
        (503, "", ("unavailable", "token_endpoint_unavailable")),
        (200, &huge, ("unclear", "token_response_too_large")),
    ] {
        let server = Server::new();
        let (flow, record) = sign_in(&server).await;
        server.answer_token_request(status, body);
        let failure = flow
            .refresh(&record, RefreshTarget::Session)
            .await
            .unwrap_err();
        assert_eq!(name_of(&failure), expected);
        assert_eq!(server.requests("/token").len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_refresh_without_endpoint_or_refresh_token_sends_no_request() {
    for (endpoint, expected) in [
        (json!(null), ("misconfigured", "no_token_endpoint")),
        (
            json!("http://id.example.com/token"),
            ("misconfigured", "no_token_endpoint"),
        ),
    ] {
        let server = Server::new();
        let (_, record) = sign_in(&server).await;
        server.set_metadata(&json!({ "token_endpoint": endpoint }));
        // A new handle that has not fetched the metadata.
        let failure = server
            .flow()
            .refresh(&record, RefreshTarget::Session)
            .await
            .unwrap_err();
        assert_eq!(name_of(&failure), expected);
        assert_eq!(server.requests("/token").len(), 1);
    }
    let server = Server::new();
    let (flow, record) = sign_in_with(&server, &json!({ "refresh_token": null })).await;
    let failure = flow
        .refresh(&record, RefreshTarget::Session)
        .await
        .unwrap_err();
    assert_eq!(name_of(&failure), ("refused", "no_refresh_token"));
    assert_eq!(server.requests("/token").len(), 1);
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
        let failure = flow
            .refresh(&record, RefreshTarget::Session)
            .await
            .unwrap_err();
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(
            failure.parts().1.retry_after(),
            expected,
            "{status} {field}"
        );
    }
}

/// RFC 6749 §5.1, §6.
#[tokio::test]
async fn omitted_members_keep_their_value_or_use_the_default() {
    let one_hour = Some(3600);
    for (members, refresh_token, refresh_end, token_end) in [
        (json!({}), "r1", one_hour, 300),
        (
            json!({ "refresh_token": "r2", "refresh_expires_in": 1800 }),
            "r2",
            Some(1810),
            300,
        ),
        (json!({ "refresh_token": "r2" }), "r2", None, 300),
        (json!({ "refresh_expires_in": 7200 }), "r1", Some(7210), 300),
        (json!({ "expires_in": null }), "r1", one_hour, 120),
        (
            json!({ "refresh_token": "r2", "refresh_expires_in": "never" }),
            "r2",
            None,
            300,
        ),
    ] {
        let server = Server::new();
        let granted = json!({ "refresh_token": "r1", "refresh_expires_in": 3600 });
        let (flow, record) = sign_in_with(&server, &granted).await;
        let flow = flow.with_default_token_lifetime(Duration::from_secs(120));
        let before = record.tokens();
        assert_eq!(before.refresh_token_expires_at, Some(NOW + 3600));
        refresh_with(&server, &members);
        server.clock.advance(10);
        let refreshed = flow.refresh(&record, RefreshTarget::Session).await.unwrap();
        let after = refreshed.applied_to(&record, 7);
        let tokens = after.tokens();
        assert_eq!(tokens.access_token.expose(), "a2", "{members}");
        let expires_at = NOW + 10 + token_end;
        assert_eq!(tokens.access_token_expires_at, expires_at, "{members}");
        let kept = tokens.refresh_token.as_ref().unwrap();
        assert_eq!(kept.expose(), refresh_token, "{members}");
        let end = refresh_end.map(|end| NOW + end);
        assert_eq!(tokens.refresh_token_expires_at, end, "{members}");
        assert_eq!(tokens.id_token, before.id_token);
        assert_eq!((after.generation(), after.id()), (7, record.id()));
        assert_eq!(after.claims().as_json(), record.claims().as_json());
        assert_eq!(after.created_at(), record.created_at());
    }
}

/// What is malformed is not used; a rotated refresh token is kept in any case.
#[tokio::test]
async fn a_refresh_keeps_whatever_is_good() {
    for (members, access_token, expires_at) in [
        (json!({ "access_token": "" }), "a1", NOW + 600),
        (
            json!({ "access_token": 7, "id_token": "" }),
            "a1",
            NOW + 600,
        ),
        (json!({ "token_type": null }), "a1", NOW + 600),
        (json!({ "expires_in": -1 }), "a2", NOW + 10 + 60),
        (json!({ "expires_in": "" }), "a2", NOW + 10 + 120),
        (
            json!({ "id_token": "", "error": "", "scope": {} }),
            "a2",
            NOW + 310,
        ),
        (json!({ "id_token": { "a": 1 } }), "a2", NOW + 310),
        (json!({ "id_token": "no token" }), "a2", NOW + 310),
    ] {
        let server = Server::new();
        let (flow, record) = sign_in_with(&server, &json!({ "access_token": "a1" })).await;
        let flow = flow.with_default_token_lifetime(Duration::from_secs(120));
        server.clock.advance(10);
        let mut members = members;
        members["refresh_token"] = json!("the new one");
        refresh_with(&server, &members);
        let after = flow
            .refresh(&record, RefreshTarget::Session)
            .await
            .unwrap()
            .applied_to(&record, 1);
        let (tokens, before) = (after.tokens(), record.tokens());
        let kept = tokens.refresh_token.as_ref().unwrap();
        assert_eq!(kept.expose(), "the new one", "{members}");
        assert_eq!(tokens.access_token.expose(), access_token, "{members}");
        assert_eq!(tokens.access_token_expires_at, expires_at, "{members}");
        assert_eq!(tokens.id_token, before.id_token, "{members}");
        assert_eq!(tokens.scopes, before.scopes, "{members}");
    }
}

/// RFC 6749 §6: a refresh cannot add scopes.
#[tokio::test]
async fn a_refresh_can_remove_scopes_but_not_add_any() {
    let all = "openid read write";
    for (scope, left) in [
        (json!(null), all),
        (json!("write read openid"), all),
        (json!("openid read"), "openid read"),
        (json!(""), all),
        (json!(7), all),
        (json!("openid read write admin"), all),
        (json!("admin"), ""),
        (json!(["read", "admin"]), "read"),
        (json!("Read"), ""),
    ] {
        let server = Server::new();
        let (flow, record) = sign_in_with(&server, &json!({ "scope": all })).await;
        refresh_with(&server, &json!({ "scope": scope }));
        let once = flow
            .refresh(&record, RefreshTarget::Session)
            .await
            .unwrap()
            .applied_to(&record, 1);
        assert_eq!(once.tokens().scopes.to_string(), left, "{scope}");
        refresh_with(&server, &json!({ "scope": all }));
        let twice = flow
            .refresh(&once, RefreshTarget::Session)
            .await
            .unwrap()
            .applied_to(&once, 2);
        let scopes = twice.tokens().scopes.to_string();
        assert_eq!(scopes, left, "{scope}: removed for good");
    }
}

/// OpenID Connect Core §12.2. `token::id_token` has the rules.
#[tokio::test]
async fn a_new_id_token_replaces_the_old_one_and_must_be_of_the_same_user() {
    for (changes, has_keys, expected) in [
        (json!({}), true, Ok(true)),
        (
            json!({ "sub": "mallory" }),
            true,
            Err(("not for the session", "id_token_other_subject")),
        ),
        (
            json!({ "aud": "other" }),
            true,
            Err(("not for the session", "id_token_audience")),
        ),
        (
            json!({ "nonce": "x" }),
            true,
            Err(("not for the session", "id_token_nonce")),
        ),
        // An ID token that is of no use costs nothing else.
        (json!({ "exp": NOW - 300 }), true, Ok(false)),
        (json!({ "iat": "now" }), true, Ok(false)),
        // Without keys a rotated refresh token is kept, and the ID token is not.
        (json!({}), false, Ok(false)),
        (
            json!({ "sub": "mallory" }),
            false,
            Err(("not for the session", "id_token_other_subject")),
        ),
        (
            json!({ "aud": "other" }),
            false,
            Err(("not for the session", "id_token_audience")),
        ),
    ] {
        let server = Server::new();
        let (mut flow, record) = sign_in(&server).await;
        if !has_keys {
            server.set_metadata(&json!({ "jwks_uri": format!("{ISSUER}/nowhere") }));
            flow = server.flow();
        }
        let mut claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW,
        });
        change(&mut claims, &changes);
        let id_token = sign(&claims.to_string());
        let members = json!({ "id_token": id_token, "refresh_token": "r2" });
        refresh_with(&server, &members);
        let outcome = flow.refresh(&record, RefreshTarget::Session).await;
        let outcome = outcome.map_err(|failure| name_of(&failure));
        let outcome = outcome.map(|refreshed| {
            let after = refreshed.applied_to(&record, 1);
            let tokens = after.tokens();
            assert_eq!(tokens.refresh_token.as_ref().unwrap().expose(), "r2");
            assert_eq!(after.claims().as_json(), record.claims().as_json());
            tokens.id_token.as_ref().unwrap().expose() == id_token
        });
        assert_eq!(outcome, expected, "{changes} {has_keys}");
    }
}

/// RFC 8707 §2.2. A session has one refresh token for all resources.
#[tokio::test]
async fn each_token_request_has_one_resource() {
    let server = Server::new();
    let flow = server.flow().add_resource("urn:a").unwrap();
    let flow = flow.add_resource("urn:b").unwrap();
    let login = Login::start_with(&server, flow.clone(), StartRequest::default()).await;
    login.grant(&json!({}));
    let record = login.call_back().await.unwrap();
    refresh_with(
        &server,
        &json!({ "access_token": "for-b", "scope": "other" }),
    );
    let target = RefreshTarget::Resource("urn:b".into());
    let record = flow
        .refresh(&record, target)
        .await
        .unwrap()
        .applied_to(&record, 1);
    let tokens = record.tokens();
    let further = tokens.resource_token("urn:b").unwrap();
    assert_eq!(further.access_token.expose(), "for-b");
    assert_eq!(further.scopes.to_string(), "other");
    assert_eq!(tokens.access_token.expose(), "the-access-token");
    assert_eq!(tokens.scopes.to_string(), "openid");
    refresh_with(&server, &json!({}));
    flow.refresh(&record, RefreshTarget::Session).await.unwrap();
    let all = flow.refresh(&record, RefreshTarget::All).await.unwrap();
    assert!(!all.applied_to(&record, 2).has_resource_tokens());
    let requests = server.forms("/token");
    let resources = requests.iter().map(|form| {
        let resources = form.iter().filter(|(name, _)| name == "resource");
        resources.map(|(_, value)| &**value).collect::<Vec<_>>()
    });
    let expected = [["urn:a"], ["urn:b"], ["urn:a"], ["urn:a"]];
    assert_eq!(resources.collect::<Vec<_>>(), expected);
}

/// RFC 9396 §7: the details of the session are those of the last response that has any.
#[tokio::test]
async fn a_refresh_can_change_the_authorization_details() {
    let server = Server::new();
    let first = json!({ "authorization_details": [{ "type": "a", "n": 1 }] });
    let (flow, record) = sign_in_with(&server, &first).await;
    let mut record = record;
    for (details, expected) in [
        (json!(null), r#"[{"n":1,"type":"a"}]"#),
        (json!([{ "type": "a" }]), r#"[{"type":"a"}]"#),
        (json!([{ "type": 1 }]), "[]"),
    ] {
        refresh_with(&server, &json!({ "authorization_details": details }));
        let refreshed = flow.refresh(&record, RefreshTarget::Session).await.unwrap();
        record = refreshed.applied_to(&record, record.generation() + 1);
        assert_eq!(record.tokens().authorization_details.to_json(), expected);
    }
}

/// RFC 8707 §2.
#[tokio::test]
async fn invalid_target_names_the_resource_and_says_nothing_about_the_refresh_token() {
    let server = Server::new();
    let (_, record) = sign_in(&server).await;
    let flow = server.flow().add_resource("urn:a").unwrap();
    server.answer_token_request(400, r#"{"error":"invalid_target"}"#);
    for (target, resource) in [
        (RefreshTarget::Session, "urn:a"),
        (RefreshTarget::Resource("urn:b".into()), "urn:b"),
    ] {
        let failure = flow.refresh(&record, target).await.unwrap_err();
        assert_eq!(name_of(&failure), ("misconfigured", "resource_refused"));
        let text = failure.parts().1.to_string();
        assert!(text.contains(resource), "{text}");
        assert!(text.contains("LoginLayer::add_resource"), "{text}");
    }
}
