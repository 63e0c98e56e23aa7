//! Delays further refreshes of a session after a failure, with exponential back-off and jitter.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::RefreshError;
use crate::random::Random;
use crate::record::SessionId;
use crate::session::bounded_map::BoundedMap;

/// The failed refreshes of this process, by session.
#[derive(Debug, Default)]
pub(in crate::session) struct Backoff(Mutex<BoundedMap<FailedRefresh>>);

#[derive(Debug)]
struct FailedRefresh {
    times: u32,
    /// Monotonic time.
    until: Duration,
    failure: RefreshError,
}

impl Backoff {
    /// Returns the last failure if the next attempt is not due yet.
    pub(super) fn active_failure(&self, id: &SessionId, now: Duration) -> Option<RefreshError> {
        let failures = self.lock();
        let failed = failures.get(id)?;
        let left = failed.until.checked_sub(now).filter(|left| !left.is_zero());
        left.map(|left| failed.failure.clone().with_retry_after(left))
    }

    /// Records a failure and returns it with the delay. `at_least` is the `Retry-After` of the server or the
    /// rest of the lease.
    pub(super) fn record_failure(
        &self,
        id: SessionId,
        failure: RefreshError,
        at_least: Duration,
        now: Duration,
        random: Random,
    ) -> RefreshError {
        let mut failures = self.lock();
        let times = failures.get(&id).map_or(0, |failed| failed.times);
        let delay = delay_after(times, random.fraction()).max(at_least.min(MAX_RETRY_AFTER));
        let entry = FailedRefresh {
            times: times.saturating_add(1),
            until: now.saturating_add(delay),
            failure: failure.clone(),
        };
        failures.put(id, entry);
        failure.with_retry_after(delay)
    }

    pub(super) fn record_success(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<FailedRefresh>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns 1, 2, 4 … 60 seconds, each shortened by up to a quarter: after an outage the sessions do not retry
/// at the same time.
fn delay_after(times: u32, fraction: f64) -> Duration {
    let full = FIRST_DELAY.saturating_mul(1 << times.min(6)).min(MAX_DELAY);
    full.mul_f64(1.0 - fraction / 4.0)
}

const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The longest accepted `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> SessionId {
        SessionId::new([byte; 32])
    }

    #[test]
    fn delays_double_up_to_a_minute_and_jitter_only_shortens_them() {
        let seconds = |times, fraction| delay_after(times, fraction).as_secs_f64();
        let longest: Vec<f64> = (0..9).map(|times| seconds(times, 0.0)).collect();
        assert_eq!(longest, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
        let shortest: Vec<f64> = (0..3).map(|times| seconds(times, 1.0)).collect();
        assert_eq!(shortest, [0.75, 1.5, 3.0]);
    }

    #[test]
    fn a_failure_delays_for_as_long_as_retry_after_and_a_success_resets_the_backoff() {
        let backoff = Backoff::default();
        let second = Duration::from_secs(1);
        let fail = |id, retry_after, now| {
            let random = Random::system();
            backoff.record_failure(id, RefreshError::Expired, retry_after, now, random)
        };
        assert!(backoff.active_failure(&id(1), Duration::ZERO).is_none());
        fail(id(1), Duration::ZERO, Duration::ZERO);
        assert!(backoff.active_failure(&id(1), second / 2).is_some());
        assert!(backoff.active_failure(&id(1), second).is_none());
        assert!(backoff.active_failure(&id(2), second / 2).is_none());
        fail(id(1), 30 * second, second);
        assert!(backoff.active_failure(&id(1), 30 * second).is_some());
        assert!(backoff.active_failure(&id(1), 31 * second).is_none());
        fail(id(1), 86_400 * second, 31 * second);
        assert!(backoff.active_failure(&id(1), 630 * second).is_some());
        assert!(backoff.active_failure(&id(1), 631 * second).is_none());
        backoff.record_success(&id(1));
        fail(id(1), Duration::ZERO, 700 * second);
        assert!(backoff.active_failure(&id(1), 701 * second).is_none());
    }
}
