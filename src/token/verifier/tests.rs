//! Tokens that did not come with a request.

use serde_json::json;

use super::Verifier;
use crate::Client;
use crate::testing::{Endpoint, Fault, TestServer, TokenMint};
use crate::token::{
    IntrospectionVerifier, JwtVerifier, VerifiedToken, VerifyError, VerifyErrorKind,
};

const AUDIENCE: &str = "https://api.example.test";

fn server() -> TestServer {
    let client = crate::testing::TestClient::confidential("api", "a secret of the api");
    TestServer::new("https://id.example.test")
        .unwrap()
        .add_client(client)
}

fn good(server: &TestServer) -> TokenMint {
    server.access_token().with_audience(AUDIENCE)
}

fn jwt(server: &TestServer) -> JwtVerifier {
    JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap()
}

fn introspection(server: &TestServer) -> IntrospectionVerifier {
    let client = Client::confidential("api", "a secret of the api");
    IntrospectionVerifier::new(&server.authorization_server(), client, AUDIENCE).unwrap()
}

fn kind(result: Result<VerifiedToken, VerifyError>) -> Option<VerifyErrorKind> {
    result.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_token_without_a_request_is_validated_unless_it_is_sender_constrained() {
    let server = server();
    let jwt = jwt(&server);
    let verifier = Verifier::from(jwt.clone());
    let issuers = Verifier::issuers([jwt.clone()]).unwrap();
    let lookup = {
        let (found, issuer) = (jwt.clone(), server.issuer().to_owned());
        Verifier::lookup(
            move |claimed| claimed == issuer,
            move |_| std::future::ready(Ok::<_, std::io::Error>(Some(found.clone()))),
        )
    };
    let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let mint = || good(&server);
    let wrong = mint().with_audience("https://other.example.test").sign();
    let cases = [
        ("valid", mint().sign(), None),
        (
            "bound to a key",
            mint()
                .with_claim("cnf", json!({ "jkt": thumbprint }))
                .sign(),
            Some(VerifyErrorKind::Bound),
        ),
        (
            "bound to a certificate",
            mint()
                .with_claim("cnf", json!({ "x5t#S256": thumbprint }))
                .sign(),
            Some(VerifyErrorKind::Bound),
        ),
        (
            "expired",
            mint().with_expires_in(-30).sign(),
            Some(VerifyErrorKind::Expired),
        ),
        ("another audience", wrong, Some(VerifyErrorKind::Audience)),
        (
            "an ID token",
            server.id_token(AUDIENCE).sign(),
            Some(VerifyErrorKind::Type),
        ),
        (
            "another key",
            mint().with_wrong_key().sign(),
            Some(VerifyErrorKind::Signature),
        ),
        ("empty", String::new(), Some(VerifyErrorKind::Malformed)),
        (
            "a scheme",
            format!("Bearer {}", mint().sign()),
            Some(VerifyErrorKind::Malformed),
        ),
    ];
    for (name, token, expect) in cases {
        assert_eq!(kind(jwt.verify(&token).await), expect, "{name}");
        for (which, verifier) in [
            ("jwt", &verifier),
            ("issuers", &issuers),
            ("lookup", &lookup),
        ] {
            // The second time, a valid token is cached.
            for _ in 0..2 {
                let result = verifier.verify(&token).await;
                if let Ok(verified) = &result {
                    assert_eq!(verified.subject(), Some("alice"), "{name}");
                    assert_eq!(verified.access_token(), token, "{name}");
                }
                assert_eq!(kind(result), expect, "{name} {which}");
            }
        }
    }
}

#[tokio::test]
async fn an_opaque_token_without_a_request_is_introspected_unless_it_is_sender_constrained() {
    let server = server();
    let verifier = introspection(&server);
    let combined = Verifier::jwt_or_opaque(jwt(&server), verifier.clone());
    let bound = json!({ "jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" });
    let bound = good(&server).with_claim("cnf", bound).opaque();
    for (name, token, expect) in [
        ("active", good(&server).opaque(), None),
        ("bound to a key", bound, Some(VerifyErrorKind::Bound)),
        (
            "unknown",
            "unknown".to_owned(),
            Some(VerifyErrorKind::Inactive),
        ),
        (
            "not a token",
            "a b".to_owned(),
            Some(VerifyErrorKind::Malformed),
        ),
    ] {
        for _ in 0..2 {
            assert_eq!(kind(verifier.verify(&token).await), expect, "{name}");
            assert_eq!(
                kind(combined.verify(&token).await),
                expect,
                "{name}, combined"
            );
        }
    }
}

#[tokio::test]
async fn an_outage_is_no_decision_about_a_token_without_a_request() {
    let server = server();
    for endpoint in [Endpoint::KeySet, Endpoint::Introspection] {
        server.fail(endpoint, Fault::status(500));
    }
    let token = good(&server).sign();
    let unavailable = Some(VerifyErrorKind::Unavailable);
    assert_eq!(kind(jwt(&server).verify(&token).await), unavailable);
    assert_eq!(
        kind(introspection(&server).verify(&token).await),
        unavailable
    );
    let verifier = Verifier::from(jwt(&server));
    assert_eq!(kind(verifier.verify(&token).await), unavailable);
}
