//! An API behind the layer, and what it answers how fast.

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
pub struct Answer {
    pub status: StatusCode,
    pub says_when: bool,
    pub took: Duration,
}

impl Answer {
    pub fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }
}

impl Api {
    /// Reaches the server over the network, as an application does. Nothing is remembered but keys, so
    /// that every request needs one.
    pub fn new(server: &TestServer) -> Self {
        let handle = AuthorizationServer::new(server.issuer()).expect("an issuer");
        let handle = handle.with_clock(server.clock());
        let layer = BearerLayer::jwt(&handle, AUDIENCE).expect("a layer");
        Self::of(router().layer(layer.without_token_cache()))
    }

    pub fn of(router: Router) -> Self {
        Self(router)
    }

    pub async fn present(&self, token: &str) -> Answer {
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Body::empty()).expect("a request");
        let router = self.0.clone();
        let start = Instant::now();
        let Ok(response) = router.oneshot(request).await;
        Answer {
            status: response.status(),
            says_when: response.headers().contains_key(RETRY_AFTER),
            took: start.elapsed(),
        }
    }

    pub fn spawn(&self, token: &str) -> JoinHandle<Answer> {
        let (api, token) = (self.clone(), token.to_owned());
        tokio::spawn(async move { api.present(&token).await })
    }

    pub async fn many(&self, token: &str, times: usize) -> Vec<Answer> {
        let requests: Vec<_> = (0..times).map(|_| self.spawn(token)).collect();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(request.await.expect("an answer"));
        }
        answers
    }
}

/// A server on a socket, with keys that an API has fetched.
pub async fn warm() -> (TestServer, ServerHandle, Api) {
    let (server, listening) = TestServer::start("127.0.0.1:0").await.expect("a socket");
    let server = server.with_algorithm(Algorithm::Es256);
    let api = Api::new(&server);
    assert!(api.present(&token(&server)).await.is_ok());
    (server, listening, api)
}

/// A good token for a day.
pub fn token(server: &TestServer) -> String {
    server
        .access_token()
        .with_audience(AUDIENCE)
        .with_expires_in(86_400)
        .sign()
}

/// A token whose key id nobody has.
pub fn junk(server: &TestServer, number: usize) -> String {
    let mint = server
        .access_token()
        .with_audience(AUDIENCE)
        .with_hmac("cheap to make");
    mint.with_header("alg", "ES256")
        .with_header("kid", format!("junk-{number}"))
        .sign()
}

pub fn fetches(server: &TestServer) -> usize {
    server.count(Endpoint::KeySet)
}
