//! Which credentials are accepted, and the response to others (RFC 6750 §2, RFC 9110 §11).

use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::{ServiceExt as _, service_fn};
use tower_oauth::VerifiedToken;
use tower_oauth::testing::{Endpoint, TestServer};
use tower_oauth::token::VerifyErrorKind;

use crate::support::api::{self, Answer, Outcome, api, ask, good, layer, present_at, server, soon};

const MALFORMED: Outcome = Outcome::InvalidToken(VerifyErrorKind::Malformed);
const TOO_LONG: Outcome = Outcome::InvalidToken(VerifyErrorKind::TooLong);

fn setup() -> (TestServer, Router, String) {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server).sign();
    (server, api, token)
}

/// Sends a request with these `Authorization` lines.
async fn send(api: &Router, path: &str, lines: &[&[u8]]) -> Answer {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    for line in lines {
        request
            .headers_mut()
            .append(AUTHORIZATION, HeaderValue::from_bytes(line).unwrap());
    }
    ask(api, request).await
}

#[tokio::test]
async fn each_field_value_is_parsed_by_the_grammar_or_rejected() {
    let (server, api, token) = setup();
    let with = |before: &str| format!("{before}{token}").into_bytes();
    let cases: Vec<(&str, Vec<u8>, Outcome)> = vec![
        ("Basic", b"Basic x".to_vec(), Outcome::NoCredentials),
        ("no token", b"Bearer".to_vec(), Outcome::InvalidRequest),
        ("a space", b"Bearer ".to_vec(), Outcome::InvalidRequest),
        (
            "spaces only",
            b"Bearer      ".to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "two tokens",
            b"Bearer a b".to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "a good one and another",
            [with("Bearer "), b" b".to_vec()].concat(),
            Outcome::InvalidRequest,
        ),
        (
            "a space behind",
            [with("Bearer "), b" ".to_vec()].concat(),
            Outcome::InvalidRequest,
        ),
        ("a tab", with("Bearer\t"), Outcome::InvalidRequest),
        (
            "a space and a tab",
            with("Bearer \t"),
            Outcome::InvalidRequest,
        ),
        ("lower case", with("bearer "), Outcome::Accepted),
        ("upper case", with("BEARER "), Outcome::Accepted),
        ("several spaces", with("Bearer    "), Outcome::Accepted),
        ("no space", with("Bearer"), Outcome::NoCredentials),
        ("a longer scheme", with("BearerX "), Outcome::NoCredentials),
        ("another scheme", with("X-Bearer "), Outcome::NoCredentials),
        (
            "two in one line",
            with("Bearer a, Bearer "),
            Outcome::InvalidRequest,
        ),
        (
            "the good one first",
            [with("Bearer "), b",Bearer a".to_vec()].concat(),
            Outcome::InvalidRequest,
        ),
        ("percent", b"Bearer %41".to_vec(), Outcome::InvalidRequest),
        ("quotes", b"Bearer \"a\"".to_vec(), Outcome::InvalidRequest),
        (
            "brace",
            b"Bearer {\"a\":1}".to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "an equals sign inside",
            b"Bearer a=b".to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "equals signs only",
            b"Bearer ==".to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "a parameter",
            b"Bearer token=\"a\"".to_vec(),
            Outcome::InvalidRequest,
        ),
        ("0xff", b"Bearer \xff".to_vec(), Outcome::InvalidRequest),
        (
            "0xff behind a good one",
            [with("Bearer "), b"\xff".to_vec()].concat(),
            Outcome::InvalidRequest,
        ),
        (
            "0xff in the scheme",
            b"Bear\xffer a".to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "letters that only look so",
            "Beаrer a".as_bytes().to_vec(),
            Outcome::InvalidRequest,
        ),
        (
            "a full-width letter in the token",
            "Bearer ａ".as_bytes().to_vec(),
            Outcome::InvalidRequest,
        ),
        ("nothing in the line", b"".to_vec(), Outcome::InvalidRequest),
        ("no scheme", b" Bearer a".to_vec(), Outcome::InvalidRequest),
        (
            "64 KiB",
            [b"Bearer ".to_vec(), vec![b'a'; 65536]].concat(),
            TOO_LONG,
        ),
        (
            "dots",
            [b"Bearer ".to_vec(), vec![b'.'; 100_000]].concat(),
            TOO_LONG,
        ),
        (
            "as many dots as fit",
            [b"Bearer ".to_vec(), vec![b'.'; 16384]].concat(),
            MALFORMED,
        ),
    ];
    let mut wrong = Vec::new();
    for (name, line, expect) in &cases {
        let answer = send(&api, "/", &[line]).await;
        if answer.outcome() != *expect {
            wrong.push(format!("{name}: {answer:?} instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        server.count(Endpoint::KeySet),
        1,
        "only the good tokens needed a key"
    );
}

/// RFC 6750 §3.1.
#[tokio::test]
async fn a_request_without_credentials_is_challenged_without_an_error_code() {
    let (server, api, _) = setup();
    let answer = send(&api, "/", &[]).await;
    assert_eq!(answer.outcome(), Outcome::NoCredentials);
    assert_eq!(
        answer.challenge().parameters,
        [("realm".to_owned(), "api".to_owned())]
    );
    assert!(server.requests().is_empty());
}

/// RFC 9110 §5.3: `Authorization` is not a list, so it must not be repeated.
#[tokio::test]
async fn two_field_lines_are_rejected_even_if_one_is_valid() {
    let (server, api, token) = setup();
    let (good, other) = (
        format!("Bearer {token}"),
        format!("Bearer {}", good(&server).sign()),
    );
    for lines in [
        [good.as_bytes(), other.as_bytes()],
        [good.as_bytes(), good.as_bytes()],
        [good.as_bytes(), b"Basic x"],
        [b"Basic x", good.as_bytes()],
        [b"", good.as_bytes()],
        [b"Basic x", b"Basic y"],
    ] {
        for path in ["/", "/maybe"] {
            assert_eq!(
                send(&api, path, &lines).await.outcome(),
                Outcome::InvalidRequest
            );
        }
    }
    let optional = api::api(layer(&server).optional());
    let answer = send(&optional, "/maybe", &[good.as_bytes(), b"Basic x"]).await;
    assert_eq!(answer.outcome(), Outcome::InvalidRequest);
}

#[tokio::test]
async fn a_token_outside_of_the_authorization_header_is_ignored() {
    let (server, api, token) = setup();
    let form = format!("access_token={token}");
    let multipart = format!(
        "--x\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n{token}\r\n--x--"
    );
    let request = |method: &str, uri: &str| Request::builder().method(method).uri(uri);
    let elsewhere = [
        (
            "query",
            request("GET", &format!("/?access_token={token}")).body(Body::empty()),
        ),
        (
            "form in a GET",
            request("GET", "/")
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(form.clone())),
        ),
        (
            "form in a POST",
            request("POST", "/")
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(form.clone())),
        ),
        (
            "multipart",
            request("POST", "/")
                .header(CONTENT_TYPE, "multipart/form-data; boundary=x")
                .body(Body::from(multipart)),
        ),
        (
            "cookie",
            request("GET", "/")
                .header(COOKIE, &form)
                .body(Body::empty()),
        ),
        (
            "a proxy's field",
            request("GET", "/")
                .header("proxy-authorization", format!("Bearer {token}"))
                .body(Body::empty()),
        ),
        (
            "a forwarded field",
            request("GET", "/")
                .header("x-forwarded-authorization", format!("Bearer {token}"))
                .body(Body::empty()),
        ),
    ];
    for (name, request) in elsewhere {
        assert_eq!(
            ask(&api, request.unwrap()).await.outcome(),
            Outcome::NoCredentials,
            "{name}"
        );
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_token_in_the_query_beside_the_header_is_ignored() {
    let (_, api, token) = setup();
    let answer = present_at(&api, "/?access_token=junk", &token).await;
    assert_eq!(answer.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn an_optional_layer_forwards_only_requests_without_credentials() {
    let server = server();
    let api = api(layer(&server).optional());
    let token = good(&server).sign();
    let expired = good(&server).with_expires_in(-300).sign();
    for (name, line, outcome, body) in [
        ("absent", None, Outcome::Accepted, Some("anonymous")),
        (
            "another scheme",
            Some("Basic x".to_owned()),
            Outcome::Accepted,
            Some("anonymous"),
        ),
        (
            "good",
            Some(format!("Bearer {token}")),
            Outcome::Accepted,
            Some("Some(\"alice\")"),
        ),
        ("junk", Some("Bearer junk".to_owned()), MALFORMED, None),
        (
            "expired",
            Some(format!("Bearer {expired}")),
            Outcome::InvalidToken(VerifyErrorKind::Expired),
            None,
        ),
        (
            "unreadable",
            Some("Bearer a b".to_owned()),
            Outcome::InvalidRequest,
            None,
        ),
        ("empty", Some(String::new()), Outcome::InvalidRequest, None),
    ] {
        let lines: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
        let answer = send(&api, "/maybe", &lines).await;
        assert_eq!(answer.outcome(), outcome, "{name}");
        if let Some(body) = body {
            assert_eq!(answer.body, body, "{name}");
        }
    }
}

#[tokio::test]
async fn a_handler_that_takes_a_token_is_not_called_for_an_anonymous_request() {
    let server = server();
    let api = api(layer(&server).optional());
    assert_eq!(send(&api, "/", &[]).await.outcome(), Outcome::NoCredentials);
    assert_eq!(
        send(&api, "/read", &[]).await.outcome(),
        Outcome::NoCredentials
    );
}

#[tokio::test]
async fn a_field_name_is_not_case_sensitive_and_its_value_reaches_the_handler() {
    let server = server();
    let layer = layer(&server);
    let token = good(&server).sign();
    let handler = |token: VerifiedToken| async move { token.access_token().to_owned() };
    let api = Router::new()
        .route("/", axum::routing::get(handler))
        .layer(layer);
    let name = HeaderName::from_bytes(b"AUTHORIZATION").unwrap();
    let request = Request::get("/").header(name, format!("BEARER   {token}"));
    assert_eq!(
        ask(&api, request.body(Body::empty()).unwrap()).await.body,
        token
    );
}

/// Sends bytes that no client library would send, to hyper over TCP.
#[tokio::test]
async fn bytes_that_are_not_allowed_in_a_field_are_rejected_over_tcp() {
    let (_, api, token) = setup();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, api).await });
    for (name, line, status) in [
        ("good", format!("Bearer {token}").into_bytes(), "200"),
        ("NUL", b"Bearer a\0b".to_vec(), "400"),
        (
            "NUL behind a good one",
            format!("Bearer {token}\0").into_bytes(),
            "400",
        ),
        ("0xff", b"Bearer \xff\xfe".to_vec(), "400"),
        (
            "spaces that the server trims",
            b"Bearer    ".to_vec(),
            "400",
        ),
        (
            "a folded line",
            format!("Bearer\r\n {token}").into_bytes(),
            "400",
        ),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = [
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ",
            &line[..],
            b"\r\n\r\n",
        ];
        stream.write_all(&request.concat()).await.unwrap();
        let mut answer = Vec::new();
        soon(stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{name}: {answer}"
        );
    }
    assert!(HeaderValue::from_bytes(b"Bearer a\0b").is_err());
}

#[test]
fn no_field_value_and_no_compact_text_causes_a_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = server();
    let inner = service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty()))
    });
    let service = tower::Layer::layer(&layer(&server), inner);
    let header = crate::support::der::encode(r#"{"alg":"ES256","typ":"at+jwt"}"#);
    let run = |value: Vec<u8>| {
        let Ok(value) = HeaderValue::from_bytes(&value) else {
            return None;
        };
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(AUTHORIZATION, value);
        Some(
            runtime
                .block_on(service.clone().oneshot(request))
                .unwrap()
                .status()
                .as_u16(),
        )
    };
    proptest!(|(value in prop::collection::vec(any::<u8>(), 0..120))| {
        prop_assert!(run(value).is_none_or(|status| [400, 401].contains(&status)));
    });
    proptest!(|(token in "[A-Za-z0-9_.-]{0,200}")| {
        let status = run(["Bearer ", token.as_str()].concat().into());
        prop_assert!(status.is_none_or(|status| [400, 401].contains(&status)));
    });
    proptest!(|(payload in prop::collection::vec(any::<u8>(), 0..200), signature in prop::collection::vec(any::<u8>(), 0..70))| {
        let segments = [header.clone(), crate::support::der::encode(payload), crate::support::der::encode(signature)];
        let status = run(["Bearer ", &segments.join(".")].concat().into());
        prop_assert!(status.is_none_or(|status| status == 401));
    });
}
