//! The relay: scripts call an API with a token they never see, and nothing else is forwarded.

mod attacks;
mod dpop;
mod response_fields;
mod step_up;
mod targets;
mod upgrades;

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::Service;
use tower_oauth::relay::{Relay, RequestBody};
use tower_oauth::testing::{Endpoint, Fault, GrantType, TestClient, TestServer, TestUser};
use tower_oauth::{ConfigError, LoginLayer, Session};

use crate::support::shop::*;

const API: &str = "https://api.example.com/v1";

/// The header fields of a script of this application.
const SCRIPT: [(&str, &str); 4] = [
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-dest", "empty"),
    ("x-csrf", "1"),
];

type Fields = &'static [(&'static str, &'static str)];
type SetUp = fn(Relay<Upstream>) -> Relay<Upstream>;

/// A request as received by the upstream.
#[derive(Clone, Debug)]
struct Received {
    method: Method,
    uri: String,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

/// An upstream that records requests, and responds as configured.
#[derive(Clone, Default)]
struct Upstream {
    received: Arc<Mutex<Vec<Received>>>,
    status: Option<StatusCode>,
    fields: Fields,
    trailers: Fields,
    silent: bool,
}

fn header_map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

/// A body with trailers.
fn with_trailers(trailers: &[(&str, &str)]) -> Body {
    let trailers = ready(Some(Ok::<_, Infallible>(header_map(trailers))));
    Body::new(Full::new(Bytes::from_static(b"from the upstream")).with_trailers(trailers))
}

impl Upstream {
    fn responding(status: u16, fields: Fields) -> Self {
        Self {
            status: Some(StatusCode::from_u16(status).unwrap()),
            fields,
            ..Self::default()
        }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Service<Request<RequestBody<Body>>> for Upstream {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            assert!(parts.extensions.is_empty(), "{:?}", parts.extensions);
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            let body = body.to_bytes();
            this.received.lock().unwrap().push(Received {
                method: parts.method,
                uri: parts.uri.to_string(),
                headers: parts.headers,
                body,
                trailers,
            });
            if this.silent {
                pending::<()>().await;
            }
            let mut response = Response::new(match this.trailers {
                [] => Body::from("from the upstream"),
                trailers => with_trailers(trailers),
            });
            *response.status_mut() = this.status.unwrap_or_default();
            *response.headers_mut() = header_map(this.fields);
            Ok(response)
        })
    }
}

/// A shop with a relay below `/api`, and `/token` for the tests.
fn shop_with(
    upstream: &Upstream,
    set_up: impl FnOnce(Relay<Upstream>) -> Relay<Upstream>,
    configure: impl FnOnce(LoginLayer) -> LoginLayer,
) -> Shop {
    let relay = Relay::new(API).unwrap().with_transport(upstream.clone());
    let server = server();
    let token = |session: Session| async move {
        let token = session.access_token().await.unwrap();
        token.expose().to_owned()
    };
    let app = Router::new()
        .route("/token", axum::routing::get(token))
        .nest_service("/api", set_up(relay))
        .layer(configure(login(&server)));
    Shop { server, app }
}

fn shop(upstream: &Upstream) -> Shop {
    shop_with(upstream, |relay| relay, |login| login)
}

/// Sends a request with a session, and returns the response and what the upstream received.
async fn relayed_request(upstream: &Upstream, ask: Ask) -> (Answer, Vec<Received>) {
    let shop = shop(upstream);
    let jar = shop.signed_in().await;
    let answer = shop.send(ask.jar(&jar)).await;
    (answer, upstream.received())
}

/// Each upstream receives the token that is meant for it.
#[tokio::test]
async fn an_upstream_receives_the_token_for_its_resource() {
    let resources = ["https://api.example.com/v1", "https://other.example.com"];
    let server = server().add_client(client().with_resources(resources));
    let upstream = Upstream::default();
    let relay = |resource| {
        let relay = Relay::new(API).unwrap().with_transport(upstream.clone());
        relay.with_resource(resource)
    };
    let add = |login: LoginLayer, resource: &&str| login.add_resource(resource).unwrap();
    let app = Router::new()
        .nest_service("/first", relay(resources[0]))
        .nest_service("/second", relay(resources[1]))
        .nest_service("/third", relay("https://unknown.example.com"))
        .layer(resources.iter().fold(login(&server), add));
    let shop = Shop { server, app };
    let mut jar = shop.signed_in().await;
    for (path, resource) in [("/first/a", resources[0]), ("/second/a", resources[1])] {
        let answer = shop
            .send(Ask::new("GET", path).with(&SCRIPT).jar(&jar))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        jar.take(&answer);
        let received = upstream.received();
        let token = received.last().unwrap().headers["authorization"]
            .to_str()
            .unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["aud"], resource);
    }
    let answer = shop
        .send(Ask::new("GET", "/third/a").with(&SCRIPT).jar(&jar))
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(upstream.received().len(), 2);
}

