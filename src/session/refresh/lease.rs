//! Whose turn it is to send a refresh token, among all processes of an application (`L51`).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::SharedClock;
use crate::flow::SessionId;
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

/// How long a turn lasts whose holder is not heard of any more.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(10);

/// How often it is renewed while its holder is at work: twice may fail before it is lost.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3);

/// A turn. It ends by [`release`](Self::release), or by itself.
#[derive(Debug)]
pub(super) struct Lease {
    store: SharedStore,
    clock: SharedClock,
    key: Key,
    version: u64,
    /// Monotonic.
    renewed_at: Duration,
}

impl Lease {
    /// Takes the turn for a session; `None` where somebody else has it.
    pub(super) async fn acquire(
        store: &SharedStore,
        clock: &SharedClock,
        id: &SessionId,
    ) -> Result<Option<Self>, StoreError> {
        let key = Key::new("lease", &id.to_string());
        // Counted from before the store was asked: it never counts more than we do.
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

    /// Greater than that of every turn before.
    pub(super) fn fence(&self) -> u64 {
        self.version
    }

    /// Whether there is time enough for one request, after a renewal if need be.
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

    /// Does some work, and renews the turn as long as it takes. One that is lost is not taken again: what
    /// was begun is finished, and compared with what others wrote when it is saved.
    pub(super) async fn renew_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut renewals = pin!(async {
            loop {
                self.clock.sleep(RENEWAL_INTERVAL).await;
                if matches!(self.renew().await, Ok(false)) {
                    std::future::pending::<()>().await;
                }
            }
        });
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            let _: Poll<()> = renewals.as_mut().poll(cx);
            Poll::Pending
        })
        .await
    }

    /// Gives the turn to whoever wants it. Where that fails it runs out.
    pub(super) async fn release(self) {
        let expect = Expect::Version(self.version);
        let _ = self.store.remove(&self.key, expect).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::clock::{Clock, Sleep};
    use crate::store::MemoryStore;

    /// Turned by hand; who sleeps looks at it again and again.
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
    async fn one_holder_at_a_time_and_each_has_a_greater_fence() {
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
        // Its holder is not heard of any more.
        clock.advance(LEASE_TTL);
        let third = acquire(&id).await.unwrap();
        assert!(third.fence() > later);
        // Who comes back late releases nothing that is not its own.
        second.release().await;
        assert!(acquire(&id).await.is_none());
    }

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_its_holder_works() {
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
        assert!(
            !lease.ensure_valid().await,
            "it ran out, and is nobody's now"
        );
    }
}
