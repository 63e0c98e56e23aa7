//! Step-up authentication (`Policy::and_acr`, `Policy::and_max_age`, RFC 9470).

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower_oauth::bearer::{Policy, Refusal};
use tower_oauth::testing::{TestClient, TestServer, TokenMint};
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{BearerLayer, Client, ConfigError, ScopeLayer};

use crate::support::api::{self, Answer, Outcome, ask, good, layer, present, present_at, server};

const NOW: i64 = 1_800_000_000;

fn api(server: &TestServer) -> Router {
    routes(layer(server))
}

fn routes(layer: BearerLayer) -> Router {
    let acr = Policy::acr(["phrh", "phr"]).unwrap();
    let age = Policy::max_age(Duration::from_secs(300)).unwrap();
    let both = acr.clone().and_max_age(Duration::from_secs(300)).unwrap();
    let [acr, age, both] = [acr, age, both].map(ScopeLayer::new);
    let route = || get(async || "in");
    Router::new()
        .route("/", route())
        .route("/acr", route().layer(acr))
        .route("/age", route().layer(age))
        .route("/both", route().layer(both.clone()))
        .route(
            "/pay",
            route().layer((ScopeLayer::all("pay").unwrap(), both)),
        )
        .layer(layer)
}

fn signed_in(server: &TestServer, acr: Value, auth_time: Value) -> TokenMint {
    let token = good(server).with_claim("acr", acr);
    token.with_claim("auth_time", auth_time)
}

fn is_challenged(answer: &Answer) -> bool {
    let stepped = answer.status == StatusCode::UNAUTHORIZED
        && matches!(
            answer.refusal,
            Some(Refusal::InsufficientUserAuthentication { .. })
        );
    if stepped {
        let challenge = answer.challenge();
        assert_eq!(
            challenge.parameter("error"),
            Some("insufficient_user_authentication")
        );
    } else {
        assert_eq!(answer.outcome(), Outcome::Accepted);
    }
    stepped
}

#[tokio::test]
async fn the_challenge_contains_acr_values_and_max_age() {
    let server = server();
    let api = api(&server);
    let token = good(&server).sign();
    let description = "error=\"insufficient_user_authentication\", \
                       error_description=\"a more recent or stronger authentication is required\"";
    for (path, parameters) in [
        ("/acr", "acr_values=\"phrh phr\""),
        ("/age", "max_age=\"300\""),
        ("/both", "acr_values=\"phrh phr\", max_age=\"300\""),
    ] {
        let answer = present_at(&api, path, &token).await;
        assert!(is_challenged(&answer), "{path}");
        assert_eq!(
            answer.headers[WWW_AUTHENTICATE],
            format!("Bearer realm=\"api\", {description}, {parameters}")
        );
    }
    assert!(!is_challenged(&present(&api, &token).await));
}

#[tokio::test]
async fn a_missing_old_malformed_or_future_authentication_is_rejected() {
    let server = server();
    let api = api(&server);
    let good_acr = || json!("phr");
    for (name, path, acr, auth_time, challenged) in [
        ("strong and recent", "/both", good_acr(), json!(NOW), false),
        ("the preferred one", "/acr", json!("phrh"), json!(0), false),
        ("another acr", "/acr", json!("pwd"), json!(NOW), true),
        ("a prefix", "/acr", json!("ph"), json!(NOW), true),
        ("both at once", "/acr", json!("phrh phr"), json!(NOW), true),
        ("a list", "/acr", json!(["phr"]), json!(NOW), true),
        ("null", "/acr", Value::Null, json!(NOW), true),
        ("empty", "/acr", json!(""), json!(NOW), true),
        ("another case", "/acr", json!("PHR"), json!(NOW), true),
        ("just within", "/age", good_acr(), json!(NOW - 330), false),
        ("too old", "/age", good_acr(), json!(NOW - 331), true),
        ("far too old", "/age", good_acr(), json!(0), true),
        ("a string", "/age", good_acr(), json!(NOW.to_string()), true),
        ("a little ahead", "/age", good_acr(), json!(NOW + 30), false),
        ("ahead", "/age", good_acr(), json!(NOW + 31), true),
        ("far ahead", "/age", good_acr(), json!(1e300), true),
        ("negative", "/age", good_acr(), json!(-1), true),
        ("null", "/age", good_acr(), Value::Null, true),
        ("a list", "/age", good_acr(), json!([NOW]), true),
        ("only strong", "/both", good_acr(), json!(0), true),
        ("only recent", "/both", json!("pwd"), json!(NOW), true),
    ] {
        let token = signed_in(&server, acr, auth_time).sign();
        let answer = present_at(&api, path, &token).await;
        assert_eq!(is_challenged(&answer), challenged, "{name}");
        // Other routes do not require a step-up.
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    }
    for (name, token) in [
        ("no acr", good(&server).with_claim("auth_time", NOW)),
        ("no auth_time", good(&server).with_claim("acr", "phr")),
    ] {
        let answer = present_at(&api, "/both", &token.sign()).await;
        assert!(is_challenged(&answer), "{name}");
    }
}

