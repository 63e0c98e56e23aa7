//! What an application keeps with a session: where, how much, and who wins.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use login_support::*;
use tower_oauth::session::AppDataError;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{LoginLayer, Session};

type Mode = (&'static str, fn(LoginLayer) -> LoginLayer);

const MODES: [Mode; 3] = [
    ("cookie", |login| login),
    ("shared memory", |login| {
        login.with_shared_store(MemoryStore::new())
    }),
    ("store", |login| {
        login.with_session_store(MemoryStore::new())
    }),
];

fn told(outcome: Result<(), AppDataError>) -> String {
    outcome.map_or_else(|error| error.to_string(), |()| "kept".to_owned())
}

fn shop(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let server = server();
    let login = configure(login(&server));
    let read = async |session: Session| match session.app_data::<String>() {
        Ok(data) => data.unwrap_or_else(|| "nothing".to_owned()),
        Err(error) => error.to_string(),
    };
    let keep = async |Path(word): Path<String>, session: Session| {
        let outcome = session.set_app_data(&word).await;
        // A handler sees what it has kept.
        if outcome.is_ok() {
            assert_eq!(session.app_data::<String>().unwrap(), Some(word));
        }
        told(outcome)
    };
    // A text of this length as JSON, its quotes included.
    let fill = async |Path(bytes): Path<usize>, session: Session| {
        told(session.set_app_data(&"x".repeat(bytes - 2)).await)
    };
    let count = async |session: Session| {
        tokio::task::yield_now().await;
        let change = |count: Option<u32>| count.unwrap_or(0) + 1;
        let count = session.update_app_data(change).await;
        count.map_or_else(|error| error.to_string(), |count| count.to_string())
    };
    let forget = async |session: Session| told(session.set_app_data(&None::<()>).await);
    let app = Router::new()
        .route("/", get(read))
        .route("/keep/{word}", get(keep))
        .route("/fill/{bytes}", get(fill))
        .route("/count", get(count))
        .route("/forget", get(forget))
        .layer(login);
    Shop { server, app }
}

async fn ask(shop: &Shop, path: &str, jar: &mut Jar) -> String {
    let answer = shop.send(Ask::page(path).jar(jar)).await;
    jar.take(&answer);
    answer.text()
}

/// L76: what was kept is there at the next request, in all places; in a cookie it goes out with the response.
#[tokio::test]
async fn what_is_kept_is_there_at_the_next_request() {
    for (mode, place) in MODES {
        let shop = shop(place);
        let mut jar = shop.signed_in().await;
        assert_eq!(ask(&shop, "/", &mut jar).await, "nothing", "{mode}");
        let answer = shop.send(Ask::page("/keep/one").jar(&jar)).await;
        assert_eq!(answer.text(), "kept", "{mode}");
        assert_eq!(answer.sets().len(), usize::from(mode != "store"), "{mode}");
        let before = jar.clone();
        jar.take(&answer);
        for word in ["one", "two", "three"] {
            ask(&shop, &format!("/keep/{word}"), &mut jar).await;
            shop.clock().advance(Duration::from_secs(400));
            assert_eq!(ask(&shop, "/", &mut jar).await, word, "{mode}");
        }
        // A request that still comes with an older cookie.
        assert_eq!(
            ask(&shop, "/", &mut before.clone()).await,
            "three",
            "{mode}"
        );
        assert_eq!(ask(&shop, "/forget", &mut jar).await, "kept", "{mode}");
        assert_eq!(ask(&shop, "/", &mut jar).await, "nothing", "{mode}");
        // Of another type than what is there.
        ask(&shop, "/count", &mut jar).await;
        assert_eq!(
            ask(&shop, "/", &mut jar).await,
            "the app data is of another type",
            "{mode}"
        );
    }
}

/// L20, L76: the next login has nothing of it, neither the same person's nor another's.
#[tokio::test]
async fn nothing_of_it_is_carried_to_another_login() {
    for (mode, place) in MODES {
        let shop = shop(place);
        let mut jar = shop.signed_in().await;
        for user in ["alice", "bob"] {
            assert_eq!(ask(&shop, "/keep/mine", &mut jar).await, "kept", "{mode}");
            shop.sign_in(user, &mut jar).await;
            assert_eq!(ask(&shop, "/", &mut jar).await, "nothing", "{mode} {user}");
        }
    }
}

/// L76: the limit is told with both numbers, and what is refused changes nothing.
#[tokio::test]
async fn what_is_too_large_is_refused_with_both_numbers() {
    for (mode, place) in MODES {
        let limit = if mode == "store" { 65_536 } else { 1024 };
        let shop = shop(place);
        let mut jar = shop.signed_in().await;
        let fits = format!("/fill/{limit}");
        assert_eq!(ask(&shop, &fits, &mut jar).await, "kept", "{mode}");
        let kept = ask(&shop, "/", &mut jar).await;
        assert_eq!(kept.len(), limit - 2, "{mode}");
        let over = format!("/fill/{}", limit + 1);
        let said = ask(&shop, &over, &mut jar).await;
        let expected = format!("app data of {} bytes as JSON, where {limit} fit", limit + 1);
        assert_eq!(said, expected, "{mode}");
        assert_eq!(ask(&shop, "/", &mut jar).await, kept, "{mode}");
    }
}

/// Decision 14: beside large tokens less fits into cookies. What is said to fit does, and the session is
/// written with it.
#[tokio::test]
async fn beside_large_tokens_less_fits_into_cookies() {
    let mut refused = 0;
    for blob in (1100..=2500).step_by(140) {
        let shop = shop(|login| login);
        let mut jar = Jar::default();
        let start = shop.start("/auth/login", &mut jar).await;
        let callback = shop.approve(start.location(), "alice").await;
        let large = Fault::id_token(move |mint| mint.with_claim("blob", "b".repeat(blob)));
        shop.server.fail(Endpoint::Token, large);
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{blob}");
        jar.take(&answer);
        let said = ask(&shop, "/fill/1024", &mut jar).await;
        let mut expected = 1024;
        if said != "kept" {
            refused += 1;
            let limit = said.split(' ').nth_back(1).unwrap();
            expected = limit.parse().unwrap();
            assert!(expected < 1024, "{blob} {said}");
            if expected < 3 {
                continue;
            }
            assert_eq!(ask(&shop, "/", &mut jar).await, "nothing", "{blob}");
            assert_eq!(
                ask(&shop, &format!("/fill/{expected}"), &mut jar).await,
                "kept",
                "{blob}"
            );
        }
        assert_eq!(
            ask(&shop, "/", &mut jar).await.len(),
            expected - 2,
            "{blob}"
        );
        assert!(jar.bytes() < 5 * 1024, "{blob} {}", jar.bytes());
    }
    assert!((2..11).contains(&refused), "{refused}");
}

/// L47: of requests that count at once, none is lost.
#[tokio::test]
async fn changes_at_the_same_time_are_all_kept() {
    for (mode, place) in MODES {
        let shop = shop(place);
        let mut jar = shop.signed_in().await;
        let all: Vec<_> = (0..40)
            .map(|_| {
                let (shop, jar) = (shop.clone(), jar.clone());
                tokio::spawn(async move { shop.send(Ask::page("/count").jar(&jar)).await.text() })
            })
            .collect();
        let mut seen = Vec::new();
        for one in all {
            seen.push(one.await.unwrap().parse::<u32>().unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen, (1..=40).collect::<Vec<_>>(), "{mode}");
        assert_eq!(ask(&shop, "/count", &mut jar).await, "41", "{mode}");
    }
}

/// L47: what a slow handler keeps does not bring back a session that was ended meanwhile.
#[tokio::test]
async fn a_session_that_was_ended_keeps_nothing() {
    for (mode, place) in MODES {
        let server = server();
        let (begun, go_on) = (
            Arc::new(tokio::sync::Notify::new()),
            Arc::new(tokio::sync::Notify::new()),
        );
        let (at, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
        let slow = async move |session: Session| {
            at.notify_one();
            wait.notified().await;
            told(session.set_app_data("late").await)
        };
        let app = Router::new()
            .route("/slow", get(slow))
            .route(
                "/",
                get(async |session: Option<Session>| session.is_some().to_string()),
            )
            .layer(place(login(&server)));
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let under_way = tokio::spawn({
            let (shop, jar) = (shop.clone(), jar.clone());
            async move { shop.send(Ask::page("/slow").jar(&jar)).await }
        });
        begun.notified().await;
        let out = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
        shop.send(out.jar(&jar)).await;
        go_on.notify_one();
        let answer = under_way.await.unwrap();
        assert_eq!(answer.text(), "the session has ended", "{mode}");
        assert_eq!(answer.sets(), [""; 0], "{mode}");
        assert_eq!(shop.greeting(&jar).await, "false", "{mode}");
    }
}

/// A store that may be switched off.
#[derive(Clone)]
struct Switched(MemoryStore, Arc<AtomicBool>);

impl Switched {
    fn check(&self) -> Result<(), StoreError> {
        match self.1.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("switched off")),
            false => Ok(()),
        }
    }
}

impl Store for Switched {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.check()?;
        self.0.put(key, value, ttl, expect).await
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        self.check()?;
        self.0.remove(key, expect).await
    }
}

/// L48: what the store did not take is not kept, and the handler hears of it.
#[tokio::test]
async fn a_store_that_is_away_keeps_nothing_and_says_so() {
    let off = Arc::new(AtomicBool::new(false));
    let store = Switched(MemoryStore::new(), Arc::clone(&off));
    let shop = shop(|login| login.with_session_store(store));
    let mut jar = shop.signed_in().await;
    assert_eq!(ask(&shop, "/keep/one", &mut jar).await, "kept");
    off.store(true, Ordering::SeqCst);
    assert_eq!(
        ask(&shop, "/keep/two", &mut jar).await,
        "the store is unavailable"
    );
    off.store(false, Ordering::SeqCst);
    assert_eq!(ask(&shop, "/", &mut jar).await, "one");
}
