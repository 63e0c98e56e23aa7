//! The store of one process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Expect, Key, KeyClass, Put, Record, Removed, Store, StoreError};
use crate::ConfigError;
use crate::clock::{Clock, SharedClock, SystemClock};

/// About 60 MiB of short entries.
const DEFAULT_ENTRIES: usize = 1 << 18;

/// How many dead entries of each class each `put` clears away: more than it adds, and few enough that
/// nobody waits.
const SWEEP: usize = 16;

/// Entries in the memory of this process, up to a fixed number of them.
///
/// Clones share the entries. Without room it answers [`StoreError::Full`]; it never gives up an entry
/// that lives. Entries whose time is over are cleared away a few at a time, by the `put` that come after.
/// What is in it is gone with the process, and other processes do not see it.
///
/// Each [class](KeyClass) of entries has its room: what callers without credentials can create takes at most
/// half of `max_entries`; these and all other entries together take at most `max_entries`; and as many
/// protected entries (sign-outs, leases, watermarks) have room beside them. The number of entries is bounded and
/// their size is not: those who store keep their values small.
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
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    unauthenticated: Ends,
    authenticated: Ends,
    protected: Ends,
    /// One count for all keys, so that none ever sees a version again.
    last_version: u64,
}

/// When each entry of a class ends, the next first; the version tells equal moments apart.
type Ends = BTreeMap<(Duration, u64), Key>;

struct Entry {
    value: Bytes,
    version: u64,
    ends_at: Duration,
}

impl MemoryStore {
    /// An empty store for 262 144 entries.
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            max_entries: DEFAULT_ENTRIES,
            single_process: false,
            entries: Arc::default(),
        }
    }

    /// Sets how many entries may live at the same time, protected ones apart: as many of those have room
    /// beside them. At most half may be of callers without credentials (one, if this is 1). An entry of a seen
    /// proof takes about 250 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for 0.
    pub fn with_max_entries(mut self, max_entries: usize) -> Result<Self, ConfigError> {
        if max_entries == 0 {
            return Err(ConfigError::Setting {
                setting: "max entries",
                value: "0".to_owned(),
                reason: "there must be room for one",
            });
        }
        self.max_entries = max_entries;
        Ok(self)
    }

    /// Declares that the application runs as one process, so that all of it sees what is in here:
    /// [`is_shared`](Store::is_shared) says so from then on.
    ///
    /// Nothing checks it. Said of an application of two processes, one of them does not learn of sessions
    /// that were ended by way of the other.
    #[must_use]
    pub fn with_single_process(mut self) -> Self {
        self.single_process = true;
        self
    }

    /// Counts times to live by this clock, of which only the monotonic time is read.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.with_shared_clock(Arc::new(clock))
    }

    pub(crate) fn with_shared_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// How many entries are held, those included whose time is over and that are not cleared away yet.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_now(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let now = self.clock.monotonic();
        let mut entries = self.lock();
        entries.sweep(now);
        let held = entries.live(key, now).map(|entry| entry.version);
        if !expect.allows(held) {
            return Ok(Put::Conflict);
        }
        // An entry of this very key, living or dead, leaves its place to this one.
        if !entries.by_key.contains_key(key) && !entries.has_room(key.class(), self.max_entries) {
            return Err(StoreError::Full);
        }
        entries.drop_entry(key);
        entries.last_version += 1;
        let (version, ends_at) = (entries.last_version, now.saturating_add(ttl));
        let ends = entries.ends_of(key.class());
        ends.insert((ends_at, version), key.clone());
        let entry = Entry {
            value,
            version,
            ends_at,
        };
        entries.by_key.insert(key.clone(), entry);
        Ok(Put::Stored(version))
    }

    fn remove_now(&self, key: &Key, expect: Expect) -> Removed {
        let now = self.clock.monotonic();
        let mut entries = self.lock();
        let held = entries.live(key, now).map(|entry| entry.version);
        match held {
            None => Removed::Absent,
            Some(_) if !expect.allows(held) => Removed::Conflict,
            Some(_) => {
                entries.drop_entry(key);
                Removed::Removed
            }
        }
    }
}

impl Entries {
    fn live(&self, key: &Key, now: Duration) -> Option<&Entry> {
        self.by_key.get(key).filter(|entry| entry.ends_at > now)
    }

    fn drop_entry(&mut self, key: &Key) {
        if let Some(entry) = self.by_key.remove(key) {
            let ends = self.ends_of(key.class());
            ends.remove(&(entry.ends_at, entry.version));
        }
    }

    fn ends_of(&mut self, class: KeyClass) -> &mut Ends {
        match class {
            KeyClass::Unauthenticated => &mut self.unauthenticated,
            KeyClass::Authenticated => &mut self.authenticated,
            KeyClass::Protected => &mut self.protected,
        }
    }

    fn has_room(&self, class: KeyClass, max_entries: usize) -> bool {
        let ordinary = self.unauthenticated.len() + self.authenticated.len();
        match class {
            KeyClass::Unauthenticated => {
                let share = (max_entries / 2).max(1);
                self.unauthenticated.len() < share && ordinary < max_entries
            }
            KeyClass::Authenticated => ordinary < max_entries,
            KeyClass::Protected => self.protected.len() < max_entries,
        }
    }

    /// Clears away a few of those whose time is over. One of a class is enough to make room in it.
    fn sweep(&mut self, now: Duration) {
        let Self {
            by_key,
            unauthenticated,
            authenticated,
            protected,
            ..
        } = self;
        for ends in [unauthenticated, authenticated, protected] {
            for _ in 0..SWEEP {
                let Some(next) = ends.first_entry().filter(|next| next.key().0 <= now) else {
                    break;
                };
                by_key.remove(&next.remove());
            }
        }
    }
}

impl Expect {
    fn allows(self, held: Option<u64>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => held.is_none(),
            Self::Version(version) => held == Some(version),
        }
    }
}

impl Store for MemoryStore {
    /// Only where it was declared, by [`with_single_process`](MemoryStore::with_single_process).
    fn is_shared(&self) -> bool {
        self.single_process
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let now = self.clock.monotonic();
        let entries = self.lock();
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
