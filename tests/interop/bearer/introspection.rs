//! Opaque tokens: introspection at oidc-provider (RFC 7662), with plain and signed responses (RFC 9701).

use axum::Router;
use axum::routing::get;
use http::{StatusCode, header};
use tower_oauth::token::{IntrospectionVerifier, JwtVerifier, Verifier};
use tower_oauth::{Algorithm, BearerLayer, Client, ScopeLayer, VerifiedToken};

use super::{audience, call, challenge};
use crate::provider::{Provider, SECRET};

fn api(verifier: impl Into<Verifier>) -> Router {
    // The provider sends no subject for the client credentials grant.
    async fn caller(token: VerifiedToken) -> String {
        format!("{:?} {}", token.client_id(), token.scopes())
    }
    let write = ScopeLayer::all("api:write").unwrap();
    Router::new()
        .route("/", get(caller).layer(ScopeLayer::all("api:read").unwrap()))
        .route("/write", get(caller).layer(write))
        .layer(BearerLayer::new(verifier))
}

fn introspecting(provider: &Provider, client: Client) -> IntrospectionVerifier {
    let server = provider.authorization_server();
    IntrospectionVerifier::new(&server, client, audience("opaque").as_str()).unwrap()
}

/// Returns the number of introspection requests.
fn introspections(provider: &Provider) -> u64 {
    let requests = provider.requests();
    requests.get("/token/introspection").copied().unwrap_or(0)
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn opaque_tokens_are_introspected_by_secret_and_by_assertion() {
    let provider = Provider::start(&[]);
    let token = provider.client_credentials(&audience("opaque"));
    for (name, client) in [
        ("basic", Client::confidential("rs-basic", SECRET)),
        ("post", Client::confidential_post("rs-post", SECRET)),
        (
            "client_secret_jwt",
            Client::client_secret_jwt("rs-csjwt", SECRET),
        ),
        (
            "private_key_jwt",
            Client::private_key_jwt("rs-key", provider.client_key()),
        ),
    ] {
        let api = api(introspecting(&provider, client));
        let before = introspections(&provider);
        for _ in 0..3 {
            let response = call(&api, "/", &token).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}: {response:?}");
            let body = axum::body::to_bytes(response.into_body(), 1024).await;
            assert_eq!(body.unwrap(), "Some(\"svc\") api:read", "{name}");
        }
        let response = call(&api, "/write", &token).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}");
        assert_eq!(introspections(&provider) - before, 1, "{name}: one request");

        let response = call(&api, "/", "no-token-of-this-provider").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}");
        assert!(challenge(&response).contains("error=\"invalid_token\""));
    }
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn other_audiences_are_rejected_and_wrong_client_credentials_are_500() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let token = provider.client_credentials(&audience("opaque"));
    let client = || Client::confidential("rs-basic", SECRET);

    let elsewhere = BearerLayer::introspect(&server, client(), "https://api.example/other");
    let elsewhere = Router::new()
        .route("/", get(async |_: VerifiedToken| "reached"))
        .layer(elsewhere.unwrap());
    let response = call(&elsewhere, "/", &token).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(challenge(&response).contains("for a different audience"));

    // Wrong credentials of the API say nothing about the token.
    let unknown = api(introspecting(
        &provider,
        Client::confidential("rs-basic", "wrong"),
    ));
    let response = call(&unknown, "/", &token).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signed_introspection_responses_are_verified() {
    let provider = Provider::start(&[]);
    let token = provider.client_credentials(&audience("opaque"));
    let by_secret = || Client::confidential("rs-signed", SECRET);
    let by_key = Client::private_key_jwt("rs-key-signed", provider.client_key());
    for (name, client) in [
        ("ES256, basic", by_secret()),
        ("PS256, private_key_jwt", by_key),
    ] {
        let verifier = introspecting(&provider, client).with_signed_responses();
        let api = api(verifier);
        let response = call(&api, "/", &token).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}: {response:?}");
        let response = call(&api, "/", "no-token-of-this-provider").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}");
    }

    // The response is signed with ES256, which is not allowed here, so the token was not validated.
    let verifier = introspecting(&provider, by_secret()).with_signed_responses();
    let api = api(verifier.with_algorithms([Algorithm::Rs256]).unwrap());
    let response = call(&api, "/", &token).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_revoked_token_is_rejected_after_invalidation() {
    let provider = Provider::start(&[]);
    let token = provider.client_credentials(&audience("opaque"));
    let verifier = introspecting(&provider, Client::confidential("rs-basic", SECRET));
    let api = api(verifier.clone());
    assert_eq!(call(&api, "/", &token).await.status(), StatusCode::OK);

    provider.revoke(&token);
    verifier.invalidate(&token);
    let response = call(&api, "/", &token).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(introspections(&provider), 2);
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn one_layer_accepts_jwts_and_opaque_tokens() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let jwt = JwtVerifier::new(&server, audience("es256").as_str()).unwrap();
    let opaque = introspecting(&provider, Client::confidential("rs-basic", SECRET));
    let api = api(Verifier::jwt_or_opaque(jwt, opaque));

    let token = provider.client_credentials(&audience("es256"));
    assert_eq!(call(&api, "/", &token).await.status(), StatusCode::OK);
    assert_eq!(introspections(&provider), 0, "a JWT is verified locally");
    // An invalid JWT is not introspected.
    let foreign = provider.client_credentials(&audience("rs256"));
    let response = call(&api, "/", &foreign).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(introspections(&provider), 0);

    let token = provider.client_credentials(&audience("opaque"));
    assert_eq!(call(&api, "/", &token).await.status(), StatusCode::OK);
    assert_eq!(introspections(&provider), 1);
}
