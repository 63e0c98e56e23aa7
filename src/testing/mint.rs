//! Access, ID and logout tokens with any header, claims and signature.

use serde_json::{Value, json};

use super::dpop::DpopKey;
use super::introspected::Introspected;
use super::key_ring::KeyRing;
use super::keys::{TestSigningKey, compact, signing_input};
use super::members::{Members, json_members};
use super::respond::random_text;
use crate::crypto::{Algorithm, base64url, hmac_sha256};
use crate::token::ClientCertificate;

/// A builder for one token. Every part of the token can be replaced, removed or made invalid.
///
/// [`TestServer::access_token`](super::TestServer::access_token) and
/// [`TestServer::id_token`](super::TestServer::id_token) start from a token that a strict verifier
/// accepts. Calls apply in order.
///
/// ```
/// use tower_oauth::testing::TestServer;
///
/// let server = TestServer::new("https://id.example.test")?;
/// let valid = server.access_token().with_audience("https://api.example.test").with_scope("notes:read").sign();
/// let expired = server.access_token().with_expires_in(-3600).sign();
/// let twice = server.access_token().add_raw_claim("aud", r#""https://other.example.test""#).sign();
/// let forged = server.access_token().with_wrong_key().sign();
/// # assert!([valid, expired, twice, forged].iter().all(|token| token.split('.').count() == 3));
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "no token is created until `sign` is called"]
pub struct TokenMint {
    keys: KeyRing,
    pub(super) introspected: Introspected,
    now: i64,
    header: Members,
    pub(super) claims: Members,
    header_bytes: Option<Vec<u8>>,
    payload_bytes: Option<Vec<u8>>,
    signature: Signature,
    broken: bool,
}

#[derive(Clone, Debug)]
enum Signature {
    Key(TestSigningKey),
    Hmac(Vec<u8>),
    Absent,
}

json_members!(TokenMint);

impl TokenMint {
    pub(super) fn new(keys: &KeyRing, introspected: &Introspected, typ: &str, now: i64) -> Self {
        let key = keys.current(None);
        let mint = Self {
            keys: keys.clone(),
            introspected: introspected.clone(),
            now,
            header: Members::default(),
            claims: Members::default(),
            header_bytes: None,
            payload_bytes: None,
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

    /// Sets `aud` to a string or a list of strings.
    pub fn with_audience(self, audience: impl Into<Value>) -> Self {
        self.with_claim("aud", audience)
    }

    /// Sets `scope` (space-separated).
    pub fn with_scope(self, scope: &str) -> Self {
        self.with_claim("scope", scope)
    }

    /// Sets `authorization_details` to a list of objects ([RFC 9396 §9.1]).
    ///
    /// [RFC 9396 §9.1]: https://www.rfc-editor.org/rfc/rfc9396#section-9.1
    pub fn with_authorization_details(self, details: impl Into<Value>) -> Self {
        self.with_claim("authorization_details", details)
    }

    /// Sets `client_id`.
    pub fn with_client(self, client_id: &str) -> Self {
        self.with_claim("client_id", client_id)
    }

    /// Binds the token to this key: sets `cnf` with its thumbprint ([RFC 9449 §6.1]).
    ///
    /// [RFC 9449 §6.1]: https://www.rfc-editor.org/rfc/rfc9449#section-6.1
    pub fn bound_to(self, key: &DpopKey) -> Self {
        self.with_claim("cnf", json!({ "jkt": key.thumbprint() }))
    }

    /// Binds the token to this client certificate (DER): sets `cnf` with `x5t#S256` ([RFC 8705 §3.1]).
    ///
    /// [RFC 8705 §3.1]: https://www.rfc-editor.org/rfc/rfc8705#section-3.1
    pub fn bound_to_certificate(self, der: impl AsRef<[u8]>) -> Self {
        let certificate = ClientCertificate::from_der(der);
        let digest = base64url::encode(certificate.thumbprint());
        self.with_claim("cnf", json!({ "x5t#S256": digest }))
    }

    /// Sets `exp`, in seconds from the server's current time (in the past if negative). Default: 300.
    pub fn with_expires_in(self, seconds: i64) -> Self {
        let at = self.now.saturating_add(seconds);
        self.with_claim("exp", at)
    }

    /// Replaces the whole header by these bytes, which the signature covers.
    pub fn with_header_bytes(mut self, header: impl Into<Vec<u8>>) -> Self {
        self.header_bytes = Some(header.into());
        self
    }

    /// Replaces the whole payload by these bytes, which the signature covers.
    pub fn with_payload_bytes(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload_bytes = Some(payload.into());
        self
    }

    /// Signs with the server's current key for this algorithm, which is created and published if missing.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        let key = self.keys.current(Some(algorithm));
        self.with_key(&key)
    }

    /// Signs with this key, published or not, and sets `alg` and `kid`.
    pub fn with_key(mut self, key: &TestSigningKey) -> Self {
        self.signature = Signature::Key(key.clone());
        self.with_header("alg", key.algorithm().name())
            .with_header("kid", key.kid())
    }

    /// Signs with a key that is not the server's, under the `kid` of the server's key.
    pub fn with_wrong_key(mut self) -> Self {
        let algorithm = match &self.signature {
            Signature::Key(key) => key.algorithm(),
            Signature::Hmac(_) | Signature::Absent => self.keys.current(None).algorithm(),
        };
        self.signature = Signature::Key(TestSigningKey::generate(algorithm));
        self
    }

    /// Signs with HMAC-SHA-256 under these bytes (for example a public key in PEM) and sets `alg`.
    pub fn with_hmac(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.signature = Signature::Hmac(secret.into());
        self.with_header("alg", "HS256")
    }

    /// Sets `"alg":"none"` and leaves the signature empty.
    pub fn without_signature(mut self) -> Self {
        self.signature = Signature::Absent;
        self.with_header("alg", "none")
    }

    /// Makes the signature invalid: flips one bit in its middle.
    pub fn with_broken_signature(mut self) -> Self {
        self.broken = true;
        self
    }

    /// Returns the token in compact serialization ([RFC 7515 §3.1]).
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
    ///
    /// [RFC 7515 §3.1]: https://www.rfc-editor.org/rfc/rfc7515#section-3.1
    #[must_use]
    pub fn sign(&self) -> String {
        let header = self
            .header_bytes
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

    /// Returns the payload that the signature covers.
    pub(super) fn payload(&self) -> Vec<u8> {
        self.payload_bytes
            .clone()
            .unwrap_or_else(|| self.claims.text())
    }

    /// Replaces all claims.
    pub(super) fn with_members(mut self, claims: Members) -> Self {
        self.claims = claims;
        self
    }

    /// Returns the signature algorithm, or `None` for HMAC and unsigned tokens.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        match &self.signature {
            Signature::Key(key) => Some(key.algorithm()),
            Signature::Hmac(_) | Signature::Absent => None,
        }
    }
}
