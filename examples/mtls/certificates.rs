//! A certificate authority for the demo, which signs the certificates of server and client. To use this in
//! your application, copy [`Ca::tls_config`].

use std::error::Error;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// The certificate authority.
pub(crate) struct Ca(pub(crate) CertifiedIssuer<'static, KeyPair>);

pub(crate) struct CertifiedKey {
    pub(crate) der: CertificateDer<'static>,
    certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl CertifiedKey {
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }
}

impl Ca {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Demo CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    pub(crate) fn certify(&self, name: &str) -> Result<CertifiedKey, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.0)?;
        let der = certificate.der().clone();
        Ok(CertifiedKey {
            der,
            certificate,
            key,
        })
    }

    /// Client certificates are optional in TLS; the layer enforces them. The layer compares the token with
    /// the certificate itself, so the certificate's issuer matters only to TLS.
    pub(crate) fn tls_config(
        &self,
        server: CertifiedKey,
    ) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone())?;
        // By name, so that it does not matter which providers other crates enable.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated();
        let key = PrivateKeyDer::try_from(server.key.serialize_der())?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier.build()?)
            .with_single_cert(vec![server.der], key)?;
        Ok(Arc::new(config))
    }
}
