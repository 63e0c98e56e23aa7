//! The choice of a provider, and the routes of each.

use http::StatusCode;
use serde_json::json;
use tower_oauth::testing::Endpoint;
use url::Url;

use super::*;
use crate::support::logs::Logs;
use crate::support::shop::{Ask, parameter, send};

#[tokio::test]
async fn a_page_that_needs_a_session_leads_to_the_choice_and_then_back_to_the_page() {
    let shop = TwoProviders::new();
    for (label, expected) in [
        ("Sign in with Example Inc.", "alice at staff"),
        ("Sign in with Partner & Co.", "alice at partner"),
    ] {
        let page = open(&shop.browser(), "/account?step=2").await;
        assert_eq!(
            page.url(),
            format!("{SHOP}/auth/login?return_to=%2Faccount%3Fstep%3D2")
        );
        assert_eq!(page.title(), "Sign in");
        assert!(!page.html().contains("<script"), "{}", page.html());
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        let page = page.click(label).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.text(), expected);
        assert_eq!(page.url(), format!("{SHOP}/account?step=2"));
    }
}

/// The redirect URI of the first provider stays that of the layer.
#[tokio::test]
async fn each_provider_has_a_redirect_uri_and_a_login_route() {
    let shop = TwoProviders::new();
    for (name, issuer, redirect_uri) in [
        ("staff", ISSUER, CALLBACK),
        ("partner", PARTNER, PARTNER_CALLBACK),
    ] {
        assert_eq!(shop.login.redirect_uri_of(name), Some(redirect_uri));
        let url = shop.login.login_url_at(name, "/account");
        assert_eq!(
            url,
            Some(format!("/auth/login/{name}?return_to=%2Faccount"))
        );
        let answer = send(&shop.app, Ask::page(&url.unwrap())).await;
        assert!(answer.location().starts_with(issuer), "{answer:?}");
        let sent = answer.parameter("redirect_uri");
        assert_eq!(sent.as_deref(), Some(redirect_uri));
    }
    assert_eq!(shop.login.login_url_at("other", "/account"), None);
    assert_eq!(shop.login.redirect_uri_of("other"), None);
}

#[tokio::test]
async fn the_log_names_an_unknown_provider_and_those_that_exist() {
    let (shop, logs) = (TwoProviders::new(), Logs::default());
    let recording = logs.record_only("login_failed");
    let answer = send(&shop.app, Ask::page("/auth/login/partnr")).await;
    drop(recording);
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let log = logs.take();
    assert!(log.contains("code=\"provider_unknown\""), "{log}");
    for name in ["partnr", "staff", "partner"] {
        assert!(log.contains(&format!("\\\"{name}\\\"")), "{name}: {log}");
    }
}

#[tokio::test]
async fn all_parameters_of_a_login_are_kept_by_the_choice() {
    let shop = TwoProviders::new();
    let query = "return_to=%2Fa%3Fb%3D%26quot%3B&login_hint=alice&prompt=consent&max_age=60";
    let page = open(&shop.browser(), &format!("/auth/login?{query}")).await;
    let page = page.click("Sign in with Partner & Co.").await.unwrap();
    let last = page.redirects().last().cloned();
    let last = last.unwrap_or_else(|| page.url().to_owned());
    let sent = |name| parameter(&last, name);
    assert_eq!(sent("login_hint").as_deref(), Some("alice"));
    assert_eq!(sent("prompt").as_deref(), Some("consent"));
    assert_eq!(sent("max_age").as_deref(), Some("60"));
}

#[tokio::test]
async fn a_program_gets_the_list_of_providers() {
    let shop = TwoProviders::new();
    let ask = Ask::new("GET", "/auth/login?return_to=/x").with(&[("accept", "application/json")]);
    let answer = send(&shop.app, ask.clone()).await;
    let choice = |name: &str, display_name: &str| json!({ "name": name, "display_name": display_name, "login_url": format!("/auth/login/{name}?return_to=/x") });
    let expected = [
        choice("staff", "Example Inc."),
        choice("partner", "Partner & Co."),
    ];
    assert_eq!(answer.json(), json!({ "providers": expected }));
    assert_eq!(answer.set_cookies(), [""; 0]);
    // Who asks for nothing is told to sign in, as by a layer with one provider.
    let answer = send(&shop.app, Ask::new("GET", "/auth/login")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["login_url"], "/auth/login");
    for requests in [shop.staff.requests(), shop.partner.requests()] {
        assert_eq!(requests.len(), 0);
    }
}

#[tokio::test]
async fn the_application_can_render_the_choice() {
    let shop = TwoProviders::with(|login| {
        login.with_chooser_page(|page| {
            let language = page.accept_language().unwrap_or_default();
            let choice = |one: &tower_oauth::login::ProviderChoice<'_>| {
                format!("{}|{}|{}", one.name(), one.display_name(), one.login_url())
            };
            let choices: Vec<_> = page.choices().iter().map(choice).collect();
            format!("<!doctype html>{language} {}", choices.join(" "))
        })
    });
    let ask = Ask::page("/auth/login?x=%22%3E").set("accept-language", "de");
    let answer = send(&shop.app, ask).await;
    assert_eq!(
        answer.text(),
        "<!doctype html>de staff|Example Inc.|/auth/login/staff?x=%22%3E \
         partner|Partner & Co.|/auth/login/partner?x=%22%3E"
    );
    let policy = answer.header("content-security-policy");
    assert!(
        policy.contains("style-src 'self'") && !policy.contains("script-src"),
        "{policy}"
    );
}

