//! Access tokens of Keycloak at an API.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tower_oauth::testing::ManualClock;
use tower_oauth::token::TokenProfile;
use tower_oauth::{BearerLayer, Client, JwtVerifier};

use super::api::{api, call, jwt, keycloak_api};
use super::definitions::{ALGORITHMS, Keys, User};
use super::realm::{API, Realm, member};
use super::world::World;
use crate::provider::SECRET;
use crate::sessions::Mode;

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn roles_of_users_and_of_service_accounts_are_required() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        realm.grant_role("service", "orders:read").await;
        let api = keycloak_api(&realm.server());

        let alice = realm.access_token("web", &User::alice()).await;
        let response = call(&api, "/read", &alice).await;
        response.assert_accepted("alice");
        assert_eq!(
            response.body["subject"],
            realm.user_id(&User::alice()).await
        );
        assert_eq!(response.body["client"], "web");
        let bob = realm.access_token("web", &User::bob()).await;
        call(&api, "/", &bob).await.assert_accepted("bob");
        let response = call(&api, "/read", &bob).await;
        response.assert_forbidden("orders:read", "bob");

        let service = realm.client_credentials("service", None).await;
        let response = call(&api, "/read", &service).await;
        response.assert_accepted("service");
        assert_eq!(response.body["client"], "service");
        let response = call(&api, "/write", &service).await;
        response.assert_forbidden("orders:write", "service");
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn id_and_refresh_tokens_are_rejected() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let server = realm.server();
        let tokens = realm.tokens("web", &User::alice()).await;
        let orders = keycloak_api(&server);
        // The audience of an ID token is the client, which may be an API too.
        let web = JwtVerifier::new(&server, "web").unwrap();
        let web = api(BearerLayer::new(web.with_profile(TokenProfile::Keycloak)));
        for name in ["id_token", "refresh_token"] {
            let token = member(&tokens, name);
            for api in [&orders, &web] {
                let response = call(api, "/", &token).await;
                response.assert_unauthorized("invalid_token", "", name);
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn another_audience_issuer_or_signature_is_rejected() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let api = keycloak_api(&realm.server());

        let token = realm.access_token("other-audience", &User::alice()).await;
        let response = call(&api, "/", &token).await;
        response.assert_unauthorized("invalid_token", "different audience", "audience");

        // The same realm and keys under another name.
        let token = realm.token_of_another_issuer("service").await;
        let response = call(&api, "/", &token).await;
        response.assert_unauthorized("invalid_token", "different issuer", "issuer");

        let token = realm.access_token("web", &User::alice()).await;
        call(&api, "/", &token).await.assert_accepted("its own");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let broken = format!("{signed}.{}", signature.chars().rev().collect::<String>());
        let response = call(&api, "/", &broken).await;
        response.assert_unauthorized("invalid_token", "", "signature");
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn an_expired_token_is_rejected() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let clock = ManualClock::ticking();
        let api = keycloak_api(&realm.server().with_clock(clock.clone()));
        let token = realm.access_token("web", &User::alice()).await;
        call(&api, "/", &token).await.assert_accepted("new");
        clock.advance(std::time::Duration::from_secs(400));
        let response = call(&api, "/", &token).await;
        response.assert_unauthorized("invalid_token", "expired", "old");
    }
}

/// Keycloak marks access tokens by the claim `typ`, or as RFC 9068 does if the client is configured to.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn each_profile_accepts_the_tokens_with_its_mark() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let plain = realm.access_token("web", &User::alice()).await;
        let marked = realm.access_token("marked", &User::alice()).await;
        for (profile, accepts_plain, accepts_marked) in [
            (TokenProfile::Keycloak, true, true),
            (TokenProfile::Rfc9068, false, true),
            // Keycloak sends no `client_id`, which RFC 9068 §2.2 requires.
            (TokenProfile::Rfc9068Full, false, false),
        ] {
            let api = api(BearerLayer::new(jwt(&realm.server(), profile)));
            let name = format!("{profile:?}");
            for (token, accepted) in [(&plain, accepts_plain), (&marked, accepts_marked)] {
                let response = call(&api, "/read", token).await;
                match accepted {
                    true => response.assert_accepted(&name),
                    false => response.assert_unauthorized("invalid_token", "", &name),
                }
            }
        }
    }
}

/// Until version 24 the nonce of the login was in each access token; today a mapper adds it.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn an_access_token_with_the_nonce_of_the_login_is_accepted() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let api = keycloak_api(&realm.server());
        let client = Client::confidential("nonce", SECRET);
        let visitor = World::new(realm, client, Mode::Store).visitor();
        visitor.sign_in(&User::alice()).await;
        let token = visitor.token().await;
        let claims = token.split('.').nth(1).unwrap();
        let claims = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert!(claims.contains("\"nonce\":"), "{claims}");
        call(&api, "/read", &token).await.assert_accepted("nonce");
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn lightweight_tokens_have_an_audience_and_no_roles() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let api = keycloak_api(&realm.server());
        let token = realm.access_token("light", &User::alice()).await;
        call(&api, "/", &token).await.assert_accepted("audience");
        let response = call(&api, "/read", &token).await;
        response.assert_forbidden("orders:read", "role");
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn clients_with_another_algorithm_are_accepted_in_the_same_realm() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let api = keycloak_api(&realm.server());
        // Keycloak creates the key of an algorithm with its first token.
        let mut tokens = Vec::new();
        for client in ALGORITHMS.into_iter().chain(["public"]) {
            tokens.push((client, realm.access_token(client, &User::alice()).await));
        }
        for (client, token) in &tokens {
            call(&api, "/read", token).await.assert_accepted(client);
        }
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn scopes_are_those_of_the_claim_scope_by_default() {
    let realm = Realm::shared(Keys::Es256).await;
    let verifier = JwtVerifier::new(&realm.server(), API).unwrap();
    let api = api(BearerLayer::new(
        verifier.with_profile(TokenProfile::Keycloak),
    ));
    let token = realm.access_token("web", &User::alice()).await;
    let response = call(&api, "/", &token).await;
    let scopes = response.body["scopes"].as_array().unwrap();
    assert!(scopes.contains(&json!("email")), "{response:?}");
    let response = call(&api, "/read", &token).await;
    response.assert_forbidden("orders:read", "roles are not scopes unless configured");
}
