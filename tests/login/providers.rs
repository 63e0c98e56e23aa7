//! Several providers in one layer: users choose where to sign in, and each session belongs to the provider that its user
//! signed in at.

mod chooser;
mod configured;
mod isolation;
mod logout;
mod sessions;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Browser, Page, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer, Provider, Session};

use crate::support::modes::Mode;
use crate::support::shop::{CALLBACK, ISSUER, KEY, LOGOUT, SHOP};
use crate::support::{logs, still_server};

const PARTNER: &str = "https://partner.example.test";
const PARTNER_CALLBACK: &str = "https://shop.example.com/auth/callback/partner";
const DESK_CALLBACK: &str = "https://shop.example.com/auth/callback/desk";

/// An application whose users sign in at two authorization servers. `alice` is a user of both, with the same subject.
struct TwoProviders {
    staff: TestServer,
    partner: TestServer,
    login: LoginLayer,
    app: Router,
}

/// Returns an authorization server of the client `shop`, which may redirect to all of these.
fn server_for(issuer: &str, redirect_uris: &[&str]) -> TestServer {
    let client = TestClient::confidential("shop", "shop-secret")
        .without_consent()
        .add_post_logout_redirect_uri(LOGOUT)
        .unwrap()
        .with_backchannel_logout_uri(&format!("{SHOP}/auth/backchannel-logout"))
        .unwrap();
    let client = redirect_uris
        .iter()
        .fold(client, |client, uri| client.add_redirect_uri(uri).unwrap());
    still_server(issuer)
        .unwrap()
        .add_client(client)
        .add_user(TestUser::new("alice", "wonderland"))
}

fn staff_server() -> TestServer {
    logs::listen();
    server_for(ISSUER, &[CALLBACK])
}

/// Returns the second server, with the clock of the first one.
fn partner_server(staff: &TestServer) -> TestServer {
    server_for(PARTNER, &[PARTNER_CALLBACK]).with_clock(staff.clock())
}

fn client() -> Client {
    Client::confidential("shop", "shop-secret")
}

fn key() -> CookieKey {
    CookieKey::from_bytes(&KEY).unwrap()
}

fn provider(name: &str, server: &TestServer) -> Provider {
    Provider::new(name, &server.authorization_server(), client()).unwrap()
}

async fn greet(session: Option<Session>) -> String {
    match session {
        None => "offers".to_owned(),
        Some(session) => format!("{} at {}", session.subject(), session.provider()),
    }
}

fn app(login: &LoginLayer) -> Router {
    Router::new()
        .route("/", get(greet))
        .route("/account", get(greet).layer(login.required()))
        .route(
            "/token",
            get(async |session: Session| {
                session
                    .access_token()
                    .await
                    .map(|token| token.expose().to_owned())
                    .unwrap()
            }),
        )
        .layer(login.clone())
}

impl TwoProviders {
    fn new() -> Self {
        Self::with(|login| login)
    }

    fn kept(mode: Mode) -> Self {
        Self::with(|login| mode.place_in(login, MemoryStore::new().with_single_process()))
    }

    fn with(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Self {
        let staff = staff_server();
        let partner = partner_server(&staff);
        let login = LoginLayer::new(&staff.authorization_server(), client(), CALLBACK, key())
            .and_then(|login| login.with_provider_name("staff", "Example Inc."))
            .and_then(|login| login.with_post_logout_redirect_uri(LOGOUT))
            .and_then(|login| {
                login.add_provider(provider("partner", &partner).with_display_name("Partner & Co."))
            });
        let login = configure(login.unwrap());
        Self {
            app: app(&login),
            staff,
            partner,
            login,
        }
    }

    /// An application with a second provider and no further settings of the first one.
    fn of(
        staff: TestServer,
        partner: TestServer,
        second: Provider,
        configure: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Self {
        let login = LoginLayer::for_provider(provider("staff", &staff), CALLBACK, key());
        let login = login.and_then(|login| login.add_provider(second));
        let login = configure(login.unwrap());
        Self {
            app: app(&login),
            staff,
            partner,
            login,
        }
    }

    /// An application whose providers are two clients of one authorization server.
    fn two_clients(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Self {
        let client = TestClient::confidential("desk", "desk-secret").without_consent();
        let client = client.add_redirect_uri(DESK_CALLBACK).unwrap();
        let staff = staff_server().add_client(client);
        let server = staff.authorization_server();
        let client = Client::confidential("desk", "desk-secret");
        let desk = Provider::new("desk", &server, client).unwrap();
        Self::of(staff.clone(), staff, desk, configure)
    }

    /// Returns a new browser.
    fn browser(&self) -> Browser {
        let browser = self.staff.browser().with_server(&self.partner);
        browser.with_origin(SHOP, self.app.clone()).unwrap()
    }

    /// Signs `alice` in at this provider.
    async fn sign_in(&self, browser: &Browser, provider: &str) {
        let page = open(
            browser,
            &format!("/auth/login/{provider}?return_to=/account"),
        )
        .await;
        assert_eq!(page.status(), StatusCode::OK, "{}", page.text());
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.text(), format!("alice at {provider}"));
    }
}

async fn open(browser: &Browser, path: &str) -> Page {
    browser.navigate(&format!("{SHOP}{path}")).await.unwrap()
}

/// Returns what the home page shows.
async fn greeting(browser: &Browser) -> String {
    let page = open(browser, "/").await;
    assert_eq!(page.status(), StatusCode::OK);
    page.text()
}
