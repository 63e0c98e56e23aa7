//! `introspection`: opaque tokens.

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bench_support::fixture::AUDIENCE;
use bench_support::subject::router;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Map, Value};
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, TestClient, TestServer, TokenMint};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Client};

use crate::Finding;
use crate::api::Api;
use crate::fixture::{now, payload};

const ROUNDS: usize = 60;
const BATCH: usize = 1000;

pub async fn cache() -> Vec<Finding> {
    let (server, _socket) = TestServer::start("127.0.0.1:0").await.expect("a socket");
    let server = server
        .with_algorithm(Algorithm::Es256)
        .add_client(TestClient::confidential("api", "api-secret"));
    let handle = AuthorizationServer::new(server.issuer()).expect("an issuer");
    let handle = handle.with_clock(server.clock());
    let client = Client::confidential("api", "api-secret");
    let opaque = BearerLayer::introspect(&handle, client, AUDIENCE).expect("a layer");
    let opaque = router().layer(opaque);
    let jwt = router().layer(BearerLayer::jwt(&handle, AUDIENCE).expect("a layer"));
    vec![
        hit(&server, &jwt, &opaque).await,
        one_call(&server, &opaque).await,
        expiry(&server, &opaque).await,
    ]
}

/// The cost of a cached introspection response, relative to a cached JWT with the same claims.
async fn hit(server: &TestServer, jwt: &Router, opaque: &Router) -> Finding {
    let mint = same_claims(server);
    let (jwt_token, opaque_token) = (bearer(&mint.sign()), bearer(&mint.opaque()));
    let none = router();
    let mut ratios = Vec::new();
    for round in 0..ROUNDS + 5 {
        let base = time(&none, &jwt_token).await;
        let one = time(jwt, &jwt_token).await - base;
        let other = time(opaque, &opaque_token).await - base;
        // The first rounds fill the caches.
        if round >= 5 {
            ratios.push(other / one);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let measured = format!("{ratio:.2} <= 3");
    Finding::new(
        "cache hit, relative to a cached JWT",
        measured,
        ratio <= 3.0,
    )
}

async fn one_call(server: &TestServer, opaque: &Router) -> Finding {
    let api = Api::of(opaque.clone());
    let token = same_claims(server).opaque();
    let before = server.count(Endpoint::Introspection);
    let responses = api.send_many(&token, 200).await;
    let calls = server.count(Endpoint::Introspection) - before;
    let (all, good) = (
        responses.len(),
        responses.iter().filter(|one| one.is_ok()).count(),
    );
    let measured = format!("{good} of {all} are 200, calls {calls}");
    Finding::new(
        "200 requests at once with a new token",
        measured,
        good == all && calls == 1,
    )
}

async fn expiry(server: &TestServer, opaque: &Router) -> Finding {
    let api = Api::of(opaque.clone());
    let token = same_claims(server).with_expires_in(20).opaque();
    assert!(api.send(&token).await.is_ok());
    server.clock().advance(Duration::from_secs(10));
    assert!(api.send(&token).await.is_ok());
    // Past `exp` and the clock skew allowance.
    server.clock().advance(Duration::from_secs(41));
    let status = api.send(&token).await.status;
    let met = status == StatusCode::UNAUTHORIZED;
    Finding::new("past exp", status.as_str().to_owned(), met)
}

/// Returns a token with the claims of the JWTs that are measured.
fn same_claims(server: &TestServer) -> TokenMint {
    let claims: Map<String, Value> =
        serde_json::from_str(&payload(server.issuer(), 0, now())).expect("claims");
    let mint = server.access_token();
    claims
        .into_iter()
        .fold(mint, |mint, (name, value)| mint.with_claim(&name, value))
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer {token}")).expect("a header")
}

/// Returns nanoseconds per request.
async fn time(router: &Router, header: &HeaderValue) -> f64 {
    let start = Instant::now();
    for _ in 0..BATCH {
        let request = Request::get("/").header(AUTHORIZATION, header.clone());
        let request = request.body(Body::empty()).expect("a request");
        let Ok(response) = router.clone().oneshot(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        black_box(response);
    }
    start.elapsed().as_nanos() as f64 / BATCH as f64
}
