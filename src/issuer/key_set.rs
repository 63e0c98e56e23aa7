//! A fetched key set: each key read by itself, and the choice of the one key for a token.

use std::sync::Arc;
use std::time::Duration;

use super::back_channel::FetchError;
use crate::crypto::{Algorithm, Jwk, PublicKey};
use crate::protocol::json::{Json, parse_object};

/// More keys than any server publishes; the rest is not read.
const MAX_KEYS: usize = 128;

/// The usable keys of one key set.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<Jwk>>,
}

/// A key of a set, for one algorithm.
#[derive(Clone, Debug)]
pub(crate) struct SelectedKey {
    key: Arc<Jwk>,
    algorithm: Algorithm,
    /// Whether the token named it.
    named: bool,
}

/// What a key set has for a token.
pub(super) enum Selection {
    Found(SelectedKey),
    /// No key of this id; a newer set may have it.
    Unknown,
    /// The id is known, but its key may not verify this algorithm (`J17`).
    Unfit,
    /// Several keys would do, and none is named (`J17`, `J18`).
    Ambiguous,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 §5). A key that cannot be used spoils only itself; a set without any
    /// usable key is no key set (`J16`).
    pub(super) fn read(document: &[u8]) -> Result<Self, FetchError> {
        Self::parse(document).map_err(FetchError::Document)
    }

    /// The same, for a set that was not fetched; the error says what is wrong with it.
    pub(super) fn parse(document: &[u8]) -> Result<Self, &'static str> {
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
                    name: "key_left_out",
                    target: "tower_oauth::issuer",
                    reason,
                    "a key of the key set is left out"
                ),
            }
        }
        if keys.is_empty() {
            return Err("the key set has no usable key");
        }
        Ok(Self { keys })
    }

    /// Takes over the keys that the set before had too, so that what rests on a key can tell by its
    /// place whether it is still the same; `true` where that is all of them.
    pub(super) fn take_over(&mut self, before: &Self) -> bool {
        for key in &mut self.keys {
            if let Some(known) = before.keys.iter().find(|known| known.is_same(key)) {
                *key = Arc::clone(known);
            }
        }
        let same = |(one, other)| Arc::ptr_eq(one, other);
        self.keys.len() == before.keys.len() && self.keys.iter().zip(&before.keys).all(same)
    }

    /// Whether the token that this key was chosen for would be given this very key again.
    pub(super) fn still_selects(&self, chosen: &SelectedKey) -> bool {
        let key_id = chosen.key.key_id().filter(|_| chosen.named);
        match self.select(key_id, chosen.algorithm) {
            Selection::Found(now) => Arc::ptr_eq(&now.key, &chosen.key),
            _ => false,
        }
    }

    /// A set with this key too; `None` where it is full, or where a token could not say which of two
    /// keys it means.
    pub(super) fn with(&self, key: Jwk) -> Option<Self> {
        let taken = self
            .keys
            .iter()
            .any(|one| one.key_id() == key.key_id() && one.shares_algorithm_with(&key));
        if taken || self.keys.len() >= MAX_KEYS {
            return None;
        }
        let mut keys = self.keys.clone();
        keys.push(Arc::new(key));
        Some(Self { keys })
    }

    /// Key id and algorithm together choose one key; nothing is ever tried in turn.
    pub(super) fn select(&self, key_id: Option<&str>, algorithm: Algorithm) -> Selection {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key_id.is_none() || key.key_id() == key_id)
            .filter(|key| key.for_algorithm(algorithm).is_some());
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Selection::Found(SelectedKey {
                key: Arc::clone(key),
                algorithm,
                named: key_id.is_some(),
            }),
            (Some(_), Some(_)) => Selection::Ambiguous,
            (None, _) if key_id.is_some() && self.keys.iter().any(|key| key.key_id() == key_id) => {
                Selection::Unfit
            }
            (None, _) => Selection::Unknown,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl SelectedKey {
    pub(crate) fn public_key(&self) -> Option<&PublicKey> {
        self.key.for_algorithm(self.algorithm)
    }
}

const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// How long a key set lives: what `Cache-Control` says, within a minute and an hour, or 10 minutes
/// (`J10`, RFC 9111 §5.2.2). A directive that cannot be read counts as the shortest.
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
            // More digits than fit mean a very long time (RFC 9111 §1.2.2).
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
    fn lifetimes_are_clamped_whatever_the_server_says() {
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
