//! The HTTP status of a rejection is never a success because of the content type that the caller chose.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode, Version};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oauth::bearer::{MethodScopesLayer, Policy, RefusalBodyLayer};
use tower_oauth::{BearerLayer, ScopeLayer, VerifiedToken};

use crate::support::api::{ask, good, layer, server, soon};

const KINDS: [&str; 6] = [
    "application/grpc",
    "application/grpc+proto",
    "Application/gRPC; charset=x",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
];

fn call(kind: &str, path: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::post(path)
        .version(Version::HTTP_2)
        .header("te", "trailers")
        .header(CONTENT_TYPE, kind);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::empty()).unwrap()
}

fn app(bearer: BearerLayer) -> Router {
    let handler = async || "in";
    let extracts = async |_: VerifiedToken| "in";
    Router::new()
        .route(
            "/scope",
            post(handler).layer(ScopeLayer::all("write").unwrap()),
        )
        .route(
            "/policy",
            post(handler).layer(ScopeLayer::new(
                Policy::claim("no", |_: &serde_json::Value| false).unwrap(),
            )),
        )
        .route(
            "/step-up",
            post(handler).layer(ScopeLayer::new(Policy::acr(["gold"]).unwrap())),
        )
        .route(
            "/shop.Orders/List",
            any(handler).layer(MethodScopesLayer::new()),
        )
        .route("/extract", post(extracts))
        .layer(bearer)
}

/// A proxy with forward authentication treats a 200 as permission.
#[tokio::test]
async fn a_rejected_call_has_the_status_of_the_rejection_whatever_its_content_type() {
    let server = server();
    let token = good(&server).with_scope("read").sign();
    let expired = good(&server).with_expires_in(-99).sign();
    let plain = app(layer(&server));
    let optional = app(layer(&server).optional());
    let bodies = plain.clone().layer(RefusalBodyLayer::problem_json());
    let bare = Router::new().route("/bare", post(async |_: VerifiedToken| "in"));
    let mut wrong = Vec::new();
    for kind in KINDS {
        for (name, app, path, token, status, code) in [
            ("nothing", &plain, "/scope", None, 401, "16"),
            ("expired", &plain, "/scope", Some(&*expired), 401, "16"),
            ("unreadable", &plain, "/scope", Some("a b"), 400, "16"),
            ("scope", &plain, "/scope", Some(&*token), 403, "7"),
            ("step-up", &plain, "/step-up", Some(&*token), 401, "16"),
            (
                "method",
                &plain,
                "/shop.Orders/List",
                Some(&*token),
                403,
                "7",
            ),
            ("wrong claims", &plain, "/policy", Some(&*token), 500, "13"),
            ("extractor", &optional, "/extract", None, 401, "16"),
            (
                "scope of an anonymous request",
                &optional,
                "/scope",
                None,
                401,
                "16",
            ),
            ("no layer", &bare, "/bare", Some(&*token), 500, "13"),
            ("with a body", &bodies, "/scope", None, 401, "16"),
        ] {
            let answer = ask(app, call(kind, path, token)).await;
            let shown = answer
                .headers
                .get("grpc-status")
                .map(|code| code.as_bytes());
            if (answer.status.as_u16(), shown) != (status, Some(code.as_bytes())) {
                wrong.push(format!("{kind}, {name}: {} {shown:?}", answer.status));
            }
            assert_eq!(answer.body, "", "{kind}, {name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// With the setting for gRPC services, gRPC calls get 200, and other requests do not.
#[tokio::test]
async fn a_layer_with_grpc_rejects_calls_with_trailers_only() {
    let server = server();
    let app = app(layer(&server).with_grpc());
    let token = good(&server).with_scope("read").sign();
    for kind in KINDS {
        for (path, token, code) in [
            ("/scope", None, "16"),
            ("/scope", Some(&*token), "7"),
            ("/step-up", Some(&*token), "16"),
            ("/shop.Orders/List", Some(&*token), "7"),
        ] {
            let answer = ask(&app, call(kind, path, token)).await;
            assert_eq!(answer.status, StatusCode::OK, "{kind} {path}");
            assert_eq!(answer.headers["grpc-status"], code, "{kind} {path}");
        }
    }
    for kind in ["application/json", "application/grpcx", ""] {
        let answer = ask(&app, call(kind, "/scope", None)).await;
        assert_eq!(answer.status, 401, "{kind}");
    }
    let service =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        let request = Request::builder()
            .method(method.clone())
            .header(CONTENT_TYPE, "application/grpc");
        let service = layer(&server).with_grpc().layer(service);
        let answer = soon(service.oneshot(request.body(()).unwrap()))
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{method}");
    }
}
