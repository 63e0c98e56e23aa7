//! Tokens that were seen before: what is looked at again, and when they are forgotten.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use support::logs::Logs;
use support::{
    AUDIENCE, Outcome, api, ask, good, layer, layer_of, present, present_at, server, settle, soon,
    until,
};
use tower_oauth::issuer::KeySetHealth;
use tower_oauth::testing::{Endpoint, Fault, TestServer, TestSigningKey};
use tower_oauth::token::{
    IntrospectionVerifier, IssuerLookup, JwtVerifier, TokenProfile, Verifier,
    VerifyErrorKind as Why,
};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Client, VerifiedToken};

const UNKNOWN: Outcome = Outcome::InvalidToken(Why::UnknownKey);
const EXPIRED: Outcome = Outcome::InvalidToken(Why::Expired);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What came of a request, and whether the verdict on its token was remembered.
async fn judged_at(api: &Router, path: &str, token: &str) -> (Outcome, bool) {
    let logs = Logs::default();
    let recording = logs.record();
    let outcome = present_at(api, path, token).await.outcome();
    drop(recording);
    (outcome, logs.text().contains("verdict remembered"))
}

async fn judged(api: &Router, token: &str) -> (Outcome, bool) {
    judged_at(api, "/", token).await
}

const ANEW: (Outcome, bool) = (Outcome::Accepted, false);
const REMEMBERED: (Outcome, bool) = (Outcome::Accepted, true);

/// An API that remembers this token.
async fn remembering(layer: BearerLayer, token: &str) -> Router {
    let api = api(layer);
    assert_eq!(judged(&api, token).await, ANEW);
    assert_eq!(judged(&api, token).await, REMEMBERED);
    api
}

/// Lets the key set be fetched again ahead of its end.
async fn renewed(server: &TestServer, handle: &AuthorizationServer) {
    let fetched = server.count(Endpoint::KeySet);
    server.clock().advance(secs(480));
    soon(server.wait_for(Endpoint::KeySet, fetched + 1)).await;
    until(|| matches!(handle.health().keys, KeySetHealth::Fresh { age } if age.is_zero())).await;
}

fn long(server: &TestServer) -> String {
    good(server).with_expires_in(86_400).sign()
}

#[tokio::test]
async fn a_token_that_was_good_is_not_verified_again_and_one_that_was_bad_always_is() {
    let server = server();
    let token = good(&server).sign();
    let api = remembering(layer(&server), &token).await;
    let other = good(&server).sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let flipped = signature.replacen(|one: char| one != 'A', "A", 1);
    let cases = [
        ("V60 a signature bit flipped", format!("{input}.{flipped}")),
        (
            "V60 a shorter signature",
            format!("{input}.{}", &signature[..84]),
        ),
        (
            "V60 the signature of another",
            format!("{input}.{}", other.rsplit_once('.').unwrap().1),
        ),
    ];
    for (name, forged) in cases {
        let refused = (Outcome::InvalidToken(Why::Signature), false);
        assert_eq!(judged(&api, &forged).await, refused, "{name}");
        assert_eq!(judged(&api, &forged).await, refused, "{name}, once more");
    }
    let mut cut = token.clone();
    cut.pop();
    assert_eq!(
        judged(&api, &cut).await,
        (Outcome::InvalidToken(Why::Malformed), false)
    );
    assert_eq!(judged(&api, &token).await, REMEMBERED);
    let expired = good(&server).with_expires_in(-60).sign();
    for _ in 0..2 {
        assert_eq!(judged(&api, &expired).await, (EXPIRED, false));
    }
}

#[tokio::test]
async fn a_token_that_expires_between_two_requests_is_refused() {
    let server = server();
    let token = good(&server).sign();
    let api = remembering(layer(&server), &token).await;
    server.clock().adjust_wall_clock(300 + 29);
    assert_eq!(
        judged(&api, &token).await,
        REMEMBERED,
        "V92 within the leeway"
    );
    server.clock().adjust_wall_clock(1);
    assert_eq!(judged(&api, &token).await, (EXPIRED, false), "V92");
    // A clock that is set back does not bring the verdict back; the token is judged anew.
    server.clock().adjust_wall_clock(-100);
    assert_eq!(judged(&api, &token).await, ANEW);
}