/// The token is sent to the API only; method, path, query and body are unchanged.
#[tokio::test]
async fn a_script_reaches_the_api_with_a_token_it_never_sees() {
    let upstream = Upstream::responding(201, &[("x-total", "7"), ("etag", "\"1\"")]);
    let shop = shop(&upstream);
    let jar = shop.signed_in().await;
    let token = shop.send(Ask::page("/token").jar(&jar)).await.text();
    for (method, path, body) in [
        ("GET", "/api/orders?state=open&x=%2F", ""),
        ("POST", "/api/orders", "{\"item\":1}"),
        ("DELETE", "/api/orders/7", ""),
        ("PATCH", "/api/orders/a%20b%3A%E2%82%AC", "[]"),
        ("OPTIONS", "/api/", ""),
    ] {
        let ask = Ask::new(method, path).with(&SCRIPT).body(body);
        let ask = ask.with(&[("content-type", "application/json"), ("x-trace", "abc")]);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{method}");
        assert_eq!(answer.text(), "from the upstream");
        assert_eq!(answer.header("x-total"), "7");
        assert_eq!(answer.header("etag"), "\"1\"");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.head().contains(&token));
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.method.as_str(), method);
        let rest = path.strip_prefix("/api").unwrap();
        assert_eq!(received.uri, format!("{API}{rest}"));
        assert_eq!(received.body, body);
        assert_eq!(received.headers["x-trace"], "abc");
        assert_eq!(received.headers["content-type"], "application/json");
        let authorization = &received.headers["authorization"];
        assert_eq!(*authorization, format!("Bearer {token}"));
        assert!(authorization.is_sensitive());
        let all = received.headers.get_all("authorization").iter().count();
        assert_eq!((all, received.headers.contains_key("cookie")), (1, false));
    }
    assert_eq!(upstream.received().len(), 5);
}

/// CVE-2025-64484: identity headers of the browser are removed, in any spelling.
#[tokio::test]
async fn credentials_and_identity_headers_are_not_forwarded() {
    let removed = [
        "authorization",
        "Authorization",
        "cookie2",
        "dpop",
        "host",
        "referer",
        "expect",
        "proxy-authorization",
        "proxy_authorization",
        "proxy-connection",
        "keep-alive",
        "te",
        "transfer_encoding",
        "content_length",
        "http2-settings",
        "forwarded",
        "x-forwarded-for",
        "x_forwarded_for",
        "X.Forwarded.For",
        "x-forwarded",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "X-Forwarded_Email",
        "x-auth-request-user",
        "X-Auth-Request_User",
        "X_Auth_Request_Groups",
        "x-auth-sub",
        "remote-user",
        "Remote_User",
        "REMOTE_USER",
        "remote-groups",
        "x-remote-user",
        "x-real-ip",
        "X_Real_IP",
        "x-user-id",
        "x_user_id",
        "x-user",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x-http_method_override",
        "ssl-client-cert",
        "x-ssl-client-s-dn",
        "x-client-cert",
        "client-cert",
        "x-amzn-oidc-data",
        "x-goog-iap-jwt-assertion",
        "cf-access-jwt-assertion",
        "x-ms-client-principal",
        "x-ms-client-principal-name",
        "x-access-token",
        "x-consumer-username",
        "x-webauth-user",
        "x-jwt-assertion",
        "x-arr-clientcert",
        "X_ARR_ClientCert",
        "x-azure-clientip",
        "x-client-verified",
        "x-tls-client-cert",
        "x-host",
        "x-http-host-override",
        "x-custom-ip-authorization",
        "x-proxyuser-ip",
        "cluster-client-ip",
    ];
    for name in removed {
        let upstream = Upstream::default();
        let shop = shop(&upstream);
        let jar = shop.signed_in().await;
        let ask = Ask::new("GET", "/api/x")
            .with(&SCRIPT)
            .with(&[(name, "admin")]);
        assert_eq!(
            shop.send(ask.jar(&jar)).await.status,
            StatusCode::OK,
            "{name}"
        );
        let received = upstream.received().pop().unwrap();
        for (_, value) in &received.headers {
            assert_ne!(value, "admin", "{name}: {:?}", received.headers);
        }
    }
    for name in [
        "accept",
        "accept-language",
        "content-type",
        "if-none-match",
        "range",
        "user-agent",
        "origin",
        "x-request-id",
        "traceparent",
        "sec-websocket-protocol",
        "x-csrf-token",
        "x-username-hint",
    ] {
        let upstream = Upstream::default();
        let ask = Ask::new("GET", "/api/x").with(&SCRIPT).set(name, SHOP);
        let (_, received) = relayed_request(&upstream, ask).await;
        assert_eq!(received[0].headers[name], SHOP, "{name}");
    }
}

/// The application can add to and remove from the list.
#[tokio::test]
async fn the_removed_request_fields_can_be_configured_within_limits() {
    let upstream = Upstream::default();
    let set_up = |relay: Relay<Upstream>| {
        let relay = relay.add_stripped_header("X-Tenant").unwrap();
        let relay = relay.add_stripped_header("x-shop-").unwrap();
        relay.add_passed_header("X-Forwarded-For").unwrap()
    };
    let shop = shop_with(&upstream, set_up, |login| login);
    let jar = shop.signed_in().await;
    let ask = Ask::new("GET", "/api/x").with(&SCRIPT).with(&[
        ("x_tenant", "1"),
        ("x-tenants", "2"),
        ("X_Shop_Role", "3"),
        ("x-forwarded-for", "4"),
        ("x-forwarded-user", "5"),
    ]);
    shop.send(ask.jar(&jar)).await;
    let received = upstream.received().pop().unwrap();
    let names = [
        "x_tenant",
        "x-tenants",
        "x_shop_role",
        "x-forwarded-for",
        "x-forwarded-user",
    ];
    let there = names.map(|name| received.headers.contains_key(name));
    assert_eq!(there, [false, true, false, true, false]);

    for name in [
        "Authorization",
        "cookie",
        "dpop",
        "host",
        "referer",
        "expect",
        "proxy-authorization",
        "te",
        "connection",
        "transfer_encoding",
        "x-forwarded-",
        "",
        "a b",
    ] {
        let refused = Relay::new(API).unwrap().add_passed_header(name);
        assert!(
            matches!(refused, Err(ConfigError::Setting { .. })),
            "{name}"
        );
    }
    for name in ["", "-", "a b", "ä"] {
        let refused = Relay::new(API).unwrap().add_stripped_header(name);
        assert!(
            matches!(refused, Err(ConfigError::Setting { .. })),
            "{name}"
        );
    }
}

