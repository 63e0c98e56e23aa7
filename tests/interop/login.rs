//! The authorization code flow with oidc-provider, over TCP.

mod dpop;
mod fapi2;

use axum::body::Body;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::{Request, StatusCode, Uri};
use tower::ServiceExt;
use tower_oauth::login::{PushedRequests, ResponseMode};
use tower_oauth::testing::{Browser, Page};
use tower_oauth::{
    Algorithm, AuthorizationServer, BearerLayer, Client, CookieKey, LoginLayer, ScopeLayer,
    Session, VerifiedToken,
};

use crate::provider::{Provider, SECRET};
use crate::tls::Authority;

const API: &str = "https://api.example/es256";

/// An application, its provider, and a browser.
struct World {
    provider: Provider,
    app: String,
    browser: Browser,
}

impl World {
    async fn new(client: Client, change: impl FnOnce(LoginLayer) -> LoginLayer) -> Self {
        Self::with_settings(&[], client, change).await
    }

    /// Starts the provider with these environment variables.
    async fn with_settings(
        settings: &[(&'static str, &str)],
        client: Client,
        change: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Self {
        let with_provider = |provider: &Provider| (provider.authorization_server(), client);
        Self::with(settings, with_provider, |login, _| change(login)).await
    }

    /// Does the same; `client` returns what depends on the provider.
    async fn with(
        settings: &[(&'static str, &str)],
        client: impl FnOnce(&Provider) -> (AuthorizationServer, Client),
        change: impl FnOnce(LoginLayer, &Provider) -> LoginLayer,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = format!("http://{}", listener.local_addr().unwrap());
        let provider = Provider::start(&[&[("APP", &*app)], settings].concat());
        let (server, client) = client(&provider);
        let redirect_uri = format!("{app}/auth/callback");
        let login = LoginLayer::new(
            &server,
            client,
            &redirect_uri,
            CookieKey::generate().unwrap(),
        )
        .unwrap()
        .with_scopes("openid profile email")
        .unwrap()
        .with_post_logout_redirect_uri(&format!("{app}/auth/logout"))
        .unwrap();
        let login = change(login, &provider);
        let api: Router = Router::new()
            .route("/", get(notes).layer(ScopeLayer::all("api:read").unwrap()))
            .layer(
                BearerLayer::jwt(&server, API)
                    .unwrap()
                    .with_dpop(dpop::proofs_for_the_api()),
            );
        let pages = Router::new()
            .route("/account", get(account))
            .route("/notes", get(call_api).layer(Extension(api)))
            .route("/refreshed", get(refreshed))
            .layer(login.required())
            .route("/", get(home))
            .layer(login);
        tokio::spawn(async move { axum::serve(listener, pages).await });
        Self {
            provider,
            app,
            browser: Browser::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.app)
    }

    async fn open(&self, path: &str) -> Page {
        self.browser.navigate(&self.url(path)).await.unwrap()
    }

    /// Opens a page that requires a session and signs in, up to the consent page.
    async fn ask_for_consent(&self, path: &str) -> Page {
        let page = self.open(path).await;
        assert!(
            page.url().starts_with(self.provider.issuer()),
            "{}",
            page.url()
        );
        let form = page.form("").unwrap();
        let form = form.fill("login", "alice").unwrap();
        form.fill("password", "any")
            .unwrap()
            .submit()
            .await
            .unwrap()
    }

    async fn sign_in(&self, path: &str) -> Page {
        let consent = self.ask_for_consent(path).await;
        let page = consent.form("").unwrap().submit().await.unwrap();
        // The page of the response mode `form_post`, whose script submits it.
        let page = match page.url().starts_with(self.provider.issuer()) {
            true => page.form("").unwrap().submit().await.unwrap(),
            false => page,
        };
        assert_eq!(page.url(), self.url(path), "{}", page.text());
        page
    }
}

async fn home(session: Option<Session>) -> Html<String> {
    let user = session.as_ref().map_or("signed out", Session::subject);
    Html(format!(
        "{user}<form method=post action=/auth/logout><button>Sign out</button></form>"
    ))
}

async fn account(session: Session) -> String {
    let profile = session.userinfo().await.unwrap();
    assert_eq!(profile.subject(), session.subject());
    format!("{} is {}", session.subject(), profile.get("name").unwrap())
}

/// Calls the API with the session's access token, as applications do.
async fn call_api(session: Session, Extension(api): Extension<Router>) -> Response {
    let uri = Uri::from_static(dpop::API_URL);
    let send = async || {
        let mut request = Request::get(&uri).body(Body::empty()).unwrap();
        session.authorize(&mut request).await.unwrap();
        api.clone().oneshot(request).await.into_response()
    };
    let response = send().await;
    match session.note_response(&uri, response.status(), response.headers()) {
        true => send().await,
        false => response,
    }
}

/// Returns a new access token, which applications must not do.
async fn refreshed(session: Session) -> String {
    session.refresh().await.unwrap();
    session.access_token().await.unwrap().expose().to_owned()
}

async fn notes(token: VerifiedToken) -> String {
    format!("notes of {}", token.subject().unwrap())
}

async fn signs_in_and_out(client: Client) {
    check_sign_in_and_out(World::new(client, |login| login).await).await;
}

async fn check_sign_in_and_out(world: World) {
    let page = world.sign_in("/account").await;
    assert_eq!(page.text(), "alice is \"Alice Example\"");

    let session = Request::get("/auth/session").body("").unwrap();
    let session = page.fetch(session).await.unwrap();
    let session: serde_json::Value = serde_json::from_slice(session.body()).unwrap();
    assert_eq!(session["subject"], "alice");

    let home = world.open("/").await;
    assert!(home.text().contains("alice"), "{}", home.text());
    let confirm = home.form("/auth/logout").unwrap().submit().await.unwrap();
    assert!(
        confirm.url().starts_with(world.provider.issuer()),
        "{}",
        confirm.url()
    );
    let home = confirm.form("").unwrap().press("yes").await.unwrap();
    assert_eq!(home.url(), world.url("/"));
    assert!(home.text().contains("signed out"), "{}", home.text());

    let again = world.open("/account").await;
    let form = again.form("").unwrap();
    assert!(
        form.value("password").is_some(),
        "also signed out at the provider"
    );
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_code_flow_with_client_secret_basic() {
    signs_in_and_out(Client::confidential("web-basic", SECRET)).await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_code_flow_with_client_secret_post() {
    signs_in_and_out(Client::confidential_post("web-post", SECRET)).await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_code_flow_as_a_public_client() {
    signs_in_and_out(Client::public("web-public")).await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_code_flow_with_client_secret_jwt() {
    signs_in_and_out(Client::client_secret_jwt("web-csjwt", SECRET)).await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_code_flow_with_private_key_jwt_in_each_algorithm() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let client = |provider: &Provider| {
            let id = format!("web-key-{}", algorithm.name().to_lowercase());
            let client = Client::private_key_jwt(id, provider.client_key_for(algorithm));
            (provider.authorization_server(), client)
        };
        let world = World::with(&[], client, |login, _| login).await;
        let page = world.sign_in("/account").await;
        assert_eq!(page.text(), "alice is \"Alice Example\"", "{algorithm}");
    }
}

/// RFC 8705 §2.1, §5.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn the_code_flow_with_a_tls_certificate() {
    let authority = Authority::new();
    let (listener, certificate) = (authority.server(), authority.certify("application"));
    let settings = [
        ("TLS_CERTIFICATE", &*listener.certificate),
        ("TLS_KEY", &*listener.key),
        ("TLS_CLIENT_CA", &*authority.pem()),
    ];
    let http = || {
        let root = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([root]);
        client.redirect(reqwest::redirect::Policy::none())
    };
    let identity = format!("{}{}", certificate.certificate, certificate.key);
    let identity = reqwest::Identity::from_pem(identity.as_bytes()).unwrap();
    for (http, is_certified) in [(http().identity(identity), true), (http(), false)] {
        let client = |provider: &Provider| {
            let server = provider.authorization_server();
            let server = server.with_http_client(http.build().unwrap());
            (server, Client::mutual_tls("web-mtls"))
        };
        let world = World::with(&settings, client, |login, _| login).await;
        match is_certified {
            true => check_sign_in_and_out(world).await,
            false => {
                // The provider rejects the client when the authorization request is pushed.
                let page = world.open("/account").await;
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                assert_eq!(page.status(), status, "{}", page.text());
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn id_tokens_in_each_default_algorithm_are_accepted() {
    for name in ["rs256", "ps256", "es256", "es384", "eddsa"] {
        let client = Client::confidential(format!("web-{name}"), SECRET);
        let world = World::new(client, |login| login).await;
        world.sign_in("/account").await;
    }
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn an_api_accepts_the_access_token_of_a_session() {
    let client = Client::confidential("web-basic", SECRET);
    let world = World::new(client, |login| {
        let login = login.with_scopes("openid api:read").unwrap();
        login.add_resource(API).unwrap()
    })
    .await;
    let page = world.sign_in("/notes").await;
    assert_eq!(page.text(), "notes of alice");
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn login_works_after_a_restart_with_new_keys() {
    let mut world = World::new(Client::confidential("web-basic", SECRET), |login| login).await;
    world.sign_in("/account").await;
    world.provider.restart();
    assert!(
        world.open("/").await.text().contains("alice"),
        "the session of the application continues"
    );
    world.browser = Browser::new();
    world.sign_in("/account").await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_cancelled_login_shows_an_error_page_and_can_be_repeated() {
    let world = World::new(Client::confidential("web-basic", SECRET), |login| login).await;
    let consent = world.ask_for_consent("/account").await;
    let page = consent.click("[ Cancel ]").await.unwrap();
    assert!(
        page.url().starts_with(&world.url("/auth/callback")),
        "{}",
        page.url()
    );
    assert_eq!(page.status(), StatusCode::FORBIDDEN, "{}", page.text());
    assert!(page.text().contains("access_denied"), "{}", page.text());
    let consent = page.click("Sign in again").await.unwrap();
    let page = consent.form("").unwrap().submit().await.unwrap();
    assert_eq!(page.url(), world.url("/account"));
}

const MODES: [ResponseMode; 4] = [
    ResponseMode::Query,
    ResponseMode::FormPost,
    ResponseMode::Jwt,
    ResponseMode::FormPostJwt,
];

/// RFC 9126, Form Post Response Mode, JARM.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn pushed_requests_and_every_response_mode() {
    for mode in MODES {
        let client = Client::confidential("web-pushed", SECRET);
        let world = World::new(client, |login| {
            let login = login.with_pushed_requests(PushedRequests::Required);
            login.with_response_mode(mode)
        })
        .await;
        let page = world.sign_in("/account").await;
        assert_eq!(page.text(), "alice is \"Alice Example\"", "{mode:?}");
        assert_eq!(world.provider.requests()["/request"], 1, "{mode:?}");
        let page = world.open("/auth/login?prompt=none").await;
        let page = match page.form("") {
            Ok(form) if page.url().starts_with(world.provider.issuer()) => {
                form.submit().await.unwrap()
            }
            _ => page,
        };
        assert!(page.text().contains("alice"), "{mode:?}: {}", page.text());
        assert_eq!(world.provider.requests()["/request"], 2, "{mode:?}");
    }
}

/// RFC 9101 §5, and with RFC 9126 §3.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signed_requests_in_the_url_and_pushed() {
    for pushed in [PushedRequests::Never, PushedRequests::Required] {
        for mode in [ResponseMode::Query, ResponseMode::FormPostJwt] {
            let client = Client::confidential("web-signed", SECRET);
            let server = |provider: &Provider| (provider.authorization_server(), client);
            let world = World::with(&[], server, |login, provider| {
                let login = login.with_signed_requests(provider.client_key());
                login.with_pushed_requests(pushed).with_response_mode(mode)
            })
            .await;
            let page = world.sign_in("/account").await;
            assert_eq!(
                page.text(),
                "alice is \"Alice Example\"",
                "{pushed:?} {mode:?}"
            );
        }
    }
}
