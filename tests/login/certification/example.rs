//! `examples/certification_rp.rs` at an authorization server on a socket, for the happy paths of the plans.

use std::collections::HashMap;

use axum::Router;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use tower_oauth::testing::{
    Browser, ClientAuthentication, Endpoint, Fault, GrantType, ManualClock, Page, ServerHandle,
    TestClient, TestServer, TestUser,
};
use tower_oauth::{Algorithm, SigningKey};

#[path = "../../../examples/certification_rp/application.rs"]
mod application;
#[path = "../../../examples/certification_rp/back_channel.rs"]
mod back_channel;
#[allow(dead_code)]
#[path = "../../../examples/certification_rp/configuration.rs"]
mod configuration;

#[allow(dead_code)]
#[path = "../../../examples/mtls/certificates.rs"]
mod certificates;
#[path = "../../../examples/mtls/listener.rs"]
mod listener;

use certificates::Ca;
use configuration::Configuration;
use listener::TlsListener;

const BASE: &str = "http://127.0.0.1:3000";
const SECRET: &str = "certification-secret-of-at-least-32-octets";

struct World {
    server: TestServer,
    browser: Browser,
    _listening: ServerHandle,
}

fn client() -> TestClient {
    register(TestClient::confidential("certified", SECRET))
}

fn register(client: TestClient) -> TestClient {
    client
        .with_scopes("openid profile email")
        .unwrap()
        .add_redirect_uri(&format!("{BASE}/auth/callback"))
        .unwrap()
        .add_post_logout_redirect_uri(&format!("{BASE}/auth/logout"))
        .unwrap()
        .with_backchannel_logout_uri(&format!("{BASE}/auth/backchannel-logout"))
        .unwrap()
        .without_consent()
}

impl World {
    /// The issuer is at a free port, with this path.
    async fn new(path: &str, client: TestClient, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let issuer = format!("http://{address}{path}");
        let server = TestServer::new(&issuer)
            .unwrap()
            .with_clock(ManualClock::ticking())
            .with_pushed_requests()
            .with_signed_requests()
            .with_response_modes()
            .with_algorithm(Algorithm::Rs256)
            .add_client(client)
            .add_user(TestUser::new("alice", "wonderland"));
        let listening = server.listen(address).await.unwrap();
        let mut all = HashMap::from([
            ("ISSUER", issuer.as_str()),
            ("CLIENT_ID", "certified"),
            ("CLIENT_SECRET", SECRET),
            ("ID_TOKEN_ALG", "RS256"),
        ]);
        all.extend(variables.iter().copied());
        let variable = |name: &str| all.get(name).map(|value| (*value).to_owned());
        let application = application::application(&Configuration::read(variable).unwrap());
        let application = application.unwrap();
        let browser = server.browser().with_origin(BASE, application.clone());
        let server = server.add_relying_party(BASE, application).unwrap();
        Self {
            server,
            browser: browser.unwrap(),
            _listening: listening,
        }
    }

    async fn open(&self, path: &str) -> Page {
        self.browser
            .navigate(&format!("{BASE}{path}"))
            .await
            .unwrap()
    }

    async fn sign_in(&self) -> Page {
        let page = self.open("/auth/login").await;
        page.sign_in("alice", "wonderland").await.unwrap()
    }
}

/// Each client authentication method and session backend, at issuers of any form.
#[tokio::test]
async fn the_example_signs_in_and_requests_userinfo() {
    let key = std::env::temp_dir().join(format!("certification-{}.pem", std::process::id()));
    std::fs::write(&key, PEM).unwrap();
    let signing = SigningKey::from_pem(PEM).unwrap().with_key_id("mine");
    let assertion = TestClient::private_key_jwt("certified", signing.public_jwk());
    let key = key.to_str().unwrap();
    let signed = [("CLIENT_KEY", key), ("CLIENT_KEY_ID", "mine")];
    let signing_client = || client().add_request_key(signing.public_jwk());
    for (path, registered, variables) in [
        (
            "",
            client().with_authentication(ClientAuthentication::Basic),
            vec![],
        ),
        ("/", client(), vec![("SESSIONS", "cookie")]),
        (
            "/test/a/mine/",
            client().with_authentication(ClientAuthentication::Post),
            vec![("CLIENT_AUTH", "post"), ("SESSIONS", "shared")],
        ),
        (
            "/realms/one",
            register(TestClient::public("certified")),
            vec![("CLIENT_AUTH", "none"), ("CLIENT_SECRET", "")],
        ),
        (
            "",
            register(assertion),
            vec![
                ("CLIENT_AUTH", "private_key_jwt"),
                ("CLIENT_KEY", key),
                ("CLIENT_KEY_ID", "mine"),
            ],
        ),
        (
            "",
            register(TestClient::client_secret_jwt("certified", SECRET)),
            vec![("CLIENT_AUTH", "client_secret_jwt"), ("SENDER", "dpop")],
        ),
        (
            "",
            register(TestClient::mutual_tls("certified")),
            vec![("CLIENT_AUTH", "mtls")],
        ),
        (
            "",
            client(),
            vec![("CLAIMS", "{\"id_token\":{\"sub\":{\"value\":\"alice\"}}}")],
        ),
        ("", client(), vec![("RESPONSE_MODE", "form_post")]),
        (
            "",
            client(),
            vec![("REQUEST", "plain"), ("RESPONSE_MODE", "jwt")],
        ),
        (
            "",
            signing_client(),
            [&[("REQUEST", "jar")], &signed[..]].concat(),
        ),
        (
            "",
            signing_client(),
            [
                &[("REQUEST", "jar_par"), ("RESPONSE_MODE", "form_post.jwt")],
                &signed[..],
            ]
            .concat(),
        ),
    ] {
        let world = World::new(path, registered, &variables).await;
        let page = world.sign_in().await;
        let text = page.text();
        assert_eq!(page.status(), StatusCode::OK, "{variables:?} {text}");
        assert!(text.contains("subject: alice"), "{variables:?} {text}");
        assert!(text.contains("userinfo: {"), "{variables:?} {text}");
        assert_eq!(page.url(), format!("{BASE}/account"), "{variables:?}");
        assert_eq!(world.server.count(Endpoint::UserInfo), 1, "{variables:?}");
    }
    std::fs::remove_file(key).unwrap();
}

