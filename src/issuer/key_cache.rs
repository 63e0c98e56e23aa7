//! The cached key set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::health::KeySetHealth;
use super::key_set::KeySet;
use crate::clock::BothClocks;
use crate::sync::RwLock;

/// A fetched key set.
#[derive(Debug)]
pub(super) struct CachedKeySet {
    pub(super) keys: KeySet,
    /// Incremented, from 1, whenever a fetched set has other keys than the previous one.
    pub(super) generation: u64,
    pub(super) fetched_at: BothClocks,
    pub(super) lifetime: Duration,
    /// The age at which the background task fetches the next set.
    pub(super) refresh_age: Duration,
}

/// The newest fetched key set.
#[derive(Debug, Default)]
pub(super) struct KeyCache {
    key_set: RwLock<Option<Arc<CachedKeySet>>>,
    // Generation and expiry of the set, which usually suffice to see that nothing has changed.
    generation: AtomicU64,
    // When the lifetime of the set ends, on each clock: the monotonic one in nanoseconds, the wall clock in seconds.
    fresh_until: AtomicU64,
    fresh_until_wall: AtomicI64,
}

impl CachedKeySet {
    pub(super) fn age(&self, now: BothClocks) -> Duration {
        self.fetched_at.age(now)
    }

    /// Returns whether the set is within its lifetime.
    pub(super) fn is_fresh(&self, now: BothClocks) -> bool {
        self.age(now) < self.lifetime
    }

    pub(super) fn health(&self, now: BothClocks, outage_limit: Duration) -> KeySetHealth {
        let age = self.age(now);
        match age.checked_sub(self.lifetime) {
            None => KeySetHealth::Fresh { age },
            Some(past) if past < outage_limit => KeySetHealth::Stale { age },
            Some(_) => KeySetHealth::Expired { age },
        }
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
        let end = key_set.fetched_at.after(key_set.lifetime);
        self.fresh_until_wall.store(end.wall, Ordering::Release);
        let end = nanoseconds(end.monotonic);
        self.fresh_until.store(end, Ordering::Release);
    }

    /// Returns whether the newest set is this one and within its lifetime, without a lock.
    pub(super) fn is_fresh(&self, generation: u64, now: BothClocks) -> bool {
        nanoseconds(now.monotonic) < self.fresh_until.load(Ordering::Acquire)
            && now.wall < self.fresh_until_wall.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == generation
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
