//! Attacks on sessions: ended sessions stay ended, a bulk logout finds all of its sessions, and no other
//! session ends.

mod two_layers;

mod denylist;
mod kept_session;
mod planted;
mod store_failure;

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::session::SessionId;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault, GrantType, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};

use crate::support::logs;
use crate::support::nodes::*;
use crate::support::shop::*;

const STRANGER: &str = "hello stranger";
const ALICE: &str = "hello alice";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn server_with(client: TestClient) -> TestServer {
    logs::listen();
    TestServer::new(ISSUER)
        .unwrap()
        .add_client(client)
        .add_user(TestUser::new("alice", "wonderland"))
        .add_user(TestUser::new("bob", "builder"))
}

fn sign_out() -> Ask {
    Ask::new("POST", "/auth/logout?return_to=/notes").with(&[("sec-fetch-site", "same-origin")])
}

/// Returns the token type hints of the revocations so far.
fn revoked(server: &TestServer) -> Vec<String> {
    let requests = server.requests();
    let asked = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Revocation);
    asked
        .map(|request| request.parameter("token_type_hint").unwrap())
        .collect()
}

async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
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

fn sliding() -> TestServer {
    server_with(client().with_refresh_token_lifetime(30 * MINUTE))
}

/// Many servers restart the lifetime of a refresh token at each rotation.
#[tokio::test]
async fn a_session_that_outlives_its_first_refresh_token_is_still_indexed() {
    for mode in SHARED {
        for way in ["sid", "sub", "end_user", "end_sid"] {
            let name = format!("{mode:?} {way}");
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
            match way {
                "sid" => drop(nodes.send_logout_token(&nodes.one(&sid).sign()).await),
                "sub" => drop(nodes.send_logout_token(&nodes.all_of("alice").sign()).await),
                "end_user" => assert_eq!(sessions.end_user("alice").await.unwrap(), 1, "{name}"),
                _ => assert_eq!(sessions.end_sid(&sid).await.unwrap(), 1, "{name}"),
            }
            assert_eq!(nodes.greeting(&jar).await, STRANGER, "{name}");
        }
    }
}

