//! Opaque tokens: the provider is asked about them (RFC 7662), in plain and in signed answers (RFC 9701).

use axum::Router;
use axum::routing::get;
use http::{StatusCode, header};
use tower_oauth::token::{IntrospectionVerifier, JwtVerifier, Verifier};
use tower_oauth::{Algorithm, BearerLayer, Client, ScopeLayer, VerifiedToken};

use super::{audience, call, challenge};
use crate::provider::{Provider, SECRET};

fn api(verifier: impl Into<Verifier>) -> Router {
    // The provider names no subject where a client asked for itself.
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

/// How often the provider was asked about a token.
fn questions(provider: &Provider) -> u64 {
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
            "private_key_jwt",
            Client::private_key_jwt("rs-key", provider.client_key()),
        ),
    ] {
        let api = api(introspecting(&provider, client));
        let before = questions(&provider);
        for _ in 0..3 {
            let answer = call(&api, "/", &token).await;
            assert_eq!(answer.status(), StatusCode::OK, "{name}: {answer:?}");
            let body = axum::body::to_bytes(answer.into_body(), 1024).await;
            assert_eq!(body.unwrap(), "Some(\"svc\") api:read", "{name}");
        }
        let answer = call(&api, "/write", &token).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}");
        assert_eq!(questions(&provider) - before, 1, "{name}: asked once");

        let answer = call(&api, "/", "no-token-of-this-provider").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
        assert!(challenge(&answer).contains("error=\"invalid_token\""));
    }
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn what_the_provider_does_not_say_of_a_token_is_not_believed() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let token = provider.client_credentials(&audience("opaque"));
    let client = || Client::confidential("rs-basic", SECRET);

    let elsewhere = BearerLayer::introspect(&server, client(), "https://api.example/other");
    let elsewhere = Router::new()
        .route("/", get(async |_: VerifiedToken| "reached"))
        .layer(elsewhere.unwrap());
    let answer = call(&elsewhere, "/", &token).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(challenge(&answer).contains("for another audience"));

    // Credentials of ours that are wrong say nothing of the token.
    let unknown = api(introspecting(
        &provider,
        Client::confidential("rs-basic", "wrong"),
    ));
    let answer = call(&unknown, "/", &token).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.headers().contains_key(header::WWW_AUTHENTICATE));
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signed_introspection_answers_are_verified() {
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
        let answer = call(&api, "/", &token).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}: {answer:?}");
        let answer = call(&api, "/", "no-token-of-this-provider").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
    }

    // The answer is signed by ES256, which is not allowed here: nothing was judged.
    let verifier = introspecting(&provider, by_secret()).with_signed_responses();
    let api = api(verifier.with_algorithms([Algorithm::Rs256]).unwrap());
    let answer = call(&api, "/", &token).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_revoked_token_is_refused_once_it_is_forgotten() {
    let provider = Provider::start(&[]);
    let token = provider.client_credentials(&audience("opaque"));
    let verifier = introspecting(&provider, Client::confidential("rs-basic", SECRET));
    let api = api(verifier.clone());
    assert_eq!(call(&api, "/", &token).await.status(), StatusCode::OK);

    provider.revoke(&token);
    verifier.invalidate(&token);
    let answer = call(&api, "/", &token).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(questions(&provider), 2);
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn one_layer_takes_jwts_and_opaque_tokens() {
    let provider = Provider::start(&[]);
    let server = provider.authorization_server();
    let jwt = JwtVerifier::new(&server, audience("es256").as_str()).unwrap();
    let opaque = introspecting(&provider, Client::confidential("rs-basic", SECRET));
    let api = api(Verifier::jwt_or_opaque(jwt, opaque));

    let token = provider.client_credentials(&audience("es256"));
    assert_eq!(call(&api, "/", &token).await.status(), StatusCode::OK);
    assert_eq!(questions(&provider), 0, "a JWT is judged here");
    // A JWT that is no good is not good elsewhere either.
    let foreign = provider.client_credentials(&audience("rs256"));
    let answer = call(&api, "/", &foreign).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(questions(&provider), 0);

    let token = provider.client_credentials(&audience("opaque"));
    assert_eq!(call(&api, "/", &token).await.status(), StatusCode::OK);
    assert_eq!(questions(&provider), 1);
}
