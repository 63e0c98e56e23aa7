//! Configured keys, for tests and for networks without access to the authorization server.

use std::fmt;
use std::sync::Arc;

use super::error::KeyError;
use super::key_set::{KeyCandidates, KeySet};
use crate::ConfigError;
use crate::crypto::{Algorithm, Jwk};

/// Configured public keys of an authorization server; see
/// [`AuthorizationServer::with_keys`](super::AuthorizationServer::with_keys).
///
/// They do not change until the application restarts: a key that the authorization server withdraws still verifies
/// tokens. Use them only if the key set cannot be fetched.
///
/// ```
/// use tower_oauth::issuer::StaticKeys;
/// use tower_oauth::{Algorithm, AuthorizationServer};
///
/// let pem = "-----BEGIN PUBLIC KEY-----
/// MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
/// -----END PUBLIC KEY-----";
/// let keys = StaticKeys::from_pem("2026-01", Algorithm::EdDsa, pem)?;
/// let server = AuthorizationServer::new("https://id.example.com")?.with_keys(keys);
/// assert!(server.health().is_ready());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct StaticKeys {
    keys: Arc<KeySet>,
}

impl StaticKeys {
    /// Parses a JWK set ([RFC 7517 §5]) as published by the authorization server.
    ///
    /// Unusable keys (for encryption, of an unknown type, with private members) are ignored, as in a fetched set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the text is not strict JSON, not a key set, or has no usable key. The error does not
    /// contain the text, which could be a private key.
    ///
    /// [RFC 7517 §5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    pub fn from_jwks(document: &str) -> Result<Self, ConfigError> {
        let keys = KeySet::parse(document.as_bytes()).map_err(invalid_key)?;
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    /// Parses one key in PEM: a `PUBLIC KEY` block ([RFC 7468 §13]) with an RSA, P-256, P-384 or Ed25519 key. It
    /// verifies tokens with this `kid` and this algorithm.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] for any other block (`RSA PUBLIC KEY`, a certificate, a private key), for an RSA key
    /// below 2048 or above 8192 bits, and if the algorithm requires another type of key.
    ///
    /// [RFC 7468 §13]: https://www.rfc-editor.org/rfc/rfc7468#section-13
    pub fn from_pem(key_id: &str, algorithm: Algorithm, pem: &str) -> Result<Self, ConfigError> {
        let keys = Self {
            keys: Arc::new(KeySet::default()),
        };
        keys.add_pem(key_id, algorithm, pem)
    }

    /// Adds a key in PEM, for a server that rotates between keys that are known in advance.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem), and if there is already a key with this id and algorithm: the selection would
    /// be ambiguous.
    pub fn add_pem(
        mut self,
        key_id: &str,
        algorithm: Algorithm,
        pem: &str,
    ) -> Result<Self, ConfigError> {
        let key = Jwk::from_pem(Some(key_id), algorithm, pem).map_err(invalid_key)?;
        let keys = self.keys.with(key).ok_or_else(|| {
            invalid_key(
                "there is already a key with this id and algorithm, or the maximum number of keys is reached",
            )
        })?;
        self.keys = Arc::new(keys);
        Ok(self)
    }

    /// Returns the key for a token. An unknown key stays unknown, since the set does not change.
    pub(super) fn key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<KeyCandidates, KeyError> {
        self.keys
            .key(key_id, algorithm)
            .unwrap_or(Err(KeyError::Unknown))
    }
}

fn invalid_key(reason: &'static str) -> ConfigError {
    ConfigError::Secret {
        setting: "public key",
        reason,
    }
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
