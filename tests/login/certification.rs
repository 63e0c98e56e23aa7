//! The modules of the OpenID Foundation's test plans for relying parties. In each one the authorization server
//! behaves in one unusual way, and the relying party requests userinfo after each login that it accepts.

mod basic;
mod config;
mod example;
mod fapi2;
mod logout;
mod refresh;
mod third_party;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::Value;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{
    Browser, Endpoint, Fault, Page, TestClient, TestServer, TestUser, TokenMint,
};
use tower_oauth::{Algorithm, Client, CookieKey, LoginLayer, Session};

use crate::support::shop::{CALLBACK, ISSUER, LOGOUT, SHOP};

const SECRET: &str = "shop-secret-of-at-least-32-octets";

/// What the relying party does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Signs the user in and accepts the userinfo response.
    Accepts,
    /// Does the same, and requests nothing for the claim that the response has from another source.
    AcceptsWithout(&'static str),
    /// Rejects the login with this code, without a userinfo request.
    Rejects(&'static str),
    /// Signs the user in and rejects the userinfo response.
    RejectsUserInfo,
}

/// What the authorization server does in a module.
type Behaviour = fn(&TestServer);

/// A module: its name, what the authorization server does, and what the relying party does then.
type Module = (&'static str, Behaviour, Outcome);

type Setting = fn(LoginLayer) -> LoginLayer;

/// The relying party and the authorization server of one module.
struct World {
    server: TestServer,
    browser: Browser,
}

impl World {
    /// The algorithm of ID tokens is RS256, the default of client registrations.
    fn new(setting: Setting) -> Self {
        Self::at(ISSUER, setting)
    }

    fn at(issuer: &str, setting: Setting) -> Self {
        let server = crate::support::still_server(issuer)
            .unwrap()
            .with_algorithm(Algorithm::Rs256)
            .with_response_modes()
            .add_client(client())
            .add_user(alice());
        let client = Client::confidential("shop", SECRET);
        let key = CookieKey::generate().unwrap();
        let store = MemoryStore::new().with_clock(server.clock());
        let login = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key)
            .unwrap()
            .with_scopes("openid profile email phone address")
            .unwrap()
            .with_post_logout_redirect_uri(LOGOUT)
            .unwrap()
            .with_id_token_algorithms([Algorithm::Rs256])
            .unwrap()
            .with_session_store(store.with_single_process());
        let login = setting(login);
        let app = app(&login);
        let browser = server.browser().with_origin(SHOP, app.clone()).unwrap();
        let server = server.add_relying_party(SHOP, app).unwrap();
        Self { server, browser }
    }

    async fn open(&self, path: &str) -> Page {
        self.browser
            .navigate(&format!("{SHOP}{path}"))
            .await
            .unwrap()
    }

    /// Opens a page that requires a login, and signs in if the authorization server asks for it.
    async fn sign_in(&self) -> Page {
        let page = self.open("/account").await;
        match page.form("#sign-in") {
            Ok(_) => page.sign_in("alice", "wonderland").await.unwrap(),
            Err(_) => page,
        }
    }

    fn userinfo_requests(&self) -> usize {
        self.server.count(Endpoint::UserInfo)
    }

    fn is_signed_in(&self) -> bool {
        self.browser
            .cookie(SHOP, crate::support::shop::SESSION)
            .is_some()
    }

    fn assert_outcome(&self, module: &str, outcome: Outcome, page: &Page) {
        let text = page.text();
        match outcome {
            Outcome::Accepts => {
                assert_eq!(text, "alice alice@example.test", "{module}");
                assert_eq!(page.url(), format!("{SHOP}/account"), "{module}");
                assert!(self.is_signed_in(), "{module}");
            }
            Outcome::AcceptsWithout(claim) => {
                let expected = format!("alice alice@example.test, {claim} elsewhere");
                assert_eq!(text, expected, "{module}");
                assert!(self.is_signed_in(), "{module}");
                assert_eq!(self.userinfo_requests(), 1, "{module}");
                let requests = self.server.requests();
                let other = requests.iter().find(|it| it.uri().path() == "/claims");
                assert!(other.is_none(), "{module}: {other:?}");
            }
            Outcome::RejectsUserInfo => {
                assert!(text.starts_with("no userinfo: "), "{module}: {text}");
                assert_eq!(self.userinfo_requests(), 1, "{module}");
            }
            Outcome::Rejects(code) => {
                assert!(text.contains(code), "{module}: {text}");
                assert!(!page.status().is_success(), "{module}: {text}");
                assert_eq!(self.userinfo_requests(), 0, "{module}");
                assert!(!self.is_signed_in(), "{module}");
            }
        }
    }
}

/// Runs each module in a world of its own.
async fn run(setting: Setting, modules: &[Module]) {
    for (module, behave, outcome) in modules {
        let world = World::new(setting);
        behave(&world.server);
        let page = world.sign_in().await;
        world.assert_outcome(module, *outcome, &page);
    }
}

/// Changes the ID tokens of logins.
fn id_token(server: &TestServer, alter: fn(TokenMint) -> TokenMint) {
    server.fail(Endpoint::Token, Fault::id_token(alter));
}

fn client() -> TestClient {
    TestClient::confidential("shop", SECRET)
        .with_scopes("openid profile email phone address")
        .unwrap()
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .add_post_logout_redirect_uri(LOGOUT)
        .unwrap()
        .without_consent()
}

fn alice() -> TestUser {
    TestUser::new("alice", "wonderland")
        .with_claim("email", "alice@example.test")
        .with_claim("phone_number", "+49 30 1234567")
        .with_claim("name", "Alice")
}

fn app(login: &LoginLayer) -> Router {
    Router::new()
        .route("/account", get(account).layer(login.required()))
        .route("/refreshed", get(refreshed).layer(login.required()))
        .route("/", get(home))
        .layer(login.clone())
}

async fn home(session: Option<Session>) -> &'static str {
    session.map_or("signed out", |_| "signed in")
}

async fn account(session: Session) -> (StatusCode, String) {
    match session.userinfo().await {
        Ok(info) => {
            let email = info.email().map(|email| email.address().to_owned());
            let mut text = format!("{} {}", session.subject(), email.unwrap_or_default());
            if let Some(names) = info.get("_claim_names").and_then(Value::as_object) {
                let names = names.keys().filter(|name| info.get(name).is_none());
                for name in names {
                    text += &format!(", {name} elsewhere");
                }
            }
            (StatusCode::OK, text)
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("no userinfo: {error}")),
    }
}

/// Requests userinfo with a refreshed access token.
async fn refreshed(session: Session) -> (StatusCode, String) {
    match session.refresh().await {
        Ok(()) => account(session).await,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("not refreshed: {error}")),
    }
}
