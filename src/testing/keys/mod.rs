//! Signing keys, public keys as JWKs, and JWS compact serialization.

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

/// A private key of a test authorization server, with its algorithm and key id.
///
/// Cheap to clone. Never use these keys outside of tests: generating RSA keys is slow, so the process
/// reuses an RSA key once all of its clones are dropped. With only the `rust-crypto` backend, RSA keys
/// come from this crate's source code and are public.
#[derive(Clone)]
pub struct TestSigningKey {
    algorithm: Algorithm,
    kid: String,
    pair: Arc<backend::Pair>,
}

/// A public key as big-endian bytes.
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { x: Vec<u8>, y: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

impl TestSigningKey {
    /// Generates a key. Its key id is derived from the public key.
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
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

    /// Sets the key id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the key id (`kid`).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the public key as a JWK with `kid`, `alg` and `use` (RFC 7517 §4).
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

    /// Returns a JWS in compact serialization over exactly these bytes, which need not be JSON
    /// (RFC 7515 §7.1).
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        let input = signing_input(header, payload);
        compact(&input, self.signature(input.as_bytes()), false)
    }

    pub(super) fn signature(&self, input: &[u8]) -> Vec<u8> {
        self.pair.sign(self.algorithm, input)
    }
}

impl fmt::Debug for TestSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Returns the JWS signing input (RFC 7515 §5.1).
pub(super) fn signing_input(header: &[u8], payload: &[u8]) -> String {
    format!(
        "{}.{}",
        base64url::encode(header),
        base64url::encode(payload)
    )
}

/// Returns the JWS compact serialization (RFC 7515 §3.1). If `broken`, one bit in the middle of the
/// signature is flipped.
pub(super) fn compact(input: &str, mut signature: Vec<u8>, broken: bool) -> String {
    let middle = signature.len() / 2;
    if let Some(byte) = signature.get_mut(middle).filter(|_| broken) {
        *byte ^= 1;
    }
    format!("{input}.{}", base64url::encode(&signature))
}
