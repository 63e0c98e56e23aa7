//! The layers on a tonic server over TCP, called by tonic's own client (gRPC over HTTP/2).

mod status;

use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use http_body::Body as _;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{LayerExt as _, Routes};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};
use tower_oauth::bearer::{MethodScopesLayer, Refusal, StripTrailersLayer};
use tower_oauth::grpc::{self, ForwardToken};
use tower_oauth::testing::{DpopKey, Endpoint, Fault};
use tower_oauth::token::Dpop;
use tower_oauth::{Algorithm, BearerLayer, Claims, ScopeLayer};

use crate::support::api::{self, good, layer, server, soon};
use crate::support::challenge::Challenge;

/// Serves tonic's health service behind these layers, and returns a channel.
macro_rules! channel {
    ($layers:expr, $service:expr) => {{
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Server::builder().layer($layers).add_service($service);
        tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        soon(channel.unwrap().connect()).await.unwrap()
    }};
}

/// The same with a tonic client.
macro_rules! serve {
    ($layers:expr, $service:expr) => {
        HealthClient::new(channel!($layers, $service))
    };
}

/// The one challenge of a status.
fn challenge(status: &Status) -> Challenge {
    let line = status.metadata().get("www-authenticate").unwrap();
    let challenges = crate::support::challenge::parse_line(line.to_str().unwrap()).unwrap();
    let [challenge] = challenges.try_into().expect("one challenge");
    challenge
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
async fn each_rejection_has_its_grpc_code_and_a_valid_token_is_accepted() {
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
            "an access token is required",
        ),
        (
            "another scheme",
            vec!["Basic x"],
            Code::Unauthenticated,
            "an access token is required",
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
            "malformed or repeated credentials",
        ),
        (
            "two",
            vec![&good_line, &good_line],
            Code::Unauthenticated,
            "malformed or repeated credentials",
        ),
        (
            "scope",
            vec![other.as_str()],
            Code::PermissionDenied,
            "the access token lacks a required scope",
        ),
    ] {
        let status = check(&mut client, &lines).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{name}");
        let scope = (code == Code::PermissionDenied).then_some("health:read");
        assert_eq!(challenge(&status).parameter("scope"), scope, "{name}");
    }
    // The rejection of a streaming call is the same.
    let status = soon(client.watch(request(&[]))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut stream = soon(client.watch(request(&[&good_line])))
        .await
        .unwrap()
        .into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
}

