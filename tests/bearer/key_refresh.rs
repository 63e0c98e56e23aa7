//! When and how often keys are fetched, and how requests behave in the meantime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, Request, Response};
use tokio::task::JoinHandle;
use tower::{Service as _, service_fn};
use tower_oauth::issuer::KeySetHealth;
use tower_oauth::testing::{Endpoint, Fault, TestServer, TestSigningKey};
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{Algorithm, AuthorizationServer};

use crate::support::api::{
    Answer, Outcome, api, fetches, good, layer, layer_of, present, server, settle, soon, until,
};

const UNKNOWN: Outcome = Outcome::InvalidToken(Why::UnknownKey);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns an API that has fetched its keys, and a token that is valid for a day.
async fn warm(server: &TestServer) -> (AuthorizationServer, Router, String) {
    let handle = server.authorization_server();
    let api = api(layer_of(&handle));
    let token = good(server).with_expires_in(86_400).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(server.count(Endpoint::KeySet), 1);
    soon(server.clock().wait_for_sleepers(1)).await;
    (handle, api, token)
}

/// Returns a token with an unknown key id. Its signature is never checked.
fn unknown_key(server: &TestServer, number: usize) -> String {
    good(server)
        .with_expires_in(86_400)
        .with_hmac("fast to sign")
        .with_header("alg", "ES256")
        .with_header("kid", format!("unknown-{number}"))
        .sign()
}

fn spawn(api: &Router, token: &str) -> JoinHandle<Answer> {
    let (api, token) = (api.clone(), token.to_owned());
    tokio::spawn(async move { present(&api, &token).await })
}

/// Delays the next key fetch by 100 ms.
fn hold_next_fetch(server: &TestServer) {
    server.fail_once(Endpoint::KeySet, Fault::delay(Duration::from_millis(100)));
}

/// Sends 200 requests with a new key, all in flight before the key fetch gets its response.
async fn rush(
    server: &TestServer,
    api: &Router,
    before: Option<JoinHandle<Answer>>,
) -> Vec<Outcome> {
    let token = good(server).with_expires_in(86_400).sign();
    let asleep = server.clock().sleepers();
    if before.is_none() {
        hold_next_fetch(server);
    }
    let requests: Vec<_> = (0..200).map(|_| spawn(api, &token)).collect();
    // Each request has a timeout, the fetch has another one, and the server sleeps.
    let others = if before.is_none() { 2 } else { 0 };
    soon(server.clock().wait_for_sleepers(asleep + 200 + others)).await;
    drop(before.inspect(JoinHandle::abort));
    server.clock().advance(Duration::from_millis(100));
    let mut outcomes = Vec::new();
    for request in requests {
        outcomes.push(soon(request).await.unwrap().outcome());
    }
    outcomes
}

#[tokio::test]
async fn a_thousand_requests_on_a_cold_start_share_one_fetch() {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server).sign();
    hold_next_fetch(&server);
    let requests: Vec<_> = (0..1000).map(|_| spawn(&api, &token)).collect();
    soon(server.clock().wait_for_sleepers(1002)).await;
    server.clock().advance(Duration::from_millis(100));
    for request in requests {
        assert_eq!(soon(request).await.unwrap().outcome(), Outcome::Accepted);
    }
    assert_eq!(fetches(&server), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_requests_on_several_threads_share_one_fetch() {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server).sign();
    let requests: Vec<_> = (0..1000).map(|_| spawn(&api, &token)).collect();
    for request in requests {
        assert_eq!(soon(request).await.unwrap().outcome(), Outcome::Accepted);
    }
    assert_eq!(fetches(&server), (1, 1));
}

#[tokio::test]
async fn a_canceled_request_does_not_cancel_the_shared_fetch() {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server).sign();
    hold_next_fetch(&server);
    let first = spawn(&api, &token);
    soon(server.wait_for(Endpoint::KeySet, 1)).await;
    let second = spawn(&api, &token);
    soon(server.clock().wait_for_sleepers(4)).await;
    first.abort();
    assert!(soon(first).await.unwrap_err().is_cancelled());
    server.clock().advance(Duration::from_millis(100));
    assert_eq!(soon(second).await.unwrap().outcome(), Outcome::Accepted);
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

