//! Step-up: `required().with_step_up()` and `LoginLayer::step_up` (RFC 9470 §4, OpenID Connect Core §3.1.2.1).

use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;
use tower_oauth::bearer::Policy;
use tower_oauth::login::{LoginRequest, SameSite};
use tower_oauth::testing::{Endpoint, Fault, TestUser, TokenMint};
use tower_oauth::{LoginLayer, Session};

use crate::support::modes::{Mode, session_modes};
use crate::support::shop::*;

session_modes! {
    all: [
        the_same_user_steps_up_and_the_new_session_replaces_the_old_one,
        an_answer_that_does_not_meet_the_policy_leaves_page_and_session_as_they_were,
    ],
}

const FIVE_MINUTES: Duration = Duration::from_secs(300);

fn strong() -> Policy {
    let strong = Policy::acr(["phrh", "phr"]).unwrap();
    strong.and_max_age(FIVE_MINUTES).unwrap()
}

async fn handler(login: LoginLayer, session: Session) -> Response {
    let request = LoginRequest::new().with_acr_values(["phr"]).unwrap();
    login.step_up(&session, request)
}

/// Users usually sign in with a password, and can use a second factor.
fn shop(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Shop {
    let classes = ["pwd", "phr"];
    let server = server()
        .add_user(TestUser::new("alice", "wonderland").with_acr_values(classes))
        .add_user(TestUser::new("bob", "builder").with_acr_values(classes));
    let login = configure(login(&server));
    let required = || {
        login
            .required()
            .with_policy(strong())
            .unwrap()
            .with_step_up()
    };
    let clerk = Policy::role("roles", "clerk").unwrap();
    let clerks = required().with_policy(clerk).unwrap();
    let never = login
        .required()
        .with_policy(Policy::acr(["phr"]).unwrap())
        .unwrap()
        .with_policy(Policy::acr(["pwd"]).unwrap())
        .unwrap()
        .with_step_up();
    let page = || get(async || "paid").post(async || "paid");
    let app = Router::new()
        .route("/", get(greet))
        .route("/pay", page().layer(required()))
        .route("/desk", page().layer(clerks))
        .route("/never", page().layer(never))
        .route("/handler", get(handler).post(handler))
        .layer(login);
    Shop { server, app }
}

async fn greet(session: Option<Session>) -> String {
    session.map_or_else(String::new, |session| session.subject().to_owned())
}

fn fault(alter: fn(TokenMint) -> TokenMint) -> Fault {
    Fault::id_token(alter)
}

/// Begins a step-up, and returns the URL of the authorization request.
async fn begin(shop: &Shop, jar: &mut Jar) -> String {
    let answer = shop.send(Ask::page("/pay?x=1").jar(jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert!(answer.location().starts_with("/auth/login?login_request="));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("vary").contains("cookie"));
    let answer = shop.start(answer.location(), jar).await;
    answer.location().to_owned()
}

async fn the_same_user_steps_up_and_the_new_session_replaces_the_old_one(mode: Mode) {
    for same_site in [SameSite::Lax, SameSite::Strict] {
        let shop = shop(|login| mode.place(login).with_same_site(same_site));
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let old = jar.clone();
        let location = begin(&shop, &mut jar).await;
        assert_eq!(parameter(&location, "acr_values").unwrap(), "phrh phr");
        assert_eq!(parameter(&location, "max_age").unwrap(), "300");
        // Until then, the session is as it was.
        assert_eq!(shop.greeting(&jar).await, "alice");
        let callback = shop.approve(&location, "alice").await;
        // A browser does not send a Strict cookie with the callback.
        let sent = jar.only(|name| same_site == SameSite::Lax || name != SESSION);
        let answer = shop.send(Ask::page(&callback).jar(&sent)).await;
        jar.take(&answer);
        match same_site {
            SameSite::Strict => assert!(answer.text().contains("/pay?x=1"), "{answer:?}"),
            _ => assert_eq!(answer.location(), "/pay?x=1"),
        }
        let page = shop.send(Ask::page("/pay?x=1").jar(&jar)).await;
        assert_eq!(page.text(), "paid");
        let answer = shop.send(Ask::page("/").jar(&old)).await;
        assert_eq!(answer.text(), "", "a copy of the old cookie is ended");
    }
}

/// A weaker answer, and that of another user.
async fn an_answer_that_does_not_meet_the_policy_leaves_page_and_session_as_they_were(mode: Mode) {
    type Alter = fn(TokenMint) -> TokenMint;
    let cases: [(&str, &str, Alter, u16, &str); 6] = [
        (
            "a weaker acr",
            "alice",
            |mint| mint.with_claim("acr", "pwd"),
            502,
            "id_token_authentication_context",
        ),
        (
            "no acr",
            "alice",
            |mint| mint.without_claim("acr"),
            502,
            "id_token_authentication_context",
        ),
        (
            "an acr of another type",
            "alice",
            |mint| mint.with_claim("acr", vec!["phr"]),
            502,
            "id_token_authentication_context",
        ),
        (
            "an old auth_time",
            "alice",
            |mint| mint.with_claim("auth_time", 1_799_990_000),
            502,
            "id_token_authenticated_long_ago",
        ),
        (
            "no auth_time",
            "alice",
            |mint| mint.without_claim("auth_time"),
            502,
            "id_token_auth_time",
        ),
        (
            "another user",
            "bob",
            |mint| mint,
            403,
            "step_up_other_user",
        ),
    ];
    for (name, user, alter, status, code) in cases {
        let shop = shop(|login| mode.place(login));
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let session = jar.value(SESSION).to_owned();
        let location = begin(&shop, &mut jar).await;
        let callback = shop.approve(&location, user).await;
        shop.server.fail(Endpoint::Token, fault(alter));
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        jar.take(&answer);
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
        assert!(answer.text().contains(code), "{name}: {}", answer.text());
        assert_eq!(answer.sets(), [""; 0], "{name}");
        assert_eq!(jar.value(SESSION), session, "{name}");
        assert_eq!(shop.greeting(&jar).await, "alice", "{name}");
        let page = shop.send(Ask::page("/pay").jar(&jar)).await;
        assert_eq!(
            page.status,
            StatusCode::SEE_OTHER,
            "{name}: the page stays closed"
        );
        // The callback is used up.
        let again = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(again.sets(), [""; 0], "{name}");
    }
}

/// RFC 6749 §4.1.2.1: the user cancels at the authorization server.
#[tokio::test]
async fn a_canceled_step_up_leaves_page_and_session_as_they_were() {
    for mode in [Mode::Cookie, Mode::Store] {
        let shop = shop(|login| mode.place(login));
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let session = jar.value(SESSION).to_owned();
        let location = begin(&shop, &mut jar).await;
        let state = parameter(&location, "state").unwrap();
        let requests = shop.server.requests().len();
        let canceled = format!("/auth/callback?error=access_denied&state={state}&iss={ISSUER}");
        let answer = shop.send(Ask::page(&canceled).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        assert!(answer.text().contains("access_denied"), "{answer:?}");
        assert_eq!(answer.clears(), jar.transactions(), "only the login ends");
        assert_eq!(answer.sets(), [""; 0]);
        assert_eq!(shop.server.requests().len(), requests);
        jar.take(&answer);
        assert_eq!(jar.value(SESSION), session);
        assert_eq!(shop.greeting(&jar).await, "alice");
        // The page starts another step-up.
        begin(&shop, &mut jar).await;
    }
}

#[tokio::test]
async fn tokens_of_another_user_are_revoked() {
    let shop = shop(|login| login);
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let location = begin(&shop, &mut jar).await;
    let callback = shop.approve(&location, "bob").await;
    shop.send(Ask::page(&callback).jar(&jar)).await;
    assert!(shop.server.count(Endpoint::Revocation) > 0);
}

/// The ID token is recent enough at the callback, and no longer for the page.
#[tokio::test]
async fn there_is_at_most_one_round() {
    let shop = shop(|login| login);
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let location = begin(&shop, &mut jar).await;
    let callback = shop.approve(&location, "alice").await;
    let at = shop.clock().unix_seconds() - 325;
    let old = Fault::id_token(move |mint| mint.with_claim("auth_time", at));
    shop.server.fail(Endpoint::Token, old);
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.location(), "/pay?x=1");
    jar.take(&answer);
    shop.clock().advance(Duration::from_secs(10));
    let answer = shop.send(Ask::page("/pay?x=1").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text().contains("authentication_too_weak"));
    assert_eq!(answer.header("location"), "");
    // The mark is for this page, and expires.
    let answer = shop.send(Ask::page("/pay?x=2").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let jar = jar.only(|name| !name.ends_with("stepped-up"));
    let answer = shop.send(Ask::page("/pay?x=1").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn only_a_navigation_is_redirected_and_a_missing_role_comes_first() {
    let shop = shop(|login| login);
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let own = [("sec-fetch-site", "same-origin")];
    let htmx = [
        ("hx-request", "true"),
        ("hx-current-url", "https://shop.example.com/cart"),
    ];
    let prefetch = [("sec-purpose", "prefetch")];
    for path in ["/pay", "/handler"] {
        let page = shop.send(Ask::page(path).jar(&jar)).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert_eq!(page.parameter("return_to").as_deref(), Some(path));
        for (name, ask, target) in [
            ("script", Ask::new("GET", path), None),
            ("script", Ask::new("POST", path).with(&own), None),
            ("prefetch", Ask::page(path).with(&prefetch), None),
            ("htmx", Ask::new("GET", path).with(&htmx), Some("/cart")),
        ] {
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name} {path}");
            assert!(
                answer.header("www-authenticate").starts_with("Cookie "),
                "{name}"
            );
            let problem = answer.json();
            assert_eq!(problem["code"], "authentication_too_weak", "{name}");
            let login_url = problem["login_url"].as_str().unwrap();
            assert!(parameter(login_url, "login_request").is_some(), "{name}");
            assert_eq!(
                parameter(login_url, "return_to").as_deref(),
                target,
                "{name}"
            );
            let expected = target.map_or("", |_| login_url);
            assert_eq!(answer.header("hx-redirect"), expected, "{name}");
        }
        let form = Ask::new("POST", path)
            .with(&PAGE)
            .set("sec-fetch-site", "same-origin");
        let answer = shop.send(form.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(
            answer.text().contains("/auth/login?login_request="),
            "{}",
            answer.text()
        );
    }
    for (path, code) in [
        ("/desk", "forbidden"),
        ("/never", "authentication_too_weak"),
    ] {
        let answer = shop.send(Ask::page(path).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text().contains(code), "{path}");
    }
    // Without a session, the first login is an ordinary one.
    let answer = shop.send(Ask::page("/pay")).await;
    assert_eq!(answer.location(), "/auth/login?return_to=%2Fpay");
}

/// The rules of a browser decide when the session has ended or the URL is opened in another one.
#[tokio::test]
async fn without_its_session_a_step_up_is_an_ordinary_login() {
    let shop = shop(|login| login);
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let answer = shop.send(Ask::page("/pay").jar(&jar)).await;
    let login_url = answer.location().to_owned();
    let mut started_before = jar.clone();
    let location = shop.start(&login_url, &mut started_before).await;
    let location = location.location().to_owned();
    for (name, mut jar, location) in [
        ("another browser", Jar::default(), None),
        (
            "the session ends during the login",
            started_before.only(|name| name != SESSION),
            Some(location),
        ),
    ] {
        let location = match location {
            Some(location) => location,
            None => shop.start(&login_url, &mut jar).await.location().to_owned(),
        };
        let callback = shop.approve(&location, "bob").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.location(), "/pay", "{name}: {answer:?}");
        jar.take(&answer);
        assert_eq!(shop.greeting(&jar).await, "bob", "{name}");
    }
}

#[tokio::test]
async fn the_maximum_age_of_every_login_counts_too() {
    for (configured, expected) in [("60", "60"), ("3600", "300")] {
        let shop = shop(|login| {
            login
                .with_authorization_parameter("max_age", configured)
                .unwrap()
        });
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let location = begin(&shop, &mut jar).await;
        assert_eq!(parameter(&location, "max_age").unwrap(), expected);
        assert_eq!(parameter(&location, "acr_values").unwrap(), "phrh phr");
    }
}

#[tokio::test]
async fn a_step_up_never_lowers_the_acr_that_every_login_requires() {
    for (configured, expected) in [("pwd phr", Some("phr")), ("pwd", None)] {
        let shop = shop(|login| {
            login
                .with_authorization_parameter("acr_values", configured)
                .unwrap()
        });
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let pages = [
            Ask::page("/pay?x=1"),
            Ask::new("GET", "/pay?x=1"),
            Ask::page("/handler"),
        ];
        for page in pages {
            let answer = shop.send(page.jar(&jar)).await;
            let Some(expected) = expected else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN);
                assert!(answer.text().contains("authentication_too_weak"));
                assert_eq!(answer.header("location"), "");
                continue;
            };
            let login_url = match answer.status {
                StatusCode::SEE_OTHER => answer.location().to_owned(),
                _ => answer.json()["login_url"].as_str().unwrap().to_owned(),
            };
            let answer = shop.start(&login_url, &mut jar.clone()).await;
            assert_eq!(answer.parameter("acr_values").as_deref(), Some(expected));
        }
    }
}

/// An attacker with an account takes the URL of a step-up and sends it to another user.
#[tokio::test]
async fn another_user_who_opens_the_url_of_a_step_up_starts_an_ordinary_login() {
    let pay = |login: LoginLayer, session: Session| async move {
        let details = json!([{ "type": "payment", "creditor": "bob" }]);
        let request = LoginRequest::new().with_authorization_details(details);
        let request = request.unwrap().with_login_hint("bob").unwrap();
        let request = request.with_prompt("consent").unwrap();
        let claims = json!({ "id_token": { "email": null } });
        let request = request.with_requested_claims(claims).unwrap();
        let request = request.with_acr_values(["phr", "pwd"]).unwrap();
        login.step_up::<axum::body::Body>(&session, request)
    };
    let start = |login: LoginLayer| async move {
        let details = json!([{ "type": "payment", "creditor": "bob" }]);
        let request = LoginRequest::new().with_authorization_details(details);
        login.start::<axum::body::Body>(request.unwrap())
    };
    let shop = shop(|login| {
        login
            .with_authorization_parameter("acr_values", "phr")
            .unwrap()
    });
    let shop = Shop {
        app: Router::new()
            .route("/", get(greet))
            .route("/transfer", get(pay))
            .route("/start", get(start))
            .layer(
                login(&shop.server)
                    .with_authorization_parameter("acr_values", "phr")
                    .unwrap(),
            ),
        server: shop.server,
    };
    let mut attacker = Jar::default();
    shop.sign_in("bob", &mut attacker).await;
    let mut victim = Jar::default();
    shop.sign_in("alice", &mut victim).await;
    for page in ["/transfer", "/start"] {
        let link = shop.send(Ask::page(page).jar(&attacker)).await;
        let mut own = attacker.clone();
        let answer = shop.start(link.location(), &mut own).await;
        assert!(
            answer.parameter("authorization_details").is_some(),
            "{page}"
        );
        for jar in [Jar::default(), victim.clone()] {
            let ask = Ask::page(link.location()).set("sec-fetch-site", "cross-site");
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{page}");
            for name in ["authorization_details", "claims", "prompt", "login_hint"] {
                assert_eq!(answer.parameter(name), None, "{page} {name}");
            }
            assert_eq!(answer.parameter("acr_values").as_deref(), Some("phr"));
        }
    }
}

/// A handler that accepts no session, and returns users to a page that leads to it.
#[tokio::test]
async fn a_step_up_that_returns_to_another_page_has_an_end() {
    let never = |login: LoginLayer, session: Session| async move {
        let request = LoginRequest::new().with_acr_values(["phr"]).unwrap();
        login.step_up::<axum::body::Body>(&session, request.with_return_to("/landing"))
    };
    let shop = shop(|login| login);
    let shop = Shop {
        app: Router::new()
            .route("/", get(greet))
            .route("/transfer", get(never))
            .layer(login(&shop.server)),
        server: shop.server,
    };
    let mut jar = Jar::default();
    shop.sign_in("alice", &mut jar).await;
    let answer = shop.start("/transfer", &mut jar).await;
    let answer = shop.start(answer.location(), &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let answer = shop.start(&callback, &mut jar).await;
    assert_eq!(answer.location(), "/landing");
    let answer = shop.send(Ask::page("/transfer").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text().contains("authentication_too_weak"));
}

/// Between the start and the callback, Bob signs in in the same browser.
#[tokio::test]
async fn a_step_up_replaces_another_session_only_with_one_of_the_same_user() {
    for (user, status, code) in [("alice", 403, "step_up_other_user"), ("bob", 303, "")] {
        let shop = shop(|login| login);
        let mut jar = Jar::default();
        shop.sign_in("alice", &mut jar).await;
        let location = begin(&shop, &mut jar).await;
        let callback = shop.approve(&location, user).await;
        shop.sign_in("bob", &mut jar).await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert!(answer.text().contains(code), "{}", answer.text());
        jar.take(&answer);
        assert_eq!(shop.greeting(&jar).await, "bob", "{user}");
    }
}

/// The whole way in a browser, with a sign-in page for the second factor only.
#[tokio::test]
async fn a_browser_steps_up_once_and_returns_to_its_page() {
    let shop = shop(|login| login);
    let browser = shop.browser();
    let page = browser.navigate(&format!("{SHOP}/pay")).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert!(page.url().starts_with(ISSUER), "{}", page.url());
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(
        (page.url(), &*page.text()),
        (&*format!("{SHOP}/pay"), "paid")
    );
    let logins = shop.server.count(Endpoint::Authorization);
    let page = page.follow(&format!("{SHOP}/pay")).await.unwrap();
    assert_eq!(page.text(), "paid");
    assert_eq!(shop.server.count(Endpoint::Authorization), logins);
}
