//! Where the routes of the layer are: behind a proxy that removes a prefix, in nested and merged
//! routers, and under other names.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http::{StatusCode, Uri};
use tower::util::MapRequestLayer;
use tower::{Layer as _, ServiceExt as _};
use tower_oauth::login::RouteNames;
use tower_oauth::testing::{Browser, TestClient, TestServer, TestUser};
use tower_oauth::{AuthorizationServer, Client, ConfigError, CookieKey, LoginLayer, Session};

use crate::support::logs::Logs;
use crate::support::shop::*;

const APP_CALLBACK: &str = "https://shop.example.com/app/auth/callback";

fn server_of(redirect_uri: &str) -> TestServer {
    let client = TestClient::confidential("shop", "shop-secret").without_consent();
    crate::support::still_server(ISSUER)
        .unwrap()
        .add_client(client.add_redirect_uri(redirect_uri).unwrap())
        .add_user(TestUser::new("alice", "wonderland"))
}

fn layer_of(server: &AuthorizationServer, redirect_uri: &str) -> Result<LoginLayer, ConfigError> {
    let client = Client::confidential("shop", "shop-secret");
    LoginLayer::new(server, client, redirect_uri, CookieKey::from_bytes(&KEY)?)
}

fn pages(login: &LoginLayer) -> Router {
    let name = |session: Session| async move { session.subject().to_owned() };
    let menu = |login: LoginLayer| async move { login.login_url("/app/account") };
    Router::new()
        .route("/account", get(name).layer(login.required()))
        .route("/menu", get(menu))
}

/// A proxy that removes `/app`, and sends nothing else to the application.
fn behind_a_proxy(app: Router) -> Router {
    let strip = |mut request: Request| {
        let path = request.uri().path_and_query().unwrap().as_str();
        let inner = path.strip_prefix("/app").unwrap();
        *request.uri_mut() = inner.parse::<Uri>().unwrap();
        request
    };
    let stripped = MapRequestLayer::new(strip).layer(app);
    Router::new().fallback_service(tower::service_fn(move |request: Request| {
        let stripped = stripped.clone();
        async move {
            match request.uri().path().starts_with("/app/") {
                true => stripped.oneshot(request).await,
                false => Ok(axum::response::IntoResponse::into_response(
                    StatusCode::NOT_FOUND,
                )),
            }
        }
    }))
}

fn browser(server: &TestServer, app: Router) -> Browser {
    server.browser().with_origin(SHOP, app).unwrap()
}

#[tokio::test]
async fn users_sign_in_and_out_behind_a_proxy_that_removes_a_prefix() {
    let server = server_of(APP_CALLBACK);
    let login = layer_of(&server.authorization_server(), APP_CALLBACK).unwrap();
    let login = login.with_path_prefix("/app").unwrap();
    let app = behind_a_proxy(pages(&login).layer(login.clone()));
    let browser = browser(&server, app);
    let page = browser
        .navigate(&format!("{SHOP}/app/account?x=1"))
        .await
        .unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(
        (page.url(), &*page.text()),
        ("https://shop.example.com/app/account?x=1", "alice")
    );
    let menu = browser.navigate(&format!("{SHOP}/app/menu")).await.unwrap();
    assert_eq!(menu.text(), "/app/auth/login?return_to=%2Fapp%2Faccount");
    let page = browser
        .navigate(&format!("{SHOP}{}", login.logout_path()))
        .await
        .unwrap();
    assert!(
        page.html().contains("<a href=\"/app/\">Stay signed in"),
        "{}",
        page.html()
    );
    page.form("").unwrap().press("Sign out").await.unwrap();
    assert!(
        browser
            .cookies(SHOP)
            .iter()
            .all(|cookie| !cookie.name().ends_with("session"))
    );
}

