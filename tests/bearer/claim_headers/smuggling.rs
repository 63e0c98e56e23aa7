//! Header fields that a caller sends to replace those that the layers remove and set, over real connections.

use std::net::SocketAddr;

use http::header::{TE, TRAILER};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower_oauth::bearer::{StripTrailersLayer, StrippedBody};

use super::*;
use crate::support::api::soon;

/// Prints every header field and every trailer field that the handler receives.
async fn tell(request: Request<Body>) -> Response<Body> {
    let (Parts { headers, .. }, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let mut told = String::new();
    for (name, value) in headers.iter().chain(&trailers) {
        told.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    told.push_str(&format!("body: {:?}", body.to_bytes()));
    Response::new(Body::new(Full::from(told).with_trailers(async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-auth-sub", HeaderValue::from_static("of the response"));
        Some(Ok(trailers))
    })))
}

/// The layer outside of those that remove header fields.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trailers {
    Kept,
    AllStripped,
    NamedStripped,
}

fn app(server: &TestServer, trailers: Trailers) -> Router {
    let cookie = TokenSource::cookie("t").unwrap();
    let app = Router::new()
        .fallback(tell)
        .layer(ClaimHeadersLayer::new("x-auth-").unwrap())
        .layer(layer(server).add_token_source(cookie).without_forwarding());
    match trailers {
        Trailers::Kept => app,
        Trailers::AllStripped => app.layer(StripTrailersLayer::all()),
        Trailers::NamedStripped => {
            let names = ["X_Auth-", "Authorization", "dpop", "cookie"];
            app.layer(StripTrailersLayer::named(names).unwrap())
        }
    }
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

/// Sends these lines and a chunked body with these trailers, and returns the raw response.
async fn raw(address: SocketAddr, token: &str, lines: &str, trailers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked";
    let request = format!(
        "{head}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{lines}\r\n3\r\nabc\r\n0\r\n{trailers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The value of all forged fields.
const FORGED: &str = "forged";

#[tokio::test]
async fn trailers_of_http_1_are_forwarded_unless_they_are_stripped() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    let names = [
        "X-Auth-Sub",
        "x_auth_sub",
        "X.Auth.Roles",
        "Authorization",
        "DPoP",
        "Cookie",
    ];
    for trailers in [
        Trailers::Kept,
        Trailers::AllStripped,
        Trailers::NamedStripped,
    ] {
        let address = serve(app(&server, trailers)).await;
        for name in names {
            let behind = format!("{name}: {FORGED}\r\nx-sum: 1\r\n");
            let answer = soon(raw(address, &token, "", &behind)).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{name} {answer}");
            assert!(answer.contains("x-auth-sub: alice") && answer.contains("body: b\"abc\""));
            let arrived = (answer.contains(FORGED), answer.contains("x-sum: 1"));
            let expect = match trailers {
                Trailers::Kept => (true, true),
                Trailers::AllStripped => (false, false),
                Trailers::NamedStripped => (false, true),
            };
            assert_eq!(arrived, expect, "{trailers:?} {name}");
        }
    }
}

#[tokio::test]
async fn request_trailers_of_http_2_are_stripped_and_response_trailers_are_not() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    for trailers in [
        Trailers::Kept,
        Trailers::AllStripped,
        Trailers::NamedStripped,
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TowerToHyperService::new(app(&server, trailers));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let body = Full::<Bytes>::from("abc").with_trailers(async {
            let mut trailers = HeaderMap::new();
            for name in ["x-auth-sub", "authorization", "dpop", "cookie"] {
                trailers.append(name, HeaderValue::from_static(FORGED));
                trailers.append(name, HeaderValue::from_static(FORGED));
            }
            Some(Ok::<_, Infallible>(trailers))
        });
        let request = Request::post(format!("http://{address}/"))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(TE, "trailers");
        let response = soon(client.send_request(request.body(body.boxed()).unwrap()));
        let response = response.await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = soon(response.into_body().collect()).await.unwrap();
        let of_the_response = body.trailers().unwrap()["x-auth-sub"].clone();
        assert_eq!(of_the_response, "of the response");
        let told = String::from_utf8(body.to_bytes().into()).unwrap();
        assert!(told.contains("x-auth-sub: alice") && told.contains("body: b\"abc\""));
        assert_eq!(told.contains(FORGED), trailers == Trailers::Kept, "{told}");
    }
}

#[tokio::test]
async fn a_request_that_announces_a_removed_field_is_rejected() {
    let server = server();
    let token = good(&server).sign();
    let refused: &[(_, &[&str])] = &[
        (TRAILER, &["x-auth-sub"]),
        (TRAILER, &["X-AUTH-SUB"]),
        (TRAILER, &["X_Auth_Sub"]),
        (TRAILER, &["x.auth.anything"]),
        (TRAILER, &["x-sum,x-auth-sub"]),
        (TRAILER, &["x-sum ,\tx-auth-sub\t,"]),
        (TRAILER, &["x-sum", "x-auth-sub"]),
        (TRAILER, &["x-sum x-auth-sub"]),
        (TRAILER, &["\"x-auth-sub\""]),
        (TRAILER, &["x-auth-sub;q=1"]),
        (TRAILER, &["authorization"]),
        (TRAILER, &["x-sum, Authorization"]),
        (TRAILER, &["DPoP"]),
        (TRAILER, &["Cookie"]),
        (TE, &["x-auth-sub"]),
        (TE, &["trailers, X-Auth-Sub;q=0.5"]),
        (TE, &["trailers", "authorization"]),
        (TE, &["dpop"]),
    ];
    let accepted: &[(_, &[&str])] = &[
        (TRAILER, &["x-sum"]),
        (TRAILER, &["x-auth"]),
        (TRAILER, &["x-auths-sub, my-x-auth-sub"]),
        (TRAILER, &["x-authorization", "cookies"]),
        (TRAILER, &[""]),
        (TE, &["trailers"]),
        (TE, &["trailers, deflate;q=0.5"]),
        (TE, &[""]),
    ];
    let rows = refused.iter().map(|row| (row, 400));
    for ((field, lines), status) in rows.chain(accepted.iter().map(|row| (row, 200))) {
        let ask = async |trailers| {
            let mut request = Request::post("/").header(AUTHORIZATION, format!("Bearer {token}"));
            for line in *lines {
                request = request.header(field, *line);
            }
            ask(
                &app(&server, trailers),
                request.body(Body::empty()).unwrap(),
            )
            .await
        };
        assert_eq!(
            ask(Trailers::Kept).await.status,
            status,
            "{field} {lines:?}"
        );
        // A stripped field is not announced either, so there is no reason to reject the request.
        let is_trailer = *field == TRAILER;
        let status = if is_trailer { 200 } else { status };
        for trailers in [Trailers::AllStripped, Trailers::NamedStripped] {
            let answer = ask(trailers).await;
            assert_eq!(answer.status, status, "{field} {lines:?} {trailers:?}");
            assert!(
                !answer.body.contains("trailer: x-auth-sub"),
                "{}",
                answer.body
            );
        }
    }

    // Each layer rejects the fields that it removes.
    let announces = |name: &str| {
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        request.header(TRAILER, name).body(Body::empty()).unwrap()
    };
    let forwarding = mirror().layer(layer(&server));
    for name in ["authorization", "dpop", "cookie", "x-auth-sub"] {
        assert_eq!(
            ask(&forwarding, announces(name)).await.status,
            200,
            "{name}"
        );
    }
    let by_header = layer(&server).without_forwarding().optional();
    let by_header = by_header.add_token_source(TokenSource::header("x-gateway-token").unwrap());
    let by_header = mirror().layer(by_header);
    for (name, status) in [
        ("X_Gateway-Token", 400),
        ("cookie", 200),
        ("x-gateway", 200),
    ] {
        assert_eq!(
            ask(&by_header, announces(name)).await.status,
            status,
            "{name}"
        );
    }
    let spelled = Request::get("/").header("x_gateway_token", FORGED);
    let headers = seen(by_header, spelled.body(Body::empty()).unwrap()).await;
    assert!(!headers.contains_key("x_gateway_token"));
    let no_cookie = mirror().layer(layer(&server).without_forwarding().optional());
    for (name, status) in [("authorization", 400), ("dpop", 400), ("cookie", 200)] {
        assert_eq!(
            ask(&no_cookie, announces(name)).await.status,
            status,
            "{name}"
        );
        let anonymous = Request::get("/").header(TRAILER, name);
        let anonymous = anonymous.body(Body::empty()).unwrap();
        assert_eq!(ask(&no_cookie, anonymous).await.status, status, "{name}");
    }
}

/// Every spelling of a header that another component could interpret as one of the layers.
#[tokio::test]
async fn no_header_field_of_a_caller_replaces_one_of_the_layers() {
    let server = server();
    let token = good(&server).with_subject("alice").sign();
    let address = serve(app(&server, Trailers::AllStripped)).await;
    for (lines, statuses) in [
        ("X-Auth-Sub: forged\r\nX-Auth-Sub: forged\r\n", [200, 200]),
        ("X_Auth_Sub: forged\r\n", [200, 200]),
        ("X-Auth_Sub: forged\r\nx-auth-Roles: forged\r\n", [200, 200]),
        ("DPoP: forged\r\nDPoP: forged\r\n", [200, 200]),
        ("Cookie: T=forged\r\n", [400, 400]),
        ("Cookie: t =forged\r\n", [400, 400]),
        ("Cookie: t=; a=1\r\n", [200, 200]),
        ("Cookie: t=forged; t=forged\r\n", [400, 400]),
        ("Authorization: forged\r\n", [400, 400]),
        // Obsolete line folding, and white space before the colon (RFC 9112 §5.1, §5.2).
        ("X-Sum: 1\r\n X-Auth-Sub: forged\r\n", [400, 400]),
        ("X-Sum: 1\r\n\tX-Auth-Sub: forged\r\n", [400, 400]),
        ("X-Auth-Sub : forged\r\n", [400, 400]),
        ("X-Auth-Sub\t: forged\r\n", [400, 400]),
        ("X-Sum: 1\rX-Auth-Sub: forged\r\n", [400, 400]),
        // The next hop would remove the fields that `Connection` names.
        ("Connection: close, X-Auth-Sub\r\n", [200, 200]),
        ("Connection: x_auth_sub\r\n", [200, 200]),
    ] {
        let answer = soon(raw(address, &token, lines, "")).await;
        let status: u16 = answer[9..12].parse().unwrap();
        assert!(statuses.contains(&status), "{lines:?} {answer}");
        assert!(!answer.contains(FORGED), "{lines:?} {answer}");
        if status == 200 {
            assert!(answer.contains("x-auth-sub: alice"), "{lines:?} {answer}");
            let nominated = answer
                .lines()
                .filter(|line| line.starts_with("connection: "));
            assert!(
                nominated
                    .clone()
                    .all(|line| !line.to_lowercase().contains("auth"))
            );
        }
    }
}

#[test]
fn the_names_of_trailers_are_validated() {
    for bad in ["", "-", "x auth", "é"] {
        assert!(StripTrailersLayer::named([bad]).is_err(), "{bad:?}");
    }
    assert!(StripTrailersLayer::named([""; 0]).is_err());
    assert!(StripTrailersLayer::named(["x-auth-", "cookie"]).is_ok());
}

/// A body with given frames and a known size.
struct Frames(Vec<Result<Frame<Bytes>, &'static str>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0));
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let data = self.0.iter().flatten().filter_map(Frame::data_ref);
        http_body::SizeHint::with_exact(data.map(|data| u64::try_from(data.len()).unwrap()).sum())
    }
}

