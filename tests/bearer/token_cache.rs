//! The cache of verified tokens: the checks on every hit, invalidation and limits.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tower_oauth::issuer::KeySetHealth;
use tower_oauth::testing::{Endpoint, Fault, TestServer, TestSigningKey};
use tower_oauth::token::{
    IntrospectionVerifier, IssuerLookup, JwtVerifier, TokenProfile, Verifier,
    VerifyErrorKind as Why,
};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Client, VerifiedToken};

use crate::support::api::{
    self, AUDIENCE, Outcome, api, ask, good, layer, layer_of, present, present_at, server, settle,
    soon, until,
};
use crate::support::logs::Logs;

const UNKNOWN: Outcome = Outcome::InvalidToken(Why::UnknownKey);
const EXPIRED: Outcome = Outcome::InvalidToken(Why::Expired);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns the outcome of a request, and whether its token was found in the cache.
async fn outcome_at(api: &Router, path: &str, token: &str) -> (Outcome, bool) {
    let logs = Logs::default();
    let recording = logs.record();
    let outcome = present_at(api, path, token).await.outcome();
    drop(recording);
    (
        outcome,
        logs.text().contains("found the token in the cache"),
    )
}

async fn outcome(api: &Router, token: &str) -> (Outcome, bool) {
    outcome_at(api, "/", token).await
}

const MISS: (Outcome, bool) = (Outcome::Accepted, false);
const HIT: (Outcome, bool) = (Outcome::Accepted, true);

/// Returns an API that has cached this token.
async fn api_with_cached(layer: BearerLayer, token: &str) -> Router {
    let api = api(layer);
    assert_eq!(outcome(&api, token).await, MISS);
    assert_eq!(outcome(&api, token).await, HIT);
    api
}

/// Waits until the key set was refreshed in the background.
async fn refresh_keys(server: &TestServer, handle: &AuthorizationServer) {
    let fetched = server.count(Endpoint::KeySet);
    server.clock().advance(secs(480));
    soon(server.wait_for(Endpoint::KeySet, fetched + 1)).await;
    until(|| matches!(handle.health().keys, KeySetHealth::Fresh { age } if age.is_zero())).await;
}

fn long(server: &TestServer) -> String {
    good(server).with_expires_in(86_400).sign()
}

#[tokio::test]
async fn valid_tokens_are_cached_and_rejected_ones_are_not() {
    let server = server();
    let token = good(&server).sign();
    let api = api_with_cached(layer(&server), &token).await;
    let other = good(&server).sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let flipped = signature.replacen(|one: char| one != 'A', "A", 1);
    let cases = [
        ("a signature bit flipped", format!("{input}.{flipped}")),
        (
            "a shorter signature",
            format!("{input}.{}", &signature[..84]),
        ),
        (
            "the signature of another",
            format!("{input}.{}", other.rsplit_once('.').unwrap().1),
        ),
    ];
    for (name, forged) in cases {
        let refused = (Outcome::InvalidToken(Why::Signature), false);
        assert_eq!(outcome(&api, &forged).await, refused, "{name}");
        assert_eq!(outcome(&api, &forged).await, refused, "{name}, once more");
    }
    let mut cut = token.clone();
    cut.pop();
    assert_eq!(
        outcome(&api, &cut).await,
        (Outcome::InvalidToken(Why::Malformed), false)
    );
    assert_eq!(outcome(&api, &token).await, HIT);
    let expired = good(&server).with_expires_in(-60).sign();
    for _ in 0..2 {
        assert_eq!(outcome(&api, &expired).await, (EXPIRED, false));
    }
}