/// RFC 9110 §7.6.1: fields that `Connection` names are removed, except the relay's own.
#[tokio::test]
async fn fields_that_connection_names_are_not_forwarded() {
    let upstream = Upstream::default();
    let ask = Ask::new("POST", "/api/x").with(&SCRIPT).with(&[
        ("connection", "close, X-Secret"),
        ("connection", "authorization , x_hop,"),
        ("x-secret", "1"),
        ("x-hop", "2"),
        ("x-kept", "3"),
        ("te", "trailers, deflate;q=0.5"),
    ]);
    let (_, received) = relayed_request(&upstream, ask).await;
    let headers = &received[0].headers;
    assert!(
        headers["authorization"]
            .to_str()
            .unwrap()
            .starts_with("Bearer ")
    );
    assert!(!headers.contains_key("x-secret") && !headers.contains_key("x-hop"));
    assert_eq!(headers["x-kept"], "3");
    // Trailers are forwarded, so `TE` is sent again.
    assert_eq!(
        (headers["te"].as_bytes(), headers["connection"].as_bytes()),
        (&b"trailers"[..], &b"te"[..])
    );

    let upstream = Upstream::responding(
        200,
        &[
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("x-kept", "2"),
            ("keep-alive", "5"),
            ("upgrade", "h2c"),
        ],
    );
    let (answer, _) = relayed_request(&upstream, Ask::new("GET", "/api/x").with(&SCRIPT)).await;
    for gone in ["connection", "x-hop", "keep-alive", "upgrade"] {
        assert_eq!(answer.header(gone), "", "{gone}");
    }
    assert_eq!(answer.header("x-kept"), "2");
}

/// Requests without a session, from another site, or not of a script do not reach the upstream.
#[tokio::test]
async fn only_scripts_of_this_application_with_a_session_are_relayed() {
    let evil: [(&str, &str); 3] = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
        ("x-csrf", "1"),
    ];
    let own: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];
    let click: [(&str, &str); 5] = [
        ("accept", "text/html"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-user", "?1"),
    ];
    let link: [(&str, &str); 5] = [
        click[0],
        ("sec-fetch-site", "cross-site"),
        click[2],
        click[3],
        click[4],
    ];
    let image: [(&str, &str); 3] = [
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-dest", "image"),
    ];
    let own_image: [(&str, &str); 3] = [own[0], image[1], image[2]];
    let socket: [(&str, &str); 3] = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("origin", "https://blog.example.com"),
    ];
    type Row<'a> = &'a [(&'a str, &'a str)];
    // The fields, and whether they pass by default, with downloads, and without the header.
    let cases: [(&str, &str, Row<'_>, [u16; 3]); 12] = [
        ("a script", "GET", &SCRIPT, [200, 200, 200]),
        ("a script", "POST", &SCRIPT, [200, 200, 200]),
        ("no header", "GET", &own, [403, 403, 200]),
        ("no header", "POST", &own, [403, 403, 200]),
        ("evil", "GET", &evil, [403, 403, 200]),
        ("evil", "POST", &evil, [403, 403, 403]),
        ("a link of ours", "GET", &click, [403, 200, 200]),
        ("a refresh of ours", "GET", &click[..4], [403, 403, 200]),
        ("a link elsewhere", "GET", &link, [403, 403, 200]),
        ("an image of a sibling", "GET", &image, [403, 403, 200]),
        ("an own image", "GET", &own_image, [403, 403, 200]),
        ("a socket of a sibling", "GET", &socket, [403, 403, 403]),
    ];
    let set_ups: [SetUp; 3] = [
        |relay| relay,
        Relay::with_downloads,
        Relay::without_csrf_header,
    ];
    for (at, set_up) in set_ups.into_iter().enumerate() {
        let upstream = Upstream::default();
        let shop = shop_with(&upstream, set_up, |login| login);
        let jar = shop.signed_in().await;
        for (name, method, fields, expected) in cases {
            let before = upstream.received().len();
            let ask = Ask::new(method, "/api/x").with(fields);
            let answer = shop.send(ask.clone().jar(&jar)).await;
            assert_eq!(answer.status.as_u16(), expected[at], "{name} {method} {at}");
            let called = upstream.received().len() - before;
            assert_eq!(called, usize::from(expected[at] == 200), "{name} {at}");

            // Without a session: an error, and a login URL only for navigations and scripts.
            let answer = shop.send(ask).await;
            let redirected = at == 1 && name == "a link of ours";
            let expected = if redirected { 303 } else { 401 };
            assert_eq!(answer.status.as_u16(), expected, "{name} {at}");
            if !redirected {
                assert_eq!(answer.json()["code"], "login_required");
                assert_eq!(answer.header("www-authenticate"), "Cookie realm=\"login\"");
            }
            assert_eq!(upstream.received().len(), before + called);
        }
    }
}

