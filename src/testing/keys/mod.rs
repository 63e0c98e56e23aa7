//! Signing keys, their public halves as JWKs, and compact JWS.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::crypto::{Algorithm, base64url, digest};

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
#[cfg(feature = "aws-lc-rs")]
use aws_lc as backend;

#[cfg(not(feature = "aws-lc-rs"))]
mod rust_crypto;
#[cfg(not(feature = "aws-lc-rs"))]
use rust_crypto as backend;

/// A private key of an authorization server, with the algorithm it signs by and its key id.
///
/// Cheap to clone. Keys are for tests: RSA keys are made once a process and handed on when their last
/// holder is gone, so that two keys alive at the same time always differ. With only the `rust-crypto`
/// backend they are a small set that is part of this crate's source, and known to everybody.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    pair: Arc<backend::Pair>,
}

/// The public half, as big-endian bytes.
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

impl SigningKey {
    /// A fresh key; its key id is made from its public half.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no randomness.
    pub fn generate(algorithm: Algorithm) -> Self {
        let pair = backend::generate(algorithm);
        let mut key = Self {
            algorithm,
            kid: String::new(),
            pair,
        };
        let thumbprint = digest::sha256(key.public_jwk().to_string().as_bytes());
        key.kid = base64url::encode(&thumbprint[..12]);
        key
    }

    /// The same key under another id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }

    /// The algorithm it signs by.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` in its JWK and in the header of what it signs.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK with `kid`, `alg` and `use` (RFC 7517 §4).
    pub fn public_jwk(&self) -> Value {
        let mut jwk = match self.pair.public(self.algorithm) {
            Public::Rsa { n, e } => {
                json!({ "kty": "RSA", "n": base64url::encode(&n), "e": base64url::encode(&e) })
            }
            Public::Ec { x, y } => {
                let crv = if self.algorithm == Algorithm::Es384 {
                    "P-384"
                } else {
                    "P-256"
                };
                json!({ "kty": "EC", "crv": crv, "x": base64url::encode(&x), "y": base64url::encode(&y) })
            }
            Public::Ed25519 { x } => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&x) })
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A compact JWS over exactly these bytes: neither is looked at (RFC 7515 §7.1).
    ///
    /// # Panics
    ///
    /// Where the operating system gives no randomness.
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        let input = signing_input(header, payload);
        compact(&input, self.signature(input.as_bytes()), false)
    }

    pub(super) fn signature(&self, input: &[u8]) -> Vec<u8> {
        self.pair.sign(self.algorithm, input)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The part of a JWS that a signature covers (RFC 7515 §5.1).
pub(super) fn signing_input(header: &[u8], payload: &[u8]) -> String {
    format!(
        "{}.{}",
        base64url::encode(header),
        base64url::encode(payload)
    )
}

/// The compact form of a JWS (RFC 7515 §3.1), with one bit in the middle of the signature flipped where
/// it is to be broken.
pub(super) fn compact(input: &str, mut signature: Vec<u8>, broken: bool) -> String {
    let middle = signature.len() / 2;
    if let Some(byte) = signature.get_mut(middle).filter(|_| broken) {
        *byte ^= 1;
    }
    format!("{input}.{}", base64url::encode(&signature))
}
