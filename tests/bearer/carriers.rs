//! Token sources beside the header, and what is forwarded to the inner service.

mod smuggling;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::Full;
use tower::{Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_oauth::bearer::{
    ClaimHeadersLayer, FormTokenLayer, RefusalBodyLayer, ResourceMetadata, ResourceMetadataLayer,
    TokenSource,
};
use tower_oauth::testing::TestServer;
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{BearerLayer, VerifiedToken};

use crate::support::api::{self, Answer, Outcome, api, ask, good, layer, server};

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the request body to callers with a valid token.
fn echo(bearer: BearerLayer) -> Router {
    let echo = async |token: VerifiedToken, body: String| format!("{:?} {body}", token.subject());
    let route = post(echo).put(echo).patch(echo).get(echo).delete(echo);
    Router::new().route("/", route).layer(bearer)
}

fn form_api(server: &TestServer) -> Router {
    echo(layer(server)).layer(FormTokenLayer::new())
}

fn form(method: Method, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header(CONTENT_TYPE, kind);
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn a_token_in_a_form_is_accepted_and_the_form_is_forwarded_unchanged() {
    let server = server();
    let app = form_api(&server);
    let token = good(&server).with_subject("alice").sign();
    let body = format!("a=1&access_token={token}&b=%20&c=+");
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let answer = ask(&app, form(method.clone(), FORM, body.clone())).await;
        assert_eq!(answer.body, format!("Some(\"alice\") {body}"), "{method}");
    }
    for kind in [
        "Application/X-WWW-Form-URLEncoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
    ] {
        let answer = ask(&app, form(Method::POST, kind, body.clone())).await;
        assert_eq!(answer.outcome(), Outcome::Accepted, "{kind}");
    }
}

#[tokio::test]
async fn a_form_is_read_whatever_its_chunks_are() {
    let server = server();
    let app = form_api(&server);
    let body = format!("access_token={}", good(&server).sign());
    let pieces: Vec<_> = body
        .as_bytes()
        .chunks(7)
        .map(Bytes::copy_from_slice)
        .collect();
    let stream = Body::new(Pieces(pieces.into_iter().map(Ok::<_, Infallible>)));
    let answer = ask(&app, form(Method::POST, FORM, stream)).await;
    assert_eq!(answer.outcome(), Outcome::Accepted);
    assert!(answer.body.ends_with(&body));
}

/// A body with these chunks.
struct Pieces<I>(I);

impl<E, I: Iterator<Item = Result<Bytes, E>> + Unpin> http_body::Body for Pieces<I> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let piece = self.0.next();
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}

