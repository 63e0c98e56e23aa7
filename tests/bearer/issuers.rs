//! Several issuers behind one layer, configured or looked up (`Verifier::issuers`, `IssuerLookup`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use serde_json::json;
use tower_oauth::issuer::StaticKeys;
use tower_oauth::testing::{
    Endpoint, Fault, ManualClock, TestClient, TestServer, TestSigningKey, TokenMint,
};
use tower_oauth::token::{
    IntrospectionVerifier, IssuerLookup, TokenProfile, Verifier, VerifyErrorKind as Why,
};
use tower_oauth::{Algorithm, BearerLayer, Client, ConfigError, JwtVerifier};

use crate::support::api::{
    self, AUDIENCE, Outcome, api, case, check, fetches, good, present, until,
};

const ISSUER_REJECTED: Outcome = Outcome::InvalidToken(Why::Issuer);

fn server(issuer: &str) -> TestServer {
    crate::support::logs::listen();
    TestServer::new(issuer)
        .unwrap()
        .with_algorithm(Algorithm::Es256)
}

fn verifier(server: &TestServer, audience: &str) -> JwtVerifier {
    JwtVerifier::new(&server.authorization_server(), audience).unwrap()
}

fn behind(verifier: impl Into<Verifier>) -> Router {
    api(BearerLayer::new(verifier))
}

#[tokio::test]
async fn each_issuer_has_its_own_verifier() {
    let (a, b) = (
        server("https://a.example.test"),
        server("https://b.example.test"),
    );
    let of_b = verifier(&b, "b-api")
        .with_profile(TokenProfile::Generic)
        .with_algorithms([Algorithm::EdDsa])
        .unwrap()
        .with_scopes_from(["permissions"])
        .unwrap();
    let api = behind(Verifier::issuers([verifier(&a, "a-api"), of_b]).unwrap());
    let to_a = || a.access_token().with_audience("a-api");
    let to_b = || {
        let token = b.access_token().with_header("typ", "JWT");
        let token = token.with_algorithm(Algorithm::EdDsa);
        token
            .with_audience("b-api")
            .with_claim("permissions", json!(["read"]))
    };
    // Each token causes fetches at its own server only.
    assert_eq!(
        present(&api, &to_a().sign()).await.outcome(),
        Outcome::Accepted
    );
    assert_eq!((fetches(&a), fetches(&b)), ((1, 1), (0, 0)));
    let answer = api::present_at(&api, "/read", &to_b().sign()).await;
    assert_eq!(answer.outcome(), Outcome::Accepted);
    assert_eq!((fetches(&a), fetches(&b)), ((1, 1), (1, 1)));
    let cases = [
        case(
            "A's audience is not B's",
            to_a().with_audience("b-api").sign(),
            Outcome::InvalidToken(Why::Audience),
        ),
        case(
            "nor the other way round",
            to_b().with_audience("a-api").sign(),
            Outcome::InvalidToken(Why::Audience),
        ),
        case(
            "A does not take B's algorithm",
            to_a().with_algorithm(Algorithm::Rs512).sign(),
            Outcome::InvalidToken(Why::Algorithm),
        ),
        case(
            "B does not take A's",
            to_b().with_algorithm(Algorithm::Es256).sign(),
            Outcome::InvalidToken(Why::Algorithm),
        ),
        case(
            "A does not take B's profile",
            to_a().with_header("typ", "JWT").sign(),
            Outcome::InvalidToken(Why::Type),
        ),
    ];
    check(&api, &cases).await;
    // A has its scopes in `scope`, B in `permissions`; each mapping applies to its own issuer only.
    for (token, expect) in [
        (to_a().with_scope("read"), Outcome::Accepted),
        (
            to_a().with_claim("permissions", json!(["read"])),
            Outcome::InsufficientScope,
        ),
        (
            to_b()
                .with_claim("permissions", json!([]))
                .with_scope("read"),
            Outcome::InsufficientScope,
        ),
    ] {
        let answer = api::present_at(&api, "/read", &token.sign()).await;
        assert_eq!(answer.outcome(), expect);
    }
}

