//! Sessions in a store: what the browser has, what the store has, and what neither has alone.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod login_support;
mod store_attacks;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use login_support::*;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::{CookieKey, LoginLayer};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Memory that tells what is in it, counts what is asked, and fails when told to.
#[derive(Clone)]
struct Watched {
    memory: MemoryStore,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: Mutex<BTreeMap<String, (Bytes, Duration)>>,
    gets: AtomicUsize,
    puts: AtomicUsize,
    trouble: Mutex<Option<Trouble>>,
    /// What every `get` of a session answers instead.
    swapped: Mutex<Option<Bytes>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Trouble {
    Down,
    Full,
    Hangs,
    Panics,
    WritesFail,
    /// Everything but a session can be written.
    NoSessions,
}

impl Watched {
    fn new(shop: &tower_oauth::testing::TestServer) -> Self {
        let memory = MemoryStore::new()
            .with_clock(shop.clock())
            .with_single_process();
        let shared = Arc::default();
        Self { memory, shared }
    }

    fn make(&self, trouble: Option<Trouble>) {
        *self.shared.trouble.lock().unwrap() = trouble;
    }

    /// The entries of one purpose.
    fn entries(&self, purpose: &str) -> Vec<(String, Bytes, Duration)> {
        let held = self.shared.held.lock().unwrap();
        held.iter()
            .filter(|(key, _)| key.split(':').next() == Some(purpose))
            .map(|(key, (value, ttl))| (key.clone(), value.clone(), *ttl))
            .collect()
    }

    async fn asked(&self, writes: bool) -> Result<(), StoreError> {
        let trouble = *self.shared.trouble.lock().unwrap();
        match trouble {
            Some(Trouble::WritesFail) if !writes => Ok(()),
            Some(Trouble::NoSessions) => Ok(()),
            None => Ok(()),
            Some(Trouble::Full) if !writes => Ok(()),
            Some(Trouble::Full) => Err(StoreError::Full),
            Some(Trouble::Down | Trouble::WritesFail) => Err(StoreError::unavailable("down")),
            Some(Trouble::Hangs) => std::future::pending().await,
            Some(Trouble::Panics) => panic!("a store that panics"),
        }
    }
}

impl Store for Watched {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.shared.gets.fetch_add(1, Ordering::Relaxed);
        self.asked(false).await?;
        let found = self.memory.get(key).await?;
        let swapped = self.shared.swapped.lock().unwrap().clone();
        Ok(match (found, swapped) {
            (Some(found), Some(value)) if key.as_str().starts_with("session:") => {
                Some(Record::new(value, found.version()))
            }
            (found, _) => found,
        })
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.shared.puts.fetch_add(1, Ordering::Relaxed);
        self.asked(true).await?;
        let trouble = *self.shared.trouble.lock().unwrap();
        if trouble == Some(Trouble::NoSessions) && key.as_str().starts_with("session:") {
            return Err(StoreError::unavailable("no room for sessions"));
        }
        let put = self.memory.put(key, value.clone(), ttl, expect).await?;
        if put != Put::Conflict {
            let mut held = self.shared.held.lock().unwrap();
            held.insert(key.as_str().to_owned(), (value, ttl));
        }
        Ok(put)
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        self.asked(true).await?;
        let removed = self.memory.remove(key, expect).await?;
        if removed == Removed::Removed {
            self.shared.held.lock().unwrap().remove(key.as_str());
        }
        Ok(removed)
    }

    fn is_shared(&self) -> bool {
        self.memory.is_shared()
    }
}

/// Two nodes of one application on one store.
struct Nodes {
    one: Shop,
    two: Shop,
    store: Watched,
}

fn nodes(mode: impl Fn(LoginLayer, Watched) -> LoginLayer) -> Nodes {
    let server = server();
    let store = Watched::new(&server);
    let node = || Shop {
        server: server.clone(),
        app: app(&mode(login(&server), store.clone())),
    };
    let (one, two) = (node(), node());
    Nodes { one, two, store }
}

fn stored() -> Nodes {
    nodes(LoginLayer::with_session_store)
}

fn shared() -> Nodes {
    nodes(LoginLayer::with_shared_store)
}

async fn known(shop: &Shop, jar: &Jar) -> bool {
    shop.greeting(jar).await == "hello alice"
}

