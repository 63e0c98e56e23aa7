//! When a refresh that failed may be tried again (`L53`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::RefreshError;
use crate::flow::SessionId;
use crate::random::Random;
use crate::session::bounded_map::BoundedMap;

/// The failures of this process, by session.
#[derive(Debug, Default)]
pub(in crate::session) struct Backoff(Mutex<BoundedMap<Failed>>);

#[derive(Debug)]
struct Failed {
    times: u32,
    /// Monotonic.
    until: Duration,
    failure: RefreshError,
}

impl Backoff {
    /// How the last attempt failed, as long as it is not time for the next.
    pub(super) fn pause(&self, id: &SessionId, now: Duration) -> Option<RefreshError> {
        let memory = self.lock();
        let failed = memory.get(id)?;
        let left = failed.until.checked_sub(now).filter(|left| !left.is_zero());
        left.map(|left| failed.failure.clone().again_after(left))
    }

    /// Notes a failure, and says when to try again. `at_least` is the server's or the lease's word.
    pub(super) fn failed(
        &self,
        id: SessionId,
        failure: RefreshError,
        at_least: Duration,
        now: Duration,
        random: Random,
    ) -> RefreshError {
        let mut memory = self.lock();
        let times = memory.get(&id).map_or(0, |failed| failed.times);
        let pause = pause_after(times, random.fraction()).max(at_least.min(LONGEST_TOLD));
        let entry = Failed {
            times: times.saturating_add(1),
            until: now.saturating_add(pause),
            failure: failure.clone(),
        };
        memory.put(id, entry);
        failure.again_after(pause)
    }

    pub(super) fn succeeded(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 1, 2, 4 ... 60 seconds, each up to a quarter shorter: the sessions of an outage do not come back as one.
fn pause_after(times: u32, fraction: f64) -> Duration {
    let full = FIRST.saturating_mul(1 << times.min(6)).min(LONGEST);
    full.mul_f64(1.0 - fraction / 4.0)
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// What a server may make us wait, whatever it says.
const LONGEST_TOLD: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> SessionId {
        SessionId::new([byte; 32])
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_jitter_only_shortens() {
        let seconds = |times, fraction| pause_after(times, fraction).as_secs_f64();
        let longest: Vec<f64> = (0..9).map(|times| seconds(times, 0.0)).collect();
        assert_eq!(longest, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
        let shortest: Vec<f64> = (0..3).map(|times| seconds(times, 1.0)).collect();
        assert_eq!(shortest, [0.75, 1.5, 3.0]);
    }

    #[test]
    fn what_failed_waits_as_long_as_the_server_says_and_a_success_forgets_it() {
        let backoff = Backoff::default();
        let second = Duration::from_secs(1);
        let fail = |id, told, now| {
            let random = Random::system();
            backoff.failed(id, RefreshError::Expired, told, now, random)
        };
        assert!(backoff.pause(&id(1), Duration::ZERO).is_none());
        fail(id(1), Duration::ZERO, Duration::ZERO);
        assert!(backoff.pause(&id(1), second / 2).is_some());
        assert!(backoff.pause(&id(1), second).is_none());
        assert!(backoff.pause(&id(2), second / 2).is_none());
        fail(id(1), 30 * second, second);
        assert!(backoff.pause(&id(1), 30 * second).is_some());
        assert!(backoff.pause(&id(1), 31 * second).is_none());
        fail(id(1), 86_400 * second, 31 * second);
        assert!(backoff.pause(&id(1), 630 * second).is_some());
        assert!(backoff.pause(&id(1), 631 * second).is_none());
        backoff.succeeded(&id(1));
        fail(id(1), Duration::ZERO, 700 * second);
        assert!(backoff.pause(&id(1), 701 * second).is_none());
    }
}
