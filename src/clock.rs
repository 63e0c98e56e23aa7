//! The clock: wall-clock time for claims, monotonic time for lifetimes, and timers.
//!
//! A wall clock can be set back, which would prolong lifetimes. Caches and timeouts therefore use [`Clock::monotonic`].
//! Only claims are compared with [`Clock::now`].

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{Either, select};

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

/// Returns the system clock. All handles share one allocation, so that [`Now`] recognizes them.
pub(crate) fn system_clock() -> SharedClock {
    static CLOCK: LazyLock<SharedClock> = LazyLock::new(|| Arc::new(SystemClock));
    Arc::clone(&CLOCK)
}

/// The time of one request. The clock is read when a check first needs it, and at most once.
///
/// Each check names the clock that it depends on: the monotonic times of two clocks cannot be compared. Another clock
/// than that of the request is read on every call.
#[derive(Debug)]
pub(crate) struct Now<'a> {
    clock: &'a SharedClock,
    unix_seconds: Cell<Option<i64>>,
    monotonic: Cell<Option<Duration>>,
}

impl<'a> Now<'a> {
    pub(crate) fn new(clock: &'a SharedClock) -> Self {
        Self {
            clock,
            unix_seconds: Cell::new(None),
            monotonic: Cell::new(None),
        }
    }

    /// Returns the Unix time of `clock` in whole seconds.
    pub(crate) fn unix_seconds(&self, clock: &SharedClock) -> i64 {
        self.read(&self.unix_seconds, clock, unix_seconds)
    }

    /// Returns the monotonic time of `clock`.
    pub(crate) fn monotonic(&self, clock: &SharedClock) -> Duration {
        self.read(&self.monotonic, clock, |clock| clock.monotonic())
    }

    /// Returns the time on both clocks.
    pub(crate) fn both(&self, clock: &SharedClock) -> BothClocks {
        BothClocks {
            monotonic: self.monotonic(clock),
            wall: self.unix_seconds(clock),
        }
    }

    fn read<T: Copy>(
        &self,
        known: &Cell<Option<T>>,
        clock: &SharedClock,
        read: impl FnOnce(&dyn Clock) -> T,
    ) -> T {
        if !Arc::ptr_eq(self.clock, clock) {
            return read(&**clock);
        }
        known.get().unwrap_or_else(|| {
            let time = read(&**clock);
            known.set(Some(time));
            time
        })
    }
}

/// Returns the Unix time in whole seconds, as in claims. A clock before 1970 gives 0.
pub(crate) fn unix_seconds(clock: &dyn Clock) -> i64 {
    clock.now().duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Returns the Unix time that is `duration` later, in whole seconds.
pub(crate) fn seconds_after(time: i64, duration: Duration) -> i64 {
    time.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

/// Returns the time between two Unix times, or zero if `end` has passed.
pub(crate) fn time_until(end: i64, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(end.saturating_sub(now)).unwrap_or_default())
}

/// Converts a Unix time for the public API: at most the end of the year 9999, which every platform can represent.
pub(crate) fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND))
}

const LAST_SECOND: u64 = 253_402_300_799;

/// How far the wall clocks of two replicas may be apart.
pub(crate) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// A point in time on both clocks. They differ after the wall clock was set, and after the machine was suspended: the
/// monotonic clock of Linux then stands still.
///
/// What protects from a replay must not expire early: it ends when both clocks have [passed](Self::has_passed) its end.
/// What was fetched must not stay valid too long: its [age](Self::age) is the larger one.
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
        Self {
            monotonic: self.monotonic.saturating_add(duration),
            wall: seconds_after(self.wall, duration),
        }
    }

    /// Returns the larger of the times that have passed on each clock. A wall clock that was set back changes nothing.
    pub(crate) fn age(self, now: Self) -> Duration {
        let monotonic = now.monotonic.saturating_sub(self.monotonic);
        monotonic.max(time_until(now.wall, self.wall))
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
    match select(pin!(future), clock.sleep(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that only advances explicitly. Its timers never elapse.
    #[derive(Clone, Debug)]
    pub(crate) struct StillClock {
        start: i64,
        elapsed: Arc<AtomicU64>,
    }

    impl StillClock {
        pub(crate) fn new(start: i64) -> Self {
            Self {
                start,
                elapsed: Arc::default(),
            }
        }

        pub(crate) fn advance(&self, seconds: u64) {
            self.elapsed.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    impl Clock for StillClock {
        fn now(&self) -> SystemTime {
            system_time(self.start) + Duration::from_secs(self.elapsed.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.elapsed.load(Ordering::Relaxed) + 1000)
        }

        fn sleep(&self, _: Duration) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[derive(Debug)]
    struct CountingClock(AtomicU64);

    impl Clock for CountingClock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + self.monotonic()
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn sleep(&self, _: Duration) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn the_age_is_that_of_the_clock_that_advanced_further() {
        let at = |monotonic, wall| BothClocks {
            monotonic: Duration::from_secs(monotonic),
            wall,
        };
        for (now, age) in [
            (at(100, 1000), 0),
            (at(105, 1005), 5),
            // The machine was suspended.
            (at(105, 4605), 3605),
            // The wall clock was set back.
            (at(105, 5), 5),
            (at(100, i64::MIN), 0),
        ] {
            assert_eq!(at(100, 1000).age(now), Duration::from_secs(age), "{now:?}");
        }
    }

    #[test]
    fn the_clock_of_a_request_is_read_once_and_another_clock_on_every_call() {
        let clock: SharedClock = Arc::new(CountingClock(AtomicU64::new(0)));
        let other: SharedClock = Arc::new(CountingClock(AtomicU64::new(100)));
        let now = Now::new(&clock);
        let same = Arc::clone(&clock);
        let seconds = |clock| now.unix_seconds(clock);
        assert_eq!([seconds(&clock), seconds(&same)], [0, 0]);
        let monotonic = |clock| now.monotonic(clock).as_secs();
        assert_eq!([monotonic(&clock), monotonic(&same)], [1, 1]);
        assert_eq!([monotonic(&other), monotonic(&other)], [100, 101]);
        assert_eq!(seconds(&other), 102);
        assert_eq!(seconds(&clock), 0);
    }
}
