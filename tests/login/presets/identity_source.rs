//! Identity sources of applications: what they cannot do, and what a login at their provider cannot request.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use serde_json::{Value, json};
use tower_oauth::bearer::Policy;
use tower_oauth::login::{Identity, IdentityError, IdentitySource, LoginRequest, UserApi};
use tower_oauth::protocol::Metadata;
use tower_oauth::{AuthorizationServer, Client, LoginLayer, Provider, Session};

use super::imitation::{App, Imitation};
use crate::support::der::decode;
use crate::support::logs::Logs;
use crate::support::proofs::hash;
use crate::support::shop::{Ask, parameter};

const MINUTE: Duration = Duration::from_secs(60);
const TOKEN: &str = "https://forge.example/token";
const REVOKE: &str = "https://forge.example/revoke";
const USER: &str = "https://api.forge.example/user";

fn forge(source: impl IdentitySource) -> Provider {
    let metadata = Metadata::new("https://forge.example")
        .with_authorization_endpoint("https://forge.example/authorize")
        .with_token_endpoint(TOKEN)
        .with_revocation_endpoint(REVOKE);
    let server = AuthorizationServer::from_metadata(metadata).unwrap();
    let client = Client::confidential_post("shop", "secret");
    Provider::without_id_token("forge", &server, client, source).unwrap()
}

/// What the source does.
#[derive(Clone, Copy, Debug)]
enum Does {
    Returns(&'static str),
    Asks,
    Overrides,
    Refuses,
    Panics,
    NeverReturns,
    RequestsOften,
    RequestsHttp,
}

impl IdentitySource for Does {
    async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
        match self {
            Self::Returns(subject) => Ok(Identity::new(*subject)),
            Self::Asks => {
                api.get(USER).await?;
                Ok(Identity::new("7"))
            }
            Self::Overrides => Ok(Identity::new("7")
                .with_claim("iss", "https://evil.example")
                .with_claim("sub", "admin")
                .with_claim("sid", "s1")
                .with_claim("acr", "gold")
                .with_claim("auth_time", 1)
                .with_claim("exp", 1)
                .with_claim("name", "Alice")),
            Self::Refuses => Err(IdentityError::refused(
                "the user is of another organization",
            )),
            Self::Panics => panic!("a mistake of the application"),
            Self::NeverReturns => {
                api.get(USER).await?;
                std::future::pending().await
            }
            Self::RequestsOften => {
                for _ in 0..20 {
                    api.get(USER).await?;
                }
                Ok(Identity::new("7"))
            }
            Self::RequestsHttp => {
                api.get("http://api.forge.example/user").await?;
                Ok(Identity::new("7"))
            }
        }
    }
}

fn provider() -> Imitation {
    let provider = Imitation::default();
    provider.answer(
        TOKEN,
        json!({ "access_token": "t", "token_type": "bearer", "refresh_token": "r" }),
    );
    provider.answer(USER, json!({}));
    provider.answer(REVOKE, json!({}));
    provider
}

#[tokio::test]
async fn a_source_decides_on_the_subject_and_on_nothing_that_only_an_id_token_says() {
    let provider = provider();
    let mut app = App::new(&provider, forge(Does::Overrides));
    let started = app.start().await;
    // RFC 6749 §3.3: no scope is requested unless it is set.
    assert_eq!(parameter(&started.location, "scope"), None);
    assert_eq!(app.callback(&started).await.status, 303);
    let me = app.me().await;
    assert_eq!(
        (&me["issuer"], &me["subject"]),
        (&json!("https://forge.example"), &json!("7"))
    );
    assert_eq!(me["name"], "Alice");
    assert_eq!(me["source"], "Userinfo");
}

#[tokio::test]
async fn a_source_that_fails_creates_no_session_is_named_in_the_log_and_its_tokens_are_revoked() {
    let long = "x".repeat(256);
    for (does, expected, logged) in [
        (Does::Returns(""), 502, "subject"),
        (
            Does::Returns(Box::leak(long.into_boxed_str())),
            502,
            "subject",
        ),
        (Does::Returns("é"), 502, "subject"),
        (Does::Returns("a\0b"), 502, "subject"),
        (Does::Refuses, 400, "another organization"),
        (Does::Panics, 503, "panicked"),
        (Does::RequestsOften, 500, "more than 8 requests"),
        (Does::RequestsHttp, 500, "http://api.forge.example/user"),
    ] {
        let provider = provider();
        let mut app = App::new(&provider, forge(does));
        let started = app.start().await;
        let logs = Logs::default();
        let recording = logs.record_only("login_failed");
        let answer = app.callback(&started).await;
        drop(recording);
        assert_eq!(answer.status, expected, "{does:?}");
        assert!(logs.text().contains(logged), "{does:?} {}", logs.text());
        assert!(!app.is_signed_in().await, "{does:?}");
        assert!(provider.count(USER) <= 8, "{does:?}");
        let all = provider.requests().into_iter();
        let mut revoked: Vec<_> = all
            .filter(|sent| sent.url == REVOKE)
            .map(|sent| sent.form()["token"].clone())
            .collect();
        revoked.sort();
        assert_eq!(revoked, ["r", "t"], "{does:?}: tokens that are never used");
    }
}

