//! Several issuers behind one layer, configured or looked up (`Verifier::issuers`, `IssuerLookup`).

mod lookup;

use axum::Router;
use serde_json::json;
use tower_oauth::issuer::StaticKeys;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TestSigningKey};
use tower_oauth::token::{IntrospectionVerifier, TokenProfile, Verifier, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer, Client, ConfigError, JwtVerifier};

use crate::support::api::{self, AUDIENCE, Outcome, api, case, check, fetches, good, present};

const ISSUER_REJECTED: Outcome = Outcome::InvalidToken(Why::Issuer);

fn server(issuer: &str) -> TestServer {
    crate::support::logs::listen();
    crate::support::still_server(issuer)
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
