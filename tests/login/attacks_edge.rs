//! Attacks on the relay, on CSRF checks, on principals, on the Redis store, and on pages for
//! rejected users.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::{Service, ServiceExt as _};
use tower_oauth::extract::Principal;
use tower_oauth::login::Csrf;
use tower_oauth::relay::{Relay, RequestBody};
use tower_oauth::session::LoginDecision;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, RedisStore, Store};
use tower_oauth::{BearerLayer, Session, VerifiedToken};

use crate::support::redis::Redis;
use crate::support::shop::*;

const API: &str = "https://api.example.com/v1";

/// The header fields of a script of this application.
const SCRIPT: [(&str, &str); 4] = [
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("x-csrf", "1"),
];

type Fields = &'static [(&'static str, &'static str)];

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

/// A body of one word with trailers.
struct Trailed(VecDeque<Frame<Bytes>>);

impl Trailed {
    fn body(trailers: &[(&str, &str)]) -> Body {
        let word = Frame::data(Bytes::from_static(b"word"));
        Body::new(Self([word, Frame::trailers(map(trailers))].into()))
    }
}

impl http_body::Body for Trailed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// An upstream that records targets, header fields and trailers, and responds as configured.
#[derive(Clone, Default)]
struct Upstream {
    got: Arc<Mutex<Vec<(String, HeaderMap, HeaderMap)>>>,
    fields: Fields,
    trailers: Fields,
}

impl Service<Request<RequestBody<Body>>> for Upstream {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            let got = (parts.uri.to_string(), parts.headers, trailers);
            this.got.lock().unwrap().push(got);
            let mut response = Response::new(Trailed::body(this.trailers));
            *response.headers_mut() = map(this.fields);
            Ok(response)
        })
    }
}

fn relayed(upstream: &Upstream, set_up: fn(Relay<Upstream>) -> Relay<Upstream>) -> Shop {
    let relay = Relay::new(API).unwrap().with_transport(upstream.clone());
    let server = server();
    let app = Router::new()
        .nest_service("/api", set_up(relay))
        .layer(login(&server));
    Shop { server, app }
}

fn script(jar: &Jar, trailers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::new(Trailed::body(trailers));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = "/api/x".parse().unwrap();
    *request.headers_mut() = map(&SCRIPT);
    let cookie = jar.header().parse().unwrap();
    request.headers_mut().insert("cookie", cookie);
    request
}

/// RFC 9110 §6.5.1: a recipient that merges trailers treats them as header fields.
#[tokio::test]
async fn removed_fields_are_not_forwarded_as_trailers() {
    let upstream = Upstream {
        trailers: &[
            ("set-cookie", "__Host-Http-shop-session=x"),
            ("clear-site-data", "\"cookies\""),
            ("access-control-allow-origin", "https://evil.example"),
            ("www-authenticate", "Basic"),
            ("transfer-encoding", "chunked"),
            ("content-length", "1"),
            ("x-accel-redirect", "/internal"),
            ("content-security-policy", "script-src *"),
            ("grpc-status", "0"),
        ],
        ..Upstream::default()
    };
    let shop = relayed(&upstream, |relay| {
        relay.add_stripped_header("x-tenant").unwrap()
    });
    let jar = shop.signed_in().await;
    let request = script(
        &jar,
        &[
            ("authorization", "Bearer mine"),
            ("cookie", "a=b"),
            ("x-forwarded-user", "admin"),
            ("X_Forwarded_User", "admin"),
            ("x-tenant", "other"),
            ("host", "evil.example"),
            ("content-length", "0"),
            ("content_length", "0"),
            ("transfer-encoding", "chunked"),
            ("x-sum", "7"),
        ],
    );
    let response = shop.app.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let (_, _, sent) = upstream.got.lock().unwrap().pop().unwrap();
    let names = |map: &HeaderMap| map.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&sent), ["x-sum"]);
    assert_eq!(names(body.trailers().unwrap()), ["grpc-status"]);
}

