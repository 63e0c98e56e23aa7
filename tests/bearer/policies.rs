//! Scopes, roles and conditions on claims that a route requires (`Policy`, `ScopeLayer`).

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use serde_json::json;
use tower_oauth::bearer::{Policy, Refusal};
use tower_oauth::token::ScopeClaim;
use tower_oauth::{Claims, ConfigError, ScopeLayer};

use crate::support::api::{Answer, Outcome, ask, good, layer, present_at, server};

const PAID: &str = "the account has no paid plan";

fn paid(claims: &Claims) -> bool {
    claims.get("plan").is_some_and(|plan| plan == "paid")
}

#[derive(serde::Deserialize)]
struct Mine {
    level: u8,
}

fn guarded(policy: Policy) -> axum::routing::MethodRouter {
    get(async || "in").layer(ScopeLayer::new(policy))
}

/// Returns error code, scope and description of the challenge.
fn told(answer: &Answer) -> (String, Option<String>, String) {
    let challenge = answer.challenge();
    let parameter = |name: &str| challenge.parameter(name).map(str::to_owned);
    (
        parameter("error").unwrap(),
        parameter("scope"),
        parameter("error_description").unwrap(),
    )
}

#[tokio::test]
async fn an_unmet_condition_on_the_claims_is_403_with_its_description() {
    let server = server();
    let scoped = Policy::all("read").unwrap().and_claim(PAID, paid).unwrap();
    let api = Router::new()
        .route("/scoped", guarded(scoped))
        .route("/alone", guarded(Policy::claim(PAID, paid).unwrap()))
        .layer(layer(&server));
    let token = |scope: &str, plan: &str| {
        let token = good(&server).with_scope(scope);
        token.with_claim("plan", plan).sign()
    };
    for path in ["/scoped", "/alone"] {
        let fine = present_at(&api, path, &token("read", "paid")).await;
        assert_eq!((fine.outcome(), &*fine.body), (Outcome::Accepted, "in"));
        let broke = present_at(&api, path, &token("read", "free")).await;
        assert_eq!(broke.outcome(), Outcome::InsufficientScope);
        // The challenge has no scope, because no scope would help.
        assert_eq!(
            told(&broke),
            ("insufficient_scope".into(), None, PAID.into())
        );
        assert!(
            matches!(broke.refusal, Some(Refusal::Policy { description, .. }) if description == PAID)
        );
        let absent = present_at(&api, path, &good(&server).with_scope("read").sign()).await;
        assert_eq!(absent.outcome(), Outcome::InsufficientScope);
    }
    // Scopes are checked first, because a client can request them.
    let neither = present_at(&api, "/scoped", &token("write", "free")).await;
    assert_eq!(told(&neither).1.as_deref(), Some("read"));
    let request = Request::get("/alone").body(Body::empty()).unwrap();
    assert_eq!(ask(&api, request).await.outcome(), Outcome::NoCredentials);
}

#[tokio::test]
async fn a_condition_receives_the_claims_type_of_the_layer() {
    let server = server();
    let high = || Policy::claim("the level is too low", |mine: &Mine| mine.level > 3).unwrap();
    let text = || Policy::claim("never", |_: &String| true).unwrap();
    let routes = || {
        Router::new()
            .route("/high", guarded(high()))
            .route("/plain", guarded(Policy::claim(PAID, paid).unwrap()))
            .route("/text", guarded(text()))
    };
    let typed = routes().layer(layer(&server).with_claims::<Mine>());
    let token = |level: u8| {
        let token = good(&server).with_claim("level", level);
        token.with_claim("plan", "paid").sign()
    };
    let outcome = async |api: &Router, path: &str, level: u8| {
        present_at(api, path, &token(level)).await.outcome()
    };
    assert_eq!(outcome(&typed, "/high", 4).await, Outcome::Accepted);
    assert_eq!(
        outcome(&typed, "/high", 3).await,
        Outcome::InsufficientScope
    );
    assert_eq!(outcome(&typed, "/plain", 3).await, Outcome::Accepted);
    // A claims type that no layer deserializes is a configuration error: every request is rejected.
    assert_eq!(outcome(&typed, "/text", 4).await, Outcome::Misconfigured);
    let plain = routes().layer(layer(&server));
    assert_eq!(outcome(&plain, "/high", 4).await, Outcome::Misconfigured);
    assert_eq!(outcome(&plain, "/plain", 4).await, Outcome::Accepted);
}

