//! Requests for the resource metadata: a `BearerLayer` forwards none of them without a token.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Frame;
use tower::ServiceExt as _;
use tower_oauth::bearer::{ResourceMetadata, ResourceMetadataLayer};
use tower_oauth::testing::TestServer;
use tower_oauth::{BearerLayer, VerifiedToken};

use crate::support::api::{AUDIENCE, ask, good, layer, present_at, server};
use crate::support::logs::Logs;

const DOCUMENT: &str = "/.well-known/oauth-protected-resource";

fn metadata(server: &TestServer) -> ResourceMetadata {
    let metadata = ResourceMetadata::new(AUDIENCE).unwrap();
    metadata.add_authorization_server(&server.authorization_server())
}

fn bearer(server: &TestServer) -> BearerLayer {
    let bearer = layer(server).with_resource_metadata(&metadata(server));
    bearer.unwrap()
}

/// A service that accepts every path and method, and counts its calls without a token.
fn service(calls: &Arc<AtomicUsize>) -> Router {
    let calls = Arc::clone(calls);
    let handler = async move |token: Option<VerifiedToken>| {
        if token.is_none() {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        "what only callers with a token may have"
    };
    Router::new().fallback(any(handler))
}

/// A body of unknown length, like those of HTTP/2 without `content-length`.
struct Unannounced(Option<Frame<Bytes>>);

impl http_body::Body for Unannounced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

pub(crate) fn unannounced(frame: Frame<Bytes>) -> Body {
    Body::new(Unannounced(Some(frame)))
}

type Change = fn(http::request::Builder) -> http::request::Builder;

fn hostile_requests() -> Vec<(&'static str, Request<Body>)> {
    let get = |change: Change| {
        let request = change(Request::builder().uri(DOCUMENT));
        request.body(Body::empty()).unwrap()
    };
    let with_body = |body: Body| Request::get(DOCUMENT).body(body).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-command", "delete".parse().unwrap());
    vec![
        (
            "websocket",
            get(|one| {
                one.header("upgrade", "websocket")
                    .header("connection", "Upgrade")
            }),
        ),
        (
            "h2c",
            get(|one| {
                one.header("upgrade", "h2c")
                    .header("http2-settings", "AAMAAABk")
            }),
        ),
        (
            "HTTP2-Settings",
            get(|one| one.header("http2-settings", "AAMAAABk")),
        ),
        ("empty Upgrade", get(|one| one.header("upgrade", ""))),
        ("Expect", get(|one| one.header("expect", "100-continue"))),
        ("Trailer", get(|one| one.header("trailer", "x-command"))),
        ("length", get(|one| one.header(CONTENT_LENGTH, "2"))),
        (
            "two lengths",
            get(|one| one.header(CONTENT_LENGTH, "0").header(CONTENT_LENGTH, "2")),
        ),
        ("odd length", get(|one| one.header(CONTENT_LENGTH, "0, 2"))),
        (
            "chunks",
            get(|one| one.header(TRANSFER_ENCODING, "chunked")),
        ),
        (
            "method override",
            get(|one| one.header("x-http-method-override", "DELETE")),
        ),
        ("unannounced body", with_body(Body::from("{}"))),
        (
            "body of unknown length",
            with_body(unannounced(Frame::data(Bytes::from("{}")))),
        ),
        (
            "trailers",
            with_body(unannounced(Frame::trailers(trailers))),
        ),
        (
            "query",
            get(|one| one.uri(format!("{DOCUMENT}?method=delete"))),
        ),
        ("empty query", get(|one| one.uri(format!("{DOCUMENT}?")))),
        (
            "absolute form",
            get(|one| one.uri(format!("http://h.test{DOCUMENT}?a=b"))),
        ),
        ("slash", get(|one| one.uri(format!("{DOCUMENT}/")))),
        ("two slashes", get(|one| one.uri(format!("/{DOCUMENT}")))),
        ("dots", get(|one| one.uri(format!("/a/..{DOCUMENT}")))),
        (
            "escape",
            get(|one| one.uri("/.well-known/oauth%2Dprotected-resource")),
        ),
        ("%44", get(|one| one.uri("/%44elete"))),
        ("below", get(|one| one.uri(format!("{DOCUMENT}/orders")))),
        ("nested", get(|one| one.uri(format!("/files{DOCUMENT}")))),
        ("POST", get(|one| one.method(Method::POST))),
        ("TRACE", get(|one| one.method(Method::TRACE))),
        ("other case", get(|one| one.method("get"))),
        ("OPTIONS", get(|one| one.method(Method::OPTIONS))),
        ("OPTIONS *", get(|one| one.method(Method::OPTIONS).uri("*"))),
        (
            "preflight with a body",
            get(|one| {
                let one = one.method(Method::OPTIONS).header(CONTENT_LENGTH, "2");
                one.header("access-control-request-method", "GET")
            }),
        ),
        (
            "CONNECT",
            get(|one| one.method(Method::CONNECT).uri("h.test:443")),
        ),
        (
            "extended CONNECT",
            get(|one| {
                one.method(Method::CONNECT)
                    .uri(format!("https://h.test{DOCUMENT}"))
            }),
        ),
    ]
}

/// The bearer layer alone, and with the metadata layer outside of it: every request that is not plain is rejected, and does
/// not reach the service.
#[tokio::test]
async fn no_request_for_the_document_is_forwarded_without_a_token() {
    let server = server();
    let calls = Arc::default();
    let nested = service(&calls).layer(bearer(&server));
    let alone = Router::new()
        .nest("/files", nested)
        .fallback_service(service(&calls).layer(bearer(&server)));
    let published = alone
        .clone()
        .layer(ResourceMetadataLayer::new(metadata(&server)));
    let mut open = Vec::new();
    for (order, app) in [("alone", &alone), ("published", &published)] {
        for (name, request) in hostile_requests() {
            let answer = ask(app, request).await;
            if answer.status != StatusCode::UNAUTHORIZED {
                open.push(format!("{order}, {name}: {}", answer.status));
            }
        }
    }
    for method in [Method::GET, Method::HEAD] {
        let request = Request::builder().method(method).uri(DOCUMENT);
        let answer = ask(&alone, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "not served here");
    }
    let mut preflight = Request::options(DOCUMENT).body(Body::empty()).unwrap();
    let method = "access-control-request-method";
    preflight
        .headers_mut()
        .insert(method, "GET".parse().unwrap());
    assert_eq!(
        ask(&alone, preflight).await.status,
        StatusCode::UNAUTHORIZED
    );
    let plain = Request::get(DOCUMENT).header(CONTENT_LENGTH, "0");
    let document = ask(&published, plain.body(Body::empty()).unwrap()).await;
    assert_eq!(document.status, StatusCode::OK);
    assert!(document.body.contains("authorization_servers"));
    assert!(open.is_empty(), "{}", open.join("\n"));
    assert_eq!(
        calls.load(Ordering::Relaxed),
        0,
        "the service was called without a token"
    );
}

const WARNING: &str = "resource_metadata_behind_bearer_layer";

fn warnings(logs: &Logs) -> usize {
    let text = logs.take();
    text.matches("must be outside of BearerLayer").count()
}

/// With the wrong order clients cannot read the document, so one warning is logged, whatever callers send.
#[tokio::test]
async fn the_wrong_order_of_layers_is_logged_once() {
    let server = server();
    let calls = Arc::default();
    let logs = Logs::default();
    let _recording = logs.record();
    let wrong = service(&calls)
        .layer(ResourceMetadataLayer::new(metadata(&server)))
        .layer(bearer(&server));
    for _ in 0..3 {
        let request = Request::get(DOCUMENT).body(Body::empty()).unwrap();
        assert_eq!(ask(&wrong, request).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(warnings(&logs), 1, "{WARNING}");
    // With a token the document is served, and the inner layer detects that a token was required.
    let token = good(&server).sign();
    for _ in 0..3 {
        let answer = present_at(&wrong, DOCUMENT, &token).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(warnings(&logs), 1, "{WARNING}");
}

/// No request of a caller makes the right order look wrong.
#[tokio::test]
async fn the_right_order_of_layers_is_not_logged() {
    let server = server();
    let calls = Arc::default();
    let logs = Logs::default();
    let _recording = logs.record();
    let right = service(&calls)
        .layer(bearer(&server))
        .layer(ResourceMetadataLayer::new(metadata(&server)));
    let plain = Request::get(DOCUMENT).body(Body::empty()).unwrap();
    assert_eq!(ask(&right, plain).await.status, StatusCode::OK);
    let token = good(&server).sign();
    assert_eq!(
        present_at(&right, DOCUMENT, &token).await.status,
        StatusCode::OK
    );
    for (_, request) in hostile_requests() {
        let _ = right.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(warnings(&logs), 0);
}
