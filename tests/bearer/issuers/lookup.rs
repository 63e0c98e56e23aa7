//! Issuers that the application looks up (`IssuerLookup`): caching, limits and failures.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use tower_oauth::testing::{Endpoint, Fault, ManualClock, TestServer, TokenMint};
use tower_oauth::token::{IssuerLookup, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, JwtVerifier};

use super::{ISSUER_REJECTED, behind, server, verifier};
use crate::support::api::{self, AUDIENCE, Outcome, fetches, good, present, until};

/// A lookup of tenants with a manual clock, which counts its calls.
#[derive(Clone)]
struct Tenants {
    clock: ManualClock,
    servers: Arc<Mutex<HashMap<String, TestServer>>>,
    asked: Arc<AtomicUsize>,
    behavior: Arc<Mutex<Behavior>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Behavior {
    Finds,
    Fails,
    Hangs,
    Panics,
    FindsAnother,
}

const HOST: &str = "https://tenants.example.test/";

impl Tenants {
    fn new() -> Self {
        crate::support::logs::listen();
        Self {
            clock: ManualClock::new(1_800_000_000),
            servers: Arc::default(),
            asked: Arc::default(),
            behavior: Arc::new(Mutex::new(Behavior::Finds)),
        }
    }

    fn add(&self, name: &str) -> TestServer {
        let server = server(&format!("{HOST}{name}")).with_clock(self.clock.clone());
        let mut servers = self.servers.lock().unwrap();
        servers.insert(server.issuer().to_owned(), server.clone());
        server
    }

    fn remove(&self, server: &TestServer) {
        self.servers.lock().unwrap().remove(server.issuer());
    }

