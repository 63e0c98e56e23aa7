//! Whether the key that verified a token is still current.
//!
//! This is checked on every hit of the token cache, so it takes no lock as long as the key set is unchanged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::key_set::SelectedKey;
use super::key_source::{CachedKeySet, KeySource};
use crate::clock::Now;

/// A reference to the key that verified a cached token.
#[derive(Debug)]
pub(crate) struct KeyRef {
    key: SelectedKey,
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
    pub(crate) fn new(key: SelectedKey) -> Self {
        Self {
            key,
            seen_in: AtomicU64::new(0),
        }
    }
}

/// Generation and expiry of the cached key set, which usually suffice to see that nothing has changed.
#[derive(Debug, Default)]
pub(super) struct KeySetEpoch {
    /// The monotonic time in nanoseconds at which the lifetime of the set ends.
    fresh_until: AtomicU64,
    generation: AtomicU64,
}

impl KeySetEpoch {
    /// Stores the epoch of a set that was just cached.
    pub(super) fn store(&self, key_set: &CachedKeySet) {
        // In this order, a reader that sees the new expiry also sees the new generation.
        self.generation.store(key_set.generation, Ordering::Release);
        let end = nanoseconds(key_set.fetched_at + key_set.lifetime);
        self.fresh_until.store(end, Ordering::Release);
    }

    fn is_current(&self, key: &KeyRef, now: Duration) -> bool {
        nanoseconds(now) < self.fresh_until.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == key.seen_in.load(Ordering::Relaxed)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl KeySource {
    /// Returns the status of a key. It agrees with [`key`](Self::key) for the same token: a key that became ambiguous
    /// counts as withdrawn, and the status is unknown past the lifetime of the set.
    pub(super) fn key_status(&self, key: &KeyRef, now: &Now<'_>) -> KeyStatus {
        let now = now.monotonic(&self.clock);
        if self.epoch.is_current(key, now) {
            return KeyStatus::Current;
        }
        let Some(key_set) = self.current(now) else {
            return KeyStatus::Unknown;
        };
        if !key_set.keys.still_selects(&key.key) {
            return KeyStatus::Withdrawn;
        }
        key.seen_in.store(key_set.generation, Ordering::Relaxed);
        KeyStatus::Current
    }
}
