//! Set-ups that do not work, as people make them. `docs/troubleshooting.md` has an entry for each.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use tower_oauth::store::{
    Expect, Key, Put, Record as Stored, RedisStore, Removed, Store, StoreError,
};
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TokenMint};
use tower_oauth::token::{IntrospectionVerifier, JwtVerifier};
use tower_oauth::{
    Algorithm, AuthorizationServer, BearerLayer, Client, LoginLayer, Session, VerifiedToken,
};

use super::troubleshooting::Record;
use crate::support::shop::{Answer, Ask, Jar, Shop, app, login, send, server};

const API: &str = "https://api.example.test";

type Mistake = fn(Record) -> Pin<Box<dyn Future<Output = ()>>>;

/// Names asynchronous functions by the headings of their entries.
macro_rules! mistakes {
    ($($title:literal => $mistake:ident,)*) => {
        pub(crate) fn all() -> Vec<(&'static str, Mistake)> {
            vec![$(($title, |record| Box::pin($mistake(record)))),*]
        }
    };
}

mistakes! {
    "The issuer has a slash too many" => slash_in_issuer,
    "The path of the issuer is misspelt" => typo_in_issuer,
    "The authorization server is unreachable" => server_away,
    "The access token is for another audience" => wrong_audience,
    "The access token is of Keycloak, and no profile is set" => keycloak_token,
    "The access token is opaque" => opaque_token,
    "The clock is wrong" => wrong_clock,
    "The client secret for introspection is wrong" => introspection_secret,
    "A preflight request is rejected" => cors_inside,
    "No BearerLayer" => no_bearer_layer,
    "The client secret for logins is wrong" => login_secret,
    "The login layer is nested" => nested_login,
    "A proxy strips a path prefix" => stripped_prefix,
    "The store is unreachable" => store_away,
    "The password of Redis is wrong" => redis_password,
    "A table of the store is missing" => missing_table,
    "Replicas have different cookie keys" => other_cookie_key,
    "Two login layers share their routes" => two_layers,
    "No LoginLayer" => no_login_layer,
}

// APIs.

fn issuer() -> TestServer {
    server()
        .with_algorithm(Algorithm::Es256)
        .add_client(TestClient::confidential("api", "api-secret"))
}

fn api(layer: BearerLayer) -> Router {
    let whoami = async |token: VerifiedToken| format!("{:?}", token.subject());
    Router::new().route("/orders", get(whoami)).layer(layer)
}

async fn ask(layer: BearerLayer, token: TokenMint) -> Answer {
    ask_with(layer, &token.sign()).await
}

async fn ask_with(layer: BearerLayer, token: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let request = Ask::new("GET", "/orders").with(&[("authorization", &authorization)]);
    let answer = send(&api(layer), request).await;
    // The key set is fetched in the background to explain the token.
    crate::support::api::settle().await;
    answer
}

fn good(server: &TestServer) -> TokenMint {
    server.access_token().with_audience(API)
}

/// The same authorization server under another issuer.
fn under(server: &TestServer, issuer: &str) -> AuthorizationServer {
    AuthorizationServer::new(issuer)
        .unwrap()
        .with_back_channel(server.back_channel())
        .with_clock(server.clock())
}

async fn wrong_issuer(record: Record, issuer_url: &str) {
    let server = issuer();
    let other = under(&server, issuer_url);
    record.response(&ask(BearerLayer::jwt(&other, API).unwrap(), good(&server)).await);
    record.text(&format!("ready(): {}", other.ready().await.unwrap_err()));
}

async fn slash_in_issuer(record: Record) {
    wrong_issuer(record, "https://id.example.test/").await;
}

async fn typo_in_issuer(record: Record) {
    wrong_issuer(record, "https://id.example.test/realms/shpo").await;
}

async fn server_away(record: Record) {
    let server = issuer();
    server.fail(Endpoint::Metadata, Fault::disconnect());
    let authorization_server = server.authorization_server();
    let layer = BearerLayer::jwt(&authorization_server, API).unwrap();
    record.response(&ask(layer, good(&server)).await);
    let error = authorization_server.ready().await.unwrap_err();
    record.text(&format!("ready(): {error}"));
}

async fn wrong_audience(record: Record) {
    let server = issuer();
    let layer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
    record.response(&ask(layer, good(&server).with_audience("account")).await);
}

async fn keycloak_token(record: Record) {
    let server = issuer();
    let layer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
    let token = good(&server)
        .with_header("typ", "JWT")
        .with_claim("typ", "Bearer")
        .with_claim("azp", "shop");
    record.response(&ask(layer, token).await);
}

async fn opaque_token(record: Record) {
    let layer = BearerLayer::jwt(&issuer().authorization_server(), API).unwrap();
    record.response(&ask_with(layer, "2YotnFZFEjr1zCsicMWpAA").await);
}

