//! Client authentication of a login: assertions that are signed with a secret, by a remote service, or by another issuer.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tower_oauth::issuer::{HmacAlgorithm, RemoteSigner};
use tower_oauth::testing::{
    Browser, Endpoint, Fault, Page, RecordedRequest, TestClient, TestServer, TestSigningKey,
    TestUser,
};
use tower_oauth::{Algorithm, Client, ConfigError, CookieKey, LoginLayer, Session};

use crate::support::der::decode;
use crate::support::logs::Logs;
use crate::support::shop::{CALLBACK, ISSUER, SHOP};
use crate::support::still_server;

mod credentials;

const WORKLOADS: &str = "https://kubernetes.example.test";
const SUBJECT: &str = "system:serviceaccount:shop:web";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

fn server_with(client: TestClient) -> TestServer {
    crate::support::logs::listen();
    let client = client.add_redirect_uri(CALLBACK).unwrap();
    still_server(ISSUER)
        .unwrap()
        .add_client(client.without_consent())
        .add_user(TestUser::new("alice", "wonderland"))
}

fn layer(server: &TestServer, client: Client) -> Result<LoginLayer, ConfigError> {
    let key = CookieKey::generate().unwrap();
    LoginLayer::new(&server.authorization_server(), client, CALLBACK, key)
}

fn shop(server: &TestServer, client: Client) -> Router {
    let home = get(async |session: Session| session.subject().to_owned());
    let login = layer(server, client).unwrap();
    Router::new()
        .route("/", home.layer(login.required()))
        .layer(login)
}

fn browser(server: &TestServer, app: Router) -> Browser {
    server.browser().with_origin(SHOP, app).unwrap()
}

async fn sign_in(browser: &Browser) -> Page {
    let page = browser.navigate(&format!("{SHOP}/")).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap()
}

/// Signs in with `client`, and returns the status of the last page and the token requests.
async fn attempt(server: &TestServer, client: Client) -> (StatusCode, Vec<RecordedRequest>) {
    let page = sign_in(&browser(server, shop(server, client))).await;
    let is_signed_in = page.status() == StatusCode::OK && page.text() == "alice";
    assert!(
        is_signed_in || page.status().is_server_error(),
        "{} {}",
        page.status(),
        page.text()
    );
    (page.status(), token_requests(server))
}

fn token_requests(server: &TestServer) -> Vec<RecordedRequest> {
    let mut requests = server.requests();
    requests.retain(|one| one.endpoint() == Endpoint::Token);
    requests
}

/// Returns header and claims of the assertion in a request.
fn assertion(request: &RecordedRequest) -> (Value, Value) {
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.parameter("client_secret"), None);
    let compact = request.parameter("client_assertion").unwrap();
    let part = |at| serde_json::from_slice(&decode(compact.split('.').nth(at).unwrap())).unwrap();
    (part(0), part(1))
}

/// RFC 7518 §3.2, OpenID Connect Core §9.
#[tokio::test]
async fn a_client_signs_assertions_with_its_secret() {
    for (algorithm, length) in [
        (HmacAlgorithm::Hs256, 32),
        (HmacAlgorithm::Hs384, 48),
        (HmacAlgorithm::Hs512, 64),
    ] {
        let secret = "s".repeat(length);
        let registered = TestClient::client_secret_jwt("shop", &secret);
        let server = server_with(registered.with_assertion_algorithm(algorithm.name()));
        let client = Client::client_secret_jwt("shop", &*secret).with_hmac_algorithm(algorithm);
        assert!(!format!("{client:?}").contains("sss"));
        let (status, requests) = attempt(&server, client).await;
        assert_eq!(
            (status, requests.len()),
            (StatusCode::OK, 1),
            "{algorithm:?}"
        );
        let (header, claims) = assertion(&requests[0]);
        assert_eq!(
            header,
            json!({ "alg": algorithm.name(), "typ": "client-authentication+jwt" })
        );
        let now = server.clock().unix_seconds();
        let expected = json!({
            "iss": "shop", "sub": "shop", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": claims["jti"],
        });
        assert_eq!(claims, expected);
        assert!(claims["jti"].as_str().unwrap().len() >= 22);
        assert_eq!(
            requests[0].parameter("client_assertion_type").as_deref(),
            Some(JWT_BEARER)
        );

        let short = Client::client_secret_jwt("shop", &secret[1..]).with_hmac_algorithm(algorithm);
        let error = layer(&server, short).unwrap_err();
        assert!(matches!(error, ConfigError::Secret { .. }));
        assert!(error.to_string().contains(algorithm.name()), "{error}");
    }
}