/// `openssl genpkey -algorithm ed25519`
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----";

#[tokio::test]
async fn the_example_refreshes_and_signs_out() {
    let world = World::new("", client(), &[]).await;
    world.sign_in().await;
    let page = world.open("/refresh").await;
    assert!(page.text().contains("userinfo: {"), "{}", page.text());
    assert_eq!(world.server.count_grant(GrantType::RefreshToken), 1);
    assert_eq!(world.server.count(Endpoint::UserInfo), 2);

    let page = world
        .open("/")
        .await
        .form("")
        .unwrap()
        .submit()
        .await
        .unwrap();
    assert!(page.text().contains("signed out"), "{}", page.text());
    assert_eq!(page.url(), format!("{BASE}/"));
    assert_eq!(world.server.count(Endpoint::EndSession), 1);
    let sent = world.server.sent_logout_tokens();
    assert_eq!(sent[0].status(), Some(StatusCode::OK));
}

#[tokio::test]
async fn the_example_shows_the_code_of_a_failure_and_calls_nothing() {
    let world = World::new("", client(), &[]).await;
    let nonce = Fault::id_token(|mint| mint.with_claim("nonce", "another"));
    world.server.fail_once(Endpoint::Token, nonce);
    let page = world.sign_in().await;
    assert!(
        page.text().contains("error: id_token_nonce"),
        "{}",
        page.text()
    );
    assert!(!page.status().is_success());
    assert_eq!(world.server.count(Endpoint::UserInfo), 0);

    world
        .server
        .fail_once(Endpoint::UserInfo, Fault::member("sub", "bob"));
    let page = world.open("/account").await;
    assert!(page.text().contains("error: userinfo"), "{}", page.text());
    assert!(!page.status().is_success());
}

/// The refresh module of the FAPI 2.0 plans rejects the first two access tokens.
#[tokio::test]
async fn the_example_calls_a_resource_again_with_new_tokens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/accounts", listener.local_addr().unwrap());
    let calls = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = calls.clone();
    let accounts = async move |headers: HeaderMap| {
        let mut seen = seen.lock().unwrap();
        seen.push(headers["authorization"].to_str().unwrap().to_owned());
        match seen.len() {
            1 | 2 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::OK,
        }
    };
    let api = Router::new().route("/accounts", get(accounts));
    tokio::spawn(axum::serve(listener, api).into_future());
    let world = World::new("", client(), &[("RESOURCE", &url)]).await;
    let page = world.sign_in().await;
    assert!(
        page.text().contains("resource: 401 401 200"),
        "{}",
        page.text()
    );
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(world.server.count_grant(GrantType::RefreshToken), 2);
    assert_eq!(world.server.count(Endpoint::UserInfo), 0);
    let calls = calls.lock().unwrap();
    assert!(calls[0] != calls[1] && calls[1] != calls[2]);
}

