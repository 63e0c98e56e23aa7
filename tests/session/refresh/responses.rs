//! Refresh responses that cannot or must not be used.

use tower_oauth::testing::{Endpoint, Fault, GrantType};

use crate::support::logs::Logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::refresh;
use crate::support::refresh::{World, settle, status_and_text, token};
use crate::support::shop::{Ask, Jar};

session_modes! {
    all: [
        an_access_token_with_a_space_is_refused_by_name,
        an_unusable_refresh_response_ends_no_session_and_returns_no_token,
        a_missing_expires_in_is_not_unlimited,
        a_rotated_refresh_token_is_kept_whatever_else_is_malformed,
    ],
    with_store: [
        without_its_store_a_session_is_not_refreshed,
    ],
}

/// Sets the response of the token endpoint to a refresh.
fn answering(world: &World, status: u16, body: &str) {
    let only = |fault: Fault| fault.only_for(GrantType::RefreshToken);
    if status != 200 {
        world
            .server
            .fail(Endpoint::Token, only(Fault::status(status)));
    }
    let body = body.as_bytes().to_vec();
    let body = Fault::body("application/json", body);
    world.server.fail(Endpoint::Token, only(body));
}

/// Lets a session expire with this response. Returns what a handler, the home page and the log receive.
async fn after(mode: Mode, status: u16, body: &str) -> (World, String, u16) {
    let (world, jar) = World::signed_in(mode).await;
    answering(&world, status, body);
    let log = Logs::default();
    let recording = log.record();
    world.expire_token();
    let answer = world.token(&world.a, &jar).await;
    assert!(answer.set_cookies().is_empty(), "{mode:?} {body:.80}");
    let text = answer.text();
    assert!(text.len() < 100, "{text}");
    assert_eq!(world.a.greeting(&jar).await, "hello alice", "{body:.80}");
    // No immediate retry, whatever the response was.
    let status = answer.status.as_u16();
    assert_eq!(token(&world.a, &jar).await.status.as_u16(), status);
    assert_eq!(world.refreshes(), 1, "{mode:?} {body:.80}");
    drop(recording);
    (world, log.text(), status)
}

async fn an_unusable_refresh_response_ends_no_session_and_returns_no_token(mode: Mode) {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let crlf = r#"{"access_token":"a\r\nSet-Cookie: x=y","token_type":"Bearer"}"#;
    for (name, status, body, expected) in [
        ("400 of a proxy", 400, "<html>", 503),
        ("500", 500, "", 503),
        ("deep", 200, &deep, 503),
        ("CRLF", 200, crlf, 503),
        (
            "duplicate members",
            200,
            r#"{"refresh_token":"a","refresh_token":"b"}"#,
            503,
        ),
    ] {
        let (_, _, status) = after(mode, status, body).await;
        assert_eq!(status, expected, "{name}");
    }
}

/// What is malformed is not used. The rotated refresh token is kept in any case, and the next attempt sends it: the server
/// would end the session if the old one were sent again.
async fn a_rotated_refresh_token_is_kept_whatever_else_is_malformed(mode: Mode) {
    for (name, value, expected) in [
        ("access_token", "", 503),
        ("token_type", "", 503),
        ("access_token", "a\tb", 503),
        ("id_token", "a.b.c", 200),
        ("id_token", "", 200),
        ("error", "", 200),
        ("expires_in", "soon", 200),
    ] {
        let (world, jar) = World::signed_in(mode).await;
        let malformed = Fault::member(name, value).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, malformed);
        world.expire_token();
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status, expected, "{name}");
        world.expire_token();
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(world.refreshes(), 2, "{name}");
    }
}

/// RFC 6750 §2.1: a printable token that is not a b64token is not handed out. The rotated refresh token is kept.
async fn an_access_token_with_a_space_is_refused_by_name(mode: Mode) {
    let (world, mut jar) = World::signed_in(mode).await;
    world.fail_refresh_once(Fault::member("access_token", "a b"));
    // Its `at_hash` is that of another token.
    world.fail_refresh_once(Fault::without_member("id_token"));
    world.expire_token();
    let answer = world.token(&world.a, &jar).await;
    let (status, text) = status_and_text(&answer);
    assert_eq!((status, text.as_str()), (500, "UnusableAccessToken"));
    jar.take(&answer);
    assert_eq!(world.a.greeting(&jar).await, "hello alice");
    world.expire_token();
    assert_eq!(world.token(&world.a, &jar).await.status, 200);
}

/// RFC 9449 §5, OpenID Connect Core §12.2: such tokens are not for this session.
#[tokio::test]
async fn tokens_of_another_type_or_with_a_forged_id_token_end_the_session() {
    let another_type = || Fault::member("token_type", "DPoP");
    let forged = || Fault::id_token(|mint| mint.with_wrong_key());
    for (name, fault) in [("type", another_type()), ("ID token", forged())] {
        let (world, jar) = World::signed_in(Mode::Store).await;
        let fault = fault.only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, fault);
        world.expire_token();
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status, 401, "{name}");
        assert_eq!(world.a.greeting(&jar).await, "hello stranger", "{name}");
    }
}

