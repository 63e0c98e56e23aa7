//! Forms that arrive slowly or never.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{Request, Version};
use http_body::Frame;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tower_oauth::bearer::FormTokenLayer;
use tower_oauth::testing::ManualClock;

use crate::support::api::{Answer, api, ask, good, layer, server, settle, soon};

/// A body whose chunks are sent by the test.
struct Sent(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

type Pieces = mpsc::UnboundedSender<Bytes>;

fn form(version: Version) -> (Pieces, Request<Body>) {
    let (pieces, body) = mpsc::unbounded_channel();
    let kind = "application/x-www-form-urlencoded";
    let request = Request::post("/")
        .version(version)
        .header(CONTENT_TYPE, kind);
    (pieces, request.body(Body::new(Sent(body))).unwrap())
}

async fn answer(asked: tokio::task::JoinHandle<Answer>) -> Answer {
    soon(asked).await.unwrap()
}

fn asked(app: &Router, request: Request<Body>) -> tokio::task::JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { ask(&app, request).await })
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
async fn a_form_that_never_ends_times_out() {
    let server = server();
    let clock = ManualClock::new(1_800_000_000);
    let layer_in = |seconds: Option<u64>| {
        let form = FormTokenLayer::new().with_clock(clock.clone());
        match seconds {
            Some(seconds) => form
                .with_read_timeout(Duration::from_secs(seconds))
                .unwrap(),
            None => form,
        }
    };
    for (name, limit, pieces, version) in [
        ("nothing, default", None, &[][..], Version::HTTP_11),
        ("nothing", Some(3), &[], Version::HTTP_11),
        ("nothing, HTTP/2", Some(3), &[], Version::HTTP_2),
        // One byte per second: the timeout does not restart with each.
        ("a drip", None, &[1; 9], Version::HTTP_11),
        ("a drip of nothing", Some(20), &[0; 19], Version::HTTP_11),
    ] {
        let app = api(layer(&server)).layer(layer_in(limit));
        let (sender, request) = form(version);
        let running = asked(&app, request);
        settle().await;
        for length in pieces {
            clock.advance(Duration::from_secs(1));
            sender.send(Bytes::from("a".repeat(*length))).unwrap();
            settle().await;
        }
        let gone = u64::try_from(pieces.len()).unwrap();
        let left = limit.unwrap_or(10) - gone;
        clock.advance(Duration::from_secs(left) - Duration::from_millis(1));
        settle().await;
        assert!(!running.is_finished(), "{name}: too early");
        clock.advance(Duration::from_millis(1));
        let refused = answer(running).await;
        assert_eq!(refused.status, 408, "{name}");
        let closes = refused
            .headers
            .get(CONNECTION)
            .map(|value| value.as_bytes());
        let expected = (version == Version::HTTP_11).then_some(&b"close"[..]);
        assert_eq!(closes, expected, "{name}");
        assert!(sender.is_closed(), "{name}: the body is still held");
    }
}

/// A body whose chunks are ready and empty, like empty DATA frames of HTTP/2.
struct Empty {
    left: u32,
    trailers: bool,
}

impl http_body::Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.left.checked_sub(1);
        self.left = left.expect("the body was read without a pause");
        Poll::Ready(Some(Ok(match self.trailers {
            true => Frame::trailers(http::HeaderMap::new()),
            false => Frame::data(Bytes::new()),
        })))
    }
}

#[tokio::test]
async fn an_endless_form_of_empty_chunks_blocks_no_thread_and_times_out() {
    let server = server();
    for trailers in [false, true] {
        let clock = ManualClock::new(1_800_000_000);
        let app = api(layer(&server)).layer(FormTokenLayer::new().with_clock(clock.clone()));
        let body = Empty {
            left: 1_000_000,
            trailers,
        };
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::new(body))
            .unwrap();
        let running = asked(&app, request);
        settle().await;
        assert!(!running.is_finished(), "{trailers}: too early");
        clock.advance(Duration::from_secs(10));
        assert_eq!(answer(running).await.status, 408, "{trailers}");
    }
}

#[tokio::test]
async fn a_slow_form_within_the_timeout_is_read() {
    let server = server();
    let clock = ManualClock::new(1_800_000_000);
    let app = api(layer(&server)).layer(FormTokenLayer::new().with_clock(clock.clone()));
    let (sender, request) = form(Version::HTTP_11);
    let running = asked(&app, request);
    let text = format!("access_token={}", good(&server).sign());
    settle().await;
    for piece in text.as_bytes().chunks(text.len().div_ceil(9)) {
        clock.advance(Duration::from_secs(1));
        sender.send(Bytes::copy_from_slice(piece)).unwrap();
        settle().await;
    }
    drop(sender);
    assert_eq!(answer(running).await.status, 200);
    for bad in [Duration::ZERO, Duration::from_secs(301)] {
        assert!(
            FormTokenLayer::new().with_read_timeout(bad).is_err(),
            "{bad:?}"
        );
    }
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
