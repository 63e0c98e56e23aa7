//! The layers as tower services: readiness, bodies, errors, extensions, logs.

mod ambiguous_paths;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use serde::Deserialize;
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _, service_fn};
use tower_oauth::bearer::{
    Bearer, BearerFuture, Guard, Policy, Refusal, ResponseFuture, TokenSource,
};
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Claims, ScopeLayer, VerifiedToken};

use crate::support::api::{
    self, Outcome, api, ask, good, layer, layer_of, present, present_at, server, soon,
};
use crate::support::logs::Logs;

fn request(token: &str) -> Request<()> {
    Request::get("/")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(())
        .unwrap()
}

/// Readies a service, then calls it.
async fn call<S: Service<Request<()>, Error = Infallible>>(
    service: &mut S,
    token: &str,
) -> S::Response {
    let ready = service.ready().await.unwrap_or_else(|never| match never {});
    soon(ready.call(request(token)))
        .await
        .unwrap_or_else(|never| match never {})
}

/// Panics if it is called without having been polled ready; ready for one call only.
#[derive(Debug, Default)]
struct Touchy {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        // Readiness belongs to the instance that was polled.
        Self {
            ready: false,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl<B> Service<Request<B>> for Touchy {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called although it was not ready"
        );
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new("called".to_owned())))
    }
}

#[derive(Deserialize)]
struct Plan {
    plan: String,
}

#[tokio::test]
async fn the_inner_service_is_called_only_after_it_was_polled_ready() {
    let server = server();
    let touchy = Touchy::default();
    let calls = Arc::clone(&touchy.calls);
    let mut service = ServiceBuilder::new()
        .layer(layer(&server))
        .layer(ScopeLayer::all("read").unwrap())
        .service(touchy);
    let token = good(&server).with_scope("read").sign();
    let mut expected = 0;
    for round in 0..4 {
        // The first request waits for keys, the others do not. Rejected requests in between do not use up readiness.
        for (token, status, called) in [
            (token.as_str(), 200, 1),
            ("junk", 401, 0),
            ("a b", 400, 0),
            (&token, 200, 1),
        ] {
            let answer = call(&mut service, token).await;
            expected += called;
            assert_eq!(answer.status(), status, "{round}");
            assert_eq!(calls.load(Ordering::SeqCst), expected);
        }
        let lacking = good(&server).with_scope("write").sign();
        let answer = call(&mut service, &lacking).await;
        assert_eq!(answer.status(), 403);
        // A new key makes the next round wait again.
        server.rotate_keys();
    }
    assert_eq!(server.count(Endpoint::KeySet), 1 + 3);
}

#[tokio::test]
async fn the_service_accepts_calls_while_another_request_waits_for_keys() {
    let server = server();
    let mut service = layer(&server).layer(Touchy::default());
    server.fail_once(Endpoint::KeySet, Fault::delay(Duration::from_secs(1)));
    let ready = tower::ServiceExt::<Request<()>>::ready(&mut service)
        .await
        .unwrap();
    let waiting = ready.call(request(&good(&server).sign()));
    let waiting = tokio::spawn(waiting);
    soon(server.wait_for(Endpoint::KeySet, 1)).await;
    let refused = call(&mut service, "junk").await;
    assert_eq!(refused.status(), 401);
    soon(server.clock().wait_for_sleepers(3)).await;
    server.clock().advance(Duration::from_secs(1));
    assert_eq!(soon(waiting).await.unwrap().unwrap().body(), "called");
}

#[tokio::test]
async fn the_permit_reserved_by_poll_ready_is_used_for_the_call() {
    let server = server();
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Vec::<u8>::new())));
    let mut service = ServiceBuilder::new()
        .layer(layer(&server))
        .concurrency_limit(1)
        .service(inner);
    for _ in 0..4 {
        // If the request that waits for keys had lost the permit, the service would never be ready again.
        let answer = soon(call(&mut service, &good(&server).sign())).await;
        assert_eq!(answer.status(), 200);
        server.rotate_keys();
    }
}

