//! TLS connections to Redis with rustls.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

use super::error::CommandError;
use crate::telemetry::StoreFailure;
use crate::tls;

/// Trusted certificate authorities and client certificate.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// Replaces the certificate authorities of the operating system.
    authorities: Option<Arc<RootCertStore>>,
    certificate: Option<Arc<CertifiedKey>>,
    /// Created at the first connection, since it reads the certificate authorities of the operating system.
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn with_authorities(mut self, pem: &[u8]) -> Result<Self, &'static str> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(pem)? {
            authorities
                .add(certificate)
                .map_err(|_| "a certificate is not valid as a certificate authority")?;
        }
        self.authorities = Some(Arc::new(authorities));
        self.config = OnceLock::new();
        Ok(self)
    }

    pub(super) fn with_certificate(
        mut self,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, &'static str> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is not PEM")?;
        let certified = CertifiedKey::from_der(chain, key, &tls::provider())
            .map_err(|_| "the key does not match the certificate")?;
        self.certificate = Some(Arc::new(certified));
        self.config = OnceLock::new();
        Ok(self)
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, CommandError> {
        let failed = |reason: String| CommandError::no_connection(StoreFailure::Tls, reason);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failed("invalid host name for TLS".to_owned()))?;
        let config = self
            .config()
            .map_err(|error| failed(format!("TLS: {error}")))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| failed(format!("TLS: {error}")))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let builder = tls::client_config(self.authorities.as_ref())?;
        let config = match &self.certificate {
            Some(certificate) => {
                let resolver: Arc<dyn ResolvesClientCert> =
                    Arc::new(SingleCertAndKey::from(Arc::clone(certificate)));
                builder.with_client_cert_resolver(resolver)
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "the certificates are not PEM")?;
    match found.is_empty() {
        true => Err("the PEM has no certificate"),
        false => Ok(found),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