/// An application without CSRF checks on its routes has not turned them off for the relay.
#[tokio::test]
async fn the_relay_requires_the_header_even_if_the_layer_does_not() {
    let upstream = Upstream::default();
    let unchecked = |login: LoginLayer| login.with_csrf(tower_oauth::login::Csrf::Unchecked);
    let shop = shop_with(&upstream, |relay| relay, unchecked);
    let jar = shop.signed_in().await;
    for method in ["GET", "POST"] {
        let ask = Ask::new(method, "/api/x").with(&[("sec-fetch-site", "cross-site")]);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    assert!(upstream.received().is_empty());
}

/// RFC 9110 §9.3.8: the response to TRACE would contain the token.
#[tokio::test]
async fn methods_that_are_not_relayed_get_405() {
    let upstream = Upstream::default();
    let get_alone = |relay: Relay<Upstream>| relay.with_methods([Method::GET]).unwrap();
    let propfind_too = |relay: Relay<Upstream>| {
        let propfind = Method::from_bytes(b"PROPFIND").unwrap();
        relay.with_methods([Method::GET, propfind]).unwrap()
    };
    let relays: [(SetUp, &[&str]); 3] = [
        (
            |relay| relay,
            &[
                "TRACE", "trace", "CONNECT", "Connect", "TRACK", "Track", "DEBUG", "PROPFIND",
                "MKCOL", "PURGE", "QUERY", "get", "X",
            ],
        ),
        (get_alone, &["TRACE", "POST", "HEAD", "get"]),
        (propfind_too, &["TRACE", "HEAD", "propfind"]),
    ];
    for (set_up, refused) in relays {
        let shop = shop_with(&upstream, set_up, |login| login);
        let jar = shop.signed_in().await;
        for method in refused {
            let uri = "https://shop.example.com/api/x";
            let answer = shop
                .send(Ask::new(method, uri).with(&SCRIPT).jar(&jar))
                .await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
            assert!(answer.header("allow").starts_with("GET"), "{method}");
        }
        assert!(upstream.received().is_empty());
        let ask = Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar);
        assert_eq!(shop.send(ask).await.status, StatusCode::OK);
        upstream.received.lock().unwrap().clear();
    }
    for methods in [
        vec![],
        vec![Method::TRACE],
        vec![Method::GET, Method::CONNECT],
        vec![Method::from_bytes(b"Track").unwrap()],
    ] {
        let refused = Relay::new(API).unwrap().with_methods(methods);
        assert!(matches!(refused, Err(ConfigError::Setting { .. })));
    }
}

/// RFC 10017 §6.1.3.6: no target reaches another origin, or leaves the path of the upstream.
#[tokio::test]
async fn no_target_reaches_another_origin() {
    let upstream = Upstream::default();
    let relay = Relay::new(API).unwrap().with_prefix("/api").unwrap();
    let server = server();
    let app = Router::new()
        .fallback_service(relay.with_transport(upstream.clone()))
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    for (target, status) in [
        ("/api/x", 200),
        ("http://evil.example/api/x", 200),
        ("https://user:word@evil.example/api/x", 200),
        ("/api/@evil.example/", 200),
        ("/api/https:/evil.example/", 200),
        ("/api//evil.example/x", 400),
        ("/api/https://evil.example/", 400),
        ("/api?https://evil.example/../", 200),
        ("//evil.example/api/x", 404),
        ("//evil.example/x", 404),
        ("/apix", 404),
        ("/api/../admin", 400),
        ("/api/%2e%2e/admin", 400),
        ("/api/..%2fadmin", 400),
        ("/api/..%255cadmin", 400),
        ("/api/..;/admin", 400),
        ("/api/x%0d%0aHost:%20evil.example", 400),
    ] {
        let before = upstream.received().len();
        let ask = Ask::new("GET", target)
            .with(&SCRIPT)
            .with(&[("host", "evil.example")]);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{target}");
        let received = upstream.received();
        assert_eq!(
            received.len() - before,
            usize::from(status == 200),
            "{target}"
        );
        if let Some(received) = received.get(before) {
            let uri = url::Url::parse(&received.uri).unwrap();
            assert_eq!(
                uri.origin().ascii_serialization(),
                "https://api.example.com"
            );
            assert!(uri.path().starts_with("/v1"), "{target}: {uri}");
            assert!(!received.headers.contains_key("host"));
        } else {
            assert!(!answer.text().contains("evil"), "{target}");
        }
    }
}

