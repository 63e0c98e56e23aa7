//! Where state lives that outlasts a request: one small trait of three verbs, memory, and Redis.
//!
//! | the application runs as | store |
//! | --- | --- |
//! | one process | [`MemoryStore`]; [`with_single_process`](MemoryStore::with_single_process) where all of it must see the same |
//! | several, or one whose state must outlive it | `RedisStore`, with feature `redis`: Redis or Valkey, one server or a cluster |
//! | anything else | a [`Store`] of one's own |
//!
//! What needs it: proofs of possession that must not be shown twice ([`Dpop`](crate::token::Dpop)), and
//! sessions that several processes share.
//!
//! # What a store promises
//!
//! 1. **One entry a key, and each verb at once.** Of any number of `put` with [`Expect::Absent`] at the
//!    same moment, exactly one stores. A `get` that starts after a `put` has answered sees it.
//! 2. **A version belongs to one `put`.** Every `put` that stores gives the key a version that it never
//!    had before: not before a removal, not before an expiry, not before a restart of what is shared. Later
//!    versions are greater, so that a version can serve as a fence.
//! 3. **An entry lives as long as it was told to**, and no longer: from the end of its time to live it is
//!    absent to all three verbs. Time is counted by a clock that does not jump.
//! 4. **A live entry is never evicted.** A store without room answers [`StoreError::Full`] to a `put` of a
//!    new key. What is there can still be read, replaced and removed.
//! 5. **Room is classed.** Entries of one [`KeyClass`] never fill the room of another: see below.
//! 6. **An answer is certain.** Where it is not known whether a verb took effect, the answer is
//!    [`StoreError::Unavailable`], and whoever asked has to take it for either.
//!
//! A layer waits 2 seconds for a verb and no longer, and takes a store that panics for one that could not be
//! asked. Without an answer nobody is let in and nothing is taken as new: the answer is 503.
//!
//! # Room
//!
//! A caller without an account can make this crate write entries, and so can a hostile user. Neither may
//! keep others from signing out, from being signed out, or from refreshing their tokens. So each key has a class
//! ([`Key::class`]), and a store accepts a *new* key by these rules:
//!
//! | class | is refused with [`StoreError::Full`] |
//! | --- | --- |
//! | [`Unauthenticated`](KeyClass::Unauthenticated) | while there is still room for entries of the other two |
//! | [`Authenticated`](KeyClass::Authenticated) | while there is still room for protected entries |
//! | [`Protected`](KeyClass::Protected) | last: only if the store cannot take anything more |
//!
//! Replacing and removing an existing entry succeeds in every class.
//!
//! | | `Unauthenticated` | `Authenticated` | `Protected` |
//! | --- | --- | --- | --- |
//! | [`MemoryStore`] | at most half of `max_entries` | `max_entries`, together with those before | as many again |
//! | `RedisStore`, with `maxmemory` and `noeviction` | up to 7/8 of `maxmemory` | up to `maxmemory` | beyond `maxmemory` too |
//!
//! A store of your own that cannot run out of room (a disk with monitoring) may ignore the class. One
//! that can has to keep room apart: count by class, or set limits below its real capacity for the first two.
//!
//! What remains: the classes bound what callers can do to *others*. If callers without credentials use up
//! their own room, new logins are answered by 503 until entries expire; sessions that exist go on.
//!
//! # The promises as tests
//!
//! `tests/store_suite/mod.rs` of this crate is these promises as functions that take any store. To try one's
//! own: copy that file into the `tests` of one's crate, say there what the store is and how time passes for
//! it (`Subject`), and call each function from a `#[tokio::test]`. `tests/store.rs` does so for
//! [`MemoryStore`] with a clock that is turned by hand, `tests/redis_store.rs` for Redis with real time:
//!
//! ```text
//! struct Mine(Arc<MyStore>);
//!
//! impl Subject for Mine {
//!     type Store = MyStore;
//!     fn store(&self) -> Arc<MyStore> { self.0.clone() }
//!     async fn pass(&self, time: Duration) { tokio::time::sleep(time).await }
//!     fn moment(&self) -> Duration { Duration::from_millis(250) }
//! }
//!
//! #[tokio::test]
//! async fn swaps_by_version_lose_nothing() {
//!     store_suite::swaps_by_version_lose_nothing(&Mine::new()).await;
//! }
//! ```
//!
//! Two functions need a store that has little room, and say so: `each_class_keeps_its_room` and
//! `an_existing_entry_is_replaced_when_there_is_no_room`. That a store which is away fails in time depends on
//! the store: those tests are beside the suite, in the same two files.
//!
//! # A store of one's own
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
//!
//! /// Counts what is asked, and leaves the rest to memory.
//! struct Counted(MemoryStore, std::sync::atomic::AtomicUsize);
//!
//! impl Store for Counted {
//!     async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
//!         self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
//!         self.0.get(key).await
//!     }
//!     async fn put(&self, key: &Key, value: Bytes, ttl: Duration, expect: Expect) -> Result<Put, StoreError> {
//!         self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
//!         self.0.put(key, value, ttl, expect).await
//!     }
//!     async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
//!         self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
//!         self.0.remove(key, expect).await
//!     }
//! }
//! ```

mod class;
mod error;
mod memory;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod shared;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use class::KeyClass;
pub use error::StoreError;
pub use memory::MemoryStore;
pub use record::{Expect, Key, Put, Record, Removed};
pub(crate) use shared::SharedStore;

/// A place for small records with a time to live; see the [module](self) for what it promises.
///
/// Values are opaque, at most some tens of KiB, and secret only in so far as who stores them has sealed them.
/// Keys are short printable ASCII (see [`Key`]).
///
/// Futures are dropped when the request that waits is dropped: a verb may have taken effect then or not.
pub trait Store: Send + Sync + 'static {
    /// Whether every process of the application sees the same entries: yes, unless a store says otherwise.
    ///
    /// Features that are good for nothing without it, such as back-channel logout, are off where it is not so.
    fn is_shared(&self) -> bool {
        true
    }

    /// The live entry of this key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the store could not be asked.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Stores a value for `ttl`, if the entry is as expected; what was there, value and time to live, is
    /// replaced. A `ttl` of zero stores what is absent at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] where a new key has no room in its [class](Key::class), [`StoreError::Unavailable`] where the store could
    /// not be asked or its answer was lost.
    fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> impl Future<Output = Result<Put, StoreError>> + Send;

    /// Removes the entry, if it is as expected.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the store could not be asked or its answer was lost.
    fn remove(
        &self,
        key: &Key,
        expect: Expect,
    ) -> impl Future<Output = Result<Removed, StoreError>> + Send;
}
