//! An authorization server that uses one `sid` for the sessions of many users.

use super::*;
use crate::support::modes::{Mode, session_modes};
use tower_oauth::testing::{TestServer, TestUser};

session_modes! {
    with_store: [
        users_who_share_a_sid_do_not_end_each_other,
        one_user_with_too_many_sessions_of_a_shared_sid_ends_no_session_of_others,
        a_sid_of_one_user_is_ended_although_the_token_has_another_sub,
        a_logout_token_after_the_sign_out_of_its_user_ends_no_other_user_with_the_sid,
    ],
}

const USERS: usize = 300;

fn server_with_shared_sid() -> TestServer {
    let users = (0..USERS).map(|n| TestUser::new(&format!("user-{n}"), "builder"));
    let server = users.fold(server(), TestServer::add_user);
    let fault = Fault::id_token(|mint| mint.with_claim("sid", "shared"));
    server.fail(Endpoint::Token, fault);
    server
}

async fn users_who_share_a_sid_do_not_end_each_other(mode: Mode) {
    let nodes = Nodes::with(mode, &server_with_shared_sid(), |login| login);
    let mut jars = Vec::new();
    for n in 0..USERS {
        jars.push(nodes.signed_in(&format!("user-{n}")).await);
    }
    for (n, jar) in jars.iter().enumerate() {
        assert_eq!(nodes.first.greeting(jar).await, format!("hello user-{n}"));
    }
    let listed = nodes.login.sessions().of_sid("shared").await.unwrap();
    assert_eq!(listed.len(), USERS);

    // A token that names one of them ends that one.
    let token = nodes.one("shared").with_subject("user-7");
    assert_done(&nodes.send_logout_token(&token.sign()).await);
    for (n, jar) in jars.iter().enumerate() {
        let expected = if n == 7 {
            STRANGER.to_owned()
        } else {
            format!("hello user-{n}")
        };
        assert_eq!(nodes.greeting(jar).await, expected);
    }
    // A token with the `sid` alone ends all of them.
    let token = nodes.one("shared").without_claim("sub");
    assert_done(&nodes.send_logout_token(&token.sign()).await);
    for jar in &jars {
        assert_eq!(nodes.greeting(jar).await, STRANGER);
    }
}

async fn one_user_with_too_many_sessions_of_a_shared_sid_ends_no_session_of_others(mode: Mode) {
    let nodes = Nodes::with(mode, &server_with_shared_sid(), |login| login);
    let other = nodes.signed_in("bob").await;
    let first = nodes.signed_in("user-1").await;
    for _ in 0..260 {
        nodes.signed_in("user-1").await;
    }
    assert_eq!(nodes.greeting(&other).await, "hello bob");
    assert_eq!(nodes.greeting(&first).await, STRANGER);
    let listed = nodes.login.sessions().of_user("user-1").await.unwrap();
    assert_eq!(listed.len(), 256);
}

/// Some servers use another `sub` in logout tokens than in ID tokens.
async fn a_sid_of_one_user_is_ended_although_the_token_has_another_sub(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("bob").await;
    let sid = nodes.sid_besides("bob", &[]);
    let token = nodes.one(&sid).with_subject("pairwise-of-bob");
    assert_done(&nodes.send_logout_token(&token.sign()).await);
    assert_eq!(nodes.greeting(&jar).await, STRANGER);
}

/// The usual sign-out: here first, then at the authorization server, which then sends logout tokens. At that
/// time the index of the `sid` has sessions of a single other user.
async fn a_logout_token_after_the_sign_out_of_its_user_ends_no_other_user_with_the_sid(mode: Mode) {
    for waits in [0, 50, 1800] {
        let name = format!("{waits}");
        let nodes = Nodes::with(mode, &server_with_shared_sid(), |login| login);
        let jar = nodes.signed_in("user-1").await;
        let other = nodes.signed_in("bob").await;
        let sign_out = Ask::new("POST", "/auth/logout").set("sec-fetch-site", "same-origin");
        nodes.first.send(sign_out.jar(&jar)).await;
        nodes.server.clock().advance(Duration::from_secs(waits));
        let token = nodes.one("shared").with_subject("user-1");
        assert_done(&nodes.send_logout_token(&token.sign()).await);
        assert_eq!(nodes.greeting(&other).await, "hello bob", "{name}");
        assert_eq!(nodes.greeting(&jar).await, "hello stranger", "{name}");
    }
}
