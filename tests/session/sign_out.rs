//! Sign-out is final: no copy of the cookie, slow response or leftover cookie restores the session.

mod store_failure;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use tokio::sync::Notify;
use tower::ServiceExt as _;
use tower_oauth::login::SameSite;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{CookieKey, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        a_repeated_callback_does_not_restore_an_ended_session,
    ],
}

const OWN: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];

fn sign_out() -> Ask {
    Ask::new("POST", "/auth/logout").with(&OWN)
}

/// In this process the session has ended for all copies of its cookie.
#[tokio::test]
async fn a_copied_cookie_is_rejected_everywhere_after_the_sign_out() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let other_device = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(600));
    let answer = shop.send(Ask::page("/").jar(&jar)).await;
    let mut newer = jar.clone();
    newer.take(&answer);
    assert_ne!(newer.value(SESSION), jar.value(SESSION));

    shop.send(sign_out().jar(&jar)).await;
    for copy in [&jar, &newer] {
        let answer = shop.send(Ask::page("/").jar(copy)).await;
        assert_eq!(answer.text(), "hello stranger");
        assert_eq!(answer.clears(), [SESSION]);
        for path in [
            "/auth/session",
            "/auth/session?extend=true",
            "/account",
            "/mine",
        ] {
            let answer = shop.send(Ask::new("GET", path).jar(copy)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert_eq!(answer.sets(), [""; 0], "{path}");
        }
        // A second sign-out with it does not redirect to the authorization server.
        let answer = shop.send(sign_out().jar(copy)).await;
        assert_eq!(answer.location(), "/");
    }
    // Only this session: the user's session on another device continues.
    assert_eq!(shop.greeting(&other_device).await, "hello alice");
    // For as long as the cookie could be valid.
    shop.clock().advance(Duration::from_secs(3000));
    assert_eq!(shop.greeting(&newer).await, "hello stranger");
}

/// All clones of a layer, with any later settings, share ended sessions.
#[tokio::test]
async fn clones_of_the_layer_share_the_sign_out() {
    let server = server();
    let layer = login(&server);
    let first = app(&layer);
    let second = app(&layer.with_scopes("openid profile").unwrap());
    let shop = Shop { server, app: first };
    let jar = shop.signed_in().await;
    assert_eq!(
        send(&second, Ask::page("/").jar(&jar)).await.text(),
        "hello alice"
    );
    shop.send(sign_out().jar(&jar)).await;
    assert_eq!(
        send(&second, Ask::page("/").jar(&jar)).await.text(),
        "hello stranger"
    );
}

/// The response to a request from before the sign-out does not undo it.
#[tokio::test]
async fn a_slow_response_does_not_restore_the_session() {
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let waits = (Arc::clone(&arrived), Arc::clone(&go_on));
    let server = server();
    let slow = get(move |session: Session| async move {
        waits.0.notify_one();
        waits.1.notified().await;
        session.subject().to_owned()
    });
    let app = Router::new().route("/slow", slow).layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(600));

    // Otherwise it renews the cookie.
    let begin = || {
        let (shop, jar) = (shop.clone(), jar.clone());
        tokio::spawn(async move { shop.send(Ask::page("/slow").jar(&jar)).await })
    };
    let request = begin();
    arrived.notified().await;
    go_on.notify_one();
    assert_eq!(request.await.unwrap().sets(), [SESSION]);

    let request = begin();
    arrived.notified().await;
    shop.send(sign_out().jar(&jar)).await;
    go_on.notify_one();
    let answer = request.await.unwrap();
    assert_eq!(answer.text(), "alice");
    assert_eq!(answer.set_cookies(), [""; 0]);
}