#[tokio::test]
async fn a_source_that_never_returns_is_an_outage_after_5_seconds() {
    let provider = provider();
    let mut app = App::new(&provider, forge(Does::NeverReturns));
    let started = app.start().await;
    let logs = Logs::default();
    let recording = logs.record_only("login_failed");
    let (router, clock) = (app.router.clone(), app.clock.clone());
    let query = format!("/auth/callback?code=c&state={}", started.state);
    let ask = Ask::page(&query).jar(&app.jar);
    let callback = tokio::spawn(async move { crate::support::shop::send(&router, ask).await });
    while provider.count(USER) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(6));
    let answer = callback.await.unwrap();
    drop(recording);
    assert_eq!(answer.status, 503);
    let text = logs.text();
    assert!(text.contains("5 seconds") && text.contains(USER), "{text}");
}

/// Nothing would check it, and the application would rely on it.
#[tokio::test]
async fn a_login_that_only_an_id_token_could_confirm_is_rejected_before_it_starts() {
    for (query, expected) in [
        ("", 303),
        ("?login_hint=alice", 303),
        ("?max_age=60", 400),
        ("?acr_values=gold", 400),
        ("?prompt=none", 401),
    ] {
        let mut app = App::new(&provider(), forge(Does::Returns("7")));
        let answer = app.send(Ask::page(&format!("/auth/login{query}"))).await;
        assert_eq!(answer.status, expected, "{query}");
        let is_named = answer.text().contains("login_unconfirmable");
        assert_eq!(is_named, expected == 400, "{query}");
    }
    for name in ["max_age", "acr_values"] {
        let configured = forge(Does::Returns("7")).with_authorization_parameter(name, "60");
        assert!(configured.is_err(), "{name}");
    }
    assert!(forge(Does::Returns("7")).with_scopes("openid").is_err());
    assert!(forge(Does::Returns("7")).with_scopes("user:read").is_ok());
    let claims = json!({ "id_token": { "acr": { "essential": true, "values": ["gold"] } } });
    let preset = forge(Does::Returns("7"))
        .with_requested_claims(claims)
        .unwrap();
    let mut app = App::new(&provider(), preset);
    assert_eq!(app.send(Ask::page("/auth/login")).await.status, 500);
}

fn app_of(routes: impl FnOnce(&LoginLayer) -> Router) -> App {
    let mut layer = None;
    let mut app = App::with(&provider(), forge(Does::Returns("7")), |login| {
        layer = Some(login.clone());
        login
    });
    let login = layer.unwrap();
    app.router = routes(&login).layer(login);
    app
}

/// The user may choose another provider, so the application made no mistake, and there is no outage.
#[tokio::test]
async fn a_login_of_the_application_that_only_an_id_token_could_confirm_is_rejected_with_the_reason()
 {
    let claims = json!({ "id_token": { "email": { "essential": true } } });
    let claims = || LoginRequest::new().with_requested_claims(claims.clone());
    for (name, request) in [
        ("max_age", LoginRequest::new().with_max_age(MINUTE)),
        (
            "acr",
            LoginRequest::new().with_acr_values(["gold"]).unwrap(),
        ),
        ("claims", claims().unwrap()),
    ] {
        let start = async move |login: LoginLayer| login.start::<Body>(request.clone());
        let mut app = app_of(|_| Router::new().route("/start", get(start)));
        let answer = app.send(Ask::page("/start")).await;
        assert_eq!(answer.status, 303, "{name}");
        let logs = Logs::default();
        let recording = logs.record();
        let next = answer.location().to_owned();
        let answer = app.send(Ask::page(&next)).await;
        drop(recording);
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.text().contains("login_unconfirmable"), "{name}");
        assert!(answer.text().contains("sign in another way"), "{name}");
        assert!(logs.text().contains("only an ID token confirms"), "{name}");
    }
}

