//! A clock that moves only when a test advances it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::clock::{Clock, Sleep, SystemClock};

/// A clock that a test advances.
///
/// Clones share the time. [`advance`](Self::advance) moves the wall clock and the monotonic clock
/// together and completes every [`sleep`](Clock::sleep) that ends by then.
/// [`adjust_wall_clock`](Self::adjust_wall_clock) moves the wall clock alone, forward or back, as an
/// administrator or NTP would.
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::clock::Clock;
/// use tower_oauth::testing::ManualClock;
///
/// let clock = ManualClock::new(1_800_000_000);
/// clock.advance(Duration::from_secs(60));
/// clock.adjust_wall_clock(-3600);
/// assert_eq!(clock.unix_seconds(), 1_800_000_060 - 3600);
/// assert_eq!(clock.monotonic(), Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<ClockState>);

#[derive(Debug)]
struct ClockState {
    /// `Some` for a ticking clock.
    system: Option<SystemClock>,
    /// Whether a sleep also ends in real time.
    has_real_timers: bool,
    time: Mutex<Time>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Time {
    /// Seconds since 1970, or the offset from the system clock if the clock ticks.
    wall: i64,
    advanced: Duration,
    sleepers: Vec<Sleeper>,
    next_id: u64,
}

#[derive(Debug)]
struct Sleeper {
    id: u64,
    until: Duration,
    waker: Waker,
}

impl ManualClock {
    /// Creates a clock that stands still at this time, in seconds since 1970.
    pub fn new(unix_seconds: i64) -> Self {
        Self::from_parts(None, false, unix_seconds)
    }

    /// Creates a clock that stands still like [`new`](Self::new), except while code sleeps: a sleep that no test ends
    /// by [`advance`](Self::advance) ends in real time, and the clock has then advanced to its end.
    ///
    /// Code that waits for another process, a store or a server over a socket therefore makes progress. Requires the
    /// timers of Tokio.
    pub fn with_real_timers(unix_seconds: i64) -> Self {
        Self::from_parts(None, true, unix_seconds)
    }

    /// Creates a clock that follows the system clock and can be advanced as well, for demos.
    pub fn ticking() -> Self {
        Self::from_parts(Some(SystemClock::default()), true, 0)
    }

    fn from_parts(system: Option<SystemClock>, has_real_timers: bool, wall: i64) -> Self {
        let time = Mutex::new(Time {
            wall,
            ..Time::default()
        });
        Self(Arc::new(ClockState {
            system,
            has_real_timers,
            time,
            changed: Notify::new(),
        }))
    }

    /// Advances the wall clock and the monotonic clock, and completes the sleeps that end by then.
    pub fn advance(&self, duration: Duration) {
        self.advance_with(|advanced| advanced.saturating_add(duration));
    }

    fn advance_with(&self, advanced: impl FnOnce(Duration) -> Duration) {
        let due = {
            let mut time = self.time();
            time.advanced = advanced(time.advanced);
            let now = self.system_monotonic().saturating_add(time.advanced);
            let (due, asleep) = std::mem::take(&mut time.sleepers)
                .into_iter()
                .partition(|sleeper| sleeper.until <= now);
            time.sleepers = asleep;
            due
        };
        let due: Vec<Sleeper> = due;
        due.into_iter().for_each(|sleeper| sleeper.waker.wake());
    }

    /// Moves the wall clock by `seconds` (back if negative). Timers are not affected.
    pub fn adjust_wall_clock(&self, seconds: i64) {
        let mut time = self.time();
        time.wall = time.wall.saturating_add(seconds);
    }

    /// Returns the time of the wall clock in whole seconds since 1970.
    pub fn unix_seconds(&self) -> i64 {
        crate::clock::unix_seconds(self)
    }

    /// Returns the number of sleeps that have been polled and have not completed.
    pub fn sleepers(&self) -> usize {
        self.time().sleepers.len()
    }

    /// Waits until at least `count` sleeps are pending, so that a test advances the clock only after
    /// the code under test has started its timer.
    pub async fn wait_for_sleepers(&self, count: usize) {
        loop {
            let changed = self.0.changed.notified();
            if self.sleepers() >= count {
                return;
            }
            changed.await;
        }
    }

    fn time(&self) -> std::sync::MutexGuard<'_, Time> {
        self.0.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn system_monotonic(&self) -> Duration {
        self.0
            .system
            .map_or(Duration::ZERO, |system| system.monotonic())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        let time = self.time();
        let base = self.0.system.map_or(UNIX_EPOCH, |system| system.now());
        let base = base.checked_add(time.advanced).unwrap_or(base);
        let shift = Duration::from_secs(time.wall.unsigned_abs());
        let wall = if time.wall < 0 {
            base.checked_sub(shift)
        } else {
            base.checked_add(shift)
        };
        wall.unwrap_or(base)
    }

    fn monotonic(&self) -> Duration {
        self.system_monotonic().saturating_add(self.time().advanced)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let until = self.monotonic().saturating_add(duration);
        let id = {
            let mut time = self.time();
            time.next_id += 1;
            time.next_id
        };
        let timer = self.0.has_real_timers;
        let timer = timer.then(|| SystemClock::default().sleep(duration));
        Box::pin(Sleeping {
            clock: self.clone(),
            id,
            until,
            timer,
        })
    }
}

struct Sleeping {
    clock: ManualClock,
    id: u64,
    until: Duration,
    timer: Option<Sleep>,
}

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self
            .timer
            .as_mut()
            .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        {
            let until = self.until.saturating_sub(self.clock.system_monotonic());
            self.clock.advance_with(|advanced| advanced.max(until));
            return Poll::Ready(());
        }
        let now = self.clock.system_monotonic();
        let mut time = self.clock.time();
        if self.until <= now.saturating_add(time.advanced) {
            return Poll::Ready(());
        }
        time.sleepers.retain(|sleeper| sleeper.id != self.id);
        time.sleepers.push(Sleeper {
            id: self.id,
            until: self.until,
            waker: cx.waker().clone(),
        });
        drop(time);
        self.clock.0.changed.notify_waiters();
        Poll::Pending
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        self.clock
            .time()
            .sleepers
            .retain(|sleeper| sleeper.id != self.id);
    }
}
