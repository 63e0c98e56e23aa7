//! `RejectAmbiguousPathsLayer`: a path with two interpretations does not reach the inner service.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response, StatusCode};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_oauth::bearer::RejectAmbiguousPathsLayer;
use tower_oauth::protocol::AmbiguousPath;
use tower_oauth::testing::ManualClock;

use crate::support::logs::Logs;

/// A service that accepts every path, like a proxy.
async fn ask(layer: &RejectAmbiguousPathsLayer, target: &str) -> Response<String> {
    let inner =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("inside".to_owned())));
    let mut request = Request::new(());
    *request.uri_mut() = target.parse().unwrap();
    layer.layer(inner).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn an_ambiguous_path_does_not_reach_the_service() {
    let layer = RejectAmbiguousPathsLayer::new();
    for (target, found) in [
        ("*", AmbiguousPath::NoPath),
        ("example.com:443", AmbiguousPath::NoPath),
        ("/a%00", AmbiguousPath::Control),
        ("/a%0d%0ab", AmbiguousPath::Control),
        ("/%u002e%u002e/admin", AmbiguousPath::PercentU),
        ("/a%", AmbiguousPath::MalformedEscape),
        ("/a%4", AmbiguousPath::MalformedEscape),
        ("/a%zz", AmbiguousPath::MalformedEscape),
        ("/public/../admin", AmbiguousPath::DotSegment),
        ("/public/%2e%2e/admin", AmbiguousPath::DotSegment),
        ("/public/.%2e/admin", AmbiguousPath::DotSegment),
        ("/public/..%2fadmin", AmbiguousPath::DotSegment),
        ("/public/..;/admin", AmbiguousPath::DotSegment),
        ("/public\\admin", AmbiguousPath::Backslash),
        ("/public%5Cadmin", AmbiguousPath::Backslash),
        ("/public%2Fadmin", AmbiguousPath::EncodedSlash),
        ("/admin%2Ehtml", AmbiguousPath::EncodedDot),
        ("/%252e%252e/admin", AmbiguousPath::DoubleEncoding),
        ("/%2561dmin", AmbiguousPath::DoubleEncoding),
        ("/%c0%ae%c0%ae/admin", AmbiguousPath::OverlongUtf8),
        ("/caf%e9", AmbiguousPath::InvalidUtf8),
        ("/%ef%bc%8e%ef%bc%8e/admin", AmbiguousPath::LookAlike),
        ("/x\u{2215}admin", AmbiguousPath::LookAlike),
        ("/caf\u{e9}", AmbiguousPath::NonAscii),
        ("/admin;x", AmbiguousPath::PathParameter),
        ("/admin%3bx", AmbiguousPath::PathParameter),
        ("/admin%3Fx", AmbiguousPath::EncodedDelimiter),
        ("/admin%23", AmbiguousPath::EncodedDelimiter),
        ("//admin", AmbiguousPath::EmptySegment),
        ("/public//admin", AmbiguousPath::EmptySegment),
        ("/%61dmin", AmbiguousPath::EncodedUnreserved),
        (
            "https://example.com/public/../admin",
            AmbiguousPath::DotSegment,
        ),
        ("https://example.com//admin", AmbiguousPath::EmptySegment),
    ] {
        let answer = ask(&layer, target).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{target}");
        assert_eq!(answer.body(), "", "{target}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.extensions().get(), Some(&found), "{target}");
    }
    for target in [
        "/",
        "/a/b/",
        "/a?x=/../%2e%2e//;\\",
        "/a%20b/caf%C3%A9/%E2%82%AC",
        "/a:b@c/(d)!*'$&=+,|~/...",
        "/a%3Ab%40c",
        "/50%25",
        "/.well-known/x",
        "https://example.com/a",
        "https://example.com",
    ] {
        let answer = ask(&layer, target).await;
        assert_eq!(answer.body(), "inside", "{target}");
    }
}

/// axum's `nest` removes a prefix, and with it what was ambiguous there.
#[tokio::test]
async fn in_a_nested_router_the_original_path_is_checked() {
    let inner = Router::new()
        .route("/x", get(async || "inside"))
        .layer(RejectAmbiguousPathsLayer::new());
    let app = Router::new().nest("/{tenant}/api", inner);
    for (path, status) in [
        ("/shop/api/x", 200),
        ("/sh%20p/api/x", 200),
        ("/sh%2Fp/api/x", 400),
        ("/../api/x", 400),
        ("/%73hop/api/x", 400),
        ("/shop;a/api/x", 400),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
}

/// The path is escaped and shortened; a flood causes one warning in ten seconds.
#[tokio::test]
async fn the_log_contains_the_kind_of_ambiguity_and_a_flood_is_one_warning() {
    let clock = ManualClock::new(1_700_000_000);
    let layer = RejectAmbiguousPathsLayer::new().with_clock(clock.clone());
    let logs = Logs::default();
    let recording = logs.record();
    let long = format!("/x\u{2028}%u002e/{}", "a".repeat(5000));
    for _ in 0..100 {
        ask(&layer, &long).await;
    }
    let text = logs.take();
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
    assert_eq!(text.lines().count(), 100);
    assert!(text.lines().all(|line| line.len() < 500));
    assert!(text.contains("a control character"), "{text}");
    // A flood of one kind does not hide another kind.
    ask(&layer, "//admin").await;
    let text = logs.take();
    assert!(
        text.contains("WARN") && text.contains("an empty segment"),
        "{text}"
    );
    clock.advance(std::time::Duration::from_secs(10));
    ask(&layer, &long).await;
    ask(&layer, "/%u002e").await;
    drop(recording);
    let text = logs.text();
    let warned = |kind: &str| {
        text.lines()
            .any(|line| line.contains("WARN") && line.contains(kind))
    };
    assert!(
        warned("a control character") && warned("a %u escape"),
        "{text}"
    );
    assert!(text.contains("suppressed=99"), "{text}");
}