#[tokio::test]
async fn a_fetch_completes_even_if_all_requests_are_canceled() {
    let server = server();
    let handle = server.authorization_server();
    let api = api(layer_of(&handle));
    hold_next_fetch(&server);
    let only = spawn(&api, &good(&server).sign());
    soon(server.wait_for(Endpoint::KeySet, 1)).await;
    only.abort();
    assert!(soon(only).await.is_err());
    server.clock().advance(Duration::from_millis(100));
    until(|| handle.health().is_ready()).await;
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

#[tokio::test]
async fn a_request_with_a_new_key_waits_for_it_and_succeeds() {
    let server = server();
    let (_, api, old) = warm(&server).await;
    server.rotate_keys();
    let new = good(&server).sign();
    assert_eq!(present(&api, &new).await.outcome(), Outcome::Accepted);
    assert_eq!(present(&api, &old).await.outcome(), Outcome::Accepted);
    assert_eq!(server.count(Endpoint::KeySet), 2);
}

#[tokio::test]
async fn a_rotation_under_load_takes_one_fetch_and_fails_no_request() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    server.rotate_keys();
    assert_eq!(
        rush(&server, &api, None).await,
        vec![Outcome::Accepted; 200]
    );
    assert_eq!(server.count(Endpoint::KeySet), 2);
}

#[tokio::test]
async fn a_rotation_after_an_unknown_key_id_takes_one_fetch_and_fails_no_request() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    assert_eq!(
        present(&api, &unknown_key(&server, 0)).await.outcome(),
        UNKNOWN
    );
    server.clock().advance(secs(2));
    server.rotate_keys();
    assert_eq!(
        rush(&server, &api, None).await,
        vec![Outcome::Accepted; 200]
    );
    assert_eq!(
        server.count(Endpoint::KeySet),
        3,
        "one of them for the unknown key id"
    );
}

#[tokio::test]
async fn a_rotation_whose_first_request_is_canceled_takes_one_fetch_and_fails_no_other_request() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    server.rotate_keys();
    hold_next_fetch(&server);
    let first = spawn(&api, &good(&server).sign());
    soon(server.wait_for(Endpoint::KeySet, 2)).await;
    soon(server.clock().wait_for_sleepers(4)).await;
    assert_eq!(
        rush(&server, &api, Some(first)).await,
        vec![Outcome::Accepted; 200]
    );
    // The requests that joined the fetch in flight do not start another one.
    assert_eq!(server.count(Endpoint::KeySet), 2);
}

#[tokio::test]
async fn a_fetch_that_began_before_a_rotation_does_not_prove_that_a_key_is_unknown() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    let previous_key = server.key(Algorithm::Es256).public_jwk();
    server.fail_once(
        Endpoint::KeySet,
        Fault::member("keys", serde_json::json!([previous_key])),
    );
    hold_next_fetch(&server);
    let waiting = spawn(&api, &unknown_key(&server, 0));
    soon(server.wait_for(Endpoint::KeySet, 2)).await;
    server.rotate_keys();
    let fresh = spawn(&api, &good(&server).sign());
    soon(server.clock().wait_for_sleepers(5)).await;
    server.clock().advance(Duration::from_millis(100));
    assert_eq!(soon(fresh).await.unwrap().outcome(), Outcome::Accepted);
    assert_eq!(soon(waiting).await.unwrap().outcome(), UNKNOWN);
    assert_eq!(server.count(Endpoint::KeySet), 3);
}

#[tokio::test]
async fn ten_thousand_unknown_key_ids_cause_three_fetches_and_do_not_affect_valid_tokens() {
    let server = server();
    let (_, api, token) = warm(&server).await;
    for number in 0..10_000 {
        assert_eq!(
            present(&api, &unknown_key(&server, number)).await.outcome(),
            UNKNOWN
        );
        if number % 100 == 0 {
            assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        }
    }
    assert_eq!(server.count(Endpoint::KeySet), 1 + 3);
}

