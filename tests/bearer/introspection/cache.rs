//! Caching and sharing of introspection requests, and the limits on them.

use std::time::Duration;

use axum::Router;
use serde_json::json;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer};
use tower_oauth::token::{IntrospectionVerifier, VerifyErrorKind};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Client};

use crate::support::api::{
    self, AUDIENCE, Outcome, api, good, present, present_at, settle, soon, until,
};
use crate::support::dpop;

const SECRET: &str = "api-secret";
const HANG: Duration = Duration::from_secs(4);

fn with_client(server: TestServer) -> TestServer {
    server.add_client(TestClient::confidential("api", SECRET))
}

fn server() -> TestServer {
    with_client(api::server())
}

fn verifier_of(server: &AuthorizationServer) -> IntrospectionVerifier {
    let client = Client::confidential("api", SECRET);
    IntrospectionVerifier::new(server, client, AUDIENCE).unwrap()
}

fn verifier(server: &TestServer) -> IntrospectionVerifier {
    verifier_of(&server.authorization_server())
}

fn api_of(verifier: &IntrospectionVerifier) -> Router {
    api(BearerLayer::new(verifier.clone()))
}

fn introspections(server: &TestServer) -> usize {
    server.count(Endpoint::Introspection)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const INACTIVE: Outcome = Outcome::InvalidToken(VerifyErrorKind::Inactive);
const BOUND: Outcome = Outcome::InvalidToken(VerifyErrorKind::Bound);

/// Presents a token in a spawned task.
fn later(api: &Router, token: &str) -> tokio::task::JoinHandle<Outcome> {
    let (api, token) = (api.clone(), token.to_owned());
    tokio::spawn(async move { present(&api, &token).await.outcome() })
}

#[tokio::test]
async fn a_thousand_concurrent_requests_share_one_introspection() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).opaque();
    server.fail(Endpoint::Introspection, Fault::delay(HANG));
    let waiting: Vec<_> = (0..1000).map(|_| later(&api, &token)).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(introspections(&server), 1);
    assert_eq!(server.count(Endpoint::Metadata), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_on_several_threads_share_one_introspection() {
    let server = server();
    let api = api_of(&verifier(&server));
    for round in 1..=20 {
        let token = good(&server).opaque();
        let racing: Vec<_> = (0..32).map(|_| later(&api, &token)).collect();
        for one in racing {
            assert_eq!(soon(one).await.unwrap(), Outcome::Accepted);
        }
        assert_eq!(introspections(&server), round);
    }
}

#[tokio::test]
async fn an_introspection_continues_if_its_first_caller_leaves() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).opaque();
    server.fail(Endpoint::Introspection, Fault::delay(HANG));
    let first = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 1).await;
    let others: Vec<_> = (0..10).map(|_| later(&api, &token)).collect();
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.clock().advance(HANG);
    for other in others {
        assert_eq!(soon(other).await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(introspections(&server), 1);

    // The result is cached even if no caller is left.
    let token = good(&server).opaque();
    let alone = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 2).await;
    alone.abort();
    settle().await;
    server.clock().advance(HANG);
    settle().await;
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(introspections(&server), 2);
}

#[tokio::test]
async fn a_failure_is_shared_by_the_waiting_requests_only() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    server.fail_once(Endpoint::Introspection, Fault::status(500));
    let waiting: Vec<_> = (0..50).map(|_| later(&api, &token)).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Unavailable);
    }
    assert_eq!(introspections(&server), 1);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn an_active_result_is_cached_for_a_minute() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).without_claim("exp").opaque();
    for (advance, request_count) in [(0, 1), (0, 1), (59, 1), (1, 2), (59, 2), (1, 3)] {
        server.clock().advance(seconds(advance));
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        assert_eq!(introspections(&server), request_count);
    }
    // The minute begins when the request is sent.
    let token = good(&server).without_claim("exp").opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let slow = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 4).await;
    settle().await;
    server.clock().advance(HANG);
    assert_eq!(soon(slow).await.unwrap(), Outcome::Accepted);
    server.clock().advance(seconds(60) - HANG);
    present(&api, &token).await;
    assert_eq!(introspections(&server), 5);
}

