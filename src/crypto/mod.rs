//! Cryptography: strict parsing of JWS and JWK, signatures, digests, and the encryption of cookies and records.

mod algorithm;
#[cfg_attr(feature = "aws-lc-rs", path = "backend/aws_lc.rs")]
#[cfg_attr(not(feature = "aws-lc-rs"), path = "backend/rust_crypto.rs")]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod backend;
pub(crate) mod base64url;
pub(crate) mod binding;
mod cookie_key;
mod embedded_key;
mod hmac;
mod jwk;
mod jws;
mod key_material;
pub(crate) mod key_text;
mod pem;
mod private_key;
mod proof_key;
mod published_key;
pub(crate) mod seal;
mod signing_key;
mod unsigned_jws;

pub use algorithm::Algorithm;
pub(crate) use algorithm::{
    ALL_ALGORITHMS, DEFAULT_ALGORITHMS, FAPI2_ALGORITHMS, KeyKind, keep_fapi2_algorithms,
};
pub(crate) use backend::PublicKey;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) use backend::digest;
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) use backend::{CacheTag, TokenTagger};
pub use cookie_key::CookieKey;
pub(crate) use embedded_key::EmbeddedKey;
pub use hmac::HmacAlgorithm;
pub(crate) use hmac::{hmac_sha256, sha256_start};
pub(crate) use jwk::{Jwk, is_private_jwk};
pub(crate) use jws::{Jws, JwsError, same_media_type};
pub(crate) use pem::is_one_sequence;
pub(crate) use proof_key::ProofKey;
pub(crate) use published_key::PublishedKey;
pub use signing_key::SigningKey;
pub(crate) use unsigned_jws::UnsignedJws;
