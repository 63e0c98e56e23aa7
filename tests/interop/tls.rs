//! Certificates, and an API over TLS with optional client certificates.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::map_request;
use axum::serve::{IncomingStream, Listener};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use tokio_rustls::server::TlsStream;
use tower_oauth::bearer::ClientCertificate;

/// The certificate authority of a test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    server: CertifiedKey,
}

/// A certificate and its key, both in PEM.
pub struct CertifiedKey {
    pub certificate: String,
    pub key: String,
    chain: Vec<u8>,
    secret: Vec<u8>,
}

impl CertifiedKey {
    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.chain
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = named("Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            server: certify(&issuer, "server"),
            issuer,
        }
    }

    pub fn certify(&self, name: &str) -> CertifiedKey {
        certify(&self.issuer, name)
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn server(&self) -> &CertifiedKey {
        &self.server
    }

    /// Serves an API over TLS. Requests have the client certificate in their extensions.
    pub async fn serve(&self, api: Router) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let key = PrivateKeyDer::try_from(self.server.secret.clone()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![self.server.chain.clone().into()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let listener = TlsListener {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        };
        let api = api.layer(map_request(Peer::insert_certificate));
        let api = api.into_make_service_with_connect_info::<Peer>();
        tokio::spawn(async move { axum::serve(listener, api).await });
        base
    }
}

fn certify(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> CertifiedKey {
    let key = KeyPair::generate().unwrap();
    let mut params = named(name);
    params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    let certificate = params.signed_by(&key, issuer).unwrap();
    CertifiedKey {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        chain: certificate.der().to_vec(),
        secret: key.serialize_der(),
    }
}

/// Sets the subject: OpenSSL treats a certificate with equal subject and issuer as self-signed.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The client certificate of a connection.
#[derive(Clone)]
struct Peer(Option<ClientCertificate>);

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
    async fn insert_certificate(mut request: Request) -> Request {
        let peer = request.extensions().get::<ConnectInfo<Self>>().cloned();
        if let Some(certificate) = peer.and_then(|ConnectInfo(peer)| peer.0) {
            request.extensions_mut().insert(certificate);
        }
        request
    }
}