#[tokio::test]
async fn the_cache_ttl_is_configurable_and_zero_disables_caching() {
    let server = server();
    for (name, verifier, kept_for, tokens) in [
        (
            "10 s",
            verifier(&server).with_cache_ttl(seconds(10)),
            10,
            true,
        ),
        (
            "an hour, by name",
            verifier(&server).with_insecure_cache_ttl(seconds(3600)),
            3600,
            true,
        ),
        (
            "refusals 3 s",
            verifier(&server).with_negative_cache_ttl(seconds(3)),
            3,
            false,
        ),
    ] {
        server.clear_requests();
        let api = api_of(&verifier.unwrap());
        let token = if tokens {
            good(&server).without_claim("exp").opaque()
        } else {
            format!("unknown-{kept_for}")
        };
        present(&api, &token).await;
        server.clock().advance(seconds(kept_for - 1));
        present(&api, &token).await;
        assert_eq!(introspections(&server), 1, "{name}");
        server.clock().advance(seconds(1));
        present(&api, &token).await;
        assert_eq!(introspections(&server), 2, "{name}");
    }

    server.clear_requests();
    let off = verifier(&server)
        .with_cache_ttl(Duration::ZERO)
        .unwrap()
        .with_negative_cache_ttl(Duration::ZERO)
        .unwrap();
    let (api, token) = (api_of(&off), good(&server).opaque());
    for request_count in 1..=3 {
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        assert_eq!(present(&api, "unknown").await.outcome(), INACTIVE);
        assert_eq!(introspections(&server), 2 * request_count);
    }
    // Without a cache a revocation takes effect immediately.
    server.revoke(&token);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE);
    // Concurrent requests still share one introspection.
    let token = good(&server).opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    server.clear_requests();
    let waiting: Vec<_> = (0..20).map(|_| later(&api, &token)).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(introspections(&server), 1);
}

#[tokio::test]
async fn a_result_is_not_cached_past_exp() {
    // Columns: the lifetime of the token, the changes of both clocks after the first request, and whether the
    // second request is a cache hit.
    for (name, lifetime, wall, advance, hit) in [
        ("a second before", 20, 0, 19, true),
        ("at exp", 20, 0, 20, false),
        ("wall clock ahead to exp", 20, 20, 0, false),
        ("wall clock back prolongs nothing", 20, -10, 20, false),
        ("nor does it prolong the minute", 3600, -10, 60, false),
        ("wall clock ahead within the minute", 3600, 49, 10, true),
        ("wall clock ahead of the minute", 3600, 50, 10, false),
        ("already past, within the leeway", -10, 0, 0, false),
    ] {
        let server = server();
        let api = api_of(&verifier(&server));
        let token = good(&server).with_expires_in(3600).opaque();
        let expires_at = 1_800_000_000 + lifetime;
        // At the server the token lives longer, so that only the cache decides.
        server.fail(
            Endpoint::Introspection,
            Fault::introspection(move |response| response.with_claim("exp", expires_at)),
        );
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        server.clock().adjust_wall_clock(wall);
        server.clock().advance(seconds(advance));
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(
            outcome,
            Outcome::Accepted,
            "{name}: the leeway applies to new responses"
        );
        assert_eq!(introspections(&server), if hit { 1 } else { 2 }, "{name}");
    }

    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).with_expires_in(20).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(seconds(20));
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE);
}

#[tokio::test]
async fn a_cached_token_is_not_yet_valid_after_the_clock_is_set_back() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).with_claim("nbf", 1_800_000_000).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().adjust_wall_clock(-31);
    let early = Outcome::InvalidToken(VerifyErrorKind::NotYetValid);
    assert_eq!(present(&api, &token).await.outcome(), early);
    server.clock().adjust_wall_clock(1);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(introspections(&server), 1);
}

