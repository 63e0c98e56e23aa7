//! The configuration profile: discovery and keys.

use serde_json::json;
use tower_oauth::Algorithm;
use tower_oauth::testing::{Endpoint, Fault};

use super::Outcome::{Accepts, Rejects};
use super::{Module, World, run};
use crate::support::shop::ISSUER;

const MODULES: &[Module] = &[
    ("oidcc-client-test-discovery-openid-config", |_| {}, Accepts),
    (
        "oidcc-client-test-discovery-jwks-uri-keys",
        |server| {
            let keys = json!({ "keys": [server.key(Algorithm::Rs256).public_jwk()] });
            let keys = Fault::body("application/json", keys.to_string());
            server.fail(Endpoint::Unknown, keys);
            let address = Fault::member("jwks_uri", format!("{ISSUER}/keys/of/this/run"));
            server.fail(Endpoint::Metadata, address);
            server.fail(Endpoint::KeySet, Fault::status(404));
        },
        Accepts,
    ),
    (
        "oidcc-client-test-discovery-issuer-mismatch",
        |server| {
            let issuer = Fault::member("issuer", "https://other.example.test");
            server.fail(Endpoint::Metadata, issuer);
        },
        Rejects("metadata_configuration"),
    ),
];

/// OpenID Connect Discovery §4.
#[tokio::test]
async fn endpoints_and_keys_are_those_of_the_document_of_the_issuer() {
    run(|login| login, MODULES).await;
}

/// OpenID Connect Discovery §4.3: nothing is sent to endpoints of a document of another issuer.
#[tokio::test]
async fn a_document_of_another_issuer_starts_no_login() {
    let world = World::new(|login| login);
    let (_, behave, _) = MODULES[2];
    behave(&world.server);
    world.sign_in().await;
    let requests = world.server.requests();
    let beyond = requests
        .iter()
        .find(|it| it.endpoint() != Endpoint::Metadata);
    assert!(beyond.is_none(), "{beyond:?}");
}

/// `oidcc-client-test-signing-key-rotation-just-before-signing`: the keys are rotated between the authorization
/// request and the ID token (OpenID Connect Core §10.1.1).
#[tokio::test]
async fn keys_that_are_rotated_during_a_login_are_fetched() {
    let world = World::new(|login| login);
    world.sign_in().await;
    assert_eq!(world.server.count(Endpoint::KeySet), 1);
    // Another browser, whose login starts with the old keys cached.
    world.browser.clear_cookies();
    world.server.clear_requests();
    let page = world.open("/account").await;
    world.server.rotate_keys();
    world.server.remove_retired_keys();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    let module = "oidcc-client-test-signing-key-rotation-just-before-signing";
    world.assert_outcome(module, Accepts, &page);
    assert_eq!(world.server.count(Endpoint::KeySet), 1);
}

/// `oidcc-client-test-signing-key-rotation`: the keys are rotated between two logins.
#[tokio::test]
async fn keys_that_are_rotated_between_two_logins_are_fetched() {
    let world = World::new(|login| login);
    let module = "oidcc-client-test-signing-key-rotation";
    for fetches in [1, 2] {
        world.browser.clear_cookies();
        let page = world.sign_in().await;
        world.assert_outcome(module, Accepts, &page);
        assert_eq!(world.server.count(Endpoint::KeySet), fetches);
        world.server.rotate_keys();
        world.server.remove_retired_keys();
    }
}
