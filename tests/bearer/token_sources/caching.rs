//! Responses to tokens that shared caches do not recognize as credentials (RFC 9111 §3.5 only covers `Authorization`).

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_oauth::BearerLayer;
use tower_oauth::bearer::{FormTokenLayer, TokenSource};
use tower_oauth::testing::TestServer;

use crate::support::api::{ask, good, layer, server};

const CDN: &str = "cdn-cache-control";

/// Each path responds with other fields.
fn app(bearer: BearerLayer) -> Router {
    let answer = |fields: &'static [(&'static str, &'static str)]| {
        let handler = async move || {
            let fields = fields.iter().map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            (fields.collect::<HeaderMap>(), "in")
        };
        get(handler).post(handler)
    };
    Router::new()
        .route("/none", answer(&[]))
        .route(
            "/public",
            answer(&[
                ("cache-control", "public, max-age=60"),
                (CDN, "max-age=600"),
            ]),
        )
        .route("/strict", answer(&[("cache-control", "no-store")]))
        .route("/vary", answer(&[("vary", "accept-encoding, Cookie")]))
        .layer(bearer)
}

fn sources(server: &TestServer) -> BearerLayer {
    layer(server)
        .add_token_source(TokenSource::cookie("t").unwrap())
        .add_token_source(TokenSource::header("x-token").unwrap())
}

fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
    lines.join(", ")
}

async fn shown(
    app: &Router,
    path: &str,
    field: Option<(&str, String)>,
) -> (u16, String, String, bool) {
    let mut request = Request::get(path);
    if let Some((name, value)) = field {
        request = request.header(name, value);
    }
    let answer = ask(app, request.body(Body::empty()).unwrap()).await;
    let headers = &answer.headers;
    let (control, vary) = (joined(headers, CACHE_CONTROL), joined(headers, VARY));
    (
        answer.status.as_u16(),
        control,
        vary,
        headers.contains_key(CDN),
    )
}

#[tokio::test]
async fn responses_to_tokens_outside_of_authorization_are_private_and_vary() {
    let server = server();
    let token = good(&server).sign();
    let app = app(sources(&server));
    // The first request of each token waits for keys, the second does not.
    for _ in 0..2 {
        for (name, value) in [("cookie", format!("t={token}")), ("x-token", token.clone())] {
            for (path, control, vary) in [
                ("/none", "private", "cookie, x-token"),
                ("/public", "private, max-age=60", "cookie, x-token"),
                ("/strict", "no-store", "cookie, x-token"),
                ("/vary", "private", "accept-encoding, Cookie, x-token"),
            ] {
                let shown = shown(&app, path, Some((name, value.clone()))).await;
                let expected = (200, control.to_owned(), vary.to_owned(), false);
                assert_eq!(shown, expected, "{name} {path}");
            }
        }
    }
    let other = sources(&server).without_cache_protection();
    let cookie = ("cookie", format!("t={token}"));
    let off = shown(&self::app(other), "/public", Some(cookie)).await;
    assert_eq!(
        off,
        (200, "public, max-age=60".to_owned(), String::new(), true)
    );
}

/// RFC 9111 §3.5 already protects these.
#[tokio::test]
async fn responses_to_tokens_in_authorization_are_not_changed() {
    let server = server();
    let app = app(sources(&server));
    let bearer = format!("Bearer {}", good(&server).sign());
    for (path, control, vary, cdn) in [
        ("/none", "", "", false),
        ("/public", "public, max-age=60", "", true),
        ("/vary", "", "accept-encoding, Cookie", false),
    ] {
        let shown = shown(&app, path, Some(("authorization", bearer.clone()))).await;
        assert_eq!(
            shown,
            (200, control.to_owned(), vary.to_owned(), cdn),
            "{path}"
        );
    }
}

#[tokio::test]
async fn rejections_and_anonymous_responses_vary_by_the_token_sources() {
    let server = server();
    let app = app(sources(&server));
    for field in [
        None,
        Some(("cookie", "t=junk".to_owned())),
        Some(("x-token", "a b".to_owned())),
    ] {
        let (status, control, vary, _) = shown(&app, "/public", field.clone()).await;
        assert!([400, 401].contains(&status), "{field:?}");
        assert_eq!(
            (&*control, &*vary),
            ("no-store", "cookie, x-token"),
            "{field:?}"
        );
    }
    let optional = self::app(sources(&server).optional());
    let (status, control, vary, _) = shown(&optional, "/public", None).await;
    assert_eq!(
        (status, &*control, &*vary),
        (200, "public, max-age=60", "cookie, x-token")
    );
}

/// The layer does not know which fields the function reads, so a stored response must not be reused.
#[tokio::test]
async fn a_custom_source_varies_by_everything() {
    let server = server();
    let custom = TokenSource::custom(|headers, _| headers.get("x-own").cloned());
    let app = app(layer(&server).add_token_source(custom));
    let shown = shown(&app, "/none", Some(("x-own", good(&server).sign()))).await;
    assert_eq!(shown, (200, "private".to_owned(), "*".to_owned(), false));
}

#[tokio::test]
async fn responses_to_tokens_of_forms_are_private() {
    let server = server();
    let body = format!("access_token={}", good(&server).sign());
    let post = |body: String| {
        let request =
            Request::post("/public").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(Body::from(body)).unwrap()
    };
    let form = app(layer(&server)).layer(FormTokenLayer::new());
    let answer = ask(&form, post(body.clone())).await;
    assert_eq!(answer.headers[CACHE_CONTROL], "private, max-age=60");
    assert!(!answer.headers.contains_key(CDN));

    let off = FormTokenLayer::new().without_cache_protection();
    let answer = ask(&app(layer(&server)).layer(off), post(body)).await;
    assert_eq!(answer.headers[CACHE_CONTROL], "public, max-age=60");
    let optional = app(layer(&server).optional()).layer(FormTokenLayer::new());
    let answer = ask(&optional, post("a=1".to_owned())).await;
    assert_eq!(answer.headers[CACHE_CONTROL], "public, max-age=60");
}
