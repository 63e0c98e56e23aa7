//! Detects that the wall clock was set back, which must not extend the lifetime of a session.
//!
//! Sessions have wall-clock times, which replicas share, unlike monotonic times. The difference between the
//! two clocks shows when the wall clock was set back and by how much: anything recorded before is older by
//! that amount.

use std::sync::{Mutex, PoisonError};

use crate::clock::{Clock, unix_seconds};

/// Compares the wall clock with the monotonic clock whenever it is read.
#[derive(Debug, Default)]
pub(super) struct RollbackGuard(Mutex<Option<ClockOffsets>>);

/// Differences between the two clocks in seconds, and a wall-clock time.
#[derive(Clone, Copy, Debug)]
struct ClockOffsets {
    last: i64,
    highest: i64,
    /// The wall-clock time at which it was last found set back.
    set_back_at: i64,
}

impl RollbackGuard {
    /// Returns the wall-clock time.
    pub(super) fn now(&self, clock: &dyn Clock) -> i64 {
        let wall = unix_seconds(clock);
        let monotonic = i64::try_from(clock.monotonic().as_secs()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(monotonic);
        let mut offsets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = offsets.unwrap_or(ClockOffsets {
            last: ahead,
            highest: ahead,
            set_back_at: i64::MIN,
        });
        // Both clocks are rounded down to seconds.
        let set_back = ahead < before.last.saturating_sub(1);
        *offsets = Some(ClockOffsets {
            last: ahead,
            highest: before.highest.max(ahead),
            set_back_at: if set_back { wall } else { before.set_back_at },
        });
        wall
    }

    /// Returns how many seconds the wall clock was set back since `time`.
    pub(super) fn rolled_back_since(&self, time: i64) -> i64 {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(offsets) if time < offsets.set_back_at => {
                offsets.highest.saturating_sub(offsets.last)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        assert_eq!(guard.rolled_back_since(0), 0);
        for (wall, monotonic, lost_before, lost_after) in [
            (1000, 0, 0, 0),
            (1100, 100, 0, 0),
            // A difference of a second comes from rounding.
            (1109, 110, 0, 0),
            (1200, 200, 0, 0),
            // Set back by half a minute.
            (1170, 200, 30, 0),
            (1300, 330, 30, 0),
            // Set forward, and back again by the same amount.
            (1400, 400, 0, 0),
            (1410, 440, 30, 30),
        ] {
            assert_eq!(
                guard.now(&FixedClock(wall, monotonic)),
                i64::try_from(wall).unwrap()
            );
            assert_eq!(guard.rolled_back_since(1000), lost_before, "{wall}");
            assert_eq!(guard.rolled_back_since(1250), lost_after, "{wall}");
        }
        assert_eq!(guard.rolled_back_since(1410), 0);
    }
}
