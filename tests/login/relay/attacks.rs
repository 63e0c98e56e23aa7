//! Trailers, paths, fields and raw responses by which a script or an upstream gets around the rules of the relay.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;
use tower_oauth::Session;
use tower_oauth::relay::Relay;

use super::{Fields, SCRIPT, SetUp, Upstream, header_map, shop, shop_with, with_trailers};
use crate::support::shop::*;

fn script(jar: &Jar, trailers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::new(with_trailers(trailers));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = "/api/x".parse().unwrap();
    *request.headers_mut() = header_map(&SCRIPT);
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
    let set_up: SetUp = |relay| relay.add_stripped_header("x-tenant").unwrap();
    let shop = shop_with(&upstream, set_up, |login| login);
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
    let sent = upstream.received().pop().unwrap().trailers;
    let names = |map: &HeaderMap| map.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&sent), ["x-sum"]);
    assert_eq!(names(body.trailers().unwrap()), ["grpc-status"]);
}

/// All spellings that some decoder reads as dot segments, or as the end of one.
#[tokio::test]
async fn no_spelling_of_dots_leaves_the_base_path() {
    let upstream = Upstream::default();
    let shop = shop(&upstream);
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
    assert!(upstream.received().is_empty());
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
    let shop = shop(&upstream);
    let jar = shop.signed_in().await;
    let answer = shop
        .send(Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar))
        .await;
    let relayed = answer.headers;

    // An inner layer that sets it for all pages.
    let server = server();
    let mine = |session: Session| async move { (header_map(SHARED), session.subject().to_owned()) };
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
    let shop = shop(&upstream);
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
        let shop = shop_with(&upstream, set_up, |login| login);
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
            assert!(!answer.text().contains("from the upstream"), "{dest}");
        }
        assert!(upstream.received().is_empty());
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
    let shop = shop(&upstream);
    let jar = shop.signed_in().await;
    for name in NAMES {
        let ask = Ask::new("GET", "/api/x")
            .with(&SCRIPT)
            .with(&[(name, "admin")]);
        shop.send(ask.jar(&jar)).await;
        let headers = upstream.received().pop().unwrap().headers;
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
