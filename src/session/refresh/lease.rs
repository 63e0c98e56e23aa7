//! A lease in the store that lets one process at a time send the refresh token of a session.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};

use crate::clock::SharedClock;
use crate::flow::REQUEST_TIME_LIMIT;
use crate::record::SessionId;
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

/// How long a lease lasts without renewal, for example after a crash of its holder.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(10);

/// How often the holder renews its lease. Two renewals may fail before it expires.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3);

// A refresh that begins while the lease is valid for `ensure_valid` ends before it expires, even if no renewal succeeds.
const _: () = assert!(
    REQUEST_TIME_LIMIT.as_secs() + RENEWAL_INTERVAL.as_secs() <= LEASE_TTL.as_secs(),
    "another process could acquire the lease while the refresh token is sent"
);

/// The lease of one session. It ends with [`release`](Self::release) or by expiry.
#[derive(Debug)]
pub(super) struct Lease {
    store: SharedStore,
    clock: SharedClock,
    key: Key,
    version: u64,
    /// Monotonic time.
    renewed_at: Duration,
}

impl Lease {
    /// Acquires the lease of a session. Returns `None` if another process has it.
    pub(super) async fn acquire(
        store: &SharedStore,
        clock: &SharedClock,
        id: &SessionId,
    ) -> Result<Option<Self>, StoreError> {
        let key = Key::new("lease", &id.to_string());
        // Read before the store is called, so that this process never overestimates the remaining time.
        let renewed_at = clock.monotonic();
        match store
            .put(&key, Bytes::new(), LEASE_TTL, Expect::Absent)
            .await?
        {
            Put::Stored(version) => Ok(Some(Self {
                store: store.clone(),
                clock: clock.clone(),
                key,
                version,
                renewed_at,
            })),
            Put::Conflict => Ok(None),
        }
    }

    /// Returns the fencing token, which is greater than that of every earlier lease.
    pub(super) fn fence(&self) -> u64 {
        self.version
    }

    /// Reports whether the lease is valid for long enough to send a request. Renews it if required.
    pub(super) async fn ensure_valid(&mut self) -> bool {
        let age = self.clock.monotonic().saturating_sub(self.renewed_at);
        age < RENEWAL_INTERVAL || matches!(self.renew().await, Ok(true))
    }

    async fn renew(&mut self) -> Result<bool, StoreError> {
        let now = self.clock.monotonic();
        let expect = Expect::Version(self.version);
        match self
            .store
            .put(&self.key, Bytes::new(), LEASE_TTL, expect)
            .await?
        {
            Put::Stored(version) => {
                (self.version, self.renewed_at) = (version, now);
                Ok(true)
            }
            Put::Conflict => Ok(false),
        }
    }

    /// Renews the lease while `work` runs. A lost lease is not acquired again: the work completes, and saving
    /// its result detects a conflict. The refresh token is sent within [`REQUEST_TIME_LIMIT`], before the lease can be lost.
    pub(super) async fn renew_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let renewals = async {
            loop {
                self.clock.sleep(RENEWAL_INTERVAL).await;
                if matches!(self.renew().await, Ok(false)) {
                    return pending::<Infallible>().await;
                }
            }
        };
        match select(pin!(work), pin!(renewals)).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Releases the lease. If that fails, it expires.
    pub(super) async fn release(self) {
        let expect = Expect::Version(self.version);
        let _ = self.store.remove(&self.key, expect).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};
    use std::task::Poll;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::clock::{Clock, Sleep};
    use crate::store::MemoryStore;

    /// A clock that tests advance. `sleep` polls it.
    #[derive(Clone, Debug, Default)]
    struct ManualClock(Arc<Mutex<Duration>>);

    impl ManualClock {
        fn advance(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + self.monotonic()
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) -> Sleep {
            let (clock, until) = (self.clone(), self.monotonic() + duration);
            Box::pin(poll_fn(move |cx| {
                if clock.monotonic() >= until {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }))
        }
    }

    fn setup() -> (ManualClock, SharedClock, SharedStore, SessionId) {
        let clock = ManualClock::default();
        let shared: SharedClock = Arc::new(clock.clone());
        let store = MemoryStore::new().with_clock(clock.clone());
        let store = SharedStore::new(store).with_clock(Arc::clone(&shared));
        (clock, shared, store, SessionId::new([7; 32]))
    }

    #[tokio::test]
    async fn one_process_holds_the_lease_and_each_holder_has_a_greater_fencing_token() {
        let (clock, shared, store, id) = setup();
        let acquire = async |id: &SessionId| Lease::acquire(&store, &shared, id).await.unwrap();
        let first = acquire(&id).await.unwrap();
        assert!(acquire(&id).await.is_none());
        assert!(acquire(&SessionId::new([8; 32])).await.is_some());
        let fence = first.fence();
        first.release().await;
        let second = acquire(&id).await.unwrap();
        let later = second.fence();
        assert!(later > fence);
        // The holder does not renew its lease.
        clock.advance(LEASE_TTL);
        let third = acquire(&id).await.unwrap();
        assert!(third.fence() > later);
        // A late release does not affect the lease of another holder.
        second.release().await;
        assert!(acquire(&id).await.is_none());
    }

    #[tokio::test]
    async fn a_lease_is_renewed_while_its_holder_works() {
        let (clock, shared, store, id) = setup();
        let mut lease = Lease::acquire(&store, &shared, &id).await.unwrap().unwrap();
        let work = shared.sleep(Duration::from_secs(25));
        let working = tokio::spawn(async move {
            lease.renew_while(work).await;
            lease
        });
        for _ in 0..25 {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            assert!(
                Lease::acquire(&store, &shared, &id)
                    .await
                    .unwrap()
                    .is_none()
            );
            clock.advance(Duration::from_secs(1));
        }
        let mut lease = working.await.unwrap();
        assert!(lease.ensure_valid().await);
        clock.advance(LEASE_TTL);
        assert!(!lease.ensure_valid().await, "the lease has expired");
    }
}