#[tokio::test]
async fn a_negative_result_is_cached_for_ten_seconds() {
    let server = server();
    let api = api_of(&verifier(&server));
    let other = good(&server)
        .with_audience("https://other.example.test")
        .opaque();
    let for_others = Outcome::InvalidToken(VerifyErrorKind::Audience);
    for (token, outcome) in [("unknown", INACTIVE), (other.as_str(), for_others)] {
        server.clear_requests();
        for (advance, request_count) in [(0, 1), (0, 1), (9, 1), (1, 2)] {
            server.clock().advance(seconds(advance));
            assert_eq!(present(&api, token).await.outcome(), outcome);
            assert_eq!(introspections(&server), request_count);
        }
    }

    // A result that time can change is not cached.
    let early = good(&server)
        .with_claim("nbf", server.clock().unix_seconds() + 35)
        .opaque();
    let not_yet = Outcome::InvalidToken(VerifyErrorKind::NotYetValid);
    assert_eq!(present(&api, &early).await.outcome(), not_yet);
    server.clock().advance(seconds(5));
    assert_eq!(present(&api, &early).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn invalidate_removes_the_cached_result_of_a_token() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let token = good(&server).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.revoke(&token);
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "still cached"
    );
    verifier.invalidate(&token);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE);

    // It also removes a negative result, and no result of another token.
    good(&server).register("unknown");
    let other = good(&server).opaque();
    present(&api, &other).await;
    verifier.invalidate(&token);
    good(&server).register(&token);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    let request_count = introspections(&server);
    present(&api, &other).await;
    assert_eq!(introspections(&server), request_count);
}

#[tokio::test]
async fn a_result_in_flight_during_invalidate_is_not_cached() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let token = good(&server).opaque();
    // The response arrives late.
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let before = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    verifier.invalidate(&token);
    // A request after `invalidate` starts a new introspection.
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(introspections(&server), 2);
    server.revoke(&token);
    verifier.invalidate(&token);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE);
    server.clock().advance(HANG);
    assert_eq!(soon(before).await.unwrap(), INACTIVE);
    assert_eq!(introspections(&server), 3);
}

#[tokio::test]
async fn a_late_response_does_not_undo_invalidate() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let token = good(&server).opaque();
    let body = json!({ "active": true, "aud": AUDIENCE }).to_string();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    server.fail_once(
        Endpoint::Introspection,
        Fault::body("application/json", body),
    );
    let before = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.revoke(&token);
    verifier.invalidate(&token);
    server.clock().advance(HANG);
    // This request was sent before the revocation.
    assert_eq!(soon(before).await.unwrap(), Outcome::Accepted);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE);
    assert_eq!(introspections(&server), 2);
}

#[tokio::test]
async fn results_of_different_contexts_are_cached_separately() {
    // The same string at two servers.
    let ours = server();
    let other = with_client(crate::support::still_server("https://other.example.test").unwrap())
        .with_clock(ours.clock())
        .with_algorithm(Algorithm::Es256);
    let token = "the-same-opaque-string";
    good(&ours).with_subject("alice").register(token);
    good(&other).with_subject("mallory").register(token);
    let (our_api, other_api) = (api_of(&verifier(&ours)), api_of(&verifier(&other)));
    for _ in 0..2 {
        assert!(present(&our_api, token).await.body.contains("alice"));
        assert!(present(&other_api, token).await.body.contains("mallory"));
    }
    assert_eq!((introspections(&ours), introspections(&other)), (1, 1));

    // One server with two clients, two audiences or two endpoints.
    let as_other = IntrospectionVerifier::new(
        &ours.authorization_server(),
        Client::confidential("api-2", SECRET),
        AUDIENCE,
    );
    let for_other = IntrospectionVerifier::new(
        &ours.authorization_server(),
        Client::confidential("api", SECRET),
        "https://other.example.test",
    );
    let other_endpoint = verifier(&ours);
    let other_endpoint = other_endpoint.with_endpoint("https://id.example.test/elsewhere");
    for (name, verifier, expect) in [
        ("client", as_other, Outcome::Misconfigured),
        (
            "audience",
            for_other,
            Outcome::InvalidToken(VerifyErrorKind::Audience),
        ),
        ("endpoint", other_endpoint, Outcome::Unavailable),
    ] {
        let outcome = present(&api_of(&verifier.unwrap()), token).await.outcome();
        assert_eq!(outcome, expect, "{name}");
    }

    // The whole token is part of the cache key.
    let head = "h".repeat(2000);
    let jwt_head = "eyJhbGciOiJFUzI1NiJ9.";
    for token in [
        format!("{head}-a"),
        format!("a-{head}"),
        format!("{jwt_head}a.b"),
    ] {
        good(&ours).register(&token);
        assert_eq!(present(&our_api, &token).await.outcome(), Outcome::Accepted);
    }
    for token in [
        format!("{head}-b"),
        format!("b-{head}"),
        format!("{jwt_head}a.c"),
        head,
        format!("{token}="),
    ] {
        assert_eq!(present(&our_api, &token).await.outcome(), INACTIVE);
    }
}