#[tokio::test]
async fn unknown_key_ids_cause_one_fetch_every_thirty_seconds() {
    let server = server();
    let (_, api, token) = warm(&server).await;
    for number in 0..10_000 {
        // Without budget it is 401 if a fetch within the last 30 seconds did not contain the key.
        let outcome = present(&api, &unknown_key(&server, number)).await.outcome();
        assert!([UNKNOWN, Outcome::Unavailable].contains(&outcome));
        if number % 100 == 0 {
            assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        }
        server.clock().advance(Duration::from_millis(30));
    }
    let fetches = server.count(Endpoint::KeySet) - 1;
    assert!((3 + 9..=3 + 10).contains(&fetches), "{fetches}");
}

#[tokio::test]
async fn a_thousand_concurrent_unknown_key_ids_cause_three_fetches() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    let requests: Vec<_> = (0..1000)
        .map(|number| spawn(&api, &unknown_key(&server, number)))
        .collect();
    for request in requests {
        assert_eq!(soon(request).await.unwrap().outcome(), UNKNOWN);
    }
    assert_eq!(server.count(Endpoint::KeySet), 1 + 3);
}

#[tokio::test]
async fn failed_fetches_use_up_the_budget_and_unknown_keys_are_then_503() {
    let server = server();
    let (handle, api, token) = warm(&server).await;
    server.clock().advance(secs(31));
    server.fail(Endpoint::KeySet, Fault::status(500));
    for number in 0..3 {
        assert_eq!(
            present(&api, &unknown_key(&server, number)).await.outcome(),
            Outcome::Unavailable
        );
        assert_eq!(server.count(Endpoint::KeySet), 2 + number);
    }
    // The last successful fetch is too old to prove that the key does not exist.
    for number in 3..100 {
        assert_eq!(
            present(&api, &unknown_key(&server, number)).await.outcome(),
            Outcome::Unavailable
        );
    }
    assert_eq!(server.count(Endpoint::KeySet), 4);
    assert_eq!(handle.health().failures, 3);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    // The bucket gains one fetch, whose result counts for 30 seconds.
    server.clear_faults(Endpoint::KeySet);
    server.clock().advance(secs(30));
    assert_eq!(
        present(&api, &unknown_key(&server, 100)).await.outcome(),
        UNKNOWN
    );
    server.clock().advance(secs(29));
    assert_eq!(
        present(&api, &unknown_key(&server, 101)).await.outcome(),
        UNKNOWN
    );
    assert_eq!(server.count(Endpoint::KeySet), 5);
}

#[tokio::test]
async fn a_known_key_never_waits_while_the_endpoint_hangs() {
    let server = server();
    let (_, api, token) = warm(&server).await;
    server.fail(Endpoint::KeySet, Fault::hang());
    let stuck = spawn(&api, &unknown_key(&server, 0));
    soon(server.wait_for(Endpoint::KeySet, 2)).await;
    for _ in 0..100 {
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    }
    assert!(!stuck.is_finished());
    soon(server.clock().wait_for_sleepers(3)).await;
    server.clock().advance(secs(2));
    let answer = soon(stuck).await.unwrap();
    assert_eq!(
        answer.outcome(),
        Outcome::Unavailable,
        "who waits, waits for two seconds"
    );
    // No request waits, during the lifetime of the set and beyond.
    for _ in 0..700 {
        server.clock().advance(secs(1));
        // Lets the background task and its fetch reach their timers.
        settle().await;
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    }
}

#[tokio::test]
async fn keys_are_refreshed_in_the_background_before_they_expire() {
    let server = server();
    let (handle, api, token) = warm(&server).await;
    server.clock().advance(secs(419));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(
        server.count(Endpoint::KeySet),
        1,
        "not before 70 % of ten minutes"
    );
    server.clock().advance(secs(61));
    soon(server.wait_for(Endpoint::KeySet, 2)).await;
    until(|| matches!(handle.health().keys, KeySetHealth::Fresh { age } if age.is_zero())).await;
    // It repeats as long as the server is in use.
    for round in 3..6 {
        soon(server.clock().wait_for_sleepers(1)).await;
        server.clock().advance(secs(480));
        soon(server.wait_for(Endpoint::KeySet, round)).await;
        until(|| matches!(handle.health().keys, KeySetHealth::Fresh { age } if age.is_zero()))
            .await;
    }
    // The metadata is fetched again after an hour at the earliest.
    assert_eq!(server.count(Endpoint::Metadata), 1);
}

