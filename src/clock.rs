//! The clock: wall-clock time for claims, monotonic time for lifetimes, and timers.
//!
//! A wall clock can be set back, which would prolong lifetimes. Caches and timeouts therefore use [`Clock::monotonic`].
//! Only claims are compared with [`Clock::now`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The future returned by [`Clock::sleep`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of time.
///
/// The default is [`SystemClock`]. Tests use `testing::ManualClock` (feature `testing`), which advances only when the
/// test says so.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the wall-clock time, which is compared with `exp`, `nbf`, `iat` and `auth_time`.
    fn now(&self) -> SystemTime;

    /// Returns the time since a fixed instant. It never decreases.
    fn monotonic(&self) -> Duration;

    /// Returns a future that completes when the monotonic time has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The system clock, with the timers of Tokio.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A shared handle of the clock.
pub(crate) type SharedClock = Arc<dyn Clock>;

/// Returns the Unix time in whole seconds, as in claims. A clock before 1970 gives 0.
pub(crate) fn unix_seconds(clock: &dyn Clock) -> i64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// A point in time on both clocks, for what must not expire early if the wall clock is set forward, nor be valid again
/// if it is set back: it has passed when both clocks have passed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BothClocks {
    pub(crate) monotonic: Duration,
    /// Unix time in seconds.
    pub(crate) wall: i64,
}

impl BothClocks {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            monotonic: clock.monotonic(),
            wall: unix_seconds(clock),
        }
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self {
            monotonic: self.monotonic.saturating_add(duration),
            wall: self.wall.saturating_add(seconds),
        }
    }

    pub(crate) fn has_passed(self, now: Self) -> bool {
        self.monotonic <= now.monotonic && self.wall <= now.wall
    }

    /// Returns the later time of each clock.
    pub(crate) fn later(self, other: Self) -> Self {
        Self {
            monotonic: self.monotonic.max(other.monotonic),
            wall: self.wall.max(other.wall),
        }
    }
}

/// Runs `future` for at most `limit`. Returns `None` if it has not completed by then.
pub(crate) async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut timer = clock.sleep(limit);
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
            return std::task::Poll::Ready(Some(value));
        }
        timer.as_mut().poll(cx).map(|()| None)
    })
    .await
}
