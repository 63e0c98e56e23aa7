//! How often the authorization server is asked about a token, and how long its answer lasts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use axum::Router;
use serde_json::json;
use support::dpop;
use support::{AUDIENCE, Outcome, api, good, present, present_at, settle, soon, until};
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer};
use tower_oauth::token::{IntrospectionVerifier, VerifyErrorKind};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Client};

const SECRET: &str = "api-secret";
const HANG: Duration = Duration::from_secs(4);

fn known_to(server: TestServer) -> TestServer {
    server.add_client(TestClient::confidential("api", SECRET))
}

fn server() -> TestServer {
    known_to(support::server())
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

fn calls(server: &TestServer) -> usize {
    server.count(Endpoint::Introspection)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const INACTIVE: Outcome = Outcome::InvalidToken(VerifyErrorKind::Inactive);
const BOUND: Outcome = Outcome::InvalidToken(VerifyErrorKind::Bound);

/// Presents a token in a task of its own.
fn later(api: &Router, token: &str) -> tokio::task::JoinHandle<Outcome> {
    let (api, token) = (api.clone(), token.to_owned());
    tokio::spawn(async move { present(&api, &token).await.outcome() })
}

#[tokio::test]
async fn a_thousand_requests_at_once_ask_once() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).opaque();
    server.fail(Endpoint::Introspection, Fault::delay(HANG));
    let waiting: Vec<_> = (0..1000).map(|_| later(&api, &token)).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Accepted, "I9");
    }
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(calls(&server), 1, "I9");
    assert_eq!(server.count(Endpoint::Metadata), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_race_ask_once_too() {
    let server = server();
    let api = api_of(&verifier(&server));
    for round in 1..=20 {
        let token = good(&server).opaque();
        let racing: Vec<_> = (0..32).map(|_| later(&api, &token)).collect();
        for one in racing {
            assert_eq!(soon(one).await.unwrap(), Outcome::Accepted, "I9");
        }
        assert_eq!(calls(&server), round, "I9");
    }
}

#[tokio::test]
async fn whoever_asked_first_may_leave() {
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
        assert_eq!(soon(other).await.unwrap(), Outcome::Accepted, "I9 J2");
    }
    assert_eq!(calls(&server), 1);

    // Even with nobody left the answer is not lost.
    let token = good(&server).opaque();
    let alone = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 2).await;
    alone.abort();
    settle().await;
    server.clock().advance(HANG);
    settle().await;
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(calls(&server), 2);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_waited_and_by_nobody_else() {
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
        assert_eq!(soon(one).await.unwrap(), Outcome::Unavailable, "I8 I9");
    }
    assert_eq!(calls(&server), 1);
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "I8"
    );
}

#[tokio::test]
async fn a_good_answer_is_used_again_for_a_minute() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).without_claim("exp").opaque();
    for (advance, asked) in [(0, 1), (0, 1), (59, 1), (1, 2), (59, 2), (1, 3)] {
        server.clock().advance(seconds(advance));
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        assert_eq!(calls(&server), asked, "I5 I10");
    }
    // The minute counts from the question: an answer is as old as that.
    let token = good(&server).without_claim("exp").opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let slow = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 4).await;
    settle().await;
    server.clock().advance(HANG);
    assert_eq!(soon(slow).await.unwrap(), Outcome::Accepted);
    server.clock().advance(seconds(60) - HANG);
    present(&api, &token).await;
    assert_eq!(calls(&server), 5, "I5");
}

#[tokio::test]
async fn how_long_is_a_setting_and_zero_switches_it_off() {
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
        server.forget_requests();
        let api = api_of(&verifier.unwrap());
        let token = if tokens {
            good(&server).without_claim("exp").opaque()
        } else {
            format!("unknown-{kept_for}")
        };
        present(&api, &token).await;
        server.clock().advance(seconds(kept_for - 1));
        present(&api, &token).await;
        assert_eq!(calls(&server), 1, "{name}");
        server.clock().advance(seconds(1));
        present(&api, &token).await;
        assert_eq!(calls(&server), 2, "{name}");
    }

    server.forget_requests();
    let off = verifier(&server)
        .with_cache_ttl(Duration::ZERO)
        .unwrap()
        .with_negative_cache_ttl(Duration::ZERO)
        .unwrap();
    let (api, token) = (api_of(&off), good(&server).opaque());
    for asked in 1..=3 {
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        assert_eq!(present(&api, "unknown").await.outcome(), INACTIVE);
        assert_eq!(calls(&server), 2 * asked, "I10");
    }
    // A revocation is seen at once then.
    server.revoke(&token);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE);
    // Requests at the same time still share one question.
    let token = good(&server).opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    server.forget_requests();
    let waiting: Vec<_> = (0..20).map(|_| later(&api, &token)).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(calls(&server), 1, "I9");
}

