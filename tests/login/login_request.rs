//! `LoginLayer::start`: logins that a handler starts with a `LoginRequest`.

use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;
use tower_oauth::login::LoginRequest;
use tower_oauth::{ConfigError, CookieKey, LoginLayer};

use crate::support::shop::*;

fn full() -> Result<LoginRequest, ConfigError> {
    LoginRequest::new()
        .with_login_hint("alice@example.com")?
        .with_prompt("consent")?
        .with_ui_locales("de en")?
        .with_acr_values(["silver", "bronze"])?
        .with_max_age(Duration::from_secs(3600))
        .with_requested_claims(json!({ "id_token": { "email": null } }))?
        .with_authorization_details(json!([{ "type": "payment" }]))
}

async fn empty(login: LoginLayer) -> Response {
    login.start(LoginRequest::new())
}

async fn all(login: LoginLayer) -> Response {
    login.start(full().unwrap())
}

async fn target(login: LoginLayer) -> Response {
    login.start(LoginRequest::new().with_return_to("/cart?a=b"))
}

async fn foreign(login: LoginLayer) -> Response {
    login.start(LoginRequest::new().with_return_to("//evil.example"))
}

fn pages(login: &LoginLayer) -> Router {
    let outside = login.clone();
    let outside = move || async move { outside.start::<axum::body::Body>(LoginRequest::new()) };
    Router::new()
        .route("/empty", get(empty).post(empty))
        .route("/all", get(all).post(all))
        .route("/target", get(target))
        .route("/foreign", get(foreign))
        .route("/outside", get(outside))
        .layer(login.clone())
}

fn shop(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let server = server();
    let app = pages(&configure(login(&server)));
    Shop { server, app }
}

/// The settings for all logins require more than the request.
fn strict(login: LoginLayer) -> LoginLayer {
    [
        ("acr_values", "gold"),
        ("max_age", "60"),
        ("prompt", "login"),
        ("audience", "api"),
    ]
    .into_iter()
    .fold(login, |login, (name, value)| {
        login.with_authorization_parameter(name, value).unwrap()
    })
}

#[tokio::test]
async fn what_the_application_asks_for_takes_the_place_of_the_settings() {
    let names = [
        "login_hint",
        "prompt",
        "ui_locales",
        "acr_values",
        "max_age",
        "claims",
        "authorization_details",
        "audience",
    ];
    for (path, configure, expected) in [
        ("/empty", (|login| login) as fn(_) -> _, [""; 8]),
        (
            "/empty",
            strict,
            ["", "login", "", "gold", "60", "", "", "api"],
        ),
        (
            "/all",
            strict,
            [
                "alice@example.com",
                "consent",
                "de en",
                "silver bronze",
                "3600",
                r#"{"id_token":{"email":null}}"#,
                r#"[{"type":"payment"}]"#,
                "api",
            ],
        ),
    ] {
        let shop = shop(configure);
        let answer = shop.send(Ask::page(path)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let login_url = answer.location().to_owned();
        assert_eq!(parameter(&login_url, "return_to").as_deref(), Some(path));
        // What a link adds does not count.
        let login_url = format!("{login_url}&prompt=login&max_age=1&claims=%7B%7D&audience=other");
        let answer = shop.start(&login_url, &mut Jar::default()).await;
        for (name, expected) in names.into_iter().zip(expected) {
            let found = answer.parameter(name).unwrap_or_default();
            assert_eq!(found, expected, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_form_is_redirected_and_other_requests_get_the_url() {
    let shop = shop(|login| login);
    let form = Ask::new("POST", "/all").with(&PAGE);
    let answer = shop.send(form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert_eq!(answer.parameter("return_to"), None);
    for (ask, is_htmx) in [
        (Ask::new("GET", "/all"), false),
        (Ask::new("POST", "/all"), false),
        (
            Ask::new("GET", "/all").with(&[("hx-request", "true")]),
            true,
        ),
    ] {
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json()["code"], "login_required");
        let login_url = answer.json()["login_url"].as_str().unwrap().to_owned();
        assert!(parameter(&login_url, "login_request").is_some());
        assert_eq!(answer.header("hx-redirect") == login_url, is_htmx);
    }
    for (path, target) in [
        ("/target", Some("/cart?a=b")),
        // An unacceptable target is dropped; the page itself is the default.
        ("/foreign", Some("/foreign")),
    ] {
        let answer = shop.send(Ask::page(path)).await;
        assert_eq!(answer.parameter("return_to").as_deref(), target, "{path}");
    }
    let answer = shop.send(Ask::page("/outside")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("extracted"), "{}", answer.text());
}

#[tokio::test]
async fn only_a_current_request_of_this_layer_starts_a_login() {
    let shop = shop(|login| login);
    let other = login_with(&shop.server, CookieKey::from_bytes(&[8; 32]).unwrap());
    let foreign = send(&pages(&other), Ask::page("/all")).await;
    let answer = shop.send(Ask::page("/all")).await;
    let own = answer.parameter("login_request").unwrap();
    let last = if own.ends_with('A') { 'B' } else { 'A' };
    let flipped = format!("{}{last}", &own[..own.len() - 1]);
    let cases = [
        ("another key", foreign.parameter("login_request").unwrap()),
        ("a changed text", flipped),
        ("a part", own[4..].to_owned()),
        ("too long", "A".repeat(5000)),
        ("repeated", format!("{own}&login_request={own}")),
    ];
    for (name, sealed) in cases {
        let url = format!("/auth/login?return_to=/notes&login_request={sealed}");
        let answer = shop.send(Ask::page(&url)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
    }
    let url = format!("/auth/login?return_to=/notes&login_request={own}");
    assert_eq!(
        shop.send(Ask::page(&url)).await.status,
        StatusCode::SEE_OTHER
    );
    shop.clock().advance(Duration::from_secs(600));
    let answer = shop.send(Ask::page(&url)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("login_request_expired"));
    // The target is in the request that has expired.
    let text = answer.text();
    assert!(text.contains("href=\"/auth/login\""), "{text}");
}
