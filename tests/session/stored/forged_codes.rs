//! Unauthenticated callers who start logins and send callbacks with forged codes, beside honest users. And
//! processes that cannot read the records of others.

mod consumed_states;
mod redemptions;
mod redis;
mod saturation;
mod unreadable;

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{TestBackChannel, TestServer};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};
use tower_service::Service;

use crate::support::shop::{Answer, Ask, CALLBACK, ISSUER, Jar, KEY, SESSION, Shop, server};

pub const FORGED: &str = "forged";

/// How the token endpoint responds to forged codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As the authorization server does: 400 `invalid_grant`.
    Refuse,
    /// A status with this JSON, or with none.
    Status(u16, Option<&'static str>),
    Reset,
    Close,
    Hang,
}

/// One response of each kind that a token endpoint or a proxy in front of it gives.
pub const REPLIES: [Reply; 11] = [
    Reply::Refuse,
    Reply::Status(401, None),
    Reply::Status(403, None),
    Reply::Status(429, None),
    Reply::Status(500, None),
    Reply::Status(502, None),
    Reply::Status(503, None),
    Reply::Status(504, None),
    Reply::Reset,
    Reply::Close,
    Reply::Hang,
];

/// The connection to the authorization server, which responds to forged codes as configured and forwards
/// other requests.
#[derive(Clone)]
pub struct Channel {
    server: TestBackChannel,
    reply: Arc<Mutex<Reply>>,
    sent: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Channel {
    pub fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// Returns how many forged codes were sent.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Returns the maximum of concurrent requests with forged codes.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Request<Bytes>> for Channel {
    type Response = Response<Bytes>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let mut server = self.server.clone();
        let forged = String::from_utf8_lossy(request.body()).contains("code=forged");
        if !forged {
            return Box::pin(async move { server.call(request).await.map_err(Into::into) });
        }
        self.sent.fetch_add(1, Ordering::SeqCst);
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(now, Ordering::SeqCst);
        let guard = UnderWay(Arc::clone(&self.under_way));
        let reply = *self.reply.lock().unwrap();
        Box::pin(async move {
            let _guard = guard;
            match reply {
                Reply::Refuse => server.call(request).await.map_err(Into::into),
                Reply::Status(status, body) => {
                    let body = Bytes::from_static(body.unwrap_or_default().as_bytes());
                    let mut response = Response::new(body);
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok(response)
                }
                Reply::Reset => Err("connection reset by peer".into()),
                Reply::Close => Err("connection closed before message completed".into()),
                Reply::Hang => std::future::pending().await,
            }
        })
    }
}

/// A shop whose connection to the authorization server responds to forged codes as configured.
pub struct World {
    pub server: TestServer,
    pub channel: Channel,
}

impl World {
    pub fn new() -> Self {
        let server = server();
        let channel = Channel {
            server: server.back_channel(),
            reply: Arc::new(Mutex::new(Reply::Refuse)),
            sent: Arc::default(),
            under_way: Arc::default(),
            peak: Arc::default(),
        };
        Self { server, channel }
    }

    pub fn memory(&self, max_entries: usize) -> MemoryStore {
        MemoryStore::new()
            .with_clock(self.server.clock())
            .with_max_entries(max_entries)
            .unwrap()
            .with_single_process()
    }

    pub fn login(&self) -> LoginLayer {
        self.login_with(CookieKey::from_bytes(&KEY).unwrap())
    }

    pub fn login_with(&self, key: CookieKey) -> LoginLayer {
        let authority = self.server.authorization_server();
        let authority = authority.with_back_channel(self.channel.clone());
        let client = Client::confidential("shop", "shop-secret");
        LoginLayer::new(&authority, client, CALLBACK, key).unwrap()
    }

    pub fn shop(&self, login: LoginLayer) -> Shop {
        let app = Router::new()
            .route("/", get(home))
            .route("/renew", get(renew))
            .layer(login);
        Shop {
            server: self.server.clone(),
            app,
        }
    }

    pub fn advance(&self, time: Duration) {
        self.server.clock().advance(time);
    }

    /// Advances time until the future completes, a second at a time.
    pub async fn in_time<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let task = tokio::spawn(work);
        for _ in 0..200 {
            settle().await;
            if task.is_finished() {
                break;
            }
            self.advance(Duration::from_secs(1));
        }
        assert!(task.is_finished(), "it is not done in 200 seconds");
        task.await.unwrap()
    }
}

async fn home(session: Option<Session>) -> String {
    match session {
        Some(session) => format!("hello {}", session.subject()),
        None => "hello stranger".to_owned(),
    }
}

async fn renew(session: Session) -> StatusCode {
    match session.refresh().await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

/// Lets all tasks run as far as they can without time passing.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Starts a login as an unauthenticated caller and returns its callback with a forged code.
pub async fn forged_callback(shop: &Shop) -> Ask {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let state = answer.parameter("state").unwrap();
    let callback = format!("/auth/callback?state={state}&code={FORGED}&iss={ISSUER}");
    Ask::page(&callback).jar(&jar)
}

/// Sends `count` callbacks with forged codes without waiting for them.
pub async fn attack(shop: &Shop, count: usize) -> Vec<tokio::task::JoinHandle<Answer>> {
    let mut tasks = Vec::new();
    for _ in 0..count {
        let ask = forged_callback(shop).await;
        let shop = shop.clone();
        tasks.push(tokio::spawn(async move { shop.send(ask).await }));
    }
    tasks
}

/// Starts a login of Alice and returns its callback.
pub async fn honest_callback(shop: &Shop) -> (Jar, Ask) {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let ask = Ask::page(&callback).jar(&jar);
    (jar, ask)
}

/// Signs in while time passes and returns the cookies of the session.
pub async fn sign_in(world: &World, shop: &Shop) -> Jar {
    let (mut jar, ask) = honest_callback(shop).await;
    let shop = shop.clone();
    let answer = world.in_time(async move { shop.send(ask).await }).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    assert!(answer.sets().contains(&SESSION), "{answer:?}");
    jar.take(&answer);
    jar
}

pub async fn greeting(shop: &Shop, jar: &Jar) -> String {
    shop.send(Ask::page("/").jar(jar)).await.text()
}

pub async fn sign_out(shop: &Shop, jar: &Jar) -> Answer {
    let request = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    shop.send(request.jar(jar)).await
}
