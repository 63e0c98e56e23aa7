//! A `Session` that a handler keeps for longer than its request: it returns nothing after its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::Session;
use tower_oauth::session::{AppDataError, SessionError};
use tower_oauth::store::Store as _;
use tower_oauth::testing::{Endpoint, GrantType, TestServer};

use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        a_session_that_outlives_its_request_returns_ended_and_sends_no_token_request,
        a_session_that_outlives_its_request_ends_at_its_limits,
        a_session_that_outlives_its_request_is_not_idle_while_its_browser_uses_it,
    ],
    with_store: [
        a_session_that_outlives_its_request_returns_no_token_while_the_store_fails,
    ],
}

type Kept = Arc<Mutex<Vec<Session>>>;

/// Two processes whose handlers keep their sessions.
struct Keeping {
    nodes: Nodes,
    kept: Kept,
}

impl Keeping {
    fn new(mode: Mode) -> Self {
        Self::of(Nodes::new(mode))
    }

    fn of(mut nodes: Nodes) -> Self {
        let kept = Kept::default();
        let keep = {
            let kept = Arc::clone(&kept);
            move |session: Session| async move { kept.lock().unwrap().push(session) }
        };
        nodes.first.app = Router::new()
            .route("/keep", get(keep))
            .merge(app(&nodes.login))
            .layer(nodes.login.clone());
        Self { nodes, kept }
    }

    async fn keep(&self, jar: &Jar) -> Session {
        let answer = self.nodes.first.send(Ask::page("/keep").jar(jar)).await;
        assert_eq!(answer.status, StatusCode::OK);
        self.kept.lock().unwrap().pop().unwrap()
    }
}

async fn assert_ended(session: &Session, server: &TestServer, name: &str) {
    let (refreshes, userinfo) = (
        server.count_grant(GrantType::RefreshToken),
        server.count(Endpoint::UserInfo),
    );
    let ended = |outcome: Result<(), SessionError>| matches!(outcome, Err(SessionError::Ended));
    let token = session.access_token().await.map(drop);
    assert!(ended(token.clone()), "{name}: {token:?}");
    assert!(ended(session.refresh().await), "{name}");
    assert!(ended(session.userinfo().await.map(drop)), "{name}");
    let set = session.set_app_data("x").await;
    assert!(matches!(set, Err(AppDataError::Ended)), "{name}: {set:?}");
    let updated = session
        .update_app_data(|_: Option<String>| "x".to_owned())
        .await;
    assert!(
        matches!(updated, Err(AppDataError::Ended)),
        "{name}: {updated:?}"
    );
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        server.count_grant(GrantType::RefreshToken),
        refreshes,
        "{name}"
    );
    assert_eq!(server.count(Endpoint::UserInfo), userinfo, "{name}");
}

async fn a_session_that_outlives_its_request_returns_ended_and_sends_no_token_request(mode: Mode) {
    for way in [
        "here",
        "elsewhere",
        "sid",
        "sub",
        "by id",
        "user",
        "again",
        "frame",
    ] {
        let only_here = ["here", "by id", "again", "frame"];
        if mode == Mode::Cookie && !only_here.contains(&way) {
            continue;
        }
        // Before and after the access token expires.
        for age in [0, 280, 400] {
            let name = format!("{way} {age}");
            let keeping = Keeping::new(mode);
            let nodes = &keeping.nodes;
            let mut jar = nodes.signed_in("alice").await;
            let sid = nodes.sid_besides("alice", &[]);
            let session = keeping.keep(&jar).await;
            session.access_token().await.unwrap();
            let sessions = nodes.login.sessions();
            match way {
                "here" => drop(nodes.first.send(sign_out().jar(&jar)).await),
                "elsewhere" => drop(nodes.second.send(sign_out().jar(&jar)).await),
                "sid" => drop(
                    nodes
                        .send_logout_token(&nodes.one(&sid).without_claim("sub").sign())
                        .await,
                ),
                "sub" => drop(nodes.send_logout_token(&nodes.all_of("alice").sign()).await),
                "by id" => sessions.end(session.id()).await.unwrap(),
                "user" => drop(sessions.end_user("alice").await.unwrap()),
                "again" => drop(nodes.first.sign_in("alice", &mut jar).await),
                _ => {
                    let path = format!("/auth/frontchannel-logout?iss={ISSUER}&sid={sid}");
                    nodes.first.send(Ask::new("GET", &path).jar(&jar)).await;
                }
            }
            nodes.server.clock().advance(Duration::from_secs(age));
            assert_ended(&session, &nodes.server, &name).await;
        }
    }
}

async fn a_session_that_outlives_its_request_ends_at_its_limits(mode: Mode) {
    let keeping = Keeping::new(mode);
    let jar = keeping.nodes.signed_in("alice").await;
    let session = keeping.keep(&jar).await;
    keeping
        .nodes
        .server
        .clock()
        .advance(Duration::from_secs(3600));
    assert_ended(&session, &keeping.nodes.server, "").await;
}

/// A `Session` in a handler is not idle while its browser uses the session.
async fn a_session_that_outlives_its_request_is_not_idle_while_its_browser_uses_it(mode: Mode) {
    // Tokens that need no refresh, which would update the time of the last use too.
    let client = client().with_access_token_lifetime(Duration::from_secs(86_400));
    let nodes = Nodes::with(mode, &server_with(client), |login| login);
    let keeping = Keeping::of(nodes);
    let nodes = &keeping.nodes;
    let mut jar = nodes.signed_in("alice").await;
    let session = keeping.keep(&jar).await;
    let idle = keeping.keep(&nodes.signed_in("alice").await).await;
    for quarter in 1..8 {
        nodes.server.clock().advance(Duration::from_secs(900));
        let answer = nodes.first.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), ALICE, "{quarter}");
        jar.take(&answer);
        let token = session.access_token().await;
        assert!(token.is_ok(), "{quarter}: {token:?}");
    }
    assert_ended(&idle, &nodes.server, "idle").await;
    nodes.first.send(sign_out().jar(&jar)).await;
    assert_ended(&session, &nodes.server, "").await;
}

#[tokio::test]
async fn a_session_below_the_watermark_of_its_user_returns_ended() {
    let keeping = Keeping::new(Mode::Cookie);
    let nodes = &keeping.nodes;
    let session = keeping.keep(&nodes.signed_in("alice").await).await;
    for _ in 0..70 {
        nodes.server.clock().advance(Duration::from_secs(1));
        let jar = nodes.signed_in("alice").await;
        nodes.first.send(sign_out().jar(&jar)).await;
    }
    assert_ended(&session, &nodes.server, "watermark").await;
}

/// While the store fails it is unknown if the session has ended.
async fn a_session_that_outlives_its_request_returns_no_token_while_the_store_fails(mode: Mode) {
    let keeping = Keeping::new(mode);
    assert!(keeping.nodes.store.is_shared());
    let session = keeping.keep(&keeping.nodes.signed_in("alice").await).await;
    keeping.nodes.store.fail_after(0);
    let token = session.access_token().await;
    assert!(
        matches!(token, Err(SessionError::Unavailable { .. })),
        "{token:?}"
    );
    keeping.nodes.store.clear_faults();
    session.access_token().await.unwrap();
}
