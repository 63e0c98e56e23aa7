//! The lifetime of a session: absolute limit, idle limit, and what must not change either.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::store::MemoryStore;
use tower_oauth::{CookieKey, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        extreme_clocks_cause_no_panic_and_extend_no_session,
    ],
    with_store: [
        a_raised_limit_extends_no_existing_session,
    ],
}

const SECOND: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);

async fn known(shop: &Shop, jar: &Jar) -> bool {
    shop.greeting(jar).await == "hello alice"
}

fn max_age(answer: &Answer) -> u64 {
    let cookies = answer.set_cookies();
    let cookie = cookies.iter().find(|cookie| cookie.starts_with(SESSION));
    let (_, seconds) = cookie.unwrap().split_once("Max-Age=").unwrap();
    seconds.parse().unwrap()
}

/// The server enforces the limits, whatever `Max-Age` the cookie has.
#[tokio::test]
async fn an_idle_session_ends_at_the_second_although_its_cookie_is_valid_for_longer() {
    let shop = Shop::new();
    shop.forget_refresh_tokens();
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(max_age(&answer), 8 * 3600);
    shop.clock().advance(HOUR - SECOND);
    assert!(known(&shop, &jar).await);
    shop.clock().advance(SECOND);
    let answer = shop.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), "hello stranger");
    assert_eq!(answer.clears(), [SESSION]);
    // The session stays ended, and a page behind `required` starts a new login.
    let answer = shop.send(Ask::page("/account").jar(&jar)).await;
    assert_eq!(answer.location(), "/auth/login?return_to=%2Faccount");
    let answer = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// Use extends the idle limit, but not the absolute limit.
#[tokio::test]
async fn a_session_in_use_ends_after_eight_hours_to_the_second() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    for minute in 1..8 * 60 {
        shop.clock().advance(MINUTE);
        let answer = shop.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), "hello alice", "{minute}");
        if !answer.set_cookies().is_empty() {
            assert_eq!(max_age(&answer), (8 * 60 - minute) * 60);
        }
        jar.take(&answer);
    }
    shop.clock().advance(MINUTE - SECOND);
    assert!(known(&shop, &jar).await);
    shop.clock().advance(SECOND);
    assert!(!known(&shop, &jar).await);
}

/// A session in use sets one cookie in a tenth of the idle limit.
#[tokio::test]
async fn an_hour_of_requests_writes_ten_cookies() {
    let shop = Shop::new();
    shop.forget_refresh_tokens();
    let mut jar = shop.signed_in().await;
    let mut written = Vec::new();
    for at in 1..=360 {
        shop.clock().advance(10 * SECOND);
        let answer = shop.send(Ask::page("/").jar(&jar)).await;
        if !answer.set_cookies().is_empty() {
            written.push(at * 10);
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("vary"), "cookie");
        }
        jar.take(&answer);
    }
    let every_six_minutes: Vec<i32> = (1..=10).map(|n| n * 360).collect();
    assert_eq!(written, every_six_minutes);
}

/// Reading the session route is not a use of the session.
#[tokio::test]
async fn a_page_that_polls_does_not_extend_the_session() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    for _ in 1..60 {
        shop.clock().advance(MINUTE);
        for method in ["GET", "HEAD"] {
            let answer = shop.send(Ask::new(method, "/auth/session").jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.set_cookies(), [""; 0]);
        }
    }
    shop.clock().advance(MINUTE);
    let answer = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.clears(), [SESSION]);
    assert_eq!(answer.json()["code"], "login_required");
    // Extending requires a live session.
    let answer = shop
        .send(Ask::new("GET", "/auth/session?extend=true").jar(&jar))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.sets(), [""; 0]);
}

