//! The same attacks over real connections: raw sockets for HTTP/1.1, and HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tower_oauth::bearer::{FormTokenLayer, ResourceMetadata, ResourceMetadataLayer};
use tower_oauth::testing::ManualClock;

use super::document::unannounced;

use crate::support::api::{AUDIENCE, layer, server, settle, soon};

const DOCUMENT: &str = "/.well-known/oauth-protected-resource";

/// Executes and counts every path and method.
fn app(calls: &Arc<AtomicUsize>, is_published: bool) -> Router {
    let server = server();
    let metadata = ResourceMetadata::new(AUDIENCE).unwrap();
    let metadata = metadata.add_authorization_server(&server.authorization_server());
    let bearer = layer(&server).with_resource_metadata(&metadata).unwrap();
    let calls = Arc::clone(calls);
    let handler = any(async move || {
        calls.fetch_add(1, Ordering::Relaxed);
        "executed"
    });
    let app = Router::new().fallback(handler).layer(bearer);
    match is_published {
        true => app.layer(ResourceMetadataLayer::new(metadata)),
        false => app,
    }
}

/// Serves HTTP/1.1 on one end, and returns the other.
fn http1(app: Router) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(far), TowerToHyperService::new(app))
        .with_upgrades();
    tokio::spawn(serving);
    near
}

#[tokio::test]
async fn raw_requests_for_the_document_execute_nothing() {
    let calls = Arc::default();
    for is_published in [false, true] {
        for (name, head) in [
            (
                "websocket",
                format!(
                    "GET {DOCUMENT} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
                ),
            ),
            (
                "h2c",
                format!(
                    "GET {DOCUMENT} HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings, close"
                ),
            ),
            (
                "chunks",
                format!(
                    "GET {DOCUMENT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\nConnection: close\r\n\r\n2\r\n{{}}\r\n0\r\nx: y"
                ),
            ),
            (
                "escape",
                "GET /%44elete HTTP/1.1\r\nConnection: close".to_owned(),
            ),
            (
                "TRACE",
                format!("TRACE {DOCUMENT} HTTP/1.1\r\nConnection: close"),
            ),
            (
                "OPTIONS *",
                "OPTIONS * HTTP/1.1\r\nConnection: close".to_owned(),
            ),
            (
                "CONNECT",
                "CONNECT h.test:443 HTTP/1.1\r\nConnection: close".to_owned(),
            ),
        ] {
            let mut stream = http1(app(&calls, is_published));
            let request = head.replacen("HTTP/1.1", "HTTP/1.1\r\nHost: h.test", 1) + "\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            soon(stream.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 401", "{name}, {is_published}");
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn http2_requests_for_the_document_execute_nothing() {
    let calls = Arc::default();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-command", "delete".parse().unwrap());
    for is_published in [false, true] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let service = TowerToHyperService::new(app(&calls, is_published));
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .enable_connect_protocol()
            .serve_connection(TokioIo::new(far), service);
        tokio::spawn(serving);
        let opened =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut client, connection) = opened.await.unwrap();
        tokio::spawn(connection);
        let address = format!("https://h.test{DOCUMENT}");
        let request = |method: Method, address: &str, body: Body| {
            let request = Request::builder().method(method).uri(address);
            request.body(body).unwrap()
        };
        let plain = client.send_request(request(Method::GET, &address, Body::empty()));
        let expected = if is_published { 200 } else { 401 };
        assert_eq!(soon(plain).await.unwrap().status(), expected);
        let mut extended = request(Method::CONNECT, &address, Body::empty());
        let protocol = hyper::ext::Protocol::from_static("websocket");
        extended.extensions_mut().insert(protocol);
        let content = || unannounced(Frame::data(Bytes::from("{}")));
        for (name, request) in [
            ("body", request(Method::GET, &address, content())),
            (
                "trailers",
                request(
                    Method::GET,
                    &address,
                    unannounced(Frame::trailers(trailers.clone())),
                ),
            ),
            ("extended CONNECT", extended),
            (
                "escape",
                request(Method::GET, "https://h.test/%44elete", Body::empty()),
            ),
            ("TRACE", request(Method::TRACE, &address, Body::empty())),
            ("OPTIONS", request(Method::OPTIONS, &address, Body::empty())),
        ] {
            let answer = soon(client.send_request(request)).await.unwrap();
            assert_eq!(answer.status(), 401, "{name}, {is_published}");
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// Otherwise the server would parse the rest of the body as a request.
#[tokio::test]
async fn a_connection_with_a_form_that_never_ends_is_closed() {
    let server = server();
    let clock = ManualClock::new(1_800_000_000);
    let app = Router::new()
        .fallback(any(async || "in"))
        .layer(layer(&server))
        .layer(FormTokenLayer::new().with_clock(clock.clone()));
    let mut stream = http1(app);
    let head = "POST / HTTP/1.1\r\nHost: h.test\r\nContent-Length: 1000\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\naccess_token=";
    stream.write_all(head.as_bytes()).await.unwrap();
    settle().await;
    clock.advance(Duration::from_secs(10));
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}
