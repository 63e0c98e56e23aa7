//! An in-memory store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Expect, Key, KeyClass, Put, Record, Removed, Store, StoreError};
use crate::ConfigError;
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::expiring_map::ExpiringMap;
use crate::sync::Mutex;

/// Default capacity: about 60 MiB of short entries.
const DEFAULT_ENTRIES: usize = 1 << 18;

/// Maximum number of expired entries of each class that a `put` removes: more than it adds, and few enough to keep
/// the operation fast.
const SWEEP_LIMIT: usize = 16;

/// A [`Store`] in the memory of this process, with a limited number of entries.
///
/// Clones share the entries. A full store returns [`StoreError::Full`] and never evicts live entries. Each `put`
/// removes some expired entries. The entries are lost when the process ends, and other processes do not see them.
///
/// Each [class](KeyClass) of entries has its own capacity. Entries that callers without credentials can create use
/// at most half of `max_entries`. These and the entries of authenticated callers together use at most
/// `max_entries`. Protected entries (denylist, leases, watermarks) have a separate capacity of `max_entries`. The
/// size of values is not limited.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::store::{Expect, Key, MemoryStore, Put, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new().with_max_entries(10_000)?;
/// let key = Key::new("seen", "4711");
/// let minute = Duration::from_secs(60);
/// assert!(matches!(store.put(&key, "".into(), minute, Expect::Absent).await?, Put::Stored(_)));
/// assert_eq!(store.put(&key, "".into(), minute, Expect::Absent).await?, Put::Conflict);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    clock: SharedClock,
    max_entries: usize,
    single_process: bool,
    entries: Arc<Mutex<MemoryEntries>>,
}

struct MemoryEntries {
    unauthenticated: ExpiringMap<Key, MemoryEntry>,
    authenticated: ExpiringMap<Key, MemoryEntry>,
    protected: ExpiringMap<Key, MemoryEntry>,
    /// One counter for all keys, so that a version is never reused after a removal.
    last_version: u64,
}

struct MemoryEntry {
    value: Bytes,
    version: u64,
}

impl MemoryStore {
    /// Creates an empty store with a capacity of 262 144 entries.
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            max_entries: DEFAULT_ENTRIES,
            single_process: false,
            entries: Arc::new(Mutex::new(MemoryEntries::new())),
        }
    }

    /// Sets the capacity in entries.
    ///
    /// At most half of them (at least one) can be entries of callers without credentials. Protected entries have
    /// a separate capacity of the same size. A replay entry of a DPoP proof uses about 250 bytes.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Setting`] if `max_entries` is 0.
    pub fn with_max_entries(mut self, max_entries: usize) -> Result<Self, ConfigError> {
        if max_entries == 0 {
            return Err(ConfigError::Setting {
                setting: "max entries",
                value: "0".to_owned(),
                reason: "it must be at least 1",
            });
        }
        self.max_entries = max_entries;
        Ok(self)
    }

    /// Declares that the application runs as a single process: [`is_shared`](Store::is_shared) returns `true`.
    ///
    /// # Not checked
    ///
    /// If the application runs as several processes, one process does not learn of sessions that another one
    /// ended.
    #[must_use]
    pub fn with_single_process(mut self) -> Self {
        self.single_process = true;
        self
    }

    /// Sets the clock that measures times to live. Only its monotonic time is used.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.with_shared_clock(Arc::new(clock))
    }

    pub(crate) fn with_shared_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the number of entries, including expired entries that have not been removed yet.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Returns whether the store has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put_now(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let now = self.clock.monotonic();
        let mut entries = self.entries.lock();
        entries.sweep(now);
        let current = entries.live(key, now).map(|entry| entry.version);
        if !expect.allows(current) {
            return Ok(Put::Conflict);
        }
        // Replacing an entry, even an expired one, needs no additional capacity.
        let is_new = entries.of_class(key.class()).get(key).is_none();
        if is_new && !entries.has_capacity(key.class(), self.max_entries) {
            return Err(StoreError::Full);
        }
        entries.last_version += 1;
        let version = entries.last_version;
        let entry = MemoryEntry { value, version };
        let until = now.saturating_add(ttl);
        entries
            .of_class_mut(key.class())
            .insert(key.clone(), entry, until);
        Ok(Put::Stored(version))
    }

    fn remove_now(&self, key: &Key, expect: Expect) -> Removed {
        let now = self.clock.monotonic();
        let mut entries = self.entries.lock();
        let current = entries.live(key, now).map(|entry| entry.version);
        match current {
            None => Removed::Absent,
            Some(_) if !expect.allows(current) => Removed::Conflict,
            Some(_) => {
                entries.of_class_mut(key.class()).remove(key);
                Removed::Removed
            }
        }
    }
}

impl MemoryEntries {
    /// Creates empty maps. They evict nothing, since the capacity is checked before each insertion.
    fn new() -> Self {
        Self {
            unauthenticated: ExpiringMap::new(usize::MAX),
            authenticated: ExpiringMap::new(usize::MAX),
            protected: ExpiringMap::new(usize::MAX),
            last_version: 0,
        }
    }

    fn live(&self, key: &Key, now: Duration) -> Option<&MemoryEntry> {
        self.of_class(key.class()).get_unexpired(key, now)
    }

    fn of_class(&self, class: KeyClass) -> &ExpiringMap<Key, MemoryEntry> {
        match class {
            KeyClass::Unauthenticated => &self.unauthenticated,
            KeyClass::Authenticated => &self.authenticated,
            KeyClass::Protected => &self.protected,
        }
    }

    fn of_class_mut(&mut self, class: KeyClass) -> &mut ExpiringMap<Key, MemoryEntry> {
        match class {
            KeyClass::Unauthenticated => &mut self.unauthenticated,
            KeyClass::Authenticated => &mut self.authenticated,
            KeyClass::Protected => &mut self.protected,
        }
    }

    fn len(&self) -> usize {
        self.unauthenticated.len() + self.authenticated.len() + self.protected.len()
    }

    fn has_capacity(&self, class: KeyClass, max_entries: usize) -> bool {
        let unprotected = self.unauthenticated.len() + self.authenticated.len();
        match class {
            KeyClass::Unauthenticated => {
                let share = (max_entries / 2).max(1);
                self.unauthenticated.len() < share && unprotected < max_entries
            }
            KeyClass::Authenticated => unprotected < max_entries,
            KeyClass::Protected => self.protected.len() < max_entries,
        }
    }

    /// Removes some expired entries of each class, so that one expired entry suffices to accept a new one.
    fn sweep(&mut self, now: Duration) {
        let Self {
            unauthenticated,
            authenticated,
            protected,
            ..
        } = self;
        for entries in [unauthenticated, authenticated, protected] {
            for _ in 0..SWEEP_LIMIT {
                if entries.pop_first_if(|until| until <= now).is_none() {
                    break;
                }
            }
        }
    }
}

impl Expect {
    fn allows(self, current: Option<u64>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => current.is_none(),
            Self::Version(version) => current == Some(version),
        }
    }
}

impl Store for MemoryStore {
    /// Returns whether [`with_single_process`](MemoryStore::with_single_process) was called.
    fn is_shared(&self) -> bool {
        self.single_process
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let now = self.clock.monotonic();
        let entries = self.entries.lock();
        let entry = entries.live(key, now);
        Ok(entry.map(|entry| Record::new(entry.value.clone(), entry.version)))
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.put_now(key, value, ttl, expect)
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        Ok(self.remove_now(key, expect))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("max_entries", &self.max_entries)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}
