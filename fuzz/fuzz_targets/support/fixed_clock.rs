//! A clock that does not advance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_oauth::clock::{Clock, Sleep};

pub const NOW: u64 = 1_700_000_000;

#[derive(Debug)]
pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}