#[tokio::test]
async fn nothing_is_remembered_past_its_end() {
    // Each as: how long the token lives, what the clocks do after the first request, whether the answer
    // of before still counts.
    for (name, lives, wall, advance, hit) in [
        ("I5 a second before", 20, 0, 19, true),
        ("I5 at exp", 20, 0, 20, false),
        ("I5 wall clock ahead to exp", 20, 20, 0, false),
        ("I5 wall clock back prolongs nothing", 20, -10, 20, false),
        ("I5 nor does it prolong the minute", 3600, -10, 60, false),
        ("I5 no exp, wall clock ahead", 86_400 * 365, 3600, 59, true),
        ("I5 already past, within the leeway", -10, 0, 0, false),
    ] {
        let server = server();
        let api = api_of(&verifier(&server));
        let token = good(&server).with_expires_in(3600).opaque();
        let expires_at = 1_800_000_000 + lives;
        // The server itself has a longer life in mind, so that only what we do shows.
        server.fail(
            Endpoint::Introspection,
            Fault::introspection(move |answer| answer.with_claim("exp", expires_at)),
        );
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        server.clock().turn_wall(wall);
        server.clock().advance(seconds(advance));
        let outcome = present(&api, &token).await.outcome();
        assert_eq!(
            outcome,
            Outcome::Accepted,
            "{name}: the leeway is for fresh answers"
        );
        assert_eq!(calls(&server), if hit { 1 } else { 2 }, "{name}");
    }

    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).with_expires_in(20).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(seconds(20));
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE, "V92");
}

#[tokio::test]
async fn a_clock_that_jumps_back_makes_a_remembered_token_early_again() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).with_claim("nbf", 1_800_000_000).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().turn_wall(-31);
    let early = Outcome::InvalidToken(VerifyErrorKind::NotYetValid);
    assert_eq!(present(&api, &token).await.outcome(), early, "I4");
    server.clock().turn_wall(1);
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(calls(&server), 1);
}

#[tokio::test]
async fn a_refusal_is_used_again_for_ten_seconds() {
    let server = server();
    let api = api_of(&verifier(&server));
    let other = good(&server)
        .with_audience("https://other.example.test")
        .opaque();
    let for_others = Outcome::InvalidToken(VerifyErrorKind::Audience);
    for (token, outcome) in [("unknown", INACTIVE), (other.as_str(), for_others)] {
        server.forget_requests();
        for (advance, asked) in [(0, 1), (0, 1), (9, 1), (1, 2)] {
            server.clock().advance(seconds(advance));
            assert_eq!(present(&api, token).await.outcome(), outcome);
            assert_eq!(calls(&server), asked, "I7");
        }
    }

    // What only time refuses is asked about again: a little later it may be good.
    let early = good(&server)
        .with_claim("nbf", server.clock().unix_seconds() + 35)
        .opaque();
    let not_yet = Outcome::InvalidToken(VerifyErrorKind::NotYetValid);
    assert_eq!(present(&api, &early).await.outcome(), not_yet);
    server.clock().advance(seconds(5));
    assert_eq!(present(&api, &early).await.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn a_token_can_be_forgotten_before_its_time() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let token = good(&server).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.revoke(&token);
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "not known here yet"
    );
    verifier.invalidate(&token);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE, "I10");

    // A refusal as well, and nothing else with it.
    good(&server).register("unknown");
    let other = good(&server).opaque();
    present(&api, &other).await;
    verifier.invalidate(&token);
    good(&server).register(&token);
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "I10"
    );
    let asked = calls(&server);
    present(&api, &other).await;
    assert_eq!(calls(&server), asked);
}

#[tokio::test]
async fn an_answer_that_was_under_way_when_its_token_was_forgotten_is_not_kept() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let token = good(&server).opaque();
    // The server decides, and the answer takes its time.
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let before = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    verifier.invalidate(&token);
    // Whoever comes now gets an answer of now.
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(calls(&server), 2, "I10");
    server.revoke(&token);
    verifier.invalidate(&token);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE, "I10");
    server.clock().advance(HANG);
    assert_eq!(soon(before).await.unwrap(), INACTIVE);
    assert_eq!(calls(&server), 3);
}