#[tokio::test]
async fn the_background_task_ends_with_the_last_handle() {
    let server = server();
    let (handle, api, _) = warm(&server).await;
    drop((handle, api));
    server.clock().advance(secs(480));
    until(|| server.clock().sleepers() == 0).await;
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

#[tokio::test]
async fn a_failed_refresh_is_retried_with_back_off() {
    let server = server();
    let (handle, api, token) = warm(&server).await;
    server.fail(Endpoint::KeySet, Fault::status(500));
    server.clock().advance(secs(480));
    let mut failures = 1;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        until(|| handle.health().failures == failures).await;
        soon(server.clock().wait_for_sleepers(1)).await;
        // A tenth of each delay is jitter.
        let (most, rest) = (secs(wait).mul_f64(0.89), secs(wait).mul_f64(0.11));
        server.clock().advance(most);
        settle().await;
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        assert_eq!(handle.health().failures, failures, "{wait}");
        server.clock().advance(rest);
        failures += 1;
    }
    until(|| handle.health().failures == failures).await;
    soon(server.clock().wait_for_sleepers(1)).await;
    server.clear_faults(Endpoint::KeySet);
    server.clock().advance(secs(60));
    until(|| handle.health().failures == 0).await;
    assert!(handle.health().last_error.is_none());
}

#[tokio::test]
async fn keys_are_used_for_an_hour_beyond_their_lifetime_during_an_outage() {
    let server = server();
    let (handle, api, token) = warm(&server).await;
    assert!(matches!(handle.health().keys, KeySetHealth::Fresh { .. }));
    server.fail(Endpoint::KeySet, Fault::disconnect());
    server.fail(Endpoint::Metadata, Fault::disconnect());
    let steps = [
        (599, "fresh", Outcome::Accepted),
        (1, "stale", Outcome::Accepted),
        (3599, "stale", Outcome::Accepted),
        (1, "expired", Outcome::Unavailable),
        (86_400, "expired", Outcome::Unavailable),
    ];
    for (advance, state, outcome) in steps {
        server.clock().advance(secs(advance));
        if advance == 86_400 {
            let token = good(&server).sign();
            assert_eq!(present(&api, &token).await.outcome(), outcome, "{state}");
        } else {
            assert_eq!(present(&api, &token).await.outcome(), outcome, "{state}");
        }
        let health = handle.health();
        let seen = match health.keys {
            KeySetHealth::Fresh { .. } => "fresh",
            KeySetHealth::Stale { .. } => "stale",
            KeySetHealth::Expired { .. } => "expired",
            _ => "empty",
        };
        assert_eq!(seen, state);
        assert_eq!(health.is_ready(), state != "expired");
    }
    assert!(handle.health().failures > 0 && handle.health().last_error.is_some());
    server.clear_faults(Endpoint::KeySet);
    server.clear_faults(Endpoint::Metadata);
    server.clock().advance(secs(1));
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
    assert!(handle.health().is_ready() && handle.health().failures == 0);
}

#[tokio::test]
async fn without_an_outage_limit_requests_are_503_when_the_keys_expire() {
    let server = server();
    let handle = server
        .authorization_server()
        .with_outage_limit(Duration::ZERO)
        .unwrap();
    let api = api(layer_of(&handle));
    let token = good(&server).with_expires_in(86_400).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.fail(Endpoint::KeySet, Fault::status(503));
    server.clock().advance(secs(599));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(secs(1));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Unavailable);
}

