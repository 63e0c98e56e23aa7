//! A client's DPoP key and proofs, valid or invalid (RFC 9449 §4.2).

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::keys::{TestSigningKey, compact, signing_input};
use super::members::{Members, json_members};
use super::respond::random_text;
use crate::clock::{Clock, SharedClock, SystemClock, unix_seconds};
use crate::crypto::{Algorithm, base64url, digest, hmac_sha256};

/// A client's DPoP key.
///
/// [`TokenMint::bound_to`](super::TokenMint::bound_to) binds an access token to the key, and
/// [`proof`](Self::proof) creates the value of the `DPoP` header for one request.
///
/// ```
/// use tower_oauth::Algorithm;
/// use tower_oauth::testing::{DpopKey, TestServer};
///
/// let server = TestServer::new("https://id.example.test")?;
/// let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
/// let token = server.access_token().with_audience("https://api.example.test").bound_to(&key).sign();
/// let proof = key.proof("GET", "https://api.example.test/notes").with_access_token(&token).sign();
/// # assert_eq!(proof.split('.').count(), 3);
/// // Authorization: DPoP <token>
/// // DPoP: <proof>
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct DpopKey {
    key: TestSigningKey,
    clock: SharedClock,
}

/// A builder for one DPoP proof. Every part of it can be replaced, removed or made invalid.
#[derive(Clone, Debug)]
#[must_use = "no proof is created until `sign` is called"]
pub struct DpopProof {
    key: TestSigningKey,
    hmac: Option<Vec<u8>>,
    header: Members,
    claims: Members,
    broken: bool,
}

impl DpopKey {
    /// Generates a key. Its proofs take `iat` from the system clock.
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            key: TestSigningKey::generate(algorithm),
            clock: Arc::new(SystemClock),
        }
    }

    /// Takes `iat` from this clock, for example the test server's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the public key as in a proof's header: the members required for the thumbprint only.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = self.key.public_jwk();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| ["kty", "n", "e", "crv", "x", "y"].contains(&name.as_str()));
        }
        jwk
    }

    /// Returns the SHA-256 thumbprint of the public key, as in `jkt` (RFC 7638 §3).
    pub fn thumbprint(&self) -> String {
        let jwk = self.public_jwk();
        let members: Vec<String> = ["crv", "e", "kty", "n", "x", "y"]
            .into_iter()
            .filter_map(|name| Some(format!("\"{name}\":{}", jwk.get(name)?)))
            .collect();
        base64url::encode(&digest::sha256(
            format!("{{{}}}", members.join(",")).as_bytes(),
        ))
    }

    /// Creates a proof for a request with this method and this URL (without query and fragment).
    pub fn proof(&self, method: &str, url: &str) -> DpopProof {
        let proof = DpopProof {
            key: self.key.clone(),
            hmac: None,
            header: Members::default(),
            claims: Members::default(),
            broken: false,
        };
        proof
            .with_header("typ", "dpop+jwt")
            .with_header("alg", self.key.algorithm().name())
            .with_header("jwk", self.public_jwk())
            .with_claim("jti", random_text())
            .with_claim("htm", method)
            .with_claim("htu", url)
            .with_claim("iat", unix_seconds(&*self.clock))
    }
}

json_members!(DpopProof);

impl DpopProof {
    /// Sets `ath`, the hash of the access token of the same request.
    pub fn with_access_token(self, token: &str) -> Self {
        let digest = base64url::encode(&digest::sha256(token.as_bytes()));
        self.with_claim("ath", digest)
    }

    /// Sets `nonce`, as received in `DPoP-Nonce`.
    pub fn with_nonce(self, nonce: &str) -> Self {
        self.with_claim("nonce", nonce)
    }

    /// Signs with another key than the one in the header.
    pub fn with_wrong_key(mut self) -> Self {
        self.key = TestSigningKey::generate(self.key.algorithm());
        self
    }

    /// Signs with HMAC-SHA-256 under these bytes and sets `alg`.
    pub fn with_hmac(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.hmac = Some(secret.into());
        self.with_header("alg", "HS256")
    }

    /// Makes the signature invalid: flips one bit in its middle.
    pub fn with_broken_signature(mut self) -> Self {
        self.broken = true;
        self
    }

    /// Returns the proof in compact serialization, the value of the `DPoP` header.
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
    #[must_use]
    pub fn sign(&self) -> String {
        let input = signing_input(&self.header.text(), &self.claims.text());
        let signature = match &self.hmac {
            Some(secret) => hmac_sha256(secret, input.as_bytes()),
            None => self.key.signature(input.as_bytes()),
        };
        compact(&input, signature, self.broken)
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey")
            .field("algorithm", &self.key.algorithm())
            .finish_non_exhaustive()
    }
}
