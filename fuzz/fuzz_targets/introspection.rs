//! Introspection responses: a request is accepted only if an independent parser also finds an acceptable token.
#![no_main]

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::{Layer as _, ServiceExt as _};
use tower_oauth::token::IntrospectionVerifier;
use tower_oauth::{AuthorizationServer, BearerLayer, Client};

use fixed_clock::{FixedClock, NOW};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;

static RESPONSE: LazyLock<Arc<Mutex<Bytes>>> = LazyLock::new(Arc::default);
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
});
static LAYER: LazyLock<BearerLayer> = LazyLock::new(|| {
    let endpoint = tower::service_fn(async |_: Request<Bytes>| {
        let response = RESPONSE.lock().unwrap().clone();
        let response = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .body(response);
        Ok::<_, Infallible>(response.unwrap())
    });
    let server = AuthorizationServer::new("https://id.example.com").unwrap();
    let server = server.with_clock(FixedClock).with_back_channel(endpoint);
    let client = Client::confidential("api", "secret");
    let verifier = IntrospectionVerifier::new(&server, client, "api").unwrap();
    let verifier = verifier
        .with_endpoint("https://id.example.com/introspect")
        .unwrap();
    BearerLayer::new(verifier)
});

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fuzz_target!(|data: &[u8]| {
    *RESPONSE.lock().unwrap() = Bytes::copy_from_slice(data);
    // A new token for each response, because results are cached.
    let number = COUNT.replace(COUNT.get() + 1);
    let service = LAYER.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(()))
    }));
    let request = Request::get("/").header("authorization", format!("Bearer t{number}"));
    let response = RUNTIME
        .block_on(service.oneshot(request.body(()).unwrap()))
        .unwrap();
    match response.status().as_u16() {
        200 => check(data),
        status => {
            assert!([401, 503].contains(&status), "{status}");
            assert_ne!(data, include_bytes!("../seeds/introspection/active"));
        }
    }
});

fn check(response: &[u8]) {
    let response: Value = serde_json::from_slice(response).unwrap();
    assert_eq!(response["active"], true);
    let has_audience = match &response["aud"] {
        Value::Array(many) => many.iter().any(|one| one == "api"),
        one => one == "api",
    };
    assert!(has_audience);
    assert!(
        response
            .get("iss")
            .is_none_or(|iss| iss == "https://id.example.com")
    );
    let time = |name: &str| response.get(name).map(|time| time.as_f64().unwrap());
    assert!(time("exp").is_none_or(|exp| exp.floor() + 30.0 > NOW as f64));
    for name in ["nbf", "iat"] {
        assert!(
            time(name).is_none_or(|begin| begin <= NOW as f64 + 31.0),
            "{name}"
        );
    }
    // The layer accepts no sender-constrained tokens.
    assert!(response.get("cnf").is_none());
    let token_type = response
        .get("token_type")
        .map(|value| value.as_str().unwrap());
    assert!(token_type.is_none_or(|value| value.eq_ignore_ascii_case("Bearer")));
    assert!(response.get("at_hash").is_none() && response.get("c_hash").is_none());
}