#[tokio::test]
async fn a_clock_set_back_before_the_token_began_refuses_it() {
    let server = server();
    let now = server.clock().unix_seconds();
    let token = good(&server)
        .with_claim("nbf", now)
        .with_claim("iat", now - 3000)
        .sign();
    let api = remembering(layer(&server), &token).await;
    server.clock().adjust_wall_clock(-31);
    let early = Outcome::InvalidToken(Why::NotYetValid);
    assert_eq!(judged(&api, &token).await, (early, false));
}

#[tokio::test]
async fn a_token_that_grows_too_old_is_refused_though_it_is_remembered() {
    let server = server();
    let token = long(&server);
    let verifier = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let verifier = verifier.with_max_age(secs(60)).unwrap();
    let api = remembering(BearerLayer::new(verifier), &token).await;
    server.clock().adjust_wall_clock(60 + 29);
    assert_eq!(judged(&api, &token).await, REMEMBERED);
    server.clock().adjust_wall_clock(1);
    let old = Outcome::InvalidToken(Why::TooOld);
    assert_eq!(judged(&api, &token).await, (old, false));
}

#[tokio::test]
async fn a_withdrawn_key_takes_its_remembered_tokens_with_it() {
    let server = server();
    let handle = server.authorization_server();
    let (token, key) = (long(&server), server.key(Algorithm::Es256));
    let api = remembering(layer_of(&handle), &token).await;
    server.rotate_keys();
    server.remove_retired_keys();
    assert_eq!(
        judged(&api, &token).await,
        REMEMBERED,
        "nobody has asked yet"
    );
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &token).await, (UNKNOWN, false), "V110, J19");
    assert_eq!(judged(&api, &long(&server)).await, ANEW);

    // A key that comes back vouches anew; what rested on it before is not found again.
    server.publish_key(&key);
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &token).await, ANEW);
    assert_eq!(judged(&api, &token).await, REMEMBERED);
}

#[tokio::test]
async fn a_key_withdrawn_while_the_machine_slept_is_not_taken_on_waking() {
    let server = server();
    let token = long(&server);
    let api = remembering(layer(&server), &token).await;
    server.rotate_keys();
    server.remove_retired_keys();
    server.clock().advance(secs(3000));
    // No task has run since; the request waits for the new set, remembered or not.
    assert_eq!(judged(&api, &token).await, (UNKNOWN, false), "J19");
}

#[tokio::test]
async fn another_key_under_the_same_id_does_not_inherit_the_tokens() {
    let server = server();
    let handle = server.authorization_server();
    let (token, old) = (long(&server), server.key(Algorithm::Es256));
    let api = remembering(layer_of(&handle), &token).await;
    server.remove_key(old.kid());
    server.publish_key(&TestSigningKey::generate(Algorithm::Es256).with_kid(old.kid()));
    renewed(&server, &handle).await;
    let forged = Outcome::InvalidToken(Why::Signature);
    assert_eq!(judged(&api, &token).await, (forged, false));
}

#[tokio::test]
async fn a_key_that_is_published_again_keeps_its_tokens() {
    let server = server();
    let handle = server.authorization_server();
    let token = long(&server);
    let api = remembering(layer_of(&handle), &token).await;
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &token).await, REMEMBERED, "the same set");
    server.rotate_keys();
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &token).await, REMEMBERED, "beside a new key");
    server.publish_key(&TestSigningKey::generate(Algorithm::Rs256));
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &token).await, REMEMBERED, "beside a third");
}

