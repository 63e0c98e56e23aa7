//! Error bodies, which do not change the challenge.

use axum::body::Body;
use axum::routing::get;
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::{Value, json};
use tower_oauth::bearer::{Refusal, RefusalBodyLayer};
use tower_oauth::testing::{Endpoint, Fault, TestServer};
use tower_oauth::{ScopeLayer, VerifiedToken};

use crate::support::api::{
    self, Answer, DESCRIPTIONS, api, ask, good, layer, present, present_at, server,
};

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// One rejection of each kind that a caller can cause.
async fn refusals(app: &Router, server: &TestServer) -> Vec<Answer> {
    let unreadable = Request::get("/").header(AUTHORIZATION, "Bearer a b");
    vec![
        ask(app, get_request("/")).await,
        ask(app, unreadable.body(Body::empty()).unwrap()).await,
        present(app, "abc").await,
        present(app, &good(server).with_expires_in(-600).sign()).await,
        present_at(app, "/read", &good(server).with_scope("other").sign()).await,
    ]
}

/// Removes the fields that depend on the body or the clock.
fn others(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(CONTENT_TYPE);
    headers.remove(CONTENT_LENGTH);
    headers
}

#[tokio::test]
async fn problem_details_do_not_change_status_and_challenge() {
    let server = server();
    let plain = api(layer(&server));
    let app = plain.clone().layer(RefusalBodyLayer::problem_json());
    let expected = [
        json!({ "status": 401, "title": "Unauthorized", "detail": "an access token is required" }),
        json!({ "status": 400, "title": "Bad Request", "error": "invalid_request",
            "detail": "malformed or repeated credentials" }),
        json!({ "status": 401, "title": "Unauthorized", "error": "invalid_token",
            "detail": "the access token is malformed or unsupported" }),
        json!({ "status": 401, "title": "Unauthorized", "error": "invalid_token",
            "detail": "the access token has expired" }),
        json!({ "status": 403, "title": "Forbidden", "error": "insufficient_scope", "scope": "read",
            "detail": "the access token lacks a required scope" }),
    ];
    let before = refusals(&plain, &server).await;
    let after = refusals(&app, &server).await;
    for ((before, after), expected) in before.iter().zip(&after).zip(expected) {
        assert_eq!(after.status, before.status);
        assert_eq!(
            others(&after.headers),
            others(&before.headers),
            "{expected}"
        );
        assert_eq!(after.challenge(), before.challenge());
        assert_eq!(after.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            serde_json::from_str::<Value>(&after.body).unwrap(),
            expected
        );
        assert!(after.refusal.is_some(), "layers further out still find it");
    }
}

#[tokio::test]
async fn an_outage_and_a_missing_layer_have_a_body_too() {
    let server = server();
    server.fail(Endpoint::Metadata, Fault::status(500));
    let app = api(layer(&server)).layer(RefusalBodyLayer::problem_json());
    let outage = present(&app, &good(&server).sign()).await;
    let problem: Value = serde_json::from_str(&outage.body).unwrap();
    assert_eq!(problem["status"], 503);
    assert!(problem.get("error").is_none() && outage.headers.contains_key("retry-after"));

    // An extractor without its layer names it; the body of the layer replaces that.
    let whoami = async |token: VerifiedToken| format!("{:?}", token.subject());
    let bare = Router::new().route("/", get(whoami));
    let missing = ask(
        &bare.layer(RefusalBodyLayer::problem_json()),
        get_request("/"),
    )
    .await;
    let problem: Value = serde_json::from_str(&missing.body).unwrap();
    assert_eq!(problem["status"], 500);

    // The extractor rejects an anonymous request.
    let optional = Router::new()
        .route("/", get(whoami))
        .layer(layer(&server).optional())
        .layer(RefusalBodyLayer::problem_json());
    let anonymous = ask(&optional, get_request("/")).await;
    assert_eq!(anonymous.headers[CONTENT_TYPE], "application/problem+json");
    assert_eq!(anonymous.challenge().parameter("error"), None);
}

