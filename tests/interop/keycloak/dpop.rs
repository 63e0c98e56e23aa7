//! DPoP-bound tokens of Keycloak (RFC 9449): their claim `typ` is `DPoP`, and `cnf` has a second member.

use axum::Router;
use tower_oauth::testing::DpopKey;
use tower_oauth::token::{Dpop, IntrospectionVerifier, TokenProfile, Verifier};
use tower_oauth::{Algorithm, BearerLayer, Client, LoginLayer};

use super::api::{ApiResponse, Call, api, call, jwt, keycloak_api};
use super::definitions::{KeycloakClient, Keys, User};
use super::realm::{API, Realm};
use super::world::World;
use crate::provider::SECRET;
use crate::sessions::Mode;

/// The origin of the API, which proofs name.
const ORIGIN: &str = "https://api.example.test";

fn with_dpop(verifier: impl Into<Verifier>) -> Router {
    api(BearerLayer::new(verifier).with_dpop(Dpop::new(ORIGIN).unwrap()))
}

/// Requests a token that is bound to the key.
async fn bound_token(realm: &Realm, client: &str, key: &DpopKey) -> String {
    let proof = key.proof("POST", &realm.endpoint("token")).sign();
    realm.client_credentials(client, Some(&proof)).await
}

/// Calls the API with a proof of the key.
async fn call_with_proof(api: &Router, token: &str, key: &DpopKey) -> ApiResponse {
    let proof = key.proof("GET", &format!("{ORIGIN}/"));
    let call = Call {
        scheme: "DPoP",
        proof: Some(proof.with_access_token(token).sign()),
        ..Call::bearer(token)
    };
    call.get(api, "/").await
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn bound_tokens_are_accepted_with_proofs_of_each_algorithm() {
    let algorithms = [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::EdDsa,
    ];
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let server = realm.server();
        let keycloak = with_dpop(jwt(&server, TokenProfile::Keycloak));
        let rfc9068 = with_dpop(jwt(&server, TokenProfile::Rfc9068));
        for algorithm in algorithms {
            let name = format!("{algorithm:?}");
            let key = DpopKey::new(algorithm);
            let plain = bound_token(&realm, "service", &key).await;
            let marked = bound_token(&realm, "marked", &key).await;
            for (api, token) in [
                (&keycloak, &plain),
                (&keycloak, &marked),
                (&rfc9068, &marked),
            ] {
                let response = call_with_proof(api, token, &key).await;
                response.assert_accepted(&name);
                assert_eq!(response.body["is_bound"], true, "{name}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn bound_tokens_are_accepted_by_introspection() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let client = Client::confidential(API, SECRET);
        let verifier = IntrospectionVerifier::new(&realm.server(), client, API).unwrap();
        let api = with_dpop(verifier);
        let key = DpopKey::new(Algorithm::Es256);
        let token = bound_token(&realm, "service", &key).await;
        let response = call_with_proof(&api, &token, &key).await;
        response.assert_accepted("introspection");
        assert_eq!(response.body["is_bound"], true);
        check_thefts(&api, &token).await;
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_stolen_token_is_rejected() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let server = realm.server();
        let api = with_dpop(jwt(&server, TokenProfile::Keycloak));
        let token = bound_token(&realm, "service", &DpopKey::new(Algorithm::Es256)).await;
        check_thefts(&api, &token).await;
        let response = call(&keycloak_api(&server), "/", &token).await;
        let missing = "proof of possession is missing";
        response.assert_unauthorized("invalid_token", missing, "a layer without DPoP");
    }
}

/// Tries a bound token with a key of the thief and without a key.
async fn check_thefts(api: &Router, token: &str) {
    let thief = DpopKey::new(Algorithm::Es256);
    let response = call_with_proof(api, token, &thief).await;
    let text = "bound to a different key";
    response.assert_unauthorized("invalid_token", text, "another key");
    let response = call(api, "/", token).await;
    let text = "proof of possession is missing";
    response.assert_unauthorized("invalid_token", text, "as a Bearer token");
}

/// A client that must use DPoP, confidential and public.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn sessions_of_a_client_that_requires_dpop_are_bound() {
    for keys in Keys::BOTH {
        for (id, client) in [
            ("bound", Client::confidential("bound", SECRET)),
            ("bound-public", Client::public("bound-public")),
        ] {
            let realm = Realm::shared(keys).await;
            let definition = KeycloakClient::new(id).attribute("dpop.bound.access.tokens", "true");
            realm
                .add_client(match id {
                    "bound-public" => definition.public(),
                    _ => definition,
                })
                .await;
            let server = realm.server();
            let api = with_dpop(jwt(&server, TokenProfile::Keycloak));
            let world = World::with(realm, client, Mode::Store, LoginLayer::with_dpop);
            let visitor = world.visitor();
            visitor.sign_in(&User::alice()).await;
            assert_eq!(visitor.open("/profile").await.text(), "alice Liddell");
            for _ in 0..2 {
                let fields = visitor.fetch("/credentials").await;
                let fields = std::str::from_utf8(fields.body()).unwrap();
                let (authorization, proof) = fields.split_once('\n').unwrap();
                let call = Call {
                    scheme: "DPoP",
                    token: authorization.strip_prefix("DPoP ").unwrap(),
                    proof: Some(proof.to_owned()),
                    certificate: None,
                };
                call.get(&api, "/").await.assert_accepted(id);
                assert_eq!(visitor.open("/refresh").await.text(), "refreshed", "{id}");
            }
            let token = visitor.token().await;
            assert_eq!(world.realm.introspect(&token).await["active"], true, "{id}");
            visitor.sign_out().await;
            assert_eq!(
                world.realm.introspect(&token).await["active"],
                false,
                "{id}"
            );
        }
    }
}
