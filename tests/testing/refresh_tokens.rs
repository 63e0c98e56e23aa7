//! The refresh tokens of the test server: refresh, revocation and faults.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use serde_json::Value;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{
    Endpoint, Fault, Gate, GrantType, RefreshedIdToken, TestClient, TestServer, TestSession,
};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::authorization_server::{
    CALLBACK, ISSUER, basic, claims, code, document, error, json, post_to, redeem, refresh, server,
    try_post, userinfo,
};

/// Returns the tokens of a login of alice at a server with this client.
async fn signed_in(client: TestClient) -> (TestServer, Value) {
    let server = server().add_client(client.add_redirect_uri(CALLBACK).unwrap());
    let tokens = json(&redeem(&server, &code(&server).await, &[]).await);
    (server, tokens)
}

fn shop() -> TestClient {
    TestClient::confidential("shop", "shop secret:1")
}

fn text(tokens: &Value, name: &str) -> String {
    tokens[name].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_may_keep_its_refresh_token() {
    let (server, tokens) = signed_in(shop().without_rotation()).await;
    let token = text(&tokens, "refresh_token");
    for turn in 0..3 {
        let again = json(&refresh(&server, &token, "").await);
        assert!(again["access_token"].is_string(), "{turn}: {again}");
        assert_eq!(again.get("refresh_token"), None, "{turn}");
    }
    assert_eq!(server.refresh_tokens("subject-of-alice"), [token]);
}

#[tokio::test]
async fn a_refresh_token_expires_as_announced() {
    let lifetime = Duration::from_secs(1800);
    let (server, tokens) = signed_in(shop().with_refresh_token_lifetime(lifetime)).await;
    assert_eq!(tokens["refresh_expires_in"], 1800);
    server.clock().advance(Duration::from_secs(1799));
    let second = json(&refresh(&server, &text(&tokens, "refresh_token"), "").await);
    assert_eq!(second["refresh_expires_in"], 1800, "counted anew");
    server.clock().advance(lifetime);
    let late = refresh(&server, &text(&second, "refresh_token"), "").await;
    assert_eq!(error(&late), "invalid_grant");
    assert!(server.refresh_tokens("subject-of-alice").is_empty());
}

#[tokio::test]
async fn a_refresh_returns_the_configured_id_token() {
    for (ordered, expected) in [
        (None, Some(false)),
        (Some(RefreshedIdToken::Absent), None),
        (Some(RefreshedIdToken::WithoutNonce), Some(false)),
        (Some(RefreshedIdToken::WithNonce), Some(true)),
    ] {
        let client = match ordered {
            Some(ordered) => shop().with_refreshed_id_token(ordered),
            None => shop(),
        };
        let (server, tokens) = signed_in(client).await;
        let first = claims(&text(&tokens, "id_token"));
        assert_eq!(first["nonce"], "the-nonce", "{ordered:?}");
        let refreshed = json(&refresh(&server, &text(&tokens, "refresh_token"), "").await);
        let second = refreshed["id_token"].as_str().map(claims);
        let with_nonce = second.as_ref().map(|claims| claims.get("nonce").is_some());
        assert_eq!(with_nonce, expected, "{ordered:?}");
        // Of the same login (OpenID Connect Core §12.2).
        if let Some(claims) = second {
            for name in ["iss", "sub", "aud", "auth_time", "sid"] {
                assert_eq!(claims[name], first[name], "{ordered:?}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_refresh_may_return_fewer_scopes() {
    let (server, tokens) = signed_in(shop().with_refreshed_scopes("openid").unwrap()).await;
    assert_eq!(tokens["scope"], "openid profile");
    let refreshed = json(&refresh(&server, &text(&tokens, "refresh_token"), "").await);
    assert_eq!(refreshed["scope"], "openid");
    assert_eq!(claims(&text(&refreshed, "access_token"))["scope"], "openid");
}

#[tokio::test]
async fn a_revoked_refresh_token_revokes_its_grant() {
    let (server, first) = signed_in(shop()).await;
    let revoke = async |token: &str, id: &str, secret: &str| {
        let form = [("token", token), ("token_type_hint", "refresh_token")];
        post_to(&server, "/revoke", Some(&basic(id, secret)), &form).await
    };
    let (access, refreshing) = (text(&first, "access_token"), text(&first, "refresh_token"));

    let stranger = revoke(&refreshing, "posting", "secret").await;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let other = revoke(&refreshing, "cli", "cli-secret").await;
    assert_eq!(
        other.status(),
        StatusCode::OK,
        "the response does not reveal the owner"
    );
    let unknown = revoke("nothing", "shop", "shop secret:1").await;
    assert_eq!(
        (unknown.status(), unknown.body().len()),
        (StatusCode::OK, 0)
    );
    assert!(server.revoked_tokens().is_empty());

    // A wrong hint does not matter (RFC 7009 §2.1).
    let one = revoke(&access, "shop", "shop secret:1").await;
    assert_eq!(one.status(), StatusCode::OK);
    assert_eq!(
        userinfo(&server, &access).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let second = json(&refresh(&server, &refreshing, "").await);
    let alive = text(&second, "access_token");
    assert_eq!(userinfo(&server, &alive).await.status(), StatusCode::OK);
    assert_eq!(server.access_tokens("subject-of-alice"), [&*alive]);

    let newest = text(&second, "refresh_token");
    revoke(&newest, "shop", "shop secret:1").await;
    assert_eq!(
        userinfo(&server, &alive).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(error(&refresh(&server, &newest, "").await), "invalid_grant");
    assert_eq!(server.revoked_tokens(), [access, newest]);
    assert_eq!(server.count(Endpoint::Revocation), 5);

    let form = [("token_type_hint", "refresh_token")];
    let nothing = post_to(
        &server,
        "/revoke",
        Some(&basic("shop", "shop secret:1")),
        &form,
    )
    .await;
    assert_eq!(error(&nothing), "invalid_request");
    let metadata = document(&server, "/.well-known/openid-configuration").await;
    assert_eq!(metadata["revocation_endpoint"], format!("{ISSUER}/revoke"));
}

#[tokio::test]
async fn a_fault_affects_the_refresh_grant_only() {
    let (server, tokens) = signed_in(shop()).await;
    let token = text(&tokens, "refresh_token");
    let of_refresh = |fault: Fault| {
        server.fail_once(Endpoint::Token, fault.only_for(GrantType::RefreshToken));
    };
    of_refresh(Fault::status(503));
    of_refresh(Fault::header(RETRY_AFTER, HeaderValue::from_static("7")));
    let code = code(&server).await;
    let login = redeem(&server, &code, &[]).await;
    assert_eq!(login.status(), StatusCode::OK, "a login goes on");
    let answer = refresh(&server, &token, "").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()[RETRY_AFTER], "7");

    for (code, status) in [
        ("invalid_client", StatusCode::UNAUTHORIZED),
        ("invalid_grant", StatusCode::BAD_REQUEST),
        ("temporarily_unavailable", StatusCode::BAD_REQUEST),
    ] {
        of_refresh(Fault::refusal(code));
        let answer = refresh(&server, &token, "").await;
        assert_eq!((answer.status(), &*error(&answer)), (status, code));
    }
    // None of these requests used the token.
    let answer = refresh(&server, &token, "").await;
    assert_eq!(answer.status(), StatusCode::OK);

    assert_eq!(server.count_grant(GrantType::RefreshToken), 5);
    assert_eq!(server.count_grant(GrantType::AuthorizationCode), 2);
    assert_eq!(server.count(Endpoint::Token), 7);
}

#[tokio::test]
async fn the_token_of_a_lost_refresh_has_rotated() {
    let (server, tokens) = signed_in(shop()).await;
    let token = text(&tokens, "refresh_token");
    let lost = Fault::lose_response().only_for(GrantType::RefreshToken);
    server.fail_once(Endpoint::Token, lost);
    let form = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
    let authorization = basic("shop", "shop secret:1");
    assert!(
        try_post(&server, "/token", Some(&authorization), &form)
            .await
            .is_err()
    );

    let newest = server.refresh_tokens("subject-of-alice");
    assert!(newest.len() == 1 && newest[0] != token, "it was given");
    assert_eq!(error(&refresh(&server, &token, "").await), "invalid_grant");
    assert!(
        server.refresh_tokens("subject-of-alice").is_empty(),
        "a replay"
    );
}

#[tokio::test]
async fn a_refresh_can_be_delayed_before_or_after_processing() {
    for (name, after) in [("before", false), ("after", true)] {
        let (server, tokens) = signed_in(shop()).await;
        let token = text(&tokens, "refresh_token");
        let gate = Gate::new();
        let fault = if after {
            Fault::hold_response(&gate)
        } else {
            Fault::wait_for(&gate)
        };
        server.fail_once(Endpoint::Token, fault.only_for(GrantType::RefreshToken));
        let held = async { refresh(&server, &token, "").await.status() };
        let meanwhile = async {
            server.wait_for_grant(GrantType::RefreshToken, 1).await;
            tokio::task::yield_now().await;
            let rotated = server.refresh_tokens("subject-of-alice") != [&*token];
            assert_eq!(rotated, after, "{name}");
            gate.open();
        };
        let (status, ()) = tokio::join!(held, meanwhile);
        assert_eq!(status, StatusCode::OK, "{name}");
    }

    let (server, tokens) = signed_in(shop()).await;
    let token = text(&tokens, "refresh_token");
    server.fail_once(
        Endpoint::Token,
        Fault::delay_response(Duration::from_secs(4)),
    );
    let clock = server.clock();
    let (answer, ()) = tokio::join!(refresh(&server, &token, ""), async {
        clock.wait_for_sleepers(1).await;
        assert_ne!(server.refresh_tokens("subject-of-alice"), [&*token]);
        clock.advance(Duration::from_secs(4));
    });
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_returns_tokens_of_another_subject_on_request() {
    let (server, tokens) = signed_in(shop().without_rotation()).await;
    let token = text(&tokens, "refresh_token");
    for claim in ["sub", "iss", "aud"] {
        let fault = Fault::id_token(move |mint| mint.with_claim(claim, "another"));
        server.fail_once(Endpoint::Token, fault.only_for(GrantType::RefreshToken));
        let answer = json(&refresh(&server, &token, "").await);
        assert_eq!(claims(&text(&answer, "id_token"))[claim], "another");
    }
}

#[tokio::test]
async fn a_handler_is_called_with_a_session_without_a_login() {
    let server = server();
    let client = Client::confidential("shop", "shop secret:1");
    let key = || CookieKey::generate().unwrap();
    let cookies = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key()).unwrap();
    let store = MemoryStore::new().with_clock(server.clock());
    let stored = cookies.clone().with_session_store(store);
    for (name, login) in [("cookie", cookies), ("store", stored)] {
        let injected = TestSession::new("alice")
            .with_claim("email", "alice@example.test")
            .with_scopes("openid notes:read")
            .unwrap()
            .with_access_token("an-access-token", Duration::from_secs(60));
        let session = injected.create(&login).await;
        assert_eq!(session.issuer(), ISSUER, "{name}");
        assert_eq!(session.subject(), "alice", "{name}");
        assert_eq!(session.email().unwrap().address(), "alice@example.test");
        assert!(session.scopes().contains("notes:read"), "{name}");
        let token = session.access_token().await.unwrap();
        assert_eq!(token.expose(), "an-access-token", "{name}");
        assert_ne!(session.id(), injected.create(&login).await.id(), "{name}");
    }
    assert!(server.requests().is_empty(), "no request was sent");
}