/// All spellings that some decoder reads as dot segments, or as the end of one.
#[tokio::test]
async fn no_spelling_of_dots_leaves_the_base_path() {
    let upstream = Upstream::default();
    let shop = relayed(&upstream, |relay| relay);
    let jar = shop.signed_in().await;
    for path in [
        "/api/%e0%80%ae%e0%80%ae/admin",
        "/api/%f0%80%80%ae%f0%80%80%ae/admin",
        "/api/%25e0%2580%25ae%25e0%2580%25ae/admin",
        "/api/%e0%80%af..%e0%80%afadmin",
        "/api/x/..%e0%80%afadmin",
        "/api/..%3f/admin",
        "/api/..%23/admin",
        "/api/..%253fx",
        "/api/x/..%3f%2f..%2fadmin",
        "/api/%c0%2e%c0%2e/admin",
        "/api/..%5c%2e%2e",
        "/api/.%2e;a=b%2f..",
    ] {
        let answer = shop
            .send(Ask::new("GET", path).with(&SCRIPT).jar(&jar))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert!(upstream.got.lock().unwrap().is_empty());
    // At the root of an upstream, two slashes in any spelling are a host to some parsers.
    let relay = Relay::new("https://api.example.com").unwrap();
    let relay = relay.with_prefix("/api").unwrap();
    let app = Router::new()
        .fallback_service(relay.with_transport(upstream.clone()))
        .layer(login(&shop.server));
    for path in [
        "/api//evil.example/",
        "/api/%2fevil.example/",
        "/api/%5cevil.example/",
        "/api/%252fevil.example/",
    ] {
        let ask = Ask::new("GET", path).with(&SCRIPT).jar(&jar);
        let answer = send(&app, ask).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
    // Names that only look similar are allowed.
    for path in [
        "/api/%e2%82%ac",
        "/api/%e0%a4%85",
        "/api/%f0%9f%98%80",
        "/api/a%26b",
        "/api/a%40..",
    ] {
        let answer = shop
            .send(Ask::new("GET", path).with(&SCRIPT).jar(&jar))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
}

/// RFC 9213 §2.2: a targeted field that shared caches prefer to `Cache-Control` would share a
/// response that depends on the session.
#[tokio::test]
async fn no_targeted_cache_field_shares_a_response() {
    const SHARED: Fields = &[
        ("cache-control", "private, max-age=60"),
        ("cdn-cache-control", "public, max-age=600"),
        ("cloudflare-cdn-cache-control", "max-age=600"),
        ("vercel-cdn-cache-control", "max-age=600"),
        ("surrogate-control", "max-age=600, content=\"ESI/1.0\""),
        ("edge-control", "!no-store, max-age=600"),
        ("x-accel-expires", "600"),
    ];
    let upstream = Upstream {
        fields: SHARED,
        ..Upstream::default()
    };
    let shop = relayed(&upstream, |relay| relay);
    let jar = shop.signed_in().await;
    let answer = shop
        .send(Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar))
        .await;
    let relayed = answer.headers;

    // An inner layer that sets it for all pages.
    let server = server();
    let mine = |session: Session| async move { (map(SHARED), session.subject().to_owned()) };
    let app = Router::new()
        .route("/mine", get(mine))
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let mine = shop.send(Ask::page("/mine").jar(&jar)).await.headers;
    for (name, _) in &SHARED[1..] {
        assert!(!relayed.contains_key(*name), "relay: {name}");
        assert!(!mine.contains_key(*name), "handler: {name}");
    }
    assert_eq!(mine["cache-control"], "private, max-age=60");
}

/// Fields that act for the whole origin and are newer than the list.
#[tokio::test]
async fn an_upstream_cannot_act_for_the_origin_with_newer_fields() {
    const ALL: Fields = &[
        ("secure-session-registration", "(ES256);path=\"/x\""),
        ("secure-session-challenge", "\"x\""),
        ("sec-session-registration", "(ES256);path=\"/x\""),
        ("use-as-dictionary", "match=\"/*\""),
        ("x-litespeed-location", "/internal"),
        ("x-lighttpd-send-tempfile", "/etc/passwd"),
        ("x-sendfile2", "/etc/passwd 0-"),
        ("shared-storage-write", "clear"),
        ("attribution-reporting-register-source", "{}"),
        ("origin-trial", "x"),
    ];
    let upstream = Upstream {
        fields: ALL,
        ..Upstream::default()
    };
    let shop = relayed(&upstream, |relay| relay);
    let jar = shop.signed_in().await;
    let ask = Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar);
    let answer = shop.send(ask).await;
    for (name, _) in ALL {
        assert!(!answer.headers.contains_key(*name), "{name}");
    }
}

/// A response of an API is not executed by a page of this application, however the relay is
/// configured.
#[tokio::test]
async fn no_page_executes_a_relayed_response() {
    type SetUp = fn(Relay<Upstream>) -> Relay<Upstream>;
    let set_ups: [SetUp; 3] = [
        |relay| relay,
        |relay| relay.without_csrf_header(),
        |relay| relay.with_downloads(),
    ];
    let upstream = Upstream {
        fields: &[("content-type", "text/javascript")],
        ..Upstream::default()
    };
    for set_up in set_ups {
        let shop = relayed(&upstream, set_up);
        let jar = shop.signed_in().await;
        for dest in [
            "script",
            "style",
            "worker",
            "sharedworker",
            "serviceworker",
            "audioworklet",
            "paintworklet",
            "xslt",
        ] {
            // A service worker of this application may have added the header.
            let ask = Ask::new("GET", "/api/x").with(&[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", dest),
                ("x-csrf", "1"),
            ]);
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{dest}");
            assert!(!answer.text().contains("word"), "{dest}");
        }
        assert!(upstream.got.lock().unwrap().is_empty());
    }
}

/// The header names by which single sign-on proxies pass identities on.
#[tokio::test]
async fn no_identity_header_of_a_single_sign_on_proxy_is_forwarded() {
    const NAMES: [&str; 14] = [
        "OIDC_CLAIM_email",
        "oidc-access-token",
        "Shib-Identity-Provider",
        "shib_session_id",
        "SM_USER",
        "sm-serversessionid",
        "iv-user",
        "IV_GROUPS",
        "mellon-name_id",
        "x-authentik-username",
        "x-appengine-user-email",
        "x-authorization",
        "x-serverless-authorization",
        "x-originating-ip",
    ];
    let upstream = Upstream::default();
    let shop = relayed(&upstream, |relay| relay);
    let jar = shop.signed_in().await;
    for name in NAMES {
        let ask = Ask::new("GET", "/api/x")
            .with(&SCRIPT)
            .with(&[(name, "admin")]);
        shop.send(ask.jar(&jar)).await;
        let (_, headers, _) = upstream.got.lock().unwrap().pop().unwrap();
        assert!(!headers.values().any(|value| value == "admin"), "{name}");
    }
}

/// A relay on sockets, in front of an upstream that sends these bytes to every request.
async fn relay_to_raw_upstream(said: &'static [u8]) -> (SocketAddr, Jar) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut heard = [0; 8192];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(said).await;
                // An upstream with persistent connections.
                while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {}
            });
        }
    });
    let server = server();
    let relay = Relay::new(&format!("http://{api}")).unwrap();
    let app = Router::new()
        .nest_service("/api", relay)
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, shop.app).into_future());
    (address, jar)
}

