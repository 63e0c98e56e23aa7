//! Sessions with oidc-provider as the authorization server.

mod refresh;
mod sign_out;

use std::time::Duration;

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Browser, Page};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};

use crate::provider::{Provider, SECRET};

/// Where sessions are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Cookie,
    Shared,
    Store,
}

impl Mode {
    /// Returns a layer that keeps sessions this way.
    pub fn place(self, login: LoginLayer) -> LoginLayer {
        let store = MemoryStore::new().with_single_process();
        match self {
            Self::Cookie => login,
            Self::Shared => login.with_shared_store(store),
            Self::Store => login.with_session_store(store),
        }
    }
}

struct World {
    provider: Provider,
    app: String,
    browser: Browser,
}

impl World {
    /// `login_ttl` and `refresh_ttl` are the lifetimes in seconds of access tokens after a login and a refresh.
    async fn new(mode: Mode, login_ttl: u32, refresh_ttl: u32) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = format!("http://{}", listener.local_addr().unwrap());
        let ttl = [login_ttl, refresh_ttl].map(|ttl| ttl.to_string());
        let settings = [
            ("APP", &*app),
            ("LOGIN_TTL", &ttl[0]),
            ("REFRESH_TTL", &ttl[1]),
        ];
        let provider = Provider::start(&settings);
        let login = LoginLayer::new(
            &provider.authorization_server(),
            Client::confidential("web-lasting", SECRET),
            &format!("{app}/auth/callback"),
            CookieKey::generate().unwrap(),
        )
        .unwrap()
        .with_scopes("openid offline_access")
        .unwrap()
        .with_authorization_parameter("prompt", "consent")
        .unwrap()
        .with_post_logout_redirect_uri(&format!("{app}/auth/logout"))
        .unwrap();
        let login = mode.place(login);
        let pages = Router::new()
            .route("/token", get(token))
            .layer(login.required())
            .route("/", get(home))
            .layer(login)
            .route("/outside", get(async || "outside"));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Self {
            provider,
            app,
            browser: Browser::new(),
        }
    }

    async fn open(&self, path: &str) -> Page {
        let url = format!("{}{path}", self.app);
        self.browser.navigate(&url).await.unwrap()
    }

    /// Signs in and ends outside of the layer, so that the test sends the first request with the session.
    async fn sign_in(&self) {
        let page = self.open("/auth/login?return_to=/outside").await;
        let form = page.form("").unwrap();
        // The provider has no password form if the user is already signed in there.
        let page = match form.fill("login", "alice") {
            Ok(form) => form
                .fill("password", "any")
                .unwrap()
                .submit()
                .await
                .unwrap(),
            Err(_) => page,
        };
        let page = page.form("").unwrap().submit().await.unwrap();
        assert_eq!(page.text(), "outside", "{}", page.url());
    }

    /// Sends a request as a script of the application does.
    async fn fetch(&self, path: &str) -> http::Response<bytes::Bytes> {
        let page = self.browser.document(&format!("{}/outside", self.app), "");
        let request = http::Request::get(path).body("").unwrap();
        page.unwrap().fetch(request).await.unwrap()
    }

    /// Returns the access token of the session.
    async fn token(&self) -> String {
        let response = self.fetch("/token").await;
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    /// Returns the issued refresh tokens in order.
    fn refresh_tokens(&self) -> Vec<String> {
        serde_json::from_value(self.provider.state()["refresh_tokens"].clone()).unwrap()
    }

    fn events(&self, event: &str) -> u64 {
        self.provider.state()["events"][event].as_u64().unwrap_or(0)
    }

    async fn is_signed_in(&self) -> bool {
        self.open("/").await.text().contains("alice")
    }

    /// Signs out on the provider's page.
    async fn sign_out_at_the_provider(&self) {
        let page = format!("{}/session/end", self.provider.issuer());
        let page = self.browser.navigate(&page).await.unwrap();
        page.form("").unwrap().press("yes").await.unwrap();
    }
}

async fn home(session: Option<Session>) -> Html<String> {
    let user = session.as_ref().map_or("signed out", Session::subject);
    Html(format!(
        "{user}<form method=post action=/auth/logout><button>Sign out</button></form>"
    ))
}

/// Returns the token itself, which applications must not do.
async fn token(session: Session) -> Response {
    match session.access_token().await {
        Ok(token) => token.expose().to_owned().into_response(),
        Err(error) => (StatusCode::UNAUTHORIZED, error.to_string()).into_response(),
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