/// RFC 10070 §4, and the settings for servers that are older.
#[tokio::test]
async fn a_server_that_wants_another_assertion_rejects_the_client_and_the_log_names_the_setting() {
    const SECRET: &str = "a secret of forty bytes, more than HS256";
    let endpoint = format!("{ISSUER}/token");
    let registered = || TestClient::client_secret_jwt("shop", SECRET);
    let client = || Client::client_secret_jwt("shop", SECRET);
    for (name, registered, configured) in [
        (
            "with_untyped_assertions",
            registered().with_untyped_assertions(),
            client().with_untyped_assertions(),
        ),
        (
            "with_assertion_audience",
            registered().with_assertion_audience(&endpoint),
            client().with_assertion_audience(&endpoint),
        ),
        (
            "with_hmac_algorithm",
            TestClient::client_secret_jwt("shop", &SECRET.repeat(2))
                .with_assertion_algorithm("HS512"),
            Client::client_secret_jwt("shop", SECRET.repeat(2))
                .with_hmac_algorithm(HmacAlgorithm::Hs512),
        ),
    ] {
        let server = server_with(registered);
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let (status, requests) = attempt(&server, client()).await;
        drop(recording);
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
        assert_eq!(requests.len(), 1);
        let log = logs.text();
        assert!(log.contains(name) && !log.contains(SECRET), "{log}");
        assert_eq!(
            attempt(&server, configured).await.0,
            StatusCode::OK,
            "{name}"
        );
    }
}

/// RFC 8414 §2.
#[tokio::test]
async fn an_assertion_is_not_sent_if_the_metadata_lists_neither_its_method_nor_its_algorithm() {
    const METHODS: &str = "token_endpoint_auth_methods_supported";
    const ALGORITHMS: &str = "token_endpoint_auth_signing_alg_values_supported";
    const SECRET: &str = "a secret of forty bytes, more than HS256";
    let key = TestSigningKey::generate(Algorithm::Es256);
    let jwt = || Client::client_secret_jwt("shop", SECRET);
    let remote = || Client::private_key_jwt("shop", Kms::new(&key));
    let federated = || Client::federated_assertion("shop", "a.b.c");
    let (sent, not_sent) = (true, false);
    for (list, value, client, expected) in [
        (METHODS, json!(["client_secret_basic"]), jwt(), not_sent),
        (METHODS, json!(["private_key_jwt"]), jwt(), not_sent),
        (METHODS, json!(["client_secret_jwt"]), jwt(), sent),
        (METHODS, json!(["client_secret_jwt"]), remote(), not_sent),
        (METHODS, json!(["private_key_jwt"]), remote(), sent),
        (METHODS, json!(["private_key_jwt"]), federated(), sent),
        (METHODS, json!(["client_secret_jwt"]), federated(), not_sent),
        (
            METHODS,
            json!(["private_key_jwt"]),
            federated().with_spiffe_assertions(),
            not_sent,
        ),
        (
            METHODS,
            json!(["spiffe_jwt"]),
            federated().with_spiffe_assertions(),
            sent,
        ),
        (METHODS, json!(["none"]), jwt().with_unlisted_method(), sent),
        (ALGORITHMS, json!(["ES256", "HS384"]), jwt(), not_sent),
        (ALGORITHMS, json!(["HS256"]), jwt(), sent),
        (ALGORITHMS, json!(["RS256", "es256"]), remote(), not_sent),
        (ALGORITHMS, json!(["RS256", "ES256"]), remote(), sent),
        (
            ALGORITHMS,
            json!(["RS256"]),
            remote().with_unlisted_method(),
            sent,
        ),
        // Nothing is listed.
        (ALGORITHMS, json!([]), remote(), sent),
        (ALGORITHMS, json!("ES256"), remote(), not_sent),
        // Another system signs them.
        (ALGORITHMS, json!(["HS256"]), federated(), sent),
    ] {
        let name = format!("{list} {value} {client:?}");
        let server = server_with(TestClient::client_secret_jwt("shop", SECRET));
        server.fail(Endpoint::Metadata, Fault::member(list, value));
        let login = layer(&server, client).unwrap();
        match (login.ready().await, expected) {
            (Ok(()), true) => {}
            (Err(error), false) => {
                assert_eq!(error.code(), code_of_list(&error.to_string()), "{name}");
                assert!(error.to_string().contains(list), "{name}: {error}");
                assert!(
                    error.to_string().contains("with_unlisted_method"),
                    "{name}: {error}"
                );
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
    let server = server_with(TestClient::client_secret_jwt("shop", SECRET));
    server.fail(Endpoint::Metadata, Fault::without_member(ALGORITHMS));
    assert_eq!(attempt(&server, jwt()).await.0, StatusCode::OK, "no list");
}

fn code_of_list(message: &str) -> &'static str {
    match message.contains("is not a list") {
        true => "metadata_malformed",
        false => "client_authentication_unsupported",
    }
}

/// A service that signs.
struct Kms {
    key: TestSigningKey,
    calls: Arc<AtomicUsize>,
    result: fn(Vec<u8>) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>,
}

impl Kms {
    fn new(key: &TestSigningKey) -> Self {
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

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
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

#[tokio::test]
async fn a_remote_service_that_fails_is_an_outage_and_a_wrong_signature_is_not() {
    let key = TestSigningKey::generate(Algorithm::Es256);
    let (outage, misconfigured) = (
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INTERNAL_SERVER_ERROR,
    );
    type Altered = fn(Vec<u8>) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;
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
