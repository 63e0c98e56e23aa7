//! App data of sessions: where it is kept, its maximum size, and concurrent changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use tower_oauth::session::AppDataError;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{LoginLayer, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::shop::*;

session_modes! {
    all: [
        app_data_is_available_to_the_next_request,
        app_data_is_not_carried_over_to_another_login,
        data_that_is_too_large_is_rejected_with_size_and_limit,
        concurrent_changes_are_all_saved,
        an_ended_session_saves_no_app_data,
    ],
}

fn text_of(outcome: Result<(), AppDataError>) -> String {
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
        // A handler reads its own writes.
        if outcome.is_ok() {
            assert_eq!(session.app_data::<String>().unwrap(), Some(word));
        }
        text_of(outcome)
    };
    // A text of this length as JSON, including the quotes.
    let fill = async |Path(bytes): Path<usize>, session: Session| {
        text_of(session.set_app_data(&"x".repeat(bytes - 2)).await)
    };
    let count = async |session: Session| {
        tokio::task::yield_now().await;
        let change = |count: Option<u32>| count.unwrap_or(0) + 1;
        let count = session.update_app_data(change).await;
        count.map_or_else(|error| error.to_string(), |count| count.to_string())
    };
    let forget = async |session: Session| text_of(session.set_app_data(&None::<()>).await);
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

/// The next request has the data, with each backend. With cookies, the response carries it.
async fn app_data_is_available_to_the_next_request(mode: Mode) {
    let shop = shop(|login| mode.place(login));
    let mut jar = shop.signed_in().await;
    assert_eq!(ask(&shop, "/", &mut jar).await, "nothing");
    let answer = shop.send(Ask::page("/keep/one").jar(&jar)).await;
    assert_eq!(answer.text(), "kept");
    assert_eq!(answer.sets().len(), usize::from(mode != Mode::Store));
    let before = jar.clone();
    jar.take(&answer);
    for word in ["one", "two", "three"] {
        ask(&shop, &format!("/keep/{word}"), &mut jar).await;
        shop.clock().advance(Duration::from_secs(400));
        assert_eq!(ask(&shop, "/", &mut jar).await, word);
    }
    // A request with an older cookie.
    assert_eq!(ask(&shop, "/", &mut before.clone()).await, "three");
    assert_eq!(ask(&shop, "/forget", &mut jar).await, "kept");
    assert_eq!(ask(&shop, "/", &mut jar).await, "nothing");
    // Another type than the stored one.
    ask(&shop, "/count", &mut jar).await;
    assert_eq!(
        ask(&shop, "/", &mut jar).await,
        "the app data cannot be deserialized as this type"
    );
}

/// The next login starts without app data, of the same user or another.
async fn app_data_is_not_carried_over_to_another_login(mode: Mode) {
    let shop = shop(|login| mode.place(login));
    let mut jar = shop.signed_in().await;
    for user in ["alice", "bob"] {
        assert_eq!(ask(&shop, "/keep/mine", &mut jar).await, "kept");
        shop.sign_in(user, &mut jar).await;
        assert_eq!(ask(&shop, "/", &mut jar).await, "nothing", "{user}");
    }
}

/// The error has the size and the limit, and nothing changes.
async fn data_that_is_too_large_is_rejected_with_size_and_limit(mode: Mode) {
    let limit = if mode == Mode::Store { 65_536 } else { 1024 };
    let shop = shop(|login| mode.place(login));
    let mut jar = shop.signed_in().await;
    let fits = format!("/fill/{limit}");
    assert_eq!(ask(&shop, &fits, &mut jar).await, "kept");
    let kept = ask(&shop, "/", &mut jar).await;
    assert_eq!(kept.len(), limit - 2);
    let over = format!("/fill/{}", limit + 1);
    let said = ask(&shop, &over, &mut jar).await;
    let expected = format!(
        "app data of {} bytes as JSON exceeds the maximum of {limit} bytes",
        limit + 1
    );
    assert_eq!(said, expected);
    assert_eq!(ask(&shop, "/", &mut jar).await, kept);
}

/// Large tokens leave less room in cookies. Data within the reported limit fits.
#[tokio::test]
async fn large_tokens_leave_less_room_in_cookies() {
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

/// Concurrent increments are all counted.
async fn concurrent_changes_are_all_saved(mode: Mode) {
    let shop = shop(|login| mode.place(login));
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
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert_eq!(ask(&shop, "/count", &mut jar).await, "41");
}

/// Data of a slow handler does not restore a session that was ended meanwhile.
async fn an_ended_session_saves_no_app_data(mode: Mode) {
    let server = server();
    let (begun, go_on) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (at, wait) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = async move |session: Session| {
        at.notify_one();
        wait.notified().await;
        text_of(session.set_app_data("late").await)
    };
    let app = Router::new()
        .route("/slow", get(slow))
        .route(
            "/",
            get(async |session: Option<Session>| session.is_some().to_string()),
        )
        .layer(mode.place(login(&server)));
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
    assert_eq!(answer.text(), "the session has ended");
    assert_eq!(answer.sets(), [""; 0]);
    assert_eq!(shop.greeting(&jar).await, "false");
}

/// A store that can be switched off.
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

/// If the store fails, the data is unchanged and the handler receives an error.
#[tokio::test]
async fn a_failing_store_saves_nothing_and_returns_an_error() {
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