#[tokio::test]
async fn scope_and_binding_are_checked_on_every_request() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).with_scope("readonly other").opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    for _ in 0..2 {
        let outcome = present_at(&api, "/read", &token).await.outcome();
        assert_eq!(outcome, Outcome::InsufficientScope);
    }
    assert_eq!(introspections(&server), 1);

    // The result of a bound token is cached, and the token is still rejected as a bearer token.
    let bound = good(&server)
        .with_claim("cnf", json!({ "jkt": "A".repeat(43) }))
        .opaque();
    for _ in 0..3 {
        assert_eq!(present(&api, &bound).await.outcome(), BOUND);
    }
    assert_eq!(introspections(&server), 2);

    // So is a bound token in requests that share one introspection.
    let bound = good(&server)
        .with_claim("cnf", json!({ "x5t#S256": "A".repeat(43) }))
        .opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let waiting: Vec<_> = (0..10).map(|_| later(&api, &bound)).collect();
    server.wait_for(Endpoint::Introspection, 3).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), BOUND);
    }
    assert_eq!(introspections(&server), 3);
}

/// A cached result does not replace the proof: each request needs a new one (RFC 9449 §4.3).
#[tokio::test]
async fn a_bound_token_needs_a_proof_on_every_request() {
    let server = server();
    let holder = dpop::Client::new(&server);
    let layer = BearerLayer::new(verifier(&server)).with_dpop(dpop::dpop(&server));
    let api = api(layer);
    let token = holder.mint().opaque();
    let outcome_of = async |proof: String| dpop::show(&api, &token, &proof).await.said();
    let proof = holder.proof("/", &token).sign();
    assert_eq!(outcome_of(proof.clone()).await, "200");
    assert_eq!(
        outcome_of(proof).await,
        "401 Bearer DPoP=invalid_dpop_proof",
        "cached"
    );
    let thief = dpop::Client::new(&server).proof("/", &token).sign();
    assert_eq!(
        outcome_of(thief).await,
        "401 Bearer DPoP=invalid_token",
        "cached"
    );
    let as_bearer = present(&api, &token).await;
    assert_eq!(as_bearer.said(), "401 Bearer=invalid_token DPoP");
    assert_eq!(introspections(&server), 1);

    // Concurrent requests with and without proof share one introspection.
    let token = holder.mint().opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let mut tasks = Vec::new();
    for at in 0..40 {
        let (api, token, holder) = (api.clone(), token.clone(), holder.clone());
        tasks.push(tokio::spawn(async move {
            if at % 2 == 0 {
                let proof = holder.proof("/", &token).sign();
                ("200", dpop::show(&api, &token, &proof).await.said())
            } else {
                let outcome = present(&api, &token).await.said();
                ("401 Bearer=invalid_token DPoP", outcome)
            }
        }));
    }
    server.wait_for(Endpoint::Introspection, 2).await;
    settle().await;
    server.clock().advance(HANG);
    for task in tasks {
        let (expect, outcome) = soon(task).await.unwrap();
        assert_eq!(outcome, expect);
    }
    assert_eq!(introspections(&server), 2);

    // The binding counts, whatever `token_type` states.
    let token = holder.mint().with_claim("token_type", "Bearer").opaque();
    let as_bearer = present(&api, &token).await.said();
    assert_eq!(as_bearer, "401 Bearer=invalid_token DPoP");
    let proof = holder.proof("/", &token).sign();
    assert_eq!(dpop::show(&api, &token, &proof).await.said(), "200");
}

#[tokio::test]
async fn invalid_tokens_do_not_evict_active_ones() {
    let server = server();
    let api = api_of(&verifier(&server));
    let tokens: Vec<_> = (0..50).map(|_| good(&server).opaque()).collect();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    for invalid in 0..10_000 {
        let outcome = present(&api, &format!("invalid-{invalid}")).await.outcome();
        assert_eq!(outcome, INACTIVE);
    }
    server.clear_requests();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    assert_eq!(introspections(&server), 0);
}

