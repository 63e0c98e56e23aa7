//! Whether the key that verified a token is still in the key set.
//!
//! This is checked on every hit of the token cache, so it takes no lock as long as the key set is unchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key_set::SelectedKey;
use super::key_source::KeySource;
use crate::clock::Now;

/// A reference to the key that verified a cached token.
#[derive(Debug)]
pub(crate) struct KeyRef {
    key: SelectedKey,
    /// `None` for a configured key, which never changes.
    source: Option<Arc<KeySource>>,
    /// The generation of the last key set that was found to have the key. No set has generation 0.
    seen_in: AtomicU64,
}

/// The status of a [`KeyRef`], determined without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    /// The cached key set is valid, and the token would get this key again.
    Current,
    /// The cached key set no longer has this key, or has a second one that matches.
    Withdrawn,
    /// A key set must be fetched first.
    Unknown,
}

impl KeyRef {
    pub(super) fn new(key: SelectedKey, source: Option<Arc<KeySource>>) -> Self {
        Self {
            key,
            source,
            seen_in: AtomicU64::new(0),
        }
    }

    /// Returns the status of the key. It agrees with [`KeySource::key`] for the same token: a key that became ambiguous
    /// counts as withdrawn, and the status is unknown past the lifetime of the set.
    pub(crate) fn status(&self, now: &Now<'_>) -> KeyStatus {
        let Some(source) = &self.source else {
            return KeyStatus::Current;
        };
        let now = now.both(&source.clock);
        // The key was last seen in the cached set, and the set is within its lifetime.
        if source
            .cache
            .is_fresh(self.seen_in.load(Ordering::Relaxed), now)
        {
            return KeyStatus::Current;
        }
        let Some(key_set) = source.current(now) else {
            return KeyStatus::Unknown;
        };
        if !key_set.keys.still_selects(&self.key) {
            return KeyStatus::Withdrawn;
        }
        self.seen_in.store(key_set.generation, Ordering::Relaxed);
        KeyStatus::Current
    }
}
