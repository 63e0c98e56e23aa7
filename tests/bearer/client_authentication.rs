//! Client authentication with `private_key_jwt` (RFC 7523) and certificates (RFC 8705) at the introspection endpoint and
//! the token endpoint.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Method, Request};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize,
};
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};
use tower_oauth::testing::{Endpoint, Fault, RecordedRequest, TestClient, TestServer, TestUser};
use tower_oauth::token::IntrospectionVerifier;
use tower_oauth::{
    Algorithm, BearerLayer, Client, ConfigError, CookieKey, LoginLayer, Session, SigningKey,
};

use crate::support::api::{self, AUDIENCE, ISSUER, Outcome, api, good, present};
use crate::support::der::decode;
use crate::support::logs::Logs;

mod changed;

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "s3cret";
const CALLBACK: &str = "https://shop.example.com/auth/callback";

/// RFC 8037 §A.1.
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// RFC 7515 §A.3.1.
const P256: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

fn p256() -> String {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .unwrap()
        .serialize_pem()
}

/// Returns keys of every type with their algorithms.
fn keys() -> Vec<(&'static str, SigningKey, Algorithm)> {
    let pem = |pair: Result<KeyPair, rcgen::Error>| pair.unwrap().serialize_pem();
    let rsa = pem(KeyPair::generate_rsa_for(
        &PKCS_RSA_SHA256,
        RsaKeySize::_2048,
    ));
    let rsa = SigningKey::from_pem(&rsa).unwrap();
    let p384 = pem(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384));
    let ed25519 = pem(KeyPair::generate_for(&PKCS_ED25519));
    vec![
        ("RSA", rsa.clone(), Algorithm::Rs256),
        (
            "RSA as PS256",
            rsa.with_algorithm(Algorithm::Ps256).unwrap(),
            Algorithm::Ps256,
        ),
        (
            "P-256",
            SigningKey::from_pem(&p256()).unwrap(),
            Algorithm::Es256,
        ),
        (
            "P-384",
            SigningKey::from_pem(&p384).unwrap(),
            Algorithm::Es384,
        ),
        (
            "Ed25519",
            SigningKey::from_pem(&ed25519).unwrap(),
            Algorithm::EdDsa,
        ),
        (
            "P-256 as JWK",
            SigningKey::from_jwk(P256).unwrap(),
            Algorithm::Es256,
        ),
        (
            "Ed25519 as JWK",
            SigningKey::from_jwk(ED25519).unwrap(),
            Algorithm::EdDsa,
        ),
    ]
}

fn server_knowing(key: &SigningKey) -> TestServer {
    api::server().add_client(TestClient::private_key_jwt("api", key.public_jwk()))
}

fn api_as(server: &TestServer, client: Client) -> Router {
    let layer = BearerLayer::introspect(&server.authorization_server(), client, AUDIENCE);
    api(layer.unwrap())
}

/// Returns the requests that were sent to an endpoint, in order.
fn sent_to(server: &TestServer, endpoint: Endpoint) -> Vec<RecordedRequest> {
    let mut requests = server.requests();
    requests.retain(|one| one.endpoint() == endpoint);
    requests
}

/// Returns header and claims of the assertion in a request.
fn assertion(request: &RecordedRequest) -> (Value, Value) {
    let names: Vec<_> = request
        .parameters()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let count = |name: &str| names.iter().filter(|one| *one == name).count();
    assert_eq!(count("client_assertion"), 1, "7523-2.2-a");
    assert_eq!(count("client_secret"), 0);
    assert_eq!(request.header("authorization"), None);
    assert_eq!(
        request.parameter("client_assertion_type").unwrap(),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "7523-2.2-a"
    );
    let compact = request.parameter("client_assertion").unwrap();
    let part = |at| serde_json::from_slice(&decode(compact.split('.').nth(at).unwrap())).unwrap();
    (part(0), part(1))
}

#[tokio::test]
async fn a_client_authenticates_with_keys_of_every_type() {
    for (name, key, algorithm) in keys() {
        assert_eq!(key.algorithm(), algorithm, "{name}");
        let key = key.with_key_id("key-1");
        let server = server_knowing(&key);
        let api = api_as(&server, Client::private_key_jwt("api", key.clone()));
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "{name}");

        let [request] = sent_to(&server, Endpoint::Introspection)
            .try_into()
            .unwrap();
        let (header, claims) = assertion(&request);
        assert_eq!(
            header,
            json!({ "alg": algorithm.name(), "typ": "client-authentication+jwt", "kid": "key-1" }),
            "7523-alg-a {name}"
        );
        assert_eq!(
            request.parameter("client_id").as_deref(),
            Some("api"),
            "7521-4.2-a"
        );
        assert!(claims["jti"].as_str().unwrap().len() >= 22, "{name}");
        let expected = json!({
            "iss": "api",
            "sub": "api",
            "aud": ISSUER,
            "iat": NOW,
            "exp": NOW + 60,
            "jti": claims["jti"],
        });
        assert_eq!(claims, expected, "7523-3-a 10070-4-a oidc-9-a {name}");
    }
}