#[tokio::test]
async fn a_rejection_releases_the_permit_reserved_by_poll_ready() {
    let server = server();
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Vec::<u8>::new())));
    let mut one = ServiceBuilder::new()
        .layer(layer(&server))
        .concurrency_limit(1)
        .service(inner);
    let mut other = one.clone();
    for token in ["junk", "a b"] {
        assert!([400, 401].contains(&call(&mut one, token).await.status().as_u16()));
        // `one` still exists and would hold the only permit.
        let answer = soon(call(&mut other, &good(&server).sign())).await;
        assert_eq!(answer.status(), 200);
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the inner service failed")]
struct InnerError;

#[tokio::test]
async fn an_error_of_the_inner_service_is_returned_unchanged() {
    let server = server();
    let inner = service_fn(async |_: Request<()>| Err::<Response<()>, _>(InnerError));
    let service = ServiceBuilder::new()
        .layer(layer(&server))
        .layer(ScopeLayer::all("read").unwrap())
        .service(inner);
    let token = good(&server).with_scope("read").sign();
    for _ in 0..2 {
        assert_eq!(
            soon(service.clone().oneshot(request(&token)))
                .await
                .unwrap_err(),
            InnerError
        );
    }
    assert_eq!(
        soon(service.oneshot(request("junk")))
            .await
            .unwrap()
            .status(),
        401
    );
}

/// A response body that only implements `Default`.
#[derive(Default, Debug, PartialEq)]
struct Odd(Option<u8>);

#[tokio::test]
async fn any_request_body_and_any_response_body_with_a_default_is_supported() {
    struct Unclonable(#[allow(dead_code)] Box<u8>);
    let server = server();
    let inner = service_fn(async |request: Request<Unclonable>| {
        assert_eq!(*request.into_body().0, 7);
        Ok::<_, Infallible>(Response::new(Odd(Some(1))))
    });
    let service = ServiceBuilder::new()
        .layer(layer(&server))
        .layer(ScopeLayer::any("a b").unwrap())
        .service(inner);
    let token = good(&server).with_scope("b").sign();
    let send = |token: &str| {
        service
            .clone()
            .oneshot(request(token).map(|()| Unclonable(Box::new(7))))
    };
    assert_eq!(soon(send(&token)).await.unwrap().into_body(), Odd(Some(1)));
    assert_eq!(soon(send("junk")).await.unwrap().into_body(), Odd(None));
    assert_eq!(
        soon(send(&good(&server).sign())).await.unwrap().into_body(),
        Odd(None)
    );
}

#[tokio::test]
async fn a_response_of_the_inner_service_is_not_changed() {
    let server = server();
    let inner = service_fn(async |_: Request<()>| {
        let response = Response::builder()
            .status(418)
            .header("x-mine", "1")
            .extension(7_u8);
        Ok::<_, Infallible>(response.body(()).unwrap())
    });
    let answer = soon(
        layer(&server)
            .layer(inner)
            .oneshot(request(&good(&server).sign())),
    )
    .await
    .unwrap();
    assert_eq!(
        (
            answer.status(),
            answer.headers().len(),
            answer.extensions().get::<u8>()
        ),
        (StatusCode::IM_A_TEAPOT, 1, Some(&7))
    );
    assert!(answer.extensions().get::<Refusal>().is_none());
}

#[tokio::test]
async fn without_the_layer_the_response_is_500_and_names_the_layer() {
    let server = server();
    let token = good(&server).with_scope("read").sign();
    let needs = get(async |_: VerifiedToken| "in");
    let takes = get(async |_: Option<VerifiedToken>| "in");
    let bare = Router::new()
        .route("/", needs.clone())
        .route("/maybe", takes)
        .route(
            "/scope",
            get(async || "in").layer(ScopeLayer::all("read").unwrap()),
        );
    for (path, word) in [
        ("/", "BearerLayer"),
        ("/maybe", "BearerLayer"),
        ("/scope", "BearerLayer"),
    ] {
        let answer = present_at(&bare, path, &token).await;
        assert_eq!(answer.outcome(), Outcome::Misconfigured, "{path}");
        let Some(Refusal::MissingLayer { .. }) = answer.refusal else {
            panic!("{path}");
        };
        assert!(answer.refusal.unwrap().to_string().contains(word), "{path}");
    }
    assert!(
        present_at(&bare, "/", &token)
            .await
            .body
            .contains("BearerLayer")
    );
    // The layers in the wrong order: the scope layer is outside.
    let wrong = Router::new()
        .route("/", needs.clone())
        .layer(layer(&server))
        .layer(ScopeLayer::all("read").unwrap());
    assert_eq!(
        present(&wrong, &token).await.outcome(),
        Outcome::Misconfigured
    );
    // Claims of another type than the layer deserializes.
    let other = Router::new()
        .route("/", needs)
        .route("/maybe", get(async |_: Option<VerifiedToken>| "in"))
        .layer(layer(&server).with_claims::<serde_json::Value>());
    for path in ["/", "/maybe"] {
        let answer = present_at(&other, path, &token).await;
        assert_eq!(answer.outcome(), Outcome::Misconfigured, "{path}");
        assert!(
            answer.body.contains("different claims types"),
            "{path}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_token_of_an_outer_layer_does_not_authenticate_a_request_at_an_inner_layer() {
    let server = server();
    let strip = tower::util::MapRequestLayer::new(|mut request: Request<Body>| {
        request.headers_mut().remove(AUTHORIZATION);
        request
    });
    let handler = async |token: Option<VerifiedToken>| {
        if token.is_some() {
            "authenticated"
        } else {
            "anonymous"
        }
    };
    let api = Router::new()
        .route("/", get(handler))
        .route(
            "/read",
            get(async || "in").layer(ScopeLayer::all("read").unwrap()),
        )
        .layer(
            ServiceBuilder::new()
                .layer(layer(&server))
                .layer(strip)
                .layer(layer(&server).optional()),
        );
    let token = good(&server).with_scope("read").sign();
    assert_eq!(present(&api, &token).await.body, "anonymous");
    assert_eq!(
        present_at(&api, "/read", &token).await.outcome(),
        Outcome::NoCredentials
    );
    // Nor if the outer layer deserializes the claims as another type.
    type Other = serde_json::Value;
    let handler = async |token: Option<VerifiedToken<Other>>| token.is_some().to_string();
    let api = Router::new().route("/", get(handler)).layer(
        ServiceBuilder::new()
            .layer(layer(&server).with_claims::<Other>())
            .layer(tower::util::MapRequestLayer::new(
                |mut request: Request<Body>| {
                    request.headers_mut().remove(AUTHORIZATION);
                    request
                },
            ))
            .layer(layer(&server).optional()),
    );
    assert_eq!(present(&api, &token).await.body, "false");
    // Nor for a handler that reads the extensions itself, like those of tonic.
    let looks = async |request: axum::extract::Request| {
        let found = request.extensions().get::<VerifiedToken>();
        found.is_some().to_string()
    };
    let api = Router::new().route("/", get(looks)).layer(
        ServiceBuilder::new()
            .layer(layer(&server))
            .layer(tower::util::MapRequestLayer::new(
                |mut request: Request<Body>| {
                    request.headers_mut().remove(AUTHORIZATION);
                    request
                },
            ))
            .layer(layer(&server).optional()),
    );
    assert_eq!(present(&api, &token).await.body, "false");
}

#[tokio::test]
async fn two_layers_each_check_their_own_audience() {
    let server = server();
    let handle = server.authorization_server();
    let inner = BearerLayer::jwt(&handle, "inner").unwrap();
    let api = Router::new()
        .route("/", get(async |_: VerifiedToken| "in"))
        .layer(ServiceBuilder::new().layer(layer_of(&handle)).layer(inner));
    let audience = Outcome::InvalidToken(Why::Audience);
    for (aud, expect) in [
        (vec![api::AUDIENCE, "inner"], Outcome::Accepted),
        (vec![api::AUDIENCE], audience),
        (vec!["inner"], audience),
    ] {
        let token = good(&server).with_claim("aud", aud).sign();
        assert_eq!(present(&api, &token).await.outcome(), expect);
    }
}

#[tokio::test]
async fn the_verified_token_is_in_the_request_extensions() {
    let server = server();
    let inner = service_fn(async |request: Request<()>| {
        let token = request.extensions().get::<VerifiedToken>().unwrap();
        Ok::<_, Infallible>(Response::new(format!(
            "{:?} {:?}",
            token.subject(),
            token
                .expires_at()
                .map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs())
        )))
    });
    let answer = soon(
        layer(&server)
            .layer(inner)
            .oneshot(request(&good(&server).sign())),
    )
    .await
    .unwrap();
    assert_eq!(answer.body(), r#"Some("alice") Some(1800000300)"#);
}

#[tokio::test]
async fn the_reason_of_a_rejection_is_in_the_response_extensions() {
    let server = server();
    let api = api(layer(&server));
    let reason = async |token: String| present(&api, &token).await.refusal.unwrap();
    let Refusal::Token(error) = reason(good(&server).with_expires_in(-99).sign()).await else {
        panic!("another reason");
    };
    assert_eq!(error.kind(), Why::Expired);
    let printed = error.to_string();
    assert!(
        printed.starts_with("the token has expired: found exp"),
        "{printed}"
    );
    assert!(matches!(
        reason("a b".to_owned()).await,
        Refusal::InvalidRequest
    ));
    server.fail(Endpoint::KeySet, Fault::disconnect());
    let server = api::server();
    server.fail(Endpoint::Metadata, Fault::disconnect());
    let down = api::api(layer(&server));
    let refusal = present(&down, &good(&server).sign()).await.refusal.unwrap();
    // The sources of the error are available for logs.
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(&refusal);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    assert!(
        causes.last().unwrap().contains("the connection was closed"),
        "{causes:?}"
    );
}

#[tokio::test]
async fn neither_logs_nor_debug_contain_a_token_or_personal_data() {
    let logs = Logs::default();
    let _guard = logs.record();
    let server = server();
    let handle = server.authorization_server();
    let layer = layer_of(&handle).with_realm("x").unwrap();
    let mut shown = format!("{layer:?} {handle:?} {:?}", layer.layer(Touchy::default()));
    let handler = async |request: axum::extract::Request| {
        let token = request.extensions().get::<VerifiedToken>().unwrap();
        format!("{token:?} {:?}", token.claims())
    };
    let api = Router::new().route("/", get(handler)).layer(layer);
    let private = |mint: tower_oauth::testing::TokenMint| {
        mint.with_subject("alice-secret")
            .with_claim("email", "secret@example.test")
            .with_claim("jti", "secret-jti")
    };
    let good_token = private(good(&server)).with_scope("read").sign();
    let answer = present(&api, &good_token).await;
    assert_eq!(answer.outcome(), Outcome::Accepted);
    shown.push_str(&answer.body);
    let mut tokens = vec![good_token];
    for mint in [
        private(good(&server)).with_wrong_key(),
        private(good(&server)).with_expires_in(-99),
        private(good(&server)).with_audience("other-audience"),
        private(good(&server)).with_issuer("https://other.example.test"),
        private(good(&server))
            .with_audience("secret-audience")
            .with_wrong_key(),
        private(good(&server))
            .with_issuer("https://secret.example.test")
            .with_wrong_key(),
        private(good(&server)).with_header("typ", "secret-type"),
        private(good(&server)).with_header("kid", "secret-kid"),
        private(good(&server)).with_header("alg", "secret-alg"),
        private(good(&server)).with_claim("exp", "secret-exp"),
    ] {
        let token = mint.sign();
        let answer = present(&api, &token).await;
        shown.push_str(&format!(
            "{:?} {}",
            answer.refusal.clone().unwrap(),
            answer.refusal.unwrap()
        ));
        tokens.push(token);
    }
    server.fail(Endpoint::KeySet, Fault::status(500));
    present(
        &api,
        &private(good(&server))
            .with_header("kid", "secret-kid-2")
            .sign(),
    )
    .await;
    present(&api, "secret.secret.secret").await;
    #[derive(serde::Deserialize)]
    struct Mine {
        #[allow(dead_code)]
        email: u8,
    }
    let other = Router::new()
        .route("/", get(async || "in"))
        .layer(layer_of(&handle).with_claims::<Mine>());
    let answer = present(&other, &tokens[0]).await;
    assert_eq!(answer.outcome(), Outcome::InvalidToken(Why::CustomClaims));
    shown.push_str(&logs.text());
    assert!(
        shown.contains("rejected a request") && shown.contains("failed to fetch the key set"),
        "nothing was recorded"
    );
    for token in &tokens {
        for part in token.split('.') {
            assert!(!shown.contains(part), "{part} is shown in:\n{shown}");
        }
    }
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn layers_can_be_shared_between_threads_and_runtimes() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    fn sent<T: Send>() {}
    shared::<AuthorizationServer>();
    shared::<BearerLayer>();
    shared::<BearerLayer<String>>();
    shared::<ScopeLayer>();
    shared::<VerifiedToken>();
    shared::<Claims>();
    shared::<Refusal>();
    shared::<Bearer<Touchy>>();
    shared::<Guard<Touchy>>();
    sent::<BearerFuture<Touchy, Body, Body>>();
    sent::<ResponseFuture<Ready<()>, Body>>();
    // A server that outlives the runtime it was first used on, like a `static` in tests.
    let server = server();
    let at = api(layer(&server));
    let token = good(&server).with_expires_in(86_400).sign();
    for round in 0..3 {
        let (at, token, server) = (at.clone(), token.clone(), server.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                assert_eq!(
                    present(&at, &token).await.outcome(),
                    Outcome::Accepted,
                    "{round}"
                );
                server.rotate_keys();
                assert_eq!(
                    present(&at, &good(&server).sign()).await.outcome(),
                    Outcome::Accepted,
                    "{round}"
                );
            });
        });
        tokio::task::spawn_blocking(move || thread.join().unwrap())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn dropping_a_runtime_during_a_fetch_leaves_the_server_usable() {
    let server = server();
    let at = api(layer(&server));
    server.fail_once(Endpoint::KeySet, Fault::hang());
    let (inner, asked) = (at.clone(), server.clone());
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let token = good(&asked).sign();
        runtime.spawn(async move { present(&inner, &token).await });
        runtime.block_on(asked.wait_for(Endpoint::KeySet, 1));
    })
    .await
    .unwrap();
    assert_eq!(
        present(&at, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn waiting_requests_keep_their_own_tokens() {
    let server = crate::support::still_server(api::ISSUER)
        .unwrap()
        .with_algorithm(Algorithm::Es256);
    let at = api(layer(&server));
    server.fail_once(Endpoint::KeySet, Fault::delay(Duration::from_secs(1)));
    let mut requests = Vec::new();
    for number in 0..50 {
        let (at, token) = (
            at.clone(),
            good(&server).with_subject(&format!("user-{number}")).sign(),
        );
        requests.push(tokio::spawn(async move { present(&at, &token).await }));
    }
    soon(server.clock().wait_for_sleepers(52)).await;
    server.clock().advance(Duration::from_secs(1));
    for (number, request) in requests.into_iter().enumerate() {
        let body = soon(request).await.unwrap().body;
        assert!(body.contains(&format!("\"user-{number}\"")), "{body}");
    }
    let anonymous = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(ask(&at, anonymous).await.outcome(), Outcome::NoCredentials);
}

#[tokio::test]
async fn a_long_connection_can_be_limited_to_the_lifetime_of_its_token() {
    let server = server();
    let clock = server.clock();
    let keep = async |token: VerifiedToken| axum::Extension(token);
    let app = Router::new().route("/", get(keep)).layer(layer(&server));
    let token_of = async |token: &str| {
        let request = request(token).map(|()| Body::empty());
        let response = app.clone().oneshot(request).await.unwrap();
        response
            .extensions()
            .get::<VerifiedToken>()
            .cloned()
            .unwrap()
    };
    let token = token_of(&good(&server).with_expires_in(60).sign()).await;
    assert_eq!(token.remaining(&clock), Some(Duration::from_secs(60)));

    let mut expired = tokio::task::spawn(token.expired(&clock));
    clock.advance(Duration::from_secs(59));
    api::settle().await;
    assert!(!expired.is_finished());
    // Setting the wall clock back does not extend the lifetime.
    clock.adjust_wall_clock(-3600);
    clock.advance(Duration::from_secs(1));
    soon(&mut expired).await.unwrap();

    clock.adjust_wall_clock(3600 + 20);
    assert_eq!(
        token.remaining(&clock),
        Some(Duration::ZERO),
        "no leeway is added"
    );
    soon(token.expired(&clock)).await;
}

/// The outer layer validates the token of a gateway, the inner layer that of the caller: they must not be confused.
#[tokio::test]
async fn the_token_of_an_outer_layer_does_not_replace_that_of_an_inner_layer() {
    let server = server();
    let gold = good(&server).with_claim("plan", "gold").sign();
    let plain = good(&server).with_scope("read").sign();
    let inner_source = TokenSource::custom(|headers, _| headers.get("x-caller").cloned());
    let around = |inner: BearerLayer, route: Router| {
        route
            .layer(inner.add_token_source(inner_source.clone()))
            .layer(layer(&server).without_forwarding().with_claims::<Plan>())
    };
    let is_gold = Policy::all("read")
        .unwrap()
        .and_claim("no gold", |plan: &Plan| plan.plan == "gold")
        .unwrap();
    let by_policy = get(async || "gold").layer(ScopeLayer::new(is_gold));
    let by_type = get(async |token: VerifiedToken<Plan>| token.claims().plan.clone());
    let by_hand = get(async |request: Request<Body>| {
        let outer = request.extensions().get::<VerifiedToken<Plan>>().is_some();
        let inner = request
            .extensions()
            .get::<VerifiedToken<Claims>>()
            .is_some();
        format!("{outer} {inner}")
    });
    let routes = Router::new()
        .route("/policy", by_policy)
        .route("/type", by_type)
        .route("/hand", by_hand);
    let ask_as = async |app: &Router, path: &str, caller: Option<&str>| {
        let mut request = Request::get(path).header(AUTHORIZATION, format!("Bearer {gold}"));
        if let Some(caller) = caller {
            request = request.header("x-caller", caller);
        }
        let answer = ask(app, request.body(Body::empty()).unwrap()).await;
        (answer.status.as_u16(), answer.body)
    };

    let app = around(layer(&server), routes.clone());
    assert_eq!(ask_as(&app, "/policy", Some(&plain)).await.0, 500);
    assert_eq!(ask_as(&app, "/type", Some(&plain)).await.0, 500);
    let by_hand = ask_as(&app, "/hand", Some(&plain)).await;
    assert_eq!(by_hand, (200, "false true".to_owned()));
    let app = around(layer(&server).optional(), routes);
    assert_eq!(ask_as(&app, "/type", None).await.0, 401);
    let by_hand = ask_as(&app, "/hand", None).await;
    assert_eq!(by_hand, (200, "false false".to_owned()));
}