#[tokio::test]
async fn a_poll_with_extend_extends_the_session_within_the_absolute_limit() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    let begin = shop.clock().unix_seconds();
    for half_hour in 1..16 {
        shop.clock().advance(HOUR / 2);
        let answer = shop
            .send(Ask::new("GET", "/auth/session?extend=true").jar(&jar))
            .await;
        assert_eq!(answer.sets(), [SESSION]);
        jar.take(&answer);
        let now = begin + half_hour * 1800;
        let end = begin + 8 * 3600;
        assert_eq!(answer.json()["expires_at"], end.min(now + 3600));
        assert_eq!(answer.json()["ends_at"], end);
    }
    shop.clock().advance(HOUR / 2);
    assert!(!known(&shop, &jar).await);
}

/// A session from the future is rejected, and setting the clock back extends none.
#[tokio::test]
async fn a_wall_clock_that_is_set_back_extends_no_session() {
    let minutes = |n: i64| n * 60;
    for (name, before, back, after, stays) in [
        ("no jump", 50, 0, 9, true),
        ("no jump, idle", 50, 0, 10, false),
        ("a jump does not end what is young", 10, 5, 1, true),
        (
            "half an hour back, still idle for an hour",
            50,
            30,
            10,
            false,
        ),
        ("half an hour back, not yet", 50, 30, 9, true),
        ("to before the login", 10, 20, 0, false),
        ("to before the login, and a while later", 10, 20, 30, false),
    ] {
        let shop = Shop::new();
        let jar = shop.signed_in().await;
        // The process has read the clock before and after.
        shop.clock().advance(Duration::from_secs(before * 60));
        shop.greeting(&Jar::default()).await;
        shop.clock().adjust_wall_clock(-minutes(back));
        let answer = shop.send(Ask::page("/auth/session")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let mut jar = jar;
        if after == 30 {
            let answer = shop.send(Ask::page("/").jar(&jar)).await;
            assert_eq!(answer.clears(), [SESSION], "{name}");
            jar.take(&answer);
        }
        shop.clock().advance(Duration::from_secs(after * 60));
        assert_eq!(known(&shop, &jar).await, stays, "{name}");
    }
}

/// A login after the rollback gets the full lifetime from then on.
#[tokio::test]
async fn a_wall_clock_that_was_set_back_does_not_shorten_new_sessions() {
    let shop = Shop::new();
    shop.forget_refresh_tokens();
    let old = shop.signed_in().await;
    shop.clock().advance(2 * HOUR);
    shop.greeting(&old).await;
    shop.clock().adjust_wall_clock(-5400);
    let new = shop.signed_in().await;
    assert!(!known(&shop, &old).await);
    shop.clock().advance(HOUR - SECOND);
    assert!(known(&shop, &new).await);
    shop.clock().advance(SECOND);
    assert!(!known(&shop, &new).await);
}

/// Neither does use extend it.
#[tokio::test]
async fn a_wall_clock_that_is_set_back_does_not_extend_a_used_session_past_eight_hours() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    let mut minutes = 0;
    let mut step = async |jar: &mut Jar| {
        shop.clock().advance(10 * MINUTE);
        minutes += 10;
        let answer = shop.send(Ask::page("/").jar(jar)).await;
        jar.take(&answer);
        (minutes, answer.text() == "hello alice")
    };
    for _ in 0..30 {
        assert!(step(&mut jar).await.1);
    }
    // Set back by less than the tolerance for sessions from the future.
    shop.clock().adjust_wall_clock(-45);
    let mut ended = None;
    for _ in 0..20 {
        let (at, known) = step(&mut jar).await;
        if !known {
            ended = Some(at);
            break;
        }
    }
    assert_eq!(ended, Some(8 * 60));
}

