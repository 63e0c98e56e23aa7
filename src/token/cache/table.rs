//! A table bounded in bytes, of which a hit takes no more than a read lock and one clone.
//!
//! Room is made by the clock algorithm: a hand goes round over the places, takes away what was not
//! asked for since it came by last, and leaves the rest for another round. So a flood of tokens that
//! are each seen once does not push out those in use.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::crypto::CacheTag;

/// At most so many parts with a lock of their own, and fewer where they would be small: the bound
/// holds in each part, and a part has to hold what the longest token says.
const MAX_SHARDS: usize = 16;
const MIN_SHARD_BYTES: usize = 256 * 1024;

pub(super) struct Table<V> {
    shards: Box<[RwLock<Shard<V>>]>,
    shard_limit: usize,
}

struct Shard<V> {
    places: HashMap<CacheTag, usize, Seed>,
    ring: Vec<Option<Slot<V>>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
}

struct Slot<V> {
    name: CacheTag,
    value: V,
    bytes: usize,
    used: AtomicBool,
}

/// Names are keyed digests, evenly spread and known to nobody outside: their own bytes are hash enough,
/// with a seed of the table's beside the secret that made them.
struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}

impl BuildHasher for Seed {
    type Hasher = LastBytes;

    fn build_hasher(&self) -> LastBytes {
        LastBytes(self.0)
    }
}

/// The end of a name: its beginning has chosen the part of the table.
struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, name: &[u8]) {
        if let Some(last) = name.last_chunk() {
            self.0 ^= u64::from_le_bytes(*last);
        }
    }

    // All names have one length.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<V: Clone> Table<V> {
    /// What an entry takes in the table itself: its slot with the ring's spare room, and its place
    /// in a map that may be filled to less than half.
    pub(super) const ENTRY_BYTES: usize =
        size_of::<Option<Slot<V>>>() * 5 / 4 + 2 * (size_of::<(CacheTag, usize)>() + 1);

    pub(super) fn new(max_bytes: usize) -> Self {
        let shards = (max_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| RwLock::default()).collect(),
            shard_limit: max_bytes / shards,
        }
    }

    pub(super) fn get(&self, name: &CacheTag) -> Option<V> {
        let shard = self.shard(name)?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        // The map compares the whole name.
        let slot = shard.ring.get(*shard.places.get(name)?)?.as_ref()?;
        // Written once in a round, so that threads that share a token do not fight for the line.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.value.clone())
    }

    /// Puts a value in, where it is not larger than the bound by itself. `bytes` is what the value
    /// holds outside the table.
    pub(super) fn insert(&self, name: CacheTag, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(Self::ENTRY_BYTES);
        let Some(shard) = self.shard(&name) else {
            return;
        };
        if bytes > self.shard_limit {
            return;
        }
        let slot = Slot {
            name,
            value,
            bytes,
            used: AtomicBool::new(false),
        };
        // Dropped after the lock: a value may run code of the application's when it goes.
        let mut gone = Vec::new();
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        gone.extend(shard.take(&name));
        while shard.bytes + bytes > self.shard_limit {
            gone.extend(shard.advance());
        }
        shard.put(slot);
        drop(shard);
    }

    pub(super) fn remove(&self, name: &CacheTag) {
        let gone = self.shard(name).and_then(|shard| {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.take(name)
        });
        drop(gone);
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            (shard.places.len(), shard.bytes)
        });
        sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn shard(&self, name: &CacheTag) -> Option<&RwLock<Shard<V>>> {
        self.shards.get(usize::from(name[0]) % self.shards.len())
    }
}

impl<V> Shard<V> {
    fn take(&mut self, name: &CacheTag) -> Option<Slot<V>> {
        let place = self.places.remove(name)?;
        let slot = self.ring.get_mut(place)?.take()?;
        self.free.push(place);
        self.bytes -= slot.bytes;
        Some(slot)
    }

    /// Moves the hand by one place; two rounds take everything away.
    fn advance(&mut self) -> Option<Slot<V>> {
        let place = self.hand;
        self.hand = (place + 1) % self.ring.len().max(1);
        let slot = self.ring.get_mut(place)?.as_mut()?;
        if std::mem::take(slot.used.get_mut()) {
            return None;
        }
        let name = slot.name;
        self.take(&name)
    }