#[tokio::test]
async fn a_cold_start_during_an_outage_recovers() {
    let server = server();
    let handle = server.authorization_server();
    let api = api(layer_of(&handle));
    let token = good(&server).with_expires_in(86_400).sign();
    assert_eq!(handle.health().keys, KeySetHealth::Empty);
    assert!(!handle.health().is_ready());
    server.fail(Endpoint::Metadata, Fault::disconnect());
    let answer = present(&api, &token).await;
    assert_eq!(answer.outcome(), Outcome::Unavailable);
    assert_eq!(answer.headers[RETRY_AFTER], "1");
    assert!(soon(handle.ready()).await.is_err());
    // Requests shortly after share the failure. Without requests there is no fetch.
    for _ in 0..100 {
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Unavailable);
    }
    assert_eq!(server.requests().len(), 1);
    server.clock().advance(secs(3600));
    settle().await;
    assert_eq!(server.requests().len(), 1);
    // A malformed token is rejected without keys.
    assert_eq!(
        present(&api, "malformed").await.outcome(),
        Outcome::InvalidToken(Why::Malformed)
    );
    server.clear_faults(Endpoint::Metadata);
    server.fail(Endpoint::KeySet, Fault::status(500));
    for _ in 0..100 {
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable);
    }
    assert_eq!(server.count(Endpoint::KeySet), 1);
    server.clear_faults(Endpoint::KeySet);
    server.clock().advance(Duration::from_millis(250));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    soon(handle.ready()).await.unwrap();
}

#[tokio::test]
async fn ready_fetches_once_and_layers_use_the_result() {
    let server = server();
    let handle = server.authorization_server();
    soon(handle.ready()).await.unwrap();
    soon(handle.ready()).await.unwrap();
    assert_eq!(
        present(&api(layer_of(&handle)), &good(&server).sign())
            .await
            .outcome(),
        Outcome::Accepted
    );
    assert_eq!(fetches(&server), (1, 1));
}

#[tokio::test]
async fn a_fetch_from_a_server_that_never_responds_times_out() {
    let server = server();
    let handle = server.authorization_server();
    server.fail(Endpoint::KeySet, Fault::hang());
    let ready = tokio::spawn({
        let handle = handle.clone();
        async move { handle.ready().await }
    });
    soon(server.wait_for(Endpoint::KeySet, 1)).await;
    soon(server.clock().wait_for_sleepers(1)).await;
    server.clock().advance(secs(5));
    let error = soon(ready).await.unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no response within the time limit"),
        "{error}"
    );
    // A request waits at most two seconds for it.
    let request = spawn(&api(layer_of(&handle)), &good(&server).sign());
    server.clock().advance(secs(1));
    soon(server.clock().wait_for_sleepers(1)).await;
    until(|| {
        server.clock().advance(Duration::from_millis(100));
        request.is_finished()
    })
    .await;
    assert_eq!(soon(request).await.unwrap().outcome(), Outcome::Unavailable);
}

#[tokio::test]
async fn the_lifetime_of_keys_follows_cache_control_within_a_minute_and_an_hour() {
    for (header, life) in [
        ("max-age=300", 300),
        ("public, MAX-AGE=300, must-revalidate", 300),
        ("max-age=0", 60),
        ("no-store", 60),
        ("no-cache", 60),
        ("max-age=-1", 60),
        ("max-age=1e9", 60),
        ("max-age=soon", 60),
        ("max-age=", 60),
        ("max-age=NaN", 60),
        ("max-age=1000000000000000000", 3600),
        ("max-age=18446744073709551616", 3600),
        ("s-maxage=5", 600),
        ("public", 600),
        (",,;=\"", 600),
    ] {
        let server = server();
        server.fail(
            Endpoint::KeySet,
            Fault::header(CACHE_CONTROL, HeaderValue::from_static(header)),
        );
        let (handle, _api, _) = warm(&server).await;
        server.clock().advance(secs(life * 7 / 10 - 1));
        settle().await;
        assert_eq!(server.count(Endpoint::KeySet), 1, "{header}");
        server.clock().advance(secs(life / 10 + 1));
        soon(server.wait_for(Endpoint::KeySet, 2)).await;
        drop(handle);
    }
}