#[tokio::test]
async fn misplaced_and_repeated_tokens_are_not_accepted() {
    let server = server();
    let app = form_api(&server);
    let token = good(&server).sign();
    let one = format!("access_token={token}");
    let part = format!(
        "--x\r\nContent-Disposition: form-data; name=access_token\r\n\r\n{token}\r\n--x--\r\n"
    );
    let with_header = |mut request: Request<Body>, credentials: &str| {
        let value = credentials.parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, value);
        request
    };
    let bearer = format!("Bearer {token}");
    let query = |path: String| Request::get(path).body(Body::empty()).unwrap();
    for (name, request, expect) in [
        (
            "beside the same token in the header",
            with_header(form(Method::POST, FORM, one.clone()), &bearer),
            Outcome::InvalidRequest,
        ),
        (
            "beside Basic",
            with_header(form(Method::POST, FORM, one.clone()), "Basic YTpi"),
            Outcome::InvalidRequest,
        ),
        (
            "repeated parameter",
            form(Method::POST, FORM, format!("{one}&{one}")),
            Outcome::InvalidRequest,
        ),
        (
            "one of them empty",
            form(Method::POST, FORM, format!("{one}&access_token=")),
            Outcome::InvalidRequest,
        ),
        (
            "empty",
            form(Method::POST, FORM, "access_token="),
            Outcome::InvalidRequest,
        ),
        (
            "no token68",
            form(Method::POST, FORM, "access_token=a+b"),
            Outcome::InvalidRequest,
        ),
        (
            "line break",
            form(Method::POST, FORM, "access_token=a%0d%0ax:+y"),
            Outcome::InvalidRequest,
        ),
        (
            "GET",
            form(Method::GET, FORM, one.clone()),
            Outcome::NoCredentials,
        ),
        (
            "DELETE",
            form(Method::DELETE, FORM, one.clone()),
            Outcome::NoCredentials,
        ),
        (
            "multipart",
            form(Method::POST, "multipart/form-data; boundary=x", part),
            Outcome::NoCredentials,
        ),
        (
            "no form",
            form(Method::POST, "text/plain", one.clone()),
            Outcome::NoCredentials,
        ),
        (
            "nearly a form",
            form(
                Method::POST,
                "application/x-www-form-urlencodedx",
                one.clone(),
            ),
            Outcome::NoCredentials,
        ),
        (
            "other case",
            form(Method::POST, FORM, format!("Access_Token={token}")),
            Outcome::NoCredentials,
        ),
        (
            "not ASCII",
            form(Method::POST, FORM, format!("{one}&a=é")),
            Outcome::InvalidRequest,
        ),
        ("query", query(format!("/?{one}")), Outcome::NoCredentials),
        (
            "beside a header",
            with_header(query(format!("/?{one}")), &bearer),
            Outcome::Accepted,
        ),
        (
            "bad",
            form(Method::POST, FORM, "access_token=abc"),
            Outcome::InvalidToken(Why::Malformed),
        ),
    ] {
        let answer = ask(&app, request).await;
        assert_eq!(answer.outcome(), expect, "{name}");
    }
    let mut packed = form(Method::POST, FORM, one.clone());
    packed
        .headers_mut()
        .insert("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(ask(&app, packed).await.outcome(), Outcome::NoCredentials);
    let mut doubtful = form(Method::POST, FORM, one.clone());
    doubtful
        .headers_mut()
        .append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert_eq!(ask(&app, doubtful).await.outcome(), Outcome::NoCredentials);

    let off = echo(layer(&server));
    let answer = ask(&off, form(Method::POST, FORM, one)).await;
    assert_eq!(answer.outcome(), Outcome::NoCredentials, "off by default");
}

#[tokio::test]
async fn a_form_longer_than_the_limit_is_rejected() {
    let server = server();
    let app = echo(layer(&server)).layer(FormTokenLayer::new().with_limit(2000));
    let token = good(&server).sign();
    let of_length = |length: usize| {
        let start = format!("access_token={token}&pad=");
        let pad = "x".repeat(length - start.len());
        form(Method::POST, FORM, start + &pad)
    };
    assert_eq!(ask(&app, of_length(2000)).await.status, StatusCode::OK);
    let refused = ask(&app, of_length(2001)).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);

    let broken = [Ok(Bytes::from("a=1")), Err("gone")];
    let broken = Body::new(Pieces(broken.into_iter()));
    let refused = ask(&app, form(Method::POST, FORM, broken)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

fn with_cookies(lines: &[String]) -> Request<Body> {
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

/// Returns the headers that the handler receives.
async fn seen(app: Router, request: Request<Body>) -> HeaderMap {
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response
        .extensions()
        .get::<Arc<HeaderMap>>()
        .unwrap()
        .as_ref()
        .clone()
}

fn mirror() -> Router {
    let mirror = async |headers: HeaderMap, token: Option<VerifiedToken>| {
        let token = token.map_or(0, |token| token.access_token().len());
        (axum::Extension(Arc::new(headers)), token.to_string())
    };
    Router::new().route("/", get(mirror))
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
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "X1");
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
            .header(CONTENT_TYPE, FORM);
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
    assert_eq!(expired.outcome(), Outcome::InvalidToken(Why::Expired), "C5");
}
