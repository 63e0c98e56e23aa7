//! Sessions in a store: what the browser has, what the store has, and why both are required.

mod forged_codes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::{CookieKey, LoginLayer};

use crate::support::shop::*;

const SECOND: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

const HOUR: Duration = Duration::from_secs(3600);

/// A memory store that shows its entries, counts operations and fails on request.
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
    /// Returned by each `get` of a session instead of its value.
    swapped: Mutex<Option<Bytes>>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Trouble {
    Down,
    Full,
    Hangs,
    Panics,
    WritesFail,
    /// Everything but sessions can be written.
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

    /// Returns the entries of one purpose.
    fn entries(&self, purpose: &str) -> Vec<(String, Bytes, Duration)> {
        let held = self.shared.held.lock().unwrap();
        held.iter()
            .filter(|(key, _)| key.split(':').next() == Some(purpose))
            .map(|(key, (value, ttl))| (key.clone(), value.clone(), *ttl))
            .collect()
    }

    async fn operation(&self, writes: bool) -> Result<(), StoreError> {
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
        self.operation(false).await?;
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
        self.operation(true).await?;
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
        self.operation(true).await?;
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

/// Two nodes of one application with one store.
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

/// 256 random bits in the cookie. The store has nothing that could be sent as a cookie.
#[tokio::test]
async fn the_store_has_records_that_cannot_be_read_without_the_secret_of_the_browser() {
    let nodes = stored();
    let (mut one, mut other) = (Jar::default(), Jar::default());
    let answer = nodes.one.sign_in("alice", &mut one).await;
    nodes.one.sign_in("alice", &mut other).await;
    let secret = one.value(SESSION).to_owned();
    assert_eq!(secret.len(), 43);
    assert_ne!(secret, other.value(SESSION));
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
        assert!(!key.contains(&secret), "{key}");
        for secret in ["alice", "eyJ", "wonderland", secret.as_str()] {
            let found = value
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found && !key.contains(secret), "{key}: {secret}");
        }
    }
    // The keys in the store are not accepted as session secrets.
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

/// Neither reading nor writing the store gives access to a session.
#[tokio::test]
async fn a_record_of_another_session_or_key_is_rejected() {
    let nodes = stored();
    let (mut alice, mut bob) = (Jar::default(), Jar::default());
    nodes.one.sign_in("alice", &mut alice).await;
    let record_of_alice = nodes.store.entries("session")[0].1.clone();
    nodes.one.sign_in("bob", &mut bob).await;
    // The store returns the record of another session.
    *nodes.store.shared.swapped.lock().unwrap() = Some(record_of_alice);
    let answer = nodes.one.send(Ask::page("/").jar(&bob)).await;
    assert_eq!(
        (answer.text().as_str(), answer.clears()),
        ("hello stranger", vec![SESSION])
    );
    *nodes.store.shared.swapped.lock().unwrap() = None;

    // An attacker with write access who knows the format, but not the cookie key.
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

/// An unreadable record is anonymous and kept: another process may be able to read it.
#[tokio::test]
async fn an_unreadable_record_is_anonymous_and_kept() {
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

/// Exactly one cookie with a valid secret is accepted.
#[tokio::test]
async fn anything_but_one_valid_secret_is_anonymous_and_cleared() {
    let nodes = stored();
    let jar = nodes.one.signed_in().await;
    let secret = jar.value(SESSION).to_owned();
    let sealed = Shop::new().signed_in().await.value(SESSION).to_owned();
    let unknown = "A".repeat(43);
    let mut bob = Jar::default();
    nodes.one.sign_in("bob", &mut bob).await;
    let bob = bob.value(SESSION).to_owned();
    for (name, cookies) in [
        ("unknown", format!("{SESSION}={unknown}")),
        ("empty", format!("{SESSION}=")),
        ("short", format!("{SESSION}={}", &secret[..42])),
        ("long", format!("{SESSION}={secret}A")),
        ("padded", format!("{SESSION}={secret}=")),
        ("another mode's", format!("{SESSION}={sealed}")),
        (
            "H50 of two people",
            format!("{SESSION}={secret}; {SESSION}={bob}"),
        ),
        ("as a chunk", format!("{SESSION}.0={secret}")),
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
    // Ignored beside the valid one.
    for planted in [
        format!("{SESSION}={secret}; {SESSION}={unknown}"),
        format!("{SESSION}={unknown}; {SESSION}={secret}"),
        format!("{SESSION}={secret}; {SESSION}={secret}"),
        format!("{SESSION}={secret}; {SESSION}.0=x"),
    ] {
        let ask = Ask::page("/").with(&[("cookie", &planted)]);
        assert_eq!(nodes.one.send(ask).await.text(), "hello alice", "{planted}");
    }
    assert!(known(&nodes.one, &jar).await);
}

/// The server enforces the limits, whatever `Max-Age` the cookie has.
#[tokio::test]
async fn a_stored_session_ends_at_its_limits_and_its_use_is_saved_periodically() {
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
    // Reading the session route does not extend it.
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
    // No entry is stored for longer than it is required.
    for (key, _, ttl) in nodes.store.entries("session") {
        assert!(ttl <= HOUR + MINUTE, "{key}");
    }
}

/// A login creates a new session with a new secret and ends the previous one, against session fixation.
#[tokio::test]
async fn a_login_creates_a_new_secret_and_ends_the_previous_session_on_every_node() {
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
    // A planted secret is not adopted.
    let planted = "B".repeat(43);
    let mut jar = Jar::default();
    jar = jar.and(SESSION, &planted);
    nodes.one.sign_in("alice", &mut jar).await;
    assert_ne!(jar.value(SESSION), planted);
}

/// A copy of the cookie is rejected on every node immediately.
#[tokio::test]
async fn a_sign_out_on_one_node_takes_effect_on_all() {
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

/// Each `state` is redeemed once, at whichever node its callback arrives.
#[tokio::test]
async fn fifty_equal_callbacks_at_two_nodes_cause_one_token_request_and_one_session() {
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
        // Nor later with a kept cookie.
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

/// A failing store signs no user in or out and clears no cookie.
#[tokio::test]
async fn while_the_store_fails_requests_with_a_session_get_503_and_the_session_is_kept() {
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
            // A request without a session is anonymous with and without a store.
            assert_eq!(
                nodes.one.send(Ask::page("/")).await.text(),
                "hello stranger"
            );
            nodes.store.make(None);
            assert!(known(&nodes.one, &jar).await, "{trouble:?}");
        }
    }
}

/// A login that cannot be stored is an error page without a cookie.
#[tokio::test]
async fn a_login_that_the_store_rejects_is_an_error_page_and_no_session() {
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
        // Its tokens are revoked, since no session has them.
        assert_eq!(nodes.one.server.revoked_tokens().len(), redeemed);
        nodes.store.make(None);
        assert!(nodes.store.entries("session").is_empty());
        // A new login succeeds.
        assert!(known(&nodes.one, &nodes.one.signed_in().await).await);
    }
}

/// A sign-out that did not take effect everywhere is not reported as complete.
#[tokio::test]
async fn a_sign_out_that_the_store_rejects_is_an_error_and_clears_the_cookie() {
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

/// Abandoned logins store nothing.
#[tokio::test]
async fn a_started_login_stores_nothing() {
    let nodes = stored();
    for _ in 0..200 {
        nodes.one.start("/auth/login", &mut Jar::default()).await;
    }
    assert_eq!(nodes.store.shared.puts.load(Ordering::Relaxed), 0);
    assert!(nodes.store.memory.is_empty());
}

/// On two nodes, one callback creates one session, wherever and however often it arrives.
#[tokio::test]
async fn one_callback_at_two_nodes_creates_one_session() {
    let server = server();
    let store = MemoryStore::new().with_single_process();
    let node = || {
        let login = login(&server).with_session_store(store.clone());
        Shop {
            server: server.clone(),
            app: app(&login),
        }
    };
    let (one, two) = (node(), node());
    let mut jar = Jar::default();
    let answer = one.start("/auth/login?return_to=%2Fnotes", &mut jar).await;
    let callback = one.approve(answer.location(), "alice").await;
    let calls = server.count(tower_oauth::testing::Endpoint::Token);
    let ask = || Ask::page(&callback).jar(&jar);
    let (a, b, c, d) = tokio::join!(
        one.send(ask()),
        two.send(ask()),
        one.send(ask()),
        two.send(ask())
    );
    let after = server.count(tower_oauth::testing::Endpoint::Token);
    assert_eq!(after - calls, 1);
    let mut sessions: Vec<String> = Vec::new();
    for answer in [&a, &b, &c, &d] {
        let mut jar = Jar::default();
        jar.take(answer);
        if answer.status == StatusCode::SEE_OTHER {
            sessions.push(jar.value(SESSION).to_owned());
            assert_eq!(answer.location(), "/notes");
        } else {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert!(!jar.names().contains(&SESSION));
        }
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}
