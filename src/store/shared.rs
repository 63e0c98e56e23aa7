//! A type-erased store, so that layers need no type parameter for it, with a timeout and protection against
//! panics.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::error::KnownFailure;
use super::{Expect, Key, Put, Record, Removed, Store, StoreError};
use crate::clock::{SharedClock, SystemClock, within};
use crate::telemetry::{LogLimits, StoreFailure};

/// Maximum duration of an operation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);

/// A type-erased, reference-counted store.
#[derive(Clone)]
pub(crate) struct SharedStore {
    store: Arc<dyn DynStore>,
    clock: SharedClock,
    /// Limits the log events if all operations fail.
    logs: Arc<LogLimits>,
}

impl SharedStore {
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            logs: Arc::new(LogLimits::per_ten_seconds()),
        }
    }

    /// Sets the clock that measures the timeout.
    #[must_use]
    pub(crate) fn with_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns [`Store::is_shared`].
    pub(crate) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.run(self.store.get(key)).await
    }

    pub(crate) async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        self.run(self.store.put(key, value, ttl, expect)).await
    }

    pub(crate) async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        self.run(self.store.remove(key, expect)).await
    }

    /// Runs an operation. A store that hangs or panics is unavailable.
    async fn run<T>(&self, operation: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let operation = catch_panics(operation);
        let known = |failure, message: &str| {
            let message = message.to_owned();
            StoreError::unavailable(KnownFailure { failure, message })
        };
        let error = match within(&*self.clock, OPERATION_TIMEOUT, operation).await {
            Some(Ok(Ok(value))) => return Ok(value),
            Some(Ok(Err(error))) => error,
            Some(Err(Panicked)) => known(StoreFailure::Panicked, "the store panicked"),
            None => known(StoreFailure::TimedOut, "the operation timed out"),
        };
        let failure = error.failure();
        failure.count();
        self.log(failure, &error);
        Err(error)
    }

    fn log(&self, failure: StoreFailure, error: &StoreError) {
        let now = self.clock.monotonic();
        let reason = failure.label();
        if self.logs.allows("store_operation_failed", reason, now) {
            tracing::warn!(
                name: "store_operation_failed", target: "tower_oauth::store",
                reason, error = %error.describe(), store = self.store.address(), "a store operation failed"
            );
        } else {
            tracing::debug!(
                name: "store_operation_failed_again", target: "tower_oauth::store",
                reason, error = %error.describe(), store = self.store.address(), "a store operation failed again"
            );
        }
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedStore(..)")
    }
}

struct Panicked;

/// Catches panics of a future. It is not polled again after a panic, so its broken state is not observed.
async fn catch_panics<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}

type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The dyn-compatible version of [`Store`].
trait DynStore: Send + Sync {
    fn is_shared(&self) -> bool;

    fn address(&self) -> Option<String>;

    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>>;

    fn put<'a>(
        &'a self,
        key: &'a Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> StoreFuture<'a, Put>;

    fn remove<'a>(&'a self, key: &'a Key, expect: Expect) -> StoreFuture<'a, Removed>;
}

// The methods are called inside the futures, so that a panic before a future is returned is caught as well.
impl<S: Store> DynStore for S {
    fn is_shared(&self) -> bool {
        Store::is_shared(self)
    }

    fn address(&self) -> Option<String> {
        catch_unwind(AssertUnwindSafe(|| Store::address(self))).ok()?
    }

    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move { Store::get(self, key).await })
    }

    fn put<'a>(
        &'a self,
        key: &'a Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> StoreFuture<'a, Put> {
        Box::pin(async move { Store::put(self, key, value, ttl, expect).await })
    }

    fn remove<'a>(&'a self, key: &'a Key, expect: Expect) -> StoreFuture<'a, Removed> {
        Box::pin(async move { Store::remove(self, key, expect).await })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::clock::{Clock, Sleep};
    use crate::store::MemoryStore;

    /// Hangs in `get`, panics in `put` when polled, and in `remove` before it returns a future.
    struct Broken;

    impl Store for Broken {
        async fn get(&self, _: &Key) -> Result<Option<Record>, StoreError> {
            std::future::pending().await
        }

        async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
            panic!("broken")
        }

        #[allow(clippy::manual_async_fn)]
        fn remove(
            &self,
            _: &Key,
            _: Expect,
        ) -> impl Future<Output = Result<Removed, StoreError>> + Send {
            panic!("broken");
            #[allow(unreachable_code)]
            async {
                Ok(Removed::Absent)
            }
        }
    }

    /// A clock whose timers elapse immediately and that checks the timeout.
    #[derive(Debug)]
    struct ElapsedClock;

    impl Clock for ElapsedClock {
        fn now(&self) -> std::time::SystemTime {
            std::time::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, duration: Duration) -> Sleep {
            assert_eq!(duration, Duration::from_secs(2));
            Box::pin(std::future::ready(()))
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the future is pending"),
        }
    }

    #[test]
    fn a_store_that_hangs_or_panics_is_unavailable() {
        let store = SharedStore::new(Broken).with_clock(Arc::new(ElapsedClock));
        let key = Key::new("test", "a");
        let errors = [
            ("hangs", now(store.get(&key)).unwrap_err()),
            (
                "panics",
                now(store.put(&key, Bytes::new(), Duration::ZERO, Expect::Absent)).unwrap_err(),
            ),
            (
                "panics at the call",
                now(store.remove(&key, Expect::Anything)).unwrap_err(),
            ),
        ];
        for (name, error) in errors {
            assert!(matches!(error, StoreError::Unavailable(_)), "{name}");
        }
        assert!(store.is_shared());
    }

    #[test]
    fn results_of_the_store_are_returned() {
        let memory = MemoryStore::new().with_max_entries(1).unwrap();
        let store = SharedStore::new(memory).with_clock(Arc::new(ElapsedClock));
        assert!(!store.is_shared());
        let (key, minute) = (Key::new("test", "a"), Duration::from_secs(60));
        let value = Bytes::from_static(b"x");
        let put = now(store.put(&key, value.clone(), minute, Expect::Absent)).unwrap();
        let record = now(store.get(&key)).unwrap().unwrap();
        assert_eq!(put, Put::Stored(record.version()));
        assert_eq!(record.into_value(), value);
        let other = Key::new("test", "b");
        let rejected = now(store.put(&other, value, minute, Expect::Absent));
        assert!(matches!(rejected, Err(StoreError::Full)));
        let removed = now(store.remove(&key, Expect::Anything)).unwrap();
        assert_eq!(removed, Removed::Removed);
    }
}