#[tokio::test]
async fn the_age_is_measured_from_auth_time_by_the_clock_of_the_layer() {
    let server = server();
    let api = api(&server);
    let sign_in = server.clock().unix_seconds();
    let refreshed = || {
        let token = signed_in(&server, json!("phr"), json!(sign_in));
        token.sign()
    };
    assert!(!is_challenged(
        &present_at(&api, "/age", &refreshed()).await
    ));
    server.clock().advance(Duration::from_secs(330));
    assert!(!is_challenged(
        &present_at(&api, "/age", &refreshed()).await
    ));
    server.clock().advance(Duration::from_secs(1));
    // A new token of an old authentication: `iat` is now, and is not used.
    assert!(is_challenged(&present_at(&api, "/age", &refreshed()).await));
}

#[tokio::test]
async fn acr_and_auth_time_are_read_from_the_introspection_response() {
    let server = server().add_client(TestClient::confidential("api", "secret"));
    let client = Client::confidential("api", "secret");
    let handle = server.authorization_server();
    let api = routes(BearerLayer::introspect(&handle, client, api::AUDIENCE).unwrap());
    for (name, auth_time, acr, challenged) in [
        ("strong and recent", NOW, "phr", false),
        ("too old", NOW - 331, "phr", true),
        ("another acr", NOW, "pwd", true),
    ] {
        let token = signed_in(&server, json!(acr), json!(auth_time)).opaque();
        // The second time the introspection response is cached, and still checked.
        for _ in 0..2 {
            let answer = present_at(&api, "/both", &token).await;
            assert_eq!(is_challenged(&answer), challenged, "{name}");
        }
    }
    let token = signed_in(&server, json!("phr"), json!(NOW)).with_expires_in(3600);
    let token = token.opaque();
    assert!(!is_challenged(&present_at(&api, "/age", &token).await));
    server.clock().advance(Duration::from_secs(331));
    assert!(is_challenged(&present_at(&api, "/age", &token).await));
}

#[tokio::test]
async fn the_requirement_is_revealed_only_to_callers_with_a_valid_token() {
    let server = server();
    let api = api(&server);
    let bad = good(&server).with_expires_in(-99).sign();
    let expired = present_at(&api, "/both", &bad).await;
    assert_eq!(expired.outcome(), Outcome::InvalidToken(Why::Expired));
    assert_eq!(expired.challenge().parameter("acr_values"), None);
    let request = Request::get("/both").body(Body::empty()).unwrap();
    let anonymous = ask(&api, request).await;
    assert_eq!(anonymous.outcome(), Outcome::NoCredentials);
    assert_eq!(anonymous.challenge().parameter("acr_values"), None);
    // The outer one of a scope layer and a step-up layer rejects first.
    let weak = present_at(&api, "/pay", &good(&server).sign()).await;
    assert_eq!(weak.outcome(), Outcome::InsufficientScope);
    let scoped = good(&server).with_scope("pay").sign();
    assert!(is_challenged(&present_at(&api, "/pay", &scoped).await));
    let strong = signed_in(&server, json!("phr"), json!(NOW)).with_scope("pay");
    assert!(!is_challenged(
        &present_at(&api, "/pay", &strong.sign()).await
    ));
}

#[tokio::test]
async fn a_step_up_without_an_outer_layer_is_500_and_for_grpc_unauthenticated() {
    let server = server();
    let step_up = ScopeLayer::new(Policy::acr(["phr"]).unwrap());
    let alone = Router::new().route("/", get(async || "in").layer(step_up.clone()));
    let strong = signed_in(&server, json!("phr"), json!(NOW)).sign();
    assert_eq!(
        present(&alone, &strong).await.outcome(),
        Outcome::Misconfigured
    );
    let method = post(async || "in").layer(step_up);
    let api = Router::new()
        .route("/shop.Orders/Pay", method)
        .layer(layer(&server));
    let request = Request::post("/shop.Orders/Pay")
        .header(CONTENT_TYPE, "application/grpc")
        .header(AUTHORIZATION, format!("Bearer {}", good(&server).sign()));
    let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers["grpc-status"], "16");
    assert!(answer.challenge().parameter("acr_values").is_some());
}

#[test]
fn values_that_are_invalid_in_a_challenge_are_rejected() {
    let empty: [&str; 0] = [];
    for refused in [
        Policy::acr(empty),
        Policy::acr([""]),
        Policy::acr(["phr", "a b"]),
        Policy::acr(["a\"b"]),
        Policy::acr(["a\\b"]),
        Policy::acr(["caf\u{e9}"]),
        Policy::acr(["a\r\nb"]),
        Policy::max_age(Duration::ZERO),
        Policy::max_age(Duration::from_millis(999)),
    ] {
        assert!(
            matches!(refused, Err(ConfigError::Setting { .. })),
            "{refused:?}"
        );
    }
    let urn = "https://refeds.org/profile/mfa";
    assert!(Policy::acr([urn]).is_ok());
    assert!(Policy::max_age(Duration::MAX).is_ok());
}
