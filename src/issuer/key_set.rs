//! A key set (RFC 7517 §5), and the selection of the key that verifies a token.

use std::sync::Arc;
use std::time::Duration;

use super::error::KeyError;
use crate::crypto::{Algorithm, Jwk, PublicKey};
use crate::protocol::json::{Json, parse_object_of_parts};
use crate::protocol::sanitize::log_safe;
use crate::telemetry::may_log;

/// Bounds the work of parsing a key set. Further keys are ignored, with a warning.
pub(super) const MAX_KEYS: usize = 128;

/// How many keys are tried for a token without a key id.
const MAX_CANDIDATES: usize = 3;

/// The usable keys of one key set.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Arc<Jwk>>,
    surplus: usize,
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
    /// what is wrong. A key that occurs twice is one key.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, &'static str> {
        let object =
            parse_object_of_parts(document).map_err(|_| "the key set is not strict JSON")?;
        let members = object
            .member("keys")
            .and_then(Json::as_array)
            .ok_or("the key set has no list of keys")?;
        let mut keys = Vec::new();
        let mut ignored = Vec::new();
        for member in members.iter().take(MAX_KEYS) {
            match read_key(member) {
                Ok(key) => keys.push(key),
                Err(reason) => ignored.push((member, reason)),
            }
        }
        for (member, reason) in &ignored {
            log_ignored_key(member, reason, keys.is_empty());
        }
        if keys.is_empty() {
            return Err("the key set has no usable key");
        }
        Ok(Self {
            keys: merge(keys).into_iter().map(Arc::new).collect(),
            surplus: members.len().saturating_sub(MAX_KEYS),
        })
    }

    /// Returns how many keys were ignored because the set is too long, for the log.
    pub(super) fn surplus(&self) -> usize {
        self.surplus
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
        Some(Self { keys, surplus: 0 })
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
        let mut others: Vec<&Arc<Jwk>> = Vec::new();
        for key in matching {
            // One key under two identifiers is not ambiguous.
            let is_same = |other: &Arc<Jwk>| other.is_same_key(key);
            if !is_same(first) && !others.iter().any(|other| is_same(other)) {
                others.push(key);
            }
        }
        if others.is_empty() || (key_id.is_none() && others.len() < MAX_CANDIDATES) {
            return Some(Ok(KeyCandidates {
                first: select(first),
                others: others.into_iter().map(select).collect(),
            }));
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

fn read_key(member: &Json<'_>) -> Result<Jwk, &'static str> {
    match member {
        Json::Object(jwk) => Jwk::read(jwk),
        Json::Ambiguous => Err("it has two members of the same name"),
        _ => Err("it is not an object"),
    }
}

/// Logs why a key is ignored: as a warning if the set has no other key, since no token can then be verified.
fn log_ignored_key(member: &Json<'_>, reason: &'static str, is_fatal: bool) {
    let jwk = member.as_object();
    let key_id = jwk
        .and_then(|jwk| jwk.text("kid").ok().flatten())
        .map(log_safe);
    if is_fatal && may_log("key_ignored", reason) {
        tracing::warn!(
            name: "key_ignored", target: "tower_oauth::issuer", key_id, reason,
            "ignored a key of a key set that has no usable key"
        );
    } else {
        tracing::debug!(
            name: "key_ignored", target: "tower_oauth::issuer", key_id, reason,
            "ignored a key of the key set"
        );
    }
}

/// Merges the entries for one key: the same parameters, which is the comparison of their thumbprints (RFC 7638 §3).
///
/// If an entry names its algorithm, those without `alg` add none: the server states what the key is for. Entries with
/// different identifiers stay, each with its own algorithms.
fn merge(mut keys: Vec<Jwk>) -> Vec<Jwk> {
    let named = |key: &Jwk| -> Vec<Algorithm> {
        let same = keys.iter().filter(|other| other.is_same_key(key));
        same.flat_map(Jwk::named_algorithms).collect()
    };
    let named: Vec<_> = keys.iter().map(named).collect();
    for (key, named) in keys.iter_mut().zip(&named) {
        key.restrict_to(named);
    }
    let mut merged: Vec<Jwk> = Vec::with_capacity(keys.len());
    for key in keys {
        let is_same = |one: &&mut Jwk| {
            one.is_same_key(&key) && one.key_id() == key.key_id() && one.issuer() == key.issuer()
        };
        match merged.iter_mut().find(is_same) {
            Some(one) => one.absorb(key),
            None => merged.push(key),
        }
    }
    merged
}

impl SelectedKey {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key)
    }

    /// Returns the only issuer whose tokens the key may sign, if the key set names one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.key.issuer()
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