#[tokio::test]
async fn every_request_has_a_new_assertion() {
    let key = SigningKey::from_jwk(P256).unwrap();
    let server = server_knowing(&key);
    let api = api_as(&server, Client::private_key_jwt("api", key));
    for _ in 0..20 {
        // The server rejects an assertion that it has seen before.
        let outcome = present(&api, &good(&server).opaque()).await.outcome();
        assert_eq!(outcome, Outcome::Accepted, "7523-3-b");
    }
    let mut ids: Vec<_> = sent_to(&server, Endpoint::Introspection)
        .iter()
        .map(|request| assertion(request).1["jti"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "7523-3-b");
}

/// RFC 10070 §4, and the settings for servers that are older.
#[tokio::test]
async fn audience_and_type_of_assertions_are_those_of_rfc_10070_unless_set() {
    let key = SigningKey::from_jwk(ED25519).unwrap();
    let endpoint = "https://id.example.test/token";
    let registered = || TestClient::private_key_jwt("api", key.public_jwk());
    let client = || Client::private_key_jwt("api", key.clone());
    let typed = "client-authentication+jwt";
    for (registered, configured, audience, media_type) in [
        (registered(), client(), ISSUER, typed),
        (
            registered().with_assertion_audience(endpoint),
            client().with_assertion_audience(endpoint),
            endpoint,
            typed,
        ),
        (
            registered().with_untyped_assertions(),
            client().with_untyped_assertions(),
            ISSUER,
            "JWT",
        ),
    ] {
        let is_default = (audience, media_type) == (ISSUER, typed);
        let server = api::server().add_client(registered);
        let token = good(&server).opaque();
        let outcome = present(&api_as(&server, client()), &token).await.outcome();
        assert_eq!(outcome == Outcome::Accepted, is_default, "10070-4-b");
        let api = api_as(&server, configured);
        assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
        let (header, claims) = assertion(sent_to(&server, Endpoint::Introspection).last().unwrap());
        assert_eq!(
            (&header["typ"], &claims["aud"]),
            (&json!(media_type), &json!(audience)),
            "10070-4-a 10070-4-b"
        );
    }
}

#[tokio::test]
async fn a_key_that_the_server_does_not_know_is_500() {
    let server = server_knowing(&SigningKey::from_jwk(P256).unwrap());
    let unknown = SigningKey::from_pem(&p256()).unwrap();
    let api = api_as(&server, Client::private_key_jwt("api", unknown));
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, Outcome::Misconfigured);
    // The server does not accept the key of another client.
    let api = api_as(
        &server,
        Client::private_key_jwt("api-2", SigningKey::from_jwk(P256).unwrap()),
    );
    let outcome = present(&api, &good(&server).opaque()).await.outcome();
    assert_eq!(outcome, Outcome::Misconfigured);
}

#[tokio::test]
async fn a_client_with_a_certificate_sends_only_its_id() {
    let server = api::server().add_client(TestClient::mutual_tls("api"));
    let api = api_as(&server, Client::mutual_tls("api"));
    let token = good(&server).opaque();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    let [request] = sent_to(&server, Endpoint::Introspection)
        .try_into()
        .unwrap();
    assert_eq!(request.header("authorization"), None);
    let names: Vec<_> = request
        .parameters()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["token", "token_type_hint", "client_id"], "8705-2-a");
}

#[tokio::test]
async fn a_code_is_redeemed_with_an_assertion() {
    let key = SigningKey::from_jwk(P256).unwrap();
    let client = TestClient::private_key_jwt("shop", key.public_jwk())
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .without_consent();
    let server = api::server()
        .add_client(client)
        .add_user(TestUser::new("alice", "wonderland"));
    let login = LoginLayer::new(
        &server.authorization_server(),
        Client::private_key_jwt("shop", key),
        CALLBACK,
        CookieKey::generate().unwrap(),
    )
    .unwrap();
    let account = get(async |session: Session| format!("account of {}", session.subject()));
    let shop = Router::new()
        .route("/account", account.layer(login.required()))
        .layer(login);
    for browsers in 1..=2 {
        let browser = server
            .browser()
            .with_origin("https://shop.example.com", shop.clone())
            .unwrap();
        let page = browser
            .navigate("https://shop.example.com/account")
            .await
            .unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.text(), "account of alice");
        assert_eq!(server.count(Endpoint::Token), browsers);
    }
    let requests = sent_to(&server, Endpoint::Token);
    let (first, second) = (assertion(&requests[0]).1, assertion(&requests[1]).1);
    assert_eq!(
        (&first["iss"], &first["aud"]),
        (&json!("shop"), &json!(ISSUER)),
        "7523-3-a"
    );
    assert_ne!(first["jti"], second["jti"], "7523-3-b");
}