/// An upstream cannot act for the origin of the application.
#[tokio::test]
async fn a_response_sets_no_cookie_prompts_for_no_password_and_is_not_a_page() {
    let upstream = Upstream::responding(
        200,
        &[
            ("set-cookie", "__Host-Http-shop-session=x; Path=/; Secure"),
            ("set-cookie", "other=1"),
            ("www-authenticate", "Basic realm=\"shop\""),
            ("proxy-authenticate", "Basic realm=\"shop\""),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("clear-site-data", "\"cookies\""),
            ("strict-transport-security", "max-age=1"),
            ("alt-svc", "h3=\"evil.example:443\""),
            ("nel", "{}"),
            ("report-to", "{}"),
            ("service-worker-allowed", "/"),
            ("x-accel-redirect", "/internal"),
            ("x-sendfile", "/etc/passwd"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("content-security-policy", "default-src 'none'"),
            ("content-type", "text/html"),
            ("cache-control", "public, max-age=600"),
            ("x-own", "1"),
        ],
    );
    let (answer, _) = relayed_request(&upstream, Ask::new("GET", "/api/x").with(&SCRIPT)).await;
    let mut names: Vec<_> = answer.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "content-security-policy",
            "content-type",
            "cross-origin-resource-policy",
            "vary",
            "x-content-type-options",
            "x-own",
        ]
    );
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    let policies: Vec<_> = answer
        .headers
        .get_all("content-security-policy")
        .iter()
        .collect();
    assert_eq!(policies, ["default-src 'none'", "sandbox"]);

    // A response marked `private` may be cached by the browser.
    let upstream = Upstream::responding(200, &[("cache-control", "private, max-age=60")]);
    let (answer, _) = relayed_request(&upstream, Ask::new("GET", "/api/x").with(&SCRIPT)).await;
    assert_eq!(answer.header("cache-control"), "private, max-age=60");
    assert_eq!(answer.header("vary"), "cookie");
}

/// The status of the upstream is forwarded, and requests are not repeated.
#[tokio::test]
async fn a_rejection_of_the_upstream_is_forwarded_and_not_retried() {
    let cases: [(u16, Fields, u16); 8] = [
        (
            401,
            &[("www-authenticate", "Bearer error=\"invalid_token\"")],
            401,
        ),
        (401, &[("www-authenticate", "Basic realm=\"shop\"")], 401),
        (403, &[], 403),
        (404, &[], 404),
        (302, &[("location", "https://evil.example/")], 502),
        (407, &[("proxy-authenticate", "Basic")], 502),
        (
            101,
            &[("upgrade", "websocket"), ("connection", "upgrade")],
            502,
        ),
        (503, &[("retry-after", "7")], 503),
    ];
    for (status, fields, expected) in cases {
        let upstream = Upstream::responding(status, fields);
        let shop = shop(&upstream);
        let jar = shop.signed_in().await;
        let calls = shop.server.count(Endpoint::Token);
        let ask = Ask::new("POST", "/api/x").with(&SCRIPT).body("once");
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), expected, "{status}");
        assert_eq!(
            (
                upstream.received().len(),
                shop.server.count(Endpoint::Token)
            ),
            (1, calls)
        );
        assert_eq!(answer.set_cookies(), [""; 0]);
        if expected == status {
            assert_eq!(answer.text(), "from the upstream", "{status}");
        } else {
            let code = if status == 302 {
                "location_not_relayed"
            } else {
                "upstream_failed"
            };
            assert_eq!(answer.json()["code"], code, "{status}");
        }
        let challenge = answer.header("www-authenticate");
        let ours = if status == 401 {
            "Cookie realm=\"relay\""
        } else {
            ""
        };
        assert_eq!(challenge, ours, "{status}");
        let sent = fields.iter().find(|field| field.0 == "retry-after");
        assert_eq!(
            answer.header("retry-after"),
            sent.map_or("", |field| field.1)
        );
        assert_eq!(answer.header("location"), "");
    }
}

/// A shop with access tokens of five minutes, with or without refresh tokens.
fn shop_of(upstream: &Upstream, grants: &[GrantType]) -> Shop {
    let client = TestClient::confidential("shop", "shop-secret")
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .add_post_logout_redirect_uri(LOGOUT)
        .unwrap()
        .with_grant_types(grants.iter().copied())
        .without_consent();
    let server = crate::support::still_server(ISSUER)
        .unwrap()
        .add_client(client)
        .add_user(TestUser::new("alice", "wonderland"));
    let relay = Relay::new(API).unwrap().with_transport(upstream.clone());
    let app = Router::new()
        .nest_service("/api", relay)
        .layer(login(&server));
    Shop { server, app }
}

const LIFE: Duration = Duration::from_secs(300);