#[tokio::test]
async fn a_shorter_lifetime_takes_effect_immediately() {
    let server = server();
    let long = Fault::header(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    server.fail_once(Endpoint::KeySet, long);
    let (_, api, token) = warm(&server).await;
    // Before a rotation the server shortens the lifetime; an unknown key causes the fetch that sees it.
    server.fail(
        Endpoint::KeySet,
        Fault::header(CACHE_CONTROL, HeaderValue::from_static("max-age=60")),
    );
    assert_eq!(
        present(&api, &unknown_key(&server, 0)).await.outcome(),
        UNKNOWN
    );
    for _ in 0..48 {
        server.clock().advance(secs(1));
        settle().await;
    }
    assert_eq!(
        server.count(Endpoint::KeySet),
        3,
        "renewed at 80 % of a minute"
    );
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn a_withdrawn_key_is_rejected_within_the_lifetime_of_the_set() {
    let server = server();
    let (handle, api, old) = warm(&server).await;
    server.rotate_keys();
    server.remove_retired_keys();
    assert_eq!(
        present(&api, &old).await.outcome(),
        Outcome::Accepted,
        "no fetch yet"
    );
    server.clock().advance(secs(480));
    soon(server.wait_for(Endpoint::KeySet, 2)).await;
    until(|| matches!(handle.health().keys, KeySetHealth::Fresh { age } if age.is_zero())).await;
    assert_eq!(present(&api, &old).await.outcome(), UNKNOWN);
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn a_key_withdrawn_while_the_machine_was_suspended_is_rejected_on_resume() {
    let server = server();
    let (_, api, old) = warm(&server).await;
    server.rotate_keys();
    server.remove_retired_keys();
    server.clock().advance(secs(3000));
    // The background task has not run since, so the request waits for the new set.
    assert_eq!(present(&api, &old).await.outcome(), UNKNOWN);
}

#[tokio::test]
async fn a_withdrawn_key_is_rejected_once_the_next_set_is_fetched() {
    let server = server();
    let (_, api, old) = warm(&server).await;
    server.rotate_keys();
    server.remove_retired_keys();
    assert_eq!(
        present(&api, &good(&server).sign()).await.outcome(),
        Outcome::Accepted
    );
    // The set with the new key has replaced the old one completely.
    assert_eq!(present(&api, &old).await.outcome(), UNKNOWN);
}

#[tokio::test]
async fn a_changed_jwks_uri_is_discovered_within_an_hour() {
    let server = server();
    server.fail(
        Endpoint::Metadata,
        Fault::member("jwks_uri", "https://id.example.test/gone"),
    );
    let api = api(layer(&server));
    let token = good(&server).with_expires_in(3600).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Unavailable);
    server.clear_faults(Endpoint::Metadata);
    server.clock().advance(secs(1));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(server.count(Endpoint::Metadata), 2);
}

/// The back channel of the test server, which counts requests in flight.
#[derive(Clone, Default)]
struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

#[tokio::test]
async fn at_most_one_fetch_is_in_flight() {
    let server = server();
    let gauge = Gauge::default();
    let (counted, channel) = (gauge.clone(), server.back_channel());
    let service = service_fn(move |request: Request<Bytes>| {
        let (gauge, mut channel) = (counted.clone(), channel.clone());
        async move {
            let now = gauge.0.0.fetch_add(1, Ordering::SeqCst) + 1;
            gauge.0.1.fetch_max(now, Ordering::SeqCst);
            let answer = channel.call(request).await;
            gauge.0.0.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    });
    let handle = server.authorization_server().with_back_channel(service);
    let api = api(layer_of(&handle));
    let mut requests = Vec::new();
    for round in 0..20 {
        server.fail_once(Endpoint::KeySet, Fault::delay(secs(round % 3)));
        if round % 4 == 0 {
            server.rotate_keys();
        }
        requests.push(spawn(&api, &good(&server).with_expires_in(86_400).sign()));
        requests.push(spawn(&api, &unknown_key(&server, 0)));
        server.clock().advance(secs(100));
        settle().await;
    }
    until(|| {
        server.clock().advance(secs(1));
        requests.iter().all(JoinHandle::is_finished)
    })
    .await;
    assert!(server.count(Endpoint::KeySet) > 5);
    assert_eq!(
        gauge.0.1.load(Ordering::SeqCst),
        1,
        "an older answer could overwrite a newer one"
    );
}

#[tokio::test]
async fn a_panic_in_the_back_channel_fails_only_one_attempt() {
    let server = server();
    let (calls, channel) = (Arc::new(AtomicUsize::new(0)), server.back_channel());
    let counted = Arc::clone(&calls);
    let service = service_fn(move |request: Request<Bytes>| {
        let (first, mut channel) = (counted.fetch_add(1, Ordering::SeqCst) == 0, channel.clone());
        async move {
            assert!(!first, "the back channel panics");
            channel.call(request).await
        }
    });
    let handle = server.authorization_server().with_back_channel(service);
    let api = api(layer_of(&handle));
    let token = good(&server).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Unavailable);
    server.clock().advance(secs(1));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn a_back_channel_that_is_not_ready_is_503() {
    #[derive(Clone)]
    struct NeverReady;
    impl tower::Service<Request<Bytes>> for NeverReady {
        type Response = Response<Bytes>;
        type Error = std::io::Error;
        type Future = std::future::Ready<Result<Response<Bytes>, std::io::Error>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), std::io::Error>> {
            std::task::Poll::Ready(Err(std::io::Error::other("no connection is left")))
        }

        fn call(&mut self, _: Request<Bytes>) -> Self::Future {
            panic!("called although it was not ready");
        }
    }
    let server = server();
    let handle = server.authorization_server().with_back_channel(NeverReady);
    assert_eq!(
        present(&api(layer_of(&handle)), &good(&server).sign())
            .await
            .outcome(),
        Outcome::Unavailable
    );
    assert!(
        handle
            .health()
            .last_error
            .unwrap()
            .contains("no connection is left")
    );
}

#[tokio::test]
async fn setting_the_wall_clock_back_does_not_prolong_keys() {
    let server = server();
    let (handle, api, token) = warm(&server).await;
    server.fail(Endpoint::KeySet, Fault::status(500));
    server.clock().adjust_wall_clock(-1_000_000);
    // The token is not yet valid now. The keys must not follow the wall clock.
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::InvalidToken(Why::NotYetValid)
    );
    server.clock().advance(secs(4200));
    assert!(matches!(handle.health().keys, KeySetHealth::Expired { .. }));
    let now = good(&server).sign();
    assert_eq!(present(&api, &now).await.outcome(), Outcome::Unavailable);
}

#[tokio::test]
async fn an_unknown_key_is_fetched_again_only_within_the_budget() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    let foreign = good(&server)
        .with_key(&TestSigningKey::generate(Algorithm::Es256))
        .sign();
    for _ in 0..50 {
        assert_eq!(present(&api, &foreign).await.outcome(), UNKNOWN);
    }
    assert_eq!(server.count(Endpoint::KeySet), 1 + 3);
}