#[tokio::test]
async fn request_trailers_are_stripped_and_the_status_of_a_tonic_server_is_kept() {
    let server = server();
    let layers = ServiceBuilder::new()
        .layer(StripTrailersLayer::all())
        .layer(layers(layer(&server).without_forwarding()))
        .into_inner();
    let mut client = serve!(layers, tonic_health::server::health_reporter().1);
    let line = format!("Bearer {}", good(&server).with_scope("health:read").sign());
    let serving = check(&mut client, &[&line]).await;
    assert_eq!(serving.unwrap(), i32::from(ServingStatus::Serving));
    // The status of a method is in the trailers of the response.
    let mut unknown = request(&[&line]);
    unknown.get_mut().service = "unknown".to_owned();
    let status = soon(client.check(unknown)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn an_outage_is_unavailable_and_recovers() {
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
            "access tokens cannot be validated right now"
        )
    );
    assert!(status.metadata().get("www-authenticate").is_none());
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
    server.clear_faults(Endpoint::KeySet);
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

/// A health service whose method receives the tonic request.
macro_rules! behind {
    ($method:expr) => {
        InterceptedService::new(tonic_health::server::health_reporter().1, $method)
    };
}

#[tokio::test]
async fn a_method_reads_its_token_and_a_missing_layer_is_not_an_anonymous_call() {
    let server = server();
    let good_line = format!("Bearer {}", good(&server).sign());
    let whoami = |request: Request<()>| {
        let token = grpc::token::<Claims>(&request)?;
        Err(Status::already_exists(token.subject().unwrap_or_default()))
    };
    let mut client = serve!(layer(&server).optional(), behind!(whoami));
    let status = check(&mut client, &[&good_line]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::AlreadyExists, "alice")
    );
    let status = check(&mut client, &[]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unauthenticated, "an access token is required")
    );
    assert_eq!(challenge(&status).parameter("realm"), Some("api"));
    let status = check(&mut client, &["Bearer junk"]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);

    let maybe = |request: Request<()>| match grpc::optional_token::<Claims>(&request)? {
        Some(_) => Err(Status::already_exists("authenticated")),
        None => Err(Status::not_found("anonymous")),
    };
    let mut client = serve!(layer(&server).optional(), behind!(maybe));
    for (lines, code) in [
        (vec![good_line.as_str()], Code::AlreadyExists),
        (vec![], Code::NotFound),
    ] {
        let status = check(&mut client, &lines).await.unwrap_err();
        assert_eq!(status.code(), code);
    }
    let mut client = serve!(tower::layer::util::Identity::new(), behind!(maybe));
    let status = check(&mut client, &[&good_line]).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("BearerLayer"), "{status:?}");
    let other = layer(&server).with_claims::<serde_json::Value>();
    let mut client = serve!(other, behind!(whoami));
    let status = check(&mut client, &[&good_line]).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(
        status.message().contains("different claims types"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_requirement_inside_of_a_method_is_rejected_like_by_its_layer() {
    let server = server();
    let demand = |request: Request<()>| {
        grpc::require(
            &request,
            &ScopeLayer::any("health:read health:all").unwrap(),
        )?;
        Ok(request)
    };
    let bearer = layer(&server).with_realm("health").unwrap();
    let mut client = serve!(bearer.optional(), behind!(demand));
    let line = |scope| format!("Bearer {}", good(&server).with_scope(scope).sign());
    assert!(check(&mut client, &[&line("health:all")]).await.is_ok());
    let status = check(&mut client, &[&line("other")]).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let said = challenge(&status);
    assert_eq!(said.parameter("realm"), Some("health"));
    assert_eq!(said.parameter("error"), Some("insufficient_scope"));
    assert_eq!(said.parameter("scope"), Some("health:read"));
    let status = check(&mut client, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(challenge(&status).parameter("error"), None);
}

#[tokio::test]
async fn each_method_has_its_scopes_and_unlisted_methods_are_rejected() {
    let server = server();
    let scopes = |scopes| ScopeLayer::all(scopes).unwrap();
    let methods = MethodScopesLayer::new()
        .add("/grpc.health.v1.Health/Check", scopes("health:read"))
        .unwrap()
        .add("/grpc.health.v1.Health/*", scopes("health:watch"))
        .unwrap();
    let guarded = |methods: MethodScopesLayer, bearer: BearerLayer| {
        ServiceBuilder::new()
            .layer(bearer)
            .layer(methods)
            .into_inner()
    };
    let health = || tonic_health::server::health_reporter().1;
    let mut client = serve!(guarded(methods, layer(&server)), health());
    let read = format!("Bearer {}", good(&server).with_scope("health:read").sign());
    let watch = format!("Bearer {}", good(&server).with_scope("health:watch").sign());
    assert!(check(&mut client, &[&read]).await.is_ok());
    assert!(soon(client.watch(request(&[&watch]))).await.is_ok());
    let status = check(&mut client, &[&watch]).await.unwrap_err();
    assert_eq!(challenge(&status).parameter("scope"), Some("health:read"));
    let status = soon(client.watch(request(&[&read]))).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(challenge(&status).parameter("scope"), Some("health:watch"));
    let status = check(&mut client, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);

    // No method of this service is listed.
    let others = MethodScopesLayer::new()
        .add("/grpc.health.v1.Healthy/*", scopes("health:read"))
        .unwrap();
    let mut client = serve!(guarded(others, layer(&server).optional()), health());
    let status = check(&mut client, &[&read]).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::PermissionDenied, "method not allowed")
    );
    assert!(status.metadata().get("www-authenticate").is_none());
    let status = check(&mut client, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);

    // Accepts every valid token and no other request; 500 without an outer layer.
    let open = MethodScopesLayer::new()
        .add_unscoped("/grpc.health.v1.Health/Check")
        .unwrap();
    let mut client = serve!(guarded(open.clone(), layer(&server)), health());
    assert!(check(&mut client, &[&watch]).await.is_ok());
    let status = check(&mut client, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut client = serve!(open, health());
    let status = check(&mut client, &[&watch]).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[test]
fn method_paths_are_validated_when_they_are_added() {
    let scopes = || ScopeLayer::all("a").unwrap();
    for path in [
        "",
        "/",
        "a/b",
        "/a",
        "/a/",
        "//b",
        "/a/b/",
        "/a/b/c",
        "/a b/c",
        "/a/\u{e9}",
        "/a/%44elete",
        "/a-b/c",
        "/a/b;c",
        "/a/b?c",
        "/a/b*",
        "/*/b",
        "/a/..",
        "/../b",
        "/.a/b",
        "/a./b",
        "/a..b/c",
    ] {
        assert!(
            MethodScopesLayer::new().add(path, scopes()).is_err(),
            "{path}"
        );
    }
    for path in ["/a/b", "/a/*"] {
        let methods = MethodScopesLayer::new().add(path, scopes()).unwrap();
        assert!(methods.add(path, scopes()).is_err(), "{path} twice");
    }
}

/// Paths are compared byte for byte.
#[tokio::test]
async fn no_other_spelling_of_a_listed_path_is_accepted() {
    let server = server();
    let methods = MethodScopesLayer::new()
        .add("/a.B/Get", ScopeLayer::all("read").unwrap())
        .unwrap()
        .add("/a.C/*", ScopeLayer::all("read").unwrap())
        .unwrap()
        .add("/a.C/Purge", ScopeLayer::all("admin").unwrap())
        .unwrap();
    let token = good(&server).with_scope("read").sign();
    for (path, status) in [
        ("/a.B/Get", 200),
        ("/a.B/Get?x", 200),
        ("/a.C/Get", 200),
        ("/a.b/Get", 403),
        ("/a.B/get", 403),
        ("/a.B/Get/", 403),
        ("/a.B//Get", 403),
        ("//a.B/Get", 403),
        ("/a%2EB/Get", 403),
        ("/a.B/%47et", 403),
        ("/a.B/", 403),
        ("/a.B/*", 403),
        ("/a.B", 403),
        ("/a.C/Get/More", 403),
        ("/a.C", 403),
        ("/", 403),
        // Under the wildcard of a service: paths that a decoding router would interpret as another method.
        ("/a.C/Purge", 403),
        ("/a.C/purge", 403),
        ("/a.C/PURGE", 403),
        ("/a.c/Purge", 403),
        ("/a.C/Purges", 200),
        ("/a.C/%44elete", 403),
        ("/a.C/Delete%20", 403),
        ("/a.C/Delete%00", 403),
        ("/a.C/Delete;x", 403),
        ("/a.C/Delete%3Bx", 403),
        ("/a.C/x%2F..%2FDelete", 403),
        ("/a.C/x%2fDelete", 403),
        ("/a.C/x\\Delete", 403),
        ("/a.C/x%5CDelete", 403),
        ("/a.C/%u0044elete", 403),
        ("/a.C/%2544elete", 403),
        ("/a.C/..", 403),
        ("/a.C/.", 403),
        ("/a.C/%2e%2e", 403),
        ("/a.C/..%2fa.B%2fGet", 403),
        ("/a.C/../a.B/Get", 403),
        ("/./a.C/Get", 403),
        ("/a.C//Get", 403),
        ("/a.C/Get/", 403),
        ("/a.C/Get%2F", 403),
        ("/a.C/D\u{ff45}lete", 403),
        ("/a.C/D%ef%bd%85lete", 403),
        ("/a.C/%c1%84elete", 403),
        ("/a.C/D-elete", 403),
        ("/a.C/Delete%", 403),
        ("/a.C/Delete+", 403),
        ("/a.C/Delete,", 403),
        ("/a.C/Delete:", 403),
        ("/a.C/Delete@", 403),
        ("/a.C/Delete!", 403),
        ("/a.C/Delete~", 403),
        ("/a.C/Delete*", 403),
        ("/a.C/Delete#x", 200), // `http::Uri` removes the fragment
        ("/a.C/Get_2.x", 200),
        ("https://evil.example/a.C/Get", 200),
        ("https://evil.example/a.C/%47et", 403),
        ("*", 403),
    ] {
        let service = tower::service_fn(async |_: http::Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let service = layer(&server).layer(methods.layer(service));
        let request = http::Request::get(path).header("authorization", format!("Bearer {token}"));
        let answer = soon(service.oneshot(request.body(()).unwrap()))
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

/// The response is that of an unlisted method; the log contains the reason.
#[tokio::test]
async fn the_log_says_why_a_path_is_not_a_method() {
    let server = server();
    let methods = MethodScopesLayer::new()
        .add("/a.C/*", ScopeLayer::all("read").unwrap())
        .unwrap();
    let token = good(&server).with_scope("read").sign();
    for (path, found) in [
        ("/a.C/%44elete", "an escape of an unreserved character"),
        ("/a.C/..%2fx", "a dot segment"),
        ("/a.C/x%2fDelete", "an encoded slash"),
        ("/a.C/D-elete", "other characters or segments"),
        ("/a.C/Get/More", "other characters or segments"),
    ] {
        let service = tower::service_fn(async |_: http::Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let service = layer(&server).layer(methods.layer(service));
        let request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"));
        let logs = crate::support::logs::Logs::default();
        let recording = logs.record();
        let answer = soon(service.oneshot(request.body(()).unwrap()))
            .await
            .unwrap();
        drop(recording);
        assert_eq!(answer.headers()["grpc-status"], "7", "{path}");
        assert!(matches!(
            answer.extensions().get::<Refusal>(),
            Some(Refusal::UnlistedMethod)
        ));
        let text = logs.text();
        assert!(
            text.contains(found) && text.contains(path),
            "{path}: {text}"
        );
    }
}

/// A service that calls another one with the token of the current call.
struct Front(Channel);

#[tonic::async_trait]
impl Health for Front {
    type WatchStream = tonic::codegen::BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let hand_on = ForwardToken::of::<Claims>(&request)?;
        let token = grpc::token::<Claims>(&request)?.access_token();
        assert!(!format!("{hand_on:?}").contains(token));
        let mut further = HealthClient::with_interceptor(self.0.clone(), hand_on);
        further.check(HealthCheckRequest::default()).await
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nothing to watch"))
    }
}

#[tokio::test]
async fn another_service_is_called_with_the_token_of_the_current_call() {
    let server = server();
    let health = tonic_health::server::health_reporter().1;
    let further = channel!(layers(layer(&server)), health);
    let front = HealthServer::new(Front(further));
    let mut client = serve!(layer(&server).optional(), front);
    let line = |scope| format!("Bearer {}", good(&server).with_scope(scope).sign());
    assert!(check(&mut client, &[&line("health:read")]).await.is_ok());
    let status = check(&mut client, &[&line("other")]).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(challenge(&status).parameter("scope"), Some("health:read"));
    let status = check(&mut client, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

/// This service has no proof of possession for the token.
#[tokio::test]
async fn a_sender_constrained_token_is_not_forwarded() {
    let server = server();
    let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
    let token = good(&server).bound_to(&key).sign();
    let hand_on = |request: Request<()>| {
        assert!(grpc::token::<Claims>(&request)?.is_bound());
        ForwardToken::of::<Claims>(&request).map(|_| request)
    };
    let dpop = Dpop::new(api::AUDIENCE).unwrap();
    let bearer = layer(&server).with_dpop(dpop.with_clock(server.clock()));
    let mut client = serve!(bearer, behind!(hand_on));
    let url = format!("{}/grpc.health.v1.Health/Check", api::AUDIENCE);
    let proof = key.proof("POST", &url).with_access_token(&token).sign();
    let mut request = request(&[&format!("DPoP {token}")]);
    request
        .metadata_mut()
        .insert("dpop", proof.parse().unwrap());
    let status = soon(client.check(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
}

#[test]
fn a_refusal_converts_to_a_status_with_a_challenge() {
    for (refusal, code, error) in [
        (Refusal::NoCredentials, Code::Unauthenticated, None),
        (
            Refusal::InvalidRequest,
            Code::Unauthenticated,
            Some("invalid_request"),
        ),
        (
            Refusal::InsufficientScope {
                required: "a b".to_owned(),
            },
            Code::PermissionDenied,
            Some("insufficient_scope"),
        ),
    ] {
        let status = Status::from(&refusal);
        assert_eq!(status.code(), code);
        let said = challenge(&status);
        assert_eq!(said.parameter("error"), error);
        let scope = (code == Code::PermissionDenied).then_some("a b");
        assert_eq!(said.parameter("scope"), scope);
    }
    let status = Status::from(&Refusal::MissingLayer("no layer"));
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "no layer")
    );
    assert!(status.metadata().get("www-authenticate").is_none());
}

/// A service of the application.
#[derive(Clone)]
struct Orders;

impl tonic::server::NamedService for Orders {
    const NAME: &'static str = "shop.Orders";
}

impl tower::Service<http::Request<tonic::body::Body>> for Orders {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Ok(http::Response::default()))
    }
}

/// A probe sends no token. The layers are around the other service, and are not optional.
#[tokio::test]
async fn a_health_probe_needs_no_token_if_the_layers_are_around_the_other_services() {
    let server = server();
    let methods =
        MethodScopesLayer::new().add("/shop.Orders/List", ScopeLayer::all("list").unwrap());
    let orders = methods.unwrap().named_layer(Orders);
    let routes = Routes::new(tonic_health::server::health_reporter().1)
        .add_service(layer(&server).with_grpc().named_layer(orders));
    let good = |scope| format!("Bearer {}", good(&server).with_scope(scope).sign());
    for (path, authorization, status) in [
        ("/grpc.health.v1.Health/Check", None, None),
        ("/shop.Orders/List", None, Some("16")),
        ("/shop.Orders/List", Some(good("list")), None),
        ("/shop.Orders/List", Some(good("other")), Some("7")),
        ("/shop.Orders/Delete", Some(good("list")), Some("7")),
    ] {
        let mut request = http::Request::post(path).header(CONTENT_TYPE, "application/grpc");
        if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        // An empty `HealthCheckRequest`, in the framing of gRPC.
        let body = http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5]));
        let request = request.body(tonic::body::Body::new(body)).unwrap();
        let answer = soon(routes.clone().oneshot(request)).await.unwrap();
        let found = answer.headers().get("grpc-status");
        let found = found.map(|value| value.to_str().unwrap());
        assert_eq!(found, status, "{path} {authorization:?}");
    }
}

/// Browsers use grpc-web, in binary or in base64; each is rejected with its own content type.
#[tokio::test]
async fn a_grpc_web_caller_is_rejected_with_its_content_type() {
    let server = server();
    for (sent, answered) in [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc"),
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc-web"),
        ("application/grpc-web-text", "application/grpc-web-text"),
        (
            "application/grpc-web-text+proto",
            "application/grpc-web-text",
        ),
    ] {
        let routes = Routes::new(tonic_health::server::health_reporter().1);
        let service = layers(layer(&server).with_grpc()).layer(routes);
        let request = http::Request::post("/grpc.health.v1.Health/Check")
            .header(CONTENT_TYPE, sent)
            .body(tonic::body::Body::empty());
        let answer = soon(service.oneshot(request.unwrap())).await.unwrap();
        let shown = (answer.status(), &answer.headers()[CONTENT_TYPE]);
        assert_eq!(
            shown,
            (StatusCode::OK, &answered.parse().unwrap()),
            "{sent}"
        );
        assert_eq!(answer.headers()["grpc-status"], "16", "{sent}");
        assert!(answer.headers().contains_key("www-authenticate"), "{sent}");
        let refusal = answer.extensions().get::<Refusal>().unwrap();
        let status = Status::from(refusal);
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_rejection_is_a_trailers_only_response() {
    let server = server();
    let routes = Routes::new(tonic_health::server::health_reporter().1);
    let service = layers(layer(&server).with_grpc()).layer(routes);
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

/// A proxy with forward authentication forwards the caller's fields, and treats a 200 as permission.
#[tokio::test]
async fn only_a_layer_with_grpc_rejects_with_status_200_and_only_a_post() {
    let plain = layer(&server());
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
        let request = || {
            let request = http::Request::builder().method(method.clone());
            let request = request.header(CONTENT_TYPE, "application/grpc");
            request.body(()).unwrap()
        };
        let told = plain.clone().with_grpc().layer(service);
        let answer = told.oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), expected, "{method}");
        let answer = plain.layer(service).oneshot(request()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method}");
    }
}