/// The API never receives an expired token, and concurrent requests share one refresh.
#[tokio::test]
async fn an_expired_token_is_refreshed_before_forwarding() {
    let upstream = Upstream::default();
    let shop = shop_of(
        &upstream,
        &[GrantType::AuthorizationCode, GrantType::RefreshToken],
    );
    let mut jar = shop.signed_in().await;
    let ask = || Ask::new("POST", "/api/x").with(&SCRIPT).body("kept");
    shop.send(ask().jar(&jar)).await;
    shop.clock().advance(LIFE);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (shop, ask) = (shop.clone(), ask().jar(&jar));
        asking.spawn(async move { shop.send(ask).await });
    }
    for answer in asking.join_all().await {
        assert_eq!(answer.status, StatusCode::OK);
        jar.take(&answer);
    }
    assert_eq!(shop.server.count_grant(GrantType::RefreshToken), 1);
    let received = upstream.received();
    let tokens: std::collections::BTreeSet<_> = received
        .iter()
        .map(|received| {
            received.headers["authorization"]
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!((received.len(), tokens.len()), (21, 2));
    assert!(received.iter().all(|received| received.body == "kept"));
    // The cookies of the responses have the new token.
    assert_eq!(shop.send(ask().jar(&jar)).await.status, StatusCode::OK);
    assert_eq!(shop.server.count_grant(GrantType::RefreshToken), 1);
    let last = upstream.received().pop().unwrap();
    assert!(tokens.contains(last.headers["authorization"].to_str().unwrap()));
}

/// Without a valid access token the upstream is not called, and the status tells whether the user,
/// the client or the authorization server has to act.
#[tokio::test]
async fn without_a_valid_token_nothing_is_sent() {
    let away = Fault::status(503).only_for(GrantType::RefreshToken);
    let refused = |code| Fault::refusal(code).only_for(GrantType::RefreshToken);
    let a_space = Fault::member("access_token", "a b").only_for(GrantType::RefreshToken);
    let both = &[GrantType::AuthorizationCode, GrantType::RefreshToken][..];
    for (name, grants, fault, status, code) in [
        ("none", &both[..1], None, 401, "login_required"),
        ("outage", both, Some(away), 503, "token_unavailable"),
        (
            "our client",
            both,
            Some(refused("invalid_client")),
            502,
            "token_unavailable",
        ),
        ("a space", both, Some(a_space), 502, "token_unavailable"),
        (
            "ended",
            both,
            Some(refused("invalid_grant")),
            401,
            "login_required",
        ),
    ] {
        let upstream = Upstream::default();
        let shop = shop_of(&upstream, grants);
        let jar = shop.signed_in().await;
        if let Some(fault) = fault {
            shop.server.fail(Endpoint::Token, fault);
            // Its `at_hash` is that of another access token.
            let no_id_token = Fault::without_member("id_token");
            shop.server.fail(Endpoint::Token, no_id_token);
        }
        shop.clock().advance(LIFE);
        let answer = shop
            .send(Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.json()["code"], code, "{name}");
        let waits = answer.headers.contains_key("retry-after");
        // A retry helps against an outage only.
        assert_eq!(waits, status != 401 && name != "a space", "{name}");
        assert!(upstream.received().is_empty(), "{name}");
        let challenge = answer.headers.contains_key("www-authenticate");
        assert_eq!(challenge, status == 401, "{name}");
    }
}

/// 504 after the timeout by the clock of the application, and not earlier.
#[tokio::test]
async fn an_upstream_that_does_not_respond_times_out() {
    let upstream = Upstream {
        silent: true,
        ..Upstream::default()
    };
    let set_up = |relay: Relay<Upstream>| relay.with_timeout(Duration::from_secs(7)).unwrap();
    let shop = shop_with(&upstream, set_up, |login| login);
    let jar = shop.signed_in().await;
    let clock = shop.clock();
    let ask = Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar);
    let asking = tokio::spawn({
        let shop = shop.clone();
        async move { shop.send(ask).await }
    });
    while upstream.received().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_millis(6_999));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished());
    // The end of the body was progress and restarted the timeout.
    let mut turns = 0;
    while !asking.is_finished() && turns < 10_000 {
        clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
        turns += 1;
    }
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.json()["code"], "upstream_too_late");
    for timeout in [Duration::ZERO, Duration::from_secs(3601)] {
        let refused = Relay::new(API).unwrap().with_timeout(timeout);
        assert!(matches!(refused, Err(ConfigError::Setting { .. })));
    }
}

/// A relay without a login layer cannot authenticate requests.
#[tokio::test]
async fn a_relay_without_a_login_layer_reports_it() {
    let relay = Relay::new(API).unwrap().with_transport(Upstream::default());
    let app = Router::new().nest_service("/api", relay);
    let answer = send(&app, Ask::new("GET", "/api/x").with(&SCRIPT)).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("LoginLayer"));
}

// Over sockets: the transport of the crate, and a server as in production.

/// The application on a socket, in front of an upstream on another one, and a connection to it.
struct Wire {
    client: SendRequest<Body>,
    address: SocketAddr,
    jar: Jar,
    server: TestServer,
}

impl Wire {
    async fn to<F, Fut, B>(upstream: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let upstream = upstream.clone();
                let service = service_fn(move |request| {
                    let answer = upstream(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Self::before(api).await
    }

    async fn before(api: SocketAddr) -> Self {
        let server = server();
        let relay = Relay::new(&format!("http://{api}/v1")).unwrap();
        let app = Router::new()
            .nest_service("/api", relay)
            .layer(login(&server));
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, shop.app).into_future());
        let stream = TcpStream::connect(address).await.unwrap();
        let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        Self {
            client,
            address,
            jar,
            server: shop.server,
        }
    }

    fn request(&self, method: &str, path: &str, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let headers = request.headers_mut();
        for (name, value) in SCRIPT {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("host", HeaderValue::from_static("shop.example.com"));
        headers.insert("cookie", self.jar.header().parse().unwrap());
        request
    }
}

/// A body that the test sends frame by frame.
struct StreamedBody(mpsc::UnboundedReceiver<Frame<Bytes>>);

fn streamed_body() -> (mpsc::UnboundedSender<Frame<Bytes>>, StreamedBody) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, StreamedBody(receiver))
}

impl http_body::Body for StreamedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

/// Streams arrive while they are being sent, with their trailers.
#[tokio::test]
async fn events_and_trailers_arrive_as_they_are_sent() {
    let (feed, body) = streamed_body();
    let body = Arc::new(Mutex::new(Some(body)));
    let mut wire = Wire::to(move |request| {
        let body = body.lock().unwrap().take().unwrap();
        assert_eq!(request.headers()["te"], "trailers");
        async move {
            let mut response = Response::new(body);
            let headers = response.headers_mut();
            headers.insert(
                "content-type",
                HeaderValue::from_static("text/event-stream"),
            );
            headers.insert("trailer", HeaderValue::from_static("x-sum"));
            response
        }
    })
    .await;
    let mut request = wire.request("GET", "/api/events", Body::empty());
    let headers = request.headers_mut();
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("connection", HeaderValue::from_static("te"));
    let mut response = wire.client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        feed.send(data(event)).unwrap();
        // The next one is sent after this one has arrived.
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("2"));
    feed.send(Frame::trailers(trailers)).unwrap();
    drop(feed);
    let frame = response.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-sum"], "2");
    assert!(response.frame().await.is_none());
}

