//! The denylist of a process with sessions in cookies: floods of it end no session of other users.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::session::SessionId;
use tower_oauth::testing::GrantType;
use tower_oauth::{LoginLayer, Session};

use crate::support::logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        a_wall_clock_that_jumps_restores_no_ended_session,
    ],
}

fn jar_of(answer: &Answer) -> Jar {
    let mut jar = Jar::default();
    jar.take(answer);
    jar
}

/// Returns a forged session ID.
fn forged(number: u64) -> SessionId {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    use base64::Engine as _;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    text.parse().unwrap()
}

#[tokio::test]
async fn a_signed_out_cookie_is_rejected_after_100_000_other_sign_outs() {
    let nodes = Nodes::new(Mode::Cookie);
    let (alice, bob) = (nodes.signed_in("alice").await, nodes.signed_in("bob").await);
    nodes.first.send(sign_out().jar(&alice)).await;
    for number in 0..100_000 {
        let id = forged(number);
        nodes.login.sessions().end(&id).await.unwrap();
    }
    assert_eq!(nodes.first.greeting(&alice).await, STRANGER);
    assert_eq!(nodes.first.greeting(&bob).await, "hello bob");
}

#[tokio::test]
async fn a_user_who_signs_in_and_out_many_times_ends_only_older_sessions_of_the_same_user() {
    let logs = logs::Logs::default();
    let nodes = Nodes::new(Mode::Cookie);
    let other_device = nodes.signed_in("alice").await;
    let bob = nodes.signed_in("bob").await;
    let mut cookies = Vec::new();
    let recording = logs.record_only("denylist_watermark_raised");
    for round in 0..200 {
        if round % 3 == 0 {
            nodes.server.clock().advance(Duration::from_secs(1));
        }
        let jar = nodes.signed_in("alice").await;
        assert_eq!(nodes.first.greeting(&jar).await, ALICE, "{round}");
        nodes.first.send(sign_out().jar(&jar)).await;
        cookies.push(jar);
    }
    drop(recording);
    for (round, jar) in cookies.iter().enumerate() {
        assert_eq!(nodes.first.greeting(jar).await, STRANGER, "{round}");
    }
    // A session of the same user that is older than all of these cannot be told from a signed-out one.
    assert_eq!(nodes.first.greeting(&other_device).await, STRANGER);
    assert_eq!(nodes.first.greeting(&bob).await, "hello bob");
    // In the same second as the last sign-out.
    let jar = nodes.signed_in("alice").await;
    assert_eq!(nodes.first.greeting(&jar).await, ALICE);
    let text = logs.text();
    assert_eq!(
        text.matches("denylist_watermark_raised").count(),
        1,
        "{text}"
    );
}

/// The same with logins in a browser with a session: each ends the previous session.
#[tokio::test]
async fn a_user_who_signs_in_again_and_again_ends_no_other_session() {
    let strict = |login: LoginLayer| login.with_same_site(tower_oauth::login::SameSite::Strict);
    for is_strict in [false, true] {
        let nodes = Nodes::with(Mode::Cookie, &server(), |login| match is_strict {
            true => strict(login),
            false => login,
        });
        let (mut alice, mut jar) = (Jar::default(), Jar::default());
        nodes.first.sign_in("alice", &mut alice).await;
        nodes.first.sign_in("bob", &mut jar).await;
        let first = jar.clone();
        for _ in 0..150 {
            let answer = nodes.first.start("/auth/login", &mut jar).await;
            let callback = nodes.first.approve(answer.location(), "bob").await;
            // A Strict cookie is not sent with the redirect from the authorization server.
            let sent = jar.only(|name| !is_strict || name != SESSION);
            let answer = nodes.first.send(Ask::page(&callback).jar(&sent)).await;
            jar.take(&answer);
        }
        assert_eq!(nodes.first.greeting(&first).await, STRANGER, "{is_strict}");
        assert_eq!(nodes.first.greeting(&jar).await, "hello bob", "{is_strict}");
        assert_eq!(nodes.first.greeting(&alice).await, ALICE, "{is_strict}");
    }
}

/// Ten simulated minutes: an attacker signs in and out several times a second and keeps every old cookie.
#[tokio::test]
async fn a_user_who_floods_the_denylist_fails_no_request_of_others() {
    let nodes = Nodes::new(Mode::Cookie);
    let mut honest = nodes.signed_in("alice").await;
    let mut signed_out = Vec::new();
    let mut stolen = Vec::new();
    for second in 0..600 {
        nodes.server.clock().advance(Duration::from_secs(1));
        let jar = nodes.signed_in("bob").await;
        nodes.first.send(sign_out().jar(&jar)).await;
        stolen.push(jar);
        let answer = nodes.first.send(Ask::page("/account").jar(&honest)).await;
        assert_eq!(answer.status, StatusCode::OK, "{second}");
        honest.take(&answer);
        if second % 60 == 59 {
            let answer = nodes.first.send(sign_out().jar(&honest)).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{second}");
            assert!(jar_of(&answer).names().iter().all(|name| *name != SESSION));
            signed_out.push(std::mem::replace(
                &mut honest,
                nodes.signed_in("alice").await,
            ));
        }
    }
    for jar in signed_out.iter().chain(&stolen) {
        assert_eq!(nodes.first.greeting(jar).await, STRANGER);
    }
}

/// An entry expires when both clocks have passed it: a wall clock that is set forward and back restores no
/// session.
async fn a_wall_clock_that_jumps_restores_no_ended_session(mode: Mode) {
    for jump in [-36_000, -600, 600, 36_000] {
        let nodes = Nodes::new(mode);
        let jar = nodes.signed_in("alice").await;
        nodes.first.send(sign_out().jar(&jar)).await;
        let clock = nodes.server.clock();
        for step in [jump, -jump] {
            clock.adjust_wall_clock(step);
            let bob = nodes.signed_in("bob").await;
            nodes.first.send(sign_out().jar(&bob)).await;
            for hours in [0, 1, 3] {
                clock.advance(Duration::from_secs(hours * 3600));
                assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{jump}");
            }
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
