//! Assertions that another issuer signs for the workload.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tower_oauth::testing::{TestClient, TestSigningKey};
use tower_oauth::{Algorithm, Client};

use super::{JWT_BEARER, attempt, server_with};
use crate::support::logs::Logs;
use crate::support::shop::ISSUER;

const WORKLOADS: &str = "https://kubernetes.example.test";
const SUBJECT: &str = "system:serviceaccount:shop:web";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// RFC 7521 §4.2.
#[tokio::test]
async fn a_workload_authenticates_with_the_assertion_of_another_issuer() {
    let key = TestSigningKey::generate(Algorithm::Rs256);
    let claims = |audience: Value, exp: i64| json!({ "iss": WORKLOADS, "sub": SUBJECT, "aud": audience, "iat": 1_799_999_000, "exp": exp });
    let minute = 1_800_000_060;
    let registered =
        || TestClient::federated_assertion("shop", WORKLOADS, SUBJECT, key.public_jwk());
    let spiffe = || registered().with_assertion_type(JWT_SPIFFE);
    let plain = |client: Client| client;
    let svid = Client::with_spiffe_assertions;
    let (ok, rejected) = (StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR);
    type Setting = fn(Client) -> Client;
    let cases: [(&str, TestClient, Setting, Value, StatusCode); 6] = [
        (
            "a list",
            registered(),
            plain,
            claims(json!([ISSUER]), minute),
            ok,
        ),
        (
            "a string",
            registered(),
            plain,
            claims(json!(ISSUER), minute),
            ok,
        ),
        (
            "expired",
            registered(),
            plain,
            claims(json!(ISSUER), 1_800_000_000),
            rejected,
        ),
        (
            "another audience",
            registered(),
            plain,
            claims(json!("https://other"), minute),
            rejected,
        ),
        (
            "a JWT-SVID",
            spiffe(),
            svid,
            claims(json!([ISSUER]), minute),
            ok,
        ),
        (
            "not as a JWT-SVID",
            spiffe(),
            plain,
            claims(json!([ISSUER]), minute),
            rejected,
        ),
    ];
    for (name, registered, setting, claims, expected) in cases {
        let header = json!({ "alg": "RS256", "kid": key.kid() });
        let token = key.sign(header.to_string().as_bytes(), claims.to_string().as_bytes());
        let server = server_with(registered);
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let client = setting(Client::federated_assertion("shop", &*token));
        let (status, requests) = attempt(&server, client).await;
        drop(recording);
        assert_eq!((status, requests.len()), (expected, 1), "{name}");
        let sent = |name: &str| requests[0].parameter(name);
        assert_eq!(sent("client_assertion").as_deref(), Some(&*token), "{name}");
        assert_eq!(sent("client_id").as_deref(), Some("shop"), "{name}");
        let urn = if name == "a JWT-SVID" {
            JWT_SPIFFE
        } else {
            JWT_BEARER
        };
        assert_eq!(
            sent("client_assertion_type").as_deref(),
            Some(urn),
            "{name}"
        );
        let log = logs.text();
        assert!(!log.contains(&token), "{log}");
        assert!(
            expected == ok || log.contains("federated credential"),
            "{log}"
        );
    }
}
