//! Hooks: approval of logins, app data, and notifications about ended sessions.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tower_oauth::login::SameSite;
use tower_oauth::session::{
    EndReason, EndedSession, LoginDecision, NewLogin, RefreshDecision, RefreshedSession,
};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{LoginLayer, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::shop::*;

session_modes! {
    all: [
        a_denied_user_gets_a_page_and_no_session,
        the_app_data_of_a_login_lasts_until_the_next_one,
        the_login_hook_runs_once_for_each_login,
        a_failed_login_hook_rejects_the_login,
        the_refresh_hook_runs_for_every_refresh_and_may_end_the_session,
        the_logout_hook_runs_once_for_each_ended_session,
        a_session_that_a_strict_login_replaces_is_reported_by_its_id,
        a_sign_out_does_not_wait_for_its_hook,
    ],
    with_store: [a_rejected_refresh_token_is_reported_as_the_reason],
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Staff {
    role: String,
}

/// A shop whose `/role` shows the app data.
fn shop(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let server = server();
    let role = |session: Option<Session>| async move {
        let Some(session) = session else {
            return "anonymous".to_owned();
        };
        let staff: Option<Staff> = session.app_data().unwrap();
        format!("{} {:?}", session.subject(), staff.map(|staff| staff.role))
    };
    let fresh = async move |session: Session| match session.access_token().await {
        Ok(_) => role(Some(session)).await,
        Err(error) => error.to_string(),
    };
    // Sessions that are not used for an hour stay live here.
    let limits = Duration::from_secs(8 * 3600);
    let login = login(&server).with_session_limits(limits, limits).unwrap();
    let app = Router::new()
        .route("/", get(role))
        .route("/fresh", get(fresh))
        .layer(configure(login));
    Shop { server, app }
}

/// Starts a login and returns its callback, which can be sent several times.
async fn callback(shop: &Shop, user: &str, jar: &mut Jar) -> Ask {
    let start = shop.start("/auth/login", jar).await;
    let uri = shop.approve(start.location(), user).await;
    Ask::page(&uri).jar(jar)
}

const MESSAGE: &str = "Ask <b>Ada</b> for an account & wait.";

/// A denial is a page with the text of the application, escaped. There is no session, the tokens are revoked,
/// and the previous session stays.
async fn a_denied_user_gets_a_page_and_no_session(mode: Mode) {
    let shop = shop(|login| {
        mode.place(login)
            .with_on_login(async |login: NewLogin| match login.subject() {
                "alice" => LoginDecision::allow(),
                _ => LoginDecision::deny(MESSAGE),
            })
    });
    let mut jar = shop.signed_in().await;
    assert_eq!(shop.server.revoked_tokens(), [""; 0]);
    for accept in ["text/html", "application/json"] {
        let ask = callback(&shop, "bob", &mut jar).await;
        let answer = shop.send(ask.set("accept", accept)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.sets(), [""; 0]);
        let text = answer.text();
        if accept == "text/html" {
            let escaped = "Ask &lt;b&gt;Ada&lt;/b&gt; for an account &amp; wait.";
            assert!(text.contains(escaped), "{text}");
            assert!(!text.contains("<b>"), "{text}");
            assert!(text.contains("<h1>Access denied</h1>"), "{text}");
            assert!(text.contains("href=\"/auth/login"), "{text}");
        } else {
            let problem = answer.json();
            assert_eq!(problem["code"], "login_denied");
            assert_eq!(problem["title"], MESSAGE);
            assert_eq!(problem["correlation_id"].as_str().unwrap().len(), 16);
        }
        jar.take(&answer);
        assert_eq!(shop.greeting(&jar).await, "alice None");
        assert_eq!(shop.server.access_tokens("bob"), [""; 0]);
    }
    assert!(!shop.server.revoked_tokens().is_empty());
    assert!(!shop.server.access_tokens("alice").is_empty());
}

/// App data of an approved login is available with its type, and the next login starts without it.
async fn the_app_data_of_a_login_lasts_until_the_next_one(mode: Mode) {
    let count = Arc::new(AtomicUsize::new(0));
    let shop = shop(|login| {
        mode.place(login).with_on_login(move |login: NewLogin| {
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
        assert_eq!(answer.text(), "alice Some(\"editor alice\")");
        jar.take(&answer);
        shop.clock().advance(Duration::from_secs(400));
    }
    for user in ["alice", "bob"] {
        shop.sign_in(user, &mut jar).await;
        assert_eq!(shop.greeting(&jar).await, format!("{user} None"));
    }
}

/// Once for each login, however often and concurrently the browser sends the callback.
async fn the_login_hook_runs_once_for_each_login(mode: Mode) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let shop = shop(|login| {
        mode.place(login).with_on_login(move |_| {
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
        assert_eq!(one.await.unwrap().status, StatusCode::FORBIDDEN);
    }
    assert_eq!(shop.send(ask).await.status, StatusCode::FORBIDDEN);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(shop.token_calls(), 1);
}

/// A hook that hangs, panics, defers or returns too much data affects its own login only.
async fn a_failed_login_hook_rejects_the_login(mode: Mode) {
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
            mode.place(login).with_on_login(move |_| {
                let healthy = *switch.lock().unwrap();
                async move {
                    if healthy {
                        return LoginDecision::allow();
                    }
                    fail(name).await
                }
            })
        });
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
        // The next login succeeds.
        *healthy.lock().unwrap() = true;
        let jar = shop.signed_in().await;
        assert_eq!(shop.greeting(&jar).await, "alice None", "{name}");
    }
}

/// The hook may request the userinfo endpoint before it decides.
#[tokio::test]
async fn the_login_hook_may_request_userinfo() {
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

/// An unavailable revocation endpoint does not delay the response.
#[tokio::test]
async fn a_denial_is_shown_although_the_revocation_fails() {
    let shop = shop(|login| login.with_on_login(async |_| LoginDecision::deny("no")));
    shop.server.fail(Endpoint::Revocation, Fault::status(500));
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

/// The hook runs once for each refresh, with the new ID token. Its decision applies to the request that
/// waited for the tokens.
async fn the_refresh_hook_runs_for_every_refresh_and_may_end_the_session(mode: Mode) {
    let count = Arc::new(AtomicUsize::new(0));
    let (sender, mut told) = mpsc::unbounded_channel();
    let counted = Arc::clone(&count);
    let shop = shop(|login| {
        mode.place(login)
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
            assert_eq!(answer.text(), role, "{turn}");
            jar.take(&answer);
            assert_eq!(count.load(Ordering::SeqCst), turn);
        }
        // Available without waiting.
        assert_eq!(shop.greeting(&jar).await, role, "{turn}");
        shop.clock().advance(Duration::from_secs(700));
    }
    shop.clock().advance(Duration::from_secs(2300));
    let answer = shop.send(Ask::page("/fresh").jar(&jar)).await;
    assert_eq!(answer.text(), "the session has ended");
    assert_eq!(told.recv().await, Some(EndReason::Hook));
    assert_eq!(shop.greeting(&jar).await, "anonymous");
    assert_eq!(shop.server.refresh_tokens("alice"), [""; 0]);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

/// A rejected refresh token ends the session. The hook is called if it ends immediately.
async fn a_rejected_refresh_token_is_reported_as_the_reason(mode: Mode) {
    let (shop, mut told) = listener(mode, SameSite::Lax);
    let jar = shop.signed_in().await;
    for token in shop.server.refresh_tokens("alice") {
        shop.server.revoke(&token);
    }
    shop.clock().advance(Duration::from_secs(3500));
    shop.send(Ask::page("/fresh").jar(&jar)).await;
    let ended = told.recv().await.unwrap();
    assert_eq!(ended.reason(), EndReason::RefreshRejected);
    assert_eq!(ended.user_key().unwrap().subject, "alice");
}

/// Collects the ended sessions in order.
fn listener(mode: Mode, same_site: SameSite) -> (Shop, mpsc::UnboundedReceiver<EndedSession>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shop = shop(|login| {
        mode.place(login)
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

/// A sign-out and a login that replaces a session are reported once each, with the user. Expiry and an
/// anonymous sign-out are not reported.
async fn the_logout_hook_runs_once_for_each_ended_session(mode: Mode) {
    let (shop, mut told) = listener(mode, SameSite::Lax);
    let mut jar = shop.signed_in().await;
    shop.sign_in("bob", &mut jar).await;
    let ended = told.recv().await.unwrap();
    assert_eq!(ended.reason(), EndReason::Replaced);
    assert_eq!(ended.user_key().unwrap().subject, "alice");
    let alice = *ended.session_id().unwrap();

    for _ in 0..2 {
        shop.send(sign_out().jar(&jar)).await;
    }
    let ended = told.recv().await.unwrap();
    assert_eq!(ended.reason(), EndReason::SignedOut);
    assert_eq!(ended.user_key().unwrap().subject, "bob");
    assert_eq!(ended.user_key().unwrap().issuer, ISSUER);
    assert_eq!(ended.claims().unwrap().subject(), Some("bob"));
    assert_ne!(ended.session_id().unwrap(), &alice);

    shop.send(sign_out()).await;
    let old = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(8 * 3600));
    assert_eq!(shop.greeting(&old).await, "anonymous");
    shop.send(sign_out().jar(&old)).await;
    tokio::task::yield_now().await;
    assert!(told.try_recv().is_err());
}

/// A Strict cookie is not sent with the callback, so the session is reported by its ID.
async fn a_session_that_a_strict_login_replaces_is_reported_by_its_id(mode: Mode) {
    let (shop, mut told) = listener(mode, SameSite::Strict);
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let own = Ask::page("/auth/login").set("sec-fetch-site", "same-origin");
    let start = shop.send(own.jar(&jar)).await;
    let mut transactions = Jar::default();
    transactions.take(&start);
    let uri = shop.approve(start.location(), "bob").await;
    let answer = shop.send(Ask::page(&uri).jar(&transactions)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let ended = told.recv().await.unwrap();
    assert_eq!(ended.reason(), EndReason::Replaced);
    assert!(ended.session_id().is_some() && ended.user_key().is_none());
    assert!(told.try_recv().is_err());
}

/// The response of a sign-out does not wait for the hook, and a panic of the hook restores nothing.
async fn a_sign_out_does_not_wait_for_its_hook(mode: Mode) {
    for fails in ["hangs", "panics"] {
        let shop = shop(|login| {
            mode.place(login).with_on_logout(move |_| async move {
                assert_ne!(fails, "panics", "a hook of the application");
                std::future::pending::<()>().await;
            })
        });
        let jar = shop.signed_in().await;
        let answer = shop.send(sign_out().jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{fails}");
        tokio::task::yield_now().await;
        assert_eq!(shop.greeting(&jar).await, "anonymous", "{fails}");
    }
}

/// Texts and targets on pages are escaped, and a denied login leaves nothing to use.
#[tokio::test]
async fn a_denied_login_escapes_its_message_and_leaves_nothing() {
    let server = server();
    let store = MemoryStore::new().with_single_process();
    let node = || {
        let login = login(&server)
            .with_session_store(store.clone())
            .with_on_login(|_| async { LoginDecision::deny("<script>\"'&\r\nset-cookie: a=b") });
        Shop {
            server: server.clone(),
            app: app(&login),
        }
    };
    let (one, two) = (node(), node());
    for target in ["/x?a=%22%3E%3Cscript%3E", "/x#'onclick=", "/x?a=b&c='d'"] {
        let mut jar = Jar::default();
        let target = url::form_urlencoded::byte_serialize(target.as_bytes()).collect::<String>();
        let start = format!("/auth/login?return_to={target}");
        let answer = one.start(&start, &mut jar).await;
        let callback = one.approve(answer.location(), "alice").await;
        for node in [&one, &two, &one] {
            let answer = node.send(Ask::page(&callback).jar(&jar)).await;
            assert!(answer.status.is_client_error(), "{answer:?}");
            assert_eq!(answer.sets(), [""; 0]);
            let page = answer.text();
            assert!(
                !page.contains("<script") && !page.contains("'onclick"),
                "{page}"
            );
            assert!(page.contains("return_to="), "{page}");
            assert!(
                answer
                    .header("content-security-policy")
                    .contains("default-src 'none'")
            );
        }
    }
}
