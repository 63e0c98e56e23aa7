//! The refreshes of this process: those in progress, and what follows from those that failed.

use std::sync::Arc;
use std::time::Duration;

use crate::expiring_map::ExpiringMap;
use crate::random::Random;
use crate::record::{SessionId, SessionRecord};
use crate::session::error::SessionError;
use crate::session::loaded::LoadedSession;
use crate::single_flight::{SingleFlight, Waiter};
use crate::sync::{Mutex, RwLock};
use crate::telemetry::LogOnce;

pub(in crate::session) type RefreshResult = Result<LoadedSession, SessionError>;
pub(in crate::session) type RefreshWaiter = Waiter<RefreshResult>;

#[derive(Debug)]
pub(in crate::session) struct Refreshes {
    /// One attempt for each session.
    pub(in crate::session) attempts: SingleFlight<SessionId, RefreshResult>,
    /// Refreshes that failed, of a session or of one of its tokens, delayed with exponential back-off and jitter.
    failed: RwLock<ExpiringMap<FailureKey, FailedRefresh, ()>>,
    /// Sessions whose refresh token was rejected, with the generation of their tokens. A cookie of the same
    /// session with newer tokens is not affected.
    rejected: RwLock<ExpiringMap<SessionId, u64, ()>>,
    /// When the refresh of a session was first answered with status 400 without an error code.
    unexplained: Mutex<ExpiringMap<SessionId, Duration, ()>>,
    /// When a refresh last succeeded.
    last_success: Mutex<Duration>,
    /// Whether the warning about rotation without a store has been logged: the reason is the same for all sessions.
    pub(in crate::session) rotation_warning: LogOnce,
}

/// A session, and the resource if only its token cannot be refreshed.
type FailureKey = (SessionId, Option<Arc<str>>);

#[derive(Debug)]
struct FailedRefresh {
    times: u32,
    /// Monotonic time.
    until: Duration,
    error: SessionError,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            attempts: SingleFlight::default(),
            failed: RwLock::new(ExpiringMap::new(MAX_SESSIONS)),
            rejected: RwLock::new(ExpiringMap::new(MAX_SESSIONS)),
            unexplained: Mutex::new(ExpiringMap::new(MAX_SESSIONS)),
            last_success: Mutex::default(),
            rotation_warning: LogOnce::default(),
        }
    }
}

impl Refreshes {
    /// Returns the last failure if the next attempt is not due yet.
    pub(in crate::session) fn active_failure(
        &self,
        id: &SessionId,
        resource: Option<&Arc<str>>,
        now: Duration,
    ) -> Option<SessionError> {
        let failures = self.failed.read();
        let failed = failures.get(&key(id, resource))?;
        let left = failed.until.checked_sub(now).filter(|left| !left.is_zero());
        left.map(|left| failed.error.clone().with_retry_after(left))
    }

    /// Records a failure and returns it with the delay, which is at least its `retry_after`.
    pub(in crate::session) fn record_failure(
        &self,
        id: &SessionId,
        resource: Option<&Arc<str>>,
        error: SessionError,
        now: Duration,
        random: Random,
    ) -> SessionError {
        let (key, mut failures) = (key(id, resource), self.failed.write());
        let times = failures.get(&key).map_or(0, |failed| failed.times);
        let at_least = error.retry_after().min(MAX_RETRY_AFTER);
        let delay = delay_after(times, random.fraction()).max(at_least);
        let failed = FailedRefresh {
            times: times.saturating_add(1),
            until: now.saturating_add(delay),
            error: error.clone(),
        };
        failures.insert(key, failed, ());
        error.with_retry_after(delay)
    }

    /// Records that the token for this resource was refreshed.
    pub(in crate::session) fn record_success(
        &self,
        id: &SessionId,
        resource: Option<&Arc<str>>,
        now: Duration,
    ) {
        let mut failed = self.failed.write();
        failed.remove(&key(id, None));
        failed.remove(&key(id, resource));
        drop(failed);
        self.unexplained.lock().remove(id);
        *self.last_success.lock() = now;
    }

    /// Records a response with status 400 without an error code. Returns whether it rejects the refresh token: it is
    /// repeated, and refreshes of other sessions succeeded in between, so that it is no outage.
    pub(in crate::session) fn confirms_rejection(&self, id: SessionId, now: Duration) -> bool {
        let mut unexplained = self.unexplained.lock();
        let Some(&first) = unexplained.get(&id) else {
            unexplained.insert(id, now, ());
            return false;
        };
        let last_success = *self.last_success.lock();
        now.saturating_sub(first) >= MIN_REPETITION
            && last_success > first
            && now.saturating_sub(last_success) <= MAX_SUCCESS_AGE
    }

    pub(in crate::session) fn record_rejection(&self, record: &SessionRecord) {
        let mut rejected = self.rejected.write();
        rejected.insert(*record.id(), record.generation(), ());
    }

    pub(in crate::session) fn is_rejected(&self, record: &SessionRecord) -> bool {
        self.rejected.read().get(record.id()) == Some(&record.generation())
    }
}

fn key(id: &SessionId, resource: Option<&Arc<str>>) -> FailureKey {
    (*id, resource.cloned())
}

/// Returns 1, 2, 4 … 60 seconds, each shortened by up to a quarter: after an outage the sessions do not retry
/// at the same time.
fn delay_after(times: u32, fraction: f64) -> Duration {
    let full = FIRST_DELAY.saturating_mul(1 << times.min(6)).min(MAX_DELAY);
    full.mul_f64(1.0 - fraction / 4.0)
}

/// The maximum number of sessions with a failed refresh or a rejected token. Beyond it the oldest is removed.
const MAX_SESSIONS: usize = 10_000;

const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The time between two responses without an error code that reject a refresh token.
const MIN_REPETITION: Duration = Duration::from_secs(60);

/// An older success says nothing about an outage that has begun since.
const MAX_SUCCESS_AGE: Duration = Duration::from_secs(300);

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
        let failures = Refreshes::default();
        let second = Duration::from_secs(1);
        let fail = |id, retry_after, now| {
            let random = Random::system();
            let failure = SessionError::busy("").with_retry_after(retry_after);
            failures.record_failure(&id, None, failure, now, random)
        };
        assert!(
            failures
                .active_failure(&id(1), None, Duration::ZERO)
                .is_none()
        );
        fail(id(1), Duration::ZERO, Duration::ZERO);
        assert!(failures.active_failure(&id(1), None, second / 2).is_some());
        assert!(failures.active_failure(&id(1), None, second).is_none());
        assert!(failures.active_failure(&id(2), None, second / 2).is_none());
        fail(id(1), 30 * second, second);
        assert!(failures.active_failure(&id(1), None, 30 * second).is_some());
        assert!(failures.active_failure(&id(1), None, 31 * second).is_none());
        fail(id(1), 86_400 * second, 31 * second);
        assert!(
            failures
                .active_failure(&id(1), None, 630 * second)
                .is_some()
        );
        assert!(
            failures
                .active_failure(&id(1), None, 631 * second)
                .is_none()
        );
        failures.record_success(&id(1), None, second);
        fail(id(1), Duration::ZERO, 700 * second);
        assert!(
            failures
                .active_failure(&id(1), None, 701 * second)
                .is_none()
        );
    }
}
