//! A map by session ID with a fixed maximum size.

use std::collections::{HashMap, VecDeque};

use crate::record::SessionId;

/// A map that evicts the entry that was inserted first. Inserting a key again makes it the newest.
#[derive(Debug)]
pub(super) struct BoundedMap<V> {
    entries: HashMap<SessionId, (u64, V)>,
    /// The oldest first, including stale positions of keys that were inserted again.
    order: VecDeque<(u64, SessionId)>,
    count: u64,
}

impl<V> Default for BoundedMap<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            count: 0,
        }
    }
}

impl<V> BoundedMap<V> {
    pub(super) fn get(&self, id: &SessionId) -> Option<&V> {
        self.entries.get(id).map(|(_, value)| value)
    }

    pub(super) fn put(&mut self, id: SessionId, value: V) {
        self.count += 1;
        self.entries.insert(id, (self.count, value));
        self.order.push_back((self.count, id));
        let Self { entries, order, .. } = self;
        if order.len() > 2 * MAX {
            // Repeated inserts of one key must not evict the others.
            order.retain(|(number, id)| entries.get(id).is_some_and(|one| one.0 == *number));
        }
        while self.entries.len() > MAX {
            let Some((number, oldest)) = self.order.pop_front() else {
                return;
            };
            if self.entries.get(&oldest).is_some_and(|one| one.0 == number) {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &SessionId) -> Option<V> {
        self.entries.remove(id).map(|(_, value)| value)
    }
}

/// The maximum number of entries: a few MB.
const MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> SessionId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        SessionId::new(id)
    }

    #[test]
    fn the_oldest_entry_is_evicted_and_the_size_is_bounded() {
        let mut map = BoundedMap::default();
        (0..MAX).for_each(|n| map.put(id(n), n));
        map.put(id(0), 7);
        map.put(id(MAX), MAX);
        assert_eq!(map.get(&id(0)), Some(&7));
        assert_eq!(map.get(&id(1)), None);
        assert_eq!(map.get(&id(2)), Some(&2));
        map.remove(&id(2));
        assert_eq!(map.get(&id(2)), None);
        (0..5 * MAX).for_each(|n| map.put(id(3), n));
        assert!(map.order.len() <= 2 * MAX);
        assert_eq!(map.get(&id(4)), Some(&4), "no other entry was evicted");
        assert_eq!(map.get(&id(3)), Some(&(5 * MAX - 1)));
    }
}
