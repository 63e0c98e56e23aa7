//! Hooks: who is let in, what is kept with them, and what is told of the end of a session.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use login_support::*;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tower_oauth::login::SameSite;
use tower_oauth::session::{
    EndReason, EndedSession, LoginDecision, NewLogin, RefreshDecision, RefreshedSession,
};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{LoginLayer, Session};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Staff {
    role: String,
}

type Mode = (&'static str, fn(LoginLayer) -> LoginLayer);

/// Where sessions may be.
const MODES: [Mode; 3] = [
    ("cookie", |login| login),
    ("shared memory", |login| {
        login.with_shared_store(MemoryStore::new())
    }),
    ("store", |login| {
        login.with_session_store(MemoryStore::new())
    }),
];

/// A shop whose `/role` tells what is kept with the session.
fn shop(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let server = server();
    let role = |session: Option<Session>| async move {
        let Some(session) = session else {
            return "nobody".to_owned();
        };
        let staff: Option<Staff> = session.app_data().unwrap();
        format!("{} {:?}", session.subject(), staff.map(|staff| staff.role))
    };
    let fresh = async move |session: Session| match session.access_token().await {
        Ok(_) => role(Some(session)).await,
        Err(error) => error.to_string(),
    };
    // Sessions that nobody uses for an hour live on here.
    let limits = Duration::from_secs(8 * 3600);
    let login = login(&server).with_session_limits(limits, limits).unwrap();
    let app = Router::new()
        .route("/", get(role))
        .route("/fresh", get(fresh))
        .layer(configure(login));
    Shop { server, app }
}

/// Starts a login and comes back with its callback, which can be sent more than once.
async fn callback(shop: &Shop, user: &str, jar: &mut Jar) -> Ask {
    let start = shop.start("/auth/login", jar).await;
    let uri = shop.approve(start.location(), user).await;
    Ask::page(&uri).jar(jar)
}

const MESSAGE: &str = "Ask <b>Ada</b> for an account & wait.";

/// L76: the application's no is a page with its own words, escaped; no session, no token that lives on, and
/// the session that was there stays.
#[tokio::test]
async fn who_is_denied_gets_a_page_and_nothing_else() {
    for (mode, place) in MODES {
        let shop = shop(|login| {
            place(login).with_on_login(async |login: NewLogin| match login.subject() {
                "alice" => LoginDecision::allow(),
                _ => LoginDecision::deny(MESSAGE),
            })
        });
        let mut jar = shop.signed_in().await;
        assert_eq!(shop.server.revoked_tokens(), [""; 0], "{mode}");
        for accept in ["text/html", "application/json"] {
            let ask = callback(&shop, "bob", &mut jar).await;
            let answer = shop.send(ask.set("accept", accept)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{mode}");
            assert_eq!(answer.sets(), [""; 0], "{mode}");
            let text = answer.text();
            if accept == "text/html" {
                let escaped = "Ask &lt;b&gt;Ada&lt;/b&gt; for an account &amp; wait.";
                assert!(text.contains(escaped), "{mode} {text}");
                assert!(!text.contains("<b>"), "{mode} {text}");
                assert!(text.contains("<h1>Access denied</h1>"), "{mode} {text}");
                assert!(text.contains("href=\"/auth/login"), "{mode} {text}");
            } else {
                let problem = answer.json();
                assert_eq!(problem["code"], "login_denied", "{mode}");
                assert_eq!(problem["title"], MESSAGE, "{mode}");
                assert_eq!(problem["correlation_id"].as_str().unwrap().len(), 16);
            }
            jar.take(&answer);
            assert_eq!(shop.greeting(&jar).await, "alice None", "{mode}");
            assert_eq!(shop.server.access_tokens("bob"), [""; 0], "{mode}");
        }
        assert!(!shop.server.revoked_tokens().is_empty(), "{mode}");
        assert!(!shop.server.access_tokens("alice").is_empty(), "{mode}");
    }
}

/// L76: what it lets in with app data has them, typed, and the next login has none of them (L20).
#[tokio::test]
async fn what_a_login_is_let_in_with_is_there_until_the_next_one() {
    for (mode, place) in MODES {
        let count = Arc::new(AtomicUsize::new(0));
        let shop = shop(|login| {
            place(login).with_on_login(move |login: NewLogin| {
                let first = count.fetch_add(1, Ordering::SeqCst) == 0;
                async move {
                    assert_eq!(
                        (login.issuer(), login.scopes().to_string().as_str()),
                        (ISSUER, "openid")
                    );
                    assert_eq!(login.user_key().subject, login.claims().subject().unwrap());
                    let role = format!("editor {}", login.subject());
                    match first {
                        true => LoginDecision::allow_with(&Staff { role }),
                        false => LoginDecision::allow(),
                    }
                }
            })
        });
        let mut jar = shop.signed_in().await;
        for _ in 0..3 {
            let answer = shop.send(Ask::page("/").jar(&jar)).await;
            assert_eq!(answer.text(), "alice Some(\"editor alice\")", "{mode}");
            jar.take(&answer);
            shop.clock().advance(Duration::from_secs(400));
        }
        for user in ["alice", "bob"] {
            shop.sign_in(user, &mut jar).await;
            assert_eq!(shop.greeting(&jar).await, format!("{user} None"), "{mode}");
        }
    }
}

/// L76: once a login, however often and however much at once the browser brings the callback.
#[tokio::test]
async fn the_application_is_asked_once_a_login() {
    for (mode, place) in MODES {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let shop = shop(|login| {
            place(login).with_on_login(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                async {
                    tokio::task::yield_now().await;
                    LoginDecision::deny("no")
                }
            })
        });
        let mut jar = Jar::default();
        let ask = callback(&shop, "alice", &mut jar).await;
        let all: Vec<_> = (0..5)
            .map(|_| {
                let (shop, ask) = (shop.clone(), ask.clone());
                tokio::spawn(async move { shop.send(ask).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap().status, StatusCode::FORBIDDEN, "{mode}");
        }
        assert_eq!(shop.send(ask).await.status, StatusCode::FORBIDDEN, "{mode}");
        assert_eq!(count.load(Ordering::SeqCst), 1, "{mode}");
        assert_eq!(shop.token_calls(), 1, "{mode}");
    }
}

/// L76: a hook that hangs, fails, gives up or keeps too much spoils its own login and no other.
#[tokio::test]
async fn a_hook_that_fails_lets_nobody_in() {
    async fn fail(name: &'static str) -> LoginDecision {
        match name {
            "hangs" => std::future::pending().await,
            "panics" => panic!("a hook of the application"),
            "gives up" => LoginDecision::later(Duration::from_millis(29_500)),
            "gives up for good" => LoginDecision::later(Duration::MAX),
            "too much" => LoginDecision::allow_with(&"x".repeat(70_000)),
            "no JSON" => {
                LoginDecision::allow_with(&std::collections::HashMap::from([(vec![1], 1)]))
            }
            _ => LoginDecision::deny(" "),
        }
    }
    for (mode, place) in MODES {
        for (name, status, code, wait) in [
            ("hangs", 503, "login_undecided", "10"),
            ("panics", 500, "login_hook_failed", ""),
            ("gives up", 503, "login_undecided", "30"),
            (
                "gives up for good",
                503,
                "login_undecided",
                "18446744073709551615",
            ),
            ("too much", 500, "login_hook_failed", ""),
            ("no JSON", 500, "login_hook_failed", ""),
            ("says nothing", 403, "login_denied", ""),
        ] {
            let healthy = Arc::new(Mutex::new(false));
            let switch = Arc::clone(&healthy);
            let shop = shop(|login| {
                place(login).with_on_login(move |_| {
                    let healthy = *switch.lock().unwrap();
                    async move {
                        if healthy {
                            return LoginDecision::allow();
                        }
                        fail(name).await
                    }
                })
            });
            let name = format!("{mode}: {name}");
            let mut jar = Jar::default();
            let ask = callback(&shop, "alice", &mut jar).await;
            let ask = ask.set("accept", "application/json");
            let under_way = tokio::spawn({
                let shop = shop.clone();
                async move { shop.send(ask).await }
            });
            if name.ends_with("hangs") {
                shop.clock().wait_for_sleepers(1).await;
                shop.clock().advance(Duration::from_millis(9_999));
                tokio::task::yield_now().await;
                assert!(!under_way.is_finished(), "{name}");
                shop.clock().advance(Duration::from_millis(1));
            }
            let answer = under_way.await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{name}");
            assert_eq!(answer.json()["code"], code, "{name}");
            assert!(
                !answer.json()["title"].as_str().unwrap().trim().is_empty(),
                "{name}"
            );
            assert_eq!(answer.header("retry-after"), wait, "{name}");
            assert_eq!(answer.sets(), [""; 0], "{name}");
            assert_eq!(shop.server.access_tokens("alice"), [""; 0], "{name}");
            // The next login goes well.
            *healthy.lock().unwrap() = true;
            let jar = shop.signed_in().await;
            assert_eq!(shop.greeting(&jar).await, "alice None", "{name}");
        }
    }
}

/// L76: the userinfo endpoint may be asked before somebody is let in.
#[tokio::test]
async fn the_application_may_ask_who_it_is() {
    let shop = shop(|login| {
        login.with_on_login(async |login: NewLogin| match login.userinfo().await {
            Ok(userinfo) => LoginDecision::allow_with(&Staff {
                role: format!("userinfo of {}", userinfo.subject()),
            }),
            Err(_) => LoginDecision::later(Duration::from_secs(5)),
        })
    });
    let jar = shop.signed_in().await;
    assert_eq!(
        shop.greeting(&jar).await,
        "alice Some(\"userinfo of alice\")"
    );
    shop.server.fail(Endpoint::UserInfo, Fault::status(500));
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "5");
}

/// A revocation endpoint that is away does not keep the answer away.
#[tokio::test]
async fn a_denial_is_told_though_nothing_can_be_revoked() {
    let shop = shop(|login| login.with_on_login(async |_| LoginDecision::deny("no")));
    shop.server.fail(Endpoint::Revocation, Fault::status(500));
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

/// L76: the application hears of every refresh, once, with the new ID token; what it says is there for the very
/// request that waited for the tokens.
#[tokio::test]
async fn the_application_hears_of_every_refresh_and_may_end_the_session() {
    for (mode, place) in MODES {
        let count = Arc::new(AtomicUsize::new(0));
        let (sender, mut told) = mpsc::unbounded_channel();
        let counted = Arc::clone(&count);
        let shop = shop(|login| {
            place(login)
                .with_on_refresh(move |session: RefreshedSession| {
                    let turn = counted.fetch_add(1, Ordering::SeqCst) + 1;
                    async move {
                        assert_eq!(session.new_claims().unwrap().subject(), Some("alice"));
                        match turn {
                            1 => RefreshDecision::keep(),
                            2 => RefreshDecision::keep_with(&Staff {
                                role: format!("turn {turn}"),
                            }),
                            _ => RefreshDecision::end(),
                        }
                    }
                })
                .with_on_logout(move |ended: EndedSession| {
                    sender.send(ended.reason()).unwrap();
                    async {}
                })
        });
        let mut jar = shop.signed_in().await;
        for (turn, role) in [(1, "alice None"), (2, "alice Some(\"turn 2\")")] {
            shop.clock().advance(Duration::from_secs(3000));
            for _ in 0..2 {
                let answer = shop.send(Ask::page("/fresh").jar(&jar)).await;
                assert_eq!(answer.text(), role, "{mode} {turn}");
                jar.take(&answer);
                assert_eq!(count.load(Ordering::SeqCst), turn, "{mode}");
            }
            // Nobody has to wait for it to see it.
            assert_eq!(shop.greeting(&jar).await, role, "{mode} {turn}");
            shop.clock().advance(Duration::from_secs(700));
        }
        shop.clock().advance(Duration::from_secs(2300));
        let answer = shop.send(Ask::page("/fresh").jar(&jar)).await;
        assert_eq!(answer.text(), "the session has ended", "{mode}");
        assert_eq!(told.recv().await, Some(EndReason::Hook), "{mode}");
        assert_eq!(shop.greeting(&jar).await, "nobody", "{mode}");
        assert_eq!(shop.server.refresh_tokens("alice"), [""; 0], "{mode}");
        assert_eq!(count.load(Ordering::SeqCst), 3, "{mode}");
    }
}

/// L53, L76: a refresh token that is refused ends the session, and that is told where it ends at once.
#[tokio::test]
async fn a_refused_refresh_token_is_told_as_that() {
    for (mode, place) in &MODES[1..] {
        let (shop, mut told) = listener(*place, SameSite::Lax);
        let jar = shop.signed_in().await;
        for token in shop.server.refresh_tokens("alice") {
            shop.server.revoke(&token);
        }
        shop.clock().advance(Duration::from_secs(3500));
        shop.send(Ask::page("/fresh").jar(&jar)).await;
        let ended = told.recv().await.unwrap();
        assert_eq!(ended.reason(), EndReason::Refused, "{mode}");
        assert_eq!(ended.user_key().unwrap().subject, "alice", "{mode}");
    }
}

/// What is told of the ends of sessions, in order.
fn listener(
    place: fn(LoginLayer) -> LoginLayer,
    same_site: SameSite,
) -> (Shop, mpsc::UnboundedReceiver<EndedSession>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shop = shop(|login| {
        place(login)
            .with_same_site(same_site)
            .with_on_logout(move |ended| {
                let sender = sender.clone();
                async move { sender.send(ended).unwrap() }
            })
    });
    (shop, receiver)
}

fn sign_out() -> Ask {
    Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")])
}

/// L76: a sign-out and a login in place of another are told once each, with who it was; a session that ran out
/// of time, and a stranger's sign-out, are not.
#[tokio::test]
async fn every_end_of_a_session_is_told_once() {
    for (mode, place) in MODES {
        let (shop, mut told) = listener(place, SameSite::Lax);
        let mut jar = shop.signed_in().await;
        shop.sign_in("bob", &mut jar).await;
        let ended = told.recv().await.unwrap();
        assert_eq!(ended.reason(), EndReason::Replaced, "{mode}");
        assert_eq!(ended.user_key().unwrap().subject, "alice", "{mode}");
        let alice = *ended.session_id().unwrap();

        for _ in 0..2 {
            shop.send(sign_out().jar(&jar)).await;
        }
        let ended = told.recv().await.unwrap();
        assert_eq!(ended.reason(), EndReason::SignedOut, "{mode}");
        assert_eq!(ended.user_key().unwrap().subject, "bob", "{mode}");
        assert_eq!(ended.user_key().unwrap().issuer, ISSUER, "{mode}");
        assert_eq!(ended.claims().unwrap().subject(), Some("bob"), "{mode}");
        assert_ne!(ended.session_id().unwrap(), &alice, "{mode}");

        shop.send(sign_out()).await;
        let old = shop.signed_in().await;
        shop.clock().advance(Duration::from_secs(8 * 3600));
        assert_eq!(shop.greeting(&old).await, "nobody", "{mode}");
        shop.send(sign_out().jar(&old)).await;
        tokio::task::yield_now().await;
        assert!(told.try_recv().is_err(), "{mode}");
    }
}

/// L76: a Strict cookie does not come along with the callback; the session it is of is told by its name.
#[tokio::test]
async fn a_session_that_a_strict_login_replaces_is_told_by_its_name() {
    for (mode, place) in MODES {
        let (shop, mut told) = listener(place, SameSite::Strict);
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let own = Ask::page("/auth/login").set("sec-fetch-site", "same-origin");
        let start = shop.send(own.jar(&jar)).await;
        let mut transactions = Jar::default();
        transactions.take(&start);
        let uri = shop.approve(start.location(), "bob").await;
        let answer = shop.send(Ask::page(&uri).jar(&transactions)).await;
        assert_eq!(answer.status, StatusCode::OK, "{mode} {answer:?}");
        let ended = told.recv().await.unwrap();
        assert_eq!(ended.reason(), EndReason::Replaced, "{mode}");
        assert!(
            ended.session_id().is_some() && ended.user_key().is_none(),
            "{mode}"
        );
        assert!(told.try_recv().is_err(), "{mode}");
    }
}

/// L76: the answer to a sign-out waits for nobody's hook, and a hook that panics undoes nothing.
#[tokio::test]
async fn a_sign_out_does_not_wait_for_its_hook() {
    for (mode, place) in MODES {
        for fails in ["hangs", "panics"] {
            let shop = shop(|login| {
                place(login).with_on_logout(move |_| async move {
                    assert_ne!(fails, "panics", "a hook of the application");
                    std::future::pending::<()>().await;
                })
            });
            let jar = shop.signed_in().await;
            let answer = shop.send(sign_out().jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{mode} {fails}");
            tokio::task::yield_now().await;
            assert_eq!(shop.greeting(&jar).await, "nobody", "{mode} {fails}");
        }
    }
}