#[test]
fn the_public_jwk_is_that_of_the_private_key() {
    let key = SigningKey::from_jwk(ED25519).unwrap().with_key_id("a");
    assert_eq!(
        key.public_jwk(),
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "a",
            "alg": "EdDSA",
            "use": "sig",
        })
    );
    for (name, key, _) in keys() {
        let jwk = key.public_jwk();
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            assert_eq!(jwk.get(private), None, "{name}");
        }
        assert_eq!(jwk.get("kid"), None, "{name}");
    }
    let named = P256.replace(
        "\"kty\"",
        r#""kid":"k","alg":"ES256","use":"sig","key_ops":["sign"],"kty""#,
    );
    let key = SigningKey::from_jwk(&named).unwrap();
    assert_eq!(
        (key.key_id(), key.algorithm()),
        (Some("k"), Algorithm::Es256)
    );
}

#[test]
fn an_unusable_private_key_is_rejected_and_not_in_the_error() {
    let refused = |name: &str, result: Result<SigningKey, ConfigError>, hidden: &str| {
        let error = result.expect_err(name);
        assert!(matches!(error, ConfigError::Secret { .. }), "{name}");
        let shown = format!("{error} {error:?}");
        assert!(
            hidden.is_empty() || !shown.contains(hidden),
            "{name}: {shown}"
        );
    };
    let good = p256();
    let lines: Vec<_> = good.lines().collect();
    let body = lines[1];
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let flipped = format!("{}AAAA{}", &body[..8], &body[12..]);
    for (name, text) in [
        ("empty", String::new()),
        ("no PEM", body.to_owned()),
        ("encrypted", pem("ENCRYPTED PRIVATE KEY", body)),
        ("SEC 1", pem("EC PRIVATE KEY", body)),
        ("PKCS#1", pem("RSA PRIVATE KEY", body)),
        ("a public key", pem("PUBLIC KEY", body)),
        ("two", format!("{good}{good}")),
        ("no base64", pem("PRIVATE KEY", "*")),
        ("no DER", pem("PRIVATE KEY", "AAAA")),
        ("cut", pem("PRIVATE KEY", body)),
        ("another algorithm", good.replace(body, &flipped)),
    ] {
        refused(name, SigningKey::from_pem(&text), body);
    }
    let private = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
    for (name, change, into) in [
        (
            "its public half is of another key",
            "\"x_FEzRu9",
            "\"x_FEzRu8",
        ),
        ("its private half is of another key", "jpsQnnGQ", "jpsQnnGR"),
        ("private half missing", "\"d\"", "\"e\""),
        ("private value truncated", "9-E9LI", "9-E9"),
        ("another curve", "P-256", "P-384"),
        ("unknown curve", "P-256", "P-256K"),
        ("symmetric", "\"EC\"", "\"oct\""),
        ("for encryption", "\"kty\"", r#""use":"enc","kty""#),
        ("only to verify", "\"kty\"", r#""key_ops":["verify"],"kty""#),
        ("alg of another kind", "\"kty\"", r#""alg":"RS256","kty""#),
        ("alg unknown", "\"kty\"", r#""alg":"HS256","kty""#),
        ("kid no string", "\"kty\"", r#""kid":1,"kty""#),
        ("twice", "\"kty\"", r#""kty":"EC","kty""#),
    ] {
        refused(
            name,
            SigningKey::from_jwk(&P256.replace(change, into)),
            private,
        );
    }
    refused("no JSON", SigningKey::from_jwk("x"), "");
    let key = SigningKey::from_jwk(P256).unwrap();
    assert!(key.with_algorithm(Algorithm::EdDsa).is_err());
}

#[tokio::test]
async fn logs_and_debug_output_contain_no_private_key_or_assertion() {
    let logs = Logs::default();
    let _recording = logs.record();
    let key = SigningKey::from_jwk(P256).unwrap();
    let server = server_knowing(&SigningKey::from_jwk(ED25519).unwrap());
    let client = Client::private_key_jwt("api", key.clone());
    let verifier =
        IntrospectionVerifier::new(&server.authorization_server(), client.clone(), AUDIENCE);
    let verifier = verifier.unwrap();
    let api = api(BearerLayer::new(verifier.clone()));
    let outcome = present(&api, "token").await.outcome();
    assert_eq!(outcome, Outcome::Misconfigured);
    let sent = &sent_to(&server, Endpoint::Introspection)[0];
    let assertion = sent.parameter("client_assertion").unwrap();
    let health = verifier.health();
    let shown = format!("{key:?} {client:?} {verifier:?} {health:?} {}", logs.text());
    assert!(
        shown.contains("SigningKey") && shown.contains("ERROR"),
        "{shown}"
    );
    for secret in [
        "jpsQnnGQ",
        assertion.rsplit('.').next().unwrap(),
        "f83OJ3D2",
    ] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

/// RFC 7662 §2.1.
#[tokio::test]
async fn a_bearer_token_authenticates_a_client_at_the_introspection_endpoint() {
    let server = api::server();
    let endpoint = format!("{ISSUER}/introspect");
    let body = json!({ "active": true, "aud": AUDIENCE, "sub": "alice" }).to_string();
    server.fail(Endpoint::Introspection, Fault::status(200));
    server.fail(
        Endpoint::Introspection,
        Fault::body("application/json", body),
    );
    let client = Client::bearer_token("api", "23410913-abewfq.123483");
    assert!(!format!("{client:?}").contains("23410913"));
    let verifier = IntrospectionVerifier::new(&server.authorization_server(), client, AUDIENCE);
    let verifier = verifier.unwrap().with_endpoint(&endpoint).unwrap();
    let api = api(BearerLayer::new(verifier));
    assert_eq!(present(&api, "opaque").await.outcome(), Outcome::Accepted);
    let sent = &sent_to(&server, Endpoint::Introspection)[0];
    assert_eq!(
        sent.header("authorization"),
        Some("Bearer 23410913-abewfq.123483")
    );
    assert_eq!(sent.parameter("client_id"), None);
}

/// RFC 8414 §2, RFC 8705 §5.
#[tokio::test]
async fn introspection_uses_the_list_and_the_alias_of_its_endpoint() {
    let list = "introspection_endpoint_auth_methods_supported";
    let alias = "https://mtls.example.test/introspect";
    let secret = || Client::confidential("api", SECRET);
    let certificate = || Client::mutual_tls("api");
    let aliases = json!({ "introspection_endpoint": alias });
    for (name, member, client, expected) in [
        (list, json!(["client_secret_post"]), secret(), None),
        (list, json!(["client_secret_basic"]), secret(), Some(ISSUER)),
        (
            "token_endpoint_auth_methods_supported",
            json!(["none"]),
            secret(),
            Some(ISSUER),
        ),
        (
            list,
            json!(["client_secret_post"]),
            certificate(),
            Some(ISSUER),
        ),
        (
            "mtls_endpoint_aliases",
            aliases.clone(),
            certificate(),
            Some(alias),
        ),
        ("mtls_endpoint_aliases", aliases, secret(), Some(ISSUER)),
    ] {
        let logs = Logs::default();
        let _recording = logs.record_only("introspection_misconfigured");
        let client_at_server = match expected == Some(alias) || name == list {
            true => TestClient::mutual_tls("api"),
            false => TestClient::confidential("api", SECRET),
        };
        let server = api::server().add_client(client_at_server);
        server.fail(Endpoint::Metadata, Fault::member(name, member.clone()));
        let (seen, service) = (Arc::new(Mutex::new(None)), server.back_channel());
        let recorded = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Bytes>| {
            if request.method() == Method::POST {
                *recorded.lock().unwrap() = Some(request.uri().to_string());
            }
            service.clone().oneshot(request)
        });
        let handle = server.authorization_server().with_back_channel(service);
        let layer = BearerLayer::introspect(&handle, client, AUDIENCE).unwrap();
        let answer = present(&api(layer), &good(&server).opaque()).await;
        let sent_to = seen.lock().unwrap().clone();
        match expected {
            Some(prefix) => assert!(sent_to.unwrap().starts_with(prefix), "{name} {member}"),
            None => {
                assert_eq!((answer.outcome(), sent_to), (Outcome::Misconfigured, None));
                let log = logs.text();
                for part in [
                    list,
                    "client_secret_post",
                    "client_secret_basic",
                    "with_unlisted_method",
                ] {
                    assert!(log.contains(part), "{part}: {log}");
                }
            }
        }
    }
}