/// Those sessions count too.
#[tokio::test]
async fn a_session_that_outlives_its_first_refresh_token_still_counts() {
    for mode in SHARED {
        let one = |login: LoginLayer| login.with_max_sessions_per_user(1).unwrap();
        let nodes = Nodes::with(mode, &sliding(), one);
        let mut before = nodes.signed_in("alice").await;
        keep_using(&nodes, &mut before).await;
        let after = nodes.signed_in("alice").await;
        assert_eq!(nodes.greeting(&before).await, STRANGER, "{mode:?}");
        assert_eq!(nodes.greeting(&after).await, ALICE, "{mode:?}");
    }
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
#[tokio::test]
async fn an_administrator_ends_a_session_whose_id_token_is_from_the_future() {
    for mode in SHARED {
        for by_user in [true, false] {
            let nodes = Nodes::new(mode);
            let ahead = nodes.server.clock().unix_seconds() + 20;
            let fault = Fault::id_token(move |token| token.with_claim("iat", ahead));
            nodes.server.fail(Endpoint::Token, fault);
            let jar = nodes.signed_in("alice").await;
            let sid = nodes.sid_besides("alice", &[]);
            assert_eq!(nodes.greeting(&jar).await, ALICE, "{mode:?}");
            let sessions = nodes.login.sessions();
            let ended = match by_user {
                true => sessions.end_user("alice").await,
                false => sessions.end_sid(&sid).await,
            };
            assert_eq!(ended.unwrap(), 1, "{mode:?} {by_user}");
            assert_eq!(nodes.greeting(&jar).await, STRANGER, "{mode:?} {by_user}");
            // The next login succeeds.
            nodes.server.clear_faults(Endpoint::Token);
            nodes.server.clock().advance(SECOND);
            let again = nodes.signed_in("alice").await;
            assert_eq!(nodes.greeting(&again).await, ALICE, "{mode:?} {by_user}");
        }
    }
}

/// The clock of the process of the login was ahead, within the tolerance.
#[tokio::test]
async fn a_copy_of_an_ended_cookie_is_rejected_until_it_expires() {
    let server = server();
    let store = MemoryStore::new()
        .with_clock(server.clock())
        .with_single_process();
    let node = || Shop {
        server: server.clone(),
        app: app(&login(&server)
            .with_shared_store(store.clone())
            .with_session_limits(8 * HOUR, 8 * HOUR)
            .unwrap()),
    };
    server.clock().adjust_wall_clock(50);
    let jar = node().signed_in().await;
    server.clock().adjust_wall_clock(-50);
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    assert_eq!(node().send(ask.jar(&jar)).await.status, 303);
    assert_eq!(node().greeting(&jar).await, STRANGER);
    server.clock().advance(8 * HOUR);
    for _ in 0..6 {
        server.clock().advance(10 * SECOND);
        assert_eq!(node().greeting(&jar).await, STRANGER);
    }
    server.clock().advance(HOUR);
    assert_eq!(node().greeting(&jar).await, STRANGER);
}

/// A logout at one client ends no session of another client that shares the store.
#[tokio::test]
async fn clients_that_share_a_store_do_not_end_each_others_sessions() {
    for mode in SHARED {
        let desk = TestClient::confidential("desk", "desk-secret")
            .add_redirect_uri(CALLBACK)
            .unwrap()
            .without_consent();
        let server = server().add_client(desk);
        let nodes = Nodes::with(mode, &server, |login| login);
        let client = Client::confidential("desk", "desk-secret");
        let key = CookieKey::from_bytes(&KEY).unwrap();
        let desk = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key).unwrap();
        let desk = match mode {
            Mode::Store => desk.with_session_store(nodes.store.clone()),
            _ => desk.with_shared_store(nodes.store.clone()),
        };
        let desk = desk.with_max_sessions_per_user(1).unwrap();
        let other = Shop {
            server: server.clone(),
            app: app(&desk),
        };
        let here = nodes.signed_in("alice").await;
        let there = other.signed_in().await;
        assert_eq!(nodes.greeting(&here).await, ALICE, "{mode:?}: too many");
        assert_eq!(other.greeting(&there).await, ALICE, "{mode:?}");
        assert_eq!(desk.sessions().of_user("alice").await.unwrap().len(), 1);

        let token = server.logout_token("desk").with_subject("alice").sign();
        assert_eq!(
            nodes.send_logout_token(&token).await.status,
            400,
            "{mode:?}"
        );
        assert_eq!(other.send(delivery(&token)).await.status, 200, "{mode:?}");
        assert_eq!(other.greeting(&there).await, STRANGER, "{mode:?}");
        assert_eq!(nodes.greeting(&here).await, ALICE, "{mode:?}");

        server.clock().advance(SECOND);
        let there = other.signed_in().await;
        assert_eq!(desk.sessions().end_user("alice").await.unwrap(), 1);
        assert_eq!(other.greeting(&there).await, STRANGER, "{mode:?}");
        assert_eq!(nodes.greeting(&here).await, ALICE, "{mode:?}");
    }
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

/// A deployment raises the limits; entries from before keep the old ones.
#[tokio::test]
async fn a_raised_limit_extends_no_existing_session() {
    for mode in SHARED {
        let server = server();
        let memory = MemoryStore::new()
            .with_clock(server.clock())
            .with_single_process();
        let node = |absolute| {
            let login = match mode {
                Mode::Store => login(&server).with_session_store(memory.clone()),
                _ => login(&server).with_shared_store(memory.clone()),
            };
            let login = login.with_session_limits(absolute, absolute).unwrap();
            Shop {
                server: server.clone(),
                app: app(&login),
            }
        };
        let (before, after) = (node(HOUR), node(8 * HOUR));
        let kept = before.signed_in().await;
        let left = before.signed_in().await;
        let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
        assert_eq!(before.send(ask.jar(&left)).await.status, 303, "{mode:?}");
        server.clock().advance(59 * MINUTE);
        assert_eq!(after.greeting(&left).await, STRANGER, "{mode:?}");
        assert_eq!(after.greeting(&kept).await, ALICE, "{mode:?}");
        server.clock().advance(3 * MINUTE);
        for jar in [&kept, &left] {
            assert_eq!(after.greeting(jar).await, STRANGER, "{mode:?}");
        }
        let long = after.signed_in().await;
        server.clock().advance(7 * HOUR);
        assert_eq!(after.greeting(&long).await, ALICE, "{mode:?}");
        // A lowered limit applies to all sessions.
        assert_eq!(before.greeting(&long).await, STRANGER, "{mode:?}");
    }
}

/// With the same store and the same cookie name.
#[tokio::test]
async fn a_session_of_one_backend_is_anonymous_with_another() {
    let server = server();
    let memory = MemoryStore::new()
        .with_clock(server.clock())
        .with_single_process();
    let node = |mode| {
        let login = match mode {
            Mode::Store => login(&server).with_session_store(memory.clone()),
            Mode::Shared => login(&server).with_shared_store(memory.clone()),
            Mode::Cookie => login(&server),
        };
        Shop {
            server: server.clone(),
            app: app(&login),
        }
    };
    let jar = node(Mode::Store).signed_in().await;
    for mode in [Mode::Shared, Mode::Cookie] {
        let answer = node(mode).send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), STRANGER, "{mode:?}");
        assert_eq!(answer.clears(), [SESSION], "{mode:?}");
    }
    for mode in [Mode::Shared, Mode::Cookie] {
        let sealed = node(mode).signed_in().await;
        let answer = node(Mode::Store).send(Ask::page("/").jar(&sealed)).await;
        assert_eq!(answer.text(), STRANGER, "{mode:?}");
        assert!(answer.sets().is_empty(), "{mode:?}");
    }
    assert_eq!(node(Mode::Store).greeting(&jar).await, ALICE);
}

