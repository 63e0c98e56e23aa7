//! The one clock: wall time for claims, monotonic time for lifetimes, and timers.
//!
//! A wall clock can jump; a lifetime read from it could then be prolonged. So caches and waits read
//! [`Clock::monotonic`], and only what a token says of itself is compared with [`Clock::now`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A timer handed out by [`Clock::sleep`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from.
///
/// Applications use [`SystemClock`], which is the default everywhere. A test hands in
/// `testing::ManualClock` (feature `testing`) and turns it by hand.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Wall-clock time, compared with `exp`, `nbf`, `iat` and `auth_time`.
    fn now(&self) -> SystemTime;

    /// Time since some fixed moment, never running backwards.
    fn monotonic(&self) -> Duration;

    /// Completes once the monotonic time has advanced by `duration`.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clock, with Tokio's timers.
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

/// The shared handle that the floors pass around.
pub(crate) type SharedClock = Arc<dyn Clock>;

/// Whole seconds since 1970, as claims count them; 0 for a clock set before that.
pub(crate) fn unix_seconds(clock: &dyn Clock) -> i64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Runs `future`, but no longer than `limit`; `None` when the time ran out.
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
