//! The layers of an API on a tonic server: gRPC callers are refused with the status codes they know.
//!
//! ```sh
//! cargo run --example grpc
//! ```
//!
//! It starts an authorization server inside the process, serves the standard health service behind
//! [`BearerLayer`] and [`ScopeLayer`], and calls it with tonic's own client:
//!
//! ```text
//! without a token            -> code: 'The request does not have valid authentication credentials', message: "an access token is needed"
//! with the scope notes:read  -> code: 'The caller does not have permission to execute the specified operation', message: "the access token does not grant the scope that is needed"
//! with the scope health:read -> Serving
//! ```
//!
//! Then it goes on serving and prints lines for another client, `grpc-health-probe`, with tokens that are
//! good for an hour. `GRPC_ADDR` says where it listens, 127.0.0.1:50051 otherwise.
#![allow(clippy::print_stdout)]

use std::error::Error;

use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_oauth::testing::{ManualClock, TestServer};
use tower_oauth::{BearerLayer, ScopeLayer};

/// What this API calls itself, and what its tokens must therefore say in `aud`.
const AUDIENCE: &str = "https://health.example.com";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // In an application: AuthorizationServer::new("https://id.example.com")?, and nothing to mint.
    let issuer = TestServer::new("https://id.example.com")?.with_clock(ManualClock::ticking());
    let server = issuer.authorization_server();
    let token = |scope: &str| {
        let mint = issuer.access_token().with_audience(AUDIENCE);
        mint.with_scope(scope).with_expires_in(3600).sign()
    };

    let (_reporter, health) = tonic_health::server::health_reporter();
    let api = Server::builder()
        .layer(BearerLayer::jwt(&server, AUDIENCE)?)
        .layer(ScopeLayer::all("health:read")?)
        .add_service(health);

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
        match check(&mut client, token.as_deref()).await {
            Ok(status) => println!("{name} -> {status}"),
            Err(status) => {
                println!(
                    "{name} -> code: '{}', message: {:?}",
                    status.code(),
                    status.message()
                );
            }
        }
    }

    println!("\nListening on {address}. Another client, refused and served:");
    for scope in ["notes:read", "health:read"] {
        let token = token(scope);
        println!("grpc-health-probe -addr={address} -rpc-header='authorization: Bearer {token}'");
    }
    serving.await??;
    Ok(())
}

/// Asks for the health of the whole server.
async fn check(client: &mut HealthClient<Channel>, token: Option<&str>) -> Result<String, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        let line = format!("Bearer {token}").parse();
        let line = line.map_err(|_| Status::invalid_argument("the token is not ASCII"))?;
        request.metadata_mut().insert("authorization", line);
    }
    let answer = client.check(request).await?.into_inner();
    Ok(format!("{:?}", answer.status()))
}
