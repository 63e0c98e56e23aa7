//! `session-overhead` and `login-memory`: the cost of a session per request, and of abandoned logins.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bench_support::alloc;
use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{Key, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde_json::Value;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TestUser};
use tower_oauth::{Algorithm, Client, CookieKey, LoginLayer, Session};

use crate::Finding;

const ROUNDS: usize = 101;
const BATCH: usize = 500;
const ABANDONED: usize = 10_000;
/// Makes the cookie of the session about 2 kB long.
const PADDING: usize = 10;
const SHOP: &str = "https://shop.example.test";

pub async fn overhead() -> Vec<Finding> {
    let server = server();
    let login = login(&server);
    let cookies = sign_in(&server, &login).await;
    let baseline = Baseline::of_cookie(&claims(&login, &cookies).await, cookies.len());
    let (ratio, ns) = measure(&login, &cookies, &baseline).await;
    let bytes = cookies.len();
    let measured = format!("{ratio:.2} <= 1.2 times {ns:.0} ns, {bytes} B of cookies");
    let sealed = Finding::new("session in an encrypted cookie", measured, ratio <= 1.2);

    let login = login.with_session_store(MemoryStore::new());
    let cookie = sign_in(&server, &login).await;
    // Stored as bytes, which are a quarter shorter than base64.
    let baseline = Baseline::new(&claims(&login, &cookie).await, cookies.len() * 3 / 4);
    let (ratio, ns) = measure(&login, &cookie, &baseline).await;
    let measured = format!("{ratio:.2} <= 1.5 times {ns:.0} ns");
    let stored = Finding::new("session in the memory store", measured, ratio <= 1.5);
    vec![sealed, stored]
}

pub async fn abandoned_logins() -> Vec<Finding> {
    let server = server();
    let login = login(&server);
    for _ in 0..100 {
        begin(&login).await;
    }
    alloc::begin();
    for _ in 0..ABANDONED {
        begin(&login).await;
    }
    let grown = alloc::end().grown;
    vec![Finding::new(
        "abandoned logins",
        format!("{ABANDONED} logins leave {grown} B of heap"),
        grown <= 0,
    )]
}

fn server() -> TestServer {
    let client = TestClient::confidential("shop", "secret").without_consent();
    let client = client.add_redirect_uri(&format!("{SHOP}/auth/callback"));
    let server = TestServer::new("https://id.example.test").expect("an issuer");
    // The additional claim makes the cookie about 2 kB long.
    server.fail(
        Endpoint::Token,
        Fault::id_token(|mint| mint.with_claim("groups", "g".repeat(PADDING))),
    );
    server
        .with_algorithm(Algorithm::EdDsa)
        .add_client(client.expect("a redirect URI"))
        .add_user(TestUser::new("alice", "wonderland"))
}

fn login(server: &TestServer) -> LoginLayer {
    let client = Client::confidential("shop", "secret");
    let key = CookieKey::generate().expect("a key");
    let callback = format!("{SHOP}/auth/callback");
    LoginLayer::new(&server.authorization_server(), client, &callback, key).expect("a layer")
}

type PageResponse = Response<Bytes>;

/// A page that reads the session.
async fn page(request: Request<String>) -> Result<PageResponse, Infallible> {
    let mut response = PageResponse::default();
    match request.extensions().get::<Session>() {
        Some(session) => drop(black_box((session.subject(), session.claims()))),
        None => *response.status_mut() = StatusCode::NO_CONTENT,
    }
    Ok(response)
}

async fn send<S>(service: S, uri: &str, cookies: &HeaderValue) -> PageResponse
where
    S: Service<Request<String>, Response = PageResponse>,
    S::Error: std::fmt::Debug,
{
    let mut request = Request::get(uri);
    if !cookies.is_empty() {
        request = request.header(COOKIE, cookies.clone());
    }
    let request = request.header("accept", "text/html");
    let request = request.body(String::new()).expect("a request");
    service.oneshot(request).await.expect("a response")
}

/// Starts a login and returns the authorization URL and the login's cookies.
async fn begin(login: &LoginLayer) -> (String, HeaderValue) {
    let service = login.layer(tower::service_fn(page));
    let response = send(service, "/auth/login", &HeaderValue::from_static("")).await;
    let location = response.headers()[LOCATION].to_str().expect("a URL");
    (location.to_owned(), cookies_set(response.headers()))
}