#[tokio::test]
async fn a_role_must_equal_a_value_of_its_claim() {
    let server = server();
    let keycloak = ScopeClaim::nested(["realm_access", "roles"]);
    let tenant = Policy::role_in_organization("roles", "order clerk", "1");
    let api = Router::new()
        .route("/roles", guarded(Policy::role("roles", "clerk").unwrap()))
        .route("/realm", guarded(Policy::role(keycloak, "clerk").unwrap()))
        .route("/tenant", guarded(tenant.unwrap()))
        .layer(layer(&server));
    for (name, path, claim, value, expect) in [
        (
            "an array",
            "/roles",
            "roles",
            json!(["a", "clerk"]),
            Outcome::Accepted,
        ),
        (
            "a string",
            "/roles",
            "roles",
            json!("clerk"),
            Outcome::Accepted,
        ),
        (
            "nested",
            "/realm",
            "realm_access",
            json!({ "roles": ["clerk"] }),
            Outcome::Accepted,
        ),
        (
            "a prefix",
            "/roles",
            "roles",
            json!(["clerks", "cler"]),
            Outcome::InsufficientScope,
        ),
        (
            "another case",
            "/roles",
            "roles",
            json!(["Clerk"]),
            Outcome::InsufficientScope,
        ),
        (
            "part of a string",
            "/roles",
            "roles",
            json!("a clerk"),
            Outcome::InsufficientScope,
        ),
        (
            "the role of one organization",
            "/tenant",
            "roles",
            json!({ "order clerk": { "1": "a.test" } }),
            Outcome::Accepted,
        ),
        (
            "the role of another organization",
            "/tenant",
            "roles",
            json!({ "order clerk": { "2": "b.test" } }),
            Outcome::InsufficientScope,
        ),
        (
            "part of a value",
            "/roles",
            "roles",
            json!(["head clerk"]),
            Outcome::InsufficientScope,
        ),
        (
            "another place",
            "/realm",
            "roles",
            json!(["clerk"]),
            Outcome::InsufficientScope,
        ),
        (
            "a scope is no role",
            "/roles",
            "scope",
            json!("clerk"),
            Outcome::InsufficientScope,
        ),
        (
            "an object",
            "/roles",
            "roles",
            json!({ "clerk": true }),
            Outcome::InsufficientScope,
        ),
    ] {
        let token = good(&server).with_claim(claim, value).sign();
        let answer = present_at(&api, path, &token).await;
        assert_eq!(answer.outcome(), expect, "{name}");
        if answer.status == StatusCode::FORBIDDEN {
            let (_, scope, description) = told(&answer);
            assert_eq!(scope, None, "{name}");
            assert!(!description.contains("clerk"), "{name}: {description}");
            // The log names the role and the claim.
            let reason = answer.refusal.unwrap().to_string();
            let place = [
                ("/roles", "role clerk in roles"),
                ("/realm", "role clerk in realm_access.roles"),
            ];
            for (_, expect) in place.iter().filter(|(one, _)| *one == path) {
                assert!(reason.contains(expect), "{name}: {reason}");
            }
            let is_absent = reason.contains("the token has no such claim");
            assert_eq!(
                is_absent,
                name == "another place" || claim == "scope",
                "{name}: {reason}"
            );
        }
    }
}

