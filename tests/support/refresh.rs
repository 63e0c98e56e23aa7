//! Shops that share what their backend allows, handlers that use tokens, and a clock that tests advance.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{StatusCode, Uri};
use tower_oauth::session::SessionError;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{
    Endpoint, Fault, Gate, GrantType, ManualClock, TestClient, TestServer, TestUser,
};
use tower_oauth::{LoginLayer, Session};

use super::logs;
use super::modes::Mode;
use super::shop::{Answer, Ask, ISSUER, Jar, Shop, client as registered, login};

/// The lifetime of an access token at the test server.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// An application of two processes, or of one if sessions are in cookies alone.
pub struct World {
    configure: fn(LoginLayer) -> LoginLayer,
    pub mode: Mode,
    pub server: TestServer,
    pub store: Switched,
    pub kept: Arc<Mutex<Vec<Session>>>,
    pub a: Shop,
    pub b: Shop,
}

pub fn server(client: impl FnOnce(TestClient) -> TestClient) -> TestServer {
    logs::listen();
    super::still_server(ISSUER)
        .unwrap()
        .add_client(client(registered()))
        .add_user(TestUser::new("alice", "wonderland"))
        .add_user(TestUser::new("bob", "builder"))
}

impl World {
    pub fn new(mode: Mode) -> Self {
        Self::with(mode, |client| client)
    }

    pub fn with(mode: Mode, client: impl FnOnce(TestClient) -> TestClient) -> Self {
        Self::at(server(client), mode)
    }

    pub fn at(server: TestServer, mode: Mode) -> Self {
        Self::configured(server, mode, |login| login)
    }

    pub fn configured(
        server: TestServer,
        mode: Mode,
        configure: fn(LoginLayer) -> LoginLayer,
    ) -> Self {
        let store = Switched::new(server.clock());
        let kept = Arc::default();
        let layer = |server, mode, store| configure(layer(server, mode, store));
        let a = shop(&server, layer(&server, mode, &store), &kept);
        let b = match mode {
            Mode::Cookie => a.clone(),
            _ => shop(&server, layer(&server, mode, &store), &kept),
        };
        Self {
            configure,
            mode,
            server,
            store,
            kept,
            a,
            b,
        }
    }

    /// A world in which alice is signed in.
    pub async fn signed_in(mode: Mode) -> (Self, Jar) {
        let world = Self::new(mode);
        let jar = world.a.signed_in().await;
        (world, jar)
    }

    /// A world whose server rotates refresh tokens, or does not.
    pub fn rotating(mode: Mode, rotates: bool) -> Self {
        Self::with(mode, |client| match rotates {
            true => client,
            false => client.without_rotation(),
        })
    }

    /// Starts another process with the same keys, and with the store if there is one.
    pub fn another(&self) -> Shop {
        let layer = layer(&self.server, self.mode, &self.store);
        shop(&self.server, (self.configure)(layer), &self.kept)
    }

    pub fn clock(&self) -> ManualClock {
        self.server.clock()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock().advance(Duration::from_secs(seconds));
    }

    /// Lets the access token of a new session expire.
    pub fn expire_token(&self) {
        self.clock().advance(LIFETIME);
    }

    /// Makes refreshes fail this way.
    pub fn fail_refreshes(&self, fault: Fault) {
        let fault = fault.only_for(GrantType::RefreshToken);
        self.server.fail(Endpoint::Token, fault);
    }

    pub fn fail_refresh_once(&self, fault: Fault) {
        let fault = fault.only_for(GrantType::RefreshToken);
        self.server.fail_once(Endpoint::Token, fault);
    }

    /// Holds the response to the next refresh until the gate opens.
    pub fn hold_refresh(&self) -> Gate {
        let gate = Gate::new();
        self.fail_refresh_once(Fault::hold_response(&gate));
        gate
    }

    /// Waits until the first refresh is at the server.
    pub async fn refresh_arrived(&self) {
        let refresh = GrantType::RefreshToken;
        self.server.wait_for_grant(refresh, 1).await;
    }

    /// Returns the response of a handler that uses the token, advancing time until it is there.
    pub async fn token(&self, shop: &Shop, jar: &Jar) -> Answer {
        self.in_time(token(shop, jar)).await
    }

    /// Returns the session as a handler that continues after its response has it.
    pub async fn kept_session(&self, jar: &Jar) -> Session {
        self.a.send(Ask::page("/keep").jar(jar)).await;
        self.kept.lock().unwrap().last().unwrap().clone()
    }

    pub fn refreshes(&self) -> usize {
        self.server.count_grant(GrantType::RefreshToken)
    }

