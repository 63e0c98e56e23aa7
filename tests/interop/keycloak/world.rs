//! An application with logins at Keycloak, and its visitors.

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use tower::service_fn;
use tower_oauth::session::SessionError;
use tower_oauth::testing::{Browser, Page};
use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};

use super::channel::{Channel, ID};
use super::definitions::{PASSWORD, User};
use super::realm::{APP, Realm};
use crate::sessions::Mode;

pub struct World {
    pub realm: Realm,
    pub login: LoginLayer,
    pub pages: Router,
}

impl World {
    pub fn new(realm: Realm, client: Client, mode: Mode) -> Self {
        Self::with(realm, client, mode, |login| login)
    }

    pub fn with(
        realm: Realm,
        client: Client,
        mode: Mode,
        change: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Self {
        let server = realm.server();
        Self::with_server(realm, &server, client, mode, change)
    }

    pub fn with_server(
        realm: Realm,
        server: &AuthorizationServer,
        client: Client,
        mode: Mode,
        change: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Self {
        let redirect_uri = format!("{APP}/auth/callback");
        let key = CookieKey::generate().unwrap();
        let login = LoginLayer::new(server, client, &redirect_uri, key)
            .unwrap()
            .with_scopes("openid profile email")
            .unwrap()
            .with_post_logout_redirect_uri(&format!("{APP}/auth/logout"))
            .unwrap();
        let login = change(mode.place(login));
        let pages = Router::new()
            .route("/profile", get(profile))
            .route("/sid", get(sid))
            .route("/token", get(token))
            .route("/refresh", get(refresh))
            .route("/credentials", get(credentials))
            .route_layer(login.required())
            .route("/", get(home))
            .layer(login.clone());
        Self {
            realm,
            login,
            pages,
        }
    }

    /// Creates a browser without cookies.
    pub fn visitor(&self) -> Visitor {
        self.visitor_at(ID, self.realm.channel())
    }

    /// Creates a browser that reaches Keycloak at another origin.
    pub fn visitor_at(&self, origin: &str, channel: Channel) -> Visitor {
        Visitor::new(origin, channel, &self.pages)
    }
}

/// A browser with the application and Keycloak.
#[derive(Clone)]
pub struct Visitor {
    pub browser: Browser,
}

impl Visitor {
    /// Creates a browser that reaches Keycloak at this origin, and the application.
    pub fn new(origin: &str, channel: Channel, pages: &Router) -> Self {
        let keycloak = service_fn(move |request| channel.clone().serve(request));
        let browser = Browser::new()
            .with_origin(origin, keycloak)
            .unwrap()
            .with_origin(APP, pages.clone())
            .unwrap();
        Self { browser }
    }

    pub async fn open(&self, path: &str) -> Page {
        self.browser
            .navigate(&format!("{APP}{path}"))
            .await
            .unwrap()
    }

    /// Signs in and returns to the home page.
    pub async fn sign_in(&self, user: &User) {
        let form = self.open("/auth/login").await;
        let home = sign_in_with_form(&form, user).await;
        assert_eq!(home.url(), format!("{APP}/"), "{}", home.text());
        assert!(home.text().contains(&user.email()), "{}", home.text());
    }

    /// Sends a request as a script of the application does.
    pub async fn fetch(&self, path: &str) -> http::Response<Bytes> {
        let page = self.browser.document(&format!("{APP}/page"), "").unwrap();
        page.fetch(Request::get(path).body("").unwrap())
            .await
            .unwrap()
    }

    /// Returns the access token of the session.
    pub async fn token(&self) -> String {
        let response = self.fetch("/token").await;
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    /// Returns the identifier of the session at Keycloak.
    pub async fn sid(&self) -> String {
        self.open("/sid").await.text()
    }

    pub async fn is_signed_in(&self) -> bool {
        self.open("/").await.text().contains("@example.com")
    }

    /// Presses the button on the home page.
    pub async fn sign_out(&self) -> Page {
        let home = self.open("/").await;
        home.form("/auth/logout").unwrap().submit().await.unwrap()
    }

    /// Asserts that Keycloak asks for the password.
    pub async fn assert_password_required(&self) {
        assert_is_password_form(&self.open("/auth/login").await);
    }
}

#[track_caller]
pub fn assert_is_password_form(page: &Page) {
    let form = page.form("#kc-form-login");
    assert!(form.is_ok(), "{}: {}", page.url(), page.text());
}

/// Fills the form of Keycloak, which has no field for the name if the user is known.
pub async fn sign_in_with_form(page: &Page, user: &User) -> Page {
    enter_password(page, user, PASSWORD).await
}

pub async fn enter_password(page: &Page, user: &User, password: &str) -> Page {
    assert_is_password_form(page);
    let mut form = page.form("#kc-form-login").unwrap();
    if form.value("username").is_some() {
        form = form.fill("username", user.name()).unwrap();
    }
    let form = form.fill("password", password).unwrap();
    form.submit().await.unwrap()
}

async fn home(session: Option<Session>) -> Html<String> {
    let claim = |session: Session| session.claims().get("email")?.as_str().map(str::to_owned);
    let user = session.and_then(claim);
    let user = user.as_deref().unwrap_or("signed out");
    Html(format!(
        "{user}<form method=post action=/auth/logout><button>Sign out</button></form>"
    ))
}

async fn profile(session: Session) -> Response {
    match session.userinfo().await {
        Ok(profile) => {
            assert_eq!(profile.subject(), session.subject());
            let name = profile.get("name").unwrap().as_str().unwrap();
            name.to_owned().into_response()
        }
        Err(error) => failed(&error),
    }
}

async fn sid(session: Session) -> String {
    let claims = session.claims();
    claims.get("sid").unwrap().as_str().unwrap().to_owned()
}

/// Returns the token itself, which applications must not do.
async fn token(session: Session) -> Response {
    match session.access_token().await {
        Ok(token) => token.expose().to_owned().into_response(),
        Err(error) => failed(&error),
    }
}

async fn refresh(session: Session) -> Response {
    match session.refresh().await {
        Ok(()) => "refreshed".into_response(),
        Err(error) => failed(&error),
    }
}

/// Returns the header fields of a request to the API.
async fn credentials(session: Session) -> Response {
    let mut request = Request::get("https://api.example.test/").body(()).unwrap();
    match session.authorize(&mut request).await {
        Ok(()) => {
            let field = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            format!("{}\n{}", field("authorization"), field("dpop")).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &SessionError) -> Response {
    let status = match error {
        SessionError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        SessionError::Refused { .. } | SessionError::UserInfo(_) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::UNAUTHORIZED,
    };
    (status, error.to_string()).into_response()
}