#[tokio::test]
async fn a_late_answer_does_not_undo_that_its_token_was_forgotten() {
    let server = server();
    let verifier = verifier(&server);
    let api = api_of(&verifier);
    let token = good(&server).opaque();
    let said = json!({ "active": true, "aud": AUDIENCE }).to_string();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    server.fail_once(
        Endpoint::Introspection,
        Fault::body("application/json", said),
    );
    let before = later(&api, &token);
    server.wait_for(Endpoint::Introspection, 1).await;
    settle().await;
    server.revoke(&token);
    verifier.invalidate(&token);
    server.clock().advance(HANG);
    // It asked before the revocation, and got the answer of then.
    assert_eq!(soon(before).await.unwrap(), Outcome::Accepted);
    assert_eq!(present(&api, &token).await.outcome(), INACTIVE, "I10");
    assert_eq!(calls(&server), 2);
}

#[tokio::test]
async fn answers_stay_apart() {
    // V122: one string, two servers.
    let ours = server();
    let other = known_to(TestServer::new("https://other.example.test").unwrap())
        .with_clock(ours.clock())
        .with_algorithm(Algorithm::Es256);
    let token = "the-same-opaque-string";
    good(&ours).with_subject("alice").register(token);
    good(&other).with_subject("mallory").register(token);
    let (our_api, other_api) = (api_of(&verifier(&ours)), api_of(&verifier(&other)));
    for _ in 0..2 {
        assert!(
            present(&our_api, token).await.body.contains("alice"),
            "V122"
        );
        assert!(
            present(&other_api, token).await.body.contains("mallory"),
            "V122"
        );
    }
    assert_eq!((calls(&ours), calls(&other)), (1, 1));

    // One server, asked as two clients, or for two audiences, or at two places.
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
    let elsewhere = verifier(&ours);
    let elsewhere = elsewhere.with_endpoint("https://id.example.test/elsewhere");
    for (name, verifier, expect) in [
        ("client", as_other, Outcome::Unavailable),
        (
            "audience",
            for_other,
            Outcome::InvalidToken(VerifyErrorKind::Audience),
        ),
        ("endpoint", elsewhere, Outcome::Unavailable),
    ] {
        let outcome = present(&api_of(&verifier.unwrap()), token).await.outcome();
        assert_eq!(outcome, expect, "V122 I6 {name}");
    }

    // V123: nothing is cut off the key, at either end.
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
        assert_eq!(present(&our_api, &token).await.outcome(), INACTIVE, "V123");
    }
}

#[tokio::test]
async fn scope_and_binding_are_looked_at_again_at_every_request() {
    let server = server();
    let api = api_of(&verifier(&server));
    let token = good(&server).with_scope("readonly other").opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    for _ in 0..2 {
        let outcome = present_at(&api, "/read", &token).await.outcome();
        assert_eq!(outcome, Outcome::InsufficientScope, "V126");
    }
    assert_eq!(calls(&server), 1);

    // V124: what was found of a bound token is remembered, and takes no Bearer in for it.
    let bound = good(&server)
        .with_claim("cnf", json!({ "jkt": "A".repeat(43) }))
        .opaque();
    for _ in 0..3 {
        assert_eq!(present(&api, &bound).await.outcome(), BOUND, "V124 D15");
    }
    assert_eq!(calls(&server), 2);

    // V125: nor do those who share one question.
    let bound = good(&server)
        .with_claim("cnf", json!({ "x5t#S256": "A".repeat(43) }))
        .opaque();
    server.fail_once(Endpoint::Introspection, Fault::delay(HANG));
    let waiting: Vec<_> = (0..10).map(|_| later(&api, &bound)).collect();
    server.wait_for(Endpoint::Introspection, 3).await;
    settle().await;
    server.clock().advance(HANG);
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), BOUND, "V125 M8");
    }
    assert_eq!(calls(&server), 3);
}

/// What one question told of a bound token is no more than that: each request shows its own proof.
#[tokio::test]
async fn a_bound_token_needs_a_proof_each_time_it_comes() {
    let server = server();
    let holder = dpop::Client::new(&server);
    let layer = BearerLayer::new(verifier(&server)).with_dpop(dpop::dpop(&server));
    let api = api(layer);
    let token = holder.mint().opaque();
    let shown = async |proof: String| dpop::show(&api, &token, &proof).await.said();
    let proof = holder.proof("/", &token).sign();
    assert_eq!(shown(proof.clone()).await, "200", "D13 D17");
    assert_eq!(
        shown(proof).await,
        "401 Bearer DPoP=invalid_dpop_proof",
        "D19 on a hit"
    );
    let thief = dpop::Client::new(&server).proof("/", &token).sign();
    assert_eq!(
        shown(thief).await,
        "401 Bearer DPoP=invalid_token",
        "D13 on a hit"
    );
    let as_bearer = present(&api, &token).await;
    assert_eq!(as_bearer.said(), "401 Bearer=invalid_token DPoP", "V124");
    assert_eq!(calls(&server), 1);

    // V125: with and without proof at once, on a token that nobody has asked about yet.
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
                let said = present(&api, &token).await.said();
                ("401 Bearer=invalid_token DPoP", said)
            }
        }));
    }
    server.wait_for(Endpoint::Introspection, 2).await;
    settle().await;
    server.clock().advance(HANG);
    for task in tasks {
        let (expect, said) = soon(task).await.unwrap();
        assert_eq!(said, expect, "V125");
    }
    assert_eq!(calls(&server), 2, "V125");

    // V130: a good proof does not make up for a type that contradicts the binding.
    let token = holder.mint().with_claim("token_type", "Bearer").opaque();
    let proof = holder.proof("/", &token).sign();
    let said = dpop::show(&api, &token, &proof).await.said();
    assert_eq!(said, "401 Bearer DPoP=invalid_token", "V130 D17");
}

