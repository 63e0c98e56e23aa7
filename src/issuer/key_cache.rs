//! The cached key set, and whether the key that verified a token is still in it.
//!
//! The latter is checked on every hit of the token cache, so it takes no lock as long as the key set is unchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::health::KeySetHealth;
use super::key_set::{KeySet, SelectedKey};
use crate::sync::RwLock;

/// A fetched key set.
#[derive(Debug)]
pub(super) struct CachedKeySet {
    pub(super) keys: KeySet,
    /// Incremented, from 1, whenever a fetched set has other keys than the previous one.
    pub(super) generation: u64,
    pub(super) fetched_at: Duration,
    pub(super) lifetime: Duration,
    /// When the background task fetches the next set.
    pub(super) refresh_at: Duration,
}

/// The newest fetched key set.
#[derive(Debug, Default)]
pub(super) struct KeyCache {
    key_set: RwLock<Option<Arc<CachedKeySet>>>,
    // Generation and expiry of the set, which usually suffice to see that nothing has changed.
    generation: AtomicU64,
    /// The monotonic time in nanoseconds at which the lifetime of the set ends.
    fresh_until: AtomicU64,
}

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

impl CachedKeySet {
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.fetched_at)
    }

    /// Returns whether the set is within its lifetime.
    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        self.age(now) < self.lifetime
    }

    pub(super) fn health(&self, now: Duration, outage_limit: Duration) -> KeySetHealth {
        let age = self.age(now);
        match age.checked_sub(self.lifetime) {
            None => KeySetHealth::Fresh { age },
            Some(past) if past < outage_limit => KeySetHealth::Stale { age },
            Some(_) => KeySetHealth::Expired { age },
        }
    }

    /// Returns the status of a key if this set is valid.
    pub(super) fn status_of(&self, key: &KeyRef) -> KeyStatus {
        if !self.keys.still_selects(&key.key) {
            return KeyStatus::Withdrawn;
        }
        key.seen_in.store(self.generation, Ordering::Relaxed);
        KeyStatus::Current
    }
}

impl KeyCache {
    pub(super) fn get(&self) -> Option<Arc<CachedKeySet>> {
        self.key_set.read().clone()
    }

    pub(super) fn store(&self, key_set: &Arc<CachedKeySet>) {
        *self.key_set.write() = Some(Arc::clone(key_set));
        // In this order, a reader that sees the new expiry also sees the new generation.
        self.generation.store(key_set.generation, Ordering::Release);
        let end = nanoseconds(key_set.fetched_at + key_set.lifetime);
        self.fresh_until.store(end, Ordering::Release);
    }

    /// Returns whether the key was last seen in the cached set, and the set is within its lifetime.
    pub(super) fn is_current(&self, key: &KeyRef, now: Duration) -> bool {
        nanoseconds(now) < self.fresh_until.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == key.seen_in.load(Ordering::Relaxed)
    }
}

impl KeyRef {
    pub(crate) fn new(key: SelectedKey) -> Self {
        Self {
            key,
            seen_in: AtomicU64::new(0),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
