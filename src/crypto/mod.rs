//! Cryptography: JWS and JWK read strictly, which key may verify what, digests,
//! sealing.

mod algorithm;
#[cfg_attr(feature = "aws-lc-rs", path = "backend/aws_lc.rs")]
#[cfg_attr(not(feature = "aws-lc-rs"), path = "backend/rust_crypto.rs")]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod backend;
pub(crate) mod base64url;
mod cookie_key;
mod jwk;
mod jws;
pub(crate) mod seal;

pub use algorithm::Algorithm;
pub(crate) use algorithm::{DEFAULT_ALGORITHMS, KeyKind};
pub(crate) use backend::PublicKey;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) use backend::digest;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) use backend::{TokenName, TokenNames};
pub use cookie_key::CookieKey;
pub(crate) use jwk::Jwk;
pub(crate) use jws::{Jws, JwsError, same_media_type};
