//! An API behind the layer, and the status and time of its responses.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bench_support::fixture::AUDIENCE;
use bench_support::subject::router;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Request, StatusCode};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, ServerHandle, TestServer};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer};

#[derive(Clone)]
pub struct Api(Router);

#[derive(Debug)]
pub struct Timed {
    pub status: StatusCode,
    pub has_retry_after: bool,
    pub took: Duration,
}

impl Timed {
    pub fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }
}

impl Api {
    /// Creates an API that reaches the server over the network. It caches keys but no tokens, so that every
    /// request needs a key.
    pub fn new(server: &TestServer) -> Self {
        let handle = AuthorizationServer::new(server.issuer()).expect("an issuer");
        let handle = handle.with_clock(server.clock());
        let layer = BearerLayer::jwt(&handle, AUDIENCE).expect("a layer");
        Self::of(router().layer(layer.without_token_cache()))
    }

    pub fn of(router: Router) -> Self {
        Self(router)
    }

    pub async fn send(&self, token: &str) -> Timed {
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Body::empty()).expect("a request");
        let router = self.0.clone();
        let start = Instant::now();
        let Ok(response) = router.oneshot(request).await;
        Timed {
            status: response.status(),
            has_retry_after: response.headers().contains_key(RETRY_AFTER),
            took: start.elapsed(),
        }
    }

    pub fn spawn(&self, token: &str) -> JoinHandle<Timed> {
        let (api, token) = (self.clone(), token.to_owned());
        tokio::spawn(async move { api.send(&token).await })
    }

    pub async fn send_many(&self, token: &str, times: usize) -> Vec<Timed> {
        let requests: Vec<_> = (0..times).map(|_| self.spawn(token)).collect();
        let mut responses = Vec::new();
        for request in requests {
            responses.push(request.await.expect("a response"));
        }
        responses
    }
}

/// Starts a server on a socket, and an API that has fetched its keys.
pub async fn warm() -> (TestServer, ServerHandle, Api) {
    let (server, handle) = TestServer::start("127.0.0.1:0").await.expect("a socket");
    let server = server.with_algorithm(Algorithm::Es256);
    let api = Api::new(&server);
    assert!(api.send(&token(&server)).await.is_ok());
    (server, handle, api)
}

/// Returns a token that is valid for a day.
pub fn token(server: &TestServer) -> String {
    server
        .access_token()
        .with_audience(AUDIENCE)
        .with_expires_in(86_400)
        .sign()
}

/// Returns a token with an unknown key id.
pub fn unknown_key_token(server: &TestServer, number: usize) -> String {
    let mint = server
        .access_token()
        .with_audience(AUDIENCE)
        .with_hmac("cheap to make");
    mint.with_header("alg", "ES256")
        .with_header("kid", format!("unknown-{number}"))
        .sign()
}

pub fn fetches(server: &TestServer) -> usize {
    server.count(Endpoint::KeySet)
}
