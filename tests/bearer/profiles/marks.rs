//! Access tokens with a mark of the application.

use serde_json::{Value, json};
use tower_oauth::token::{Audience, JwtVerifier, ScopeClaim, TokenMark, TokenProfile};
use tower_oauth::{BearerLayer, ConfigError};

use super::{API, NOT_ACCESS, TYPE, token, vendor, with};
use crate::support::api::{Outcome, api, case, check};

const GITHUB: &str = "https://token.actions.githubusercontent.com";

fn github() -> Value {
    json!({
        "aud": API, "sub": "repo:acme/shop:ref:refs/heads/main", "jti": "j", "ref": "refs/heads/main",
        "repository": "acme/shop", "repository_owner": "acme", "run_id": "1",
    })
}

#[tokio::test]
async fn a_token_needs_every_claim_of_the_mark_and_must_not_state_another_type() {
    let server = vendor(GITHUB);
    let mark = TokenMark::claim("repository", "acme/shop").unwrap();
    let mark = mark.and_claim("repository_owner", "acme").unwrap();
    let verifier = || JwtVerifier::new(&server.authorization_server(), API).unwrap();
    let jwt = |claims: &Value| token(&server, Some("JWT"), claims);
    let cases = [
        case("the mark", jwt(&github()), Outcome::Accepted),
        case(
            "without typ",
            token(&server, None, &github()),
            Outcome::Accepted,
        ),
        case(
            "at+jwt",
            token(&server, Some("at+jwt"), &github()),
            Outcome::Accepted,
        ),
        case(
            "a logout token",
            token(&server, Some("logout+jwt"), &github()),
            TYPE,
        ),
        case(
            "another typ",
            token(&server, Some("x+jwt"), &github()),
            TYPE,
        ),
        case(
            "another value",
            jwt(&with(&github(), "repository", "acme/Shop")),
            NOT_ACCESS,
        ),
        case(
            "a list",
            jwt(&with(&github(), "repository", json!(["acme/shop"]))),
            NOT_ACCESS,
        ),
        case(
            "one claim only",
            jwt(&with(&github(), "repository_owner", json!(null))),
            NOT_ACCESS,
        ),
        case(
            "events",
            jwt(&with(&github(), "events", json!(null))),
            NOT_ACCESS,
        ),
        case("a nonce", jwt(&with(&github(), "nonce", "n")), NOT_ACCESS),
        case("at_hash", jwt(&with(&github(), "at_hash", "h")), NOT_ACCESS),
        case(
            "token_use id",
            jwt(&with(&github(), "token_use", "id")),
            NOT_ACCESS,
        ),
        case(
            "aud is the client",
            jwt(&with(&github(), "azp", API)),
            NOT_ACCESS,
        ),
        case(
            "another client",
            jwt(&with(&github(), "azp", "ci")),
            Outcome::Accepted,
        ),
    ];
    let marked = verifier().with_token_mark(mark.clone()).unwrap();
    check(&api(BearerLayer::new(marked.clone())), &cases).await;
    // The order of profile and mark does not matter.
    let other_way = verifier()
        .with_profile(TokenProfile::Generic)
        .with_token_mark(mark.clone());
    check(&api(BearerLayer::new(other_way.unwrap())), &cases).await;
    let generic = marked.with_profile(TokenProfile::Generic);
    check(&api(BearerLayer::new(generic)), &cases).await;

    let named = mark.clone().with_client_audience(API).unwrap();
    let typed = named.with_types(["x+jwt"]).unwrap();
    let layer = BearerLayer::new(verifier().with_token_mark(typed).unwrap());
    let own = with(&github(), "azp", API);
    let cases = [
        case(
            "named, typed",
            token(&server, Some("application/x+jwt"), &own),
            Outcome::Accepted,
        ),
        case("JWT", jwt(&own), TYPE),
        case("no typ", token(&server, None, &own), TYPE),
    ];
    check(&api(layer), &cases).await;
}

#[tokio::test]
async fn nested_claims_are_marks_and_an_audience_that_may_be_a_client_must_be_named() {
    let server = vendor("https://kubernetes.default.svc");
    let handle = server.authorization_server();
    let namespace =
        || TokenMark::claim(ScopeClaim::nested(["kubernetes.io", "namespace"]), "shop").unwrap();
    let claims = json!({
        "aud": ["api"], "sub": "system:serviceaccount:shop:till",
        "kubernetes.io": { "namespace": "shop", "serviceaccount": { "name": "till" } },
    });
    let named = namespace().with_client_audience("api").unwrap();
    let verifier = JwtVerifier::new(&handle, "api")
        .unwrap()
        .with_token_mark(named)
        .unwrap();
    let cases = [case(
        "nested",
        token(&server, None, &claims),
        Outcome::Accepted,
    )];
    check(&api(BearerLayer::new(verifier)), &cases).await;
    for audience in [
        Audience::from("api"),
        Audience::Unchecked,
        Audience::clients(["api"]),
    ] {
        let verifier = JwtVerifier::new(&handle, audience).unwrap();
        let refused = verifier.with_token_mark(namespace());
        assert!(
            matches!(refused, Err(ConfigError::Audience { .. })),
            "{refused:?}"
        );
    }
    assert!(TokenMark::claim("", "a").is_err() && TokenMark::claim("a", "").is_err());
    assert!(namespace().with_client_audience("").is_err());
    for types in [
        &[][..],
        &[""],
        &["JWT", "application/logout+jwt"],
        &["dpop+jwt"],
    ] {
        assert!(
            namespace().with_types(types.iter().copied()).is_err(),
            "{types:?}"
        );
    }
}
