//! Frames of HTTP/2, without and with a credential.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{HeaderMap, HeaderValue, Request, Version};

use super::guarded::{DOCUMENT, Guarded, PATH, World};
use super::http1::assert_none;
use super::wire::{Rest, ask, connect_http2, serve_http2};

const ORIGIN: &str = "http://api.example.test";

/// A request for a path of the API; `*` is sent unchanged.
pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let builder = Request::builder().method(method);
    let builder = match path {
        // The client takes a target without an origin only as one of HTTP/1.1 that it forwards.
        "*" => builder.uri("*").version(Version::HTTP_11),
        path => builder
            .uri(format!("{ORIGIN}{path}"))
            .version(Version::HTTP_2),
    };
    builder.body(()).unwrap()
}

fn connect() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::CONNECT;
    *request.uri_mut() = "other.example.test:443".parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    request
}

fn extended_connect(path: &str, protocol: &'static str) -> Request<()> {
    let mut request = request("CONNECT", path);
    request
        .extensions_mut()
        .insert(Protocol::from_static(protocol));
    request
}

pub(crate) fn with_fields(mut request: Request<()>, fields: &HeaderMap) -> Request<()> {
    request.headers_mut().extend(fields.clone());
    request
}

fn field(request: Request<()>, name: &'static str, value: &'static str) -> Request<()> {
    let mut fields = HeaderMap::new();
    fields.insert(name, HeaderValue::from_static(value));
    with_fields(request, &fields)
}

/// A valid request on the same connection is executed once.
pub(crate) async fn alive(guarded: &Guarded, client: &SendRequest<Bytes>) -> Result<(), String> {
    let request = with_fields(request("GET", PATH), &guarded.credential_fields());
    match ask(client, request, &Rest::Nothing).await {
        200 => guarded.assert_executed("GET", &seen(guarded, PATH)),
        status => Err(format!("a valid request got {status}")),
    }
}

/// The target that the service receives: with its origin over HTTP/2, unless the relay replaces it.
fn seen(guarded: &Guarded, path: &str) -> String {
    match guarded.base {
        "" => format!("{ORIGIN}{path}"),
        _ => path.to_owned(),
    }
}

fn refusals(guarded: &Guarded, path: &str) -> Vec<u16> {
    let mut all = vec![0, 400, 401, 403, 404, 405, 413, 421, 501];
    if guarded.has_document && path == DOCUMENT {
        all.extend([200, 204]);
    }
    if guarded.is_login() {
        all.push(303);
    }
    all
}

const TARGETS: &[&str] = &[
    "/",
    PATH,
    DOCUMENT,
    "/.well-known/oauth-protected-resource?x=1",
    "/.well-known/oauth-protected-resource/",
    "//.well-known/oauth-protected-resource",
    "/x/../.well-known/oauth-protected-resource",
    "/shop.Orders/%44elete",
    "/%2e%2e/admin",
    "//admin",
    "*",
];

/// A layer forwards neither an unannounced body, nor trailers, nor a tunnel without a credential.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_without_a_credential_is_executed() {
    let world = World::new();
    let mut wrong = Vec::new();
    for guarded in world.all().await {
        let address = serve_http2(&guarded.app).await;
        let credential = guarded.credential_fields();
        let mut bearer = HeaderMap::new();
        let token = format!("Bearer {}", world.token());
        bearer.insert("authorization", HeaderValue::try_from(token).unwrap());
        let rests = [
            Rest::Nothing,
            Rest::Data("hello"),
            Rest::Data(""),
            Rest::Unfinished("hello"),
            Rest::Trailers("", credential),
            Rest::Trailers("hello", bearer),
        ];
        for path in TARGETS {
            // A server closes a connection after too many unexpected frames.
            let client = connect_http2(address).await;
            // After this the client knows that the server takes extended CONNECT.
            alive(&guarded, &client).await.unwrap();
            // All forms for targets that could be the document; a few for the others.
            let all = [DOCUMENT, PATH].contains(path);
            let methods = [
                "GET", "POST", "OPTIONS", "TRACE", "HEAD", "DELETE", "get", "X-ODD",
            ];
            let methods = if all { &methods[..] } else { &methods[..3] };
            let rests = if all { &rests[..] } else { &rests[..2] };
            let mut requests: Vec<_> = methods.iter().map(|method| request(method, path)).collect();
            let preflight = field(
                request("OPTIONS", path),
                "access-control-request-method",
                "GET",
            );
            requests.push(field(request("GET", path), "content-length", "5"));
            requests.push(field(request("GET", path), "te", "trailers"));
            requests.push(field(request("GET", path), "trailer", "authorization"));
            requests.push(field(request("GET", path), "expect", "100-continue"));
            requests.push(preflight);
            if *path != "*" {
                requests.push(extended_connect(path, "websocket"));
                requests.push(extended_connect(path, "connect-udp"));
            }
            requests.push(connect());
            for request in requests {
                for rest in rests {
                    let shown = format!("{}: {request:?} {}", guarded.name, rest.kind());
                    let status = ask(&client, request.clone(), rest).await;
                    let executed = guarded.executed.take();
                    if !executed.is_empty() || !refusals(&guarded, path).contains(&status) {
                        wrong.push(format!("{shown} got {status}, executed {executed:?}"));
                    }
                }
            }
            if let Err(error) = alive(&guarded, &client).await {
                wrong.push(format!("{}: {error}", guarded.name));
            }
        }
    }
    assert_none(&wrong);
}

