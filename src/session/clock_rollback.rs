//! A wall clock that is set back prolongs nothing.
//!
//! Sessions carry times of the wall, which replicas share and the monotonic clock does not know. The two
//! clocks together show when the wall clock was set back here, and by how much: what was noted before is
//! that much older than it looks.

use std::sync::{Mutex, PoisonError};

use crate::clock::{Clock, unix_seconds};

/// Watches the wall clock of this process, each time it is read.
#[derive(Debug, Default)]
pub(super) struct RollbackGuard(Mutex<Option<Seen>>);

/// Differences between the two clocks, in seconds, and a time of the wall.
#[derive(Clone, Copy, Debug)]
struct Seen {
    last: i64,
    highest: i64,
    /// What the wall showed when it was last found set back.
    set_back_at: i64,
}

impl RollbackGuard {
    /// What the wall clock shows.
    pub(super) fn now(&self, clock: &dyn Clock) -> i64 {
        let wall = unix_seconds(clock);
        let monotonic = i64::try_from(clock.monotonic().as_secs()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(monotonic);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.unwrap_or(Seen {
            last: ahead,
            highest: ahead,
            set_back_at: i64::MIN,
        });
        // Each of the two may be cut by almost a second.
        let set_back = ahead < before.last.saturating_sub(1);
        *seen = Some(Seen {
            last: ahead,
            highest: before.highest.max(ahead),
            set_back_at: if set_back { wall } else { before.set_back_at },
        });
        wall
    }

    /// How much older something is than the wall clock tells that was noted at `moment`, in seconds.
    pub(super) fn lost_since(&self, moment: i64) -> i64 {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(seen) if moment < seen.set_back_at => seen.highest.saturating_sub(seen.last),
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
    struct At(u64, u64);

    impl Clock for At {
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
    fn only_what_was_noted_before_the_clock_was_set_back_is_older_than_it_looks() {
        let steady = RollbackGuard::default();
        assert_eq!(steady.lost_since(0), 0);
        for (wall, monotonic, lost_before, lost_after) in [
            (1000, 0, 0, 0),
            (1100, 100, 0, 0),
            // A second more or less is how two clocks are read.
            (1109, 110, 0, 0),
            (1200, 200, 0, 0),
            // Half a minute back, and on from there.
            (1170, 200, 30, 0),
            (1300, 330, 30, 0),
            // Forward again, and back once more by as much.
            (1400, 400, 0, 0),
            (1410, 440, 30, 30),
        ] {
            assert_eq!(
                steady.now(&At(wall, monotonic)),
                i64::try_from(wall).unwrap()
            );
            assert_eq!(steady.lost_since(1000), lost_before, "{wall}");
            assert_eq!(steady.lost_since(1250), lost_after, "{wall}");
        }
        assert_eq!(steady.lost_since(1410), 0);
    }
}
