//! Scopes by HTTP method and route (`RouteScopesLayer`).

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use tower_oauth::bearer::{Policy, RouteScopesLayer};
use tower_oauth::{ConfigError, ScopeLayer};

use crate::support::api::{Answer, ask, good, layer, server};
use crate::support::logs::Logs;

fn table() -> RouteScopesLayer {
    let all = |scopes| Policy::all(scopes).unwrap();
    RouteScopesLayer::new()
        .add("GET /orders", all("read"))
        .unwrap()
        .add("POST /orders", ScopeLayer::all("write").unwrap())
        .unwrap()
        .add(
            "GET /api/orders/{id}",
            all("read").and_role("roles", "clerk").unwrap(),
        )
        .unwrap()
        .add("* /any", all("any"))
        .unwrap()
        .add("PURGE /any", all("purge"))
        .unwrap()
        .add("OPTIONS /options", all("options"))
        .unwrap()
        .add_unscoped("GET /health")
        .unwrap()
}

fn routes() -> Router {
    let in_ = async || "in";
    Router::new()
        .route("/orders", get(in_).post(in_).delete(in_))
        .route("/any", any(in_))
        .route("/options", any(in_))
        .route("/health", get(in_))
        .route("/forgotten", get(in_))
}

/// The routes of an order, for `nest`.
fn orders() -> Router {
    let in_ = async || "in";
    Router::new()
        .route("/orders/{id}", get(in_).put(in_))
        .route("/forgotten", get(in_))
}

fn request(method: &str, path: &str, token: Option<&str>) -> http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

async fn send(api: &Router, method: &str, path: &str, token: Option<&str>) -> Answer {
    let request = request(method, path, token).body(Body::empty()).unwrap();
    ask(api, request).await
}

#[tokio::test]
async fn what_is_routed_and_not_listed_is_rejected() {
    let server = server();
    let clerk = good(&server)
        .with_scope("read")
        .with_claim("roles", ["clerk"]);
    let clerk = clerk.sign();
    let token = |scope: &str| good(&server).with_scope(scope).sign();
    let [read, write, any, purge, options] =
        ["read", "write", "any", "purge", "options"].map(token);
    // The layer may be inside of the nested router or around it, and a service may hold another router.
    let apis = [
        routes().nest("/api", orders()).layer(table()),
        routes()
            .layer(table())
            .nest("/api", orders().layer(table())),
        routes().nest("/api", orders()).route_layer(table()),
        routes()
            .layer(table())
            .nest_service("/api", orders().layer(table())),
        Router::new()
            .merge(routes().nest("/api", orders()))
            .layer(table()),
    ];
    for (number, api) in apis.into_iter().enumerate() {
        let api = api.layer(layer(&server));
        for (method, path, token, expected) in [
            ("GET", "/orders", &read, 200),
            ("GET", "/orders?a=b", &read, 200),
            ("HEAD", "/orders", &read, 200),
            ("HEAD", "/orders", &write, 403),
            ("GET", "/orders", &write, 403),
            ("POST", "/orders", &write, 200),
            ("POST", "/orders", &read, 403),
            ("DELETE", "/orders", &write, 403),
            // Not routed either.
            ("PATCH", "/orders", &write, 403),
            ("GET", "/api/orders/1", &clerk, 200),
            ("HEAD", "/api/orders/1", &clerk, 200),
            ("GET", "/api/orders/%31", &clerk, 200),
            ("GET", "/api/orders/1", &read, 403),
            ("PUT", "/api/orders/1", &clerk, 403),
            ("GET", "/api/forgotten", &clerk, 403),
            ("GET", "/any", &any, 200),
            ("CONNECT", "/any", &any, 200),
            ("OPTIONS", "/any", &read, 403),
            ("PURGE", "/any", &purge, 200),
            ("PURGE", "/any", &any, 403),
            ("OPTIONS", "/options", &options, 200),
            ("OPTIONS", "/options", &read, 403),
            ("GET", "/options", &options, 403),
            ("GET", "/health", &any, 200),
            ("GET", "/forgotten", &read, 403),
            ("HEAD", "/forgotten", &read, 403),
            ("GET", "/Orders", &read, 404),
            ("GET", "/orders/", &read, 404),
            ("GET", "//orders", &read, 404),
            ("GET", "/unknown", &read, 404),
            ("POST", "/unknown", &read, 404),
        ] {
            let answer = send(&api, method, path, Some(token)).await;
            assert_eq!(answer.status, expected, "{number}: {method} {path}");
            // Without a token nothing is revealed, not even which routes there are.
            let answer = send(&api, method, path, None).await;
            let is_open = number == 2 && expected == 404;
            assert!(answer.status == 401 || is_open, "{number}: {method} {path}");
        }
    }
}

