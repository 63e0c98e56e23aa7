//! Credentials that change, and assertions for a hostile server, at the introspection endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::{Endpoint, TestClient};
use tower_oauth::{AuthorizationServer, BearerLayer, Client, CredentialSource, SigningKey};

use super::{P256, SECRET, api_as, assertion, sent_to};
use crate::support::api::{self, AUDIENCE, Outcome, api, good, present};
use crate::support::logs::Logs;

const HOSTILE: &str = "https://evil.example.test";
const LONG_SECRET: &str = "a secret of forty bytes, more than HS256";

/// Returns these texts one after the other, the last one for ever.
fn changing(texts: Vec<String>) -> CredentialSource {
    let reads = Arc::new(AtomicUsize::new(0));
    CredentialSource::from_fn(move || {
        let read = reads.fetch_add(1, Ordering::Relaxed);
        let text = texts.get(read).or_else(|| texts.last()).cloned();
        async move { text.ok_or_else(|| "no text".into()) }
    })
}

/// A server names the endpoint of an honest one, where the client is registered with the same key (RFC 10070 §5).
#[tokio::test]
async fn an_assertion_for_a_hostile_server_is_of_no_use_at_an_honest_one() {
    let key = SigningKey::from_jwk(P256).unwrap();
    let registered = [
        TestClient::private_key_jwt("api", key.public_jwk()),
        TestClient::client_secret_jwt("api", LONG_SECRET),
    ];
    let clients = [
        Client::private_key_jwt("api", key),
        Client::client_secret_jwt("api", LONG_SECRET),
    ];
    for (registered, client) in registered.into_iter().zip(clients) {
        let honest = api::server().add_client(registered);
        let token = good(&honest).opaque();
        let endpoint = format!("{}/introspect", honest.issuer());
        let metadata = Metadata::new(HOSTILE).with_introspection_endpoint(endpoint);
        let hostile = AuthorizationServer::new(HOSTILE)
            .unwrap()
            .with_clock(honest.clock())
            .with_back_channel(honest.back_channel())
            .with_metadata(metadata)
            .unwrap();
        let layer = BearerLayer::introspect(&hostile, client.clone(), AUDIENCE).unwrap();
        let outcome = present(&api(layer), &token).await.outcome();
        assert_eq!(outcome, Outcome::Misconfigured, "{client:?}");
        let requests = sent_to(&honest, Endpoint::Introspection);
        assert_eq!(requests.len(), 1);
        assert_eq!(assertion(&requests[0]).1["aud"], json!(HOSTILE));
        let api = api_as(&honest, client);
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    }
}

#[tokio::test]
async fn a_credential_that_changed_is_sent_once_more() {
    let server = api::server().add_client(TestClient::confidential("api", SECRET));
    let bearer = |expiry| {
        good(&server)
            .with_client("api")
            .with_expires_in(expiry)
            .opaque()
    };
    let (expired, renewed) = (bearer(-10), bearer(60));
    let texts = |texts: &[&str]| changing(texts.iter().map(|&text| text.to_owned()).collect());
    for (name, client, expected, sent) in [
        (
            "a renewed token",
            Client::bearer_token("api", texts(&[&expired, &renewed])),
            Outcome::Accepted,
            2,
        ),
        (
            "an expired token",
            Client::bearer_token("api", texts(&[&expired])),
            Outcome::Misconfigured,
            1,
        ),
        (
            "a replaced secret",
            Client::confidential("api", texts(&["old", SECRET])),
            Outcome::Accepted,
            2,
        ),
        (
            "two wrong secrets",
            Client::confidential_post("api", texts(&["old", "older", SECRET])),
            Outcome::Misconfigured,
            2,
        ),
    ] {
        server.clear_requests();
        let outcome = present(&api_as(&server, client), &good(&server).opaque()).await;
        assert_eq!(outcome.outcome(), expected, "{name}");
        let requests = sent_to(&server, Endpoint::Introspection);
        assert_eq!(requests.len(), sent, "{name}");
        assert!(requests.iter().all(|one| one.parameter("token").is_some()));
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_503_and_an_unusable_one_500() {
    let server = api::server().add_client(TestClient::confidential("api", SECRET));
    let token = good(&server).opaque();
    let missing = CredentialSource::file("/nonexistent/of/the/api");
    for (client, expected, event, reason) in [
        (
            Client::confidential("api", missing),
            Outcome::Unavailable,
            "introspection_failed",
            "/nonexistent/of/the/api",
        ),
        (
            Client::confidential("api", changing(vec!["two\nlines".to_owned()])),
            Outcome::Misconfigured,
            "introspection_misconfigured",
            "control characters",
        ),
    ] {
        let logs = Logs::default();
        let recording = logs.record_only(event);
        let outcome = present(&api_as(&server, client), &token).await.outcome();
        drop(recording);
        assert_eq!(outcome, expected, "{reason}");
        assert!(logs.text().contains(reason), "{reason}: {}", logs.text());
    }
    assert!(sent_to(&server, Endpoint::Introspection).is_empty());
}