/// For any service and any body.
#[tokio::test]
async fn a_stripped_body_differs_only_in_its_trailers() {
    let trailers = |names: &[&'static str]| {
        let names = names.iter();
        let pairs = names.map(|name| (name.parse().unwrap(), HeaderValue::from_static("1")));
        Ok(Frame::trailers(pairs.collect()))
    };
    let data = |text: &'static str| Ok(Frame::data(Bytes::from(text)));
    for (name, layer, frames, expect) in [
        ("empty", StripTrailersLayer::all(), vec![], "0 true"),
        (
            "all",
            StripTrailersLayer::all(),
            vec![data("a"), data("bc"), trailers(&["x-sum", "x-auth-sub"])],
            "3 false a bc",
        ),
        (
            "named",
            StripTrailersLayer::named(["X-Auth-", "dpop"]).unwrap(),
            vec![
                data("a"),
                trailers(&["x-sum", "x_auth_sub", "dpop", "dpops"]),
            ],
            "1 false a [dpops x-sum]",
        ),
        (
            "nothing but trailers",
            StripTrailersLayer::named(["x-auth-sub"]).unwrap(),
            vec![trailers(&["x-auth-sub"])],
            "0 false",
        ),
        (
            "an error",
            StripTrailersLayer::all(),
            vec![data("a"), Err("gone")],
            "1 false a !gone",
        ),
    ] {
        let read = service_fn(async |request: Request<StrippedBody<Frames>>| {
            let mut body = std::pin::pin!(request.into_body());
            let hint = http_body::Body::size_hint(&*body).exact().unwrap();
            let mut told = format!("{hint} {}", http_body::Body::is_end_stream(&*body));
            while let Some(frame) = body.as_mut().frame().await {
                match frame.map(|frame| frame.into_data().map_err(|it| it.into_trailers())) {
                    Err(error) => told.push_str(&format!(" !{error}")),
                    Ok(Ok(data)) => told.push_str(&format!(" {}", str::from_utf8(&data).unwrap())),
                    Ok(Err(trailers)) => {
                        let trailers = trailers.unwrap();
                        let mut names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
                        names.sort_unstable();
                        told.push_str(&format!(" [{}]", names.join(" ")));
                    }
                }
            }
            assert!(http_body::Body::is_end_stream(&*body));
            Ok::<_, Infallible>(told)
        });
        let service = ServiceBuilder::new().layer(layer).service(read);
        let told = service.oneshot(Request::new(Frames(frames))).await.unwrap();
        assert_eq!(told, expect, "{name}");
    }
}
