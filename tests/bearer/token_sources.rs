//! Token sources beside the header, and what is forwarded to the inner service.

mod caching;
mod form;
mod slow_form;

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_oauth::bearer::{
    ClaimHeadersLayer, FormTokenLayer, RefusalBodyLayer, ResourceMetadata, ResourceMetadataLayer,
    TokenSource,
};
use tower_oauth::token::VerifyErrorKind as Why;

use super::claim_headers::{mirror, seen};
use crate::support::api::{self, Answer, Outcome, api, ask, good, layer, server};

pub(super) fn with_cookies(lines: &[String]) -> Request<Body> {
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    for line in lines {
        request.headers_mut().append(COOKIE, line.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_cookie_is_read_only_if_it_is_added_as_a_source() {
    let server = server();
    let source = TokenSource::cookie("__Host-token").unwrap();
    let app = api(layer(&server).add_token_source(source));
    let token = good(&server).sign();
    let cookie = format!("__Host-token={token}");
    for (name, lines, expect) in [
        ("alone", vec![cookie.clone()], Outcome::Accepted),
        (
            "among others",
            vec![format!("a=1; {cookie};b=2")],
            Outcome::Accepted,
        ),
        (
            "in a second line",
            vec!["a=1".to_owned(), cookie.clone()],
            Outcome::Accepted,
        ),
        (
            "twice",
            vec![format!("{cookie}; {cookie}")],
            Outcome::InvalidRequest,
        ),
        (
            "twice in two lines",
            vec![cookie.clone(), cookie.clone()],
            Outcome::InvalidRequest,
        ),
        (
            "another case",
            vec![format!("__host-token={token}")],
            Outcome::InvalidRequest,
        ),
        (
            "a longer name",
            vec![format!("x__Host-token={token}")],
            Outcome::NoCredentials,
        ),
        (
            "taken back",
            vec!["__Host-token=".to_owned()],
            Outcome::NoCredentials,
        ),
        (
            "quoted",
            vec![format!("__Host-token=\"{token}\"")],
            Outcome::InvalidRequest,
        ),
        (
            "bad",
            vec!["__Host-token=abc".to_owned()],
            Outcome::InvalidToken(Why::Malformed),
        ),
        ("none", vec![], Outcome::NoCredentials),
    ] {
        let answer = ask(&app, with_cookies(&lines)).await;
        assert_eq!(answer.outcome(), expect, "{name}");
    }
    let mut both = with_cookies(std::slice::from_ref(&cookie));
    let header = format!("Bearer {token}").parse().unwrap();
    both.headers_mut().insert(AUTHORIZATION, header);
    assert_eq!(
        ask(&app, both).await.outcome(),
        Outcome::InvalidRequest,
        "two methods"
    );

    let answer = ask(&api(layer(&server)), with_cookies(&[cookie])).await;
    assert_eq!(answer.outcome(), Outcome::NoCredentials);
    for bad in ["", "a b", "a=b", "a;b", "é"] {
        assert!(TokenSource::cookie(bad).is_err(), "{bad:?}");
    }
}

/// Cookie parsers disagree about white space and case in names, so a request with such a name is rejected.
#[tokio::test]
async fn a_cookie_with_a_similar_name_is_rejected_and_never_forwarded() {
    let server = server();
    let source = TokenSource::cookie("__Host-token").unwrap();
    let bearer = layer(&server).add_token_source(source).optional();
    let app = api(bearer.clone());
    let token = good(&server).sign();
    let conflicts = [
        "__Host-token =x",
        "__Host-token\t=x",
        "__Host-token \t =x",
        "\t__Host-token=x",
        "a=1;  __Host-token=x",
        "a=1;\t__Host-token=x",
        "__HOST-TOKEN=x",
        "__host-token =x",
        "=__Host-token=x",
        " = __Host-token =x",
        "__Host-token =",
    ];
    for conflict in conflicts {
        for lines in [
            vec![conflict.to_owned()],
            vec![format!("{conflict}; __Host-token={token}")],
            vec![format!("__Host-token={token}"), conflict.to_owned()],
        ] {
            let answer = ask(&app, with_cookies(&lines)).await;
            assert_eq!(answer.outcome(), Outcome::InvalidRequest, "{lines:?}");
        }
    }
    // Other cookies to every parser, including those with Unicode white space around the name.
    let others = [
        "__Host-token\u{a0}=1",
        "\u{2003}__Host-token=1",
        "__Host-token\u{85}=1",
        "__Host-tokens=1",
        "x__Host-token=1",
        "a=__Host-token=1",
        "__Host_token=1",
        "\"__Host-token\"=1",
        "lonely",
        "=",
    ];
    for other in others {
        let line = format!("{other};__Host-token={token}");
        let answer = ask(&app, with_cookies(&[line])).await;
        assert_eq!(answer.outcome(), Outcome::Accepted, "{other:?}");
    }

    let source = TokenSource::cookie("__Host-token").unwrap();
    let stripping = layer(&server).without_forwarding();
    let app = mirror().layer(stripping.add_token_source(source));
    let lines = [
        "a=1;b=2; lonely".to_owned(),
        format!("__Host-token={token}; __Host-token; __host-token ;__Host-token=;"),
        others.join("; "),
    ];
    let headers = seen(app, with_cookies(&lines)).await;
    let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
    let expect = format!("a=1; b=2; lonely; {}", others.join("; "));
    assert_eq!(left, [expect.as_bytes()]);
}

#[tokio::test]
async fn a_custom_source_is_called() {
    #[derive(Clone)]
    struct FromGateway(HeaderValue);

    let server = server();
    let header = TokenSource::custom(|headers, _| headers.get("x-token").cloned());
    let gateway = TokenSource::custom(|_, extensions| {
        extensions.get().map(|FromGateway(token)| token.clone())
    });
    let app = api(layer(&server)
        .add_token_source(header)
        .add_token_source(gateway));
    let token = HeaderValue::try_from(good(&server).sign()).unwrap();
    let present = |in_header: bool, in_extensions: bool| {
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        if in_header {
            request.headers_mut().insert("x-token", token.clone());
        }
        if in_extensions {
            request.extensions_mut().insert(FromGateway(token.clone()));
        }
        request
    };
    for (in_header, in_extensions, expect) in [
        (true, false, Outcome::Accepted),
        (false, true, Outcome::Accepted),
        (false, false, Outcome::NoCredentials),
        (true, true, Outcome::InvalidRequest),
    ] {
        let answer = ask(&app, present(in_header, in_extensions)).await;
        assert_eq!(answer.outcome(), expect, "{in_header} {in_extensions}");
    }
    let mut odd = present(false, false);
    odd.headers_mut()
        .insert("x-token", "Bearer abc".parse().unwrap());
    assert_eq!(ask(&app, odd).await.outcome(), Outcome::InvalidRequest);
}

/// A permit that `poll_ready` reserved is used or released by every request.
#[tokio::test]
async fn the_layers_release_reserved_permits() {
    let server = server();
    let authorization_server = server.authorization_server();
    let metadata = ResourceMetadata::new(api::AUDIENCE).unwrap();
    let metadata = metadata.add_authorization_server(&authorization_server);
    let path = metadata.path().to_owned();
    let answer = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let mut service = ServiceBuilder::new()
        .layer(RefusalBodyLayer::problem_json())
        .layer(ResourceMetadataLayer::new(metadata))
        .layer(FormTokenLayer::new())
        .layer(layer(&server))
        .layer(ClaimHeadersLayer::new("x-auth-").unwrap())
        .concurrency_limit(1)
        .service(answer);
    let good = format!("access_token={}", good(&server).sign());
    for (method, path, body, status) in [
        (Method::GET, &*path, "", 200),
        (Method::POST, "/", "a=1", 401),
        (Method::POST, "/", &*good, 200),
        (Method::GET, &*path, "", 200),
        (Method::POST, "/", "access_token=abc", 401),
        (Method::POST, "/", &*"a".repeat(70_000), 413),
        (Method::POST, "/", &*good, 200),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, form::FORM);
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let response = api::soon(async { service.ready().await.unwrap().call(request).await });
        assert_eq!(
            response.await.unwrap().status(),
            status,
            "{path} {}",
            body.len()
        );
    }
}

#[tokio::test]
async fn tokens_of_other_sources_are_validated_like_those_of_the_header() {
    let server = server();
    let source = TokenSource::cookie("t").unwrap();
    let app = api(layer(&server).add_token_source(source).optional());
    let of = |line: String| ask(&app, with_cookies(&[line]));
    let expired: Answer = of(format!("t={}", good(&server).with_expires_in(-600).sign())).await;
    assert_eq!(expired.outcome(), Outcome::InvalidToken(Why::Expired));
}
