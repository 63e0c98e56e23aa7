//! TLS of the relying party's own pages.

use std::error::Error;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::configuration::CertificateFiles;

pub(crate) fn server_config(files: &CertificateFiles) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificate)?.collect();
    let key = PrivateKeyDer::from_pem_file(&files.key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    Ok(Arc::new(config))
}
