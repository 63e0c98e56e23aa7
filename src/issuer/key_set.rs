//! A key set (RFC 7517 §5), and the selection of the key that verifies a token.

use std::sync::Arc;
use std::time::Duration;

use super::error::KeyError;
use crate::crypto::{Algorithm, Jwk, PublicKey};
use crate::protocol::json::{Json, parse_object};
use crate::telemetry::may_log;

/// Bounds the work of parsing a key set. Further keys are ignored.
const MAX_KEYS: usize = 128;

/// How many keys are tried for a token without a key id.
const MAX_CANDIDATES: usize = 3;

/// The usable keys of one key set.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Arc<Jwk>>,
}

/// A key that was selected for a token, for one algorithm.
#[derive(Clone, Debug)]
pub(crate) struct SelectedKey {
    key: Arc<Jwk>,
    algorithm: Algorithm,
    /// Whether it was selected by a `kid`.
    has_key_id: bool,
}

impl KeySet {
    /// Parses a JWK set (RFC 7517 §5). Unusable keys are ignored; a set without any usable key is an error, which says
    /// what is wrong.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, &'static str> {
        let object = parse_object(document).map_err(|_| "the key set is not strict JSON")?;
        let members = object
            .member("keys")
            .and_then(Json::as_array)
            .ok_or("the key set has no list of keys")?;
        let mut keys = Vec::new();
        for member in members.iter().take(MAX_KEYS) {
            let read = member
                .as_object()
                .ok_or("it is not an object")
                .and_then(Jwk::read);
            match read {
                Ok(key) => keys.push(Arc::new(key)),
                Err(reason) => tracing::debug!(
                    name: "key_ignored",
                    target: "tower_oauth::issuer",
                    reason,
                    "ignored a key of the key set"
                ),
            }
        }
        if keys.is_empty() {
            return Err("the key set has no usable key");
        }
        Ok(Self { keys })
    }

    /// Reuses the allocations of keys that `previous` has too, so that an unchanged key can be recognized by its
    /// pointer. Returns whether all keys are unchanged.
    pub(super) fn reuse_keys_of(&mut self, previous: &Self) -> bool {
        for key in &mut self.keys {
            if let Some(same) = previous.keys.iter().find(|other| other.is_same(key)) {
                *key = Arc::clone(same);
            }
        }
        let is_same = |(one, other)| Arc::ptr_eq(one, other);
        self.keys.len() == previous.keys.len() && self.keys.iter().zip(&previous.keys).all(is_same)
    }

    /// Returns whether the token that `selected` was selected for would get the same key again.
    pub(super) fn still_selects(&self, selected: &SelectedKey) -> bool {
        let key_id = selected.key.key_id().filter(|_| selected.has_key_id);
        let found = self.key(key_id, selected.algorithm);
        matches!(found, Some(Ok(current)) if current.iter().any(|key| key.is_same(selected)))
    }

    /// Returns a set that also has this key. Returns `None` if the set is full, or if another key has the same id
    /// and a common algorithm.
    pub(super) fn with(&self, key: Jwk) -> Option<Self> {
        let is_duplicate = self
            .keys
            .iter()
            .any(|one| one.key_id() == key.key_id() && one.shares_algorithm_with(&key));
        if is_duplicate || self.keys.len() >= MAX_KEYS {
            return None;
        }
        let mut keys = self.keys.clone();
        keys.push(Arc::new(key));
        Some(Self { keys })
    }

    /// Selects the key with this id and algorithm. Returns `None` if no key has this id: a newer key set may have one.
    ///
    /// For a token without a key id these are all keys for the algorithm, if they are few: each further one is another
    /// signature check for every invalid token. A key id that is present never falls back to other keys: a token could be
    /// verified by a key that was not meant for it.
    pub(crate) fn key(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<Result<KeyCandidates, KeyError>> {
        let has_id = |key: &&Arc<Jwk>| key_id.is_none() || key.key_id() == key_id;
        let select = |key: &Arc<Jwk>| SelectedKey {
            key: Arc::clone(key),
            algorithm,
            has_key_id: key_id.is_some(),
        };
        let mut matching = self
            .keys
            .iter()
            .filter(has_id)
            .filter(|key| key.for_algorithm(algorithm).is_some());
        let Some(first) = matching.next() else {
            // RFC 8725 §3.1: a key is for one algorithm.
            let is_unfit = key_id.is_some() && self.keys.iter().any(|key| has_id(&key));
            return is_unfit.then_some(Err(KeyError::Unfit));
        };
        let others: Vec<_> = matching.map(select).collect();
        if others.is_empty() || (key_id.is_none() && others.len() < MAX_CANDIDATES) {
            let first = select(first);
            return Some(Ok(KeyCandidates { first, others }));
        }
        if key_id.is_none() && may_log("key_id_missing", "") {
            tracing::warn!(
                name: "key_id_missing",
                target: "tower_oauth::issuer",
                keys = others.len() + 1,
                limit = MAX_CANDIDATES,
                "rejected a token without kid, because more keys of the key set fit than are tried"
            );
        }
        Some(Err(KeyError::Ambiguous))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// The keys that may have signed a token: one, unless the token has no `kid`.
#[derive(Clone, Debug)]
pub(crate) struct KeyCandidates {
    first: SelectedKey,
    others: Vec<SelectedKey>,
}

impl KeyCandidates {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SelectedKey> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl SelectedKey {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key)
    }

    pub(crate) fn public_key(&self) -> Option<&PublicKey> {
        self.key.for_algorithm(self.algorithm)
    }
}

const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// Returns the lifetime of a key set: the `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), clamped to between a minute
/// and an hour, or 10 minutes without it. An invalid directive counts as the minimum.
pub(super) fn lifetime(headers: &http::HeaderMap) -> Duration {
    let directives = headers
        .get_all(http::header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase());
    let mut lifetime = DEFAULT_LIFETIME;
    for directive in directives {
        if directive == "no-store" || directive == "no-cache" {
            return MIN_LIFETIME;
        }
        if let Some(age) = directive.strip_prefix("max-age=") {
            let digits = !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit());
            // RFC 9111 §1.2.2: a value that overflows counts as the greatest one.
            let seconds = if digits {
                age.parse().unwrap_or(u64::MAX)
            } else {
                0
            };
            lifetime = Duration::from_secs(seconds).clamp(MIN_LIFETIME, MAX_LIFETIME);
        }
    }
    lifetime
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_clamped() {
        for (header, expected) in [
            ("max-age=300", 300),
            ("public, MAX-AGE=300, must-revalidate", 300),
            ("max-age=0", 60),
            ("no-store", 60),
            ("max-age=-1", 60),
            ("max-age=soon", 60),
            ("max-age=1000000000000000000", 3600),
            ("max-age=99999999999999999999999999", 3600),
            ("public", 600),
        ] {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::CACHE_CONTROL, header.parse().unwrap());
            assert_eq!(
                lifetime(&headers),
                Duration::from_secs(expected),
                "{header}"
            );
        }
        assert_eq!(lifetime(&http::HeaderMap::new()), DEFAULT_LIFETIME);
    }
}