#[tokio::test]
async fn a_cached_token_is_rejected_after_it_expires() {
    let server = server();
    let token = good(&server).sign();
    let api = api_with_cached(layer(&server), &token).await;
    server.clock().adjust_wall_clock(300 + 29);
    assert_eq!(outcome(&api, &token).await, HIT, "within the leeway");
    server.clock().adjust_wall_clock(1);
    assert_eq!(outcome(&api, &token).await, (EXPIRED, false));
    // The expired entry was removed, so after the clock is set back the token is verified again.
    server.clock().adjust_wall_clock(-100);
    assert_eq!(outcome(&api, &token).await, MISS);
}

#[tokio::test]
async fn a_cached_token_is_rejected_if_the_clock_is_set_back_before_its_start() {
    let server = server();
    let now = server.clock().unix_seconds();
    let token = good(&server)
        .with_claim("nbf", now)
        .with_claim("iat", now - 3000)
        .sign();
    let api = api_with_cached(layer(&server), &token).await;
    server.clock().adjust_wall_clock(-31);
    let early = Outcome::InvalidToken(Why::NotYetValid);
    assert_eq!(outcome(&api, &token).await, (early, false));
}

#[tokio::test]
async fn a_cached_token_is_rejected_after_its_maximum_age() {
    let server = server();
    let token = long(&server);
    let verifier = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let verifier = verifier.with_max_age(secs(60)).unwrap();
    let api = api_with_cached(BearerLayer::new(verifier), &token).await;
    server.clock().adjust_wall_clock(60 + 29);
    assert_eq!(outcome(&api, &token).await, HIT);
    server.clock().adjust_wall_clock(1);
    let old = Outcome::InvalidToken(Why::TooOld);
    assert_eq!(outcome(&api, &token).await, (old, false));
}

#[tokio::test]
async fn a_withdrawn_key_invalidates_its_cached_tokens() {
    let server = server();
    let handle = server.authorization_server();
    let (token, key) = (long(&server), server.key(Algorithm::Es256));
    let api = api_with_cached(layer_of(&handle), &token).await;
    server.rotate_keys();
    server.remove_retired_keys();
    assert_eq!(
        outcome(&api, &token).await,
        HIT,
        "the key set was not fetched yet"
    );
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &token).await, (UNKNOWN, false));
    assert_eq!(outcome(&api, &long(&server)).await, MISS);

    // If the key returns, tokens are cached again; the old entries are gone.
    server.publish_key(&key);
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &token).await, MISS);
    assert_eq!(outcome(&api, &token).await, HIT);
}

#[tokio::test]
async fn a_key_withdrawn_during_a_suspend_is_not_used_afterwards() {
    let server = server();
    let token = long(&server);
    let api = api_with_cached(layer(&server), &token).await;
    server.rotate_keys();
    server.remove_retired_keys();
    server.clock().advance(secs(3000));
    // No task has run since then. The request waits for the new key set although its token is cached.
    assert_eq!(outcome(&api, &token).await, (UNKNOWN, false));
}

#[tokio::test]
async fn another_key_with_the_same_kid_invalidates_the_cached_tokens() {
    let server = server();
    let handle = server.authorization_server();
    let (token, old) = (long(&server), server.key(Algorithm::Es256));
    let api = api_with_cached(layer_of(&handle), &token).await;
    server.remove_key(old.kid());
    server.publish_key(&TestSigningKey::generate(Algorithm::Es256).with_kid(old.kid()));
    refresh_keys(&server, &handle).await;
    let forged = Outcome::InvalidToken(Why::Signature);
    assert_eq!(outcome(&api, &token).await, (forged, false));
}

#[tokio::test]
async fn a_key_that_is_published_again_keeps_its_cached_tokens() {
    let server = server();
    let handle = server.authorization_server();
    let token = long(&server);
    let api = api_with_cached(layer_of(&handle), &token).await;
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &token).await, HIT, "the same set");
    server.rotate_keys();
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &token).await, HIT, "beside a new key");
    server.publish_key(&TestSigningKey::generate(Algorithm::Rs256));
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &token).await, HIT, "beside a third");
}