/// `L37`: 256 random bits in the cookie, and in the store nothing that could be sent as one.
#[tokio::test]
async fn the_browser_has_a_ticket_and_the_store_has_what_nobody_can_read_without_it() {
    let nodes = stored();
    let (mut one, mut other) = (Jar::default(), Jar::default());
    let answer = nodes.one.sign_in("alice", &mut one).await;
    nodes.one.sign_in("alice", &mut other).await;
    let ticket = one.value(SESSION).to_owned();
    assert_eq!(ticket.len(), 43);
    assert_ne!(ticket, other.value(SESSION));
    let cookie = &answer.set_cookies()[0];
    assert!(
        cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=28800"),
        "{cookie}"
    );

    let sessions = nodes.store.entries("session");
    assert_eq!(sessions.len(), 2);
    let everything: Vec<_> = nodes
        .store
        .shared
        .held
        .lock()
        .unwrap()
        .clone()
        .into_iter()
        .collect();
    for (key, (value, _)) in &everything {
        assert!(
            key.len() <= 128 && key.bytes().all(|byte| byte.is_ascii_graphic()),
            "{key}"
        );
        assert!(!key.contains(&ticket), "{key}");
        for secret in ["alice", "eyJ", "wonderland", ticket.as_str()] {
            let found = value
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found && !key.contains(secret), "{key}: {secret}");
        }
    }
    // The names of the store, sent as tickets, are nobody's.
    for (key, ..) in sessions {
        let name = key.strip_prefix("session:").unwrap();
        let answer = nodes
            .one
            .send(Ask::page("/").with(&[("cookie", &format!("{SESSION}={name}"))]))
            .await;
        assert_eq!(answer.text(), "hello stranger");
        assert_eq!(answer.clears(), [SESSION]);
    }
    assert!(known(&nodes.one, &one).await && known(&nodes.two, &other).await);
}

/// `L37`: neither reading nor writing the store makes anybody a session.
#[tokio::test]
async fn a_record_moved_to_another_name_or_made_with_another_key_is_nobody() {
    let nodes = stored();
    let (mut alice, mut bob) = (Jar::default(), Jar::default());
    nodes.one.sign_in("alice", &mut alice).await;
    let record_of_alice = nodes.store.entries("session")[0].1.clone();
    nodes.one.sign_in("bob", &mut bob).await;
    // `H59`: the store hands out somebody else's record.
    *nodes.store.shared.swapped.lock().unwrap() = Some(record_of_alice);
    let answer = nodes.one.send(Ask::page("/").jar(&bob)).await;
    assert_eq!(
        (answer.text().as_str(), answer.clears()),
        ("hello stranger", vec![SESSION])
    );
    *nodes.store.shared.swapped.lock().unwrap() = None;

    // Somebody who may write and knows the format, but not the key of this application.
    let forged = stored();
    let server = &forged.one.server;
    let other_key = CookieKey::from_bytes(&[8; 32]).unwrap();
    let shop = Shop {
        server: server.clone(),
        app: app(&login_with(server, other_key).with_session_store(forged.store.clone())),
    };
    let jar = shop.signed_in().await;
    assert!(known(&shop, &jar).await);
    assert!(!known(&forged.one, &jar).await);
}

/// `H58`, `L46`: what cannot be read is anonymous. It stays: another process may be able to read it.
#[tokio::test]
async fn garbage_in_the_store_is_nobody_and_stays() {
    for garbage in ["", "x", "{\"sub\":\"alice\"}", "\u{1}\u{1}\u{1}\u{1}\u{1}"] {
        let nodes = stored();
        let jar = nodes.one.signed_in().await;
        *nodes.store.shared.swapped.lock().unwrap() = Some(Bytes::from_static(garbage.as_bytes()));
        let answer = nodes.one.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(
            (answer.status, answer.text()),
            (StatusCode::OK, "hello stranger".to_owned())
        );
        assert_eq!(nodes.store.entries("session").len(), 1, "{garbage:?}");
        *nodes.store.shared.swapped.lock().unwrap() = None;
        assert!(known(&nodes.one, &jar).await, "{garbage:?}");
    }
}

