//! Allocations per request.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use allocation_counter::{AllocationInfo, measure};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt as _};
use tower_oauth::BearerLayer;
use tower_oauth::testing::{TestServer, TokenMint};

use crate::support::api::{AUDIENCE, good, layer, server};

/// The baseline: a layer that inserts one value into the extensions.
#[derive(Clone)]
struct Mark<S>(S, Arc<str>);

#[derive(Clone)]
struct Marked(#[allow(dead_code)] Arc<str>);

impl<S: Service<Request<Body>>> Service<Request<Body>> for Mark<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        request.extensions_mut().insert(Marked(Arc::clone(&self.1)));
        self.0.call(request)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn router() -> Router {
    Router::new().route("/", get(async || "done"))
}

/// A token with thirteen claims, like those of common servers.
fn usual(server: &TestServer) -> TokenMint {
    let now = server.clock().unix_seconds();
    good(server)
        .with_expires_in(3600)
        .with_claim("nbf", now)
        .with_scope("openid profile orders:read orders:write")
        .with_claim("sub", "5c2b1c1e-7c1b-4f6e-9d37-0d0000000012")
        .with_claim("azp", "web-frontend")
        .with_claim("auth_time", now - 100)
        .with_claim("acr", "urn:mace:incommon:iap:silver")
        .with_claim("sid", "d3c0a1b2-aaaa-bbbb-cccc-000000000012")
        .with_claim("tenant", "contoso-production")
}

fn authorization(token: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    value.set_sensitive(true);
    value
}

/// Counts the allocations of one request, including those of its construction.
fn request<S>(runtime: &Runtime, service: &S, value: &HeaderValue) -> AllocationInfo
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    measure(|| {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(AUTHORIZATION, value.clone());
        let answer = runtime.block_on(service.clone().oneshot(request)).unwrap();
        assert_eq!(answer.status(), 200);
    })
}

/// Returns the minimum of several rounds, because a hash table that grows does not belong to a request.
fn least<S>(runtime: &Runtime, service: &S, values: &[HeaderValue]) -> u64
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let rounds = values.iter().map(|value| request(runtime, service, value));
    rounds.map(|one| one.count_total).min().unwrap()
}

#[test]
fn a_cached_token_allocates_no_more_than_a_layer_that_inserts_an_extension() {
    let (runtime, server) = (runtime(), server());
    let token = usual(&server).sign();
    let values = vec![authorization(&token); 5];
    let mark = router().layer(tower::layer::layer_fn(|inner| Mark(inner, "mark".into())));
    let api = router().layer(layer(&server));
    request(&runtime, &api, &values[0]);
    let (floor, warm) = (
        least(&runtime, &mark, &values),
        least(&runtime, &api, &values),
    );
    assert!(floor > 10 && warm <= floor + 2, "{warm} and {floor}");

    // The length of the token does not matter.
    let long = usual(&server).with_claim("note", "x".repeat(5000)).sign();
    let long = vec![authorization(&long); 5];
    request(&runtime, &api, &long[0]);
    let bytes = |values: &[HeaderValue]| request(&runtime, &api, &values[1]).bytes_total;
    assert_eq!(least(&runtime, &api, &long), warm);
    assert_eq!(bytes(&long), bytes(&values));
}

#[test]
fn verifying_a_token_allocates_little() {
    let (runtime, server) = (runtime(), server());
    let tokens: Vec<_> = (0..8)
        .map(|_| authorization(&usual(&server).sign()))
        .collect();
    for (name, layer) in [
        ("remembering", layer(&server)),
        ("not remembering", layer(&server).without_token_cache()),
    ] {
        let (none, api) = (router(), router().layer(layer));
        request(&runtime, &api, &authorization(&usual(&server).sign()));
        let (floor, cold) = (
            least(&runtime, &none, &tokens),
            least(&runtime, &api, &tokens),
        );
        assert!(cold <= floor + 24, "{name}: {cold} and {floor}");
    }
}

#[test]
fn claims_of_an_application_type_allocate_nothing_on_a_cache_hit() {
    let (runtime, server) = (runtime(), server());
    let value = authorization(&usual(&server).sign());
    let of = |layer: BearerLayer| {
        let api = router().layer(layer.with_claims::<serde_json::Value>());
        request(&runtime, &api, &value);
        least(&runtime, &api, &[value.clone(), value.clone()])
    };
    let plain = router().layer(layer(&server));
    request(&runtime, &plain, &value);
    let plain = least(&runtime, &plain, &[value.clone(), value.clone()]);
    assert_eq!(of(layer(&server)), plain);
    let anew = of(layer(&server).without_token_cache());
    assert!(anew > plain + 20, "{anew} and {plain}");
}

#[test]
fn a_cached_token_takes_about_a_kilobyte_and_the_layer_reports_it() {
    const TOKENS: usize = 1500;
    let (runtime, server) = (runtime(), server());
    let layer = layer(&server);
    let api = layer.layer(tower::service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    let one = usual(&server);
    request(&runtime, &api, &authorization(&one.clone().sign()));
    let tokens: Vec<_> = (0..TOKENS)
        .map(|number| {
            let mint = one
                .clone()
                .with_claim("jti", format!("0b6f7f0e-9d37-{number:022}"));
            // Audiences of either form, and strings that cannot share the buffer of the signed text.
            let mint = match number % 4 {
                0 => mint.with_audience(json!([AUDIENCE, "https://x.example.test"])),
                1 => mint.with_raw_claim("sub", r#""5c2b1c1e\u002d7c1b-4f6e-9d37-0d0000000012""#),
                _ => mint,
            };
            authorization(&mint.sign())
        })
        .collect();
    let held: i64 = tokens
        .iter()
        .map(|token| request(&runtime, &api, token).bytes_current)
        .sum();
    let held = usize::try_from(held).unwrap();
    assert!(held / TOKENS <= 1150, "{} bytes per token", held / TOKENS);
    let told = format!("{layer:?}");
    let told = told.split("bytes: ").nth(1).unwrap();
    let told: usize = told.split(',').next().unwrap().parse().unwrap();
    let (least, most) = (told * 8 / 10, told * 11 / 10);
    assert!(
        (least..most).contains(&held),
        "{held} bytes are used, {told} bytes are reported"
    );
}
