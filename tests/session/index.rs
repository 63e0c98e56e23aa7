//! The index of sessions: a bulk logout finds all sessions of a user, and those of no other user or client.

use std::time::Duration;

use tower_oauth::testing::{Endpoint, Fault, GrantType, TestClient};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    with_store: [
        a_session_that_outlives_its_first_refresh_token_is_still_indexed,
        a_session_that_outlives_its_first_refresh_token_still_counts,
        an_administrator_ends_a_session_whose_id_token_is_from_the_future,
        clients_that_share_a_store_do_not_end_each_others_sessions,
    ],
}

/// Sends requests every few minutes for three quarters of an hour, so that refresh tokens with a lifetime of
/// half an hour rotate.
async fn keep_using(nodes: &Nodes, jar: &mut Jar) {
    for _ in 0..10 {
        nodes.server.clock().advance(Duration::from_secs(270));
        let answer = nodes.first.send(Ask::page("/").jar(jar)).await;
        assert_eq!(answer.text(), ALICE);
        jar.take(&answer);
        settle().await;
    }
}

/// Many servers restart the lifetime of a refresh token at each rotation.
async fn a_session_that_outlives_its_first_refresh_token_is_still_indexed(mode: Mode) {
    for name in ["sid", "sub", "end_user", "end_sid"] {
        let nodes = Nodes::with(mode, &sliding(), |login| login);
        let mut jar = nodes.signed_in("alice").await;
        let sid = nodes.sid_besides("alice", &[]);
        keep_using(&nodes, &mut jar).await;
        assert!(
            nodes.server.count_grant(GrantType::RefreshToken) > 5,
            "{name}"
        );
        let sessions = nodes.login.sessions();
        assert_eq!(sessions.of_user("alice").await.unwrap().len(), 1, "{name}");
        assert_eq!(sessions.of_sid(&sid).await.unwrap().len(), 1, "{name}");
        match name {
            "sid" => drop(nodes.send_logout_token(&nodes.one(&sid).sign()).await),
            "sub" => drop(nodes.send_logout_token(&nodes.all_of("alice").sign()).await),
            "end_user" => assert_eq!(sessions.end_user("alice").await.unwrap(), 1, "{name}"),
            _ => assert_eq!(sessions.end_sid(&sid).await.unwrap(), 1, "{name}"),
        }
        assert_eq!(nodes.greeting(&jar).await, STRANGER, "{name}");
    }
}

/// Those sessions count too.
async fn a_session_that_outlives_its_first_refresh_token_still_counts(mode: Mode) {
    let one = |login: LoginLayer| login.with_max_sessions_per_user(1).unwrap();
    let nodes = Nodes::with(mode, &sliding(), one);
    let mut before = nodes.signed_in("alice").await;
    keep_using(&nodes, &mut before).await;
    let after = nodes.signed_in("alice").await;
    assert_eq!(nodes.greeting(&before).await, STRANGER);
    assert_eq!(nodes.greeting(&after).await, ALICE);
}

/// The session secret is never set again, so its cookie lasts as long as the session can.
#[tokio::test]
async fn a_browser_keeps_its_secret_although_the_first_refresh_token_is_short_lived() {
    let nodes = Nodes::with(Mode::Store, &sliding(), |login| login);
    let answer = nodes.first.sign_in("alice", &mut Jar::default()).await;
    let cookies = answer.set_cookies();
    let session = cookies.iter().find(|cookie| cookie.starts_with(SESSION));
    assert!(session.unwrap().contains("Max-Age=28800"), "{session:?}");
}

/// The clock of the authorization server is some seconds ahead.
async fn an_administrator_ends_a_session_whose_id_token_is_from_the_future(mode: Mode) {
    for by_user in [true, false] {
        let nodes = Nodes::new(mode);
        let ahead = nodes.server.clock().unix_seconds() + 20;
        let fault = Fault::id_token(move |token| token.with_claim("iat", ahead));
        nodes.server.fail(Endpoint::Token, fault);
        let jar = nodes.signed_in("alice").await;
        let sid = nodes.sid_besides("alice", &[]);
        assert_eq!(nodes.greeting(&jar).await, ALICE);
        let sessions = nodes.login.sessions();
        let ended = match by_user {
            true => sessions.end_user("alice").await,
            false => sessions.end_sid(&sid).await,
        };
        assert_eq!(ended.unwrap(), 1, "{by_user}");
        assert_eq!(nodes.greeting(&jar).await, STRANGER, "{by_user}");
        // The next login succeeds.
        nodes.server.clear_faults(Endpoint::Token);
        nodes.server.clock().advance(SECOND);
        let again = nodes.signed_in("alice").await;
        assert_eq!(nodes.greeting(&again).await, ALICE, "{by_user}");
    }
}

/// A logout at one client ends no session of another client that shares the store.
async fn clients_that_share_a_store_do_not_end_each_others_sessions(mode: Mode) {
    let desk = TestClient::confidential("desk", "desk-secret")
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .without_consent();
    let server = server().add_client(desk);
    let nodes = Nodes::with(mode, &server, |login| login);
    let client = Client::confidential("desk", "desk-secret");
    let key = CookieKey::from_bytes(&KEY).unwrap();
    let desk = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key).unwrap();
    let desk = mode.place_in(desk, nodes.store.clone());
    let desk = desk.with_max_sessions_per_user(1).unwrap();
    let other = Shop {
        server: server.clone(),
        app: app(&desk),
    };
    let here = nodes.signed_in("alice").await;
    let there = other.signed_in().await;
    assert_eq!(nodes.greeting(&here).await, ALICE, "too many");
    assert_eq!(other.greeting(&there).await, ALICE);
    assert_eq!(desk.sessions().of_user("alice").await.unwrap().len(), 1);

    let token = server.logout_token("desk").with_subject("alice").sign();
    assert_eq!(nodes.send_logout_token(&token).await.status, 400);
    assert_eq!(other.send(delivery(&token)).await.status, 200);
    assert_eq!(other.greeting(&there).await, STRANGER);
    assert_eq!(nodes.greeting(&here).await, ALICE);

    server.clock().advance(SECOND);
    let there = other.signed_in().await;
    assert_eq!(desk.sessions().end_user("alice").await.unwrap(), 1);
    assert_eq!(other.greeting(&there).await, STRANGER);
    assert_eq!(nodes.greeting(&here).await, ALICE);
}

/// Expired sessions evict no session in use.
#[tokio::test]
async fn an_index_full_of_ended_sessions_ends_no_live_one() {
    let limits = |login: LoginLayer| login.with_session_limits(8 * HOUR, MINUTE).unwrap();
    let nodes = Nodes::with(Mode::Store, &server(), limits);
    let first = nodes.signed_in("alice").await;
    for _ in 0..255 {
        nodes.signed_in("alice").await;
    }
    for _ in 0..5 {
        nodes.server.clock().advance(40 * SECOND);
        assert_eq!(nodes.greeting(&first).await, ALICE);
    }
    let last = nodes.signed_in("alice").await;
    assert_eq!(nodes.greeting(&last).await, ALICE);
    assert_eq!(nodes.greeting(&first).await, ALICE);
    let listed = nodes.login.sessions().of_user("alice").await.unwrap();
    assert_eq!(listed.len(), 2);
}