/// Returns all bytes received for a hand-written request, until the connection closes.
async fn raw_exchange(address: SocketAddr, jar: &Jar, more: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!(
        "{more}host: shop.example.com\r\nconnection: close\r\ncookie: {}\r\n",
        jar.header()
    );
    for (name, value) in SCRIPT {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Only a failing test waits for this long. A reset ends the response too.
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the connection does not close");
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// RFC 9112 §6.3: of two lengths one is used, and the other is not forwarded.
#[tokio::test]
async fn a_response_with_two_lengths_is_one_response() {
    let (address, jar) = relay_to_raw_upstream(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n\
          2c\r\nabcHTTP/1.1 200 OK\r\nset-cookie: a=b\r\n\r\nmore!\r\n0\r\n\r\n",
    )
    .await;
    let answer = raw_exchange(address, &jar, "GET /api/x HTTP/1.1\r\n").await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("content-length: 3"), "{answer}");
    assert!(head.contains("transfer-encoding: chunked"), "{answer}");
    assert!(
        body.ends_with("0\r\n\r\n") && body.contains("more!"),
        "{answer}"
    );
}

/// Any invalid response of an upstream is a bad gateway, and none of it is forwarded.
#[tokio::test]
async fn no_upstream_response_becomes_two() {
    const BAD: [&[u8]; 9] = [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nabcd",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello",
        b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 99 No\r\ncontent-length: 0\r\n\r\n",
    ];
    // Header sections without limit: in one field, and in many.
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: a\r\n".repeat(10_000));
    let large = [long, many].map(|said| &*said.into_bytes().leak());
    for said in BAD.into_iter().chain(large) {
        let (address, jar) = relay_to_raw_upstream(said).await;
        let answer = raw_exchange(address, &jar, "GET /api/x HTTP/1.1\r\n").await;
        let shown = String::from_utf8_lossy(&said[..said.len().min(100)]);
        assert!(answer.starts_with("http/1.1 502"), "{shown}: {answer}");
        assert_eq!(answer.matches("http/1.1").count(), 1, "{shown}: {answer}");
    }
    // An early hint with a cookie is not a response, and bytes after a response belong to none.
    let (address, jar) = relay_to_raw_upstream(
        b"HTTP/1.1 103 Early Hints\r\nset-cookie: a=b\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
          HTTP/1.1 200 OK\r\nset-cookie: c=d\r\ncontent-length: 4\r\n\r\nevil",
    )
    .await;
    let answer = raw_exchange(address, &jar, "GET /api/x HTTP/1.1\r\n").await;
    assert!(
        answer.starts_with("http/1.1 200") && answer.ends_with("ok"),
        "{answer}"
    );
    assert!(!answer.contains("set-cookie"), "{answer}");
    let again = raw_exchange(address, &jar, "GET /api/x HTTP/1.1\r\n").await;
    assert!(!again.contains("evil"), "{again}");
}

/// An established WebSocket, with the ends of browser and upstream.
async fn connected_websocket() -> (Shop, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap();
    let server = server();
    let relay = Relay::new(&format!("http://{api}")).unwrap();
    let app = Router::new()
        .nest_service("/api", relay)
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    tokio::spawn(axum::serve(front, shop.app.clone()).into_future());
    let mut browser = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/x HTTP/1.1\r\nhost: shop.example.com\r\ncookie: {}\r\norigin: {SHOP}\r\n\
         connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly",
        jar.header()
    );
    browser.write_all(request.as_bytes()).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    let mut heard = vec![0; 4096];
    let length = upstream.read(&mut heard).await.unwrap();
    // Bytes sent before the handshake completed are delivered after it.
    assert!(!String::from_utf8_lossy(&heard[..length]).ends_with("early"));
    upstream
        .write_all(
            b"HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .await
        .unwrap();
    assert_eq!(upstream.read(&mut heard).await.unwrap(), 5);
    assert_eq!(&heard[..5], b"early");
    let length = browser.read(&mut heard).await.unwrap();
    assert!(heard[..length].starts_with(b"HTTP/1.1 101"));
    (shop, browser, upstream)
}

/// Reads to the end while the clock advances.
async fn ends(shop: &Shop, stream: &mut TcpStream) -> bool {
    let clock = shop.clock();
    let mut heard = Vec::new();
    let mut reading = std::pin::pin!(stream.read_to_end(&mut heard));
    for _ in 0..200 {
        clock.advance(Duration::from_secs(1));
        if tokio::time::timeout(Duration::from_millis(5), reading.as_mut())
            .await
            .is_ok()
        {
            return true;
        }
    }
    false
}

/// After one end has closed, the other has a limited time to finish.
#[tokio::test]
async fn a_websocket_with_one_closed_end_ends() {
    let (shop, mut browser, mut upstream) = connected_websocket().await;
    upstream.shutdown().await.unwrap();
    let mut heard = [0; 16];
    assert_eq!(browser.read(&mut heard).await.unwrap(), 0);
    browser.write_all(b"last words").await.unwrap();
    assert_eq!(upstream.read(&mut heard).await.unwrap(), 10);
    assert!(ends(&shop, &mut upstream).await, "a silent browser");

    let (shop, mut browser, mut upstream) = connected_websocket().await;
    browser.shutdown().await.unwrap();
    assert_eq!(upstream.read(&mut heard).await.unwrap(), 0);
    upstream.write_all(b"last words").await.unwrap();
    assert_eq!(browser.read(&mut heard).await.unwrap(), 10);
    assert!(ends(&shop, &mut browser).await, "a silent upstream");

    // Silence of both ends does not close it.
    let (shop, _browser, mut upstream) = connected_websocket().await;
    assert!(!ends(&shop, &mut upstream).await);
}

/// The header fields must match exactly.
#[tokio::test]
async fn malformed_csrf_fields_are_not_accepted() {
    type Row = &'static [(&'static str, &'static str)];
    const ROWS: [Row; 22] = [
        &[("sec-fetch-site", "Same-Origin")],
        &[("sec-fetch-site", "same-origin ,same-origin")],
        &[("sec-fetch-site", "same-origin;x")],
        &[("sec-fetch-site", "\"same-origin\"")],
        &[("sec-fetch-site", "")],
        &[("sec-fetch-site", ""), ("x-csrf", "1")],
        &[("sec-fetch-site", "none"), ("x-csrf", "1")],
        &[
            ("sec-fetch-site", "none"),
            ("origin", SHOP),
            ("x-csrf", "1"),
        ],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", SHOP),
            ("x-csrf", "1"),
        ],
        &[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "same-origin"),
            ("x-csrf", "1"),
        ],
        &[("origin", "HTTPS://shop.example.com"), ("x-csrf", "1")],
        &[("origin", "https://SHOP.example.com")],
        &[("origin", "https://shop.example.com:443")],
        &[("origin", "https://shop.example.com/")],
        &[("origin", "https://shop.example.com."), ("x-csrf", "1")],
        &[
            ("origin", "https://shop.example.com, https://evil.example"),
            ("x-csrf", "1"),
        ],
        &[("origin", ""), ("x-csrf", "1")],
        &[("origin", "NULL"), ("x-csrf", "1")],
        &[("x-csrf", "1,1")],
        &[("x-csrf", "01")],
        &[("x_csrf", "1")],
        &[("x-csrf", "true")],
    ];
    for mode in [Csrf::SameOrigin, Csrf::StaticHeader] {
        let shop = Shop::with(|login| login.with_csrf(mode));
        let jar = shop.signed_in().await;
        for row in ROWS {
            for method in ["POST", "PUT", "PURGE", "get", "CONNECT"] {
                let ask = Ask::new(method, "/notes").with(row);
                // A method override or an `Accept` field changes nothing.
                let ask = ask.with(&[("accept", "text/html"), ("x-http-method-override", "GET")]);
                let answer = shop.send(ask.jar(&jar)).await;
                assert_eq!(
                    answer.status,
                    StatusCode::FORBIDDEN,
                    "{mode:?} {method} {row:?}"
                );
            }
            let socket = [("upgrade", "x"), ("connection", "keep-alive")];
            let ask = Ask::new("GET", "/notes").with(row).with(&socket);
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{mode:?} socket {row:?}"
            );
            if mode == Csrf::StaticHeader {
                for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
                    let ask = Ask::new(method, "/notes")
                        .with(row)
                        .with(&[("accept", "*/*")]);
                    let answer = shop.send(ask.jar(&jar)).await;
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {row:?}");
                }
            }
        }
    }
}