#[tokio::test]
async fn a_name_that_no_provider_has_is_not_found_and_offers_the_choice() {
    let shop = TwoProviders::new();
    for path in [
        "/auth/login/other",
        "/auth/login/Partner",
        "/auth/login/",
        "/auth/login/partner/",
        "/auth/callback/other?code=c&state=s",
        // The callback of the first one is that of the layer.
        "/auth/callback/staff?code=c&state=s",
    ] {
        let answer = send(&shop.app, Ask::page(path)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text().contains("href=\"/auth/login\""), "{path}");
        assert_eq!(answer.set_cookies(), [""; 0], "{path}");
    }
}

/// Each of them would sign in, or complete a login, without a click.
#[tokio::test]
async fn the_routes_of_providers_are_no_return_targets() {
    let shop = TwoProviders::new();
    for target in [
        "/auth/login",
        "/auth/login/staff",
        "/auth/login/partner",
        "/auth/login/partner?x",
        "/auth/callback/partner",
        "/auth/login%2Fpartner/../partner",
    ] {
        assert_eq!(shop.login.login_url(target), "/auth/login", "{target}");
    }
    assert_ne!(shop.login.login_url("/auth/other"), "/auth/login");
    assert!(
        shop.login
            .with_default_return_to("/auth/login/partner")
            .is_err()
    );
}

/// A link of another site.
#[tokio::test]
async fn hostile_parameters_are_escaped_in_the_page() {
    let shop = TwoProviders::new();
    let answer = send(&shop.app, Ask::page("/auth/login?a='onmouseover='x&b=c")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let escaped = "href=\"/auth/login/staff?a=&#39;onmouseover=&#39;x&amp;b=c\"";
    assert!(answer.text().contains(escaped), "{}", answer.text());
    assert_eq!(answer.set_cookies(), [""; 0], "nothing is stored");
    // What no provider accepts is rejected before the choice.
    let answer = send(&shop.app, Ask::page("/auth/login?max_age=x")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

/// Each provider repeats the query, which the page escapes: a request would have a response of many times its length.
#[tokio::test]
async fn a_query_that_is_longer_than_a_url_of_the_application_is_rejected_before_the_choice() {
    let shop = TwoProviders::new();
    let path = |length: usize| format!("/auth/login?x={}", "'".repeat(length - "x=".len()));
    for (length, status) in [
        (8000, StatusCode::OK),
        (8001, StatusCode::BAD_REQUEST),
        (60_000, StatusCode::BAD_REQUEST),
    ] {
        let path = path(length);
        for ask in [
            Ask::page(&path),
            Ask::new("GET", &path).with(&[("accept", "application/json")]),
        ] {
            let answer = send(&shop.app, ask).await;
            assert_eq!(answer.status, status, "{length}");
            if status == StatusCode::BAD_REQUEST {
                assert!(answer.text().contains("query_too_long"), "{length}");
                assert!(answer.text().len() < 4000, "{}", answer.text().len());
            }
        }
    }
}

#[tokio::test]
async fn a_layer_behind_a_proxy_or_in_a_nested_router_has_the_routes_of_all_providers() {
    let staff = server_for(ISSUER, &["https://shop.example.com/app/auth/callback"]);
    let partner = partner_server(&staff);
    let redirect_uri = "https://shop.example.com/app/auth/callback";
    let login = LoginLayer::for_provider(provider("staff", &staff), redirect_uri, key())
        .and_then(|login| login.add_provider(provider("partner", &partner)))
        .and_then(|login| login.with_path_prefix("/app"))
        .unwrap();
    let nested = Router::new().nest("/app", app(&login).merge(login.routes()));
    for (name, app, prefix) in [
        ("behind a proxy", app(&login), ""),
        ("nested", nested, "/app"),
        ("the routes alone", Router::new().merge(login.routes()), ""),
    ] {
        let answer = send(&app, Ask::page(&format!("{prefix}/auth/login"))).await;
        let link = "href=\"/app/auth/login/partner\"";
        assert!(answer.text().contains(link), "{name}: {}", answer.text());
        let answer = send(&app, Ask::page(&format!("{prefix}/auth/login/partner"))).await;
        let redirect_uri = answer.parameter("redirect_uri");
        let expected = "https://shop.example.com/app/auth/callback/partner";
        assert_eq!(redirect_uri.as_deref(), Some(expected), "{name}");
        let callback = Url::parse(expected).unwrap();
        let path = callback.path().strip_prefix("/app").unwrap();
        let answer = send(&app, Ask::page(&format!("{prefix}{path}?error=x&state=y"))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
    }
}

/// Exactly the routes that it had before there could be several.
#[tokio::test]
async fn a_layer_with_one_provider_shows_no_choice_and_leaves_other_paths_to_the_application() {
    let staff = staff_server();
    let unnamed =
        LoginLayer::new(&staff.authorization_server(), client(), CALLBACK, key()).unwrap();
    let named = LoginLayer::for_provider(provider("staff", &staff), CALLBACK, key()).unwrap();
    for (login, at_name) in [
        (unnamed, StatusCode::IM_A_TEAPOT),
        (named, StatusCode::SEE_OTHER),
    ] {
        let app = app(&login)
            .fallback(async || StatusCode::IM_A_TEAPOT)
            .layer(login.clone());
        let answer = send(&app, Ask::page("/auth/login")).await;
        assert!(answer.location().starts_with(ISSUER), "{answer:?}");
        for (path, expected) in [
            ("/auth/login/staff", at_name),
            ("/auth/login/default", StatusCode::IM_A_TEAPOT),
            ("/auth/login/other", StatusCode::IM_A_TEAPOT),
            ("/auth/callback/staff", StatusCode::IM_A_TEAPOT),
        ] {
            let answer = send(&app, Ask::page(path)).await;
            assert_eq!(answer.status, expected, "{path}");
        }
    }
    assert_eq!(staff.count(Endpoint::Token), 0);
}
