//! Answers of an introspection endpoint: what lets a request through says so by itself, to any reader.
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

use still::{NOW, Still};

#[path = "support/still.rs"]
mod still;

static ANSWER: LazyLock<Arc<Mutex<Bytes>>> = LazyLock::new(Arc::default);
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
});
static LAYER: LazyLock<BearerLayer> = LazyLock::new(|| {
    let endpoint = tower::service_fn(async |_: Request<Bytes>| {
        let answer = ANSWER.lock().unwrap().clone();
        let answer = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .body(answer);
        Ok::<_, Infallible>(answer.unwrap())
    });
    let server = AuthorizationServer::new("https://id.example.com").unwrap();
    let server = server.with_clock(Still).with_back_channel(endpoint);
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
    *ANSWER.lock().unwrap() = Bytes::copy_from_slice(data);
    // A token of its own for each answer, or the one before would be remembered.
    let number = COUNT.replace(COUNT.get() + 1);
    let service = LAYER.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(()))
    }));
    let request = Request::get("/").header("authorization", format!("Bearer t{number}"));
    let answer = RUNTIME
        .block_on(service.oneshot(request.body(()).unwrap()))
        .unwrap();
    match answer.status().as_u16() {
        200 => check(data),
        status => {
            assert!([401, 503].contains(&status), "{status}");
            assert_ne!(data, include_bytes!("../seeds/introspection/active"));
        }
    }
});

fn check(answer: &[u8]) {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    assert_eq!(answer["active"], true);
    let named = match &answer["aud"] {
        Value::Array(many) => many.iter().any(|one| one == "api"),
        one => one == "api",
    };
    assert!(named);
    assert!(
        answer
            .get("iss")
            .is_none_or(|iss| iss == "https://id.example.com")
    );
    let time = |name: &str| answer.get(name).map(|time| time.as_f64().unwrap());
    assert!(time("exp").is_none_or(|exp| exp.floor() + 30.0 > NOW as f64));
    for name in ["nbf", "iat"] {
        assert!(
            time(name).is_none_or(|begin| begin <= NOW as f64 + 31.0),
            "{name}"
        );
    }
    // Nothing here checks what a token is bound to.
    assert!(answer.get("cnf").is_none());
    let kind = answer.get("token_type").map(|kind| kind.as_str().unwrap());
    assert!(kind.is_none_or(|kind| kind.eq_ignore_ascii_case("Bearer")));
    assert!(answer.get("at_hash").is_none() && answer.get("c_hash").is_none());
}