#[tokio::test]
async fn anonymous_requests_pass_an_optional_layer_to_unscoped_routes_only() {
    let server = server();
    let api = routes().layer(table()).layer(layer(&server).optional());
    let (logs, mut refusals) = (Logs::default(), Vec::new());
    let recording = logs.record_only("route_not_listed");
    for (method, path, expected) in [
        ("GET", "/health", 200),
        ("GET", "/orders", 401),
        ("GET", "/forgotten", 401),
        ("GET", "/unknown", 404),
    ] {
        let answer = send(&api, method, path, None).await;
        assert_eq!(answer.status, expected, "{path}");
    }
    assert_eq!(logs.take(), "");
    let token = good(&server).with_scope("read").sign();
    for (method, path) in [("GET", "/forgotten"), ("DELETE", "/orders")] {
        let answer = send(&api, method, path, Some(&token)).await;
        // No scope would help, so there is no challenge.
        assert!(answer.challenges().is_empty());
        refusals.push(answer.refusal.unwrap().to_string());
    }
    drop(recording);
    assert_eq!(
        refusals,
        ["GET /forgotten", "DELETE /orders"].map(|route| format!(
            "the route {route:?} is not listed; add it to the RouteScopesLayer"
        ))
    );
    let text = logs.text();
    assert!(
        text.contains("WARN") && text.contains("DELETE /orders"),
        "{text}"
    );
}

#[tokio::test]
async fn a_preflight_passes_unless_its_route_lists_the_method() {
    let server = server();
    let api = routes().layer(table()).layer(layer(&server).optional());
    let preflight = async |path: &str, asked: bool| {
        let mut request = request("OPTIONS", path, None).header("origin", "https://a.example");
        if asked {
            request = request.header("access-control-request-method", "POST");
        }
        let answer = ask(&api, request.body(Body::empty()).unwrap()).await;
        answer.status.as_u16()
    };
    // 405: it reached the router of the methods, where a CORS layer could be.
    assert_eq!(preflight("/orders", true).await, 405);
    assert_eq!(preflight("/orders", false).await, 401);
    for path in ["/any", "/options", "/forgotten"] {
        assert_eq!(preflight(path, true).await, 401, "{path}");
    }
    assert_eq!(preflight("/unknown", true).await, 404);
}

#[tokio::test]
async fn a_table_in_the_wrong_place_lets_nothing_through() {
    let server = server();
    let token = good(&server).with_scope("read").sign();
    let ask_all = async |api: Router| {
        let mut statuses = Vec::new();
        for path in ["/orders", "/health", "/forgotten", "/unknown"] {
            statuses.push(send(&api, "GET", path, Some(&token)).await.status.as_u16());
        }
        statuses
    };
    // Around the router, no request has a route.
    let logs = Logs::default();
    let recording = logs.record_only("route_scopes_without_route");
    let outside = tower::Layer::layer(&table(), routes());
    let outside = Router::new().fallback_service(outside);
    assert_eq!(ask_all(outside.layer(layer(&server))).await, [404; 4]);
    drop(recording);
    let text = logs.text();
    assert!(
        text.contains("WARN") && text.contains("Router::layer"),
        "{text}"
    );
    // Without a bearer layer around it; unknown routes stay unknown.
    assert_eq!(ask_all(routes().layer(table())).await, [500, 500, 500, 404]);
    // The fallback that the router had is not called, and a later one is not protected.
    let page = async || (StatusCode::NOT_FOUND, "no such page");
    let before = routes().fallback(page).layer(table()).layer(layer(&server));
    let after = routes().layer(table()).layer(layer(&server)).fallback(page);
    for (api, body) in [(before, ""), (after, "no such page")] {
        let answer = send(&api, "GET", "/unknown", Some(&token)).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (404, body));
    }
}

#[test]
fn rows_that_could_never_apply_are_errors() {
    for route in [
        "",
        "/orders",
        "GET",
        "GET ",
        "GET orders",
        "GET  /orders",
        "GET /orders ",
        "get /orders",
        "HEAD /orders",
        "G\u{e9}T /orders",
        "GET /orders/:id",
        "GET /files/*path",
        "GET https://api.example.com/orders",
        // Already in the table.
        "GET /orders",
        "* /any",
    ] {
        let unscoped = table().add_unscoped(route);
        assert!(
            matches!(unscoped, Err(ConfigError::Setting { .. })),
            "{route:?}"
        );
        assert!(table().add(route, Policy::all("a").unwrap()).is_err());
    }
}
