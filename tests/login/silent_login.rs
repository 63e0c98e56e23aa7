//! `LoginLayer::silent_login`: pages that are open to all and sign users in without a page (`prompt=none`).

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::login::SameSite;
use tower_oauth::session::{LoginDecision, NewLogin};
use tower_oauth::testing::{Browser, Endpoint, Fault, Page};
use tower_oauth::{LoginLayer, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::shop::*;

session_modes! {
    all: [a_user_of_the_authorization_server_is_signed_in_without_a_page],
}

const MARK: &str = "__Host-Http-shop-no-silent-login";

async fn greet(session: Option<Session>) -> String {
    session.map_or_else(
        || "offers".to_owned(),
        |session| format!("orders of {}", session.subject()),
    )
}

fn shop(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let server = server();
    let login = configure(login(&server));
    let app = Router::new()
        .route("/", get(greet).post(greet).layer(login.silent_login()))
        .route("/plain", get(greet))
        .route("/account", get(greet).layer(login.required()))
        .layer(login);
    Shop { server, app }
}

async fn open(browser: &Browser, path: &str) -> Page {
    browser.navigate(&format!("{SHOP}{path}")).await.unwrap()
}

/// Signs in, and drops the session here but not at the authorization server.
async fn signed_in_there(shop: &Shop) -> Browser {
    let browser = shop.browser();
    let page = open(&browser, "/account").await;
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.text(), "orders of alice");
    let gone = format!("{SESSION}=; Path=/; Secure; HttpOnly; Max-Age=0");
    browser.set_cookie(SHOP, &gone);
    browser
}

async fn a_user_of_the_authorization_server_is_signed_in_without_a_page(mode: Mode) {
    let shop = shop(|login| mode.place(login));
    let browser = signed_in_there(&shop).await;
    assert_eq!(open(&browser, "/plain").await.text(), "offers");
    // Long enough for the mark of a recent sign-in to expire.
    shop.clock().advance(Duration::from_secs(31));
    let page = open(&browser, "/?q=1").await;
    assert_eq!(page.text(), "orders of alice");
    assert_eq!(page.url(), format!("{SHOP}/?q=1"));
    assert_eq!(
        browser
            .cookie(SHOP, MARK)
            .map(|cookie| cookie.value().to_owned()),
        None
    );
}

#[tokio::test]
async fn without_a_user_the_page_is_shown_after_one_attempt() {
    let shop = shop(|login| login);
    let browser = shop.browser();
    let attempts = || shop.server.count(Endpoint::Authorization);
    for (minutes, expected) in [(0, 1), (0, 1), (14, 1), (1, 2), (0, 2)] {
        shop.clock().advance(Duration::from_secs(minutes * 60));
        let page = open(&browser, "/?q=1").await;
        assert_eq!((page.status(), &*page.text()), (StatusCode::OK, "offers"));
        assert_eq!(page.url(), format!("{SHOP}/?q=1"));
        assert_eq!(attempts(), expected, "{minutes}");
    }
}

#[tokio::test]
async fn a_failure_of_any_kind_shows_the_page() {
    async fn deny(_: NewLogin) -> LoginDecision {
        LoginDecision::deny("No.")
    }
    for (name, endpoint, fault) in [
        ("no metadata", Endpoint::Metadata, Some(Fault::status(503))),
        ("no tokens", Endpoint::Token, Some(Fault::status(500))),
        (
            "a rejected client",
            Endpoint::Token,
            Some(Fault::refusal("invalid_client")),
        ),
        (
            "an error",
            Endpoint::Authorization,
            Some(Fault::parameter("error", "server_error")),
        ),
        (
            "another issuer",
            Endpoint::Authorization,
            Some(Fault::parameter("iss", "https://evil.example")),
        ),
        ("the application", Endpoint::Token, None),
    ] {
        let is_denied = fault.is_none();
        let browser = {
            let shop = shop(|login| match is_denied {
                true => login.with_on_login(deny),
                false => login,
            });
            // Without a session at the authorization server there would be no token request.
            let browser = shop.browser();
            if endpoint == Endpoint::Token {
                let page = open(&browser, "/account").await;
                let _ = page.sign_in("alice", "wonderland").await.unwrap();
                browser.set_cookie(
                    SHOP,
                    &format!("{SESSION}=; Path=/; Secure; HttpOnly; Max-Age=0"),
                );
                shop.clock().advance(Duration::from_secs(31));
            }
            if let Some(fault) = fault {
                shop.server.fail(endpoint, fault);
            }
            browser
        };
        let page = open(&browser, "/").await;
        assert_eq!(
            (page.status(), &*page.text()),
            (StatusCode::OK, "offers"),
            "{name}"
        );
        assert_eq!(page.url(), format!("{SHOP}/"), "{name}");
    }
}

