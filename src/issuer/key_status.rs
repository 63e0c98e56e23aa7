//! Whether a key that vouched for a token is still what the token would be given: asked at every
//! remembered token, so it takes no lock as long as nothing has changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::key_set::SelectedKey;
use super::key_source::{Held, KeySource};

/// A key whose word is still relied upon after its token was verified.
#[derive(Debug)]
pub(crate) struct KeyRef {
    key: SelectedKey,
    /// The generation of the key set that was last seen to have the key; no set has number 0.
    seen: AtomicU64,
}

/// What can be said of a [`KeyRef`] without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    /// The key set at hand may be used, and the token would be given this key again.
    Current,
    /// The key set at hand has no such key any more, or a second one that would do.
    Withdrawn,
    /// There is no key set that may be used without asking for it.
    Unknown,
}

impl KeyRef {
    pub(crate) fn new(key: SelectedKey) -> Self {
        Self {
            key,
            seen: AtomicU64::new(0),
        }
    }
}

/// The two numbers of the key set at hand that tell most of the time that nothing has changed.
#[derive(Debug, Default)]
pub(super) struct KeySetEpoch {
    /// The monotonic time in nanoseconds at which the set's life ends.
    fresh_until: AtomicU64,
    generation: AtomicU64,
}

impl KeySetEpoch {
    /// To be called once the set is at hand.
    pub(super) fn follow(&self, held: &Held) {
        // In this order: whoever sees the new life sees the new generation too.
        self.generation.store(held.generation, Ordering::Release);
        let end = nanoseconds(held.fetched_at + held.lifetime);
        self.fresh_until.store(end, Ordering::Release);
    }

    fn refers_to(&self, voucher: &KeyRef, now: Duration) -> bool {
        nanoseconds(now) < self.fresh_until.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == voucher.seen.load(Ordering::Relaxed)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl KeySource {
    /// Says no more than [`cached_key`](Self::cached_key) would for the same token: a withdrawn key
    /// and one that became ambiguous are gone, and past the end of the set's life one has to ask
    /// (`J12`, `J19`).
    pub(super) fn key_status(&self, voucher: &KeyRef) -> KeyStatus {
        if self.pulse.refers_to(voucher, self.clock.monotonic()) {
            return KeyStatus::Current;
        }
        let Some(held) = self.current() else {
            return KeyStatus::Unknown;
        };
        if !held.keys.still_selects(&voucher.key) {
            return KeyStatus::Withdrawn;
        }
        voucher.seen.store(held.generation, Ordering::Relaxed);
        KeyStatus::Current
    }
}