async fn wrong_clock(record: Record) {
    let server = issuer();
    let layer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
    record.response(&ask(layer, good(&server).with_expires_in(-600)).await);
}

async fn introspection_secret(record: Record) {
    let server = issuer();
    let client = Client::confidential("api", "another secret");
    let verifier = IntrospectionVerifier::new(&server.authorization_server(), client, API).unwrap();
    record.response(&ask_with(BearerLayer::new(verifier), "2YotnFZFEjr1zCsicMWpAA").await);
}

async fn cors_inside(record: Record) {
    let server = issuer();
    let layer = BearerLayer::new(JwtVerifier::new(&server.authorization_server(), API).unwrap());
    let cors = tower_http::cors::CorsLayer::permissive();
    let app = api(layer.clone()).layer(cors).layer(layer);
    let preflight = Ask::new("OPTIONS", "/orders").with(&[
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ]);
    record.response(&send(&app, preflight).await);
}

async fn no_bearer_layer(record: Record) {
    let app = Router::new().route("/orders", get(async |_: VerifiedToken| "orders"));
    record.response(&send(&app, Ask::new("GET", "/orders")).await);
}

// Logins.

async fn login_secret(record: Record) {
    let server = server();
    let client = Client::confidential("shop", "another secret");
    let callback = crate::support::shop::CALLBACK;
    let key = tower_oauth::CookieKey::from_bytes(&crate::support::shop::KEY).unwrap();
    let layer = LoginLayer::new(&server.authorization_server(), client, callback, key).unwrap();
    let shop = Shop {
        app: app(&layer),
        server,
    };
    record.response(&shop.sign_in("alice", &mut Jar::default()).await);
}

/// A browser that asks again and again, for a quarter of a minute.
async fn visits(record: Record, server: &TestServer, app: &Router, page: &str) {
    for _ in 0..3 {
        let answer = send(app, Ask::page(page)).await;
        record.response(&answer);
        server.clock().advance(Duration::from_secs(6));
    }
}

async fn nested_login(record: Record) {
    let server = server();
    let app = Router::new().nest("/shop", app(&login(&server)));
    visits(record.clone(), &server, &app, "/shop/account").await;
    let answer = send(&app, Ask::page("/auth/login?return_to=/account")).await;
    record.response(&answer);
}

/// The browser asks for `/shop/account`, and the proxy forwards `/account`.
async fn stripped_prefix(record: Record) {
    let shop = Shop::new();
    visits(record, &shop.server, &shop.app, "/account").await;
}

async fn login_with_store(record: Record, store: impl Store) {
    let shop = Shop::with(|login| login.with_session_store(store));
    record.response(&shop.sign_in("alice", &mut Jar::default()).await);
}

async fn store_away(record: Record) {
    // A port that no process listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let store = RedisStore::new(&format!("redis://shop:secret@{address}/")).unwrap();
    login_with_store(record, store).await;
}

async fn redis_password(record: Record) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.readable().await;
            let _ = stream
                .try_write(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n");
        }
    });
    let store = RedisStore::new(&format!("redis://shop:wrong@{address}/")).unwrap();
    login_with_store(record, store).await;
}

/// A store over a database whose table does not exist.
#[derive(Debug)]
struct WithoutTable;

fn missing() -> StoreError {
    StoreError::unavailable("relation \"sessions\" does not exist")
}

impl Store for WithoutTable {
    async fn get(&self, _: &Key) -> Result<Option<Stored>, StoreError> {
        Err(missing())
    }
    async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
        Err(missing())
    }
    async fn remove(&self, _: &Key, _: Expect) -> Result<Removed, StoreError> {
        Err(missing())
    }
}

async fn missing_table(record: Record) {
    login_with_store(record, WithoutTable).await;
}

async fn other_cookie_key(record: Record) {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let jar = jar.and("__Host-Http-shop-signed-in", "1");
    let key = tower_oauth::CookieKey::generate().unwrap();
    let other = app(&crate::support::shop::login_with(&shop.server, key));
    record.response(&send(&other, Ask::page("/account").jar(&jar)).await);
}

/// Two layers with the same redirect URI.
async fn two_layers(record: Record) {
    let server = server();
    let key = tower_oauth::CookieKey::generate().unwrap();
    let other = crate::support::shop::login_with(&server, key);
    let other = other.with_cookie_name("staff").unwrap();
    let app = app(&login(&server)).layer(other);
    record.response(&send(&app, Ask::page("/account")).await);
}

async fn no_login_layer(record: Record) {
    let app = Router::new().route("/account", get(async |_: Session| "account"));
    record.response(&send(&app, Ask::page("/account")).await);
}
