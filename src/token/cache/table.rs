//! A sharded hash table bounded in bytes. A hit takes a read lock and one clone.
//!
//! Entries are evicted with the clock algorithm (second chance): a hand moves around the ring, evicts entries that
//! were not used since its last pass and keeps the others for one more. A flood of tokens that are each seen once
//! does not evict the tokens in use.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::crypto::CacheTag;

/// The number of shards is smaller if they would be small: the bound applies to each shard, and a shard must hold
/// the claims of the longest token.
const MAX_SHARDS: usize = 16;
const MIN_SHARD_BYTES: usize = 256 * 1024;

pub(super) struct Table<V> {
    shards: Box<[RwLock<Shard<V>>]>,
    shard_limit: usize,
}

struct Shard<V> {
    /// Positions in the ring.
    index: HashMap<CacheTag, usize, Seed>,
    ring: Vec<Option<CacheSlot<V>>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
}

struct CacheSlot<V> {
    tag: CacheTag,
    value: V,
    bytes: usize,
    used: AtomicBool,
}

/// Tags are MACs under a secret key: evenly distributed and not predictable from outside. So the hash of a tag is
/// eight of its bytes, mixed with a random seed.
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

/// Hashes the end of a tag, since its first byte selects the shard.
struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, tag: &[u8]) {
        if let Some(last) = tag.last_chunk() {
            self.0 ^= u64::from_le_bytes(*last);
        }
    }

    // All tags have the same length.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<V: Clone> Table<V> {
    /// The size of an entry in the table itself: its slot with the spare capacity of the ring, and its index entry in
    /// a map that may be less than half full.
    pub(super) const ENTRY_BYTES: usize =
        size_of::<Option<CacheSlot<V>>>() * 5 / 4 + 2 * (size_of::<(CacheTag, usize)>() + 1);

    pub(super) fn new(max_bytes: usize) -> Self {
        let shards = (max_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| RwLock::default()).collect(),
            shard_limit: max_bytes / shards,
        }
    }

    pub(super) fn get(&self, tag: &CacheTag) -> Option<V> {
        let shard = self.shard(tag)?;
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        // The index compares the whole tag.
        let slot = shard.ring.get(*shard.index.get(tag)?)?.as_ref()?;
        // Stored once per pass, so that threads that share a token do not contend for the cache line.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        Some(slot.value.clone())
    }

    /// Inserts a value unless it is larger than a shard. `bytes` is its size outside of the table.
    pub(super) fn insert(&self, tag: CacheTag, value: V, bytes: usize) {
        let bytes = bytes.saturating_add(Self::ENTRY_BYTES);
        let Some(shard) = self.shard(&tag) else {
            return;
        };
        if bytes > self.shard_limit {
            return;
        }
        let slot = CacheSlot {
            tag,
            value,
            bytes,
            used: AtomicBool::new(false),
        };
        // Dropped after the lock is released: dropping a value may run code of the application.
        let mut evicted = Vec::new();
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        evicted.extend(shard.take(&tag));
        while shard.bytes + bytes > self.shard_limit {
            evicted.extend(shard.advance());
        }
        shard.put(slot);
        drop(shard);
    }

    pub(super) fn remove(&self, tag: &CacheTag) {
        let removed = self.shard(tag).and_then(|shard| {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.take(tag)
        });
        drop(removed);
    }

    /// Returns the number of entries and their size in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            (shard.index.len(), shard.bytes)
        });
        sizes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    fn shard(&self, tag: &CacheTag) -> Option<&RwLock<Shard<V>>> {
        self.shards.get(usize::from(tag[0]) % self.shards.len())
    }
}

impl<V> Shard<V> {
    fn take(&mut self, tag: &CacheTag) -> Option<CacheSlot<V>> {
        let position = self.index.remove(tag)?;
        let slot = self.ring.get_mut(position)?.take()?;
        self.free.push(position);
        self.bytes -= slot.bytes;
        Some(slot)
    }

