//! Keys that were replaced under the same `kid`, and the age of keys and results after the machine was suspended.

use std::time::Duration;

use axum::Router;
use tower_oauth::testing::{Endpoint, TestServer, TestSigningKey};
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{Algorithm, BearerLayer, Client};

use crate::support::api::{AUDIENCE, Outcome, api, good, layer, present, server, soon};

const SIGNATURE: Outcome = Outcome::InvalidToken(Why::Signature);

/// A server whose key set was fetched by the API, and then its key replaced by another one with the same `kid`.
async fn replaced(server: &TestServer) -> (Router, TestSigningKey) {
    let old = TestSigningKey::generate(Algorithm::Es256).with_kid("k");
    let new = TestSigningKey::generate(Algorithm::Es256).with_kid("k");
    server.publish_key(&old);
    let api = api(layer(server));
    let token = good(server).with_key(&old).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.remove_key("k");
    server.publish_key(&new);
    (api, new)
}

/// Waits for a fetch that runs in the background.
async fn fetched(server: &TestServer, times: usize) {
    soon(server.wait_for(Endpoint::KeySet, times)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.count(Endpoint::KeySet), times);
}

#[tokio::test]
async fn a_key_replaced_under_the_same_kid_is_fetched_after_the_first_invalid_signature() {
    let server = server();
    let (api, new) = replaced(&server).await;
    let token = good(&server).with_key(&new).sign();
    // The request does not wait.
    assert_eq!(present(&api, &token).await.outcome(), SIGNATURE);
    fetched(&server, 2).await;
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn only_a_token_that_is_otherwise_for_this_api_causes_the_fetch() {
    let server = server();
    let (api, new) = replaced(&server).await;
    let bad = || good(&server).with_key(&new);
    for token in [
        bad().with_audience("https://other.example.test"),
        bad().with_issuer("https://other.example.test"),
        bad().with_expires_in(-60),
        bad().with_header("typ", "JWT"),
    ] {
        assert_ne!(
            present(&api, &token.sign()).await.outcome(),
            Outcome::Accepted
        );
    }
    fetched(&server, 1).await;
}

#[tokio::test]
async fn invalid_signatures_cause_one_fetch_while_the_key_stays_the_same() {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    let kid = server.key(Algorithm::Es256).kid().to_owned();
    let forger = TestSigningKey::generate(Algorithm::Es256).with_kid(&kid);
    for _ in 0..10 {
        let forged = good(&server).with_key(&forger).sign();
        assert_eq!(present(&api, &forged).await.outcome(), SIGNATURE);
        fetched(&server, 2).await;
        server.clock().advance(Duration::from_secs(30));
    }
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
}

/// The wall clock jumps ahead, and the monotonic clock of Linux does not: the machine was suspended.
#[tokio::test]
async fn after_a_suspension_keys_and_results_are_fetched_again() {
    let server = server();
    let api = api(layer(&server));
    let old = server.key(Algorithm::Es256).kid().to_owned();
    let token = good(&server).with_expires_in(86_400).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.rotate_keys();
    server.remove_key(&old);
    server.clock().adjust_wall_clock(-3600);
    server.clock().adjust_wall_clock(3600 + 599);
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "within its lifetime"
    );
    server.clock().adjust_wall_clock(1);
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(outcome, Outcome::InvalidToken(Why::UnknownKey));
    // The next hour does not fetch it for each request.
    assert!(server.count(Endpoint::KeySet) <= 3);

    let client = Client::confidential("api", "s3cret");
    let server = crate::support::api::server().add_client(
        tower_oauth::testing::TestClient::confidential("api", "s3cret"),
    );
    let layer = BearerLayer::introspect(&server.authorization_server(), client, AUDIENCE).unwrap();
    let api = crate::support::api::api(layer);
    let token = good(&server).with_expires_in(86_400).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.revoke(&token);
    server.clock().adjust_wall_clock(59);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().adjust_wall_clock(1);
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(outcome, Outcome::InvalidToken(Why::Inactive));
}
