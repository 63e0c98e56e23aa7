//! Storage for state that outlives a request: the [`Store`] trait, an in-memory store and a Redis store.
//!
//! A store detects replayed DPoP proofs ([`Dpop`](crate::token::Dpop)) and keeps sessions that several processes
//! share ([`session`](crate::session)).
//!
//! | deployment | store |
//! | --- | --- |
//! | one process | [`MemoryStore`], with [`with_single_process`](MemoryStore::with_single_process) |
//! | several processes, or sessions that survive a restart | `RedisStore` (feature `redis`): Redis or Valkey, one server or a cluster |
//! | another database | your own implementation of [`Store`] |
//!
//! # Contract
//!
//! 1. **Atomic.** Each operation is linearizable per key: of any number of concurrent `put`s with
//!    [`Expect::Absent`], exactly one succeeds, and a `get` that starts after a `put` has returned sees its value.
//! 2. **Versions are unique and increasing.** A version is never reused for a key, not even after removal, expiry
//!    or a restart of a shared store; use it as a fencing token.
//! 3. **Entries expire on time.** An entry lives for its time to live and is then absent for all operations. A
//!    monotonic clock measures the time.
//! 4. **No eviction.** A full store returns [`StoreError::Full`] for new keys; existing entries stay readable,
//!    replaceable and removable.
//! 5. **Separate capacity for each class.** Entries of one [`KeyClass`] never use up the capacity of another, see
//!    ["Capacity"](#capacity).
//! 6. **Unknown results are errors.** If it is unknown whether an operation took effect, it returns
//!    [`StoreError::Unavailable`]. The caller must assume either.
//!
//! Layers wait at most 2 seconds for an operation and treat a panic of the store as [`StoreError::Unavailable`]. If
//! an operation fails, the layer fails closed: it responds 503, grants no access and treats no proof as new.
//!
//! # Capacity
//!
//! Callers without an account, and malicious users, can cause entries to be created. They must not prevent other
//! users from signing out, from being signed out, or from refreshing their tokens. Each key therefore has a class
//! ([`Key::class`]), and a store accepts *new* keys by these rules:
//!
//! | class | returns [`StoreError::Full`] |
//! | --- | --- |
//! | [`Unauthenticated`](KeyClass::Unauthenticated) | while there is still capacity for the other two classes |
//! | [`Authenticated`](KeyClass::Authenticated) | while there is still capacity for protected entries |
//! | [`Protected`](KeyClass::Protected) | last: only if the store cannot accept any entry |
//!
//! Replacing and removing an existing entry succeeds in all classes.
//!
//! | store | `Unauthenticated` | `Authenticated` | `Protected` |
//! | --- | --- | --- | --- |
//! | [`MemoryStore`] | half of `max_entries` | `max_entries`, including `Unauthenticated` | another `max_entries` |
//! | `RedisStore` with `maxmemory` and `noeviction` | up to 7/8 of `maxmemory` | up to `maxmemory` | beyond `maxmemory` |
//!
//! A store that cannot run out of capacity (such as a monitored disk) may ignore the class. Any other store must
//! reserve capacity: count entries by class, or limit the first two classes below the total capacity.
//!
//! The classes protect other users only. If callers without credentials use up their own capacity, new logins
//! receive 503 until entries expire; existing sessions continue.
//!
//! # Implementing a store
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
//!
//! /// Counts operations and delegates to an in-memory store.
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
//!
//! # Testing a store
//!
//! `testing::store_suite` (feature `testing`) has the contract as test functions for any store.

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
pub use error::StoreError;
pub use memory::MemoryStore;
pub use record::{Expect, Key, KeyClass, Put, Record, Removed};
pub(crate) use shared::SharedStore;

/// A key-value store with compare-and-swap and times to live.
///
/// **Atomic.** Each operation is linearizable per key: of any number of concurrent `put`s with [`Expect::Absent`],
/// exactly one succeeds. **Versions are unique and increasing.** A version is never reused for a key, not even
/// after removal, expiry or a restart; use it as a fencing token. **No eviction.** A full store returns
/// [`StoreError::Full`] for new keys; existing entries stay readable, replaceable and removable. The
/// [module page](self#contract) has the complete contract.
///
/// Values are opaque bytes of at most some tens of KiB; this crate encrypts secret values before it stores them.
/// Keys are short printable ASCII (see [`Key`]).
///
/// A future is dropped if the request that awaits it is dropped. The operation may or may not take effect then.
pub trait Store: Send + Sync + 'static {
    /// Returns whether all processes of the application see the same entries. Default: `true`.
    ///
    /// If it returns `false`, features that require a shared store are disabled, such as back-channel logout.
    fn is_shared(&self) -> bool {
        true
    }

    /// Returns where the store is, such as `redis://10.0.0.1:6379`, for log events: without user name and password.
    /// Default: `None`.
    fn address(&self) -> Option<String> {
        None
    }

    /// Returns the live entry of `key`, or `None` if it is absent or has expired.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Unavailable`] if the store cannot be reached.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Stores `value` for `ttl` if the entry meets the condition `expect`. Replaces value and time to live of an
    /// existing entry. With a `ttl` of zero, the entry is absent immediately.
    ///
    /// # Errors
    ///
    /// - [`StoreError::Full`] if the key is new and the capacity of its [class](Key::class) is exhausted.
    /// - [`StoreError::Unavailable`] if the store cannot be reached, or if it is unknown whether the value was
    ///   stored.
    fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> impl Future<Output = Result<Put, StoreError>> + Send;

    /// Removes the entry if it meets the condition `expect`.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Unavailable`] if the store cannot be reached, or if it is unknown whether the entry
    /// was removed.
    fn remove(
        &self,
        key: &Key,
        expect: Expect,
    ) -> impl Future<Output = Result<Removed, StoreError>> + Send;
}
