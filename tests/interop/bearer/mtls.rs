//! Certificate-bound tokens of oidc-provider (RFC 8705).

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tower_oauth::bearer::Mtls;
use tower_oauth::token::{IntrospectionVerifier, JwtVerifier, Verifier};
use tower_oauth::{BearerLayer, Client, VerifiedToken};

use super::audience;
use crate::caller::Caller;
use crate::provider::{Provider, SECRET};
use crate::tls::{Authority, CertifiedKey};

/// A provider and a client with two certificates, over TLS.
struct World {
    authority: Authority,
    certificates: [CertifiedKey; 2],
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

    /// Checks that a bound token is accepted only over a connection with its certificate.
    async fn check(&self, verifier: impl Into<Verifier>, audience: &str) {
        let caller = async |token: VerifiedToken| token.client_id().unwrap().to_owned();
        let layer = BearerLayer::new(verifier).with_mtls(Mtls::from_tls());
        let api = Router::new().route("/", get(caller)).layer(layer);
        let api = self.authority.serve(api).await;

        let mut caller = self.caller();
        let owner = json!({ "certificate": "owner", "client": "svc-mtls" });
        let thief = json!({ "certificate": "thief", "client": "svc-mtls" });
        let token = caller.token(audience, &owner);
        let rejected = (401, "Bearer".to_owned(), "invalid_token".to_owned());
        for _ in 0..2 {
            let response = caller.call(&api, &token, &owner);
            assert_eq!(response.status(), 200, "{response:?}");
            assert_eq!(response.body(), "svc-mtls");
            let response = caller.call(&api, &token, &thief);
            assert_eq!(response.rejection(), rejected, "another certificate");
            let response = caller.call(&api, &token, &json!({}));
            assert_eq!(response.rejection(), rejected, "no certificate");
        }
        // A certificate in a header is ignored unless a trusted proxy is configured.
        let [certificate, _] = &self.certificates;
        let der = certificate
            .certificate
            .lines()
            .filter(|line| !line.starts_with('-'));
        let header = format!(":{}:", der.collect::<String>());
        let sent = json!({ "authorization": format!("Bearer {token}"), "client-cert": header });
        let response = caller.send(&api, &sent, &json!({}));
        assert_eq!(response.rejection(), rejected, "a certificate in a header");

        let plain = caller.token(audience, &json!({ "client": "svc" }));
        let response = caller.call(&api, &plain, &json!({}));
        assert_eq!(response.status(), 200, "unbound tokens need no certificate");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn certificate_bound_tokens_require_their_certificate() {
    let world = World::new();
    let server = world.provider.authorization_server();
    let verifier = JwtVerifier::new(&server, audience("es256").as_str()).unwrap();
    world.check(verifier, &audience("es256")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn certificate_bound_opaque_tokens_require_their_certificate() {
    let world = World::new();
    let server = world.provider.authorization_server();
    let client = Client::confidential("rs-basic", SECRET);
    let verifier = IntrospectionVerifier::new(&server, client, audience("opaque").as_str());
    world.check(verifier.unwrap(), &audience("opaque")).await;
}