/// All cookies of the layer are cleared, in every combination, and no others.
#[tokio::test]
async fn all_cookies_of_the_layer_are_cleared() {
    for end_session_endpoint in [true, false] {
        let shop = Shop::new();
        if !end_session_endpoint {
            let fault = Fault::without_member("end_session_endpoint");
            shop.server.fail(Endpoint::Metadata, fault);
        }
        let mut jar = Jar::default();
        let blob = "b".repeat(2200);
        shop.server.fail_once(
            Endpoint::Token,
            Fault::id_token(move |mint| mint.with_claim("blob", blob.as_str())),
        );
        shop.sign_in("alice", &mut jar).await;
        for _ in 0..3 {
            shop.start("/auth/login", &mut jar).await;
        }
        let jar = jar
            .and("__Host-Http-shop-logout", "left over")
            .and("theme", "dark");
        assert_eq!(jar.names().len(), 2 + 3 + 2);
        let answer = shop.send(sign_out().jar(&jar)).await;
        let mut left = jar.clone();
        left.take(&answer);
        let state: &[&str] = match end_session_endpoint {
            true => &["theme", "__Host-Http-shop-logout"],
            false => &["theme"],
        };
        assert_eq!(left.names(), state);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("vary"), "cookie");
    }
}

/// The local session ends first; an outage of the authorization server keeps no user signed in.
#[tokio::test]
async fn an_unavailable_authorization_server_keeps_no_user_signed_in() {
    for fault in [Fault::status(500), Fault::hang(), Fault::disconnect()] {
        let shop = Shop::new();
        let jar = shop.signed_in().await;
        // A replica that has just started, and has not fetched the metadata.
        let replica = Shop {
            app: app(&login_with(
                &shop.server,
                CookieKey::from_bytes(&KEY).unwrap(),
            )),
            ..shop.clone()
        };
        shop.server.clear_requests();
        shop.server.fail(Endpoint::Metadata, fault.clone());
        let request = {
            let (replica, jar) = (replica.clone(), jar.clone());
            tokio::spawn(async move { replica.send(sign_out().jar(&jar)).await })
        };
        shop.server.wait_for(Endpoint::Metadata, 1).await;
        // In the meantime, the session has ended already.
        assert_eq!(replica.greeting(&jar).await, "hello stranger");
        while !request.is_finished() {
            shop.clock().advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        let answer = request.await.unwrap();
        assert_eq!(answer.location(), "/", "{fault:?}");
        assert_eq!(answer.clears(), [SESSION], "{fault:?}");
    }
}

/// After two seconds without metadata, the sign-out skips the authorization server.
#[tokio::test]
async fn a_sign_out_waits_at_most_two_seconds_for_a_hanging_server() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let replica = Shop {
        app: app(&login(&shop.server)),
        ..shop.clone()
    };
    shop.server.clear_requests();
    shop.server.fail(Endpoint::Metadata, Fault::hang());
    let request = tokio::spawn(async move { replica.send(sign_out().jar(&jar)).await });
    shop.server.wait_for(Endpoint::Metadata, 1).await;
    shop.clock().advance(Duration::from_millis(1999));
    run_pending_tasks().await;
    assert!(!request.is_finished());
    shop.clock().advance(Duration::from_millis(1));
    run_pending_tasks().await;
    assert!(request.is_finished());
    let answer = request.await.unwrap();
    assert_eq!(answer.location(), "/");
    assert_eq!(answer.clears(), [SESSION]);
}

/// The session ends before the form is read, and a form that is not received in time is ignored.
#[tokio::test]
async fn an_endless_form_does_not_delay_a_sign_out() {
    for (begin, expected) in [("", "/notes"), ("return_to=%2Fmine&x=", "/notes")] {
        let shop = Shop::new();
        let fault = Fault::without_member("end_session_endpoint");
        shop.server.fail(Endpoint::Metadata, fault);
        let jar = shop.signed_in().await;
        let request = http::Request::post("/auth/logout?return_to=/notes")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", jar.header())
            .body(axum::body::Body::new(Endless(begin)))
            .unwrap();
        let request = tokio::spawn(shop.app.clone().oneshot(request));
        run_pending_tasks().await;
        assert_eq!(shop.greeting(&jar).await, "hello stranger", "{begin}");
        assert!(!request.is_finished(), "{begin}");
        shop.clock().advance(Duration::from_secs(5));
        run_pending_tasks().await;
        assert!(request.is_finished(), "{begin}");
        let answer = Answer::read(request.await.unwrap().unwrap()).await;
        assert_eq!(answer.location(), expected, "{begin}");
        assert_eq!(answer.clears(), [SESSION], "{begin}");
    }
}

