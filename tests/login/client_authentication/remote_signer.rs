//! Assertions that a remote service signs.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde_json::json;
use tower_oauth::issuer::RemoteSigner;
use tower_oauth::testing::{TestClient, TestSigningKey};
use tower_oauth::{Algorithm, Client};

use super::{assertion, attempt, browser, server_with, shop, sign_in, token_requests};
use crate::support::der::decode;
use crate::support::logs::Logs;

type Signature = Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

/// A service that signs.
pub(super) struct Kms {
    key: TestSigningKey,
    calls: Arc<AtomicUsize>,
    result: fn(Vec<u8>) -> Signature,
}

impl Kms {
    pub(super) fn new(key: &TestSigningKey) -> Self {
        Self {
            key: key.clone(),
            calls: Arc::default(),
            result: Ok,
        }
    }
}

impl RemoteSigner for Kms {
    fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    fn key_id(&self) -> Option<String> {
        Some(self.key.kid().to_owned())
    }

    async fn sign(&self, message: &[u8]) -> Signature {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (header, payload) = std::str::from_utf8(message)?.split_once('.').unwrap();
        let jws = self.key.sign(&decode(header), &decode(payload));
        (self.result)(decode(jws.rsplit('.').next().unwrap()))
    }
}

#[tokio::test]
async fn a_remote_service_signs_the_assertions() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let key = TestSigningKey::generate(algorithm);
        let server = server_with(TestClient::private_key_jwt("shop", key.public_jwk()));
        let kms = Kms::new(&key);
        let calls = Arc::clone(&kms.calls);
        let app = shop(&server, Client::private_key_jwt("shop", kms));
        for logins in 1..=2 {
            assert_eq!(
                sign_in(&browser(&server, app.clone())).await.text(),
                "alice"
            );
            assert_eq!(calls.load(Ordering::Relaxed), logins, "{algorithm}");
        }
        let requests = token_requests(&server);
        let (header, claims) = assertion(&requests[0]);
        let expected = json!({
            "alg": algorithm.name(), "typ": "client-authentication+jwt", "kid": key.kid(),
        });
        assert_eq!(header, expected);
        assert_ne!(claims["jti"], assertion(&requests[1]).1["jti"]);
    }
}

/// Neither can panic in the middle of a request.
#[test]
fn algorithm_and_key_id_are_read_once() {
    struct Once(AtomicUsize, AtomicUsize);

    impl RemoteSigner for Once {
        fn algorithm(&self) -> Algorithm {
            assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0);
            Algorithm::Es256
        }

        fn key_id(&self) -> Option<String> {
            assert_eq!(self.1.fetch_add(1, Ordering::Relaxed), 0);
            None
        }

        async fn sign(&self, _: &[u8]) -> Signature {
            Ok(vec![0; 64])
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let client = Client::private_key_jwt("shop", Once(AtomicUsize::new(0), AtomicUsize::new(0)));
    let key = TestSigningKey::generate(Algorithm::Es256);
    let server = server_with(TestClient::private_key_jwt("shop", key.public_jwk()));
    let app = shop(&server, client);
    runtime.unwrap().block_on(async {
        for _ in 0..2 {
            sign_in(&browser(&server, app.clone())).await;
        }
    });
    assert_eq!(token_requests(&server).len(), 2);
}

#[tokio::test]
async fn a_remote_service_that_fails_is_an_outage_and_a_wrong_signature_is_not() {
    let key = TestSigningKey::generate(Algorithm::Es256);
    let (outage, misconfigured) = (
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INTERNAL_SERVER_ERROR,
    );
    type Altered = fn(Vec<u8>) -> Signature;
    let cases: [(Altered, StatusCode, &str); 4] = [
        (
            |_| Err("no route to kms:\n1".into()),
            outage,
            r"no route to kms:\\n1",
        ),
        (
            |_| panic!("the client of the service"),
            outage,
            "it panicked",
        ),
        (
            |_| Ok(vec![0x30; 71]),
            misconfigured,
            "71 bytes, expected 64",
        ),
        (|_| Ok(Vec::new()), misconfigured, "0 bytes, expected 64"),
    ];
    for (result, expected, reason) in cases {
        let server = server_with(TestClient::private_key_jwt("shop", key.public_jwk()));
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let kms = Kms {
            result,
            ..Kms::new(&key)
        };
        let (status, requests) = attempt(&server, Client::private_key_jwt("shop", kms)).await;
        drop(recording);
        assert_eq!((status, requests.len()), (expected, 0), "{reason}");
        assert!(logs.text().contains(reason), "{reason}: {}", logs.text());
    }
}
