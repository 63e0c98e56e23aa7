//! `examples/certification_rp.rs` at an authorization server on a socket, for the happy paths of the plans.

use std::collections::HashMap;

use axum::Router;
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
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
#[path = "../../../examples/certification_rp/scripts.rs"]
mod scripts;

mod bare_client;
mod fapi2;
mod variables;

use crate::support::keys::ED25519_PEM;
use configuration::Configuration;

const BASE: &str = "http://127.0.0.1:3000";
const SECRET: &str = "certification-secret-of-at-least-32-octets";

struct World {
    server: TestServer,
    browser: Browser,
    application: Router,
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
        let server = server.add_relying_party(BASE, application.clone()).unwrap();
        Self {
            server,
            browser: browser.unwrap(),
            application,
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

/// What a request of the login has: the header or parameter `name` begins with the text, or is absent.
type Sent = (Endpoint, &'static str, Option<&'static str>);

impl World {
    fn assert_sent(&self, (endpoint, name, expected): Sent, variables: &[(&str, &str)]) {
        let requests = self.server.requests();
        let values = requests.iter().filter(|it| it.endpoint() == endpoint);
        let values = values.filter_map(|it| match it.header(name) {
            Some(value) => Some(value.to_owned()),
            None => it.parameter(name),
        });
        let values: Vec<_> = values.collect();
        let is_expected = match expected {
            Some(start) => values.iter().any(|value| value.starts_with(start)),
            None => values.is_empty(),
        };
        assert!(
            is_expected,
            "{variables:?}: {endpoint:?} {name}: {values:?}"
        );
    }
}

/// Each client authentication method, form of requests and session backend, at issuers of any form.
#[tokio::test]
async fn the_example_signs_in_and_requests_userinfo() {
    let key = std::env::temp_dir().join(format!("certification-{}.pem", std::process::id()));
    std::fs::write(&key, ED25519_PEM).unwrap();
    let signing = SigningKey::from_pem(ED25519_PEM)
        .unwrap()
        .with_key_id("mine");
    let assertion = TestClient::private_key_jwt("certified", signing.public_jwk());
    let key = key.to_str().unwrap();
    let signed = [("CLIENT_KEY", key), ("CLIENT_KEY_ID", "mine")];
    let signing_client = || client().add_request_key(signing.public_jwk());
    const PUSHED: Endpoint = Endpoint::PushedAuthorizationRequest;
    for (path, registered, variables, sent) in [
        (
            "",
            client().with_authentication(ClientAuthentication::Basic),
            vec![],
            vec![
                (Endpoint::Token, "authorization", Some("Basic ")),
                (Endpoint::Token, "dpop", None),
                (PUSHED, "response_mode", None),
                (PUSHED, "claims", None),
                (PUSHED, "request", None),
                (PUSHED, "redirect_uri", Some(BASE)),
            ],
        ),
        ("/", client(), vec![("SESSIONS", "cookie")], vec![]),
        (
            "/test/a/mine/",
            client().with_authentication(ClientAuthentication::Post),
            vec![("CLIENT_AUTH", "post"), ("SESSIONS", "shared")],
            vec![
                (Endpoint::Token, "client_secret", Some(SECRET)),
                (Endpoint::Token, "authorization", None),
            ],
        ),
        (
            "/realms/one",
            register(TestClient::public("certified")),
            vec![("CLIENT_AUTH", "none"), ("CLIENT_SECRET", "")],
            vec![
                (Endpoint::Token, "client_id", Some("certified")),
                (Endpoint::Token, "client_secret", None),
                (Endpoint::Token, "authorization", None),
            ],
        ),
        (
            "",
            register(assertion),
            vec![
                ("CLIENT_AUTH", "private_key_jwt"),
                ("CLIENT_KEY", key),
                ("CLIENT_KEY_ID", "mine"),
                ("CLIENT_KEY_ALG", "Ed25519"),
            ],
            vec![(Endpoint::Token, "client_assertion", Some("ey"))],
        ),
        (
            "",
            register(TestClient::client_secret_jwt("certified", SECRET)),
            vec![("CLIENT_AUTH", "client_secret_jwt"), ("SENDER", "dpop")],
            vec![
                (Endpoint::Token, "client_assertion", Some("ey")),
                (Endpoint::Token, "dpop", Some("ey")),
                (Endpoint::UserInfo, "dpop", Some("ey")),
            ],
        ),
        (
            "",
            register(TestClient::mutual_tls("certified")),
            vec![("CLIENT_AUTH", "mtls")],
            vec![
                (Endpoint::Token, "client_id", Some("certified")),
                (Endpoint::Token, "client_secret", None),
                (Endpoint::Token, "client_assertion", None),
                (Endpoint::Token, "authorization", None),
            ],
        ),
        (
            "",
            client(),
            vec![("CLAIMS", "{\"id_token\":{\"sub\":{\"value\":\"alice\"}}}")],
            vec![(PUSHED, "claims", Some("{\"id_token\":"))],
        ),
        (
            "",
            client(),
            vec![("RESPONSE_MODE", "form_post")],
            vec![(PUSHED, "response_mode", Some("form_post"))],
        ),
        (
            "",
            client(),
            vec![("REQUEST", "plain"), ("RESPONSE_MODE", "jwt")],
            vec![
                (Endpoint::Authorization, "response_mode", Some("jwt")),
                (Endpoint::Authorization, "redirect_uri", Some(BASE)),
                (Endpoint::Authorization, "request", None),
                (PUSHED, "client_id", None),
            ],
        ),
        (
            "",
            signing_client(),
            [&[("REQUEST", "jar")], &signed[..]].concat(),
            vec![
                (Endpoint::Authorization, "request", Some("ey")),
                (Endpoint::Authorization, "redirect_uri", None),
                (PUSHED, "client_id", None),
            ],
        ),
        (
            "",
            signing_client(),
            [
                &[("REQUEST", "jar_par"), ("RESPONSE_MODE", "form_post.jwt")],
                &signed[..],
            ]
            .concat(),
            vec![
                (PUSHED, "request", Some("ey")),
                (PUSHED, "redirect_uri", None),
                (Endpoint::Authorization, "request", None),
            ],
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
        for one in sent {
            world.assert_sent(one, &variables);
        }
    }
    std::fs::remove_file(key).unwrap();
}

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
