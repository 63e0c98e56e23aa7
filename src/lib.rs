//! Tower layers and extractors that protect an application with OAuth 2.0.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-oauth needs a cryptography backend: enable feature `aws-lc-rs` or `rust-crypto`"
);

pub mod bearer;
pub mod clock;
mod config_error;
mod crypto;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod extract;
pub mod issuer;
pub mod protocol;
mod random;
pub mod token;

pub use bearer::{BearerLayer, ScopeLayer};
pub use config_error::ConfigError;
pub use crypto::Algorithm;
pub use issuer::AuthorizationServer;
pub use protocol::Claims;
pub use token::VerifiedToken;