/// Unknown key ids and valid tokens for twelve minutes, while the key endpoint fails in different ways. The lifetime of
/// the set ends in that time.
#[tokio::test]
async fn unknown_key_ids_do_not_affect_known_keys_while_the_key_endpoint_fails() {
    let server = server();
    let (_, api, _) = warm(&server).await;
    let faults: [fn() -> Fault; 12] = [
        || Fault::status(401),
        || Fault::status(403),
        || Fault::status(429),
        || Fault::status(500),
        || Fault::status(502),
        || Fault::status(503),
        || Fault::status(504),
        Fault::disconnect,
        Fault::lose_response,
        Fault::hang,
        || Fault::body("application/json", "{}"),
        || Fault::body("text/html", "<html>"),
    ];
    let mut number = 0;
    for (at, fault) in faults.iter().enumerate() {
        server.clear_faults(Endpoint::KeySet);
        server.fail(Endpoint::KeySet, fault());
        for second in 0..60 {
            for _ in 0..5 {
                number += 1;
                spawn(&api, &unknown_key(&server, number));
            }
            let token = good(&server).sign();
            let answer = present(&api, &token).await;
            assert_eq!(answer.outcome(), Outcome::Accepted, "{at} {second}");
            server.clock().advance(secs(1));
            settle().await;
        }
    }
    // A burst of three and one every 30 seconds, and those of the background task.
    assert!(server.count(Endpoint::KeySet) < 60);
}