    fn set(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn api(&self) -> Router {
        let tenants = self.clone();
        let lookup = move |issuer: String| {
            tenants.asked.fetch_add(1, Ordering::SeqCst);
            let behavior = *tenants.behavior.lock().unwrap();
            assert!(behavior != Behavior::Panics, "the lookup panics");
            let found = tenants.servers.lock().unwrap().get(&issuer).cloned();
            async move {
                match behavior {
                    Behavior::Fails => return Err("the database is away"),
                    Behavior::Hangs => std::future::pending().await,
                    Behavior::FindsAnother => {
                        return Ok(Some(verifier(&server("https://x.example.test"), AUDIENCE)));
                    }
                    _ => {}
                }
                tokio::task::yield_now().await;
                Ok(found.map(|server| verifier(&server, AUDIENCE)))
            }
        };
        let lookup = IssuerLookup::new(|issuer| issuer.starts_with(HOST), lookup);
        behind(lookup.with_clock(self.clock.clone()))
    }
}

fn of(server: &TestServer) -> TokenMint {
    good(server)
}

async fn outcome(api: &Router, token: &TokenMint) -> Outcome {
    present(api, &token.sign()).await.outcome()
}

/// Starts as many lookups of invented issuers as may be in progress.
fn hanging(api: &Router, server: &TestServer) -> Vec<tokio::task::JoinHandle<Outcome>> {
    (0..256)
        .map(|at| {
            let token = of(server).with_issuer(&format!("{HOST}hanging/{at}"));
            let (api, token) = (api.clone(), token.sign());
            tokio::spawn(async move { present(&api, &token).await.outcome() })
        })
        .collect()
}

#[tokio::test]
async fn concurrent_requests_share_one_lookup_and_its_result_is_cached() {
    let tenants = Tenants::new();
    let (acme, umbrella) = (tenants.add("acme"), tenants.add("umbrella"));
    let api = tenants.api();
    let requests: Vec<_> = (0..100)
        .map(|at| {
            let (api, server) = (api.clone(), if at % 2 == 0 { &acme } else { &umbrella });
            let token = of(server).sign();
            tokio::spawn(async move { present(&api, &token).await.outcome() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), Outcome::Accepted);
    }
    assert_eq!(tenants.asked(), 2);
    assert_eq!((fetches(&acme), fetches(&umbrella)), ((1, 1), (1, 1)));
    for _ in 0..3 {
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    }
    assert_eq!((tenants.asked(), fetches(&acme)), (2, (1, 1)));
    // A key of one tenant does not verify the tokens of another.
    let stolen = of(&acme).with_key(&umbrella.key(Algorithm::Es256));
    assert_eq!(
        outcome(&api, &stolen).await,
        Outcome::InvalidToken(Why::UnknownKey)
    );
}

#[tokio::test]
async fn an_issuer_that_is_not_allowed_is_rejected_before_any_lookup() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    for issuer in [
        "https://tenants.example.test",
        "https://tenants.example.test.evil.test/acme",
        "http://tenants.example.test/acme",
        "https://evil.test/?https://tenants.example.test/acme",
        "",
    ] {
        assert_eq!(
            outcome(&api, &of(&acme).with_issuer(issuer)).await,
            ISSUER_REJECTED,
            "{issuer}"
        );
    }
    let long = format!("{HOST}{}", "x".repeat(2000));
    assert_eq!(
        outcome(&api, &of(&acme).with_issuer(&long)).await,
        ISSUER_REJECTED
    );
    assert_eq!(
        outcome(&api, &of(&acme).without_claim("iss")).await,
        ISSUER_REJECTED
    );
    assert_eq!(tenants.asked(), 0);
    assert!(acme.requests().is_empty());
}

#[tokio::test]
async fn an_issuer_that_was_not_found_is_cached_for_a_minute() {
    let tenants = Tenants::new();
    let api = tenants.api();
    let late = server(&format!("{HOST}late")).with_clock(tenants.clock.clone());
    for _ in 0..5 {
        assert_eq!(outcome(&api, &of(&late)).await, ISSUER_REJECTED);
    }
    assert_eq!(tenants.asked(), 1);
    let late = tenants.add("late");
    tenants.clock.advance(Duration::from_secs(59));
    assert_eq!(outcome(&api, &of(&late)).await, ISSUER_REJECTED);
    tenants.clock.advance(Duration::from_secs(1));
    assert_eq!(outcome(&api, &of(&late)).await, Outcome::Accepted);
    assert_eq!(tenants.asked(), 2);
}

#[tokio::test]
async fn a_failed_lookup_is_503_and_is_retried() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    let mut asked = 0;
    for behavior in [Behavior::Fails, Behavior::Panics, Behavior::FindsAnother] {
        tenants.set(behavior);
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Unavailable);
        asked += 1;
        assert_eq!(tenants.asked(), asked);
        tenants.clock.advance(Duration::from_millis(250));
    }
    tenants.set(Behavior::Fails);
    for _ in 0..10 {
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Unavailable);
    }
    assert_eq!(tenants.asked(), asked + 1, "a failure is shared");
    tenants.set(Behavior::Finds);
    tenants.clock.advance(Duration::from_millis(250));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    assert_eq!(tenants.asked(), asked + 2);
}

#[tokio::test]
async fn a_request_waits_at_most_two_seconds_for_a_lookup() {
    let tenants = Tenants::new();
    let (acme, umbrella) = (tenants.add("acme"), tenants.add("umbrella"));
    let api = tenants.api();
    assert_eq!(outcome(&api, &of(&umbrella)).await, Outcome::Accepted);
    tenants.set(Behavior::Hangs);
    let waiting = {
        let (api, token) = (api.clone(), of(&acme).sign());
        tokio::spawn(async move { present(&api, &token).await.outcome() })
    };
    until(|| tenants.asked() == 2).await;
    api::settle().await;
    // A known tenant does not wait for an unknown one.
    assert_eq!(outcome(&api, &of(&umbrella)).await, Outcome::Accepted);
    tenants.clock.advance(Duration::from_secs(2));
    assert_eq!(waiting.await.unwrap(), Outcome::Unavailable);
    // The lookup times out as well, and the next request starts another one.
    tenants.clock.advance(Duration::from_secs(8));
    api::settle().await;
    tenants.set(Behavior::Finds);
    tenants.clock.advance(Duration::from_millis(250));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    assert_eq!(tenants.asked(), 3);
}