#[tokio::test]
async fn the_cache_size_limit_is_enforced() {
    let server = server();
    // The cache has room for two results of this size.
    let verifier = verifier(&server).with_cache_size(70 * 1024);
    let api = api_of(&verifier);
    let long = "x".repeat(30 * 1024);
    let tokens: Vec<_> = (0..20)
        .map(|_| good(&server).with_claim("long", long.as_str()).opaque())
        .collect();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    server.clear_requests();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    assert!(
        introspections(&server) >= 18,
        "{} of 20 were not cached",
        introspections(&server)
    );
}

#[tokio::test]
async fn concurrent_introspections_are_limited() {
    let server = server();
    let verifier = verifier(&server).with_concurrency(2).unwrap();
    let api = api_of(&verifier);
    server.fail(Endpoint::Introspection, Fault::delay(seconds(1)));
    let waiting: Vec<_> = (0..6)
        .map(|_| later(&api, &good(&server).opaque()))
        .collect();
    for request_count in [2, 4, 6] {
        server
            .wait_for(Endpoint::Introspection, request_count)
            .await;
        settle().await;
        assert_eq!(introspections(&server), request_count);
        server.clock().advance(seconds(1));
    }
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Accepted);
    }
}

#[tokio::test]
async fn tokens_beyond_the_waiting_limit_are_rejected_immediately() {
    let server = server();
    let verifier = verifier(&server).with_concurrency(1).unwrap();
    let api = api_of(&verifier);
    server.fail(Endpoint::Introspection, Fault::hang());
    let waiting: Vec<_> = (0..1025).map(|n| later(&api, &format!("t{n}"))).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    until(|| server.clock().sleepers() > 2 * 1024).await;
    // The clock stands still, so a response that arrives has not waited.
    assert_eq!(
        present(&api, "one-more").await.outcome(),
        Outcome::Unavailable
    );
    assert_eq!(introspections(&server), 1);
    server.clock().advance(seconds(5));
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Unavailable);
    }
    server.clear_faults(Endpoint::Introspection);
    let token = good(&server).opaque();
    settle().await;
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "it recovers"
    );
}

#[tokio::test]
async fn callers_wait_five_seconds_for_a_hanging_server_and_two_while_it_is_failing() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    assert!(verifier.health().is_ready());

    server.fail(Endpoint::Introspection, Fault::hang());
    for failures in 1..=5 {
        let waiting = later(&api, &good(&server).opaque());
        server.wait_for(Endpoint::Introspection, 1 + failures).await;
        settle().await;
        server.clock().advance(seconds(5));
        assert_eq!(soon(waiting).await.unwrap(), Outcome::Unavailable);
    }
    // All of these tokens may come from one caller, so other tokens are still introspected, and the process
    // stays ready.
    let health = verifier.health();
    assert!(health.is_ready() && !health.is_paused);
    assert_eq!(
        (health.failures, health.last_success),
        (5, Some(seconds(25)))
    );
    assert!(health.last_error.is_some());
    let waiting = later(&api, &good(&server).opaque());
    server.wait_for(Endpoint::Introspection, 7).await;
    settle().await;
    server.clock().advance(Duration::from_millis(1999));
    settle().await;
    assert!(!waiting.is_finished());
    server.clock().advance(Duration::from_millis(1));
    assert_eq!(soon(waiting).await.unwrap(), Outcome::Unavailable);
    assert_eq!(
        present(&api, &known).await.outcome(),
        Outcome::Accepted,
        "cached"
    );

    // The first response ends the failing state.
    server.clear_faults(Endpoint::Introspection);
    for _ in 0..2 {
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Accepted);
    }
    let health = verifier.health();
    assert_eq!((health.failures, health.last_error), (0, None));
    assert_eq!(health.last_success, Some(Duration::ZERO));
}

#[tokio::test]
async fn tokens_that_cause_failures_do_not_affect_other_tokens() {
    let server = server();
    let api = api_of(&verifier(&server));
    server.fail_times(Endpoint::Introspection, 20, Fault::status(500));
    for invalid in 0..20 {
        let outcome = present(&api, &format!("invalid-{invalid}")).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable);
    }
    let token = good(&server).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
}
