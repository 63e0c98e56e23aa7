//! The order of settings, links to routes, and transactions that another version of this layer could
//! have encrypted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

use super::{Csrf, FlowErrorKind, LoginLayer, SameSite, transactions};
use crate::config_error::ConfigError;
use crate::crypto::CookieKey;
use crate::crypto::seal::Purpose;
use crate::flow::Transaction;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::{CodeVerifier, Nonce, State};
use crate::session::{LoginDecision, RefreshDecision};
use crate::store::MemoryStore;
use crate::testing::TestServer;

const ISSUER: &str = "https://id.example.com";
const REDIRECT_URI: &str = "https://shop.example.com/auth/callback";

/// A release with a weaker check may have encrypted these.
#[tokio::test]
async fn an_encrypted_return_target_is_checked_again_before_the_redirect() {
    for (target, expected) in [
        ("/notes?x=1#y", "/notes?x=1#y"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/%2f/evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/auth/login", "/"),
        ("", "/"),
    ] {
        let layer = layer().unwrap();
        // A failed silent login and a denied one: neither needs a token request.
        let silent = callback(&layer, target, "login_required").await;
        assert_eq!(silent.status(), StatusCode::SEE_OTHER, "{target:?}");
        assert_eq!(silent.headers()[LOCATION], expected, "{target:?}");

        let denied = callback(&layer, target, "access_denied").await;
        assert_eq!(denied.status(), StatusCode::FORBIDDEN, "{target:?}");
        let body: serde_json::Value = serde_json::from_slice(denied.body()).unwrap();
        let login_url = layer.settings.login_url(Some(expected));
        assert_eq!(body["login_url"], login_url, "{target:?}");
    }
}

fn layer() -> Result<LoginLayer, ConfigError> {
    let server = AuthorizationServer::new(ISSUER)?;
    let key = CookieKey::from_bytes(&[7; 32])?;
    LoginLayer::new(&server, Client::public("shop"), REDIRECT_URI, key)
}

async fn callback(layer: &LoginLayer, target: &str, error: &str) -> Response<Bytes> {
    let settings = &layer.settings;
    let transaction = Transaction {
        state: State::new(error),
        nonce: Nonce::new("n"),
        verifier: CodeVerifier::new("v".repeat(43)),
        issuer: ISSUER.to_owned(),
        redirect_uri: REDIRECT_URI.to_owned(),
        return_to: target.to_owned(),
        started_at: settings.manager.now(),
        by_person: true,
        replaces: None,
        silent: true,
        max_age: None,
        acr_values: None,
    };
    let name = transactions::suffix(&transaction.state);
    let cookies = &settings.cookies;
    let sealed = cookies.seal(Purpose::Transaction, &name, &transaction.to_bytes());
    let cookie = format!("{}={}", cookies.name(&name), sealed.unwrap());
    let request = Request::get(format!(
        "/auth/callback?error={error}&state={error}&iss={ISSUER}"
    ))
    .header(COOKIE, cookie)
    .body(Full::new(Bytes::new()))
    .unwrap();
    layer
        .layer(service_fn(empty))
        .oneshot(request)
        .await
        .unwrap()
}

type Setting = (&'static str, fn(LoginLayer) -> LoginLayer);

const SETTINGS: &[Setting] = &[
    ("scopes", |login| login.with_scopes("openid email").unwrap()),
    ("parameter", |login| {
        login
            .with_authorization_parameter("audience", "api")
            .unwrap()
    }),
    ("post-logout", |login| {
        let uri = "https://shop.example.com/auth/logout";
        login.with_post_logout_redirect_uri(uri).unwrap()
    }),
    ("end of session", |login| {
        let uri = "https://id.example.com/leave";
        login.with_end_session_endpoint(uri, "back").unwrap()
    }),
    ("default target", |login| {
        login.with_default_return_to("/home").unwrap()
    }),
    ("cookie name", |login| {
        login.with_cookie_name("own").unwrap()
    }),
    ("limits", |login| {
        let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3600));
        login.with_session_limits(day, hour).unwrap()
    }),
    ("store", |login| {
        login.with_session_store(MemoryStore::new())
    }),
    ("maximum", |login| {
        login.with_max_sessions_per_user(3).unwrap()
    }),
    ("site data", LoginLayer::with_clear_site_data),
    ("token lifetime", |login| {
        login.with_default_token_lifetime(Duration::from_secs(77))
    }),
    ("same site", |login| login.with_same_site(SameSite::Strict)),
    ("csrf", |login| login.with_csrf(Csrf::StaticHeader)),
    ("csrf header", |login| {
        login.with_csrf_header("x-own").unwrap()
    }),
    ("error page", |login| {
        login.with_error_page(|page| format!("own: {}", page.code()))
    }),
    ("on login", |login| {
        login.with_on_login(async |_| LoginDecision::allow())
    }),
    ("on refresh", |login| {
        login.with_on_refresh(async |_| RefreshDecision::keep())
    }),
    ("on logout", |login| login.with_on_logout(async |_| ())),
];

