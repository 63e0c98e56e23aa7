//! The circuit breaker in front of the introspection endpoint.
//!
//! A caller chooses the token that is introspected, and some servers respond to malformed tokens with 401, 429 or
//! 5xx, close the connection or hang. So the circuit opens only after failures that no token can cause: nothing
//! of the request was sent. After any other failure every token is still introspected. If nothing succeeds for
//! some seconds, requests with tokens that were not active before wait for less time.

use std::time::Duration;

use super::failure::IntrospectionFailure;
use crate::sync::Mutex;

/// The number of consecutive requests that were not sent after which the circuit opens.
const UNSENT_LIMIT: u32 = 5;

/// The endpoint counts as failing after this many consecutive failures over at least this time.
const FAILURE_LIMIT: u32 = 5;
const FAILING_AFTER: Duration = Duration::from_secs(5);

/// The first open period; each later one is twice as long, up to the maximum.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// While the circuit is open, one previously active token per interval is introspected.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A success within this time shows that the credentials of the client are accepted.
const RECENT_SUCCESS: Duration = Duration::from_secs(60);

/// The state of an introspection endpoint; see
/// [`IntrospectionVerifier::health`](super::IntrospectionVerifier::health).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IntrospectionHealth {
    /// Time since the last valid response; `None` before the first one.
    pub last_success: Option<Duration>,
    /// The number of requests that failed since the last valid response.
    pub failures: u32,
    /// The error of the last failed request. It can contain text of the network stack, so show it to
    /// operators only.
    pub last_error: Option<String>,
    /// Whether introspection is paused because several consecutive requests could not be sent.
    ///
    /// Requests with tokens that are not cached are then rejected with 503 immediately. Other failures, which
    /// the token of a caller can cause, never set this.
    pub is_paused: bool,
}

impl IntrospectionHealth {
    /// Returns whether tokens can be introspected now, without sending a request.
    ///
    /// False only while the authorization server is unreachable, so that no caller can make a load balancer
    /// take this process out of service.
    pub fn is_ready(&self) -> bool {
        !self.is_paused
    }
}

#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<CircuitState>);

#[derive(Debug, Default)]
struct CircuitState {
    /// The failures since the last success, and the time of the first of them.
    failures: u32,
    failing_since: Duration,
    /// Consecutive requests that were not sent.
    unsent: u32,
    last_error: Option<String>,
    last_success: Option<Duration>,
    open: Option<OpenState>,
}

#[derive(Clone, Copy, Debug)]
struct OpenState {
    until: Duration,
    pause: Duration,
    next_probe: Duration,
}

impl Circuit {
    /// Returns the remaining time of the pause if the circuit is open.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        let until = self.0.lock().open?.until;
        until
            .checked_sub(now)
            .filter(|remaining| !remaining.is_zero())
    }

    /// Admits the introspection of a token, or returns the remaining time of the pause.
    ///
    /// After the pause every token is admitted until another request cannot be sent. A single probe would
    /// let an attacker choose the token that decides whether the circuit stays open.
    pub(super) fn admit(&self, was_active: bool, now: Duration) -> Result<(), Duration> {
        let mut state = self.0.lock();
        match &mut state.open {
            Some(open) if now < open.until => {
                if was_active && now >= open.next_probe {
                    open.next_probe = now + PROBE_INTERVAL;
                    return Ok(());
                }
                Err(open.until - now)
            }
            _ => Ok(()),
        }
    }

    /// Returns whether all requests of the last seconds failed.
    pub(super) fn is_failing(&self, now: Duration) -> bool {
        let state = self.0.lock();
        state.failures >= FAILURE_LIMIT && now.saturating_sub(state.failing_since) >= FAILING_AFTER
    }

    /// Returns whether any token was introspected successfully within the last minute.
    pub(super) fn succeeded_recently(&self, now: Duration) -> bool {
        let last_success = self.0.lock().last_success;
        last_success.is_some_and(|at| now.saturating_sub(at) < RECENT_SUCCESS)
    }

    /// Records a success. Returns whether it ends a series of failures.
    pub(super) fn succeeded(&self, now: Duration) -> bool {
        let mut state = self.0.lock();
        let had_failed = state.failures > 0;
        *state = CircuitState {
            last_success: Some(now),
            ..CircuitState::default()
        };
        had_failed
    }

    /// Records a failure.
    pub(super) fn failed(&self, failure: &IntrospectionFailure, now: Duration) {
        let mut state = self.0.lock();
        if state.failures == 0 {
            state.failing_since = now;
        }
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(failure.to_string());
        if !matches!(failure, IntrospectionFailure::NotSent(_)) {
            // The request was sent, so the server is reachable.
            state.unsent = 0;
            state.open = None;
            return;
        }
        state.unsent = state.unsent.saturating_add(1);
        let pause = match state.open {
            // A request that was in flight when the circuit opened, or a probe.
            Some(open) if now < open.until => return,
            Some(open) => (open.pause * 2).min(MAX_PAUSE),
            None if state.unsent >= UNSENT_LIMIT => MIN_PAUSE,
            None => return,
        };
        state.open = Some(OpenState {
            until: now + pause,
            pause,
            next_probe: now,
        });
    }

    pub(super) fn health(&self, now: Duration) -> IntrospectionHealth {
        let is_paused = self.pause(now).is_some();
        let state = self.0.lock();
        IntrospectionHealth {
            last_success: state.last_success.map(|at| now.saturating_sub(at)),
            failures: state.failures,
            last_error: state.last_error.clone(),
            is_paused,
        }
    }
}