/// A target is checked with and without the prefix; a service behind may redirect to either.
#[tokio::test]
async fn return_targets_are_checked_with_and_without_the_prefix() {
    let server = server_of(APP_CALLBACK);
    let login = layer_of(&server.authorization_server(), APP_CALLBACK).unwrap();
    let login = login.with_path_prefix("/app").unwrap();
    for (target, expected) in [
        ("/app/notes", true),
        ("/portal", true),
        ("/apple", true),
        ("/app//evil.example", false),
        ("/./app//evil.example", false),
        ("/x/%2e%2e/app//evil.example", false),
        ("/%61pp//evil.example", false),
        ("/app/notes/../../app//evil.example", false),
        ("/app/%2fevil.example", false),
        ("/app/\\evil.example", false),
        ("//evil.example/app/", false),
        ("/app/auth/logout", false),
        ("/auth/logout", false),
    ] {
        let url = login.login_url(target);
        assert_eq!(url.contains("return_to"), expected, "{target}");
    }
    let app = pages(&login).layer(login);
    for path in ["/account", "//account"] {
        let forwarded = [("x-forwarded-prefix", "/evil")];
        let answer = send(&app, Ask::page(path).with(&forwarded)).await;
        assert_ne!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.head().contains("evil"), "{path}");
    }
    let answer = send(&app, Ask::page("/account?x=1")).await;
    let expected = "/app/auth/login?return_to=%2Fapp%2Faccount%3Fx%3D1";
    assert_eq!(answer.location(), expected);
    // With the prefix, these are other paths.
    let answer = send(&app, Ask::page("/app/auth/login")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[test]
fn a_prefix_is_an_unambiguous_path_above_the_redirect_uri() {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    for (prefix, expected) in [
        ("/app", true),
        ("/app/auth", true),
        ("", false),
        ("/", false),
        ("/app/", false),
        ("app", false),
        ("/ap", false),
        ("/other", false),
        ("/app/../app", false),
        ("//app", false),
        ("/app;x", false),
        ("/app?x", false),
        ("/%61pp", false),
    ] {
        let login = layer_of(&server, APP_CALLBACK).unwrap();
        assert_eq!(login.with_path_prefix(prefix).is_ok(), expected, "{prefix}");
    }
}

/// The table of the guide.
#[tokio::test]
async fn no_composition_loses_the_routes_of_the_layer_with_its_router() {
    type Compose = fn(Router, LoginLayer) -> Router;
    let compositions: [(&str, &str, bool, Compose); 10] = [
        ("layer", "", true, |pages, login| pages.layer(login)),
        ("route", "", true, |pages, login| {
            pages.layer(login).route("/more", get(|| async { "more" }))
        }),
        ("merge", "", false, |pages, login| {
            pages
                .layer(login)
                .merge(Router::new().route("/more", get(|| async { "more" })))
        }),
        ("nest inside", "/shop", true, |pages, login| {
            Router::new().nest("/shop", pages).layer(login)
        }),
        ("fallback", "", false, |pages, login| {
            pages.layer(login).fallback(|| async { "?" })
        }),
        ("merge with a fallback", "", false, |pages, login| {
            pages
                .layer(login)
                .merge(Router::new().fallback(|| async { "?" }))
        }),
        ("merge into a fallback", "", false, |pages, login| {
            Router::new()
                .fallback(|| async { "?" })
                .merge(pages.layer(login))
        }),
        ("route_layer", "", false, |pages, login| {
            pages.route_layer(login)
        }),
        ("nest", "/shop", false, |pages, login| {
            Router::new().nest("/shop", pages.layer(login))
        }),
        ("deep nest", "/a/b", false, |pages, login| {
            Router::new().nest("/a", Router::new().nest("/b", pages.route_layer(login)))
        }),
    ];
    for (name, prefix, works_alone, compose) in compositions {
        for redirect_uri in [CALLBACK.to_owned(), format!("{SHOP}{prefix}/in/callback")] {
            let server = server_of(&redirect_uri);
            let login = layer_of(&server.authorization_server(), &redirect_uri).unwrap();
            let alone = compose(pages(&login), login.clone());
            let path = format!("{prefix}/account");
            let answer = send(&alone, Ask::page(login.login_path())).await;
            let reached = answer.status == StatusCode::SEE_OTHER;
            assert_eq!(reached, works_alone, "{name} {redirect_uri}");
            let app = alone.merge(login.routes());
            let page = browser(&server, app)
                .navigate(&format!("{SHOP}{path}"))
                .await
                .unwrap();
            let page = page.sign_in("alice", "wonderland").await.unwrap();
            assert_eq!(page.text(), "alice", "{name}");
            assert_eq!(page.url(), format!("{SHOP}{path}"), "{name}");
        }
    }
}

/// Other processes and programs cause no false alarm, and a working layer none at all.
#[tokio::test]
async fn a_login_route_that_is_never_reached_is_reported_once() {
    for (name, reachable, cookie, page, expected) in [
        ("lost", false, "", PAGE.as_slice(), 1),
        ("followed", true, "", &PAGE, 0),
        (
            "followed elsewhere",
            false,
            "__Host-Http-shop-session=x",
            &PAGE,
            0,
        ),
        ("programs", false, "", &PAGE[..1], 0),
    ] {
        let (server, logs) = (server(), Logs::default());
        let login = login(&server);
        let app = app(&login).fallback(|| async { "?" });
        let _recording = logs.record_only("login_route_unreached");
        for _ in 0..6 {
            send(&app, Ask::new("GET", "/account").with(page)).await;
            if reachable {
                send(&app.clone().merge(login.routes()), Ask::page("/auth/login")).await;
            }
            if !cookie.is_empty() {
                send(&app, Ask::page("/").with(&[("cookie", cookie)])).await;
            }
            server.clock().advance(Duration::from_secs(5));
        }
        let lines = logs.take();
        assert_eq!(lines.lines().count(), expected, "{name}: {lines}");
        assert!(expected == 0 || lines.contains("WARN") && lines.contains("/auth/login"));
    }
}

#[tokio::test]
async fn routes_have_the_configured_names() {
    let server = server();
    let names = || {
        RouteNames::new()
            .with_login("sign-in")
            .with_logout("out")
            .with_session("me")
    };
    let login = login(&server).with_route_names(names()).unwrap();
    let shop = Shop {
        app: app(&login),
        server,
    };
    let answer = shop.send(Ask::page("/account")).await;
    assert_eq!(answer.location(), "/auth/sign-in?return_to=%2Faccount");
    let answer = shop.send(Ask::page(answer.location())).await;
    assert!(answer.location().starts_with(ISSUER));
    for (path, expected) in [
        ("/auth/me", StatusCode::UNAUTHORIZED),
        ("/auth/out", StatusCode::SEE_OTHER),
        ("/auth/login", StatusCode::NOT_FOUND),
        ("/auth/logout", StatusCode::NOT_FOUND),
        ("/auth/session", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(shop.send(Ask::page(path)).await.status, expected, "{path}");
    }
    assert_eq!(login.login_url("/auth/out"), "/auth/sign-in");

    let set = |names| shop_login().with_route_names(names);
    let hostile = [
        "", ".", "..", "a/b", "a%2fb", "a b", "a?b", "a;b", "ä", "callback", "Callback",
    ];
    for name in hostile.into_iter().chain(["login", "LOGIN", "session"]) {
        assert!(set(RouteNames::new().with_logout(name)).is_err(), "{name}");
    }
    // In any order.
    let home = |login: LoginLayer| login.with_default_return_to("/auth/sign-in");
    assert!(home(shop_login().with_route_names(names()).unwrap()).is_err());
    assert!(
        home(shop_login())
            .unwrap()
            .with_route_names(names())
            .is_err()
    );
}

fn shop_login() -> LoginLayer {
    login(&server())
}

#[test]
fn a_redirect_uri_is_unambiguous_and_a_warning_is_logged_in_the_root() {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    let logs = Logs::default();
    let _recording = logs.record_only("login_routes_in_the_root");
    for (path, is_ok, warns) in [
        ("/auth/callback", true, false),
        ("/a/b/c/return", true, false),
        ("/callback", true, true),
        ("/auth/callback?tenant=1", false, false),
        ("/auth/callback?", false, false),
        ("/x/../auth/callback", false, false),
        ("/./auth/callback", false, false),
        ("/x/%2e%2e/auth/callback", false, false),
        ("/auth;x/callback", false, false),
        ("/%61uth/callback", false, false),
        ("/auth//callback", false, false),
        ("/auth%2fcallback", false, false),
    ] {
        let login = layer_of(&server, &format!("{SHOP}{path}"));
        assert_eq!(login.is_ok(), is_ok, "{path}");
        let line = logs.take();
        assert_eq!(line.contains("WARN"), warns, "{path} {line}");
        assert!(!warns || line.contains("/logout"), "{line}");
    }
    let login = layer_of(&server, "https://shop.example.com/app/callback").unwrap();
    login.with_path_prefix("/app").unwrap();
    assert!(logs.take().contains("/app/logout"));
}