#[tokio::test]
async fn a_key_that_is_no_longer_the_only_one_that_would_do_vouches_no_more() {
    let ambiguous = Outcome::InvalidToken(Why::AmbiguousKey);
    let server = server();
    let handle = server.authorization_server();
    let key = server.key(Algorithm::Es256);
    let unnamed = good(&server)
        .with_expires_in(86_400)
        .without_header("kid")
        .sign();
    let named = long(&server);
    let api = remembering(layer_of(&handle), &unnamed).await;
    assert_eq!(judged(&api, &named).await, ANEW);
    server.publish_key(&TestSigningKey::generate(Algorithm::Es256));
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &unnamed).await, (ambiguous, false));
    assert_eq!(judged(&api, &named).await, REMEMBERED);
    server.publish_key(&TestSigningKey::generate(Algorithm::Es256).with_kid(key.kid()));
    renewed(&server, &handle).await;
    assert_eq!(judged(&api, &named).await, (ambiguous, false));
}

#[tokio::test]
async fn an_outage_past_its_limit_is_one_for_remembered_tokens_too() {
    let server = server();
    let token = long(&server);
    let api = remembering(layer(&server), &token).await;
    server.fail(Endpoint::KeySet, Fault::status(500));
    // The set lives ten minutes and is kept for an hour of outage.
    for _ in 0..69 {
        server.clock().advance(secs(60));
        settle().await;
    }
    assert!(server.count(Endpoint::KeySet) > 10);
    assert_eq!(judged(&api, &token).await, REMEMBERED, "J12");
    server.clock().advance(secs(60));
    settle().await;
    assert_eq!(
        judged(&api, &token).await,
        (Outcome::Unavailable, false),
        "J12"
    );
    server.clear_faults(Endpoint::KeySet);
    server.clock().advance(secs(60));
    settle().await;
    assert_eq!(judged(&api, &token).await.0, Outcome::Accepted);
    assert_eq!(judged(&api, &token).await, REMEMBERED);
}

#[tokio::test]
async fn a_verdict_counts_only_where_it_was_given() {
    let server = server();
    let handle = server.authorization_server();
    let token = long(&server);
    let verifier = JwtVerifier::new(&handle, AUDIENCE).unwrap();
    let here = remembering(BearerLayer::new(verifier.clone()), &token).await;
    let elsewhere = BearerLayer::jwt(&handle, "https://other.example.test").unwrap();
    let keycloak = BearerLayer::new(verifier.clone().with_profile(TokenProfile::Keycloak));
    let eddsa = BearerLayer::new(verifier.with_algorithms([Algorithm::EdDsa]).unwrap());
    for (name, layer, why) in [
        ("another audience", elsewhere.clone(), Why::Audience),
        ("another profile", keycloak, Why::NotAnAccessToken),
        ("other algorithms", eddsa, Why::Algorithm),
        ("another audience further in", elsewhere, Why::Audience),
    ] {
        let api = if name.ends_with("further in") {
            api(layer).layer(layer_of(&handle))
        } else {
            api(layer)
        };
        for _ in 0..2 {
            let (outcome, _) = judged(&api, &token).await;
            assert_eq!(outcome, Outcome::InvalidToken(why), "{name}");
        }
    }
    assert_eq!(judged(&here, &token).await, REMEMBERED);
    // Layers remember together only as clones of each other.
    let first = layer_of(&handle);
    let one = remembering(first.clone(), &token).await;
    assert_eq!(
        judged(&api(first.clone().optional()), &token).await,
        REMEMBERED
    );
    assert_eq!(
        judged(&api(first.with_token_cache(1 << 20)), &token).await,
        ANEW
    );
    assert_eq!(judged(&one, &token).await, REMEMBERED);
}

#[tokio::test]
async fn scopes_and_bindings_are_judged_at_every_request() {
    let server = server();
    let (reader, writer) = (
        good(&server).with_scope("read").sign(),
        good(&server).with_scope("write").sign(),
    );
    let api = remembering(layer(&server), &writer).await;
    assert_eq!(judged_at(&api, "/read", &reader).await, ANEW);
    for _ in 0..2 {
        assert_eq!(judged_at(&api, "/read", &reader).await, REMEMBERED);
        let refused = (Outcome::InsufficientScope, true);
        assert_eq!(judged_at(&api, "/read", &writer).await, refused);
    }
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let bound = good(&server)
        .with_claim("cnf", json!({ "jkt": thumbprint }))
        .sign();
    for _ in 0..3 {
        let (outcome, _) = judged(&api, &bound).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::Bound));
    }
}