#[tokio::test]
async fn a_flood_of_junk_drives_out_nothing_that_is_good() {
    let server = server();
    let api = api_of(&verifier(&server));
    let tokens: Vec<_> = (0..50).map(|_| good(&server).opaque()).collect();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    for junk in 0..10_000 {
        let outcome = present(&api, &format!("junk-{junk}")).await.outcome();
        assert_eq!(outcome, INACTIVE);
    }
    server.forget_requests();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    assert_eq!(calls(&server), 0, "V129 I7");
}

#[tokio::test]
async fn a_small_memory_is_kept_to() {
    let server = server();
    // Room for two answers of this size.
    let verifier = verifier(&server).with_cache_size(70 * 1024);
    let api = api_of(&verifier);
    let long = "x".repeat(30 * 1024);
    let tokens: Vec<_> = (0..20)
        .map(|_| good(&server).with_claim("long", long.as_str()).opaque())
        .collect();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    server.forget_requests();
    for token in &tokens {
        assert_eq!(present(&api, token).await.outcome(), Outcome::Accepted);
    }
    assert!(
        calls(&server) >= 18,
        "{} of 20 were not kept",
        calls(&server)
    );
}

#[tokio::test]
async fn only_so_many_questions_are_under_way_at_once() {
    let server = server();
    let verifier = verifier(&server).with_concurrency(2).unwrap();
    let api = api_of(&verifier);
    server.fail(Endpoint::Introspection, Fault::delay(seconds(1)));
    let waiting: Vec<_> = (0..6)
        .map(|_| later(&api, &good(&server).opaque()))
        .collect();
    for asked in [2, 4, 6] {
        server.wait_for(Endpoint::Introspection, asked).await;
        settle().await;
        assert_eq!(calls(&server), asked, "I11");
        server.clock().advance(seconds(1));
    }
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Accepted, "I11");
    }
}

#[tokio::test]
async fn more_tokens_than_can_wait_are_turned_away_at_once() {
    let server = server();
    let verifier = verifier(&server).with_concurrency(1).unwrap();
    let api = api_of(&verifier);
    server.fail(Endpoint::Introspection, Fault::hang());
    let waiting: Vec<_> = (0..1025).map(|n| later(&api, &format!("t{n}"))).collect();
    server.wait_for(Endpoint::Introspection, 1).await;
    until(|| server.clock().sleepers() > 2 * 1024).await;
    // Nobody turns the clock, so an answer that comes at all came without waiting.
    assert_eq!(
        present(&api, "one-more").await.outcome(),
        Outcome::Unavailable,
        "I11"
    );
    assert_eq!(calls(&server), 1);
    server.clock().advance(seconds(5));
    for one in waiting {
        assert_eq!(soon(one).await.unwrap(), Outcome::Unavailable, "I11");
    }
    server.mend(Endpoint::Introspection);
    let token = good(&server).opaque();
    settle().await;
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "and it mends itself"
    );
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_five_seconds_and_then_for_two() {
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
        assert_eq!(soon(waiting).await.unwrap(), Outcome::Unavailable, "V121");
    }
    // The tokens may be one caller's, so the endpoint is asked about others still, and this process stays
    // ready.
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
        "what is known is known"
    );

    // As soon as it answers, all is well.
    server.mend(Endpoint::Introspection);
    for _ in 0..2 {
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "I11");
    }
    let health = verifier.health();
    assert_eq!((health.failures, health.last_error), (0, None));
    assert_eq!(health.last_success, Some(Duration::ZERO));
}

#[tokio::test]
async fn tokens_that_upset_the_server_shut_nobody_out() {
    let server = server();
    let api = api_of(&verifier(&server));
    server.fail_times(Endpoint::Introspection, 20, Fault::status(500));
    for junk in 0..20 {
        let outcome = present(&api, &format!("junk-{junk}")).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable, "I8");
    }
    let token = good(&server).opaque();
    assert_eq!(
        present(&api, &token).await.outcome(),
        Outcome::Accepted,
        "I11"
    );
}
