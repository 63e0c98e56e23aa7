//! Two nodes of one shop, with each session backend.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tower_oauth::LoginLayer;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{Endpoint, TestClient, TestServer, TestUser, TokenMint};

use super::logs;
use super::modes::Mode;
use super::shop::{Answer, Ask, ISSUER, Jar, Shop, app, client, login, server};

/// The greeting of the home page without a session.
pub const STRANGER: &str = "hello stranger";
pub const ALICE: &str = "hello alice";

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

/// A store that fails after a number of operations.
#[derive(Clone)]
pub struct FailingStore {
    memory: MemoryStore,
    left: Arc<AtomicI64>,
    refused: Arc<Mutex<Option<String>>>,
    hold: Arc<Mutex<Option<Hold>>>,
}

/// A change that is delayed: it signals that it has arrived, and waits.
#[derive(Clone)]
pub struct Hold {
    purpose: &'static str,
    arrived: Arc<Notify>,
    released: Arc<Notify>,
}

impl Hold {
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub fn release(&self) {
        self.released.notify_one();
    }
}

impl FailingStore {
    pub fn new(memory: MemoryStore) -> Self {
        Self {
            memory,
            left: Arc::new(AtomicI64::new(i64::MAX)),
            refused: Arc::default(),
            hold: Arc::default(),
        }
    }

    /// Fails after `verbs` further operations.
    pub fn fail_after(&self, verbs: i64) {
        self.left.store(verbs, Ordering::SeqCst);
    }

    /// Fails for keys with this ID.
    pub fn refuse(&self, id: Option<&str>) {
        *self.refused.lock().unwrap() = id.map(str::to_owned);
    }

    pub fn clear_faults(&self) {
        self.fail_after(i64::MAX);
    }

    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Delays the next change for this purpose.
    pub fn hold(&self, purpose: &'static str) -> Hold {
        let hold = Hold {
            purpose,
            arrived: Arc::default(),
            released: Arc::default(),
        };
        *self.hold.lock().unwrap() = Some(hold.clone());
        hold
    }

    fn holds_up(&self, key: &Key) -> Option<Hold> {
        let mut hold = self.hold.lock().unwrap();
        hold.take_if(|hold| key.as_str().starts_with(&format!("{}:", hold.purpose)))
    }

    fn ask(&self, key: &Key) -> Result<(), StoreError> {
        let refused = self.refused.lock().unwrap().clone();
        if refused.is_some_and(|id| key.as_str().ends_with(&id)) {
            return Err(StoreError::unavailable("one of its nodes is unavailable"));
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        Err(StoreError::unavailable("redis://:hush@10.0.0.1 is away"))
    }
}

impl Store for FailingStore {
    fn is_shared(&self) -> bool {
        self.memory.is_shared()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.ask(key)?;
        self.memory.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.ask(key)?;
        if let Some(hold) = self.holds_up(key) {
            hold.arrived.notify_one();
            hold.released.notified().await;
        }
        self.memory.put(key, value, ttl, expect).await
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        self.ask(key)?;
        if let Some(hold) = self.holds_up(key) {
            hold.arrived.notify_one();
            hold.released.notified().await;
        }
        self.memory.remove(key, expect).await
    }
}

/// Two nodes that share a store, a key and an authorization server.
#[derive(Clone)]
pub struct Nodes {
    pub server: TestServer,
    pub store: FailingStore,
    pub first: Shop,
    pub second: Shop,
    pub login: LoginLayer,
}

impl Nodes {
    pub fn new(mode: Mode) -> Self {
        Self::with(mode, &server(), |login| login)
    }

    pub fn with(
        mode: Mode,
        server: &TestServer,
        configure: impl Fn(LoginLayer) -> LoginLayer,
    ) -> Self {
        let memory = MemoryStore::new().with_clock(server.clock());
        let store = FailingStore::new(memory.with_single_process());
        let layer = || configure(mode.place_in(login(server), store.clone()));
        let login = layer();
        let node = |login: &LoginLayer| Shop {
            server: server.clone(),
            app: app(login),
        };
        Self {
            first: node(&login),
            second: node(&layer()),
            server: server.clone(),
            store: store.clone(),
            login,
        }
    }

    /// Returns the greeting of both nodes for this browser.
    pub async fn greeting(&self, jar: &Jar) -> String {
        let first = self.first.greeting(jar).await;
        assert_eq!(first, self.second.greeting(jar).await);
        first
    }

    /// Signs a user in at the first node, in a new browser.
    pub async fn signed_in(&self, user: &str) -> Jar {
        let mut jar = Jar::default();
        let answer = self.first.sign_in(user, &mut jar).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        jar
    }

    /// Returns the `sid` of the user's login that is not among `known`.
    pub fn sid_besides(&self, user: &str, known: &[String]) -> String {
        let mut sids = self.server.session_ids(user);
        sids.retain(|sid| !known.contains(sid));
        assert_eq!(sids.len(), 1);
        sids.remove(0)
    }

    /// Sends a logout token to the second node.
    pub async fn send_logout_token(&self, token: &str) -> Answer {
        self.second.send(delivery(token)).await
    }

    /// Returns a token that ends all sessions of a user.
    pub fn all_of(&self, user: &str) -> TokenMint {
        self.server.logout_token("shop").with_subject(user)
    }

    /// Returns a token that ends one session.
    pub fn one(&self, sid: &str) -> TokenMint {
        self.server.logout_token("shop").with_claim("sid", sid)
    }
}

/// A sign-out with a return target.
pub fn sign_out() -> Ask {
    Ask::new("POST", "/auth/logout?return_to=/notes").with(&[("sec-fetch-site", "same-origin")])
}

/// Returns the token type hints of the revocations so far.
pub fn revoked(server: &TestServer) -> Vec<String> {
    let requests = server.requests();
    let revocations = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Revocation);
    revocations
        .map(|request| request.parameter("token_type_hint").unwrap())
        .collect()
}

/// An authorization server with this client and two users.
pub fn server_with(client: TestClient) -> TestServer {
    logs::listen();
    super::still_server(ISSUER)
        .unwrap()
        .add_client(client)
        .add_user(TestUser::new("alice", "wonderland"))
        .add_user(TestUser::new("bob", "builder"))
}

/// Lets all other tasks run until they are pending.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// An authorization server whose refresh tokens live for half an hour.
pub fn sliding() -> TestServer {
    server_with(client().with_refresh_token_lifetime(30 * MINUTE))
}

/// Returns the request of an authorization server that delivers a logout token.
pub fn delivery(token: &str) -> Ask {
    Ask::new("POST", "/auth/backchannel-logout")
        .with(&[("content-type", "application/x-www-form-urlencoded")])
        .body(&format!("logout_token={token}"))
}