    /// Takes the lease of the session that was saved last from its holder, as a pause of its process would.
    pub async fn lose_lease(&self) {
        let id = *self.kept.lock().unwrap().last().unwrap().id();
        let key = Key::new("lease", &id.to_string());
        let removed = self.store.remove(&key, Expect::Anything).await.unwrap();
        assert_eq!(removed, Removed::Removed);
    }

    pub fn revoked(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        requests
            .filter(|request| request.endpoint() == Endpoint::Revocation)
            .filter_map(|request| request.parameter("token"))
            .collect()
    }

    /// Advances time in small steps until the future completes.
    pub async fn in_time<T>(&self, future: impl Future<Output = T>) -> T {
        in_time(&self.clock(), future).await
    }
}

/// Returns the response of a handler that uses the token of the session.
pub async fn token(shop: &Shop, jar: &Jar) -> Answer {
    shop.send(Ask::page("/token").jar(jar)).await
}

/// Returns its status and text.
pub fn status_and_text(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.text())
}

/// Starts a request in its own task.
pub fn begin(shop: &Shop, path: &str, jar: &Jar) -> tokio::task::JoinHandle<Answer> {
    let (shop, ask) = (shop.clone(), Ask::page(path).jar(jar));
    tokio::spawn(async move { shop.send(ask).await })
}

/// Lets all tasks run as far as they can without time passing.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub async fn in_time<T>(clock: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..4000 {
        for _ in 0..40 {
            let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
            if let Poll::Ready(done) = polled {
                return done;
            }
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(50));
    }
    panic!("it is not done in 200 seconds");
}

pub fn layer(server: &TestServer, mode: Mode, store: &Switched) -> LoginLayer {
    mode.place_in(login(server), store.clone())
}

pub fn shop(server: &TestServer, login: LoginLayer, kept: &Arc<Mutex<Vec<Session>>>) -> Shop {
    let kept = Arc::clone(kept);
    let keep = move |session: Session| async move {
        kept.lock().unwrap().push(session);
    };
    let app = Router::new()
        .route("/", get(home))
        .route("/token", get(access_token))
        .route("/renew", get(renew))
        .route("/token-for", get(access_token_for))
        .route("/scopes", get(scopes))
        .route("/keep", get(keep))
        .layer(login);
    Shop {
        server: server.clone(),
        app,
    }
}

async fn home(session: Option<Session>) -> String {
    session.map_or_else(
        || "hello stranger".to_owned(),
        |session| format!("hello {}", session.subject()),
    )
}

async fn access_token(session: Session) -> (StatusCode, String) {
    response_of(
        session
            .access_token()
            .await
            .map(|it| it.expose().to_owned()),
    )
}

async fn access_token_for(uri: Uri, session: Session) -> (StatusCode, String) {
    let resource = uri.query().unwrap_or_default();
    let token = session.access_token_for(resource).await;
    response_of(token.map(|it| it.expose().to_owned()))
}

async fn renew(session: Session) -> (StatusCode, String) {
    if let Err(error) = session.refresh().await {
        return response_of(Err(error));
    }
    response_of(
        session
            .access_token()
            .await
            .map(|it| it.expose().to_owned()),
    )
}

async fn scopes(session: Session) -> String {
    session.scopes().to_string()
}

pub fn response_of(outcome: Result<String, SessionError>) -> (StatusCode, String) {
    match outcome {
        Ok(token) => (StatusCode::OK, token),
        Err(SessionError::AccessTokenExpired) => (StatusCode::UNAUTHORIZED, "expired".to_owned()),
        Err(SessionError::Ended) => (StatusCode::UNAUTHORIZED, "ended".to_owned()),
        Err(SessionError::Refused { .. }) => (StatusCode::BAD_GATEWAY, "refused".to_owned()),
        Err(SessionError::Unavailable { retry_after, .. }) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("again in {}", retry_after.as_secs()),
        ),
        Err(other) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{other:?}")),
    }
}

/// A store that can be switched off.
#[derive(Clone)]
pub struct Switched {
    memory: MemoryStore,
    off: Arc<AtomicBool>,
}

impl Switched {
    pub fn new(clock: ManualClock) -> Self {
        Self {
            memory: MemoryStore::new().with_clock(clock).with_single_process(),
            off: Arc::default(),
        }
    }

    pub fn off(&self) {
        self.off.store(true, Ordering::SeqCst);
    }

    pub fn on(&self) {
        self.off.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.off.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("switched off")),
            false => Ok(()),
        }
    }
}

impl Store for Switched {
    fn is_shared(&self) -> bool {
        true
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.check()?;
        // Lets other tasks run in between, as with a remote store.
        tokio::task::yield_now().await;
        self.memory.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.check()?;
        tokio::task::yield_now().await;
        self.memory.put(key, value, ttl, expect).await
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        self.check()?;
        tokio::task::yield_now().await;
        self.memory.remove(key, expect).await
    }
}
