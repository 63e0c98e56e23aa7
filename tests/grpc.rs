//! The layers on a tonic server over TCP, called by tonic's own client (gRPC over HTTP/2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod support;

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body::Body as _;
use support::{good, layer, layer_of, server, soon};
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{BearerLayer, ScopeLayer, VerifiedToken};

/// Serves the health service of tonic behind these layers; gives a client of tonic for it.
macro_rules! serve {
    ($layers:expr, $service:expr) => {{
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Server::builder().layer($layers).add_service($service);
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        HealthClient::new(soon(channel.unwrap().connect()).await.unwrap())
    }};
}

fn layers(
    bearer: BearerLayer,
) -> tower::layer::util::Stack<
    ScopeLayer,
    tower::layer::util::Stack<BearerLayer, tower::layer::util::Identity>,
> {
    ServiceBuilder::new()
        .layer(bearer)
        .layer(ScopeLayer::all("health:read").unwrap())
        .into_inner()
}

fn request(authorization: &[&str]) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest::default());
    for line in authorization {
        request
            .metadata_mut()
            .append("authorization", line.parse().unwrap());
    }
    request
}

async fn check(client: &mut HealthClient<Channel>, authorization: &[&str]) -> Result<i32, Status> {
    let answer = soon(client.check(request(authorization))).await?;
    Ok(answer.into_inner().status)
}

#[tokio::test]
async fn each_refusal_has_its_grpc_code_and_a_good_token_gets_its_answer() {
    let server = server();
    let mut client = serve!(
        layers(layer(&server)),
        tonic_health::server::health_reporter().1
    );
    let bearer = |mint: tower_oauth::testing::TokenMint| format!("Bearer {}", mint.sign());
    let read = || good(&server).with_scope("health:read");
    let good_line = bearer(read());
    assert_eq!(
        check(&mut client, &[&good_line]).await.unwrap(),
        i32::from(ServingStatus::Serving)
    );
    let expired = bearer(read().with_expires_in(-99));
    let other = bearer(good(&server).with_scope("write"));
    for (name, lines, code, message) in [
        (
            "nothing",
            vec![],
            Code::Unauthenticated,
            "an access token is needed",
        ),
        (
            "another scheme",
            vec!["Basic x"],
            Code::Unauthenticated,
            "an access token is needed",
        ),
        (
            "expired",
            vec![expired.as_str()],
            Code::Unauthenticated,
            "the access token has expired",
        ),
        (
            "junk",
            vec!["Bearer junk"],
            Code::Unauthenticated,
            "the access token is malformed or unsupported",
        ),
        (
            "unreadable",
            vec!["Bearer a b"],
            Code::Unauthenticated,
            "the credentials cannot be read, or there is more than one",
        ),
        (
            "two",
            vec![&good_line, &good_line],
            Code::Unauthenticated,
            "the credentials cannot be read, or there is more than one",
        ),
        (
            "scope",
            vec![other.as_str()],
            Code::PermissionDenied,
            "the access token does not grant the scope that is needed",
        ),
    ] {
        let status = check(&mut client, &lines).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{name}");
        let challenge = status
            .metadata()
            .get("www-authenticate")
            .unwrap()
            .to_str()
            .unwrap();
        let challenge = support::challenge::parse_line(challenge).unwrap();
        assert_eq!(challenge.len(), 1, "{name}");
        let scope = (code == Code::PermissionDenied).then_some("health:read");
        assert_eq!(challenge[0].parameter("scope"), scope, "{name}");
    }
    // A refusal of a call that streams looks the same.
    let status = soon(client.watch(request(&[]))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut stream = soon(client.watch(request(&[&good_line])))
        .await
        .unwrap()
        .into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
}

#[tokio::test]
async fn an_outage_is_unavailable_and_mends_itself() {
    let server = server();
    let mut client = serve!(
        layers(layer(&server)),
        tonic_health::server::health_reporter().1
    );
    server.fail(Endpoint::KeySet, Fault::status(500));
    let line = format!("Bearer {}", good(&server).with_scope("health:read").sign());
    let status = check(&mut client, &[&line]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::Unavailable,
            "access tokens cannot be verified at the moment"
        )
    );
    assert!(status.metadata().get("www-authenticate").is_none());
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
    server.mend(Endpoint::KeySet);
    server.clock().advance(Duration::from_secs(1));
    assert!(check(&mut client, &[&line]).await.is_ok());
}

#[tokio::test]
async fn a_missing_layer_is_internal() {
    let mut client = serve!(
        ScopeLayer::all("health:read").unwrap(),
        tonic_health::server::health_reporter().1
    );
    let status = check(&mut client, &["Bearer a.b.c"]).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("BearerLayer"));
}

#[tokio::test]
async fn a_handler_finds_the_token_in_the_extensions_of_its_request() {
    let server = server();
    let whoami = |request: Request<()>| match request.extensions().get::<VerifiedToken>() {
        Some(token) => Err(Status::already_exists(token.subject().unwrap_or_default())),
        None => Err(Status::not_found("nobody")),
    };
    let service = InterceptedService::new(tonic_health::server::health_reporter().1, whoami);
    let mut client = serve!(layer_of(&server.authorization_server()).optional(), service);
    let line = format!("Bearer {}", good(&server).sign());
    let status = check(&mut client, &[&line]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::AlreadyExists, "alice")
    );
    assert_eq!(
        check(&mut client, &[]).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        check(&mut client, &["Bearer junk"])
            .await
            .unwrap_err()
            .code(),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn a_refusal_is_trailers_only() {
    let server = server();
    let routes = Routes::new(tonic_health::server::health_reporter().1);
    let service = layers(layer(&server)).layer(routes);
    let request = http::Request::post("/grpc.health.v1.Health/Check")
        .header(CONTENT_TYPE, "application/grpc");
    let answer = soon(service.oneshot(request.body(tonic::body::Body::empty()).unwrap()))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/grpc");
    assert_eq!(answer.headers()["grpc-status"], "16");
    assert!(
        answer.body().is_end_stream(),
        "the status is in the header block, and nothing follows it"
    );
}

/// A proxy that asks by GET whether a request may pass hands on the caller's fields, and takes a 200 for a yes.
#[tokio::test]
async fn only_a_post_is_refused_in_the_words_of_grpc() {
    let layer = layer(&server());
    for (method, expected) in [
        (Method::POST, StatusCode::OK),
        (Method::GET, StatusCode::UNAUTHORIZED),
        (Method::HEAD, StatusCode::UNAUTHORIZED),
        (Method::PUT, StatusCode::UNAUTHORIZED),
        (Method::OPTIONS, StatusCode::UNAUTHORIZED),
    ] {
        let service = tower::service_fn(async |_: http::Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let request = http::Request::builder()
            .method(method.clone())
            .header(CONTENT_TYPE, "application/grpc")
            .body(())
            .unwrap();
        let answer = layer.layer(service).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), expected, "{method}");
    }
}
