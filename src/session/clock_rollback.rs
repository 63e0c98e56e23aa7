//! Detects that the wall clock was set back, which must not extend the lifetime of a session.
//!
//! Sessions have wall-clock times, which replicas share, unlike monotonic times. The difference between the
//! two clocks shows when the wall clock was set back and by how much: anything recorded before is older by
//! that amount.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::{BothClocks, Clock};
use crate::sync::RwLock;

/// Compares the wall clock with the monotonic clock whenever they are read.
#[derive(Debug, Default)]
pub(super) struct RollbackGuard(RwLock<Option<ClockOffsets>>);

/// The time of a request. It is read once, so that all checks of the request agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTime {
    clocks: BothClocks,
    offsets: ClockOffsets,
}

/// Differences between the two clocks in milliseconds, and a wall-clock time in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClockOffsets {
    last: i64,
    highest: i64,
    /// The wall-clock time at which it was last found set back.
    set_back_at: i64,
}

impl SessionTime {
    /// Returns the Unix time in seconds, by the wall clock.
    pub(crate) fn wall(&self) -> i64 {
        self.clocks.wall
    }

    /// Returns the time to compare a timestamp with. A wall clock that was set back does not make the timestamp
    /// younger.
    pub(crate) fn wall_for(&self, timestamp: i64) -> i64 {
        self.wall()
            .saturating_add(self.rolled_back_since(timestamp))
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clocks.monotonic
    }

    /// Returns how many seconds the wall clock was set back since `time`.
    pub(crate) fn rolled_back_since(&self, time: i64) -> i64 {
        match time < self.offsets.set_back_at {
            true => self.offsets.highest.saturating_sub(self.offsets.last) / 1000,
            false => 0,
        }
    }
}

impl RollbackGuard {
    /// Reads the clocks. Takes the exclusive lock only if their difference has changed.
    pub(super) fn read(&self, clock: &dyn Clock) -> SessionTime {
        let wall = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let monotonic = clock.monotonic();
        let clocks = BothClocks {
            monotonic,
            wall: i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
        };
        let ahead = milliseconds(wall).saturating_sub(milliseconds(monotonic));
        let known = *self.0.read();
        let offsets = match known {
            Some(offsets) if ahead.abs_diff(offsets.last) <= READING_JITTER => offsets,
            _ => {
                let mut known = self.0.write();
                let offsets = ClockOffsets::after(*known, ahead, clocks.wall);
                *known = Some(offsets);
                offsets
            }
        };
        SessionTime { clocks, offsets }
    }
}

impl ClockOffsets {
    fn after(before: Option<Self>, ahead: i64, wall: i64) -> Self {
        let before = before.unwrap_or(Self {
            last: ahead,
            highest: ahead,
            set_back_at: i64::MIN,
        });
        // A clock may have whole seconds only.
        let set_back = ahead < before.last.saturating_sub(1000);
        Self {
            last: ahead,
            highest: before.highest.max(ahead),
            set_back_at: if set_back { wall } else { before.set_back_at },
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How far the difference of the clocks may vary without one of them having been set, in milliseconds: they are read
/// one after the other.
const READING_JITTER: u64 = 100;

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::Sleep;

    #[derive(Debug)]
    struct FixedClock(u64, u64);

    impl Clock for FixedClock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.1)
        }

        fn sleep(&self, _: Duration) -> Sleep {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn only_times_recorded_before_a_rollback_are_adjusted() {
        let guard = RollbackGuard::default();
        for (wall, monotonic, lost_before, lost_after) in [
            (1000, 0, 0, 0),
            (1100, 100, 0, 0),
            // A difference of a second may come from rounding.
            (1109, 110, 0, 0),
            (1200, 200, 0, 0),
            // Set back by half a minute.
            (1170, 200, 30, 0),
            (1300, 330, 30, 0),
            // Set forward, and back again by the same amount.
            (1400, 400, 0, 0),
            (1410, 440, 30, 30),
        ] {
            let now = guard.read(&FixedClock(wall, monotonic));
            assert_eq!(now.wall(), i64::try_from(wall).unwrap());
            assert_eq!(now.rolled_back_since(1000), lost_before, "{wall}");
            assert_eq!(now.rolled_back_since(1250), lost_after, "{wall}");
            assert_eq!(now.rolled_back_since(1410), 0, "{wall}");
        }
    }
}