#[tokio::test]
async fn a_key_of_one_issuer_never_verifies_a_token_of_another() {
    let (a, b) = (
        server("https://a.example.test"),
        server("https://b.example.test"),
    );
    let key_of_a = TestSigningKey::generate(Algorithm::Es256).with_kid("1");
    let key_of_b = TestSigningKey::generate(Algorithm::Es256).with_kid("1");
    a.publish_key(&key_of_a);
    b.publish_key(&key_of_b);
    let only_bs = TestSigningKey::generate(Algorithm::Es256).with_kid("2");
    b.publish_key(&only_bs);
    let fixed = StaticKeys::from_jwks(&json!({ "keys": [key_of_b.public_jwk()] }).to_string());
    let c = server("https://c.example.test");
    let of_c = c.authorization_server().with_keys(fixed.unwrap());
    let of_c = JwtVerifier::new(&of_c, AUDIENCE).unwrap();
    let list = [verifier(&a, AUDIENCE), verifier(&b, AUDIENCE), of_c];
    let api = behind(Verifier::issuers(list).unwrap());
    let token = |issuer: &TestServer, key: &TestSigningKey| good(issuer).with_key(key).sign();
    let signature = Outcome::InvalidToken(Why::Signature);
    let cases = [
        case("A by A", token(&a, &key_of_a), Outcome::Accepted),
        case("B by B", token(&b, &key_of_b), Outcome::Accepted),
        case(
            "C by its fixed key",
            token(&c, &key_of_b),
            Outcome::Accepted,
        ),
        case("A by B, equal kid", token(&a, &key_of_b), signature),
        case("B by A, equal kid", token(&b, &key_of_a), signature),
        case("C by A, equal kid", token(&c, &key_of_a), signature),
        case(
            "A by a key that only B has",
            token(&a, &only_bs),
            Outcome::InvalidToken(Why::UnknownKey),
        ),
        case(
            "C by a key that only B has",
            token(&c, &only_bs),
            Outcome::InvalidToken(Why::UnknownKey),
        ),
    ];
    check(&api, &cases).await;
    assert!(c.requests().is_empty());
}

