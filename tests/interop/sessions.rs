//! Sessions that last, with the provider as the authorization server: it rotates refresh tokens and takes a second
//! use for a theft, it revokes, and it says when somebody signed out.

use std::time::{Duration, Instant};

use axum::Router;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Browser, Page};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};

use crate::provider::{Provider, SECRET};

/// Where the sessions are, as an application says it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Cookie,
    Shared,
    Store,
}

use Mode::{Cookie, Shared, Store};

struct World {
    provider: Provider,
    app: String,
    browser: Browser,
}

impl World {
    /// Access tokens of a login and those of a refresh live so many seconds.
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
        let store = MemoryStore::new().with_single_process();
        let login = match mode {
            Cookie => login,
            Shared => login.with_shared_memory(store),
            Store => login.with_session_store(store),
        };
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

    /// Ends outside of the layer: the first request with the session is the test's own.
    async fn sign_in(&self) {
        let page = self.open("/auth/login?return_to=/outside").await;
        let form = page.form("").unwrap();
        // Nobody is asked for a password again who is signed in there.
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

    /// A script's request, as a page of the application makes it.
    async fn fetch(&self, path: &str) -> http::Response<bytes::Bytes> {
        let page = self.browser.document(&format!("{}/outside", self.app), "");
        let request = http::Request::get(path).body("").unwrap();
        page.unwrap().fetch(request).await.unwrap()
    }

    /// The access token of the session, which is served.
    async fn token(&self) -> String {
        let answer = self.fetch("/token").await;
        assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    /// The refresh tokens that were issued, in their order.
    fn refresh_tokens(&self) -> Vec<String> {
        serde_json::from_value(self.provider.seen()["refresh_tokens"].clone()).unwrap()
    }

    fn events(&self, event: &str) -> u64 {
        self.provider.seen()["events"][event].as_u64().unwrap_or(0)
    }

    async fn is_signed_in(&self) -> bool {
        self.open("/").await.text().contains("alice")
    }

    /// As a person does who is done for today, on the provider's own page.
    async fn sign_out_at_the_provider(&self) {
        let page = format!("{}/session/end", self.provider.issuer());
        let page = self.browser.navigate(&page).await.unwrap();
        page.form("").unwrap().press("yes").await.unwrap();
    }
}

async fn home(session: Option<Session>) -> Html<String> {
    let who = session.as_ref().map_or("nobody", Session::subject);
    Html(format!(
        "{who}<form method=post action=/auth/logout><button>Sign out</button></form>"
    ))
}

/// Shows the token itself, which no application does.
async fn token(session: Session) -> Response {
    match session.access_token().await {
        Ok(token) => token.expose().to_owned().into_response(),
        Err(error) => (StatusCode::UNAUTHORIZED, error.to_string()).into_response(),
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_refresh_rotates_and_the_token_of_before_is_refused() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 2, 600).await;
        world.sign_in().await;
        seconds(2).await;
        let token = world.token().await;
        assert_eq!(world.token().await, token, "{mode:?}");
        assert_eq!(world.events("refresh_token granted"), 1, "{mode:?}");
        assert!(world.provider.is_active(&token), "{mode:?}");
        let [old, new] = world.refresh_tokens().try_into().unwrap();
        assert!(world.provider.is_active(&new), "{mode:?}");
        let form = format!("grant_type=refresh_token&refresh_token={old}");
        let answer = world.provider.token_request(&form);
        assert_eq!(answer["error"], "invalid_grant", "{mode:?}: {answer}");
    }
}

/// L52: requests that were under way bring the cookie of before.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_late_request_with_the_cookie_of_before_gets_the_tokens_of_now() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 2, 600).await;
        world.sign_in().await;
        let before = world.browser.cookies(&world.app);
        seconds(2).await;
        let token = world.token().await;
        for cookie in &before {
            let cookie = format!("{}={}; Path=/", cookie.name(), cookie.value());
            world.browser.set_cookie(&world.app, &cookie);
        }
        assert_eq!(world.token().await, token, "{mode:?}");
        assert_eq!(world.events("refresh_token granted"), 1, "{mode:?}");
        assert_eq!(world.events("refresh_token refused"), 0, "{mode:?}");
    }
}

