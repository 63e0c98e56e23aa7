//! The keys of one server: which sign, and which are published.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::keys::SigningKey;
use super::server::TestServer;
use crate::crypto::Algorithm;

impl TestServer {
    /// The key that signs by this algorithm now; made and published where there was none.
    pub fn key(&self, algorithm: Algorithm) -> SigningKey {
        self.shared.keys.current(Some(algorithm))
    }

    /// Signs with new keys from now on; the old ones stay published.
    pub fn rotate_keys(&self) {
        self.shared.keys.rotate();
    }

    /// Signs with this key from now on, published or not.
    pub fn sign_with(&self, key: &SigningKey) {
        self.shared.keys.sign_with(key);
    }

    /// Adds the public half of a key to the key set.
    pub fn publish_key(&self, key: &SigningKey) {
        self.publish_jwk(key.public_jwk());
    }

    /// Adds anything to the key set.
    pub fn publish_jwk(&self, jwk: Value) {
        self.shared.keys.publish(jwk);
    }

    /// Takes keys with this id out of the key set, and signs with none of them any more.
    pub fn withdraw_key(&self, kid: &str) {
        self.shared.keys.withdraw(kid);
    }

    /// Takes all keys out of the key set that do not sign now.
    pub fn withdraw_old_keys(&self) {
        self.shared.keys.withdraw_retired();
    }
}

#[derive(Clone, Debug)]
pub(super) struct KeyRing(Arc<Mutex<Keys>>);

#[derive(Debug)]
struct Keys {
    default: Algorithm,
    /// At most one an algorithm.
    signing: Vec<SigningKey>,
    /// Kept, so that none of them is handed out again as a new one.
    retired: Vec<SigningKey>,
    published: Vec<Value>,
}

impl KeyRing {
    /// One key, for the algorithm that every OpenID provider has to support (OpenID Connect
    /// Discovery §3, `id_token_signing_alg_values_supported`).
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

    /// The key that signs by this algorithm, or by the default one; made and published when missing.
    pub(super) fn current(&self, algorithm: Option<Algorithm>) -> SigningKey {
        let mut keys = self.keys();
        let algorithm = algorithm.unwrap_or(keys.default);
        if let Some(key) = keys.signing.iter().find(|key| key.algorithm() == algorithm) {
            return key.clone();
        }
        let key = SigningKey::generate(algorithm);
        keys.published.push(key.public_jwk());
        keys.signing.push(key.clone());
        key
    }

    pub(super) fn sign_by_default(&self, algorithm: Algorithm) {
        let unused = {
            let mut keys = self.keys();
            let before = std::mem::replace(&mut keys.default, algorithm);
            keys.signing
                .iter()
                .find(|key| key.algorithm() == before)
                .map(|key| key.kid().to_owned())
        };
        if let Some(kid) = unused {
            self.withdraw(&kid);
        }
        self.current(None);
    }

    /// A new key for each algorithm in use; the old ones stay published.
    pub(super) fn rotate(&self) {
        let mut keys = self.keys();
        let old = std::mem::take(&mut keys.signing);
        for key in &old {
            let new = SigningKey::generate(key.algorithm());
            keys.published.push(new.public_jwk());
            keys.signing.push(new);
        }
        keys.retired.extend(old);
    }

    /// From now on this key signs by its algorithm, published or not.
    pub(super) fn sign_with(&self, key: &SigningKey) {
        let mut keys = self.keys();
        let (old, mut signing): (Vec<_>, Vec<_>) = std::mem::take(&mut keys.signing)
            .into_iter()
            .partition(|one| one.algorithm() == key.algorithm());
        signing.push(key.clone());
        keys.signing = signing;
        keys.retired.extend(old);
    }

    pub(super) fn publish(&self, jwk: Value) {
        self.keys().published.push(jwk);
    }

    pub(super) fn withdraw(&self, kid: &str) {
        let mut keys = self.keys();
        keys.published.retain(|jwk| jwk["kid"] != kid);
        let (old, signing) = std::mem::take(&mut keys.signing)
            .into_iter()
            .partition(|key| key.kid() == kid);
        keys.signing = signing;
        let old: Vec<SigningKey> = old;
        keys.retired.extend(old);
    }

    /// Withdraws all that do not sign any more.
    pub(super) fn withdraw_retired(&self) {
        let mut keys = self.keys();
        let signing: Vec<Value> = keys.signing.iter().map(|key| key.kid().into()).collect();
        keys.published.retain(|jwk| signing.contains(&jwk["kid"]));
    }

    /// The key set as it is served (RFC 7517 §5).
    pub(super) fn key_set(&self) -> Value {
        json!({ "keys": self.keys().published })
    }

    /// Names of the algorithms in use.
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
