//! Refresh responses that cannot or must not be used.

use tower_oauth::testing::{Endpoint, Fault, GrantType};

use crate::support::logs::Logs;
use crate::support::refresh;
use crate::support::refresh::{LIFETIME, MODES, Mode, World, settle, status_and_text, token};
use crate::support::shop::Ask;

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
    let world = World::new(mode);
    let jar = world.a.signed_in().await;
    answering(&world, status, body);
    let log = Logs::default();
    let recording = log.record();
    world.clock().advance(LIFETIME);
    let answer = world.in_time(token(&world.a, &jar)).await;
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

#[tokio::test]
async fn an_unusable_refresh_response_ends_no_session_and_returns_no_token() {
    let huge = format!(
        r#"{{"access_token":"{}","token_type":"Bearer"}}"#,
        "a".repeat(1 << 20)
    );
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (name, status, body, expected) in [
        ("H76 a page", 200, "<html>", 503),
        ("H76 400 of a proxy", 400, "<html>", 502),
        ("H76 401 of a proxy", 401, "", 502),
        ("H76 500", 500, "", 503),
        ("H76 502", 502, "<html>", 503),
        ("a redirect", 302, "", 502),
        ("nothing", 200, "", 503),
        ("a list", 200, "[]", 503),
        ("null", 200, "null", 503),
        ("deep", 200, &deep, 503),
        ("H77 no type", 200, r#"{"access_token":"a"}"#, 503),
        (
            "H77 mac",
            200,
            r#"{"access_token":"a","token_type":"mac"}"#,
            503,
        ),
        (
            "H77 DPoP",
            200,
            r#"{"access_token":"a","token_type":"DPoP"}"#,
            503,
        ),
        (
            "H79 a scope that cannot be split",
            200,
            r#"{"access_token":"a","token_type":"Bearer","scope":["a b"]}"#,
            503,
        ),
        (
            "H80 empty",
            200,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            503,
        ),
        (
            "H80 beyond ASCII",
            200,
            r#"{"access_token":"é","token_type":"Bearer"}"#,
            503,
        ),
        (
            "H80 CRLF",
            200,
            r#"{"access_token":"a\r\nSet-Cookie: x=y","token_type":"Bearer"}"#,
            503,
        ),
        ("H80 1 MiB", 200, &huge, 503),
        (
            "H80 a refresh token with CRLF",
            200,
            r#"{"access_token":"a","token_type":"Bearer","refresh_token":"a\r\nb"}"#,
            503,
        ),
        (
            "H82 twice",
            200,
            r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
            503,
        ),
        (
            "a lifetime that is no number",
            200,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":"soon"}"#,
            503,
        ),
        (
            "an ID token that is none",
            200,
            r#"{"access_token":"a","token_type":"Bearer","id_token":"a.b.c"}"#,
            503,
        ),
        (
            "an unknown error",
            400,
            r#"{"error":"invalid_grant "}"#,
            502,
        ),
        (
            "H86 a nonce for DPoP",
            400,
            r#"{"error":"use_dpop_nonce"}"#,
            502,
        ),
    ] {
        for mode in MODES {
            let (_, _, status) = after(mode, status, body).await;
            assert_eq!(status, expected, "{name} {mode:?}");
        }
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
    assert!(
        !log.contains('\u{1b}') && !line.contains("<script>"),
        "{line}"
    );
    assert!(!log.lines().any(|line| line.starts_with("event=")));
}

/// A refresh returns no scope beyond those of the login (RFC 6749 §6).
#[tokio::test]
async fn a_refresh_response_with_more_scopes_adds_none() {
    for (scope, left) in [
        (serde_json::json!("openid profile email admin"), "openid"),
        (serde_json::json!(["openid", "admin"]), "openid"),
        (serde_json::json!("admin"), ""),
        (serde_json::json!(""), ""),
        (serde_json::json!(null), "openid"),
    ] {
        let world = World::with(Mode::Store, |client| client.with_scopes("openid").unwrap());
        let jar = world.a.signed_in().await;
        let more = Fault::member("scope", scope.clone()).only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, more);
        world.clock().advance(LIFETIME);
        assert_eq!(world.in_time(token(&world.a, &jar)).await.status, 200);
        let answer = world.a.send(Ask::page("/scopes").jar(&jar)).await;
        assert_eq!(answer.text(), left, "{scope}");
    }
}

/// A token without `expires_in` is used for five minutes, and one with `expires_in` 0 is not used.
#[tokio::test]
async fn a_missing_expires_in_is_not_unlimited() {
    for mode in MODES {
        let world = World::new(mode);
        let mut jar = world.a.signed_in().await;
        let silent = Fault::without_member("expires_in").only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, silent);
        world.clock().advance(LIFETIME);
        let first = world.in_time(token(&world.a, &jar)).await;
        jar.take(&first);
        world.clock().advance(LIFETIME);
        let second = world.in_time(token(&world.a, &jar)).await;
        assert_ne!(first.text(), second.text(), "{mode:?}");
        assert_eq!(
            (second.status, world.refreshes()),
            (http::StatusCode::OK, 2)
        );

        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let dead = Fault::member("expires_in", 0).only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, dead);
        world.clock().advance(LIFETIME);
        let answer = world.in_time(token(&world.a, &jar)).await;
        assert_eq!(
            status_and_text(&answer),
            (401, "expired".to_owned()),
            "{mode:?}"
        );
        settle().await;
        // One for each caller, not several for one caller.
        assert!(world.refreshes() <= 2, "{mode:?}");
    }
}

/// No request is sent if its result cannot be saved.
#[tokio::test]
async fn without_its_store_a_session_is_not_refreshed() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        world.a.send(Ask::page("/keep").jar(&jar)).await;
        let session = world.kept.lock().unwrap()[0].clone();
        world.clock().advance(LIFETIME);
        world.store.off();
        for _ in 0..3 {
            let outcome = world.in_time(session.access_token()).await;
            let outcome = refresh::response_of(outcome.map(|it| it.expose().to_owned()));
            assert_eq!(outcome.0, 503, "{mode:?}");
        }
        assert_eq!(world.refreshes(), 0, "{mode:?}");
        world.store.on();
        assert!(world.in_time(session.access_token()).await.is_ok());
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}