#[tokio::test]
async fn a_removed_tenant_is_rejected_after_the_next_lookup() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    tenants.remove(&acme);
    let token = of(&acme).with_expires_in(3600).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    tenants.clock.advance(Duration::from_secs(599));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    assert_eq!(tenants.asked(), 1);
    tenants.clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(present(&api, &token).await.outcome(), ISSUER_REJECTED);
    }
    assert_eq!(tenants.asked(), 2);
}

#[tokio::test]
async fn a_cached_tenant_is_used_for_another_hour_while_lookups_fail() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    tenants.set(Behavior::Fails);
    tenants.clock.advance(Duration::from_secs(600));
    for _ in 0..5 {
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    }
    assert_eq!(tenants.asked(), 2, "a failure is shared");
    tenants.clock.advance(Duration::from_secs(3599));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    tenants.clock.advance(Duration::from_secs(5));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Unavailable);
    tenants.set(Behavior::Finds);
    tenants.clock.advance(Duration::from_secs(1));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
}

#[tokio::test]
async fn while_a_lookup_hangs_later_requests_use_the_cached_tenant_without_waiting() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    tenants.set(Behavior::Hangs);
    tenants.clock.advance(Duration::from_secs(600));
    let waiting = {
        let (api, token) = (api.clone(), of(&acme).sign());
        tokio::spawn(async move { present(&api, &token).await.outcome() })
    };
    until(|| tenants.asked() == 2).await;
    api::settle().await;
    tenants.clock.advance(Duration::from_secs(2));
    assert_eq!(waiting.await.unwrap(), Outcome::Accepted);
    for _ in 0..3 {
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    }
    assert_eq!(tenants.asked(), 2);
}

#[tokio::test]
async fn invented_issuers_do_not_evict_known_ones() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    for at in 0..600 {
        let made_up = of(&acme).with_issuer(&format!("{HOST}{at}"));
        assert_eq!(outcome(&api, &made_up).await, ISSUER_REJECTED);
    }
    assert_eq!(tenants.asked(), 601);
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    assert_eq!(tenants.asked(), 601);
    // At the limit of concurrent lookups, no further one begins.
    tenants.set(Behavior::Hangs);
    let waiting = hanging(&api, &acme);
    until(|| tenants.asked() == 601 + 256).await;
    let one_more = of(&acme).with_issuer(&format!("{HOST}one-more"));
    assert_eq!(outcome(&api, &one_more).await, Outcome::Unavailable);
    assert_eq!(tenants.asked(), 601 + 256);
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    api::settle().await;
    tenants.clock.advance(Duration::from_secs(2));
    for one in waiting {
        assert_eq!(one.await.unwrap(), Outcome::Unavailable);
    }
}

#[tokio::test]
async fn hanging_lookups_of_invented_issuers_do_not_block_the_lookup_of_a_tenant() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    tenants.set(Behavior::Hangs);
    let waiting = hanging(&api, &acme);
    until(|| tenants.asked() == 256).await;
    api::settle().await;
    tenants.clock.advance(Duration::from_secs(2));
    for one in waiting {
        assert_eq!(one.await.unwrap(), Outcome::Unavailable);
    }
    tenants.set(Behavior::Finds);
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
}

/// So a flood does not keep a removed tenant.
#[tokio::test]
async fn hanging_lookups_of_invented_issuers_do_not_delay_the_next_lookup_of_a_known_tenant() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    let token = of(&acme).with_expires_in(3600).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    tenants.clock.advance(Duration::from_secs(600));
    tenants.set(Behavior::Hangs);
    let waiting = hanging(&api, &acme);
    until(|| tenants.asked() == 257).await;
    let known = tokio::spawn(async move { present(&api, &token).await.outcome() });
    until(|| tenants.asked() == 258).await;
    api::settle().await;
    tenants.clock.advance(Duration::from_secs(2));
    assert_eq!(known.await.unwrap(), Outcome::Accepted);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Outcome::Unavailable);
    }
}

/// A lookup that panicked does not block later ones.
#[tokio::test]
async fn a_lookup_that_panicked_does_not_keep_a_removed_tenant() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    let token = of(&acme).with_expires_in(7200).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    tenants.set(Behavior::Panics);
    tenants.clock.advance(Duration::from_secs(600));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    tenants.set(Behavior::Finds);
    tenants.remove(&acme);
    tenants.clock.advance(Duration::from_secs(60));
    assert_eq!(present(&api, &token).await.outcome(), ISSUER_REJECTED);
    assert_eq!(tenants.asked(), 3);
}