/// Some servers answer so for a dead refresh token, and so do proxies during an outage. It rejects the refresh token if it is
/// repeated while refreshes of other sessions succeed.
#[tokio::test]
async fn a_repeated_400_without_an_error_code_ends_the_session_if_other_refreshes_succeed() {
    for (others_succeed, wait, expected) in [(true, 61, 401), (true, 30, 503), (false, 61, 503)] {
        let (world, alice) = World::signed_in(Mode::Store).await;
        let mut bob = Jar::default();
        world.a.sign_in("bob", &mut bob).await;
        let unexplained = || Fault::status(400).only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, unexplained());
        world.expire_token();
        assert_eq!(world.token(&world.a, &alice).await.status, 503);
        world.server.clear_faults(Endpoint::Token);
        if others_succeed {
            world.advance(1);
            assert_eq!(world.token(&world.a, &bob).await.status, 200);
        }
        world.server.fail(Endpoint::Token, unexplained());
        world.advance(wait);
        let status = world.token(&world.a, &alice).await.status;
        assert_eq!(status, expected, "{others_succeed} {wait}");
        assert_eq!(world.refreshes(), 2 + usize::from(others_succeed));
    }
}

/// A compromised server returns any text: each log line stays one short line.
#[tokio::test]
async fn responses_are_sanitized_in_the_log() {
    let body = serde_json::json!({
        "error": format!("\u{1b}[31m\r\nevent=\"login_succeeded\"{}", "x".repeat(10_000)),
        "error_description": "<script>\r\n\0secret",
    });
    let (_, log, _) = after(Mode::Store, 400, &body.to_string()).await;
    let line = log
        .lines()
        .find(|line| line.contains("refresh_misconfigured"));
    let line = line.unwrap();
    assert!(line.len() < 400, "{line}");
    assert!(!log.contains('\u{1b}'), "{line}");
    // The description is for administrators, escaped.
    assert!(line.contains(r"<script>\r\n\0secret"), "{line}");
    assert!(!log.lines().any(|line| line.starts_with("event=")));
}

/// A refresh returns no scope beyond those of the login (RFC 6749 §6).
#[tokio::test]
async fn a_refresh_response_with_more_scopes_adds_none() {
    for (scope, left) in [
        (serde_json::json!("openid profile email admin"), "openid"),
        (serde_json::json!(["openid", "admin"]), "openid"),
        (serde_json::json!("admin"), ""),
        (serde_json::json!(""), "openid"),
        (serde_json::json!({}), "openid"),
        (serde_json::json!(null), "openid"),
    ] {
        let world = World::with(Mode::Store, |client| client.with_scopes("openid").unwrap());
        let jar = world.a.signed_in().await;
        world.fail_refreshes(Fault::member("scope", scope.clone()));
        world.expire_token();
        assert_eq!(world.token(&world.a, &jar).await.status, 200);
        let answer = world.a.send(Ask::page("/scopes").jar(&jar)).await;
        assert_eq!(answer.text(), left, "{scope}");
    }
}

/// A token without `expires_in` is used for five minutes, and one with `expires_in` 0 is not used.
async fn a_missing_expires_in_is_not_unlimited(mode: Mode) {
    let (world, mut jar) = World::signed_in(mode).await;
    world.fail_refreshes(Fault::without_member("expires_in"));
    world.expire_token();
    let first = world.token(&world.a, &jar).await;
    jar.take(&first);
    world.expire_token();
    let second = world.token(&world.a, &jar).await;
    assert_ne!(first.text(), second.text());
    assert_eq!(
        (second.status, world.refreshes()),
        (http::StatusCode::OK, 2)
    );

    let (world, jar) = World::signed_in(mode).await;
    world.fail_refreshes(Fault::member("expires_in", 0));
    world.expire_token();
    let answer = world.token(&world.a, &jar).await;
    assert_eq!(status_and_text(&answer), (401, "expired".to_owned()));
    settle().await;
    // One for each caller, not several for one caller.
    assert!(world.refreshes() <= 2);
}

/// No request is sent if its result cannot be saved.
async fn without_its_store_a_session_is_not_refreshed(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let session = world.kept_session(&jar).await;
    world.expire_token();
    world.store.off();
    for _ in 0..3 {
        let outcome = world.in_time(session.access_token()).await;
        let outcome = refresh::response_of(outcome.map(|it| it.expose().to_owned()));
        assert_eq!(outcome.0, 503);
    }
    assert_eq!(world.refreshes(), 0);
    world.store.on();
    assert!(world.in_time(session.access_token()).await.is_ok());
    assert_eq!(world.refreshes(), 1);
}
