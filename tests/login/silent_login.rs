//! `LoginLayer::silent_login`: pages that are open to all and sign users in without a page (`prompt=none`).

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::login::{ResponseMode, SameSite};
use tower_oauth::session::{LoginDecision, NewLogin};
use tower_oauth::testing::{Browser, Endpoint, Fault, Page};
use tower_oauth::{LoginLayer, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::shop::*;

session_modes! {
    all: [a_user_of_the_authorization_server_is_signed_in_without_a_page],
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
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
        shop.server.clear_requests();
        let page = open(&browser, "/").await;
        assert_eq!(
            (page.status(), &*page.text()),
            (StatusCode::OK, "offers"),
            "{name}"
        );
        assert_eq!(page.url(), format!("{SHOP}/"), "{name}");
        assert!(shop.server.count(endpoint) > 0, "{name}");
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

/// Every program can fetch a login request, so a link of another site can combine it with any target.
#[tokio::test]
async fn no_page_links_to_a_target_that_another_site_chose() {
    for same_site in [SameSite::Lax, SameSite::Strict] {
        let shop = shop(|login| login.with_same_site(same_site));
        let sealed = shop.send(Ask::page("/?q=1")).await.location().to_owned();
        let link = format!("{sealed}&return_to=/plain");
        let ask = Ask::page(&link).set("sec-fetch-site", "cross-site");
        let mut user = Jar::default();
        let started = shop.start("/auth/login", &mut user).await;
        let callback = shop.approve(started.location(), "alice").await;
        user.take(&shop.send(Ask::page(&callback).jar(&user)).await);
        // No page: the target is a redirect of the other site. A Strict cookie is not sent with it.
        for (name, jar) in [("a user", &user), ("a hidden session", &Jar::default())] {
            let answer = shop.send(ask.clone().jar(jar)).await;
            if name == "a user" || same_site == SameSite::Strict {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{same_site:?} {name}");
                assert_eq!(answer.location(), "/?q=1", "{same_site:?} {name}");
            } else {
                assert!(answer.text().contains("href=\"/?q=1\""), "{name}");
            }
            assert!(!answer.text().contains("/plain"), "{same_site:?} {name}");
            assert_eq!(answer.set_cookies(), [""; 0], "{same_site:?} {name}");
        }
    }
}

fn shop_in(mode: ResponseMode) -> Shop {
    let server = server().with_response_modes();
    let login = login(&server).with_response_mode(mode);
    let app = Router::new()
        .route("/", get(greet))
        .route("/{page}", get(greet).layer(login.silent_login()))
        .layer(login);
    Shop { server, app }
}

/// Starts a silent login for `page`; returns the URL of the authorization request.
async fn start(shop: &Shop, page: &str, jar: &mut Jar) -> String {
    let first = shop.start(page, jar).await;
    shop.start(first.location(), jar)
        .await
        .location()
        .to_owned()
}

/// The response of the authorization server to a user without a session there, as a query or a form.
async fn response_to(shop: &Shop, location: &str) -> String {
    let echo = |uri: http::Uri, form: String| async move {
        format!("{}{form}", uri.query().unwrap_or_default())
    };
    let browser = shop.server.browser();
    let app = Router::new().fallback(echo);
    let browser = browser.with_origin(SHOP, app).unwrap();
    let page = browser.navigate(location).await.unwrap();
    match page.form("#form-post") {
        Ok(form) => form.submit().await.unwrap().html(),
        Err(_) => page.html(),
    }
}

async fn call_back(shop: &Shop, jar: &Jar, response: &str) -> Answer {
    let uri = format!("/auth/callback?{response}");
    shop.send(Ask::page(&uri).jar(jar)).await
}

#[tokio::test]
async fn a_response_that_cannot_be_read_shows_the_page() {
    let expired = || Fault::authorization_response(|jwt| jwt.with_expires_in(-100));
    for (name, endpoint, fault, mode) in [
        (
            "no keys",
            Endpoint::KeySet,
            Fault::status(503),
            ResponseMode::Jwt,
        ),
        (
            "an expired JWT",
            Endpoint::Authorization,
            expired(),
            ResponseMode::Jwt,
        ),
        (
            "an expired JWT in a form",
            Endpoint::Authorization,
            expired(),
            ResponseMode::FormPostJwt,
        ),
    ] {
        let shop = shop_in(mode);
        shop.server.fail(endpoint, fault);
        let mut jar = Jar::default();
        let location = start(&shop, "/news", &mut jar).await;
        let mut response = response_to(&shop, &location).await;
        if mode == ResponseMode::FormPostJwt {
            let form = Ask::new("POST", "/auth/callback")
                .with(&PAGE)
                .set("sec-fetch-site", "cross-site")
                .with(&[("origin", ISSUER), FORM])
                .body(&response);
            let answer = shop.send(form).await;
            response = answer.location().split_once('?').unwrap().1.to_owned();
        }
        let answer = call_back(&shop, &jar, &response).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        assert_eq!(answer.location(), "/news", "{name}");
        // Without its cookies the browser would be redirected without end.
        let answer = call_back(&shop, &Jar::default(), &response).await;
        assert!(answer.status.as_u16() >= 400, "{name}");
        // Unreadable as a whole: only silent logins are pending.
        let answer = call_back(&shop, &jar, "response=x").await;
        assert_eq!(answer.location(), "/", "{name}");
        // A login of the user is not discarded.
        shop.start("/auth/login", &mut jar).await;
        let answer = call_back(&shop, &jar, "response=x").await;
        assert!(answer.status.as_u16() >= 400, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
    }
}

/// A browser restores its tabs: no tab has seen the response of another one, and logins take the cookies of others.
#[tokio::test]
async fn many_tabs_all_show_their_page() {
    let shop = shop_in(ResponseMode::Query);
    let mut jar = Jar::default();
    let mut logins = Vec::new();
    for tab in 0..8 {
        let first = shop.send(Ask::page(&format!("/page-{tab}"))).await;
        jar.take(&first);
        logins.push(first.location().to_owned());
    }
    let mark = jar.clone();
    let mut locations = Vec::new();
    for login in logins {
        let started = shop.send(Ask::page(&login).jar(&mark)).await;
        jar.take(&started);
        locations.push(started.location().to_owned());
    }
    for (tab, location) in locations.iter().enumerate() {
        let response = response_to(&shop, location).await;
        let answer = call_back(&shop, &jar, &response).await;
        jar.take(&answer);
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{tab}");
        assert_eq!(answer.location(), format!("/page-{tab}"));
    }
}

#[tokio::test]
async fn a_late_or_canceled_silent_login_shows_the_page() {
    let shop = shop_in(ResponseMode::Query);
    // The device sleeps before the login starts.
    let mut jar = Jar::default();
    let first = shop.start("/news", &mut jar).await;
    shop.clock().advance(Duration::from_secs(601));
    let answer = shop.send(Ask::page(first.location()).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/news");
    // Before the callback; the mark has expired.
    let mut jar = Jar::default();
    let location = start(&shop, "/news", &mut jar).await;
    let response = response_to(&shop, &location).await;
    shop.clock().advance(Duration::from_secs(1200));
    let kept = jar.only(|name| name != MARK);
    let answer = call_back(&shop, &kept, &response).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/news");
    // The user signs out in another tab.
    let mut jar = Jar::default();
    let location = start(&shop, "/news", &mut jar).await;
    let response = response_to(&shop, &location).await;
    let own = [("sec-fetch-site", "same-origin")];
    let answer = shop
        .send(Ask::new("POST", "/auth/logout").with(&own).jar(&jar))
        .await;
    jar.take(&answer);
    let answer = call_back(&shop, &jar, &response).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/news");
    assert_eq!(answer.sets(), [""; 0]);
}

/// The authorization server does not respond: the page is shown after three seconds.
#[tokio::test]
async fn a_slow_start_shows_the_page_in_time() {
    let shop = shop(|login| login);
    shop.server.fail(Endpoint::Metadata, Fault::hang());
    let mut jar = Jar::default();
    let first = shop.start("/", &mut jar).await;
    let (app, ask) = (shop.app.clone(), Ask::page(first.location()).jar(&jar));
    let pending = tokio::spawn(async move { send(&app, ask).await });
    shop.server.wait_for(Endpoint::Metadata, 1).await;
    shop.clock().wait_for_sleepers(1).await;
    shop.clock().advance(Duration::from_secs(3));
    let answer = pending.await.unwrap();
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/");
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