async fn sign_in(server: &TestServer, login: &LoginLayer) -> HeaderValue {
    let (location, cookies) = begin(login).await;
    let stub = axum::Router::new().fallback(async || "stub");
    let browser = server.browser().with_origin(SHOP, stub).expect("an origin");
    let page_of_server = browser.navigate(&location).await.expect("a page");
    let back = page_of_server.sign_in("alice", "wonderland").await;
    let back = back.expect("a way back");
    let path = back.url().strip_prefix(SHOP).expect("the shop");
    let service = login.layer(tower::service_fn(page));
    let response = send(service, path, &cookies).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    cookies_set(response.headers())
}

/// Returns the claims of the session.
async fn claims(login: &LoginLayer, cookies: &HeaderValue) -> String {
    let service = tower::service_fn(async |request: Request<String>| {
        let session = request.extensions().get::<Session>().expect("a session");
        let claims = session.claims().as_json().to_owned();
        Ok::<_, Infallible>(PageResponse::new(claims.into()))
    });
    let response = send(login.layer(service), "/", cookies).await;
    String::from_utf8(response.into_body().into()).expect("JSON")
}

/// Returns the cookies of a response, without those that it clears, as a `Cookie` header.
fn cookies_set(headers: &HeaderMap) -> HeaderValue {
    let pairs: Vec<&str> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .filter(|pair| !pair.ends_with('='))
        .collect();
    HeaderValue::try_from(pairs.join("; ")).expect("a header")
}

/// The least work that opens a session: decryption and one JSON parse of the claims, and base64 for a
/// cookie.
struct Baseline {
    cipher: XChaCha20Poly1305,
    sealed: Vec<u8>,
    text: Option<String>,
    claims: usize,
}

impl Baseline {
    /// Encrypts the claims, padded to `length` bytes in total.
    fn new(claims: &str, length: usize) -> Self {
        let cipher = XChaCha20Poly1305::new(&Key::from([7; 32]));
        let mut sealed = vec![0; NONCE];
        sealed.extend_from_slice(claims.as_bytes());
        sealed.resize(length - TAG, b'x');
        let nonce = XNonce::from([0; NONCE]);
        let tag = cipher.encrypt_inout_detached(&nonce, b"", (&mut sealed[NONCE..]).into());
        sealed.extend_from_slice(&tag.expect("a tag"));
        Self {
            cipher,
            sealed,
            text: None,
            claims: claims.len(),
        }
    }

    fn of_cookie(claims: &str, length: usize) -> Self {
        let baseline = Self::new(claims, length * 3 / 4);
        let text = BASE64_URL_SAFE_NO_PAD.encode(&baseline.sealed);
        Self {
            text: Some(text),
            ..baseline
        }
    }

    fn open(&self) -> Value {
        let mut sealed = match &self.text {
            Some(text) => BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64"),
            None => self.sealed.clone(),
        };
        let end = sealed.len() - TAG;
        let tag = Tag::try_from(&sealed[end..]).expect("a tag");
        let nonce = XNonce::from([0; NONCE]);
        let plain = &mut sealed[NONCE..end];
        let opened = self
            .cipher
            .decrypt_inout_detached(&nonce, b"", plain.into(), &tag);
        opened.expect("to open");
        serde_json::from_slice(&sealed[NONCE..NONCE + self.claims]).expect("claims")
    }
}

const NONCE: usize = 24;
const TAG: usize = 16;

/// Returns what the layer adds to a request with a session, as a multiple of the baseline, and the
/// baseline in nanoseconds.
async fn measure(login: &LoginLayer, cookies: &HeaderValue, baseline: &Baseline) -> (f64, f64) {
    let bare = tower::service_fn(page);
    let layered = login.layer(bare);
    let (mut ratios, mut baselines) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 5 {
        let none = time(&bare, cookies, StatusCode::NO_CONTENT).await;
        let ours = time(&layered, cookies, StatusCode::OK).await;
        let start = Instant::now();
        for _ in 0..BATCH {
            black_box(baseline.open());
        }
        let baseline = start.elapsed().as_nanos() as f64 / BATCH as f64;
        // The first rounds warm up.
        if round >= 5 {
            ratios.push((ours - none) / baseline);
            baselines.push(baseline);
        }
    }
    (median(ratios), median(baselines))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns nanoseconds per request.
async fn time<S>(service: &S, cookies: &HeaderValue, status: StatusCode) -> f64
where
    S: Service<Request<String>, Response = PageResponse> + Clone,
    S::Error: std::fmt::Debug,
{
    let start = Instant::now();
    for _ in 0..BATCH {
        let response = send(service.clone(), "/", cookies).await;
        assert_eq!(response.status(), status);
        black_box(response);
    }
    start.elapsed().as_nanos() as f64 / BATCH as f64
}