/// A change of the allow-list applies immediately.
#[tokio::test]
async fn a_tenant_that_is_no_longer_allowed_is_rejected_despite_the_cache() {
    let server = server(&format!("{HOST}acme"));
    let known = server.authorization_server();
    let allowed = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&allowed);
    let lookup = move |_| {
        let found = JwtVerifier::new(&known, AUDIENCE).unwrap();
        async { Ok::<_, std::io::Error>(Some(found)) }
    };
    let lookup = IssuerLookup::new(move |_| asked.load(Ordering::SeqCst), lookup);
    let api = behind(lookup.with_clock(server.clock()));
    let token = good(&server).sign();
    for is_allowed in [true, false, true] {
        allowed.store(is_allowed, Ordering::SeqCst);
        let expect = if is_allowed {
            Outcome::Accepted
        } else {
            ISSUER_REJECTED
        };
        assert_eq!(present(&api, &token).await.outcome(), expect);
    }
}

/// The lookup of [`Tenants`] creates an `AuthorizationServer` each time.
#[tokio::test]
async fn keys_outlive_the_handle_of_a_tenant_that_is_looked_up_again() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    let token = of(&acme).with_expires_in(86_400);
    assert_eq!(outcome(&api, &token).await, Outcome::Accepted);
    acme.fail(Endpoint::Metadata, Fault::disconnect());
    acme.fail(Endpoint::KeySet, Fault::disconnect());
    tenants.clock.advance(Duration::from_secs(601));
    assert_eq!(
        outcome(&api, &token).await,
        Outcome::Accepted,
        "after the second lookup"
    );
    assert_eq!(tenants.asked(), 2);
    tenants.clock.advance(Duration::from_secs(3000));
    assert_eq!(
        outcome(&api, &token).await,
        Outcome::Accepted,
        "within the outage limit"
    );
    tenants.clock.advance(Duration::from_secs(1200));
    assert_eq!(
        outcome(&api, &token).await,
        Outcome::Unavailable,
        "beyond the outage limit"
    );
    // `None` ends a tenant at once.
    acme.clear_faults(Endpoint::Metadata);
    acme.clear_faults(Endpoint::KeySet);
    tenants.clock.advance(Duration::from_secs(61));
    assert_eq!(outcome(&api, &token).await, Outcome::Accepted);
    tenants.remove(&acme);
    tenants.clock.advance(Duration::from_secs(600));
    assert_eq!(outcome(&api, &token).await, ISSUER_REJECTED);
}

/// Not by the issuer alone: another back channel or metadata address may be another server.
#[tokio::test]
async fn keys_are_not_carried_over_to_another_back_channel_or_metadata_address() {
    for changes_channel in [true, false] {
        let (first, second) = (
            server(&format!("{HOST}acme")),
            server(&format!("{HOST}acme")),
        );
        let second = second.with_clock(first.clock());
        let asked = Arc::new(AtomicUsize::new(0));
        let (one, other) = (first.authorization_server(), second.authorization_server());
        let other = match changes_channel {
            true => other,
            false => {
                let address = format!("{HOST}elsewhere/.well-known/openid-configuration");
                first
                    .authorization_server()
                    .with_metadata_url(&address)
                    .unwrap()
            }
        };
        let lookup = move |_| {
            let handle = match asked.fetch_add(1, Ordering::SeqCst) {
                0 => &one,
                _ => &other,
            };
            let found = JwtVerifier::new(handle, AUDIENCE).unwrap();
            async { Ok::<_, std::io::Error>(Some(found)) }
        };
        let lookup = IssuerLookup::new(|_| true, lookup).with_clock(first.clock());
        let api = behind(lookup);
        let token = good(&first).with_expires_in(86_400);
        assert_eq!(outcome(&api, &token).await, Outcome::Accepted);
        first.clock().advance(Duration::from_secs(601));
        assert_ne!(
            outcome(&api, &token).await,
            Outcome::Accepted,
            "{changes_channel}"
        );
    }
}