async fn who(principal: Principal) -> String {
    let kind = if principal.is_session() {
        "session"
    } else {
        "token"
    };
    format!("{kind} {:?} {}", principal.subject(), principal.issuer())
}

/// Error pages are escaped and allow no scripts or frames, also those that `Principal` sends.
#[tokio::test]
async fn the_page_of_a_rejected_principal_has_the_same_policy() {
    let server = server();
    let bearer = BearerLayer::jwt(&server.authorization_server(), SHOP).unwrap();
    for login_outside in [true, false] {
        let route = Router::new().route("/both", get(who).post(who));
        let (bearer, login) = (bearer.clone().optional(), login(&server));
        let app = match login_outside {
            true => route.layer(bearer).layer(login),
            false => route.layer(login).layer(bearer),
        };
        let form = Ask::new("POST", "/both").with(&[
            PAGE[0],
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ]);
        let page = send(&app, form).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(
            page.header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{}",
            page.head()
        );
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
}

/// One token or one session authenticates a request, and both belong to the layers around the
/// handler.
#[tokio::test]
async fn a_session_of_another_layer_authenticates_no_request() {
    let server = server();
    let authority = server.authorization_server();
    let bearer = |audience: &str| BearerLayer::jwt(&authority, audience).unwrap().optional();
    // Two login layers with different keys: the session of the outer layer does not count in the
    // inner one.
    let inner = login_with(
        &server,
        tower_oauth::CookieKey::from_bytes(&[9; 32]).unwrap(),
    );
    let nested = Router::new()
        .route("/both", get(who))
        .route(
            "/option",
            get(|one: Option<Principal>| async move { one.is_some().to_string() }),
        )
        .layer(bearer("https://inner.example"))
        .layer(inner);
    let app = Router::new()
        .nest("/nested", nested)
        .route("/both", get(who))
        .route("/token", get(|_: Option<VerifiedToken>| async { "x" }))
        .layer(bearer(SHOP))
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let ask = |path: &str| Ask::new("GET", path).jar(&jar);
    assert!(shop.send(ask("/both")).await.text().starts_with("session"));
    // One browser, two layers with cookies of the same name: the inner layer cannot open the
    // cookie.
    assert_eq!(
        shop.send(ask("/nested/both")).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(shop.send(ask("/nested/option")).await.text(), "false");
    let token = shop
        .server
        .access_token()
        .with_audience(SHOP)
        .with_subject("robot");
    let token = format!("Bearer {}", token.sign());
    let with = |path: &str, value: &str| ask(path).with(&[("authorization", value)]);
    assert!(
        shop.send(with("/both", &token))
            .await
            .text()
            .starts_with("token Some(\"robot\")")
    );
    for bad in [
        with("/nested/both", &token),
        with("/both", "Bearer x"),
        with("/both", "bearer"),
        with("/both", "Bearer "),
        with("/both", &token).with(&[("authorization", &token)]),
        with("/both", &token).with(&[("authorization", "Basic eDp5")]),
        with("/both", "DPoP x"),
        with("/both", &format!("{token}, Basic x")),
    ] {
        let answer = shop.send(bad.clone()).await;
        let refused = answer.status.is_client_error();
        // An unknown authentication scheme leaves the session; nothing else does.
        assert!(refused || answer.text().starts_with("session"), "{bad:?}");
        assert!(!answer.text().starts_with("token"), "{bad:?}");
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// Keys and values with all special bytes, and prefixes of each other.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn redis_keys_are_distinct_and_values_can_be_any_bytes() {
    let redis = Redis::start();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let store = |prefix: &str| RedisStore::new(&url).unwrap().with_prefix(prefix).unwrap();
    let stores = [
        "a",
        "a:",
        "a:a",
        "*",
        "a:session:x",
        "?",
        "\\",
        "'\"",
        "a:version",
    ]
    .map(store);
    let ids = [
        "",
        ":",
        "x",
        "x:",
        ":x",
        "{x}",
        "}{",
        "\0",
        "\r\n",
        "x\r\nDEL x",
        "*",
        "é",
        "'..'",
        "]]",
        "version",
        "0000000000000001",
    ];
    let value: Bytes = (0..=255_u8).chain(*b"\r\n$-1\r\n").collect();
    for (number, store) in stores.iter().enumerate() {
        for id in ids {
            for purpose in ["session", "version", ""] {
                let key = Key::new(purpose, id);
                let value: Bytes = [&value[..], &[u8::try_from(number).unwrap()]]
                    .concat()
                    .into();
                let put = store.put(&key, value.clone(), MINUTE, Expect::Absent).await;
                assert!(
                    matches!(put, Ok(Put::Stored(_))),
                    "{number} {purpose} {id:?}"
                );
                let found = store.get(&key).await.unwrap().unwrap();
                assert_eq!(found.into_value(), value, "{number} {purpose} {id:?}");
            }
        }
    }
    for bad in ["", "{", "}", "a b", "a\n", "é", &"a".repeat(65)] {
        assert!(
            RedisStore::new(&url).unwrap().with_prefix(bad).is_err(),
            "{bad:?}"
        );
    }
}

/// A server that sends invalid responses: an error within two seconds, and no panic.
#[tokio::test]
async fn a_server_that_does_not_speak_redis_is_unavailable_in_time() {
    const SAID: [&[u8]; 18] = [
        b"",
        b"garbage\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$9223372036854775807\r\n",
        b"$-2\r\n",
        b"$4294967296\r\nx",
        b"*2147483647\r\n",
        b"*9223372036854775807\r\n",
        b"*-5\r\n",
        b">3\r\n+message\r\n+x\r\n+y\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-ASK 1 evil.example:6379\r\n",
        b"-MOVED\r\n",
        b"-NOSCRIPT x\r\n",
        b"-WRONGPASS hunter2\r\n",
        b":18446744073709551616\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n$3\r\nabc\r\n",
    ];
    let deep: &'static [u8] = b"*1\r\n".repeat(100_000).leak();
    let flood: &'static [u8] = b"+OK\r\n".repeat(100_000).leak();
    let asks = SAID
        .into_iter()
        .chain([deep, flood])
        .map(|said| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(async move {
                        let mut heard = [0; 4096];
                        while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
                            let _ = stream.write_all(said).await;
                        }
                    });
                }
            });
            for scheme in ["redis", "redis-cluster"] {
                let url = format!("{scheme}://app:hunter2@127.0.0.1:{port}");
                let store = RedisStore::new(&url).unwrap();
                assert!(!format!("{store:?}").contains("hunter2"));
                let key = Key::new("session", "x");
                let shown = String::from_utf8_lossy(&said[..said.len().min(40)]);
                let begun = Instant::now();
                let got = store.get(&key).await.unwrap_err();
                let put = store
                    .put(&key, Bytes::new(), MINUTE, Expect::Anything)
                    .await;
                let put = put.unwrap_err();
                let took = begun.elapsed();
                assert!(took < Duration::from_secs(5), "{scheme} {shown:?} {took:?}");
                for error in [got, put] {
                    let text = format!("{error:?} {error}");
                    assert!(!text.contains("hunter2"), "{shown:?}: {text}");
                    assert!(!text.contains("evil"), "{shown:?}: {text}");
                }
            }
        });
    let tasks: Vec<_> = asks.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Errors and `Debug` of URLs, valid or not, do not contain the password.