#[tokio::test]
async fn an_inner_policy_only_narrows() {
    let server = server();
    let inner = Router::new()
        .route("/", guarded(Policy::any("write admin").unwrap()))
        .route("/paid", guarded(Policy::claim(PAID, paid).unwrap()));
    let api = inner
        .layer(ScopeLayer::all("read").unwrap())
        .layer(layer(&server));
    let token = |scope: &str| {
        let token = good(&server).with_scope(scope);
        token.with_claim("plan", "paid").sign()
    };
    for (scope, path, expect) in [
        ("read write", "/", Outcome::Accepted),
        ("admin read", "/", Outcome::Accepted),
        // A token must satisfy both layers.
        ("admin", "/", Outcome::InsufficientScope),
        ("read", "/", Outcome::InsufficientScope),
        ("", "/", Outcome::InsufficientScope),
        ("read", "/paid", Outcome::Accepted),
        ("write", "/paid", Outcome::InsufficientScope),
    ] {
        // Twice: a cached token has no cached result of a route.
        for _ in 0..2 {
            let outcome = present_at(&api, path, &token(scope)).await.outcome();
            assert_eq!(outcome, expect, "{scope:?} at {path}");
        }
    }
}

#[tokio::test]
async fn each_route_checks_a_token_independently() {
    let server = server();
    let api = Router::new()
        .route("/read", guarded(Policy::all("read").unwrap()))
        .route("/write", guarded(Policy::all("read write").unwrap()))
        .layer(layer(&server));
    let token = good(&server).with_scope("read").sign();
    for _ in 0..3 {
        // A cached token that satisfies one route does not satisfy the other.
        let read = present_at(&api, "/read", &token).await;
        assert_eq!(read.outcome(), Outcome::Accepted);
        let write = present_at(&api, "/write", &token).await;
        assert_eq!(write.outcome(), Outcome::InsufficientScope);
        assert_eq!(told(&write).1.as_deref(), Some("read write"));
    }
}

#[tokio::test]
async fn a_grpc_caller_receives_the_description_of_a_condition() {
    let server = server();
    let policy = Policy::claim(PAID, paid).unwrap();
    let method = post(async || "in").layer(ScopeLayer::new(policy));
    let api = Router::new()
        .route("/shop.Orders/List", method)
        .layer(layer(&server));
    let request = Request::post("/shop.Orders/List")
        .header(CONTENT_TYPE, "application/grpc")
        .header(AUTHORIZATION, format!("Bearer {}", good(&server).sign()));
    let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.headers["grpc-status"], "7");
    assert_eq!(answer.headers["grpc-message"], PAID);
}

#[tokio::test]
async fn a_policy_without_an_outer_layer_rejects_every_request() {
    let server = server();
    let api = Router::new().route("/", guarded(Policy::claim(PAID, paid).unwrap()));
    let token = good(&server).with_claim("plan", "paid").sign();
    assert_eq!(
        present_at(&api, "/", &token).await.outcome(),
        Outcome::Misconfigured
    );
    let optional = Router::new()
        .route(
            "/",
            guarded(Policy::claim("never", |_: &Claims| true).unwrap()),
        )
        .layer(layer(&server).optional());
    let request = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(
        ask(&optional, request).await.outcome(),
        Outcome::NoCredentials
    );
}

#[test]
fn a_policy_prints_its_requirements_and_cannot_be_empty() {
    let policy = Policy::any_of_all(["a b", "c"])
        .unwrap()
        .and_role(ScopeClaim::nested(["realm_access", "roles"]), "clerk")
        .unwrap()
        .and_claim(PAID, paid)
        .unwrap();
    let text =
        "scope a b or c; role clerk in realm_access.roles; unless: the account has no paid plan";
    assert_eq!(policy.to_string(), text);
    assert_eq!(format!("{policy:?}"), format!("Policy({text})"));
    let empty: [&str; 0] = [];
    for refused in [
        Policy::all(""),
        Policy::all("  "),
        Policy::any(""),
        Policy::any_of_all(empty),
        Policy::any_of_all(["a", ""]),
        Policy::all("a\"b"),
        Policy::role("roles", ""),
        Policy::role_in_organization("roles", "clerk", ""),
        Policy::role("", "clerk"),
        Policy::claim("", paid),
        Policy::claim("a \"quote\"", paid),
        Policy::claim("a\\backslash", paid),
        Policy::claim("100%", paid),
        Policy::claim("two\nlines", paid),
        Policy::claim("caf\u{e9}", paid),
    ] {
        assert!(
            matches!(
                refused,
                Err(ConfigError::Scope { .. } | ConfigError::Setting { .. })
            ),
            "{refused:?}"
        );
    }
}
