//! TLS with the provider of the enabled backend. The provider of the process is neither used nor set: the application
//! may have installed another one, or none.

#[cfg(any(feature = "reqwest", feature = "redis"))]
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use tokio_rustls::rustls::crypto::aws_lc_rs as backend;
#[cfg(not(feature = "aws-lc-rs"))]
use tokio_rustls::rustls::crypto::ring as backend;
#[cfg(any(feature = "reqwest", feature = "redis"))]
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, Error, RootCertStore, client::WantsClientCert,
};

pub(crate) fn provider() -> CryptoProvider {
    backend::default_provider()
}

/// Begins the configuration of a client that trusts these certificate authorities, or those of the operating system.
#[cfg(any(feature = "reqwest", feature = "redis"))]
pub(crate) fn client_config(
    authorities: Option<&Arc<RootCertStore>>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    Ok(match authorities {
        Some(authorities) => builder.with_root_certificates(Arc::clone(authorities)),
        None => {
            let verifier = rustls_platform_verifier::Verifier::new(provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    })
}