#[tokio::test]
async fn an_optional_layer_remembers_whom_it_saw_and_nobody_else() {
    let server = server();
    let token = good(&server).sign();
    let api = api(layer(&server).optional());
    assert_eq!(judged_at(&api, "/maybe", &token).await, ANEW);
    assert_eq!(judged_at(&api, "/maybe", &token).await, REMEMBERED);
    let anonymous = http::Request::get("/maybe").body(axum::body::Body::empty());
    assert_eq!(ask(&api, anonymous.unwrap()).await.body, "anonymous");
    assert_eq!(
        present_at(&api, "/maybe", &token).await.body,
        r#"Some("alice")"#
    );
}

#[tokio::test]
async fn remembering_can_be_switched_off() {
    let server = server();
    let token = good(&server).sign();
    for layer in [
        layer(&server).without_token_cache(),
        layer(&server).with_token_cache(0),
        layer(&server).with_token_cache(100),
    ] {
        let api = api(layer);
        for _ in 0..3 {
            assert_eq!(judged(&api, &token).await, ANEW);
        }
    }
}

/// The tokens and bytes that the `Debug` of a layer tells.
fn remembered(layer: &BearerLayer) -> (usize, usize) {
    let text = format!("{layer:?}");
    let number = |name: &str| {
        let rest = text.split(name).nth(1).unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    (number("Remembered { tokens: "), number("bytes: "))
}

#[tokio::test]
async fn a_flood_of_good_tokens_stays_within_the_bound() {
    const BOUND: usize = 128 * 1024;
    let server = server();
    let layer = layer(&server).with_token_cache(BOUND);
    let kept = long(&server);
    let api = remembering(layer.clone(), &kept).await;
    assert_eq!(remembered(&layer).0, 1);
    for _ in 0..600 {
        assert_eq!(
            present(&api, &long(&server)).await.outcome(),
            Outcome::Accepted
        );
        // What is in use stays, whatever else comes by.
        assert_eq!(present(&api, &kept).await.outcome(), Outcome::Accepted);
        assert!(remembered(&layer).1 <= BOUND);
    }
    let (tokens, bytes) = remembered(&layer);
    assert!(
        (80..300).contains(&tokens) && bytes > BOUND / 2,
        "{tokens} in {bytes}"
    );
    assert_eq!(judged(&api, &kept).await, REMEMBERED);
    // One with claims beyond the bound is good all the same.
    let roomy = server.authorization_server();
    let tight = support::api(layer_of(&roomy).with_token_cache(4096));
    let large = good(&server).with_claim("note", "x".repeat(6000)).sign();
    for _ in 0..2 {
        assert_eq!(judged(&tight, &large).await, ANEW);
    }
}

/// Counts how often claims were read as this type.
#[derive(Debug)]
struct Counted {
    sub: String,
}

static READ: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            sub: String,
            tenant: u32,
        }
        READ.fetch_add(1, Ordering::SeqCst);
        let Fields { sub, tenant } = Fields::deserialize(reader)?;
        assert!(tenant > 0);
        Ok(Self { sub })
    }
}