/// The cookies of two users do not form a session, and those of one session do not restore an ended one.
#[tokio::test]
async fn mixed_cookies_are_anonymous() {
    for mode in ALL {
        let nodes = Nodes::new(mode);
        let (alice, bob) = (nodes.signed_in("alice").await, nodes.signed_in("bob").await);
        let both = Jar([alice.0.clone(), bob.0.clone()].concat());
        let mut parts = alice.clone();
        let first = &mut parts.0[0].1;
        first.truncate(first.len() / 2);
        let half = &bob.0[0].1;
        first.push_str(&half[half.len() / 2..]);
        for (name, jar) in [("both", &both), ("halves", &parts)] {
            assert_eq!(nodes.greeting(jar).await, STRANGER, "{mode:?} {name}");
        }
        assert_eq!(nodes.first.greeting(&alice).await, ALICE, "{mode:?}");
    }
}

/// A callback that is repeated after a sign-out creates no session.
#[tokio::test]
async fn a_repeated_callback_does_not_restore_an_ended_session() {
    for mode in ALL {
        for way in ["logout", "admin", "back channel"] {
            let name = format!("{mode:?} {way}");
            let nodes = Nodes::new(mode);
            let mut jar = Jar::default();
            let answer = nodes.first.start("/auth/login", &mut jar).await;
            let callback = nodes.first.approve(answer.location(), "alice").await;
            let ask = Ask::page(&callback).jar(&jar);
            let answer = nodes.first.send(ask.clone()).await;
            let mut signed_in = Jar::default();
            signed_in.take(&answer);
            assert_eq!(nodes.first.greeting(&signed_in).await, ALICE, "{name}");
            match way {
                "logout" => {
                    let ask = Ask::new("POST", "/auth/logout")
                        .with(&[("sec-fetch-site", "same-origin")])
                        .jar(&signed_in);
                    nodes.first.send(ask).await;
                }
                _ if mode == Mode::Cookie => continue,
                "admin" => drop(nodes.login.sessions().end_user("alice").await.unwrap()),
                _ => drop(nodes.send_logout_token(&nodes.all_of("alice").sign()).await),
            }
            let mut again = Jar::default();
            again.take(&nodes.first.send(ask).await);
            assert_eq!(nodes.first.greeting(&again).await, STRANGER, "{name}");
            assert_eq!(nodes.first.greeting(&signed_in).await, STRANGER, "{name}");
        }
    }
}