#[tokio::test]
async fn only_navigations_of_browsers_are_redirected() {
    let shop = shop(|login| login);
    let answer = shop.send(Ask::page("/")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("vary").contains("cookie"));
    assert_eq!(answer.sets(), [MARK]);
    assert!(answer.head().contains("Max-Age=900"), "{}", answer.head());
    for (name, ask) in [
        ("script", Ask::new("GET", "/")),
        ("no fetch metadata", Ask::new("GET", "/").with(&PAGE[..1])),
        (
            "prefetch",
            Ask::page("/").with(&[("sec-purpose", "prefetch")]),
        ),
        ("frame", Ask::page("/").set("sec-fetch-dest", "iframe")),
        ("htmx", Ask::page("/").with(&[("hx-request", "true")])),
        ("head", Ask::new("HEAD", "/").with(&PAGE)),
        ("form", Ask::new("POST", "/").with(&PAGE)),
        (
            "the mark",
            Ask::page("/").with(&[("cookie", &format!("{MARK}=1"))]),
        ),
    ] {
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        // The next browser may be redirected.
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
        assert!(answer.header("vary").contains("cookie"), "{name}");
    }
}

/// The page says why, and its link leads to the page without another redirect.
#[tokio::test]
async fn a_browser_without_cookies_is_not_redirected_without_end() {
    let shop = shop(|login| login);
    let answer = shop.send(Ask::page("/?q=1")).await;
    let login_url = answer.location().to_owned();
    let answer = shop.send(Ask::page(&login_url)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("cookies_not_accepted"));
    assert!(
        answer.text().contains("href=\"/?q=1\""),
        "{}",
        answer.text()
    );
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(shop.server.count(Endpoint::Authorization), 0);
    let followed = Ask::page("/?q=1")
        .set("sec-fetch-site", "same-origin")
        .with(&[("referer", &format!("{SHOP}{login_url}"))]);
    assert_eq!(shop.send(followed).await.text(), "offers");
}

#[tokio::test]
async fn after_a_sign_out_only_the_user_signs_in_again() {
    let shop = shop(|login| login);
    let browser = signed_in_there(&shop).await;
    shop.clock().advance(Duration::from_secs(31));
    let page = open(&browser, "/").await;
    assert_eq!(page.text(), "orders of alice");
    // The sign-out at the authorization server does not happen.
    let form = format!("<form method=post action='{SHOP}/auth/logout'><button>x</button></form>");
    let page = browser.document(&format!("{SHOP}/plain"), &form).unwrap();
    shop.server.fail(Endpoint::EndSession, Fault::status(500));
    let _ = page.form("").unwrap().submit().await;
    let mark = browser.cookie(SHOP, MARK).expect("a mark");
    assert!(mark.expires().is_none(), "until the browser is closed");
    assert_eq!(open(&browser, "/").await.text(), "offers");
    shop.clock().advance(Duration::from_secs(3600));
    assert_eq!(open(&browser, "/").await.text(), "offers");
    // The user signs in, and is signed in silently from then on.
    let page = open(&browser, "/account").await;
    assert_eq!(page.text(), "orders of alice");
    assert!(browser.cookie(SHOP, MARK).is_none());
}

#[tokio::test]
async fn settings_that_rule_a_silent_login_out_are_respected() {
    for (name, value) in [("prompt", "login"), ("max_age", "0")] {
        let shop = shop(|login| login.with_authorization_parameter(name, value).unwrap());
        assert_eq!(shop.send(Ask::page("/")).await.text(), "offers", "{name}");
    }
    let shop = shop(|login| login.with_same_site(SameSite::Strict));
    for (site, expected) in [
        ("none", StatusCode::SEE_OTHER),
        ("same-origin", StatusCode::SEE_OTHER),
        ("same-site", StatusCode::OK),
        ("cross-site", StatusCode::OK),
    ] {
        let answer = shop.send(Ask::page("/").set("sec-fetch-site", site)).await;
        assert_eq!(answer.status, expected, "{site}");
    }
}

#[tokio::test]
async fn without_its_layer_the_page_is_500() {
    let server = server();
    let app = Router::new().route("/", get(greet).layer(login(&server).silent_login()));
    for app in [app.clone(), app.layer(login(&server))] {
        let answer = send(&app, Ask::page("/")).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.text().contains("silent_login"), "{}", answer.text());
    }
}