#[tokio::test]
async fn claims_of_a_type_of_ones_own_are_read_once_a_token() {
    let server = server();
    let layer = layer(&server);
    let token = good(&server).with_claim("tenant", 7).sign();
    let of = async |token: VerifiedToken<Counted>| token.claims().sub.clone();
    let api = Router::new()
        .route("/", get(of))
        .layer(layer.clone().with_claims::<Counted>());
    for remembered in [false, true, true] {
        assert_eq!(judged(&api, &token).await, (Outcome::Accepted, remembered));
    }
    assert_eq!(READ.load(Ordering::SeqCst), 1);
    let unfit = good(&server).sign();
    for _ in 0..2 {
        let (outcome, _) = judged(&api, &unfit).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::CustomClaims));
    }
    assert_eq!(READ.load(Ordering::SeqCst), 3, "a misfit is told each time");
    // Size and switch hold for the layer with the other type too.
    let off = layer.with_claims::<Counted>().without_token_cache();
    let off = Router::new().route("/", get(of)).layer(off);
    for _ in 0..2 {
        assert_eq!(judged(&off, &token).await, ANEW);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_with_the_same_token_all_get_the_same_answer() {
    let server = server();
    let layer = layer(&server);
    let token = long(&server);
    let api = api(layer.clone());
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (api, token) = (api.clone(), token.clone());
            tokio::spawn(async move {
                for _ in 0..20 {
                    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
                }
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(server.count(Endpoint::KeySet), 1);
    assert_eq!(remembered(&layer).0, 1);
}

#[tokio::test]
async fn issuers_of_one_layer_share_its_memory_and_each_judges_its_own() {
    let (staff, partners) = (
        server(),
        TestServer::new("https://partners.example.test").unwrap(),
    );
    let verifier = |server: &TestServer, audience: &str| {
        JwtVerifier::new(&server.authorization_server(), audience).unwrap()
    };
    let partner_token = partners.access_token().with_audience("partners").sign();
    let verifiers = [verifier(&staff, AUDIENCE), verifier(&partners, "partners")];
    let layer = BearerLayer::new(Verifier::issuers(verifiers).unwrap());
    let api = remembering(layer.clone(), &good(&staff).sign()).await;
    assert_eq!(judged(&api, &partner_token).await, ANEW);
    assert_eq!(judged(&api, &partner_token).await, REMEMBERED);
    assert_eq!(remembered(&layer).0, 2);
    partners.clock().adjust_wall_clock(400);
    assert_eq!(judged(&api, &partner_token).await, (EXPIRED, false));
}

#[tokio::test]
async fn a_tenant_that_is_gone_takes_its_remembered_tokens_with_it() {
    let server = server();
    let token = long(&server);
    let tenant = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let found = Arc::new(Mutex::new(Some(tenant.clone())));
    let registry = Arc::clone(&found);
    let lookup = IssuerLookup::new(
        |issuer| issuer == support::ISSUER,
        move |_| std::future::ready(Ok::<_, Infallible>(registry.lock().unwrap().clone())),
    );
    let lookup = lookup.with_clock(server.clock());
    let api = remembering(BearerLayer::new(lookup), &token).await;
    // Looked up again after ten minutes: the same verifier first, then one for another audience.
    server.clock().advance(secs(601));
    settle().await;
    assert_eq!(
        judged(&api, &token).await,
        ANEW,
        "the tenant is asked for first"
    );
    assert_eq!(judged(&api, &token).await, REMEMBERED);
    let other = JwtVerifier::new(&server.authorization_server(), "https://x.example.test");
    *found.lock().unwrap() = Some(other.unwrap());
    server.clock().advance(secs(601));
    settle().await;
    let elsewhere = Outcome::InvalidToken(Why::Audience);
    assert_eq!(judged(&api, &token).await, (elsewhere, false));
    *found.lock().unwrap() = Some(tenant);
    server.clock().advance(secs(601));
    settle().await;
    assert_eq!(judged(&api, &token).await.0, Outcome::Accepted);
    assert_eq!(judged(&api, &token).await, REMEMBERED);
    *found.lock().unwrap() = None;
    server.clock().advance(secs(601));
    settle().await;
    let gone = Outcome::InvalidToken(Why::Issuer);
    assert_eq!(judged(&api, &token).await, (gone, false));
}

#[tokio::test]
async fn opaque_tokens_are_not_remembered_here() {
    let server = server();
    let handle = server.authorization_server();
    let client = Client::confidential("api", "secret");
    let layer = BearerLayer::new(Verifier::jwt_or_opaque(
        JwtVerifier::new(&handle, AUDIENCE).unwrap(),
        IntrospectionVerifier::new(&handle, client, AUDIENCE).unwrap(),
    ));
    let api = remembering(layer.clone(), &good(&server).sign()).await;
    for _ in 0..2 {
        assert!(!judged(&api, "opaque").await.1);
    }
    assert_eq!(remembered(&layer).0, 1);
}
