//! Tower layers and extractors that protect an application with OAuth 2.0.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-oauth needs a cryptography backend: enable feature `aws-lc-rs` or `rust-crypto`"
);

pub mod clock;
mod config_error;
mod crypto;
pub mod issuer;
pub mod protocol;
mod random;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod token;

pub use config_error::ConfigError;
pub use crypto::Algorithm;
pub use issuer::AuthorizationServer;