#[tokio::test]
async fn a_key_that_becomes_ambiguous_invalidates_its_cached_tokens() {
    let ambiguous = Outcome::InvalidToken(Why::AmbiguousKey);
    let server = server();
    let handle = server.authorization_server();
    let key = server.key(Algorithm::Es256);
    let unnamed = good(&server)
        .with_expires_in(86_400)
        .without_header("kid")
        .sign();
    let named = long(&server);
    let api = api_with_cached(layer_of(&handle), &unnamed).await;
    assert_eq!(outcome(&api, &named).await, MISS);
    server.publish_key(&TestSigningKey::generate(Algorithm::Es256));
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &unnamed).await, HIT, "one of two");
    for _ in 0..2 {
        server.publish_key(&TestSigningKey::generate(Algorithm::Es256));
    }
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &unnamed).await, (ambiguous, false));
    assert_eq!(outcome(&api, &named).await, HIT);
    server.publish_key(&TestSigningKey::generate(Algorithm::Es256).with_kid(key.kid()));
    refresh_keys(&server, &handle).await;
    assert_eq!(outcome(&api, &named).await, (ambiguous, false));
}

#[tokio::test]
async fn an_outage_beyond_its_limit_affects_cached_tokens() {
    let server = server();
    let token = long(&server);
    let api = api_with_cached(layer(&server), &token).await;
    server.fail(Endpoint::KeySet, Fault::status(500));
    // The key set has a lifetime of ten minutes and is kept for one hour of outage.
    for _ in 0..69 {
        server.clock().advance(secs(60));
        settle().await;
    }
    assert!(server.count(Endpoint::KeySet) > 10);
    assert_eq!(outcome(&api, &token).await, HIT);
    server.clock().advance(secs(60));
    settle().await;
    assert_eq!(outcome(&api, &token).await, (Outcome::Unavailable, false));
    server.clear_faults(Endpoint::KeySet);
    server.clock().advance(secs(60));
    settle().await;
    assert_eq!(outcome(&api, &token).await.0, Outcome::Accepted);
    assert_eq!(outcome(&api, &token).await, HIT);
}

#[tokio::test]
async fn layers_do_not_share_cached_tokens() {
    let server = server();
    let handle = server.authorization_server();
    let token = long(&server);
    let verifier = JwtVerifier::new(&handle, AUDIENCE).unwrap();
    let here = api_with_cached(BearerLayer::new(verifier.clone()), &token).await;
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
            let (outcome, _) = outcome(&api, &token).await;
            assert_eq!(outcome, Outcome::InvalidToken(why), "{name}");
        }
    }
    assert_eq!(outcome(&here, &token).await, HIT);
    // Only clones of a layer share a cache.
    let first = layer_of(&handle);
    let one = api_with_cached(first.clone(), &token).await;
    assert_eq!(outcome(&api(first.clone().optional()), &token).await, HIT);
    assert_eq!(
        outcome(&api(first.with_token_cache(1 << 20)), &token).await,
        MISS
    );
    assert_eq!(outcome(&one, &token).await, HIT);
}

#[tokio::test]
async fn scopes_and_bindings_are_checked_on_every_request() {
    let server = server();
    let (reader, writer) = (
        good(&server).with_scope("read").sign(),
        good(&server).with_scope("write").sign(),
    );
    let api = api_with_cached(layer(&server), &writer).await;
    assert_eq!(outcome_at(&api, "/read", &reader).await, MISS);
    for _ in 0..2 {
        assert_eq!(outcome_at(&api, "/read", &reader).await, HIT);
        let refused = (Outcome::InsufficientScope, true);
        assert_eq!(outcome_at(&api, "/read", &writer).await, refused);
    }
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let bound = good(&server)
        .with_claim("cnf", json!({ "jkt": thumbprint }))
        .sign();
    for _ in 0..3 {
        let (outcome, _) = outcome(&api, &bound).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::Bound));
    }
}

