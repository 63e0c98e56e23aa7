//! Access tokens of oidc-provider at a resource server.

mod dpop;
mod introspection;
mod mtls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use axum::{Router, response::Response};
use http::{Request, StatusCode, header};
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_oauth::{AuthorizationServer, BearerLayer, ScopeLayer, VerifiedToken};

use crate::provider::Provider;

/// The provider signs tokens for the audience `https://api.example/rs256` with RS256, and so on.
const NAMES: [&str; 5] = ["rs256", "ps256", "es256", "es384", "eddsa"];

fn audience(name: &str) -> String {
    format!("https://api.example/{name}")
}

fn api(server: &AuthorizationServer, name: &str) -> Router {
    async fn subject(token: VerifiedToken) -> String {
        token.subject().unwrap().to_owned()
    }
    let write = ScopeLayer::all("api:write").unwrap();
    Router::new()
        .route(
            "/",
            get(subject)
                .post(subject)
                .layer(ScopeLayer::all("api:read").unwrap()),
        )
        .route("/write", get(subject).layer(write))
        .layer(BearerLayer::jwt(server, audience(name)).unwrap())
}

async fn call(api: &Router, path: &str, token: &str) -> Response {
    let request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    api.clone().oneshot(request).await.unwrap()
}

fn challenge(response: &Response) -> &str {
    response.headers()[header::WWW_AUTHENTICATE]
        .to_str()
        .unwrap()
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn tokens_in_each_default_algorithm_are_accepted() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    for name in NAMES {
        let token = provider.client_credentials(&audience(name));
        let response = call(&api(&server, name), "/", &token).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}: {response:?}");
        let subject = axum::body::to_bytes(response.into_body(), 1024)
            .await
            .unwrap();
        assert_eq!(subject, "svc", "{name}");
    }
    let requests = provider.requests();
    assert_eq!(requests["/.well-known/openid-configuration"], 1);
    assert_eq!(requests["/jwks"], 1, "one key set serves all five");
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_token_for_another_audience_is_rejected() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let token = provider.client_credentials(&audience("es256"));
    let response = call(&api(&server, "rs256"), "/", &token).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(
        challenge(&response).contains("error=\"invalid_token\""),
        "{response:?}"
    );
    assert!(
        challenge(&response).contains("for a different audience"),
        "{response:?}"
    );
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_missing_scope_is_rejected_and_named() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let token = provider.client_credentials(&audience("ps256"));
    let response = call(&api(&server, "ps256"), "/write", &token).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(
        challenge(&response).contains("error=\"insufficient_scope\""),
        "{response:?}"
    );
    assert!(
        challenge(&response).contains("scope=\"api:write\""),
        "{response:?}"
    );
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn an_opaque_token_is_rejected_without_a_fetch() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let token = provider.client_credentials(&audience("opaque"));
    let response = call(&api(&server, "opaque"), "/", &token).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(provider.requests().get("/jwks"), None);
}

/// Sends requests with tokens of the old keys during a restart, then many at once with tokens of the new
/// keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_restart_with_new_keys_fails_no_request() {
    let mut provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let apis = NAMES.map(|name| api(&server, name));
    let tokens =
        |provider: &Provider| NAMES.map(|name| provider.client_credentials(&audience(name)));
    let old_tokens = tokens(&provider);
    assert_eq!(
        call(&apis[0], "/", &old_tokens[0]).await.status(),
        StatusCode::OK
    );

    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for (api, token) in apis.iter().zip(&old_tokens) {
        let (api, token, stop) = (api.clone(), token.clone(), Arc::clone(&stop));
        callers.spawn(async move {
            let mut interval = tokio::time::interval(Duration::from_millis(5));
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                interval.tick().await;
                let response = call(&api, "/", &token).await;
                assert_eq!(response.status(), StatusCode::OK, "{response:?}");
                calls += 1;
            }
            calls
        });
    }
    let (provider, new_tokens) = tokio::task::spawn_blocking(move || {
        provider.restart();
        let new_tokens = tokens(&provider);
        (provider, new_tokens)
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    let calls: u32 = callers.join_all().await.iter().sum();
    assert!(calls > 50, "only {calls} calls during the restart");
    assert_eq!(
        provider.requests().get("/jwks"),
        None,
        "known keys need no fetch"
    );

    let mut callers = JoinSet::new();
    for (api, token) in apis.iter().zip(&new_tokens).cycle().take(100) {
        let (api, token) = (api.clone(), token.clone());
        callers.spawn(async move { call(&api, "/", &token).await.status() });
    }
    let statuses = callers.join_all().await;
    assert!(
        statuses.iter().all(|status| *status == StatusCode::OK),
        "{statuses:?}"
    );
    assert_eq!(
        provider.requests()["/jwks"],
        1,
        "a hundred callers share one fetch"
    );

    // The old keys are gone, so their tokens are rejected, after at most three fetches.
    for (api, token) in apis.iter().zip(&old_tokens) {
        let response = call(api, "/", token).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{response:?}");
    }
    assert_eq!(provider.requests()["/jwks"], 3);
}
