//! TLS to Redis, by rustls with a provider of its own: that of the process is neither read nor set.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore};

use super::failure::Failure;

/// Whom to trust, and who we are.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// Instead of the authorities of the machine.
    authorities: Option<Arc<RootCertStore>>,
    certificate: Option<Arc<CertifiedKey>>,
    /// Made at the first connection: the machine's authorities are in files.
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn with_authorities(mut self, pem: &[u8]) -> Result<Self, &'static str> {
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(pem)? {
            authorities
                .add(certificate)
                .map_err(|_| "a certificate cannot be an authority's")?;
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
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|_| "the key is not that of the certificate")?;
        self.certificate = Some(Arc::new(certified));
        self.config = OnceLock::new();
        Ok(self)
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::NoConnection("no name for a certificate".to_owned()))?;
        let config = self.config().map_err(|error| refused(&error))?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| Failure::NoConnection(format!("TLS: {}", error.kind())))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let provider: Arc<CryptoProvider> = aws_lc_rs::default_provider().into();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.authorities {
            Some(authorities) => builder.with_root_certificates(Arc::clone(authorities)),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier::new(provider)?)),
        };
        let config = match &self.certificate {
            Some(certificate) => {
                let one: Arc<dyn ResolvesClientCert> =
                    Arc::new(SingleCertAndKey::from(Arc::clone(certificate)));
                builder.with_client_cert_resolver(one)
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

fn refused(error: &Error) -> Failure {
    Failure::NoConnection(format!("TLS: {error}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| "the certificates are not PEM")?;
    match found.is_empty() {
        true => Err("there is no certificate in it"),
        false => Ok(found),
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}