#[tokio::test]
async fn an_optional_layer_caches_tokens_and_not_anonymous_requests() {
    let server = server();
    let token = good(&server).sign();
    let api = api(layer(&server).optional());
    assert_eq!(outcome_at(&api, "/maybe", &token).await, MISS);
    assert_eq!(outcome_at(&api, "/maybe", &token).await, HIT);
    let anonymous = http::Request::get("/maybe").body(axum::body::Body::empty());
    assert_eq!(ask(&api, anonymous.unwrap()).await.body, "anonymous");
    assert_eq!(
        present_at(&api, "/maybe", &token).await.body,
        r#"Some("alice")"#
    );
}

#[tokio::test]
async fn the_cache_can_be_disabled() {
    let server = server();
    let token = good(&server).sign();
    for layer in [
        layer(&server).without_token_cache(),
        layer(&server).with_token_cache(0),
        layer(&server).with_token_cache(100),
    ] {
        let api = api(layer);
        for _ in 0..3 {
            assert_eq!(outcome(&api, &token).await, MISS);
        }
    }
}

/// Returns the number of tokens and bytes in the `Debug` output of a layer.
fn cache_size(layer: &BearerLayer) -> (usize, usize) {
    let text = format!("{layer:?}");
    let number = |name: &str| {
        let rest = text.split(name).nth(1).unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    (number("TokenCache { tokens: "), number("bytes: "))
}

#[tokio::test]
async fn a_flood_of_valid_tokens_stays_within_the_bound() {
    const BOUND: usize = 128 * 1024;
    let server = server();
    let layer = layer(&server).with_token_cache(BOUND);
    let kept = long(&server);
    let api = api_with_cached(layer.clone(), &kept).await;
    assert_eq!(cache_size(&layer).0, 1);
    for _ in 0..600 {
        assert_eq!(
            present(&api, &long(&server)).await.outcome(),
            Outcome::Accepted
        );
        // An entry in use is not evicted.
        assert_eq!(present(&api, &kept).await.outcome(), Outcome::Accepted);
        assert!(cache_size(&layer).1 <= BOUND);
    }
    let (tokens, bytes) = cache_size(&layer);
    assert!(
        (80..300).contains(&tokens) && bytes > BOUND / 2,
        "{tokens} in {bytes}"
    );
    assert_eq!(outcome(&api, &kept).await, HIT);
    // A token larger than the cache is accepted, but not cached.
    let handle = server.authorization_server();
    let small = api::api(layer_of(&handle).with_token_cache(4096));
    let large = good(&server).with_claim("note", "x".repeat(6000)).sign();
    for _ in 0..2 {
        assert_eq!(outcome(&small, &large).await, MISS);
    }
}

/// Counts how often claims were deserialized.
#[derive(Debug)]
struct Counted {
    sub: String,
}

static DESERIALIZED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            sub: String,
            tenant: u32,
        }
        DESERIALIZED.fetch_add(1, Ordering::SeqCst);
        let Fields { sub, tenant } = Fields::deserialize(reader)?;
        assert!(tenant > 0);
        Ok(Self { sub })
    }
}