/// L53: somebody else uses an old refresh token, and the provider takes all of them back.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_stolen_refresh_token_that_is_used_ends_the_session() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 1, 6).await;
        world.sign_in().await;
        seconds(1).await;
        let token = world.token().await;
        let renewed = Instant::now();
        let [old, new] = world.refresh_tokens().try_into().unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={old}");
        world.provider.token_request(&form);
        assert!(!world.provider.is_active(&new), "{mode:?}");

        // The next refresh begins by itself in the second half of the token's life, and is refused.
        seconds(3).await;
        assert_eq!(world.token().await, token, "{mode:?}");
        while world.events("refresh_token refused") < 2 {
            assert!(renewed.elapsed() < Duration::from_secs(5), "{mode:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if mode == Cookie {
            // Another replica may have refreshed: the session is kept as long as its access token is good.
            let answer = world.fetch("/token").await;
            assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
            assert!(!answer.headers().contains_key("set-cookie"), "{answer:?}");
            tokio::time::sleep(Duration::from_secs(6).saturating_sub(renewed.elapsed())).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(
            world.fetch("/token").await.status(),
            StatusCode::UNAUTHORIZED,
            "{mode:?}"
        );
        assert!(!world.is_signed_in().await, "{mode:?}");
        assert_eq!(world.events("refresh_token refused"), 2, "{mode:?}");
    }
}

/// L62, L65: the session ends here, its tokens at the provider, and then the person's session there.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signing_out_revokes_the_tokens_and_comes_back_with_its_state() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 600, 600).await;
        world.sign_in().await;
        let token = world.token().await;
        let [refresh_token] = world.refresh_tokens().try_into().unwrap();
        for token in [&token, &refresh_token] {
            assert!(world.provider.is_active(token), "{mode:?}");
        }
        let copy = world.browser.cookies(&world.app);

        let home = world.open("/").await;
        let confirm = home.form("/auth/logout").unwrap().submit().await.unwrap();
        let issuer = world.provider.issuer();
        assert!(confirm.url().starts_with(issuer), "{}", confirm.url());
        for token in [&token, &refresh_token] {
            assert!(!world.provider.is_active(token), "{mode:?}");
        }
        assert_eq!(
            world.provider.requests()["/token/revocation"],
            2,
            "{mode:?}"
        );
        assert!(!world.is_signed_in().await, "{mode:?}");

        let home = confirm.form("").unwrap().press("yes").await.unwrap();
        let back = format!("{}/auth/logout?state=", world.app);
        let redirects = home.redirects();
        assert!(
            redirects.iter().any(|url| url.starts_with(&back)),
            "{redirects:?}"
        );
        assert_eq!(home.url(), format!("{}/", world.app));
        assert!(home.text().contains("nobody"), "{mode:?}");

        // A copy of the cookie is no session any more.
        for cookie in &copy {
            let cookie = format!("{}={}; Path=/", cookie.name(), cookie.value());
            world.browser.set_cookie(&world.app, &cookie);
        }
        assert!(!world.is_signed_in().await, "{mode:?}");
    }
}

/// L66: the provider's word is enough, and the browser has nothing to do with it.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signing_out_at_the_provider_ends_the_session() {
    for mode in [Shared, Store] {
        let mut world = World::new(mode, 600, 600).await;
        world.sign_in().await;
        assert!(world.is_signed_in().await, "{mode:?}");
        let here = std::mem::take(&mut world.browser);
        world.sign_in().await;
        let elsewhere = std::mem::replace(&mut world.browser, here);

        world.sign_out_at_the_provider().await;
        assert_eq!(world.events("backchannel.success"), 1, "{mode:?}");
        assert_eq!(world.events("backchannel.error"), 0, "{mode:?}");
        assert!(!world.is_signed_in().await, "{mode:?}");
        assert_eq!(
            world.fetch("/token").await.status(),
            StatusCode::UNAUTHORIZED
        );

        // The same person's session in another browser is another `sid`.
        world.browser = elsewhere;
        assert!(world.is_signed_in().await, "{mode:?}");
        world.sign_out_at_the_provider().await;
        assert!(!world.is_signed_in().await, "{mode:?}");
        world.sign_in().await;
        assert!(world.is_signed_in().await, "{mode:?}: and in again");
    }
}

/// L66: what one process alone would forget is not promised: the provider is told that nobody listens.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn without_a_store_nobody_listens_to_the_provider() {
    let world = World::new(Cookie, 600, 600).await;
    world.sign_in().await;
    world.sign_out_at_the_provider().await;
    assert_eq!(world.events("backchannel.error"), 1);
    assert!(world.is_signed_in().await);
}