/// The settings, and what they lead to: the paths, a started login and an error page.
async fn behavior(server: &TestServer, order: &[usize]) -> String {
    let key = CookieKey::from_bytes(&[7; 32]).unwrap();
    let server = server.authorization_server();
    let login = LoginLayer::new(&server, Client::public("shop"), REDIRECT_URI, key).unwrap();
    let sessions = login.sessions();
    let mut login = order.iter().fold(login, |login, n| SETTINGS[*n].1(login));
    Arc::make_mut(&mut login.settings).layer = 0;
    login.ready().await.unwrap();
    // The handle has the store, although it is older.
    assert_eq!(sessions.of_user("alice").await.unwrap(), []);
    let mut behavior = format!("{:?}\n", login.settings);
    for path in ["/auth/login?return_to=/x", "/auth/callback?state=s&code=c"] {
        let request = Request::get(path).header("accept", "text/html");
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let response = login.layer(service_fn(empty)).oneshot(request).await;
        let response = response.unwrap();
        let headers = response.headers();
        let location = headers.get(LOCATION).map(|url| url.to_str().unwrap());
        let parameters = location.unwrap_or_default().split('&');
        let random = ["state=", "nonce=", "code_challenge="];
        let parameters: Vec<_> = parameters
            .filter(|one| !random.iter().any(|name| one.starts_with(name)))
            .collect();
        let cookie = headers
            .get(SET_COOKIE)
            .map(|cookie| &cookie.as_bytes()[..19]);
        let body = response.body();
        behavior += &format!("{} {parameters:?} {cookie:?} {body:?}\n", response.status());
    }
    behavior
}

async fn empty(_: Request<Full<Bytes>>) -> Result<Response<Bytes>, Infallible> {
    Ok(Response::new(Bytes::new()))
}

#[tokio::test]
async fn settings_apply_in_any_order() {
    let server = TestServer::new("https://id.example.test").unwrap();
    let mut order: Vec<usize> = (0..SETTINGS.len()).collect();
    let expected = behavior(&server, &order).await;
    for part in [
        "audience=api",
        "scope=openid+email",
        "__Host-Http-own-tx-",
        "own: ",
    ] {
        assert!(expected.contains(part), "{part} in {expected}");
    }
    order.reverse();
    assert_eq!(behavior(&server, &order).await, expected, "reversed");
    let mut random = 1_usize;
    for _ in 0..20 {
        for n in (1..order.len()).rev() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(n, (random >> 33) % (n + 1));
        }
        let names: Vec<_> = order.iter().map(|n| SETTINGS[*n].0).collect();
        assert_eq!(behavior(&server, &order).await, expected, "{names:?}");
    }
}

/// Without a store, sessions cannot be counted, whatever the order of the settings.
#[tokio::test]
async fn a_limit_of_sessions_without_a_store_rejects_logins() {
    let login = layer().unwrap().with_max_sessions_per_user(2).unwrap();
    let login = login.with_cookie_name("own").unwrap();
    let error = login.ready().await.unwrap_err();
    assert_eq!(error.kind(), FlowErrorKind::Configuration);
    let request = Request::get("/auth/login").header("accept", "text/html");
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let response = login.layer(service_fn(empty)).oneshot(request).await;
    assert_eq!(
        response.unwrap().status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

#[test]
fn links_lead_to_the_routes_of_the_layer() {
    let login = layer().unwrap();
    for (target, url) in [
        ("/", "/auth/login?return_to=%2F"),
        ("/a?b=c&d#e", "/auth/login?return_to=%2Fa%3Fb%3Dc%26d%23e"),
        ("", "/auth/login"),
        ("//evil.example", "/auth/login"),
        ("https://evil.example/", "/auth/login"),
        ("/auth/logout", "/auth/login"),
    ] {
        assert_eq!(login.login_url(target), url, "{target}");
    }
    assert_eq!(
        login.login_url(&format!("/{}", "x".repeat(512))),
        "/auth/login"
    );
    assert_eq!(login.login_path(), "/auth/login");
    assert_eq!(login.callback_path(), "/auth/callback");
    assert_eq!(login.logout_path(), "/auth/logout");
    assert_eq!(login.session_path(), "/auth/session");
    assert_eq!(
        login.frontchannel_logout_path(),
        "/auth/frontchannel-logout"
    );
    assert_eq!(login.backchannel_logout_path(), None);
    let login = login.with_session_store(MemoryStore::new().with_single_process());
    let path = login.backchannel_logout_path();
    assert_eq!(path, Some("/auth/backchannel-logout"));
}