/// The FAPI 2.0 plans: TLS with a private authority, and a certificate of the client.
#[tokio::test]
async fn the_example_signs_in_with_the_fapi_profiles_over_tls() {
    let folder = std::env::temp_dir().join(format!("certification-fapi2-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let authority = Ca::new().unwrap();
    let ours = authority.certify("client").unwrap();
    let key = write("key.pem", PEM);
    let files = [
        ("CA", write("ca.pem", &authority.0.pem())),
        ("CLIENT_KEY", key),
        ("CLIENT_CERT", write("client.pem", &ours.pem())),
        (
            "CLIENT_CERT_KEY",
            write("client.key", &ours.key.serialize_pem()),
        ),
    ];
    let signing = SigningKey::from_pem(PEM).unwrap();
    let with_key = || TestClient::private_key_jwt("certified", signing.public_jwk());
    let with_certificate =
        || TestClient::mutual_tls("certified").add_request_key(signing.public_jwk());
    for (registered, profile, method) in [
        (with_key(), "fapi2_security", "private_key_jwt"),
        (with_certificate(), "fapi2_security", "mtls"),
        (with_key(), "fapi2_message_signing", "private_key_jwt"),
        (with_certificate(), "fapi2_message_signing", "mtls"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let issuer = format!("https://localhost:{port}/a/b/");
        let redirect_uri = format!("{HTTPS_BASE}/auth/callback");
        let server = TestServer::new(&issuer)
            .unwrap()
            .with_clock(ManualClock::ticking())
            .with_fapi2()
            .with_signed_requests()
            .with_response_modes()
            .add_client(
                registered
                    .add_redirect_uri(&redirect_uri)
                    .unwrap()
                    .without_consent(),
            )
            .add_user(TestUser::new("alice", "wonderland"));
        serve_tls(&server, listener, &authority);
        let variable = |name: &str| {
            let own = match name {
                "ISSUER" => &issuer,
                "CLIENT_ID" => "certified",
                "CLIENT_AUTH" => method,
                "PROFILE" => profile,
                "ID_TOKEN_ALG" => "PS256",
                "SCOPES" => "openid",
                "BASE" => HTTPS_BASE,
                _ => {
                    return files
                        .iter()
                        .find(|file| file.0 == name)
                        .map(|file| file.1.clone());
                }
            };
            Some(own.to_owned())
        };
        let application = application::application(&Configuration::read(variable).unwrap());
        let browser = server
            .browser()
            .with_origin(HTTPS_BASE, application.unwrap());
        let browser = browser.unwrap();
        let page = browser
            .navigate(&format!("{HTTPS_BASE}/auth/login"))
            .await
            .unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        let name = format!("{profile} {method}");
        assert!(
            page.text().contains("userinfo: {"),
            "{name}: {}",
            page.text()
        );
        assert_eq!(page.status(), StatusCode::OK, "{name}");
        assert_eq!(
            server.count(Endpoint::PushedAuthorizationRequest),
            1,
            "{name}"
        );
    }
    std::fs::remove_dir_all(folder).unwrap();
}

const HTTPS_BASE: &str = "https://rp.example.com";

/// Serves the authorization server over TLS, and asks for the certificate of the client.
fn serve_tls(server: &TestServer, listener: TcpListener, authority: &Ca) {
    let certificate = authority.certify("localhost").unwrap();
    let config = authority.tls_config(certificate).unwrap();
    let listener = TlsListener::new(listener, &config).unwrap();
    let server = server.clone();
    let handle = move |request| {
        let server = server.clone();
        async move {
            server
                .oneshot(request)
                .await
                .map_err(|_| StatusCode::BAD_GATEWAY)
        }
    };
    let service = Router::new().fallback(handle);
    tokio::spawn(axum::serve(listener, service).into_future());
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value) in [
        ("ISSUER", ""),
        ("CLIENT_ID", ""),
        ("CLIENT_SECRET", ""),
        ("CLIENT_AUTH", "secret"),
        ("SESSIONS", "redis"),
        ("REQUEST", "signed"),
        ("PROFILE", "fapi"),
        ("CLAIMS", "{"),
        ("SENDER", "key"),
        ("RESPONSE_MODE", "fragment"),
        ("ID_TOKEN_ALG", "HS256"),
        ("TLS_CERT", "rp.pem"),
        ("USERINFO", "maybe"),
    ] {
        let good = [
            ("ISSUER", "https://id.example.com"),
            ("CLIENT_ID", "a"),
            ("CLIENT_SECRET", "b"),
        ];
        let variable = |wanted: &str| {
            let all = std::iter::once((name, value)).chain(good);
            let mut values = all.filter(|(name, _)| *name == wanted);
            values.next().map(|(_, value)| value.to_owned())
        };
        let error = Configuration::read(variable).err().unwrap().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
}

#[test]
fn tokens_without_a_sender_constraint_are_an_error_with_a_profile_of_fapi() {
    for (profile, sender, is_error) in [
        ("fapi2_security", "none", true),
        ("fapi2_security", "", false),
        ("fapi2_security", "dpop", false),
        ("oidc", "none", false),
    ] {
        let variables = [
            ("ISSUER", "https://id.example.com"),
            ("CLIENT_ID", "a"),
            ("CLIENT_SECRET", "b"),
            ("PROFILE", profile),
            ("SENDER", sender),
        ];
        let variable = |wanted: &str| {
            let mut values = variables.iter().filter(|(name, _)| *name == wanted);
            values.next().map(|(_, value)| (*value).to_owned())
        };
        let error = Configuration::read(variable).err();
        assert_eq!(error.is_some(), is_error, "{profile} {sender}: {error:?}");
    }
}
