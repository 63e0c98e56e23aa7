//! Tokens in forms (`FormTokenLayer`, RFC 6750 §2.2).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use tower_oauth::bearer::FormTokenLayer;
use tower_oauth::testing::TestServer;
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{BearerLayer, VerifiedToken};

use crate::support::api::{Outcome, api, ask, good, layer, server};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

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

/// RFC 6750 §2: a form with two tokens is rejected, whatever else it contains.
#[tokio::test]
async fn no_malformed_pair_of_a_form_hides_a_second_token() {
    let server = server();
    let token = good(&server).sign();
    let app = api(layer(&server)).layer(FormTokenLayer::new());
    let one = format!("access_token={token}");
    for (name, body, status) in [
        ("129 pairs", format!("{}{one}", "a=b&".repeat(128)), 400),
        ("not UTF-8 beside it", format!("a=%ff&{one}"), 400),
        ("not UTF-8 in a name", format!("%ff=a&{one}"), 400),
        ("the second not UTF-8", "access_token=%ff".to_owned(), 400),
        ("escaped", format!("access%5ftoken={token}"), 400),
        (
            "a thousand",
            format!("{}a", "access_token=a&".repeat(1000)),
            400,
        ),
        (
            "none",
            "a=%ff&access_token[]=b&b=access_token".to_owned(),
            200,
        ),
    ] {
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post("/").header(CONTENT_TYPE, kind);
        let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = ask(&app, request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
    }
}

#[tokio::test]
async fn a_form_with_a_malformed_token_is_not_anonymous() {
    let server = server();
    let token = good(&server).sign();
    let handler = async |token: Option<VerifiedToken>| match token {
        Some(_) => "token",
        None => "anonymous",
    };
    let app = Router::new()
        .route("/", post(handler))
        .layer(layer(&server).optional())
        .layer(FormTokenLayer::new());
    for (name, body, status, text) in [
        (
            "good",
            format!("access_token={token}").into_bytes(),
            200,
            "token",
        ),
        ("none", b"a=1".to_vec(), 200, "anonymous"),
        (
            "none, not ASCII",
            "a=é".as_bytes().to_vec(),
            200,
            "anonymous",
        ),
        ("empty", b"access_token=".to_vec(), 400, ""),
        ("no value", b"access_token".to_vec(), 400, ""),
        ("junk", b"access_token=junk".to_vec(), 401, ""),
        (
            "not ASCII",
            format!("access_token={token}&a=é").into_bytes(),
            400,
            "",
        ),
        (
            "not UTF-8",
            [format!("access_token={token}&a=").as_bytes(), b"\xff"].concat(),
            400,
            "",
        ),
        (
            "twice",
            format!("access_token={token}&access_token={token}").into_bytes(),
            400,
            "",
        ),
    ] {
        let request = Request::post("/").header(CONTENT_TYPE, FORM);
        let answer = ask(&app, request.body(Body::from(body)).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (status, text),
            "{name}"
        );
    }
    let beside = Request::post("/")
        .header(CONTENT_TYPE, FORM)
        .header(AUTHORIZATION, "DPoP abc");
    let body = Body::from(format!("access_token={token}"));
    assert_eq!(ask(&app, beside.body(body).unwrap()).await.status, 400);
}
