//! Which credentials are forwarded to the inner service, and claims in header fields (`ClaimHeadersLayer`).

mod smuggling;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_oauth::VerifiedToken;
use tower_oauth::bearer::{ClaimHeadersLayer, TokenSource};
use tower_oauth::testing::TestServer;

use super::token_sources::with_cookies;
use crate::support::api::{self, ask, good, layer, server};

/// Returns the headers that the handler receives.
pub(super) async fn seen(app: Router, request: Request<Body>) -> HeaderMap {
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response
        .extensions()
        .get::<Arc<HeaderMap>>()
        .unwrap()
        .as_ref()
        .clone()
}

pub(super) fn mirror() -> Router {
    let mirror = async |headers: HeaderMap, token: Option<VerifiedToken>| {
        let token = token.map_or(0, |token| token.access_token().len());
        (axum::Extension(Arc::new(headers)), token.to_string())
    };
    Router::new().route("/", get(mirror))
}

async fn forwarded(app: &Router, token: Option<&str>, forged: &[&str]) -> (StatusCode, HeaderMap) {
    let mut request = Request::get("/");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    for name in forged {
        request = request.header(*name, "root");
    }
    let response = app
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let seen = response.extensions().get::<Arc<HeaderMap>>();
    let headers = seen
        .map(|headers| headers.as_ref().clone())
        .unwrap_or_default();
    (response.status(), headers)
}

const FORGED: [&str; 8] = [
    "X-Auth-Sub",
    "X_Auth_Sub",
    "x.auth.sub",
    "X-Auth_Sub",
    "x_auth-client.id",
    "x-auth-scope",
    "X-AUTH-ROLES",
    "x_auth_iss",
];

fn assert_none_of(headers: &HeaderMap, forged: &[&str]) {
    let folded = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    for name in headers
        .keys()
        .filter(|name| folded(name.as_str()).starts_with("x-auth-"))
    {
        assert_ne!(headers[name], "root", "{name}");
        assert!(!forged.contains(&name.as_str()) || headers.get_all(name).iter().count() == 1);
    }
}

#[tokio::test]
async fn credentials_are_not_forwarded_if_forwarding_is_disabled() {
    let server = server();
    let token = good(&server).sign();
    let in_header = || {
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header("dpop", "a proof").header("x-other", "1");
        request.body(Body::empty()).unwrap()
    };
    let kept = seen(mirror().layer(layer(&server)), in_header()).await;
    assert!(kept.contains_key(AUTHORIZATION) && kept.contains_key("dpop"));

    let cookie = TokenSource::cookie("t").unwrap();
    let layer = layer(&server).add_token_source(cookie).without_forwarding();
    let app = mirror().layer(layer.clone());
    let stripped = seen(app.clone(), in_header()).await;
    assert!(!stripped.contains_key(AUTHORIZATION) && !stripped.contains_key("dpop"));
    assert_eq!(stripped["x-other"], "1");

    let lines = ["a=1; b=2".to_owned(), format!("c=3;t={token}; d=4")];
    let stripped = seen(app.clone(), with_cookies(&lines)).await;
    let cookies: Vec<_> = stripped.get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
    let stripped = seen(app, with_cookies(&[format!("t={token}")])).await;
    assert!(!stripped.contains_key(COOKIE));

    let answer = ask(&mirror().layer(layer), in_header()).await;
    assert_eq!(
        answer.body,
        token.len().to_string(),
        "the handler still has it"
    );
}