/// `L39`, `L43`, `H50`: only one cookie of ours that is a ticket of ours.
#[tokio::test]
async fn anything_but_one_good_ticket_is_nobody_and_is_cleared() {
    let nodes = stored();
    let jar = nodes.one.signed_in().await;
    let ticket = jar.value(SESSION).to_owned();
    let sealed = Shop::new().signed_in().await.value(SESSION).to_owned();
    let unknown = "A".repeat(43);
    let mut bob = Jar::default();
    nodes.one.sign_in("bob", &mut bob).await;
    let bob = bob.value(SESSION).to_owned();
    for (name, cookies) in [
        ("unknown", format!("{SESSION}={unknown}")),
        ("empty", format!("{SESSION}=")),
        ("short", format!("{SESSION}={}", &ticket[..42])),
        ("long", format!("{SESSION}={ticket}A")),
        ("padded", format!("{SESSION}={ticket}=")),
        ("another mode's", format!("{SESSION}={sealed}")),
        (
            "H50 of two people",
            format!("{SESSION}={ticket}; {SESSION}={bob}"),
        ),
        ("as a chunk", format!("{SESSION}.0={ticket}")),
    ] {
        let answer = nodes
            .one
            .send(Ask::page("/").with(&[("cookie", &cookies)]))
            .await;
        assert_eq!(
            (answer.status, answer.text()),
            (StatusCode::OK, "hello stranger".to_owned()),
            "{name}"
        );
        assert!(!answer.clears().is_empty(), "{name}");
    }
    // Beside the good one they are nothing.
    for planted in [
        format!("{SESSION}={ticket}; {SESSION}={unknown}"),
        format!("{SESSION}={unknown}; {SESSION}={ticket}"),
        format!("{SESSION}={ticket}; {SESSION}={ticket}"),
        format!("{SESSION}={ticket}; {SESSION}.0=x"),
    ] {
        let ask = Ask::page("/").with(&[("cookie", &planted)]);
        assert_eq!(nodes.one.send(ask).await.text(), "hello alice", "{planted}");
    }
    assert!(known(&nodes.one, &jar).await);
}

/// `L44`, `H62`: the limits are the store's business too, and `Max-Age` is nobody's.
#[tokio::test]
async fn a_stored_session_ends_when_idle_or_old_and_its_use_is_noted_now_and_then() {
    let nodes = stored();
    let jar = nodes.one.signed_in().await;
    let puts = || nodes.store.shared.puts.load(Ordering::Relaxed);
    let before = puts();
    for _ in 0..360 {
        nodes.one.clock().advance(10 * SECOND);
        let answer = nodes.one.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(
            (answer.text().as_str(), answer.set_cookies().len()),
            ("hello alice", 0)
        );
    }
    assert_eq!(puts() - before, 10);
    // `L45`: looking does not extend.
    nodes.one.clock().advance(HOUR - SECOND);
    let answer = nodes
        .two
        .send(Ask::new("GET", "/auth/session").jar(&jar))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    nodes.one.clock().advance(SECOND);
    let answer = nodes.two.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(
        (answer.text().as_str(), answer.clears()),
        ("hello stranger", vec![SESSION])
    );

    let jar = nodes.one.signed_in().await;
    for _ in 0..16 {
        assert!(known(&nodes.two, &jar).await);
        nodes.one.clock().advance(30 * MINUTE);
    }
    assert!(!known(&nodes.two, &jar).await);
    // Nothing is kept longer than it may be of use.
    for (key, _, ttl) in nodes.store.entries("session") {
        assert!(ttl <= HOUR + MINUTE, "{key}");
    }
}

/// `L20`, `H34`, `H35`: a login is a new session under a new name, and the one before is gone.
#[tokio::test]
async fn a_login_gives_a_new_ticket_and_ends_the_session_before_on_every_node() {
    let nodes = stored();
    let mut jar = nodes.one.signed_in().await;
    let first = jar.clone();
    let answer = nodes.two.sign_in("bob", &mut jar).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(nodes.one.greeting(&jar).await, "hello bob");
    for shop in [&nodes.one, &nodes.two] {
        assert_eq!(shop.greeting(&first).await, "hello stranger");
    }
    assert_eq!(nodes.store.entries("session").len(), 1);
    // A ticket that was planted before is not taken over.
    let planted = "B".repeat(43);
    let mut jar = Jar::default();
    jar = jar.and(SESSION, &planted);
    nodes.one.sign_in("alice", &mut jar).await;
    assert_ne!(jar.value(SESSION), planted);
}