/// With a credential the service executes the method, target, protocol and body that were sent, or nothing.
#[tokio::test]
async fn a_stream_with_a_credential_is_executed_as_it_was_sent() {
    let mut wrong = Vec::new();
    for guarded in World::new().all().await {
        let address = serve_http2(&guarded.app).await;
        let client = connect_http2(address).await;
        alive(&guarded, &client).await.unwrap();
        let credential = guarded.credential_fields();
        let tunnel = extended_connect(PATH, "websocket");
        for (request, rest) in [
            (request("GET", PATH), Rest::Nothing),
            (request("GET", PATH), Rest::Data("hello")),
            (request("POST", PATH), Rest::Data("hello")),
            (
                field(request("POST", PATH), "content-length", "5"),
                Rest::Data("hello"),
            ),
            (
                field(request("POST", PATH), "content-length", "3"),
                Rest::Data("hello"),
            ),
            (
                field(request("POST", PATH), "content-length", "9"),
                Rest::Data("hello"),
            ),
            (request("TRACE", PATH), Rest::Nothing),
            (request("OPTIONS", "*"), Rest::Nothing),
            (request("delete", PATH), Rest::Nothing),
            (connect(), Rest::Nothing),
            (tunnel, Rest::Nothing),
        ] {
            let request = with_fields(request, &credential);
            let shown = format!("{}: {request:?} {}", guarded.name, rest.kind());
            let method = request.method().clone();
            let protocol = request.extensions().get::<Protocol>().cloned();
            let target = match guarded.base {
                "" => request.uri().to_string(),
                base => format!("{base}{}", request.uri().path()),
            };
            let status = ask(&client, request, &rest).await;
            let executed = guarded.executed.take();
            let is_as_sent = match executed.as_slice() {
                [] => status != 200,
                [one] => {
                    one.method == method
                        && one.target == target
                        && one.protocol.as_deref() == protocol.as_ref().map(Protocol::as_str)
                        && b"hello".starts_with(&one.body)
                        && one
                            .subject
                            .as_deref()
                            .is_none_or(|subject| subject == guarded.subject)
                }
                _ => false,
            };
            if !is_as_sent {
                wrong.push(format!("{shown} got {status}, executed {executed:?}"));
            }
        }
        if let Err(error) = alive(&guarded, &client).await {
            wrong.push(format!("{}: {error}", guarded.name));
        }
    }
    assert_none(&wrong);
}

/// A session alone does not open a tunnel, and another spelling of a method is not a safe method.
#[tokio::test]
async fn a_session_without_csrf_evidence_cannot_change_state_by_any_stream() {
    let world = World::new();
    let mut all = world.logins().await;
    all.push(world.relay().await);
    let mut wrong = Vec::new();
    for guarded in all {
        let address = serve_http2(&guarded.app).await;
        let client = connect_http2(address).await;
        alive(&guarded, &client).await.unwrap();
        let mut cookie = guarded.credential_fields();
        cookie.remove("sec-fetch-site");
        cookie.remove("x-csrf");
        let foreign = field(
            extended_connect(PATH, "websocket"),
            "origin",
            "https://other.example.test",
        );
        for request in [
            request("POST", PATH),
            request("post", PATH),
            request("get", PATH),
            request("X-ODD", PATH),
            connect(),
            extended_connect(PATH, "websocket"),
            extended_connect(DOCUMENT, "websocket"),
            extended_connect(PATH, "connect-udp"),
            foreign,
        ] {
            let shown = format!("{}: {request:?}", guarded.name);
            let status = ask(&client, with_fields(request, &cookie), &Rest::Data("hello")).await;
            let executed = guarded.executed.take();
            if !executed.is_empty() || ![0, 400, 403, 405].contains(&status) {
                wrong.push(format!("{shown} got {status}, executed {executed:?}"));
            }
        }
        if let Err(error) = alive(&guarded, &client).await {
            wrong.push(format!("{}: {error}", guarded.name));
        }
    }
    assert_none(&wrong);
}
