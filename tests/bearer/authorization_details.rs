//! Authorization details of access tokens (RFC 9396 §9): what handlers read, and what satisfies a policy.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tower_oauth::bearer::{Policy, Refusal};
use tower_oauth::protocol::AuthorizationDetail;
use tower_oauth::testing::{TestClient, TestServer};
use tower_oauth::token::{Audience, IntrospectionVerifier, JwtVerifier, Verifier};
use tower_oauth::{BearerLayer, Client, ScopeLayer, VerifiedToken};

use crate::support::api::{self, AUDIENCE, Outcome, good, present_at};

const LOCATION: &str = "https://api.example.test/payments";

fn server() -> TestServer {
    api::server().add_client(TestClient::confidential("api", "secret"))
}

/// An API at this audience, for JWTs and opaque tokens: `/pay` requires a detail, `/` lists what it may read.
fn apis(server: &TestServer, audience: &Audience) -> [Router; 2] {
    let client = Client::confidential("api", "secret");
    let server = server.authorization_server();
    let opaque = IntrospectionVerifier::new(&server, client, audience.clone()).unwrap();
    let jwt = JwtVerifier::new(&server, audience.clone()).unwrap();
    [Verifier::from(jwt), Verifier::from(opaque)].map(|verifier| {
        let may_initiate = Policy::authorization_detail("payment", permits_initiation).unwrap();
        let pay = get(async || "paid").layer(ScopeLayer::new(may_initiate));
        let list = get(async |token: VerifiedToken| token.authorization_details().to_json());
        Router::new()
            .route("/pay", pay)
            .route("/", list)
            .layer(BearerLayer::new(verifier))
    })
}

fn permits_initiation(detail: &AuthorizationDetail) -> bool {
    let actions = detail.get("actions").and_then(Value::as_array);
    actions.is_some_and(|actions| actions.contains(&json!("initiate")))
}

fn payment() -> Value {
    json!({ "type": "payment", "actions": ["initiate", "status"], "amount": 9_007_199_254_740_993_u64 })
}

fn with(mut detail: Value, name: &str, value: Value) -> Value {
    detail[name] = value;
    detail
}

/// RFC 9396 §2.2, §9.1, §9.2: with JWTs and introspection alike.
#[tokio::test]
async fn only_a_well_formed_detail_of_the_type_that_is_meant_for_this_api_satisfies_a_policy() {
    let server = server();
    let apis = apis(&server, &AUDIENCE.into());
    let elsewhere = json!(["https://other.example.test"]);
    let narrower = with(payment(), "actions", json!(["status"]));
    for (name, claim, satisfies, readable) in [
        ("granted", json!([payment()]), true, 1),
        (
            "among others",
            json!([{"type": "account"}, payment()]),
            true,
            2,
        ),
        ("granted narrower", json!([narrower]), false, 1),
        (
            "an unknown type",
            json!([with(payment(), "type", json!("payments"))]),
            false,
            1,
        ),
        (
            "here",
            json!([with(payment(), "locations", json!([LOCATION, AUDIENCE]))]),
            true,
            1,
        ),
        (
            "here in the other spelling",
            json!([with(
                payment(),
                "locations",
                json!([format!("{AUDIENCE}/")])
            )]),
            true,
            1,
        ),
        (
            "at another API",
            json!([with(payment(), "locations", elsewhere.clone())]),
            false,
            0,
        ),
        (
            "narrower here, wider at another API",
            json!([narrower, with(payment(), "locations", elsewhere)]),
            false,
            1,
        ),
        (
            "nowhere",
            json!([with(payment(), "locations", json!([]))]),
            false,
            0,
        ),
        (
            "below the audience",
            json!([with(payment(), "locations", json!([LOCATION]))]),
            false,
            0,
        ),
        (
            "malformed locations",
            json!([with(payment(), "locations", json!(AUDIENCE))]),
            false,
            0,
        ),
        (
            "one without a type",
            json!([payment(), {"actions": ["initiate"]}]),
            false,
            0,
        ),
        ("an object", payment(), false, 0),
        ("a text", json!(json!([payment()]).to_string()), false, 0),
        ("null", Value::Null, false, 0),
    ] {
        let token = good(&server).with_authorization_details(claim);
        for (api, token) in apis.iter().zip([token.sign(), token.opaque()]) {
            let answer = present_at(api, "/pay", &token).await;
            assert_eq!(answer.outcome() == Outcome::Accepted, satisfies, "{name}");
            let read = present_at(api, "/", &token).await;
            assert_eq!(read.outcome(), Outcome::Accepted, "{name}");
            let read: Vec<Value> = serde_json::from_str(&read.body).unwrap();
            assert_eq!(read.len(), readable, "{name}");
        }
    }
    let token = good(&server).with_authorization_details(json!([payment()]));
    let read = present_at(&apis[0], "/", &token.sign()).await;
    assert_eq!(read.body, json!([payment()]).to_string());
    let twice = good(&server)
        .with_authorization_details(json!([payment()]))
        .add_raw_claim("authorization_details", "[]");
    let twice = present_at(&apis[0], "/", &twice.sign()).await;
    assert!(matches!(twice.outcome(), Outcome::InvalidToken(_)));
}

/// RFC 6750 §3.1: the request requires more than the token grants. RFC 9396 has no code of its own.
#[tokio::test]
async fn a_missing_detail_is_403_insufficient_scope_without_a_scope() {
    let server = server();
    let [api, _] = apis(&server, &AUDIENCE.into());
    let answer = present_at(&api, "/pay", &good(&server).with_scope("payment").sign()).await;
    assert_eq!(answer.outcome(), Outcome::InsufficientScope);
    let challenge = answer.challenge();
    assert_eq!(challenge.parameter("scope"), None);
    assert_eq!(
        challenge.parameter("error_description"),
        Some("the access token lacks a required authorization detail")
    );
    assert!(matches!(answer.refusal, Some(Refusal::Policy { .. })));
    assert!(Policy::authorization_detail("", permits_initiation).is_err());
    let policy = Policy::all("pay").unwrap();
    let policy = policy.and_authorization_detail("payment", permits_initiation);
    assert_eq!(
        policy.unwrap().to_string(),
        "scope pay; authorization detail of type payment"
    );
}

/// The locations of an API are those that it is configured with.
#[tokio::test]
async fn locations_are_compared_with_the_configured_audiences() {
    let server = server();
    let claim = json!([with(payment(), "locations", json!([LOCATION]))]);
    for (audience, client, expected) in [
        (
            Audience::from([AUDIENCE, LOCATION]),
            "shop",
            Outcome::Accepted,
        ),
        (Audience::Unchecked, "shop", Outcome::InsufficientScope),
        (
            Audience::clients(["shop"]),
            "shop",
            Outcome::InsufficientScope,
        ),
    ] {
        let apis = apis(&server, &audience);
        let token = good(&server).with_client(client);
        let token = match audience {
            Audience::Clients(_) => token.without_claim("aud"),
            _ => token,
        };
        let token = token.with_authorization_details(claim.clone());
        for (api, token) in apis.iter().zip([token.sign(), token.opaque()]) {
            let answer = present_at(api, "/pay", &token).await;
            assert_eq!(answer.outcome(), expected, "{audience:?}");
        }
    }
}
