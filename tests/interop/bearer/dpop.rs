//! DPoP-bound tokens of oidc-provider, with proofs of another library (RFC 9449).

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tower_oauth::token::{Dpop, DpopNonceKey, IntrospectionVerifier, JwtVerifier, Verifier};
use tower_oauth::{BearerLayer, Client, ScopeLayer, VerifiedToken};

use super::audience;
use crate::caller::Caller;
use crate::provider::{Provider, SECRET};

/// Serves an API: `/v1/notes` requires a token, `/v1/notes/write` a scope that no token has.
async fn serve(verifier: impl Into<Verifier>, change: impl FnOnce(Dpop) -> Dpop) -> String {
    async fn caller(token: VerifiedToken) -> String {
        token.client_id().unwrap().to_owned()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let notes = Router::new()
        .route("/notes", get(caller).post(caller))
        .route(
            "/notes/write",
            get(caller).layer(ScopeLayer::all("api:write").unwrap()),
        )
        .layer(BearerLayer::new(verifier).with_dpop(change(Dpop::new(&base).unwrap())));
    let api = Router::new().nest("/v1", notes);
    tokio::spawn(async move { axum::serve(listener, api).await });
    format!("{base}/v1/notes")
}

fn jwt(provider: &Provider) -> JwtVerifier {
    JwtVerifier::new(&provider.authorization_server(), audience("es256").as_str()).unwrap()
}

fn rejected(status: u64, scheme: &str, error: &str) -> (u64, String, String) {
    (status, scheme.to_owned(), error.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn dpop_bound_tokens_are_accepted_with_proofs_of_another_library() {
    let provider = Provider::start(&[]);
    let notes = serve(jwt(&provider), |dpop| dpop).await;
    let mut caller = Caller::start(&provider, &[]);
    for algorithm in ["ES256", "ES384", "RS256", "PS256", "Ed25519"] {
        let key = json!({ "dpop": algorithm });
        let token = caller.token(&audience("es256"), &key);
        for url in [notes.clone(), format!("{notes}?page=2&q=%2F")] {
            let response = caller.call(&url, &token, &key);
            assert_eq!(response.status(), 200, "{algorithm}: {response:?}");
            assert_eq!(response.body(), "svc", "{algorithm}");
        }
        let response = caller.call(&format!("{notes}/write"), &token, &key);
        assert_eq!(
            response.rejection(),
            rejected(403, "DPoP", "insufficient_scope")
        );
        assert!(
            response
                .header("www-authenticate")
                .contains("scope=\"api:write\"")
        );

        let post = json!({ "dpop": algorithm, "method": "POST" });
        assert_eq!(
            caller.call(&notes, &token, &post).status(),
            200,
            "{algorithm}"
        );
    }
    let plain = caller.token(&audience("es256"), &json!({}));
    let response = caller.call(&notes, &plain, &json!({}));
    assert_eq!(response.status(), 200, "unbound tokens are Bearer tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_stolen_token_or_proof_is_rejected() {
    let provider = Provider::start(&[]);
    let notes = serve(jwt(&provider), |dpop| dpop).await;
    check_thefts(&provider, &notes, &audience("es256"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn dpop_bound_opaque_tokens_require_a_proof() {
    let provider = Provider::start(&[]);
    let client = Client::confidential("rs-basic", SECRET);
    let server = provider.authorization_server();
    let verifier = IntrospectionVerifier::new(&server, client, audience("opaque").as_str());
    let notes = serve(verifier.unwrap(), |dpop| dpop).await;
    check_thefts(&provider, &notes, &audience("opaque"));
    let calls = provider.requests()["/token/introspection"];
    assert_eq!(calls, 2, "one call for each token");
}

/// Tries a token and proofs of its owner with another key, without a key, and for other requests.
fn check_thefts(provider: &Provider, notes: &str, audience: &str) {
    let mut caller = Caller::start(provider, &[]);
    let (owner, thief) = (
        json!({ "dpop": "ES256 owner" }),
        json!({ "dpop": "ES256 thief" }),
    );
    let token = caller.token(audience, &owner);
    let own = caller.token(audience, &thief);
    let no_key = json!({});

    let first = caller.call(notes, &token, &owner);
    assert_eq!(first.status(), 200, "{first:?}");
    let (scheme, proof) = (format!("DPoP {token}"), first.sent("dpop").to_owned());
    assert_eq!(first.sent("authorization"), scheme);
    let invalid_proof = rejected(401, "DPoP", "invalid_dpop_proof");

    let both = json!({ "authorization": scheme, "dpop": proof });
    let response = caller.send(notes, &both, &no_key);
    assert_eq!(response.rejection(), invalid_proof, "replay");
    let response = caller.send(notes, &json!({ "authorization": scheme }), &no_key);
    assert_eq!(response.rejection(), invalid_proof, "without a proof");

    let response = caller.call(notes, &token, &no_key);
    let bearer = rejected(401, "Bearer", "invalid_token");
    assert_eq!(response.rejection(), bearer, "as a bearer token");
    let response = caller.call(notes, &token, &thief);
    let binding = rejected(401, "DPoP", "invalid_token");
    assert_eq!(response.rejection(), binding, "with another key");

    // A new proof of the owner, used with another request.
    let other = caller.token(audience, &owner);
    let elsewhere = format!("{notes}/write");
    for (name, url, method, with) in [
        ("another path", elsewhere.as_str(), "GET", &token),
        ("another method", notes, "POST", &token),
        ("another token", notes, "GET", &other),
    ] {
        let unsent = json!({ "dpop": "ES256 owner", "method": method, "hold": true });
        let made = caller.call(url, with, &unsent);
        let stolen = json!({ "authorization": scheme, "dpop": made.sent("dpop") });
        let response = caller.send(notes, &stolen, &no_key);
        assert_eq!(response.rejection(), invalid_proof, "proof for {name}");
    }
    let response = caller.call(notes, &own, &thief);
    assert_eq!(
        response.status(),
        200,
        "a token with its own key is accepted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn another_library_uses_nonces() {
    let provider = Provider::start(&[]);
    let key = DpopNonceKey::generate().unwrap();
    let notes = serve(jwt(&provider), |dpop| dpop.with_nonces(key)).await;
    let mut caller = Caller::start(&provider, &[]);
    let key = json!({ "dpop": "ES256" });
    let token = caller.token(&audience("es256"), &key);

    let once = json!({ "dpop": "ES256", "once": true });
    let response = caller.call(&notes, &token, &once);
    assert_eq!(
        response.rejection(),
        rejected(401, "DPoP", "use_dpop_nonce")
    );
    assert!(!response.header("dpop-nonce").is_empty());
    assert!(response.header("cache-control").contains("no-store"));
    for _ in 0..3 {
        let response = caller.call(&notes, &token, &once);
        assert_eq!(response.status(), 200, "the nonce is reused: {response:?}");
    }
}