#[tokio::test]
async fn claim_headers_contain_the_claims_and_never_values_of_the_caller() {
    let server = server();
    let claims = ClaimHeadersLayer::new("x-auth-").unwrap();
    let app = mirror().layer(claims.clone()).layer(layer(&server));
    let token = good(&server)
        .with_subject("alice")
        .with_client("shop")
        .with_scope("read write")
        .sign();
    let (_, headers) = forwarded(&app, Some(&token), &FORGED).await;
    assert_none_of(&headers, &FORGED);
    assert_eq!(headers["x-auth-iss"], api::ISSUER);
    assert_eq!(headers["x-auth-sub"], "alice");
    assert_eq!(headers["x-auth-client-id"], "shop");
    assert_eq!(headers["x-auth-scope"], "read write");
    let ours = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-auth-"));
    assert_eq!(ours.count(), 4, "{headers:?}");

    let anonymous = mirror()
        .layer(claims.clone())
        .layer(layer(&server).optional());
    let (status, headers) = forwarded(&anonymous, None, &FORGED).await;
    assert_eq!(status, StatusCode::OK);
    assert_none_of(&headers, &FORGED);
    assert!(!headers.contains_key("x-auth-sub"));

    let (status, _) = forwarded(&mirror().layer(claims), Some(&token), &[]).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    for bad in ["", "-", "x-auth", "x auth-", "é-"] {
        assert!(ClaimHeadersLayer::new(bad).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn unusual_subjects_are_encoded_differently() {
    let server = server();
    let claims = ClaimHeadersLayer::new("x-auth-").unwrap();
    let app = mirror().layer(claims).layer(layer(&server));
    for (subject, expect) in [
        ("a b", "a%20b"),
        ("a%20b", "a%2520b"),
        ("å", "%C3%A5"),
        ("a\r\nx-auth-scope: admin", "a%0D%0Ax-auth-scope:%20admin"),
    ] {
        let token = good(&server).with_subject(subject).sign();
        let (_, headers) = forwarded(&app, Some(&token), &[]).await;
        assert_eq!(headers["x-auth-sub"], expect, "{subject:?}");
    }
}

/// Credentials of other schemes are secrets too, and an inner service could assume that they were validated.
#[tokio::test]
async fn credentials_that_were_not_validated_are_not_forwarded_either() {
    let server = server();
    let token = good(&server).sign();
    let bearer = layer(&server).optional().without_forwarding();
    for authorization in ["Basic YTpi".to_owned(), format!("Token {token}")] {
        let request = Request::get("/").header(AUTHORIZATION, &authorization);
        let request = request.body(Body::empty()).unwrap();
        let headers = seen(mirror().layer(bearer.clone()), request).await;
        assert!(!headers.contains_key(AUTHORIZATION), "{authorization}");
    }
}

/// Some CGI implementations map every character that is neither a letter nor a digit to `_`, like `-`.
#[tokio::test]
async fn no_spelling_of_a_header_name_forges_a_claim() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    let mut request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let names = "!#$%&'*+.^_`|~-".chars().flat_map(|sign| {
        [
            format!("x{sign}auth{sign}role"),
            format!("x-auth{sign}role"),
            format!("x{sign}auth-sub"),
        ]
    });
    for name in names {
        request = request.header(name, "root");
    }
    let claims = ClaimHeadersLayer::new("x-auth-").unwrap();
    let app = mirror().layer(claims).layer(layer(&server));
    let headers = seen(app, request.body(Body::empty()).unwrap()).await;
    let forged: Vec<_> = headers
        .iter()
        .filter(|(_, value)| *value == "root")
        .collect();
    assert!(forged.is_empty(), "{forged:?}");
    assert_eq!(headers["x-auth-sub"], "alice");
}

/// RFC 9110 §7.6.1: a proxy removes the fields that `Connection` names, so a caller could use it to become anonymous.
#[tokio::test]
async fn a_caller_cannot_make_the_next_hop_remove_claim_headers() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    for (name, lines, left) in [
        ("alone", &["X-Auth-Sub"][..], &[][..]),
        (
            "among others",
            &["upgrade, x-auth-sub ,x-other"],
            &["upgrade,x-other"],
        ),
        ("in two lines", &["close", "x_auth_scope"], &["close"]),
        (
            "not there",
            &["keep-alive, Upgrade"],
            &["keep-alive, Upgrade"],
        ),
    ] {
        let mut request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        for line in lines {
            request = request.header(CONNECTION, *line);
        }
        let claims = ClaimHeadersLayer::new("x-auth-").unwrap();
        let app = mirror().layer(claims).layer(layer(&server));
        let headers = seen(app, request.body(Body::empty()).unwrap()).await;
        let kept: Vec<_> = headers.get_all(CONNECTION).iter().collect();
        let kept: Vec<_> = kept
            .iter()
            .map(|line| line.to_str().unwrap().replace(", x-", ",x-"))
            .collect();
        assert_eq!(kept, left, "{name}");
        assert_eq!(headers["x-auth-sub"], "alice", "{name}");
    }
}