#[tokio::test]
async fn the_body_contains_no_text_of_the_request() {
    let server = server();
    let app = api(layer(&server)).layer(RefusalBodyLayer::problem_json());
    let hostile = "<script>alert('x')</script>\r\n\"\\";
    for token in [
        good(&server).with_issuer(hostile).sign(),
        good(&server).with_audience(hostile).sign(),
        good(&server).with_header("kid", hostile).sign(),
        good(&server).with_header("alg", hostile).sign(),
        good(&server).with_header("typ", hostile).sign(),
    ] {
        let answer = present(&app, &token).await;
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(DESCRIPTIONS.contains(&detail), "{detail}");
        assert!(!answer.body.contains("script") && !answer.body.contains(api::ISSUER));
    }
}

#[tokio::test]
async fn a_custom_body_is_rendered_from_the_refusal() {
    let server = server();
    let body = RefusalBodyLayer::new("text/html; charset=utf-8", |refusal: &Refusal| {
        let code = refusal.error().map(|code| code.as_str());
        format!(
            "<p>{}: {} ({code:?})</p>",
            refusal.status(),
            refusal.message()
        )
    });
    let app = api(layer(&server)).layer(body.unwrap());
    let answer = ask(&app, get_request("/")).await;
    assert_eq!(
        answer.body,
        "<p>401 Unauthorized: an access token is required (None)</p>"
    );
    assert_eq!(answer.headers[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer realm=\"api\"");
    assert!(RefusalBodyLayer::new("a\nb", |_: &Refusal| "").is_err());
}

#[tokio::test]
async fn other_responses_are_not_changed() {
    let server = server();
    let app = Router::new()
        .route("/", get(async || Json(json!({ "ok": true }))))
        .route(
            "/own",
            get(async || (http::StatusCode::FORBIDDEN, "the application's own no")),
        )
        .layer(layer(&server))
        .layer(RefusalBodyLayer::problem_json());
    let token = good(&server).sign();
    let fine = present(&app, &token).await;
    assert_eq!(
        (&*fine.body, fine.headers[CONTENT_TYPE].as_bytes()),
        (r#"{"ok":true}"#, &b"application/json"[..])
    );
    let own = present_at(&app, "/own", &token).await;
    assert_eq!(own.body, "the application's own no");
}

#[tokio::test]
async fn responses_to_grpc_callers_are_not_changed() {
    let server = server();
    let app = api(layer(&server)).layer(RefusalBodyLayer::problem_json());
    for kind in ["application/grpc", "application/grpc-web+proto"] {
        let request = Request::post("/")
            .header(CONTENT_TYPE, kind)
            .body(Body::empty());
        let answer = ask(&app, request.unwrap()).await;
        assert_eq!(answer.body, "", "{kind}");
        assert_eq!(answer.headers["grpc-status"], "16");
        assert!(
            answer.headers[CONTENT_TYPE]
                .as_bytes()
                .starts_with(b"application/grpc")
        );
    }
}

/// Adds a challenge of another scheme to every response.
async fn negotiate(mut response: Response<Body>) -> Response<Body> {
    let challenge = HeaderValue::from_static("Negotiate");
    response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    response
}

#[tokio::test]
async fn challenges_of_other_layers_are_kept() {
    let server = server();
    let schemes = |answer: &Answer| -> Vec<String> {
        answer
            .challenges()
            .into_iter()
            .map(|one| one.scheme)
            .collect()
    };
    let further_out = api(layer(&server))
        .layer(axum::middleware::map_response(negotiate))
        .layer(RefusalBodyLayer::problem_json());
    let answer = ask(&further_out, get_request("/")).await;
    assert_eq!(schemes(&answer), ["Bearer", "Negotiate"]);

    // Inside: a rejection by the application, with a valid token.
    let refuse = async || {
        (
            http::StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, "Basic realm=\"x\"")],
        )
    };
    let further_in = Router::new()
        .route("/", get(refuse))
        .layer(ScopeLayer::any("read write").unwrap())
        .layer(layer(&server))
        .layer(RefusalBodyLayer::problem_json());
    let answer = present(&further_in, &good(&server).with_scope("read").sign()).await;
    assert_eq!(schemes(&answer), ["Basic"]);
    assert_eq!(answer.body, "");
}