/// A login there could not confirm anything, so the browser is sent nowhere.
#[tokio::test]
async fn a_page_that_needs_another_authentication_is_403_for_a_session_without_an_id_token() {
    let recent = || Policy::max_age(MINUTE).unwrap();
    let strong = || Policy::acr(["gold"]).unwrap();
    let mut app = app_of(|login| {
        let page = |policy| {
            let required = login.required().with_policy(policy).unwrap();
            get(async || "paid")
                .post(async || "paid")
                .layer(required.with_step_up())
        };
        let handler = async |login: LoginLayer, session: Session| {
            let request = LoginRequest::new().with_max_age(MINUTE);
            login.step_up::<Body>(&session, request)
        };
        let any = async |login: LoginLayer, session: Session| {
            login.step_up::<Body>(&session, LoginRequest::new())
        };
        Router::new()
            .route("/recent", page(recent()))
            .route("/strong", page(strong()))
            .route("/handler", get(handler).layer(login.required()))
            .route("/any", get(any).layer(login.required()))
    });
    let started = app.start().await;
    assert_eq!(app.callback(&started).await.status, 303);
    let script = |path| Ask::new("GET", path).with(&[("accept", "application/json")]);
    for path in ["/recent", "/strong", "/handler"] {
        for ask in [Ask::page(path), script(path)] {
            let logs = Logs::default();
            let recording = logs.record();
            let answer = app.send(ask).await;
            drop(recording);
            assert_eq!(answer.status, 403, "{path}");
            assert_eq!(answer.header("location"), "", "{path}");
            assert!(answer.text().contains("authentication_too_weak"), "{path}");
            assert!(!answer.text().contains("login_url"), "{path}");
            assert!(
                logs.text().contains("only an ID token confirms"),
                "{path}: {}",
                logs.text()
            );
        }
    }
    // A login that has to confirm nothing is possible.
    assert_eq!(app.send(Ask::page("/any")).await.status, 303);
}

/// RFC 9449 §7.1.
#[tokio::test]
async fn a_bound_token_is_sent_to_the_user_api_with_a_proof_and_not_as_a_bearer_token() {
    let provider = provider();
    let response = json!({ "access_token": "t", "token_type": "DPoP" });
    provider.answer(TOKEN, response);
    let mut app = App::new(&provider, forge(Does::Asks).with_dpop());
    let started = app.start().await;
    assert_eq!(app.callback(&started).await.status, 303);
    assert_eq!(app.send(Ask::page("/userinfo")).await.text(), "7");
    let all = provider.requests();
    let sent: Vec<_> = all.iter().filter(|sent| sent.url == USER).collect();
    assert_eq!(sent.len(), 2, "the login and userinfo");
    for sent in sent {
        assert_eq!(sent.header("authorization"), "DPoP t");
        let payload = sent.header("dpop").split('.').nth(1).unwrap();
        let payload: Value = serde_json::from_slice(&decode(payload)).unwrap();
        assert_eq!(
            (&payload["htm"], &payload["htu"]),
            (&json!("GET"), &json!(USER))
        );
        assert_eq!(payload["ath"], hash("t"));
    }
}

/// Its sign-in page would be shown, since it does not know `prompt=none`.
#[tokio::test]
async fn a_page_that_is_open_to_all_is_shown_without_a_silent_login() {
    let mut app = App::new(&provider(), forge(Does::Returns("7")));
    let answer = app.send(Ask::page("/open")).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.text()),
        (200, "open to all")
    );
}

#[tokio::test]
async fn an_id_token_that_comes_nevertheless_identifies_no_user() {
    let provider = provider();
    let id_token = super::imitation::id_token(
        "n",
        &json!({ "iss": "https://forge.example", "sub": "admin", "aud": "shop" }),
    );
    provider.answer(
        TOKEN,
        json!({ "access_token": "t", "token_type": "bearer", "id_token": id_token }),
    );
    let mut app = App::new(&provider, forge(Does::Returns("7")));
    let started = app.start().await;
    assert_eq!(app.callback(&started).await.status, 303);
    assert_eq!(app.me().await["subject"], "7");
}

/// The response to a refresh identifies no user, and an ID token in it neither.
#[tokio::test]
async fn a_refresh_keeps_the_user_and_how_the_user_was_identified() {
    let provider = provider();
    let tokens = |access_token: &str| json!({ "access_token": access_token, "token_type": "bearer", "refresh_token": "r", "expires_in": 600 });
    provider.answer(TOKEN, tokens("t"));
    let mut app = App::new(&provider, forge(Does::Asks));
    let started = app.start().await;
    assert_eq!(app.callback(&started).await.status, 303);
    let mut refreshed = tokens("new");
    let claims = json!({ "iss": "https://forge.example", "sub": "admin", "aud": "shop" });
    refreshed["id_token"] = super::imitation::id_token("n", &claims).into();
    provider.answer(TOKEN, refreshed);
    app.clock.advance(Duration::from_secs(601));
    for _ in 0..2 {
        let me = app.me().await;
        assert_eq!(me["access_token"], true);
        let user = [&me["issuer"], &me["subject"], &me["source"]];
        assert_eq!(user, ["https://forge.example", "7", "Userinfo"]);
    }
    let all = provider.requests();
    let sent: Vec<_> = all.iter().filter(|sent| sent.url == TOKEN).collect();
    assert_eq!(sent.len(), 2, "the login and one refresh");
    assert_eq!(sent[1].form()["grant_type"], "refresh_token");
    assert_eq!(provider.count(USER), 1, "the login");
    assert_eq!(app.send(Ask::page("/userinfo")).await.text(), "7");
    let asked = provider.requests().pop().unwrap();
    assert_eq!(
        (&*asked.url, asked.header("authorization")),
        (USER, "Bearer new")
    );
}
