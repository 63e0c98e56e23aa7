//! Settings apply in any order, and the layer returns the URLs of its routes.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tower_oauth::login::{Csrf, FlowErrorKind, SameSite};
use tower_oauth::session::{LoginDecision, RefreshDecision};
use tower_oauth::store::MemoryStore;
use tower_oauth::{Algorithm, LoginLayer};

use crate::support::shop::*;

type Setting = (&'static str, fn(LoginLayer) -> LoginLayer);

const SETTINGS: &[Setting] = &[
    ("scopes", |login| login.with_scopes("openid email").unwrap()),
    ("parameter", |login| {
        let login = login.with_authorization_parameter("audience", "api");
        login.unwrap()
    }),
    ("end of session", |login| {
        let uri = "https://id.example.com/leave";
        login.with_end_session_endpoint(uri, "back").unwrap()
    }),
    ("default target", |login| {
        login.with_default_return_to("/home").unwrap()
    }),
    ("ID tokens", |login| {
        let login = login
            .with_id_token_algorithms([Algorithm::Es256, Algorithm::Rs256])
            .unwrap();
        let login = login.with_trusted_audiences(["project"]).unwrap();
        login.with_leeway(Duration::from_secs(60)).unwrap()
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

/// What the layer is, and what it does: a started login, an error page, a session and a sign-out.
async fn behavior(order: &[usize]) -> String {
    let server = server();
    let login = login(&server);
    let sessions = login.sessions();
    let login = order.iter().fold(login, |login, n| SETTINGS[*n].1(login));
    login.ready().await.unwrap();
    // Each layer has a number of its own.
    let settings = format!("{login:?}");
    let (before, after) = settings.split_once("layer: ").unwrap();
    let after = after.trim_start_matches(|one: char| one.is_ascii_digit());
    let mut behavior = format!("{before}{after}\n");
    let shop = Shop {
        server,
        app: app(&login),
    };
    let mut jar = Jar::default();
    let start = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    for name in ["scope", "audience"] {
        behavior += &format!("{:?}\n", start.parameter(name));
    }
    let error = shop.send(Ask::page("/auth/callback?state=s&code=c")).await;
    behavior += &format!("{} {}\n", error.status, error.text());
    let callback = shop.approve(start.location(), "alice").await;
    let signed_in = shop.send(Ask::page(&callback).jar(&jar)).await;
    behavior += &format!("{} {:?}\n", signed_in.status, signed_in.sets());
    behavior += &format!(
        "{}\n",
        signed_in.set_cookies().join("").contains("SameSite=Strict")
    );
    jar.take(&signed_in);
    // The handle has the store, although it is older.
    assert_eq!(sessions.of_user("alice").await.unwrap().len(), 1);
    let script = Ask::new("GET", "/notes").jar(&jar);
    for headers in [&[][..], &[("x-csrf", "1")], &[("x-own", "1")]] {
        let status = shop.send(script.clone().with(headers)).await.status;
        behavior += &format!("{status}\n");
    }
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    let left = shop.send(ask.jar(&jar)).await;
    behavior
        + &format!(
            "{} {:?}\n",
            left.location(),
            left.headers.get("clear-site-data")
        )
}

#[tokio::test]
async fn settings_apply_in_any_order() {
    let mut order: Vec<usize> = (0..SETTINGS.len()).collect();
    let expected = behavior(&order).await;
    for part in [
        "openid email",
        "own: ",
        "own-session",
        "leave?",
        "403",
        "cache",
    ] {
        assert!(expected.contains(part), "{part} in {expected}");
    }
    order.reverse();
    assert_eq!(behavior(&order).await, expected, "reversed");
    let mut random = 1_u64;
    for _ in 0..12 {
        for n in (1..order.len()).rev() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(n, (random >> 33) as usize % (n + 1));
        }
        let names: Vec<_> = order.iter().map(|n| SETTINGS[*n].0).collect();
        assert_eq!(behavior(&order).await, expected, "{names:?}");
    }
}

/// Without a store, sessions cannot be counted.
#[tokio::test]
async fn a_limit_of_sessions_without_a_store_rejects_logins() {
    let server = server();
    let login = login(&server).with_max_sessions_per_user(2).unwrap();
    let login = login.with_cookie_name("own").unwrap();
    let error = login.ready().await.unwrap_err();
    assert_eq!(error.kind(), FlowErrorKind::Configuration);
    assert_eq!(
        send(&app(&login), Ask::page("/auth/login")).await.status,
        500
    );
}

/// A clone has settings of its own, and so has its handle.
#[tokio::test]
async fn settings_of_a_clone_do_not_change_the_original() {
    let login = login(&server());
    let (handle, clone) = (login.sessions(), login.clone());
    let clone = clone.with_session_store(MemoryStore::new());
    assert!(clone.sessions().of_user("alice").await.is_ok());
    assert!(handle.of_user("alice").await.is_err());
}

#[test]
fn links_lead_to_the_routes_of_the_layer() {
    let login = login(&server());
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
    let long = format!("/{}", "x".repeat(2048));
    assert_eq!(login.login_url(&long), "/auth/login");
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

#[tokio::test]
async fn handlers_extract_the_layer_around_them() {
    let page = async |login: LoginLayer| login.login_url("/a");
    let pages = Router::new().route("/", get(page));
    let answer = send(&pages.clone().layer(login(&server())), Ask::page("/")).await;
    assert_eq!(answer.text(), "/auth/login?return_to=%2Fa");
    // The URL does not depend on the session.
    assert!(answer.headers.get("cache-control").is_none());
    let answer = send(&pages, Ask::page("/")).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("requires an outer LoginLayer"));
}
