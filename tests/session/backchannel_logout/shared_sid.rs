//! An authorization server that uses one `sid` for the sessions of many users.

use super::*;
use tower_oauth::testing::{TestServer, TestUser};

const USERS: usize = 300;

fn server_with_shared_sid() -> TestServer {
    let users = (0..USERS).map(|n| TestUser::new(&format!("user-{n}"), "builder"));
    let server = users.fold(server(), TestServer::add_user);
    let fault = Fault::id_token(|mint| mint.with_claim("sid", "shared"));
    server.fail(Endpoint::Token, fault);
    server
}

#[tokio::test]
async fn users_who_share_a_sid_do_not_end_each_other() {
    for mode in SHARED {
        let nodes = Nodes::with(mode, &server_with_shared_sid(), |login| login);
        let mut jars = Vec::new();
        for n in 0..USERS {
            jars.push(nodes.signed_in(&format!("user-{n}")).await);
        }
        for (n, jar) in jars.iter().enumerate() {
            assert_eq!(
                nodes.first.greeting(jar).await,
                format!("hello user-{n}"),
                "{mode:?}"
            );
        }
        let listed = nodes.login.sessions().of_sid("shared").await.unwrap();
        assert_eq!(listed.len(), USERS, "{mode:?}");

        // A token that names one of them ends that one.
        let token = nodes.one("shared").with_subject("user-7");
        assert_done(&nodes.send_logout_token(&token.sign()).await, "one of them");
        for (n, jar) in jars.iter().enumerate() {
            let expected = if n == 7 {
                STRANGER.to_owned()
            } else {
                format!("hello user-{n}")
            };
            assert_eq!(nodes.greeting(jar).await, expected, "{mode:?}");
        }
        // A token with the `sid` alone ends all of them.
        let token = nodes.one("shared").without_claim("sub");
        assert_done(&nodes.send_logout_token(&token.sign()).await, "all of them");
        for jar in &jars {
            assert_eq!(nodes.greeting(jar).await, STRANGER, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn one_user_with_too_many_sessions_of_a_shared_sid_ends_no_session_of_others() {
    for mode in SHARED {
        let nodes = Nodes::with(mode, &server_with_shared_sid(), |login| login);
        let other = nodes.signed_in("bob").await;
        let first = nodes.signed_in("user-1").await;
        for _ in 0..260 {
            nodes.signed_in("user-1").await;
        }
        assert_eq!(nodes.greeting(&other).await, "hello bob", "{mode:?}");
        assert_eq!(nodes.greeting(&first).await, STRANGER, "{mode:?}");
        let listed = nodes.login.sessions().of_user("user-1").await.unwrap();
        assert_eq!(listed.len(), 256, "{mode:?}");
    }
}

/// Some servers use another `sub` in logout tokens than in ID tokens.
#[tokio::test]
async fn a_sid_of_one_user_is_ended_although_the_token_has_another_sub() {
    for mode in SHARED {
        let nodes = Nodes::new(mode);
        let jar = nodes.signed_in("bob").await;
        let sid = nodes.sid_besides("bob", &[]);
        let token = nodes.one(&sid).with_subject("pairwise-of-bob");
        assert_done(&nodes.send_logout_token(&token.sign()).await, "pairwise");
        assert_eq!(nodes.greeting(&jar).await, STRANGER, "{mode:?}");
    }
}

/// The usual sign-out: here first, then at the authorization server, which then sends logout tokens. At that
/// time the index of the `sid` has sessions of a single other user.
#[tokio::test]
async fn a_logout_token_after_the_sign_out_of_its_user_ends_no_other_user_with_the_sid() {
    for mode in SHARED {
        for waits in [0, 50, 1800] {
            let name = format!("{mode:?} {waits}");
            let nodes = Nodes::with(mode, &server_with_shared_sid(), |login| login);
            let jar = nodes.signed_in("user-1").await;
            let other = nodes.signed_in("bob").await;
            let sign_out = Ask::new("POST", "/auth/logout").set("sec-fetch-site", "same-origin");
            nodes.first.send(sign_out.jar(&jar)).await;
            nodes.server.clock().advance(Duration::from_secs(waits));
            let token = nodes.one("shared").with_subject("user-1");
            assert_done(&nodes.send_logout_token(&token.sign()).await, &name);
            assert_eq!(nodes.greeting(&other).await, "hello bob", "{name}");
            assert_eq!(nodes.greeting(&jar).await, "hello stranger", "{name}");
        }
    }
}
