//! The keys of a test server: signing keys and the published key set.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::keys::TestSigningKey;
use super::server::TestServer;
use crate::crypto::Algorithm;

impl TestServer {
    /// Returns the key that signs with this algorithm. Creates and publishes one if there is none.
    pub fn key(&self, algorithm: Algorithm) -> TestSigningKey {
        self.shared.keys.current(Some(algorithm))
    }

    /// Rotates the signing keys. The old keys stay published.
    pub fn rotate_keys(&self) {
        self.shared.keys.rotate();
    }

    /// Makes this key the signing key for its algorithm, published or not.
    pub fn sign_with(&self, key: &TestSigningKey) {
        self.shared.keys.sign_with(key);
    }

    /// Adds a public key to the key set.
    pub fn publish_key(&self, key: &TestSigningKey) {
        self.publish_jwk(key.public_jwk());
    }

    /// Adds a JWK, which need not be valid, to the key set.
    pub fn publish_jwk(&self, jwk: Value) {
        self.shared.keys.publish(jwk);
    }

    /// Removes keys with this `kid` from the key set and from the signing keys.
    pub fn remove_key(&self, kid: &str) {
        self.shared.keys.remove(kid);
    }

    /// Removes all keys from the key set except the current signing keys.
    pub fn remove_retired_keys(&self) {
        self.shared.keys.remove_retired();
    }
}

#[derive(Clone, Debug)]
pub(super) struct KeyRing(Arc<Mutex<Keys>>);

#[derive(Debug)]
struct Keys {
    default: Algorithm,
    /// At most one per algorithm.
    signing: Vec<TestSigningKey>,
    /// Kept alive, so that a retired RSA key is not reused as a new one.
    retired: Vec<TestSigningKey>,
    published: Vec<Value>,
}

impl KeyRing {
    /// Creates a key ring with one RS256 key, the algorithm that every OpenID provider has to support
    /// (OpenID Connect Discovery §3, `id_token_signing_alg_values_supported`).
    pub(super) fn new() -> Self {
        let ring = Self(Arc::new(Mutex::new(Keys {
            default: Algorithm::Rs256,
            signing: Vec::new(),
            retired: Vec::new(),
            published: Vec::new(),
        })));
        ring.current(None);
        ring
    }

    /// Returns the signing key for this algorithm or the default one. Creates and publishes it if
    /// missing.
    pub(super) fn current(&self, algorithm: Option<Algorithm>) -> TestSigningKey {
        let mut keys = self.keys();
        let algorithm = algorithm.unwrap_or(keys.default);
        if let Some(key) = keys.signing.iter().find(|key| key.algorithm() == algorithm) {
            return key.clone();
        }
        let key = TestSigningKey::generate(algorithm);
        keys.published.push(key.public_jwk());
        keys.signing.push(key.clone());
        key
    }

    pub(super) fn set_default_algorithm(&self, algorithm: Algorithm) {
        let replaced = {
            let mut keys = self.keys();
            let previous = std::mem::replace(&mut keys.default, algorithm);
            keys.signing
                .iter()
                .find(|key| key.algorithm() == previous)
                .map(|key| key.kid().to_owned())
        };
        if let Some(kid) = replaced {
            self.remove(&kid);
        }
        self.current(None);
    }

    /// Creates a new key for each algorithm in use. The old keys stay published.
    pub(super) fn rotate(&self) {
        let mut keys = self.keys();
        let old = std::mem::take(&mut keys.signing);
        for key in &old {
            let new = TestSigningKey::generate(key.algorithm());
            keys.published.push(new.public_jwk());
            keys.signing.push(new);
        }
        keys.retired.extend(old);
    }

    /// Makes this key the signing key for its algorithm, published or not.
    pub(super) fn sign_with(&self, key: &TestSigningKey) {
        let mut keys = self.keys();
        let (old, mut signing): (Vec<_>, Vec<_>) = std::mem::take(&mut keys.signing)
            .into_iter()
            .partition(|other| other.algorithm() == key.algorithm());
        signing.push(key.clone());
        keys.signing = signing;
        keys.retired.extend(old);
    }

    pub(super) fn publish(&self, jwk: Value) {
        self.keys().published.push(jwk);
    }

    pub(super) fn remove(&self, kid: &str) {
        let mut keys = self.keys();
        keys.published.retain(|jwk| jwk["kid"] != kid);
        let (old, signing) = std::mem::take(&mut keys.signing)
            .into_iter()
            .partition(|key| key.kid() == kid);
        keys.signing = signing;
        let old: Vec<TestSigningKey> = old;
        keys.retired.extend(old);
    }

    /// Removes all keys from the key set except the current signing keys.
    pub(super) fn remove_retired(&self) {
        let mut keys = self.keys();
        let signing: Vec<Value> = keys.signing.iter().map(|key| key.kid().into()).collect();
        keys.published.retain(|jwk| signing.contains(&jwk["kid"]));
    }

    /// Returns the published key set (RFC 7517 §5).
    pub(super) fn key_set(&self) -> Value {
        json!({ "keys": self.keys().published })
    }

    /// Returns the names of the algorithms in use.
    pub(super) fn algorithms(&self) -> Vec<&'static str> {
        self.keys()
            .signing
            .iter()
            .map(|key| key.algorithm().name())
            .collect()
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