#[tokio::test]
async fn a_token_of_an_unknown_issuer_is_rejected_without_a_fetch() {
    let (a, b) = (
        server("https://a.example.test"),
        server("https://b.example.test"),
    );
    let list = [verifier(&a, AUDIENCE), verifier(&b, AUDIENCE)];
    let api = behind(Verifier::issuers(list).unwrap());
    let of = |issuer: &str| good(&a).with_issuer(issuer).sign();
    let long = format!("https://a.example.test/{}", "x".repeat(2000));
    let malformed = Outcome::InvalidToken(Why::Malformed);
    let cases = [
        case(
            "an unknown issuer",
            of("https://c.example.test"),
            ISSUER_REJECTED,
        ),
        case("a slash", of("https://a.example.test/"), ISSUER_REJECTED),
        case(
            "another case",
            of("https://A.example.test"),
            ISSUER_REJECTED,
        ),
        case("empty", of(""), ISSUER_REJECTED),
        case("very long", of(&long), ISSUER_REJECTED),
        case(
            "none",
            good(&a).without_claim("iss").sign(),
            ISSUER_REJECTED,
        ),
        case(
            "both",
            good(&a)
                .with_claim("iss", json!([a.issuer(), b.issuer()]))
                .sign(),
            ISSUER_REJECTED,
        ),
        case(
            "twice",
            good(&a)
                .add_raw_claim("iss", r#""https://b.example.test""#)
                .sign(),
            malformed,
        ),
        case("no JWS", "a.b", malformed),
        case(
            "no algorithm",
            good(&a)
                .without_signature()
                .with_header("alg", "none")
                .sign()
                + "AAAA",
            Outcome::InvalidToken(Why::Algorithm),
        ),
        case(
            "too long",
            "a".repeat(20_000),
            Outcome::InvalidToken(Why::TooLong),
        ),
    ];
    check(&api, &cases).await;
    assert!(a.requests().is_empty() && b.requests().is_empty());
}

#[tokio::test]
async fn an_outage_of_one_issuer_does_not_affect_others() {
    let (a, b) = (
        server("https://a.example.test"),
        server("https://b.example.test"),
    );
    let list = [verifier(&a, AUDIENCE), verifier(&b, AUDIENCE)];
    let api = behind(Verifier::issuers(list).unwrap());
    a.fail(Endpoint::KeySet, Fault::disconnect());
    assert_eq!(
        present(&api, &good(&a).sign()).await.outcome(),
        Outcome::Unavailable
    );
    assert_eq!(
        present(&api, &good(&b).sign()).await.outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn opaque_tokens_can_be_combined_with_several_issuers() {
    let a = server("https://a.example.test").add_client(TestClient::confidential("api", "secret"));
    let b = server("https://b.example.test");
    let client = Client::confidential("api", "secret");
    let handle = a.authorization_server();
    let opaque = IntrospectionVerifier::new(&handle, client, AUDIENCE).unwrap();
    let jwts = Verifier::issuers([verifier(&a, AUDIENCE), verifier(&b, AUDIENCE)]).unwrap();
    let api = behind(Verifier::jwt_or_opaque(jwts, opaque));
    let unknown = good(&a).with_issuer("https://c.example.test").sign();
    let cases = [
        case("A's", good(&a).sign(), Outcome::Accepted),
        case("B's", good(&b).sign(), Outcome::Accepted),
        case("an unknown issuer", unknown, ISSUER_REJECTED),
        case("opaque", good(&a).opaque(), Outcome::Accepted),
    ];
    check(&api, &cases).await;
    assert_eq!(a.count(Endpoint::Introspection), 1, "no JWT is asked about");
}

#[test]
fn at_least_one_issuer_is_required_and_none_twice() {
    let a = server("https://a.example.test");
    let twice = Verifier::issuers([verifier(&a, "one"), verifier(&a, "two")]);
    assert!(matches!(twice, Err(ConfigError::Issuer { .. })));
    let none = Verifier::issuers([]);
    assert!(matches!(none, Err(ConfigError::Setting { .. })));
}

/// A lookup of tenants with a manual clock, which counts its calls.
#[derive(Clone)]
struct Tenants {
    clock: ManualClock,
    servers: Arc<Mutex<HashMap<String, TestServer>>>,
    asked: Arc<AtomicUsize>,
    mood: Arc<Mutex<Mood>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    Fails,
    Hangs,
    Panics,
    Confused,
}

const HOST: &str = "https://tenants.example.test/";

impl Tenants {
    fn new() -> Self {
        crate::support::logs::listen();
        Self {
            clock: ManualClock::new(1_800_000_000),
            servers: Arc::default(),
            asked: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Answers)),
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

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn api(&self) -> Router {
        let tenants = self.clone();
        let lookup = move |issuer: String| {
            tenants.asked.fetch_add(1, Ordering::SeqCst);
            let mood = *tenants.mood.lock().unwrap();
            assert!(mood != Mood::Panics, "as it was told");
            let found = tenants.servers.lock().unwrap().get(&issuer).cloned();
            async move {
                match mood {
                    Mood::Fails => return Err("the database is away"),
                    Mood::Hangs => std::future::pending().await,
                    Mood::Confused => {
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
    for mood in [Mood::Fails, Mood::Panics, Mood::Confused] {
        tenants.is(mood);
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Unavailable);
        asked += 1;
        assert_eq!(tenants.asked(), asked);
        tenants.clock.advance(Duration::from_millis(250));
    }
    tenants.is(Mood::Fails);
    for _ in 0..10 {
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Unavailable);
    }
    assert_eq!(tenants.asked(), asked + 1, "a failure is shared");
    tenants.is(Mood::Answers);
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
    tenants.is(Mood::Hangs);
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
    tenants.is(Mood::Answers);
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
    tenants.is(Mood::Fails);
    tenants.clock.advance(Duration::from_secs(600));
    for _ in 0..5 {
        assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    }
    assert_eq!(tenants.asked(), 2, "a failure is shared");
    tenants.clock.advance(Duration::from_secs(3599));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    tenants.clock.advance(Duration::from_secs(5));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Unavailable);
    tenants.is(Mood::Answers);
    tenants.clock.advance(Duration::from_secs(1));
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
}

#[tokio::test]
async fn while_a_lookup_hangs_later_requests_use_the_cached_tenant_without_waiting() {
    let tenants = Tenants::new();
    let acme = tenants.add("acme");
    let api = tenants.api();
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
    tenants.is(Mood::Hangs);
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
    tenants.is(Mood::Hangs);
    let waiting: Vec<_> = (0..256)
        .map(|at| {
            let token = of(&acme).with_issuer(&format!("{HOST}hanging/{at}"));
            let (api, token) = (api.clone(), token.sign());
            tokio::spawn(async move { present(&api, &token).await.outcome() })
        })
        .collect();
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
    tenants.is(Mood::Hangs);
    let waiting: Vec<_> = (0..256)
        .map(|at| {
            let token = of(&acme).with_issuer(&format!("{HOST}hanging/{at}"));
            let (api, token) = (api.clone(), token.sign());
            tokio::spawn(async move { present(&api, &token).await.outcome() })
        })
        .collect();
    until(|| tenants.asked() == 256).await;
    api::settle().await;
    tenants.clock.advance(Duration::from_secs(2));
    for one in waiting {
        assert_eq!(one.await.unwrap(), Outcome::Unavailable);
    }
    tenants.is(Mood::Answers);
    assert_eq!(outcome(&api, &of(&acme)).await, Outcome::Accepted);
}