/// `L47`, `L62`: a copy of the cookie is dead everywhere at once.
#[tokio::test]
async fn a_sign_out_on_one_node_is_one_on_all() {
    for nodes in [stored(), shared()] {
        let mut jar = nodes.one.signed_in().await;
        let copy = jar.clone();
        assert!(known(&nodes.two, &copy).await);
        let request = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
        let answer = nodes.two.send(request.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        jar.take(&answer);
        for shop in [&nodes.one, &nodes.two] {
            assert!(!known(shop, &copy).await);
            assert!(!known(shop, &jar).await);
        }
    }
}

/// `L13`, `H07`: one state is redeemed once, whichever node it comes to.
#[tokio::test]
async fn fifty_equal_callbacks_over_two_nodes_make_one_token_request_and_one_session() {
    for nodes in [stored(), shared()] {
        let mut jar = Jar::default();
        let answer = nodes.one.start("/auth/login", &mut jar).await;
        let callback = nodes.one.approve(answer.location(), "alice").await;
        let mut tasks = Vec::new();
        for n in 0..50 {
            let shop = if n % 2 == 0 {
                nodes.one.clone()
            } else {
                nodes.two.clone()
            };
            let request = Ask::page(&callback).jar(&jar);
            tasks.push(tokio::spawn(async move { shop.send(request).await }));
        }
        let mut sessions = std::collections::BTreeSet::new();
        for task in tasks {
            let answer = task.await.unwrap();
            assert!(!answer.status.is_server_error(), "{answer:?}");
            let mut jar = Jar::default();
            jar.take(&answer);
            sessions.extend(
                jar.0
                    .into_iter()
                    .find(|(name, _)| name == SESSION)
                    .filter(|_| answer.status == StatusCode::SEE_OTHER),
            );
        }
        assert_eq!(nodes.one.token_calls(), 1);
        assert!(!sessions.is_empty());
        assert!(nodes.store.entries("session").len() <= 1);
        // Not later either, with the cookie kept.
        let again = nodes.two.send(Ask::page(&callback).jar(&jar)).await;
        assert!(
            again.status != StatusCode::SEE_OTHER
                || again
                    .set_cookies()
                    .iter()
                    .all(|it| it.contains("Max-Age=0"))
        );
        assert_eq!(nodes.one.token_calls(), 1);
    }
}

/// `L48`, `H59`: a store that fails lets nobody in, sends nobody away, and clears nothing.
#[tokio::test]
async fn while_the_store_fails_requests_with_a_session_get_503_and_then_go_on() {
    for nodes in [stored(), shared()] {
        let jar = nodes.one.signed_in().await;
        for trouble in [Trouble::Down, Trouble::Hangs, Trouble::Panics] {
            nodes.store.make(Some(trouble));
            let ask = nodes.one.send(Ask::page("/account").jar(&jar));
            let clock = nodes.one.clock();
            let (answer, ()) = tokio::join!(ask, async move {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                clock.advance(2 * SECOND);
            });
            assert_eq!(
                answer.status,
                StatusCode::SERVICE_UNAVAILABLE,
                "{trouble:?}"
            );
            assert_eq!(answer.header("retry-after"), "5");
            assert_eq!(answer.set_cookies(), Vec::<String>::new());
            // Who shows no session is nobody with and without a store.
            assert_eq!(
                nodes.one.send(Ask::page("/")).await.text(),
                "hello stranger"
            );
            nodes.store.make(None);
            assert!(known(&nodes.one, &jar).await, "{trouble:?}");
        }
    }
}

/// `L48`: a login that cannot be written down is an error page, and no cookie.
#[tokio::test]
async fn a_login_that_the_store_does_not_take_is_an_error_page_and_no_session() {
    for (trouble, redeemed) in [
        (Trouble::Full, 0),
        (Trouble::WritesFail, 0),
        (Trouble::NoSessions, 1),
    ] {
        let nodes = stored();
        let mut jar = Jar::default();
        let answer = nodes.one.start("/auth/login", &mut jar).await;
        let callback = nodes.one.approve(answer.location(), "alice").await;
        nodes.store.make(Some(trouble));
        let answer = nodes.one.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{trouble:?}"
        );
        assert!(
            answer
                .set_cookies()
                .iter()
                .all(|cookie| cookie.contains("Max-Age=0"))
        );
        assert!(
            answer.text().to_lowercase().contains("try again"),
            "{}",
            answer.text()
        );
        assert_eq!(nodes.one.token_calls(), redeemed, "{trouble:?}");
        // Nobody will ever use its tokens.
        assert_eq!(nodes.one.server.revoked_tokens().len(), redeemed);
        nodes.store.make(None);
        assert!(nodes.store.entries("session").is_empty());
        // A new login is all it takes.
        assert!(known(&nodes.one, &nodes.one.signed_in().await).await);
    }
}

/// `L48`: a sign-out that did not take effect everywhere does not look like one.
#[tokio::test]
async fn a_sign_out_that_the_store_does_not_take_is_an_error_and_clears_the_cookie() {
    for nodes in [stored(), shared()] {
        let jar = nodes.one.signed_in().await;
        nodes.store.make(Some(Trouble::WritesFail));
        let request = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
        let answer = nodes.two.send(request.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.clears(), [SESSION]);
        nodes.store.make(None);
        assert!(!known(&nodes.two, &jar).await);
    }
}

/// `P15`: abandoned logins leave nothing in the store either.
#[tokio::test]
async fn a_started_login_costs_the_store_nothing() {
    let nodes = stored();
    for _ in 0..200 {
        nodes.one.start("/auth/login", &mut Jar::default()).await;
    }
    assert_eq!(nodes.store.shared.puts.load(Ordering::Relaxed), 0);
    assert!(nodes.store.memory.is_empty());
}