/// A user with many writes does not evict the latest record of another.
#[tokio::test]
async fn a_busy_session_evicts_no_latest_record_of_others() {
    let server = sliding();
    let busy = |session: Session| async move {
        for n in 0..20_001_u32 {
            session.set_app_data(&n).await.unwrap();
        }
    };
    let token =
        |session: Session| async move { session.access_token().await.unwrap().expose().to_owned() };
    let app = Router::new()
        .route("/busy", get(busy))
        .route("/token", get(token))
        .layer(login(&server));
    let shop = Shop {
        server: server.clone(),
        app,
    };
    let alice = shop.signed_in().await;
    let mut bob = Jar::default();
    shop.sign_in("bob", &mut bob).await;
    server.clock().advance(Duration::from_secs(301));
    // The response is lost.
    let new = shop.send(Ask::page("/token").jar(&alice)).await.text();
    assert_eq!(shop.send(Ask::page("/busy").jar(&bob)).await.status, 200);
    let again = shop.send(Ask::page("/token").jar(&alice)).await;
    assert_eq!(again.text(), new);
    assert_eq!(server.count_grant(GrantType::RefreshToken), 2, "one each");
}

/// Clocks at the limits of their types.
#[tokio::test]
async fn extreme_clocks_cause_no_panic_and_extend_no_session() {
    for mode in ALL {
        for (turned, known) in [
            (30, true),
            (-30, true),
            (-100_000, false),
            (100_000, false),
            (-100_000_000_000, false),
            (100_000_000_000, false),
        ] {
            let name = format!("{mode:?} {turned}");
            let nodes = Nodes::new(mode);
            let jar = nodes.signed_in("alice").await;
            nodes.server.clock().adjust_wall_clock(turned);
            let ask = |path: &str| Ask::page(path).jar(&jar);
            let greeting = nodes.second.send(ask("/")).await.text();
            assert_eq!(greeting == ALICE, known, "{name}");
            for path in ["/", "/auth/session?extend=true", "/auth/logout", "/account"] {
                let status = nodes.first.send(ask(path)).await.status.as_u16();
                assert!(status < 500, "{name} {path} {status}");
            }
            if mode != Mode::Cookie {
                let sessions = nodes.login.sessions();
                sessions.of_user("alice").await.unwrap();
                sessions.end_user("alice").await.unwrap();
            }
            nodes.server.clock().adjust_wall_clock(-turned);
            let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
            assert_eq!(nodes.first.send(ask.jar(&jar)).await.status, 303, "{name}");
            assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{name}");
        }
    }
}

/// A session that no cookie can hold leaves nothing behind and evicts nothing.
#[tokio::test]
async fn a_session_that_is_too_large_for_cookies_leaves_nothing_behind() {
    for mode in [Mode::Shared, Mode::Cookie] {
        let nodes = Nodes::with(mode, &server(), |login| match mode {
            Mode::Shared => login.with_max_sessions_per_user(1).unwrap(),
            _ => login,
        });
        let before = nodes.signed_in("alice").await;
        let large = Fault::id_token(|token| token.with_claim("groups", "x".repeat(6000)));
        nodes.server.fail(Endpoint::Token, large);
        let answer = nodes.first.sign_in("alice", &mut Jar::default()).await;
        assert_eq!(answer.status, 500, "{mode:?}");
        assert!(answer.sets().is_empty(), "{mode:?}");
        assert_eq!(nodes.greeting(&before).await, ALICE, "{mode:?}");
        let revoked = nodes.server.count(Endpoint::Revocation);
        assert_eq!(revoked, 2, "{mode:?}: both tokens");
        if mode == Mode::Shared {
            let listed = nodes.login.sessions().of_user("alice").await.unwrap();
            assert_eq!(listed.len(), 1);
        }
    }
}
