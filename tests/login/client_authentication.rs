//! Client authentication of a login: assertions that are signed with a secret, by a remote service, or by another issuer.

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};
use tower_oauth::issuer::HmacAlgorithm;
use tower_oauth::testing::{
    Browser, Endpoint, Fault, Page, RecordedRequest, TestClient, TestServer, TestSigningKey,
    TestUser,
};
use tower_oauth::{Algorithm, Client, ConfigError, CookieKey, LoginLayer, Session, SigningKey};

use crate::support::authorization_server::part;
use crate::support::logs::Logs;
use crate::support::shop::{self as pages, CALLBACK, ISSUER, SHOP};
use crate::support::still_server;

mod credentials;
mod federated;
mod remote_signer;

use remote_signer::Kms;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

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
    (part(&compact, 0), part(&compact, 1))
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
    let sent = None;
    let unsupported = Some("client_authentication_unsupported");
    let malformed = Some("metadata_malformed");
    for (list, value, client, expected) in [
        (METHODS, json!(["client_secret_basic"]), jwt(), unsupported),
        (METHODS, json!(["private_key_jwt"]), jwt(), unsupported),
        (METHODS, json!(["client_secret_jwt"]), jwt(), sent),
        (METHODS, json!(["client_secret_jwt"]), remote(), unsupported),
        (METHODS, json!(["private_key_jwt"]), remote(), sent),
        (METHODS, json!(["private_key_jwt"]), federated(), sent),
        (
            METHODS,
            json!(["client_secret_jwt"]),
            federated(),
            unsupported,
        ),
        (
            METHODS,
            json!(["private_key_jwt"]),
            federated().with_spiffe_assertions(),
            unsupported,
        ),
        (
            METHODS,
            json!(["spiffe_jwt"]),
            federated().with_spiffe_assertions(),
            sent,
        ),
        (METHODS, json!(["none"]), jwt().with_unlisted_method(), sent),
        (ALGORITHMS, json!(["ES256", "HS384"]), jwt(), unsupported),
        (ALGORITHMS, json!(["HS256"]), jwt(), sent),
        (ALGORITHMS, json!(["RS256", "es256"]), remote(), unsupported),
        (ALGORITHMS, json!(["RS256", "ES256"]), remote(), sent),
        (
            ALGORITHMS,
            json!(["RS256"]),
            remote().with_unlisted_method(),
            sent,
        ),
        // Nothing is listed.
        (ALGORITHMS, json!([]), remote(), sent),
        (ALGORITHMS, json!("ES256"), remote(), malformed),
        // Another system signs them.
        (ALGORITHMS, json!(["HS256"]), federated(), sent),
    ] {
        let name = format!("{list} {value} {client:?}");
        let server = server_with(TestClient::client_secret_jwt("shop", SECRET));
        server.fail(Endpoint::Metadata, Fault::member(list, value));
        let login = layer(&server, client).unwrap();
        match (login.ready().await, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(code)) => {
                assert_eq!(error.code(), code, "{name}");
                assert!(error.to_string().contains(list), "{name}: {error}");
                assert!(
                    error.to_string().contains("with_unlisted_method"),
                    "{name}: {error}"
                );
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
        assert_eq!(server.count(Endpoint::Token), 0, "{name}");
    }
    let server = server_with(TestClient::client_secret_jwt("shop", SECRET));
    server.fail(Endpoint::Metadata, Fault::without_member(ALGORITHMS));
    assert_eq!(attempt(&server, jwt()).await.0, StatusCode::OK, "no list");
}

/// Hostile: a server that the application also uses names the token endpoint of the honest one (RFC 10070 §5).
#[tokio::test]
async fn an_assertion_for_a_hostile_server_is_rejected_by_the_honest_one() {
    const HOSTILE: &str = "https://hostile.example.test";
    let key = SigningKey::from_pem(&rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let secret = "a secret of both servers, of 32 bytes";
    for (registered, client) in [
        (
            TestClient::private_key_jwt("shop", key.public_jwk()),
            Client::private_key_jwt("shop", key),
        ),
        (
            TestClient::client_secret_jwt("shop", secret),
            Client::client_secret_jwt("shop", secret),
        ),
    ] {
        let honest = server_with(registered.clone());
        let registered = registered.add_redirect_uri(CALLBACK).unwrap();
        let hostile = still_server(HOSTILE)
            .unwrap()
            .add_client(registered.without_consent())
            .add_user(TestUser::new("alice", "wonderland"));
        let endpoint = Fault::member("token_endpoint", format!("{ISSUER}/token"));
        hostile.fail(Endpoint::Metadata, endpoint);
        let (to_honest, to_hostile) = (honest.back_channel(), hostile.back_channel());
        let both = service_fn(move |request: Request<Bytes>| {
            match request.uri().host() == Some("id.example.test") {
                true => to_honest.clone().oneshot(request),
                false => to_hostile.clone().oneshot(request),
            }
        });
        let handle = hostile.authorization_server().with_back_channel(both);
        let cookies = CookieKey::generate().unwrap();
        let login = LoginLayer::new(&handle, client.clone(), CALLBACK, cookies).unwrap();
        let home = get(async |session: Session| session.subject().to_owned());
        let app = Router::new()
            .route("/", home.layer(login.required()))
            .layer(login);
        let page = sign_in(&browser(&hostile, app)).await;
        assert!(
            page.status().is_server_error(),
            "{client:?} {}",
            page.text()
        );
        assert_eq!(hostile.count(Endpoint::Token), 0, "{client:?}");
        let sent = token_requests(&honest);
        assert_eq!(sent.len(), 1, "{client:?}");
        assert_eq!(assertion(&sent[0]).1["aud"], HOSTILE, "{client:?}");
        assert!(page.text().contains("client_refused"), "{}", page.text());
        let (status, _) = attempt(&honest, client).await;
        assert_eq!(status, StatusCode::OK);
    }
}

/// Hostile: a server that publishes the endpoint of the other one as its own gets an assertion that is valid there.
#[tokio::test]
async fn an_endpoint_audience_is_refused_with_more_than_one_server() {
    const ENDPOINT: &str = "https://id.example.test/token";
    let key = TestSigningKey::generate(Algorithm::Es256);
    let signed = || Client::private_key_jwt("shop", Kms::new(&key));
    let endpoint = || signed().with_assertion_audience(ENDPOINT);
    let secret = || Client::client_secret_jwt("shop", "a secret of one server, of 32 bytes");
    let other = "https://other.example.test";
    for (inner, outer, issuer, status) in [
        (signed(), signed(), other, 303),
        (endpoint(), signed(), other, 500),
        (signed(), endpoint(), other, 500),
        (endpoint(), endpoint(), ISSUER, 303),
        // A secret belongs to one server.
        (endpoint(), secret(), other, 303),
    ] {
        let name = format!("{inner:?} {outer:?} {issuer}");
        let inner_server = server_with(TestClient::public("shop"));
        let outer_server = still_server(issuer).unwrap();
        let admin = "https://shop.example.com/admin/callback";
        let key = CookieKey::generate().unwrap();
        let handle = outer_server.authorization_server();
        let outer = LoginLayer::new(&handle, outer, admin, key).unwrap();
        let app = shop(&inner_server, inner).layer(outer);
        let answer = pages::send(&app, pages::Ask::page("/")).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
        let names_setting = answer.text().contains("with_assertion_audience");
        assert_eq!(names_setting, status == 500, "{name}: {}", answer.text());
    }
}
