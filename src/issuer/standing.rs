//! Whether a key that vouched for a token is still what the token would be given: asked at every
//! remembered token, so it takes no lock as long as nothing has changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::key_set::SelectedKey;
use super::key_source::{Held, KeySource};

/// A key whose word is still relied upon after its token was verified.
#[derive(Debug)]
pub(crate) struct Voucher {
    key: SelectedKey,
    /// The generation of the key set that was last seen to have the key; no set has number 0.
    seen: AtomicU64,
}

/// What can be said of a [`Voucher`] without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The key set at hand may be used, and the token would be given this key again.
    Current,
    /// The key set at hand has no such key any more, or a second one that would do.
    Withdrawn,
    /// There is no key set that may be used without asking for it.
    Unknown,
}

impl Voucher {
    pub(crate) fn new(key: SelectedKey) -> Self {
        Self {
            key,
            seen: AtomicU64::new(0),
        }
    }
}

/// The two numbers of the key set at hand that tell most of the time that nothing has changed.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// The monotonic time in nanoseconds at which the set's life ends.
    fresh_until: AtomicU64,
    generation: AtomicU64,
}

impl Pulse {
    /// To be called once the set is at hand.
    pub(super) fn follow(&self, held: &Held) {
        // In this order: whoever sees the new life sees the new generation too.
        self.generation.store(held.generation, Ordering::Release);
        let end = nanoseconds(held.fetched_at + held.lifetime);
        self.fresh_until.store(end, Ordering::Release);
    }

    fn vouches_for(&self, voucher: &Voucher, now: Duration) -> bool {
        nanoseconds(now) < self.fresh_until.load(Ordering::Acquire)
            && self.generation.load(Ordering::Acquire) == voucher.seen.load(Ordering::Relaxed)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl KeySource {
    /// Says no more than [`key_at_hand`](Self::key_at_hand) would for the same token: a withdrawn key
    /// and one that became ambiguous are gone, and past the end of the set's life one has to ask
    /// (`J12`, `J19`).
    pub(super) fn standing(&self, voucher: &Voucher) -> Standing {
        if self.pulse.vouches_for(voucher, self.clock.monotonic()) {
            return Standing::Current;
        }
        let Some(held) = self.current() else {
            return Standing::Unknown;
        };
        if !held.keys.still_selects(&voucher.key) {
            return Standing::Withdrawn;
        }
        voucher.seen.store(held.generation, Ordering::Relaxed);
        Standing::Current
    }
}