#[tokio::test]
async fn custom_claims_are_deserialized_once_per_token() {
    let server = server();
    let layer = layer(&server);
    let token = good(&server).with_claim("tenant", 7).sign();
    let of = async |token: VerifiedToken<Counted>| token.claims().sub.clone();
    let api = Router::new()
        .route("/", get(of))
        .layer(layer.clone().with_claims::<Counted>());
    for is_cached in [false, true, true] {
        assert_eq!(outcome(&api, &token).await, (Outcome::Accepted, is_cached));
    }
    assert_eq!(DESERIALIZED.load(Ordering::SeqCst), 1);
    let unfit = good(&server).sign();
    for _ in 0..2 {
        let (outcome, _) = outcome(&api, &unfit).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::CustomClaims));
    }
    assert_eq!(
        DESERIALIZED.load(Ordering::SeqCst),
        3,
        "a mismatch is not cached"
    );
    // The cache settings also apply to the layer with the other type.
    let off = layer.with_claims::<Counted>().without_token_cache();
    let off = Router::new().route("/", get(of)).layer(off);
    for _ in 0..2 {
        assert_eq!(outcome(&off, &token).await, MISS);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_with_one_token_share_its_entry() {
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
    assert_eq!(cache_size(&layer).0, 1);
}

#[tokio::test]
async fn issuers_of_one_layer_share_its_cache() {
    let (staff, partners) = (
        server(),
        crate::support::still_server("https://partners.example.test").unwrap(),
    );
    let verifier = |server: &TestServer, audience: &str| {
        JwtVerifier::new(&server.authorization_server(), audience).unwrap()
    };
    let partner_token = partners.access_token().with_audience("partners").sign();
    let verifiers = [verifier(&staff, AUDIENCE), verifier(&partners, "partners")];
    let layer = BearerLayer::new(Verifier::issuers(verifiers).unwrap());
    let api = api_with_cached(layer.clone(), &good(&staff).sign()).await;
    assert_eq!(outcome(&api, &partner_token).await, MISS);
    assert_eq!(outcome(&api, &partner_token).await, HIT);
    assert_eq!(cache_size(&layer).0, 2);
    partners.clock().adjust_wall_clock(400);
    assert_eq!(outcome(&api, &partner_token).await, (EXPIRED, false));
}

#[tokio::test]
async fn a_removed_tenant_invalidates_its_cached_tokens() {
    let server = server();
    let token = long(&server);
    let tenant = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let found = Arc::new(Mutex::new(Some(tenant.clone())));
    let registry = Arc::clone(&found);
    let lookup = IssuerLookup::new(
        |issuer| issuer == api::ISSUER,
        move |_| std::future::ready(Ok::<_, Infallible>(registry.lock().unwrap().clone())),
    );
    let lookup = lookup.with_clock(server.clock());
    let api = api_with_cached(BearerLayer::new(lookup), &token).await;
    // Looked up again after ten minutes: first the same verifier, then one for another audience.
    server.clock().advance(secs(601));
    settle().await;
    assert_eq!(
        outcome(&api, &token).await,
        MISS,
        "the tenant is looked up first"
    );
    assert_eq!(outcome(&api, &token).await, HIT);
    let other = JwtVerifier::new(&server.authorization_server(), "https://x.example.test");
    *found.lock().unwrap() = Some(other.unwrap());
    server.clock().advance(secs(601));
    settle().await;
    let elsewhere = Outcome::InvalidToken(Why::Audience);
    assert_eq!(outcome(&api, &token).await, (elsewhere, false));
    *found.lock().unwrap() = Some(tenant);
    server.clock().advance(secs(601));
    settle().await;
    assert_eq!(outcome(&api, &token).await.0, Outcome::Accepted);
    assert_eq!(outcome(&api, &token).await, HIT);
    *found.lock().unwrap() = None;
    server.clock().advance(secs(601));
    settle().await;
    let gone = Outcome::InvalidToken(Why::Issuer);
    assert_eq!(outcome(&api, &token).await, (gone, false));
}

#[tokio::test]
async fn opaque_tokens_are_not_in_the_token_cache() {
    let server = server();
    let handle = server.authorization_server();
    let client = Client::confidential("api", "secret");
    let layer = BearerLayer::new(Verifier::jwt_or_opaque(
        JwtVerifier::new(&handle, AUDIENCE).unwrap(),
        IntrospectionVerifier::new(&handle, client, AUDIENCE).unwrap(),
    ));
    let api = api_with_cached(layer.clone(), &good(&server).sign()).await;
    for _ in 0..2 {
        assert!(!outcome(&api, "opaque").await.1);
    }
    assert_eq!(cache_size(&layer).0, 1);
}