/// The times that handlers and scripts receive are the enforced ones.
#[tokio::test]
async fn configured_limits_are_enforced_and_reported() {
    let server = server();
    let login = login_with(&server, CookieKey::from_bytes(&KEY).unwrap())
        .with_session_limits(HOUR, 5 * MINUTE)
        .unwrap();
    let shop = Shop {
        app: Router::new()
            .route(
                "/",
                get(|session: Session| async move {
                    let left = |at: std::time::SystemTime| {
                        at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
                    };
                    format!(
                        "{} {}",
                        left(session.signed_in_at()),
                        left(session.expires_at())
                    )
                }),
            )
            .layer(login),
        server,
    };
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(max_age(&answer), 3600);
    let begin = shop.clock().unix_seconds();
    shop.clock().advance(29 * SECOND);
    let answer = shop.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), format!("{begin} {}", begin + 300));
    assert_eq!(answer.set_cookies(), [""; 0]);
    shop.clock().advance(SECOND);
    let answer = shop.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), format!("{begin} {}", begin + 330));
    assert_eq!(max_age(&answer), 3600 - 30);
    let old = jar.clone();
    jar.take(&answer);
    shop.clock().advance(5 * MINUTE - SECOND);
    assert_eq!(
        shop.send(Ask::page("/").jar(&old)).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(
        shop.send(Ask::page("/").jar(&jar)).await.status,
        StatusCode::OK
    );
}

/// Two concurrent requests that both write the session leave a valid cookie, in either order of the
/// responses.
#[tokio::test]
async fn concurrent_requests_may_both_write_the_session() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    shop.clock().advance(10 * MINUTE);
    let ask = || shop.send(Ask::page("/").jar(&jar));
    let (one, two) = tokio::join!(ask(), ask());
    for answers in [[&one, &two], [&two, &one]] {
        let mut jar = jar.clone();
        answers.into_iter().for_each(|answer| jar.take(answer));
        assert_eq!(jar.names(), [SESSION]);
        assert!(known(&shop, &jar).await);
    }
}

/// RFC 7519 §4.1.4: no change of the clock extends a session or causes a panic.
#[tokio::test]
async fn no_change_of_the_wall_clock_extends_a_session() {
    for turn in [
        i64::from(i32::MIN),
        -9 * 3600,
        -3600,
        -61,
        3601,
        9 * 3600,
        i64::from(i32::MAX),
        250_000_000_000,
    ] {
        let shop = Shop::new();
        let jar = shop.signed_in().await;
        let mut pending = Jar::default();
        let answer = shop.start("/auth/login", &mut pending).await;
        let callback = shop.approve(answer.location(), "alice").await;
        shop.clock().adjust_wall_clock(turn);
        assert_eq!(shop.greeting(&jar).await, "hello stranger", "{turn}");
        let answer = shop.send(Ask::page(&callback).jar(&pending)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{turn}");
        assert_eq!(answer.sets(), [""; 0], "{turn}");
        for path in ["/auth/session", "/auth/login", "/auth/logout", "/account"] {
            assert!(
                !shop
                    .send(Ask::page(path).jar(&jar))
                    .await
                    .status
                    .is_server_error(),
                "{turn} {path}"
            );
        }
    }
}

/// A deployment raises the limits; entries from before keep the old ones.
async fn a_raised_limit_extends_no_existing_session(mode: Mode) {
    let server = server();
    let memory = MemoryStore::new()
        .with_clock(server.clock())
        .with_single_process();
    let node = |absolute| {
        let login = mode.place_in(login(&server), memory.clone());
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
    assert_eq!(before.send(ask.jar(&left)).await.status, 303);
    server.clock().advance(59 * MINUTE);
    assert_eq!(after.greeting(&left).await, STRANGER);
    assert_eq!(after.greeting(&kept).await, ALICE);
    server.clock().advance(3 * MINUTE);
    for jar in [&kept, &left] {
        assert_eq!(after.greeting(jar).await, STRANGER);
    }
    let long = after.signed_in().await;
    server.clock().advance(7 * HOUR);
    assert_eq!(after.greeting(&long).await, ALICE);
    // A lowered limit applies to all sessions.
    assert_eq!(before.greeting(&long).await, STRANGER);
}

/// Clocks at the limits of their types.
async fn extreme_clocks_cause_no_panic_and_extend_no_session(mode: Mode) {
    for (turned, known) in [
        (30, true),
        (-30, true),
        (-100_000, false),
        (100_000, false),
        (-100_000_000_000, false),
        (100_000_000_000, false),
    ] {
        let name = format!("{turned}");
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