    /// Moves the hand by one position. Two passes evict every entry.
    fn advance(&mut self) -> Option<CacheSlot<V>> {
        let position = self.hand;
        self.hand = (position + 1) % self.ring.len().max(1);
        let slot = self.ring.get_mut(position)?.as_mut()?;
        if std::mem::take(slot.used.get_mut()) {
            return None;
        }
        let tag = slot.tag;
        self.take(&tag)
    }

    fn put(&mut self, slot: CacheSlot<V>) {
        let position = self.free.pop().unwrap_or_else(|| {
            // Grows by a quarter, since doubling could leave half of the ring unused.
            if self.ring.len() == self.ring.capacity() {
                self.ring.reserve_exact(self.ring.len() / 4 + 8);
            }
            self.ring.push(None);
            self.ring.len() - 1
        });
        self.bytes += slot.bytes;
        self.index.insert(slot.tag, position);
        if let Some(free) = self.ring.get_mut(position) {
            *free = Some(slot);
        }
    }
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self {
            index: HashMap::default(),
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

    /// Returns a tag for this number.
    fn tag(number: u32) -> CacheTag {
        let mut tag = [0; size_of::<CacheTag>()];
        // Both ends vary, as those of a MAC do.
        let spread = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        tag[..8].copy_from_slice(&spread.to_le_bytes());
        let end = tag.len() - 8;
        tag[end..].copy_from_slice(&spread.rotate_left(32).to_le_bytes());
        tag
    }

    #[test]
    fn an_entry_is_found_until_it_is_removed() {
        let table = Table::new(64 * 1024);
        table.insert(tag(1), Arc::new(10), 100);
        table.insert(tag(2), Arc::new(20), 100);
        table.insert(tag(1), Arc::new(11), 300);
        assert_eq!(table.get(&tag(1)).as_deref(), Some(&11));
        assert_eq!(table.get(&tag(3)), None);
        assert_eq!(table.size(), (2, 400 + 2 * ENTRY));
        table.remove(&tag(1));
        table.remove(&tag(1));
        assert_eq!(table.get(&tag(1)), None);
        assert_eq!(table.size(), (1, 100 + ENTRY));
    }

    #[test]
    fn a_flood_of_entries_stays_within_the_bound_and_keeps_the_used_ones() {
        for max_bytes in [10_000, 3 * MIN_SHARD_BYTES, 8 * 1024 * 1024] {
            let table = Table::new(max_bytes);
            table.insert(tag(0), Arc::new(0), 500);
            for number in 1..100_000 {
                table.insert(tag(number), Arc::new(number), 500);
                assert_eq!(table.get(&tag(0)).as_deref(), Some(&0), "{number}");
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
    fn a_value_larger_than_the_table_is_not_stored() {
        let table = Table::new(10_000);
        table.insert(tag(1), Arc::new(1), 200);
        table.insert(tag(2), Arc::new(2), 10_000);
        table.insert(tag(3), Arc::new(3), usize::MAX);
        assert_eq!(table.size(), (1, 200 + ENTRY));
        let empty = Table::new(0);
        empty.insert(tag(1), Arc::new(1), 0);
        assert_eq!(empty.size(), (0, 0));
    }

    #[test]
    fn ring_positions_are_reused() {
        let table = Table::new(64 * 1024);
        for number in 0..10_000 {
            table.insert(tag(number), Arc::new(number), 100);
            if number >= 10 {
                table.remove(&tag(number - 10));
            }
        }
        let shard = table.shards[0].read().unwrap();
        assert!(shard.ring.len() <= 11 && shard.free.len() <= 11);
        assert_eq!(shard.index.len(), 10);
    }

    #[test]
    fn a_value_that_accesses_the_table_when_dropped_does_not_deadlock() {
        struct Reentrant(std::sync::Weak<Table<Arc<Self>>>);
        impl Drop for Reentrant {
            fn drop(&mut self) {
                if let Some(table) = self.0.upgrade() {
                    table.remove(&tag(7));
                }
            }
        }
        let table = Arc::new(Table::new(2000));
        for number in 0..100 {
            let value = Reentrant(Arc::downgrade(&table));
            table.insert(tag(number), Arc::new(value), 400);
        }
        assert!(table.size().0 > 0);
    }
}
