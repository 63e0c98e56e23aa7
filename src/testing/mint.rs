//! Tokens made to order, the good and the hostile.

use serde_json::Value;

use super::dpop::DpopKey;
use super::introspected::Introspected;
use super::key_ring::KeyRing;
use super::keys::{SigningKey, compact, signing_input};
use super::members::Members;
use super::respond::random_text;
use crate::crypto::{Algorithm, hmac_sha256};

/// One token in the making: everything in it can be replaced, taken away or spoiled.
///
/// [`TestServer::access_token`](super::TestServer::access_token) and
/// [`TestServer::id_token`](super::TestServer::id_token) start with a token that a strict verifier
/// accepts. The calls apply in the order they are made.
///
/// ```
/// use tower_oauth::testing::TestServer;
///
/// let server = TestServer::new("https://id.example.test")?;
/// let good = server.access_token().with_audience("https://api.example.test").with_scope("notes:read").sign();
/// let expired = server.access_token().with_expires_in(-3600).sign();
/// let twice = server.access_token().add_raw_claim("aud", r#""https://other.example.test""#).sign();
/// let forged = server.access_token().with_foreign_key().sign();
/// # assert!([good, expired, twice, forged].iter().all(|token| token.split('.').count() == 3));
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a mint gives nothing until `sign` is called"]
pub struct TokenMint {
    keys: KeyRing,
    pub(super) introspected: Introspected,
    now: i64,
    header: Members,
    pub(super) claims: Members,
    header_text: Option<Vec<u8>>,
    payload_text: Option<Vec<u8>>,
    signature: Signature,
    broken: bool,
}

#[derive(Clone, Debug)]
enum Signature {
    Key(SigningKey),
    Hmac(Vec<u8>),
    Absent,
}

impl TokenMint {
    pub(super) fn new(keys: &KeyRing, introspected: &Introspected, typ: &str, now: i64) -> Self {
        let key = keys.current(None);
        let mint = Self {
            keys: keys.clone(),
            introspected: introspected.clone(),
            now,
            header: Members::default(),
            claims: Members::default(),
            header_text: None,
            payload_text: None,
            signature: Signature::Absent,
            broken: false,
        };
        mint.with_header("typ", typ)
            .with_key(&key)
            .with_claim("iat", now)
            .with_expires_in(300)
            .with_claim("jti", random_text())
    }

    /// Sets `iss`.
    pub fn with_issuer(self, issuer: &str) -> Self {
        self.with_claim("iss", issuer)
    }

    /// Sets `sub`.
    pub fn with_subject(self, subject: &str) -> Self {
        self.with_claim("sub", subject)
    }

    /// Sets `aud`: a string, or a list of them.
    pub fn with_audience(self, audience: impl Into<Value>) -> Self {
        self.with_claim("aud", audience)
    }

    /// Sets `scope`, values separated by spaces.
    pub fn with_scope(self, scope: &str) -> Self {
        self.with_claim("scope", scope)
    }

    /// Sets `client_id`.
    pub fn with_client(self, client_id: &str) -> Self {
        self.with_claim("client_id", client_id)
    }

    /// Binds the token to this key: `cnf` with its thumbprint (RFC 9449 §6.1).
    pub fn bound_to(self, key: &DpopKey) -> Self {
        self.with_claim("cnf", serde_json::json!({ "jkt": key.thumbprint() }))
    }

    /// Sets `exp`, in seconds from the server's now; the past where negative. Five minutes by default.
    pub fn with_expires_in(self, seconds: i64) -> Self {
        let at = self.now.saturating_add(seconds);
        self.with_claim("exp", at)
    }

    /// Sets a claim of any name to any value.
    pub fn with_claim(self, name: &str, value: impl Into<Value>) -> Self {
        self.with_raw_claim(name, &value.into().to_string())
    }

    /// Sets a claim to this JSON text as it stands, valid or not: `1e400`, `"\ud800"`, `{`.
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

    /// Sets a header parameter; after the key, since a key sets `alg` and `kid`.
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

    /// Uses these bytes as the whole header; the signature covers them.
    pub fn with_header_text(mut self, header: impl Into<Vec<u8>>) -> Self {
        self.header_text = Some(header.into());
        self
    }

    /// Uses these bytes as the whole payload; the signature covers them.
    pub fn with_payload_text(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload_text = Some(payload.into());
        self
    }

    /// Signs with the server's current key for that algorithm, which is published if it was not yet.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        let key = self.keys.current(Some(algorithm));
        self.with_key(&key)
    }

    /// Signs with this key and names it in the header, published or not.
    pub fn with_key(mut self, key: &SigningKey) -> Self {
        self.signature = Signature::Key(key.clone());
        self.with_header("alg", key.algorithm().name())
            .with_header("kid", key.kid())
    }

    /// Signs with a key that is not the server's, under the `kid` of one that is.
    pub fn with_foreign_key(mut self) -> Self {
        let algorithm = match &self.signature {
            Signature::Key(key) => key.algorithm(),
            Signature::Hmac(_) | Signature::Absent => self.keys.current(None).algorithm(),
        };
        self.signature = Signature::Key(SigningKey::generate(algorithm));
        self
    }

    /// Authenticates with HMAC-SHA-256 under these bytes, for instance a public key in PEM.
    pub fn with_hmac(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.signature = Signature::Hmac(secret.into());
        self.with_header("alg", "HS256")
    }

    /// Says `"alg":"none"` and leaves the signature empty.
    pub fn without_signature(mut self) -> Self {
        self.signature = Signature::Absent;
        self.with_header("alg", "none")
    }

    /// Flips one bit in the middle of the signature.
    pub fn with_broken_signature(mut self) -> Self {
        self.broken = true;
        self
    }

    /// The compact form.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no randomness to sign with.
    #[must_use]
    pub fn sign(&self) -> String {
        let header = self
            .header_text
            .clone()
            .unwrap_or_else(|| self.header.text());
        let payload = self.payload();
        let input = signing_input(&header, &payload);
        let signature = match &self.signature {
            Signature::Key(key) => key.signature(input.as_bytes()),
            Signature::Hmac(secret) => hmac_sha256(secret, input.as_bytes()),
            Signature::Absent => Vec::new(),
        };
        compact(&input, signature, self.broken)
    }

    /// The payload as it is signed.
    pub(super) fn payload(&self) -> Vec<u8> {
        self.payload_text
            .clone()
            .unwrap_or_else(|| self.claims.text())
    }

    /// These claims instead of all others.
    pub(super) fn with_members(mut self, claims: Members) -> Self {
        self.claims = claims;
        self
    }

    /// The algorithm that signs, where a key does.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        match &self.signature {
            Signature::Key(key) => Some(key.algorithm()),
            Signature::Hmac(_) | Signature::Absent => None,
        }
    }
}