    fn put(&mut self, slot: Slot<V>) {
        let place = self.free.pop().unwrap_or_else(|| {
            // By a quarter, since doubling would hold up to half of the ring for nothing.
            if self.ring.len() == self.ring.capacity() {
                self.ring.reserve_exact(self.ring.len() / 4 + 8);
            }
            self.ring.push(None);
            self.ring.len() - 1
        });
        self.bytes += slot.bytes;
        self.places.insert(slot.name, place);
        if let Some(free) = self.ring.get_mut(place) {
            *free = Some(slot);
        }
    }
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self {
            places: HashMap::default(),
            ring: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const ENTRY: usize = Table::<Arc<u32>>::ENTRY_BYTES;

    /// A name with this number in it.
    fn name(number: u32) -> CacheTag {
        let mut name = [0; size_of::<CacheTag>()];
        // Spread over both ends, as digests are.
        let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        name[..8].copy_from_slice(&spread.to_le_bytes());
        let end = name.len() - 8;
        name[end..].copy_from_slice(&spread.rotate_left(32).to_le_bytes());
        name
    }

    #[test]
    fn what_was_put_in_comes_out_until_it_is_removed() {
        let table = Table::new(64 * 1024);
        table.insert(name(1), Arc::new(10), 100);
        table.insert(name(2), Arc::new(20), 100);
        table.insert(name(1), Arc::new(11), 300);
        assert_eq!(table.get(&name(1)).as_deref(), Some(&11));
        assert_eq!(table.get(&name(3)), None);
        assert_eq!(table.size(), (2, 400 + 2 * ENTRY));
        table.remove(&name(1));
        table.remove(&name(1));
        assert_eq!(table.get(&name(1)), None);
        assert_eq!(table.size(), (1, 100 + ENTRY));
    }

    #[test]
    fn a_flood_stays_within_the_bound_and_leaves_what_is_in_use() {
        for max_bytes in [10_000, 3 * MIN_SHARD_BYTES, 8 * 1024 * 1024] {
            let table = Table::new(max_bytes);
            table.insert(name(0), Arc::new(0), 500);
            for number in 1..100_000 {
                table.insert(name(number), Arc::new(number), 500);
                assert_eq!(table.get(&name(0)).as_deref(), Some(&0), "{number}");
                if number % 1000 == 0 {
                    assert!(table.size().1 <= max_bytes);
                }
            }
            let (entries, bytes) = table.size();
            assert!(bytes <= max_bytes && bytes > max_bytes * 3 / 4, "{bytes}");
            assert_eq!(bytes, entries * (500 + ENTRY));
        }
    }

    #[test]
    fn what_is_larger_than_the_table_is_not_kept() {
        let table = Table::new(10_000);
        table.insert(name(1), Arc::new(1), 200);
        table.insert(name(2), Arc::new(2), 10_000);
        table.insert(name(3), Arc::new(3), usize::MAX);
        assert_eq!(table.size(), (1, 200 + ENTRY));
        let nothing = Table::new(0);
        nothing.insert(name(1), Arc::new(1), 0);
        assert_eq!(nothing.size(), (0, 0));
    }

    #[test]
    fn places_are_used_again_however_often_entries_come_and_go() {
        let table = Table::new(64 * 1024);
        for number in 0..10_000 {
            table.insert(name(number), Arc::new(number), 100);
            if number >= 10 {
                table.remove(&name(number - 10));
            }
        }
        let shard = table.shards[0].read().unwrap();
        assert!(shard.ring.len() <= 11 && shard.free.len() <= 11);
        assert_eq!(shard.places.len(), 10);
    }

    #[test]
    fn a_value_that_looks_at_the_table_as_it_goes_does_not_hang() {
        struct Nosy(std::sync::Weak<Table<Arc<Self>>>);
        impl Drop for Nosy {
            fn drop(&mut self) {
                if let Some(table) = self.0.upgrade() {
                    table.remove(&name(7));
                }
            }
        }
        let table = Arc::new(Table::new(2000));
        for number in 0..100 {
            let nosy = Nosy(Arc::downgrade(&table));
            table.insert(name(number), Arc::new(nosy), 400);
        }
        assert!(table.size().0 > 0);
    }
}
