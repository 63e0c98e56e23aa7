//! Policies of sessions and principals: `required().with_policy(..)`, `PrincipalLayer`, `meets`.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_oauth::bearer::Policy;
use tower_oauth::extract::{Principal, PrincipalLayer};
use tower_oauth::session::{LoginDecision, NewLogin};
use tower_oauth::testing::{Endpoint, Fault, TestServer, TestSession, TestUser};
use tower_oauth::token::ScopeClaim;
use tower_oauth::{BearerLayer, Claims, ConfigError, LoginLayer, ScopeLayer, Session};

use crate::support::logs::Logs;
use crate::support::shop::*;

#[derive(Deserialize, Serialize)]
struct Staff {
    roles: Vec<String>,
}

fn clerk() -> Policy {
    Policy::role("roles", "clerk").unwrap()
}

fn editor() -> Policy {
    Policy::claim("the user is no editor", |session: &Session| {
        let staff: Option<Staff> = session.app_data().unwrap_or_default();
        staff.is_some_and(|staff| staff.roles.iter().any(|role| role == "editor"))
    })
    .unwrap()
}

/// The policies by path.
fn policies() -> [(&'static str, Policy); 6] {
    let realm = ScopeClaim::nested(["realm_access", "roles"]);
    let paid = |claims: &Claims| claims.get("plan").is_some_and(|plan| plan == "paid");
    [
        ("/clerk", clerk()),
        ("/realm", Policy::role(realm, "clerk").unwrap()),
        ("/paid", Policy::claim("no paid plan", paid).unwrap()),
        ("/editor", editor()),
        ("/strong", clerk().and_acr(["phr"]).unwrap()),
        (
            "/recent",
            Policy::max_age(Duration::from_secs(300)).unwrap(),
        ),
    ]
}

fn pages(login: &LoginLayer) -> Router {
    let pages = policies()
        .into_iter()
        .fold(Router::new(), |pages, (path, policy)| {
            let required = login.required().with_policy(policy).unwrap();
            pages.route(path, get(async || "in").post(async || "in").layer(required))
        });
    pages.layer(login.clone())
}

/// A shop in which the ID tokens have these claims.
fn shop(claims: &'static [(&'static str, &'static str)]) -> Shop {
    let server = server();
    let fault = Fault::id_token(move |mint| {
        claims.iter().fold(mint, |mint, (name, value)| {
            mint.with_claim(
                name,
                serde_json::from_str::<serde_json::Value>(value).unwrap(),
            )
        })
    });
    server.fail(Endpoint::Token, fault);
    let app = pages(&login(&server));
    Shop { server, app }
}

async fn status(shop: &Shop, ask: Ask, jar: &Jar) -> u16 {
    shop.send(ask.jar(jar)).await.status.as_u16()
}

#[tokio::test]
async fn a_session_meets_policies_by_the_claims_of_its_id_token() {
    for (claims, passed) in [
        (&[][..], &[][..]),
        (&[("roles", "[\"clerk\"]")], &["/clerk"]),
        (
            &[("roles", "\"clerk\""), ("acr", "\"phr\"")],
            &["/clerk", "/strong"],
        ),
        (&[("roles", "\"clerk\""), ("acr", "\"pwd\"")], &["/clerk"]),
        (&[("acr", "\"phr\"")], &[]),
        (&[("roles", "\"a clerk\"")], &[]),
        (&[("roles", "{\"clerk\":{\"1\":\"a\"}}")], &[]),
        (&[("roles", "null"), ("plan", "\"free\"")], &[]),
        (&[("realm_access", "{\"roles\":[\"clerk\"]}")], &["/realm"]),
        (&[("plan", "\"paid\"")], &["/paid"]),
        // A scope is not a role, wherever it is.
        (&[("scope", "\"clerk\""), ("scp", "[\"clerk\"]")], &[]),
    ] {
        let shop = shop(claims);
        let jar = shop.signed_in().await;
        for (path, _) in policies() {
            // The server always sends the time of the authentication.
            let is_recent = path == "/recent";
            let expected = match is_recent || passed.contains(&path) {
                true => 200,
                false => 403,
            };
            assert_eq!(
                status(&shop, Ask::page(path), &jar).await,
                expected,
                "{claims:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_recent_authentication_becomes_too_old() {
    let shop = shop(&[]);
    let now = shop.clock();
    let at = now.unix_seconds();
    shop.server.clear_faults(Endpoint::Token);
    shop.server.fail(
        Endpoint::Token,
        Fault::id_token(move |mint| mint.with_claim("auth_time", at)),
    );
    let jar = shop.signed_in().await;
    assert_eq!(status(&shop, Ask::page("/recent"), &jar).await, 200);
    now.advance(Duration::from_secs(331));
    let answer = shop.send(Ask::page("/recent").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer
            .text()
            .contains("a more recent or a stronger sign-in")
    );
}

#[tokio::test]
async fn a_refused_session_gets_a_page_or_a_problem_document_and_never_a_redirect() {
    let shop = shop(&[]);
    let jar = shop.signed_in().await;
    let logs = Logs::default();
    let recording = logs.record_only("session_forbidden");
    let answer = shop.send(Ask::page("/clerk").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.header("content-type").starts_with("text/html"));
    assert!(answer.text().contains("access to this page"));
    // It is about this user, and offers no login that would come back here.
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(
        answer.header("vary").contains("cookie"),
        "{:?}",
        answer.headers
    );
    assert!(!answer.text().contains("/auth/login"));
    assert!(!answer.text().contains("clerk"));
    let text = logs.take();
    for part in [
        "INFO",
        "forbidden",
        "role clerk in roles; the ID token has no such claim",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let same_origin = [("sec-fetch-site", "same-origin")];
    for ask in [
        Ask::new("GET", "/clerk"),
        Ask::new("GET", "/clerk").with(&[("hx-request", "true")]),
        Ask::new("POST", "/clerk").with(&same_origin),
    ] {
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.json()["code"], "forbidden");
        assert_eq!(answer.header("www-authenticate"), "");
        assert_eq!(answer.header("hx-redirect"), "");
    }
    drop(recording);
    // Without a session, the policy is not asked.
    let anonymous = Jar::default();
    assert_eq!(status(&shop, Ask::page("/clerk"), &anonymous).await, 303);
    assert_eq!(
        status(&shop, Ask::new("GET", "/clerk"), &anonymous).await,
        401
    );
}

#[tokio::test]
async fn roles_of_the_userinfo_endpoint_are_kept_in_application_data() {
    async fn keep_roles(login: NewLogin) -> LoginDecision {
        let userinfo = login.userinfo().await.unwrap();
        let roles = userinfo
            .get("groups")
            .and_then(|groups| serde_json::from_value(groups.clone()).ok());
        LoginDecision::allow_with(&Staff {
            roles: roles.unwrap_or_default(),
        })
    }
    let user = TestUser::new("bob", "builder").with_claim("groups", ["editor"]);
    let server = server().add_user(user);
    let app = pages(&login(&server).with_on_login(keep_roles));
    let shop = Shop { server, app };
    for (user, expected) in [("bob", 200), ("alice", 403)] {
        let mut jar = Jar::default();
        shop.sign_in(user, &mut jar).await;
        assert_eq!(
            status(&shop, Ask::page("/editor"), &jar).await,
            expected,
            "{user}"
        );
    }
}

#[tokio::test]
async fn granted_scopes_and_authorization_details_are_never_rights_of_a_session() {
    let server = server();
    let login = login(&server);
    let scoped = || Policy::all("openid").unwrap();
    for policy in [scoped(), scoped().and_role("roles", "clerk").unwrap()] {
        let error = login.required().with_policy(policy.clone()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Setting { .. }) && error.to_string().contains("openid")
        );
        assert!(PrincipalLayer::new(policy).is_err());
    }
    let detail = || Policy::authorization_detail("payment", |_| true).unwrap();
    let error = login.required().with_policy(detail()).unwrap_err();
    assert!(error.to_string().contains("payment"), "{error}");
    assert!(PrincipalLayer::new(detail()).is_err());
    let session = TestSession::new("alice")
        .with_claim("roles", ["clerk"])
        .with_claim("authorization_details", json!([{ "type": "payment" }]))
        .create(&login)
        .await;
    assert!(session.scopes().contains("openid"));
    assert!(session.meets(&clerk()) && !session.meets(&scoped()) && !session.meets(&editor()));
    assert!(!session.meets(&detail()));
    let principal = Principal::<Claims>::Session(session);
    assert!(principal.meets(&clerk()) && !principal.meets(&scoped()));
}

#[tokio::test]
async fn a_condition_on_claims_of_another_type_is_a_500() {
    let server = server();
    let login = login(&server);
    let other = Policy::claim("never", |_: &Staff| true).unwrap();
    let required = login.required().with_policy(other).unwrap();
    let app = Router::new()
        .route("/", get(async || "in").layer(required))
        .layer(login);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    assert_eq!(status(&shop, Ask::page("/"), &jar).await, 500);
}

fn bearer(server: &TestServer) -> BearerLayer {
    BearerLayer::jwt(&server.authorization_server(), SHOP).unwrap()
}

#[tokio::test]
async fn one_layer_checks_tokens_and_sessions() {
    let server = server();
    server.fail(
        Endpoint::Token,
        Fault::id_token(|mint| mint.with_claim("roles", ["clerk"])),
    );
    let login = login(&server);
    let one = PrincipalLayer::new(clerk()).unwrap();
    let two = one.clone().with_token_policy(
        Policy::all("orders")
            .unwrap()
            .and_role("roles", "clerk")
            .unwrap(),
    );
    let manager = PrincipalLayer::new(Policy::role("roles", "manager").unwrap()).unwrap();
    let page = async |_: Principal| "in";
    let routes = Router::new()
        .route("/one", get(page).layer(one.clone()))
        .route("/two", get(page).layer(two))
        .route("/manager", get(page).layer(manager))
        // A scope layer still rejects sessions.
        .route(
            "/scope",
            get(page).layer(ScopeLayer::all("openid").unwrap()),
        );
    let app = routes
        .layer(bearer(&server).optional())
        .layer(login.clone());
    let bare = Router::new().route("/", get(page).layer(one));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let token = |scope: &str, role: &str| {
        let mint = shop
            .server
            .access_token()
            .with_audience(SHOP)
            .with_scope(scope);
        format!("Bearer {}", mint.with_claim("roles", [role]).sign())
    };
    let (good, wrong, scoped) = (
        token("x", "clerk"),
        token("x", "guest"),
        token("orders", "clerk"),
    );
    for (path, session, by_token) in [
        ("/one", 200, [200, 403, 200]),
        ("/two", 200, [403, 403, 200]),
        ("/manager", 403, [403, 403, 403]),
        ("/scope", 401, [403, 403, 403]),
    ] {
        assert_eq!(
            status(&shop, Ask::page(path), &jar).await,
            session,
            "{path}"
        );
        for (token, expected) in [&good, &wrong, &scoped].into_iter().zip(by_token) {
            // The token decides, also beside a session that would pass.
            let ask = Ask::page(path).with(&[("authorization", token)]);
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(answer.status.as_u16(), expected, "{path}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge.contains("insufficient_scope"), expected == 403);
        }
    }
    let anonymous = Jar::default();
    assert_eq!(status(&shop, Ask::page("/one"), &anonymous).await, 303);
    let answer = shop.send(Ask::new("GET", "/one")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let server = shop.server.clone();
    for app in [
        bare.clone(),
        bare.clone().layer(login),
        bare.layer(bearer(&server).optional()),
    ] {
        assert_eq!(send(&app, Ask::page("/")).await.status, 500);
    }
}