/// Fields that are removed from the header section are removed from trailers too, in any spelling.
#[tokio::test]
async fn trailers_of_an_upload_carry_no_credentials_and_no_identity() {
    let upstream = Upstream::default();
    let set_up = |relay: Relay<Upstream>| {
        let relay = relay.add_stripped_header("X-Tenant").unwrap();
        relay.add_passed_header("x-real-ip").unwrap()
    };
    let shop = shop_with(&upstream, set_up, |login| login);
    let jar = shop.signed_in().await;
    let names = [
        "authorization",
        "cookie",
        "dpop",
        "x-auth-sub",
        "X_Auth_Sub",
        "x-forwarded-client-cert",
        "x_tenant",
        "content-length",
        "trailer",
        "x-real-ip",
        "x-sum",
    ];
    let pairs = names.map(|name| (name.parse().unwrap(), HeaderValue::from_static("1")));
    let trailers: HeaderMap = pairs.into_iter().collect();
    let body = Full::<Bytes>::from("abc")
        .with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/api/x".parse().unwrap();
    let headers = request.headers_mut();
    for (name, value) in SCRIPT {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cookie", jar.header().parse().unwrap());
    let response = shop.app.clone().call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let received = upstream.received().pop().unwrap();
    let mut left: Vec<_> = received.trailers.keys().map(|name| name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(
        (&*received.body, &*left),
        (&b"abc"[..], &["x-real-ip", "x-sum"][..])
    );
}

/// Request bodies are not buffered: the first part arrives before the last is written.
#[tokio::test]
async fn an_upload_is_streamed_and_has_no_total_time_limit() {
    let (heard, mut hear) = mpsc::unbounded_channel();
    let mut wire = Wire::to(move |mut request| {
        let heard = heard.clone();
        async move {
            assert_eq!(request.headers()["transfer-encoding"], "chunked");
            while let Some(frame) = request.frame().await {
                heard.send(frame.unwrap().into_data().unwrap()).unwrap();
            }
            Response::new(Full::from("thanks"))
        }
    })
    .await;
    let (feed, body) = streamed_body();
    let request = wire.request("POST", "/api/upload", Body::new(body));
    let answer = tokio::spawn(wire.client.send_request(request));
    let clock = wire.server.clock();
    for part in ["one", "two", "three", "four"] {
        feed.send(data(part)).unwrap();
        assert_eq!(hear.recv().await.unwrap(), part);
        // In total it takes longer than the response timeout.
        clock.advance(Duration::from_secs(20));
    }
    drop(feed);
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "thanks");
}

/// Back-pressure: a reader that stops stops the writer, and nothing is buffered without limit.
#[tokio::test]
async fn a_reader_that_stops_applies_back_pressure_to_the_upstream() {
    let written = Arc::new(Mutex::new(0_usize));
    let counter = Arc::clone(&written);
    struct Endless(Arc<Mutex<usize>>);
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            *self.0.lock().unwrap() += 64 * 1024;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 64 * 1024])))))
        }
    }
    impl Drop for Endless {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = usize::MAX;
        }
    }
    let mut wire = Wire::to(move |_| {
        let counter = Arc::clone(&counter);
        async move { Response::new(Endless(counter)) }
    })
    .await;
    let request = wire.request("GET", "/api/endless", Body::empty());
    let mut response = wire.client.send_request(request).await.unwrap();
    response.frame().await.unwrap().unwrap();
    // Written until the socket buffers are full; then it stops.
    let mut before = 0;
    let mut still = 0;
    while still < 200 {
        tokio::task::yield_now().await;
        let now = *written.lock().unwrap();
        assert!(now < 64 << 20, "{now} bytes for a reader who reads none");
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    // A closed connection ends the request to the upstream.
    drop(response);
    drop(wire.client);
    while *written.lock().unwrap() != usize::MAX {
        tokio::task::yield_now().await;
    }
}

