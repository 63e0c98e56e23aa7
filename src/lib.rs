//! Tower layers and extractors that protect an application with OAuth 2.0.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-oauth needs a cryptography backend: enable feature `aws-lc-rs` or `rust-crypto`"
);

pub mod clock;
mod config_error;
mod crypto;
#[cfg(feature = "axum")]
mod extract;
pub mod flow;
pub mod issuer;
pub mod login;
pub mod protocol;
mod random;
pub mod token;

pub use config_error::ConfigError;
pub use crypto::{Algorithm, CookieKey};
pub use flow::Session;
pub use issuer::{AuthorizationServer, Client};
pub use login::LoginLayer;
