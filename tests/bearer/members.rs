//! Optional members that serializers print for what is not set: `null`, `""` and `[]`.

use serde_json::json;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer};
use tower_oauth::token::VerifyErrorKind;
use tower_oauth::{Algorithm, BearerLayer, Client};

use crate::support::api::{self, AUDIENCE, Outcome, api, good, layer, present, soon};
use crate::support::logs::Logs;

const UNSET: [&str; 3] = ["null", r#""""#, "[]"];

/// The members that the metadata, a JWK and a token of an unsuspecting server may have.
const METADATA: [&str; 15] = [
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "end_session_endpoint",
    "introspection_endpoint",
    "revocation_endpoint",
    "registration_endpoint",
    "scopes_supported",
    "prompt_values_supported",
    "code_challenge_methods_supported",
    "token_endpoint_auth_methods_supported",
    "authorization_response_iss_parameter_supported",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "mtls_endpoint_aliases",
];
const KEY: [&str; 16] = [
    "use", "alg", "key_ops", "kid", "x5c", "x5t", "x5u", "d", "p", "q", "dp", "dq", "qi", "oth",
    "k", "n",
];
const CLAIMS: [&str; 9] = [
    "nbf",
    "iat",
    "scope",
    "auth_time",
    "acr",
    "amr",
    "groups",
    "roles",
    "name",
];

fn server() -> TestServer {
    api::server().add_client(TestClient::confidential("api", "secret"))
}

fn introspecting(server: &TestServer) -> BearerLayer {
    let client = Client::confidential("api", "secret");
    BearerLayer::introspect(&server.authorization_server(), client, AUDIENCE).unwrap()
}

#[tokio::test]
async fn an_unset_member_counts_as_absent() {
    for text in UNSET {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        for name in METADATA {
            let server = server();
            server.fail(Endpoint::Metadata, Fault::member(name, value.clone()));
            let token = good(&server).sign();
            let outcome = present(&api(layer(&server)), &token).await.outcome();
            assert_eq!(outcome, Outcome::Accepted, "metadata: {name}: {text}");
        }
        for name in KEY {
            let server = server();
            let mut jwk = server.key(Algorithm::Es256).public_jwk();
            jwk[name] = value.clone();
            server.fail(Endpoint::KeySet, Fault::member("keys", json!([jwk])));
            let token = good(&server).with_key(&server.key(Algorithm::Es256));
            // A key without an identifier verifies a token without one.
            let token = if name == "kid" {
                token.without_header("kid")
            } else {
                token
            };
            let outcome = present(&api(layer(&server)), &token.sign()).await.outcome();
            assert_eq!(outcome, Outcome::Accepted, "key: {name}: {text}");
        }
        let server = server();
        let (jwt, opaque) = (api(layer(&server)), api(introspecting(&server)));
        for name in CLAIMS {
            let changed = good(&server).with_raw_claim(name, text);
            let outcome = present(&jwt, &changed.sign()).await.outcome();
            assert_eq!(outcome, Outcome::Accepted, "claim: {name}: {text}");
            let outcome = present(&opaque, &changed.opaque()).await.outcome();
            assert_eq!(outcome, Outcome::Accepted, "introspection: {name}: {text}");
        }
        let token = good(&server).with_raw_claim("token_type", text).opaque();
        let outcome = present(&opaque, &token).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "token_type: {text}");
    }
    // An identifier is absent only if it is null.
    let server = server();
    for name in ["iss", "sub", "client_id", "jti"] {
        for (text, expect) in [("null", Outcome::Accepted), (r#""""#, Outcome::Unavailable)] {
            let token = good(&server).with_raw_claim(name, text).opaque();
            let outcome = present(&api(introspecting(&server)), &token)
                .await
                .outcome();
            assert_eq!(outcome, expect, "introspection: {name}: {text}");
        }
    }
}

/// The inverse: where presence decides, or absence is refused, an unset member is not ignored.
#[tokio::test]
async fn an_unset_member_that_protects_is_refused() {
    use VerifyErrorKind::{Audience, Bound, Claims, Extension};
    let server = server();
    let jwt = api(layer(&server));
    let rejected = |kind| Outcome::InvalidToken(kind);
    for text in UNSET {
        for name in ["crit", "b64", "zip"] {
            let token = good(&server).with_raw_header(name, text).sign();
            let outcome = present(&jwt, &token).await.outcome();
            assert_eq!(outcome, rejected(Extension), "{name}: {text}");
        }
        for (name, kind) in [("exp", Claims), ("cnf", Bound), ("aud", Audience)] {
            let token = good(&server).with_raw_claim(name, text).sign();
            let outcome = present(&jwt, &token).await.outcome();
            assert_eq!(outcome, rejected(kind), "{name}: {text}");
        }
        let token = good(&server).with_raw_header("alg", text).sign();
        let outcome = present(&jwt, &token).await.outcome();
        assert_ne!(outcome, Outcome::Accepted, "alg: {text}");
        let opaque = api(introspecting(&server));
        for (name, expect) in [
            ("active", Outcome::Unavailable),
            ("cnf", rejected(Bound)),
            ("aud", rejected(Audience)),
        ] {
            let token = good(&server).with_raw_claim(name, text).opaque();
            let outcome = present(&opaque, &token).await.outcome();
            assert_eq!(outcome, expect, "introspection: {name}: {text}");
        }
    }
}

/// An API needs only the key set, so no other member of the metadata makes it fail, whatever its value.
#[tokio::test]
async fn a_malformed_member_of_the_metadata_is_ignored_with_one_warning_that_names_it() {
    for (name, value) in [
        ("userinfo_endpoint", json!("/userinfo")),
        (
            "revocation_endpoint",
            json!("http://id.example.test/revoke"),
        ),
        ("end_session_endpoint", json!({})),
        (
            "authorization_endpoint",
            json!(["https://id.example.test/a"]),
        ),
        (
            "token_endpoint",
            json!("https://user@id.example.test/token"),
        ),
        ("introspection_endpoint", json!(true)),
        ("prompt_values_supported", json!("none")),
        ("prompt_values_supported", json!(["none", null])),
        ("token_endpoint_auth_methods_supported", json!("x")),
        ("code_challenge_methods_supported", json!([1])),
        (
            "authorization_response_iss_parameter_supported",
            json!("true"),
        ),
        ("require_signed_request_object", json!(1)),
    ] {
        let server = server();
        server.fail(Endpoint::Metadata, Fault::member(name, value));
        let logs = Logs::default();
        let recording = logs.record_only("metadata_member_ignored");
        let handle = server.authorization_server();
        soon(handle.ready()).await.unwrap();
        server.clock().advance(std::time::Duration::from_secs(7200));
        soon(handle.ready()).await.unwrap();
        drop(recording);
        assert!(server.count(Endpoint::Metadata) > 1, "{name}");
        let logged = logs.text();
        assert_eq!(
            logged.matches(&format!("member=\"{name}\"")).count(),
            1,
            "{logged}"
        );
    }
}