/// RFC 6455 §4: after a valid handshake, bytes are forwarded in both directions.
#[tokio::test]
async fn a_websocket_is_connected() {
    let (heard, mut hear) = mpsc::unbounded_channel();
    let mut wire = Wire::to(move |mut request| {
        heard.send(request.headers().clone()).unwrap();
        async move {
            let upgrading = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrading.await.unwrap());
                let mut said = [0; 5];
                stream.write_all(b"hello").await.unwrap();
                while stream.read_exact(&mut said).await.is_ok() {
                    said.reverse();
                    stream.write_all(&said).await.unwrap();
                }
            });
            let mut response = Response::new(Empty::new());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            for (name, value) in [
                ("connection", "Upgrade"),
                ("upgrade", "WebSocket"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("sec-websocket-protocol", "chat"),
                ("set-cookie", "a=b"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            response
        }
    })
    .await;
    let mut request = wire.request("GET", "/api/socket", Body::empty());
    let headers = request.headers_mut();
    headers.remove("x-csrf"); // a browser's WebSocket cannot have it
    for (name, value) in [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("origin", SHOP),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut response = wire.client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let received = hear.recv().await.unwrap();
    assert!(
        received["authorization"]
            .to_str()
            .unwrap()
            .starts_with("Bearer ")
    );
    assert!(!received.contains_key("cookie"));
    assert_eq!(received["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    let headers = response.headers();
    assert_eq!(
        headers["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    assert!(!headers.contains_key("set-cookie"));
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
    for _ in 0..3 {
        stream.write_all(b"abcde").await.unwrap();
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"edcba");
    }
    // Closing one end closes the other.
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut said).await.unwrap(), 0);
}

/// RFC 10017 §6.1.3.6: raw request lines, without a library that would normalize them.
#[tokio::test]
async fn no_request_line_reaches_another_origin() {
    let (heard, mut hear) = mpsc::unbounded_channel();
    let wire = Wire::to(move |request: Request<Incoming>| {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        heard.send((request.uri().to_string(), host)).unwrap();
        async { Response::new(Full::from("here")) }
    })
    .await;
    let head: String = SCRIPT
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    for (target, expected) in [
        ("/api/x", Some("/v1/x")),
        ("http://evil.example/api/x", Some("/v1/x")),
        ("http://evil.example:80/api//evil.example/", None),
        ("/api//x", None),
        ("//evil.example/api/x", None),
        ("/api/../x", None),
        ("/api/%2e%2e/x", None),
        ("/api/..\\x", None),
    ] {
        let mut stream = TcpStream::connect(wire.address).await.unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{head}Cookie: {}\r\n\r\n",
            wire.jar.header()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let received = hear.try_recv().ok();
        assert_eq!(
            received.as_ref().map(|received| received.0.as_str()),
            expected,
            "{target}: {answer}"
        );
        if let Some((_, host)) = received {
            assert!(host.starts_with("127.0.0.1:"), "{host}");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        } else {
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
}

/// The token is not sent to a server without a valid certificate for the name.
#[tokio::test]
async fn an_upstream_with_another_certificate_receives_nothing() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, mut hear) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        let shaken = match acceptor.accept(stream).await {
            Ok(mut stream) => stream.read_to_end(&mut bytes).await.is_ok(),
            Err(_) => false,
        };
        heard.send((shaken, bytes)).unwrap();
    });
    let server = server();
    let relay = Relay::new(&format!("https://localhost:{port}")).unwrap();
    let app = Router::new()
        .nest_service("/api", relay)
        .layer(login(&server));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    let answer = shop
        .send(Ask::new("GET", "/api/x").with(&SCRIPT).jar(&jar))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let (_, bytes) = hear.recv().await.unwrap();
    assert_eq!(bytes, b"");
}

/// A refused or closed connection: 502, and the connection to the browser stays open.
#[tokio::test]
async fn an_unreachable_upstream_is_a_bad_gateway() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed_port = closed.local_addr().unwrap();
    drop(closed);
    let closes_connection = rude.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(rude.accept().await);
        }
    });
    for api in [closed_port, closes_connection] {
        let mut wire = Wire::before(api).await;
        for _ in 0..2 {
            let request = wire.request("GET", "/api/x", Body::empty());
            let response = wire.client.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(body.contains("upstream_failed"), "{body}");
            assert!(!body.contains("127.0.0.1"), "{body}");
        }
    }
}

#[path = "../../examples/spa.rs"]
#[allow(dead_code)]
mod spa;

/// The example does what its header describes.
#[tokio::test]
async fn the_example_gives_its_script_no_token() {
    let app = "http://127.0.0.1:2";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer_address = listener.local_addr().unwrap();
    drop(listener);
    let issuer = format!("http://{issuer_address}");
    let server = spa::demo_server(&issuer, app).unwrap();
    let _listening = server.listen(issuer_address).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let service = spa::api::api(&issuer).unwrap();
    tokio::spawn(axum::serve(listener, service).into_future());
    let application = spa::application(&issuer, app, &api).unwrap();

    let browser = server
        .browser()
        .with_origin(app, application.clone())
        .unwrap();
    let page = browser
        .navigate(&format!("{app}/auth/login"))
        .await
        .unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert!(
        page.text()
            .contains("What the script of this page can read")
    );
    assert_eq!(browser.script_cookies(app), "");
    let cookie = browser.cookie(app, "notes-spa-session").unwrap();
    let jar = Jar::of(&[("notes-spa-session", cookie.value())]);
    let ask = |method: &str, path: &str| {
        Ask::new(method, path)
            .with(&[("sec-fetch-site", "same-origin")])
            .jar(&jar)
    };
    let header = [("x-csrf", "1")];
    let answer = send(
        &application,
        ask("GET", "/app.js").with(&[("sec-fetch-dest", "script")]),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        answer
            .header("content-security-policy")
            .contains("script-src 'self'")
    );
    let answer = send(&application, ask("GET", "/auth/session").with(&header)).await;
    assert_eq!(answer.json()["subject"], "alice");
    let answer = send(
        &application,
        ask("POST", "/api/notes").with(&header).body("Call Bob"),
    )
    .await;
    assert_eq!(answer.json()["notes"][2], "Call Bob", "{answer:?}");
    assert_eq!(answer.json()["of"], "alice");
    let answer = send(&application, ask("GET", "/api/notes")).await;
    assert_eq!(answer.json()["code"], "cross_site_request");
}
