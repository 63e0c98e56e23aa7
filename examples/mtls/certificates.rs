//! For the demo: an authority that signs the certificates of both sides. In an application they come from
//! elsewhere, and [`Ca::tls_config`] is what it takes from here.

use std::error::Error;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// The authority.
pub(crate) struct Ca(pub(crate) CertifiedIssuer<'static, KeyPair>);

pub(crate) struct Certified {
    pub(crate) der: CertificateDer<'static>,
    certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Certified {
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }
}

impl Ca {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for a demo");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    pub(crate) fn certify(&self, name: &str) -> Result<Certified, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0)?;
        let der = certificate.der().clone();
        Ok(Certified {
            der,
            certificate,
            key,
        })
    }

    /// Client certificates are asked for, not demanded: the layer says what is needed. It binds a token to
    /// the very certificate, so who signed it matters only to TLS.
    pub(crate) fn tls_config(
        &self,
        server: Certified,
    ) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone())?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
        let key = PrivateKeyDer::try_from(server.key.serialize_der())?;
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.build()?)
            .with_single_cert(vec![server.der], key)?;
        Ok(Arc::new(config))
    }
}
