//! A client's DPoP key, and proofs of it, the good and the hostile (RFC 9449 §4.2).

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::keys::{SigningKey, compact, signing_input};
use super::members::Members;
use super::respond::random_text;
use crate::clock::{Clock, SharedClock, SystemClock, unix_seconds};
use crate::crypto::{Algorithm, base64url, digest, hmac_sha256};

/// The key that a client proves it holds.
///
/// [`TokenMint::bound_to`](super::TokenMint::bound_to) binds an access token to it, and
/// [`proof`](Self::proof) makes what goes into the `DPoP` field of one request.
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
    key: SigningKey,
    clock: SharedClock,
}

/// One proof in the making: everything in it can be replaced, taken away or spoiled.
#[derive(Clone, Debug)]
#[must_use = "a proof gives nothing until `sign` is called"]
pub struct DpopProof {
    key: SigningKey,
    hmac: Option<Vec<u8>>,
    header: Members,
    claims: Members,
    broken: bool,
}

impl DpopKey {
    /// A fresh key; what it signs tells the system's time.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no randomness.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            key: SigningKey::generate(algorithm),
            clock: Arc::new(SystemClock),
        }
    }

    /// Reads `iat` from this clock, that of the test's server for instance.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The public half as it stands in a proof's header: the members that make the thumbprint, no others.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = self.key.public_jwk();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| ["kty", "n", "e", "crv", "x", "y"].contains(&name.as_str()));
        }
        jwk
    }

    /// The thumbprint of the public half by SHA-256, as in `jkt` (RFC 7638 §3).
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

    /// A proof for one request: its method, and its URL without query and fragment.
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

impl DpopProof {
    /// Sets `ath`, the digest of the access token that goes along.
    pub fn with_access_token(self, token: &str) -> Self {
        let digest = base64url::encode(&digest::sha256(token.as_bytes()));
        self.with_claim("ath", digest)
    }

    /// Sets `nonce`, as the server gave it in `DPoP-Nonce`.
    pub fn with_nonce(self, nonce: &str) -> Self {
        self.with_claim("nonce", nonce)
    }

    /// Sets a claim of any name to any value.
    pub fn with_claim(self, name: &str, value: impl Into<Value>) -> Self {
        self.with_raw_claim(name, &value.into().to_string())
    }

    /// Sets a claim to this JSON text as it stands, valid or not.
    pub fn with_raw_claim(mut self, name: &str, json: &str) -> Self {
        self.claims.set(name, json);
        self
    }

    /// Adds a claim although one of that name may be there.
    pub fn add_raw_claim(mut self, name: &str, json: &str) -> Self {
        self.claims.add(name, json);
        self
    }

    /// Takes a claim away.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header parameter of any name to any value.
    pub fn with_header(self, name: &str, value: impl Into<Value>) -> Self {
        self.with_raw_header(name, &value.into().to_string())
    }

    /// Sets a header parameter to this JSON text as it stands.
    pub fn with_raw_header(mut self, name: &str, json: &str) -> Self {
        self.header.set(name, json);
        self
    }

    /// Adds a header parameter although one of that name may be there.
    pub fn add_raw_header(mut self, name: &str, json: &str) -> Self {
        self.header.add(name, json);
        self
    }

    /// Takes a header parameter away.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Signs with another key than the one in the header.
    pub fn with_foreign_key(mut self) -> Self {
        self.key = SigningKey::generate(self.key.algorithm());
        self
    }

    /// Authenticates with HMAC-SHA-256 under these bytes, and says so.
    pub fn with_hmac(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.hmac = Some(secret.into());
        self.with_header("alg", "HS256")
    }

    /// Flips one bit in the middle of the signature.
    pub fn with_broken_signature(mut self) -> Self {
        self.broken = true;
        self
    }

    /// The compact form, for the `DPoP` field.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no randomness to sign with.
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
