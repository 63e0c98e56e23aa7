//! A tonic API: scopes for each method, the token in a method, and errors as gRPC status codes.
//!
//! ```sh
//! cargo run --example grpc
//! ```
//!
//! It starts an in-process authorization server, serves a service behind [`BearerLayer`] and
//! [`MethodScopesLayer`], and calls it with tonic's own client:
//!
//! ```text
//! check without a token            -> code: 'The request does not have valid authentication credentials', message: "an access token is required"
//! check with the scope notes:read  -> code: 'The caller does not have permission to execute the specified operation', message: "the access token lacks a required scope"
//! check with the scope health:read -> Serving
//! watch with the scope health:read -> code: 'The caller does not have permission to execute the specified operation', message: "method not allowed"
//! ```
//!
//! Then it keeps serving and prints commands for another client, `grpc-health-probe`, with tokens that are
//! valid for an hour. `GRPC_ADDR` sets the address. Default: 127.0.0.1:50051.
#![allow(clippy::print_stdout)]

use std::error::Error;

use tonic::codegen::BoxStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_oauth::bearer::MethodScopesLayer;
use tower_oauth::testing::{ManualClock, TestServer};
use tower_oauth::{BearerLayer, Claims, ScopeLayer, grpc};

/// The audience (`aud`) that tokens for this API must have.
const AUDIENCE: &str = "https://health.example.com";

/// The service. Its trait is generated from a `.proto` file, here the standard health check.
struct Checks;

#[tonic::async_trait]
impl Health for Checks {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // The layers have verified the token. To call other services with it, use `grpc::ForwardToken`.
        let token = grpc::token::<Claims>(&request)?;
        eprintln!("request of client {:?}", token.client_id());
        let status = ServingStatus::Serving.into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch is not implemented"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In your application: AuthorizationServer::new("https://id.example.com")?
    let issuer = TestServer::new("https://id.example.com")?.with_clock(ManualClock::ticking());
    let server = issuer.authorization_server();
    let token = |scope: &str| {
        let mint = issuer.access_token().with_audience(AUDIENCE);
        mint.with_scope(scope).with_expires_in(3600).sign()
    };

    // Methods that are not listed are rejected.
    let methods = MethodScopesLayer::new().add(
        "/grpc.health.v1.Health/Check",
        ScopeLayer::all("health:read")?,
    )?;
    let api = Server::builder()
        .layer(BearerLayer::jwt(&server, AUDIENCE)?.with_grpc())
        .layer(methods)
        .add_service(HealthServer::new(Checks));

    let address = std::env::var("GRPC_ADDR").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(api.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Endpoint::from_shared(format!("http://{address}"))?;
    let mut client = HealthClient::new(channel.connect().await?);
    for (name, token) in [
        ("without a token           ", None),
        ("with the scope notes:read ", Some(token("notes:read"))),
        ("with the scope health:read", Some(token("health:read"))),
    ] {
        show("check", name, check(&mut client, token.as_deref()).await);
    }
    let watched = client.watch(request(Some(&token("health:read")))?).await;
    let watched = watched.map(|_| "watching".to_owned());
    show("watch", "with the scope health:read", watched);

    println!("\nListening on {address}. Rejected and accepted requests of another client:");
    for scope in ["notes:read", "health:read"] {
        let token = token(scope);
        println!("grpc-health-probe -addr={address} -rpc-header='authorization: Bearer {token}'");
    }
    serving.await??;
    Ok(())
}

/// Checks the health of the whole server.
async fn check(client: &mut HealthClient<Channel>, token: Option<&str>) -> Result<String, Status> {
    let response = client.check(request(token)?).await?.into_inner();
    Ok(format!("{:?}", response.status()))
}

fn request(token: Option<&str>) -> Result<Request<HealthCheckRequest>, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse();
        let value = value.map_err(|_| Status::invalid_argument("the token is not ASCII"))?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

fn show(method: &str, name: &str, result: Result<String, Status>) {
    match result {
        Ok(text) => println!("{method} {name} -> {text}"),
        Err(status) => println!(
            "{method} {name} -> code: '{}', message: {:?}",
            status.code(),
            status.message()
        ),
    }
}
