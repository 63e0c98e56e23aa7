//! Tokens that the provider binds to the certificate of a TLS connection (RFC 8705).

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tower_oauth::bearer::Mtls;
use tower_oauth::token::{IntrospectionVerifier, JwtVerifier, Verifier};
use tower_oauth::{BearerLayer, Client, VerifiedToken};

use super::audience;
use crate::caller::Caller;
use crate::provider::{Provider, SECRET};
use crate::tls::{Authority, Certified};

/// A provider, an API, and a client with two certificates, all over TLS.
struct World {
    authority: Authority,
    certificates: [Certified; 2],
    provider: Provider,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let certificates = ["owner", "thief"].map(|name| authority.certify(name));
        let server = authority.server();
        let provider = Provider::start(&[
            ("TLS_CERTIFICATE", &server.certificate),
            ("TLS_KEY", &server.key),
            ("TLS_CLIENT_CA", &authority.pem()),
        ]);
        Self {
            authority,
            certificates,
            provider,
        }
    }

    fn caller(&self) -> Caller {
        let [owner, thief] = &self.certificates;
        let settings = [
            ("TLS_CERTIFICATE", self.authority.pem()),
            ("CERTIFICATE_owner", owner.certificate.clone()),
            ("KEY_owner", owner.key.clone()),
            ("CERTIFICATE_thief", thief.certificate.clone()),
            ("KEY_thief", thief.key.clone()),
        ];
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Caller::start(&self.provider, &settings)
    }

    /// A token bound to a certificate is accepted over a connection with that one, and over no other.
    async fn check(&self, verifier: impl Into<Verifier>, audience: &str) {
        let caller = async |token: VerifiedToken| token.client_id().unwrap().to_owned();
        let layer = BearerLayer::new(verifier).with_mtls(Mtls::from_tls());
        let api = Router::new().route("/", get(caller)).layer(layer);
        let api = self.authority.serve(api).await;

        let mut caller = self.caller();
        let owner = json!({ "certificate": "owner", "client": "svc-mtls" });
        let thief = json!({ "certificate": "thief", "client": "svc-mtls" });
        let token = caller.token(audience, &owner);
        let refused = (401, "Bearer".to_owned(), "invalid_token".to_owned());
        for _ in 0..2 {
            let answer = caller.call(&api, &token, &owner);
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.body(), "svc-mtls");
            let answer = caller.call(&api, &token, &thief);
            assert_eq!(answer.refusal(), refused, "another certificate");
            let answer = caller.call(&api, &token, &json!({}));
            assert_eq!(answer.refusal(), refused, "no certificate");
        }
        // A header is no certificate where nobody was named who may set it.
        let [certificate, _] = &self.certificates;
        let der = certificate
            .certificate
            .lines()
            .filter(|line| !line.starts_with('-'));
        let header = format!(":{}:", der.collect::<String>());
        let sent = json!({ "authorization": format!("Bearer {token}"), "client-cert": header });
        let answer = caller.send(&api, &sent, &json!({}));
        assert_eq!(answer.refusal(), refused, "a certificate in a header");

        let plain = caller.token(audience, &json!({ "client": "svc" }));
        let answer = caller.call(&api, &plain, &json!({}));
        assert_eq!(answer.status(), 200, "unbound tokens need no certificate");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn certificate_bound_tokens_are_accepted_with_their_certificate_alone() {
    let world = World::new();
    let server = world.provider.authorization_server();
    let verifier = JwtVerifier::new(&server, audience("es256").as_str()).unwrap();
    world.check(verifier, &audience("es256")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn certificate_bound_opaque_tokens_are_checked_alike() {
    let world = World::new();
    let server = world.provider.authorization_server();
    let client = Client::confidential("rs-basic", SECRET);
    let verifier = IntrospectionVerifier::new(&server, client, audience("opaque").as_str());
    world.check(verifier.unwrap(), &audience("opaque")).await;
}
