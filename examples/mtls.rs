//! Access tokens that are bound to a client certificate (RFC 8705), so that a stolen token is useless.
//!
//! ```sh
//! cargo run --example mtls
//! ```
//!
//! It creates certificates, serves an API over TLS on <https://localhost:8443> (or `APP_ADDR`), and prints
//! commands with a token that is bound to the client's certificate:
//!
//! ```sh
//! curl --cacert ca.pem --cert client.pem --key client.key -H "Authorization: Bearer $TOKEN" https://localhost:8443/
//! # hello alice
//! curl -i --cacert ca.pem -H "Authorization: Bearer $TOKEN" https://localhost:8443/
//! # 401, www-authenticate: Bearer realm="api", error="invalid_token", …
//! ```
//!
//! To use this in your application, copy [`TlsListener`] and [`Peer`]: they pass the certificate of each
//! connection to the layer. Certificates and tokens come from your infrastructure.
#![allow(clippy::print_stdout)]

#[path = "mtls/certificates.rs"]
pub(crate) mod certificates;
#[path = "mtls/listener.rs"]
pub(crate) mod listener;

use std::error::Error;
use std::{env, fs};

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::map_request;
use axum::routing::get;
use axum::serve::IncomingStream;
use certificates::Ca;
use listener::TlsListener;
use tokio::net::TcpListener;
use tower_oauth::bearer::{ClientCertificate, Mtls};
use tower_oauth::testing::{ManualClock, TestServer};
use tower_oauth::{AuthorizationServer, BearerLayer, ConfigError, VerifiedToken};

const API: &str = "https://localhost:8443";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("APP_ADDR").unwrap_or_else(|_| "127.0.0.1:8443".to_owned());
    let (ca, files) = (Ca::new()?, env::temp_dir().join("tower-oauth-mtls"));
    let (server, client) = (ca.certify("localhost")?, ca.certify("client.example")?);
    fs::create_dir_all(&files)?;
    fs::write(files.join("ca.pem"), ca.0.pem())?;
    fs::write(files.join("client.pem"), client.pem())?;
    fs::write(files.join("client.key"), client.key.serialize_pem())?;

    // In your application: AuthorizationServer::new("https://id.example.com")?
    let issuer = TestServer::new("https://id.example.com")?.with_clock(ManualClock::ticking());
    let token = issuer
        .access_token()
        .with_audience(API)
        .with_subject("alice");
    let token = token
        .bound_to_certificate(&client.der)
        .with_expires_in(3600)
        .sign();

    let listener = TcpListener::bind(&address).await?;
    let listener = TlsListener::new(listener, &ca.tls_config(server)?)?;
    println!("cd {}; TOKEN={token}", files.display());
    println!("curl --cacert ca.pem -H \"Authorization: Bearer $TOKEN\" {API}/ -i   # rejected");
    println!(
        "curl --cacert ca.pem -H \"Authorization: Bearer $TOKEN\" {API}/ --cert client.pem --key client.key"
    );
    let api = api(&issuer.authorization_server())?;
    axum::serve(listener, api.into_make_service_with_connect_info::<Peer>()).await?;
    Ok(())
}

/// The API. It accepts only tokens that are bound to the certificate of the connection.
pub(crate) fn api(server: &AuthorizationServer) -> Result<Router, ConfigError> {
    let hello =
        async |token: VerifiedToken| format!("hello {}\n", token.subject().unwrap_or("client"));
    let bearer = BearerLayer::jwt(server, API)?.with_mtls(Mtls::from_tls().required());
    Ok(Router::new()
        .route("/", get(hello))
        .layer(bearer)
        .layer(map_request(Peer::insert_certificate)))
}

/// The client certificate of a connection, read once per connection.
#[derive(Clone)]
pub(crate) struct Peer(Option<ClientCertificate>);

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let chain = stream.io().get_ref().1.peer_certificates();
        Self(
            chain
                .and_then(|chain| chain.first())
                .map(ClientCertificate::from_der),
        )
    }
}

impl Peer {
    /// Inserts the certificate into the extensions, where `Mtls::from_tls` expects it.
    async fn insert_certificate(mut request: Request) -> Request {
        let peer = request.extensions().get::<ConnectInfo<Self>>().cloned();
        if let Some(certificate) = peer.and_then(|ConnectInfo(peer)| peer.0) {
            request.extensions_mut().insert(certificate);
        }
        request
    }
}