/// A body that never ends.
struct Endless(&'static str);

impl http_body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        match std::mem::take(&mut self.0) {
            "" => Poll::Pending,
            begin => Poll::Ready(Some(Ok(http_body::Frame::data(begin.into())))),
        }
    }
}

async fn run_pending_tasks() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// The state is valid once, in its browser, for ten minutes, and for its own sign-out.
#[tokio::test]
async fn the_post_logout_redirect_is_checked_against_the_cookie() {
    let shop = Shop::new();
    let logout = "__Host-Http-shop-logout";
    let leave = async || {
        let jar = shop.signed_in().await;
        let ask = Ask::new("POST", "/auth/logout?return_to=/notes").with(&OWN);
        let answer = shop.send(ask.jar(&jar)).await;
        let mut left = Jar::default();
        left.take(&answer);
        assert_eq!(left.names(), [logout]);
        (left, answer.parameter("state").unwrap())
    };
    let (jar, state) = leave().await;
    let (other, other_state) = leave().await;
    assert_ne!(state, other_state);
    assert!(state.len() >= 43);
    for (name, jar, query) in [
        ("of another sign-out", &jar, format!("state={other_state}")),
        ("twice", &jar, format!("state={state}&state={state}")),
        ("none", &jar, String::new()),
        ("empty", &jar, "state=".to_owned()),
        ("cut", &jar, format!("state={}", &state[1..])),
        ("longer", &jar, format!("state={state}A")),
        (
            "without the cookie",
            &Jar::default(),
            format!("state={state}"),
        ),
        ("another browser", &other, format!("state={state}")),
        (
            "two cookies",
            &jar.clone().and(logout, other.value(logout)),
            format!("state={state}"),
        ),
    ] {
        let path = format!("/auth/logout?{query}&return_to=/mine");
        let answer = shop.send(Ask::page(&path).jar(jar)).await;
        assert_eq!(answer.location(), "/mine", "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
    }
    let back = format!("/auth/logout?state={state}");
    let answer = shop.send(Ask::page(&back).jar(&jar)).await;
    assert_eq!(answer.location(), "/notes");
    assert_eq!(answer.clears(), [logout]);
    shop.clock().advance(Duration::from_secs(600));
    let late = format!("/auth/logout?state={other_state}");
    let answer = shop.send(Ask::page(&late).jar(&other)).await;
    assert_eq!(answer.location(), "/");
}

/// In a browser: images, frames, scripts and forms of other sites, and a link that asks for
/// confirmation.
#[tokio::test]
async fn no_other_site_signs_a_browser_out() {
    let shop = Shop::new();
    let browser = shop.browser();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap();
    let signed_in = async || {
        let page = browser.navigate(&format!("{SHOP}/")).await.unwrap();
        page.text() == "hello alice"
    };
    let form = format!(
        "<form method=post action='{LOGOUT}'><button>Win</button></form><a href='{LOGOUT}'>More</a>"
    );
    for site in ["https://evil.example", "https://blog.example.com"] {
        let page = browser.document(&format!("{site}/"), &form).unwrap();
        for destination in ["image", "iframe", "script"] {
            page.load(LOGOUT, destination).await.unwrap();
            assert!(signed_in().await, "{site} {destination}");
        }
        let request = http::Request::post(LOGOUT).body("").unwrap();
        page.fetch(request).await.ok();
        assert!(signed_in().await, "{site} fetch");
        let refused = page.form("").unwrap().press("Win").await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{site}");
        assert!(signed_in().await, "{site} form");
        let asks = page.click("More").await.unwrap();
        assert!(asks.text().contains("Sign out?"), "{site} {}", asks.text());
        assert!(signed_in().await, "{site} link");
    }
    // Pages of this application into which an attacker may have injected an image.
    let page = browser.document(&format!("{SHOP}/notes"), &form).unwrap();
    for destination in ["image", "iframe", "script"] {
        page.load(LOGOUT, destination).await.unwrap();
        assert!(signed_in().await, "own {destination}");
    }
    assert_eq!(shop.server.count(Endpoint::EndSession), 0);
    page.click("More").await.unwrap();
    assert!(!signed_in().await);
}

/// The confirmation works in browsers without fetch metadata.
#[tokio::test]
async fn an_old_browser_confirms_and_signs_out() {
    let shop = Shop::new();
    let browser = shop.browser().without_fetch_metadata();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap();
    let own = browser
        .document(
            &format!("{SHOP}/notes"),
            "<a href='/auth/logout?return_to=/notes'>Sign out</a>",
        )
        .unwrap();
    let page = own.click("Sign out").await.unwrap();
    assert!(page.text().contains("Sign out?"), "{}", page.text());
    let page = page.form("").unwrap().press("Sign out").await.unwrap();
    assert_eq!(page.text(), "hello stranger");
    assert_eq!(page.url(), format!("{SHOP}/notes"));
    assert_eq!(shop.server.count(Endpoint::EndSession), 1);
}

/// The confirmation page contains only an accepted target, escaped.
#[tokio::test]
async fn the_confirmation_page_contains_no_unchecked_input() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    for hostile in [
        "%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "javascript:alert(1)",
        "//evil.example",
        "/x%22%20onmouseover=%22alert(1)",
    ] {
        let path = format!("/auth/logout?return_to={hostile}");
        let answer = shop.send(Ask::page(&path).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::OK, "{hostile}");
        let page = answer.text();
        for word in ["<script", "javascript:", "evil.example", "\" onmouseover"] {
            assert!(!page.contains(word), "{hostile}: {page}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        // Chromium and Safari apply `form-action` to the redirect to the authorization server.
        assert!(!policy.contains("form-action"), "{policy}");
    }
}

/// Signing in as another user leaves no session for a copy of the old cookie.
#[tokio::test]
async fn signing_in_again_ends_the_previous_session() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    let alice = jar.clone();
    shop.sign_in("bob", &mut jar).await;
    assert_eq!(shop.greeting(&jar).await, "hello bob");
    assert_eq!(shop.greeting(&alice).await, "hello stranger");
}

/// The same with a Strict cookie, which the callback does not see.
#[tokio::test]
async fn signing_in_again_ends_a_strict_session_too() {
    let shop = Shop::with(|login| login.with_same_site(SameSite::Strict));
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let alice = jar.clone();
    assert_eq!(shop.greeting(&alice).await, "hello alice");
    let start = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(start.location(), "bob").await;
    let ask = Ask::page(&callback).set("sec-fetch-site", "cross-site");
    let answer = shop.send(ask.jar(&jar.only(|name| name != SESSION))).await;
    jar.take(&answer);
    assert_eq!(shop.greeting(&jar).await, "hello bob");
    assert_eq!(shop.greeting(&alice).await, "hello stranger");
}

/// The browser may send an older cookie than the latest one.
#[tokio::test]
async fn signing_out_with_an_expired_cookie_ends_its_younger_copy() {
    let shop = Shop::new();
    let old = shop.signed_in().await;
    // A refresh would make the two one session.
    shop.server.fail(Endpoint::Token, Fault::status(503));
    let mut young = old.clone();
    shop.clock().advance(Duration::from_secs(40 * 60));
    young.take(&shop.send(Ask::page("/").jar(&old)).await);
    shop.clock().advance(Duration::from_secs(40 * 60));
    assert_eq!(shop.greeting(&old).await, "hello stranger");
    assert_eq!(shop.greeting(&young).await, "hello alice");
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    let answer = shop.send(ask.jar(&old)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(shop.greeting(&young).await, "hello stranger");
}

/// RFC 9700 §4.3, OpenID Connect RP-Initiated Logout §2: the responses to requests that were in progress during a logout
/// do not restore the session.
#[tokio::test]
async fn no_slow_request_restores_a_session_after_a_logout() {
    let gate = Arc::new(Notify::new());
    let server = server();
    let login = login(&server);
    let slow = async |State(gate): State<Arc<Notify>>, session: Session| {
        gate.notified().await;
        session.subject().to_owned()
    };
    let app = Router::new()
        .route("/slow", get(slow))
        .with_state(Arc::clone(&gate))
        .merge(Router::new().route(
            "/",
            get(|session: Option<Session>| async move {
                session.map_or_else(
                    || "anonymous".to_owned(),
                    |session| session.subject().to_owned(),
                )
            }),
        ))
        .layer(login);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(1800));
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let (shop, jar) = (shop.clone(), jar.clone());
            tokio::spawn(async move { shop.send(Ask::page("/slow").jar(&jar)).await })
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let out = Ask::new("POST", "/auth/logout").with(&[("origin", SHOP)]);
    let mut left = jar.clone();
    left.take(&shop.send(out.jar(&jar)).await);
    gate.notify_waiters();
    for answer in slow {
        let answer = answer.await.unwrap();
        assert_eq!(answer.text(), "alice", "it began before");
        assert_eq!(answer.sets(), [""; 0]);
        left.take(&answer);
    }
    assert_eq!(shop.greeting(&left).await, "anonymous");
    assert_eq!(shop.greeting(&jar).await, "anonymous");
    for path in ["/auth/session", "/auth/session?extend=true"] {
        let answer = shop.send(Ask::new("GET", path).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.sets(), [""; 0], "{path}");
    }
}

/// RFC 9700 §4.3: logins, requests and logouts in parallel on several threads: each user only sees their own session, and
/// none after the logout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_logins_and_logouts_never_mix_up_sessions() {
    let shop = Shop::new();
    let mut crowd = Vec::new();
    for number in 0..40 {
        let user = if number % 2 == 0 { "alice" } else { "bob" };
        let mut jar = Jar::default();
        let answer = shop.start("/auth/login", &mut jar).await;
        let callback = shop.approve(answer.location(), user).await;
        crowd.push((user, jar, callback));
    }
    let crowd: Vec<_> = crowd
        .into_iter()
        .map(|(user, jar, callback)| {
            let shop = shop.clone();
            tokio::spawn(async move {
                // A double click: both requests have the same session.
                let ask = || Ask::page(&callback).jar(&jar);
                let (one, two) = tokio::join!(shop.send(ask()), shop.send(ask()));
                let (mut first, mut second) = (jar.clone(), jar.clone());
                first.take(&one);
                second.take(&two);
                let out = Ask::new("POST", "/auth/logout").with(&[("origin", SHOP)]);
                for jar in [&first, &second] {
                    assert_eq!(shop.greeting(jar).await, format!("hello {user}"));
                }
                shop.send(out.jar(&first)).await;
                for jar in [&first, &second] {
                    assert_eq!(shop.greeting(jar).await, "hello stranger");
                }
                let again = shop.send(Ask::page(&callback).jar(&jar)).await;
                assert_eq!(again.sets(), [""; 0], "the callback revives nothing");
            })
        })
        .collect();
    for person in crowd {
        person.await.unwrap();
    }
    assert_eq!(shop.token_calls(), 40);
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

/// A callback that is repeated after a sign-out creates no session.
async fn a_repeated_callback_does_not_restore_an_ended_session(mode: Mode) {
    for name in ["logout", "admin", "back channel"] {
        let nodes = Nodes::new(mode);
        let mut jar = Jar::default();
        let answer = nodes.first.start("/auth/login", &mut jar).await;
        let callback = nodes.first.approve(answer.location(), "alice").await;
        let ask = Ask::page(&callback).jar(&jar);
        let answer = nodes.first.send(ask.clone()).await;
        let mut signed_in = Jar::default();
        signed_in.take(&answer);
        assert_eq!(nodes.first.greeting(&signed_in).await, ALICE, "{name}");
        match name {
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