#[test]
fn no_error_contains_the_password_of_a_url() {
    for url in [
        "redis://:hunter2@",
        "redis://app:hunter2@host:x",
        "redis://app:hunter2/@host",
        "redis://app:hunter2?@host",
        "redis://app:hunter2#@host",
        "redis://hunter2@host",
        "hunter2://:hunter2@host",
        "redis://app:hunter2%@host",
        "redis://app:hunter2@host/hunter2",
        "redis-cluster://:hunter2@a,b/7",
        "redis://app:hunter2@hunter2:0",
        "redis+unix://:hunter2@/x",
        "redis://app:hunter2@[host",
    ] {
        let error = RedisStore::new(url).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }
    let store = RedisStore::new("rediss://app:hunter2@host/1").unwrap();
    let error = store.clone().with_ca_pem("hunter2").unwrap_err();
    let shown = format!("{store:?} {error} {error:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("app"),
        "{shown}"
    );
}

/// Without a cluster, a server cannot redirect the client.
#[tokio::test]
async fn a_single_server_cannot_redirect_the_password() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let redis = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "redis://:hunter2@127.0.0.1:{}",
        redis.local_addr().unwrap().port()
    );
    let moved = format!("-MOVED 1 127.0.0.1:{port}\r\n");
    tokio::spawn(async move {
        let (mut stream, _) = redis.accept().await.unwrap();
        let mut heard = [0; 4096];
        // Authentication succeeds, `ROLE` is not permitted, and then all keys have moved.
        let mut said = 0;
        while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
            said += 1;
            let word = if said == 1 { "+OK\r\n" } else { moved.as_str() };
            stream.write_all(word.as_bytes()).await.unwrap();
        }
    });
    let store = RedisStore::new(&url).unwrap();
    store.get(&Key::new("session", "x")).await.unwrap_err();
    let visit = tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await;
    assert!(visit.is_err());
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

/// The page for an unauthenticated form does not take its target from the form.
#[tokio::test]
async fn an_unauthenticated_form_sets_no_return_target() {
    let app = Router::new()
        .route("/pay", post(|_: Session| async { "paid" }))
        .layer(login(&server()));
    let ask = Ask::new("POST", "/pay?x=%22%3E%3Cscript%3E").with(&[PAGE[0]]);
    let ask = ask.with(&[
        ("referer", "https://evil.example/"),
        ("hx-current-url", "//evil"),
    ]);
    let answer = send(&app, ask).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(!answer.text().contains("evil") && !answer.text().contains("%22"));
    assert_eq!(answer.set_cookies(), [""; 0]);
}
