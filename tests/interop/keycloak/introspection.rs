//! Introspection at Keycloak, which requires that the asking client is in the audience of the token (RFC 7662).

use http::Method;
use tower_oauth::token::{IntrospectionVerifier, TokenProfile, Verifier};
use tower_oauth::{AuthorizationServer, BearerLayer, Client};

use super::api::{api, call, jwt, roles};
use super::definitions::{Keys, User};
use super::realm::{API, Realm, member};
use crate::provider::SECRET;

fn introspect(server: &AuthorizationServer, client: Client) -> IntrospectionVerifier {
    let verifier = IntrospectionVerifier::new(server, client, API).unwrap();
    verifier.with_scopes_from(roles()).unwrap()
}

fn by_secret(server: &AuthorizationServer) -> IntrospectionVerifier {
    introspect(server, Client::confidential(API, SECRET))
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn roles_are_those_of_the_introspection_response() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let server = realm.server();
        let post = introspect(&server, Client::confidential_post(API, SECRET));
        for verifier in [by_secret(&server), post] {
            let api = api(BearerLayer::new(verifier));
            // A lightweight token has no roles itself, the response has.
            for client in ["web", "light"] {
                let alice = realm.access_token(client, &User::alice()).await;
                let response = call(&api, "/read", &alice).await;
                response.assert_accepted(client);
                assert_eq!(response.body["client"], client);
                let response = call(&api, "/write", &alice).await;
                response.assert_forbidden("orders:write", client);
                let bob = realm.access_token(client, &User::bob()).await;
                let response = call(&api, "/read", &bob).await;
                response.assert_forbidden("orders:read", client);
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn other_tokens_are_rejected() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let api = api(BearerLayer::new(by_secret(&realm.server())));
        let tokens = realm.tokens("web", &User::alice()).await;
        let others = [
            ("ID token", member(&tokens, "id_token")),
            ("refresh token", member(&tokens, "refresh_token")),
            (
                "audience",
                realm.access_token("other-audience", &User::alice()).await,
            ),
            ("no token", "no-token-at-all".to_owned()),
        ];
        for (name, token) in others {
            let response = call(&api, "/", &token).await;
            response.assert_unauthorized("invalid_token", "", name);
        }
    }
}

/// A JWT is valid until it expires; introspection knows that the user was signed out.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_token_ends_with_the_session_at_keycloak() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let server = realm.server();
        let verifier = by_secret(&server);
        let introspecting = api(BearerLayer::new(verifier.clone()));
        let verifying = api(BearerLayer::new(jwt(&server, TokenProfile::Keycloak)));
        let user = realm.add_user("introspected").await;
        let token = realm.access_token("web", &user).await;
        let response = call(&introspecting, "/", &token).await;
        response.assert_accepted("signed in");

        let path = format!("/users/{}/logout", realm.user_id(&user).await);
        realm.admin(Method::POST, &path, None).await;
        verifier.invalidate(&token);
        let response = call(&introspecting, "/", &token).await;
        response.assert_unauthorized("invalid_token", "not active", "signed out");
        let response = call(&verifying, "/", &token).await;
        response.assert_accepted("without introspection");
    }
}

/// The fault is on the side of the API and does not pass by itself: neither 401 nor 503.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_wrong_secret_of_the_api_is_500() {
    let realm = Realm::shared(Keys::Es256).await;
    let wrong = introspect(&realm.server(), Client::confidential(API, "wrong"));
    let token = realm.access_token("web", &User::alice()).await;
    let response = call(&api(BearerLayer::new(wrong)), "/", &token).await;
    assert_eq!(response.status, 500, "{response:?}");
    assert_eq!(response.challenge, "");
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn jwts_are_verified_where_opaque_tokens_are_introspected() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let server = realm.server();
        let jwt = jwt(&server, TokenProfile::Keycloak);
        // It could not introspect anything.
        let opaque = introspect(&server, Client::confidential(API, "wrong"));
        let api = api(BearerLayer::new(Verifier::jwt_or_opaque(jwt, opaque)));
        let token = realm.access_token("web", &User::alice()).await;
        call(&api, "/read", &token).await.assert_accepted("JWT");
        let response = call(&api, "/read", "an-opaque-token").await;
        assert_eq!(response.status, 500, "{response:?}");
    }
}
