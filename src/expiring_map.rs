//! A map with a fixed maximum size whose entries expire.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map that evicts the entry that expires first; of those that expire at the same time, the one that was inserted
/// first.
///
/// Expiry may be measured by any clock. With `T = ()` entries do not expire and are evicted in the order of insertion.
/// An expired entry stays until it is removed.
#[derive(Debug)]
pub(crate) struct ExpiringMap<K, V, T = std::time::Duration> {
    entries: HashMap<K, Entry<V, T>>,
    order: BTreeMap<(T, u64), K>,
    max: usize,
    insertions: u64,
}

#[derive(Debug)]
struct Entry<V, T> {
    value: V,
    until: T,
    number: u64,
}

impl<K: Clone + Eq + Hash, V, T: Ord + Copy> ExpiringMap<K, V, T> {
    /// Creates a map of at most `max` entries, at least one.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            max,
            insertions: 0,
        }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Returns the value of this key unless it expires by `now`.
    pub(crate) fn get_unexpired<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: T) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(key)?;
        (entry.until > now).then_some(&entry.value)
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Returns when the entry of this key expires.
    pub(crate) fn expiry<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<T>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| entry.until)
    }

    /// Inserts an entry, or replaces the one of this key. Returns the entry that was evicted for a new key.
    pub(crate) fn insert(&mut self, key: K, value: V, until: T) -> Option<(K, V)> {
        let replaced = self.remove(&key).is_some();
        let evicted = match self.is_full() && !replaced {
            true => self.pop_first_if(|_| true),
            false => None,
        };
        self.insertions += 1;
        let number = self.insertions;
        self.order.insert((until, number), key.clone());
        let entry = Entry {
            value,
            until,
            number,
        };
        self.entries.insert(key, entry);
        evicted
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.order.remove(&(entry.until, entry.number));
        Some(entry.value)
    }

    /// Removes the entries that expire by `now`, in the order of their expiry.
    pub(crate) fn remove_expired(&mut self, now: T) -> Vec<(K, V)> {
        std::iter::from_fn(|| self.pop_first_if(|until| until <= now)).collect()
    }

    /// Removes the entry that expires first if `has_expired` returns `true` for its expiry.
    pub(crate) fn pop_first_if(&mut self, has_expired: impl FnOnce(T) -> bool) -> Option<(K, V)> {
        let first = self.order.first_entry()?;
        if !has_expired(first.key().0) {
            return None;
        }
        let key = first.remove();
        let entry = self.entries.remove(&key)?;
        Some((key, entry.value))
    }

    /// Returns when the next entry expires.
    pub(crate) fn next_expiry(&self) -> Option<T> {
        self.order.first_key_value().map(|((until, _), _)| *until)
    }

    /// Returns the number of entries, including expired ones.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns whether a new key evicts an entry.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.max
    }

    /// Iterates over the entries in the order of their expiry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let keys = self.order.values();
        keys.filter_map(|key| Some((key, &self.entries.get(key)?.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_expires_first_is_evicted_and_the_size_is_bounded() {
        let mut map = ExpiringMap::new(3);
        for (key, until) in [("a", 7), ("b", 5), ("c", 7)] {
            assert_eq!(map.insert(key, until, until), None);
        }
        assert!(map.is_full());
        assert_eq!(map.next_expiry(), Some(5));
        // Also if the new entry expires before the others.
        assert_eq!(map.insert("d", 1, 1), Some(("b", 5)));
        assert_eq!(map.insert("e", 9, 9), Some(("d", 1)));
        assert_eq!(map.insert("f", 9, 9), Some(("a", 7)), "inserted before c");
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn an_entry_that_is_inserted_again_moves_and_evicts_no_other() {
        let mut map = ExpiringMap::new(3);
        for key in 0..3 {
            map.insert(key, key, ());
        }
        for value in 10..1000 {
            assert_eq!(map.insert(0, value, ()), None);
        }
        assert_eq!((map.len(), map.order.len()), (3, 3));
        assert_eq!(map.insert(3, 3, ()), Some((1, 1)));
        assert_eq!(map.get(&0), Some(&999));
        let keys: Vec<_> = map.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [2, 0, 3]);
    }

    #[test]
    fn entries_are_removed_by_expiry_and_by_key() {
        let mut map = ExpiringMap::new(10);
        for (key, until) in [("a", 3), ("b", 1), ("c", 2), ("d", 4)] {
            map.insert(key, key, until);
        }
        assert_eq!(map.remove("c"), Some("c"));
        assert_eq!(map.remove("c"), None);
        assert_eq!(map.remove_expired(3), [("b", "b"), ("a", "a")]);
        assert_eq!(map.expiry("d"), Some(4));
        assert_eq!(map.get_unexpired("d", 3), Some(&"d"));
        assert_eq!(map.get_unexpired("d", 4), None);
        assert_eq!(map.pop_first_if(|until| until < 4), None);
        assert_eq!(map.pop_first_if(|until| until == 4), Some(("d", "d")));
        assert!(map.is_empty() && map.next_expiry().is_none());
    }
}
