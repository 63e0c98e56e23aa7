//! Runs a number of requests of one kind, for `benches/instructions` to count instructions.
//!
//! All inputs are fixed: keys and tokens are in `fixture/`, the clock does not move, and the key set comes
//! from memory.

use std::convert::Infallible;
use std::future::{Future as _, Ready, pending, ready};
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench_support::fixture::AUDIENCE;
use bench_support::{Fixture, raw};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer as _;
use tower_oauth::clock::{Clock, Sleep};
use tower_oauth::{AuthorizationServer, BearerLayer};
use tower_service::Service;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixture");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, algorithm, times] = &arguments[..] else {
        panic!("usage: none|warm|cold|raw ALGORITHM TIMES");
    };
    let times: usize = times.parse().expect("a number");
    let fixture = Fixture::read(Path::new(FOLDER), algorithm);
    let check = raw::check(&fixture);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let layer = runtime.block_on(layer(&fixture));
    let header = HeaderValue::from_str(&format!("Bearer {}", fixture.token)).expect("a header");
    let _entered = runtime.enter();
    match kind.as_str() {
        "none" => requests(&Inner, &header, times),
        "warm" => requests(&layer.layer(Inner), &header, times),
        "cold" => {
            let layer = layer.without_token_cache();
            requests(&layer.layer(Inner), &header, times);
        }
        "raw" => (0..times).for_each(|_| assert!(black_box(check()))),
        other => panic!("unknown kind {other}"),
    }
}

async fn layer(fixture: &Fixture) -> BearerLayer {
    let server = AuthorizationServer::new(&fixture.issuer).expect("an issuer");
    let server = server.with_clock(FixedClock).with_back_channel(Files);
    server.ready().await.expect("keys");
    BearerLayer::jwt(&server, AUDIENCE).expect("a layer")
}

fn requests<S>(service: &S, header: &HeaderValue, times: usize)
where
    S: Service<Request<()>, Response = Response<()>> + Clone,
{
    for _ in 0..times {
        let mut service = service.clone();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let request = Request::get("/").header(AUTHORIZATION, header.clone());
        let response = pin!(service.call(request.body(()).expect("a request")));
        let Poll::Ready(Ok(response)) = response.poll(&mut cx) else {
            panic!("the response is not ready");
        };
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    }
}

#[derive(Clone)]
struct Inner;

impl Service<Request<()>> for Inner {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(())))
    }
}

/// A clock that stands at the time when the tokens were issued.
#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        let now = include_str!("../fixture/now")
            .trim()
            .parse()
            .expect("a second");
        UNIX_EPOCH + Duration::from_secs(now)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(pending())
    }
}

/// A back channel that serves the fixture.
#[derive(Clone)]
struct Files;

impl Service<Request<Bytes>> for Files {
    type Response = Response<Bytes>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Bytes>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let body = match request.uri().path() {
            "/jwks.json" => include_str!("../fixture/jwks.json"),
            _ => include_str!("../fixture/metadata.json"),
        };
        let response = Response::builder().header("content-type", "application/json");
        ready(Ok(response
            .body(Bytes::from_static(body.as_bytes()))
            .expect("a response")))
    }
}
