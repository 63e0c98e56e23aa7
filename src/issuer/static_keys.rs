//! Keys given by hand, for tests and for networks that the authorization server cannot be asked from.

use std::fmt;
use std::sync::Arc;

use super::key_set::{KeySet, SelectedKey};
use super::key_source::{KeyError, settle};
use crate::ConfigError;
use crate::crypto::{Algorithm, Jwk};

/// The public keys of an authorization server, given by hand; see
/// [`AuthorizationServer::with_keys`](super::AuthorizationServer::with_keys).
///
/// They are what they are until the application starts again: a key that the authorization server
/// withdraws goes on verifying here. Where it can be asked, let it be asked.
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
    /// A JWK set ([RFC 7517 §5]) as the authorization server publishes it.
    ///
    /// A key of it that cannot be used (for encryption, of an unknown kind, with private members) is
    /// left out, as it is when a set is fetched.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] where it is not strict JSON, no key set, or has no usable key. The text
    /// is not repeated: it might be the private half.
    ///
    /// [RFC 7517 §5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    pub fn from_jwks(document: &str) -> Result<Self, ConfigError> {
        let keys = KeySet::parse(document.as_bytes()).map_err(refused)?;
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    /// One key in PEM: a `PUBLIC KEY` block ([RFC 7468 §13]) with an RSA, P-256, P-384 or Ed25519 key,
    /// for the tokens with this `kid` and this algorithm.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] for any other block (`RSA PUBLIC KEY`, a certificate, a private key), for
    /// an RSA key below 2048 or above 8192 bits, and where the algorithm needs another kind of key.
    ///
    /// [RFC 7468 §13]: https://www.rfc-editor.org/rfc/rfc7468#section-13
    pub fn from_pem(key_id: &str, algorithm: Algorithm, pem: &str) -> Result<Self, ConfigError> {
        let keys = Self {
            keys: Arc::new(KeySet::default()),
        };
        keys.add_pem(key_id, algorithm, pem)
    }

    /// One more key in PEM, for a server that rotates between keys that are all known beforehand.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem); and where there is a key with this id and algorithm already,
    /// since a token could not say which of them it means.
    pub fn add_pem(
        mut self,
        key_id: &str,
        algorithm: Algorithm,
        pem: &str,
    ) -> Result<Self, ConfigError> {
        let key = Jwk::from_pem(Some(key_id), algorithm, pem).map_err(refused)?;
        let keys = self.keys.with(key).ok_or_else(|| {
            refused("there is a key with this id and algorithm already, or there are too many keys")
        })?;
        self.keys = Arc::new(keys);
        Ok(self)
    }

    /// The key for a token: what is not there now will never be.
    pub(super) fn key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<SelectedKey, KeyError> {
        settle(self.keys.select(key_id, algorithm)).unwrap_or(Err(KeyError::Unknown))
    }
}

fn refused(reason: &'static str) -> ConfigError {
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
