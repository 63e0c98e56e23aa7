//! Whether the introspection endpoint is asked now.
//!
//! A caller chooses the token that is asked about, and some servers answer odd tokens with 401, 429 or 5xx,
//! close the connection or hang. So the circuit opens only after failures that no token can cause: nothing
//! of the request was sent. After any other failure the endpoint is still asked about every token; if
//! nothing succeeds for some seconds, requests about unknown tokens wait for less time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::failure::Failure;
use super::health::IntrospectionHealth;

/// So many requests in a row that were not sent open the circuit.
const UNSENT_LIMIT: u32 = 5;

/// So many failures without a success in between, over at least this time, are a failing endpoint.
const FAILURE_LIMIT: u32 = 5;
const FAILING_AFTER: Duration = Duration::from_secs(5);

/// The first pause; each that follows is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// While the circuit is open, one token that was active before is asked about in this time.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A success this long ago shows that our credentials are accepted.
const RECENT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// All failures since the last success, and the time of the first of them.
    failures: u32,
    failing_since: Duration,
    /// Requests in a row that were not sent.
    unsent: u32,
    last_error: Option<String>,
    last_success: Option<Duration>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Duration,
    pause: Duration,
    next_probe: Duration,
}

impl Circuit {
    /// The rest of the pause, if the circuit is open.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        let until = self.state().open?.until;
        until.checked_sub(now).filter(|rest| !rest.is_zero())
    }

    /// Whether a token may be asked about, else the rest of the pause. After the pause every token may,
    /// until another request cannot be sent: the token that finds out must not be an attacker's choice.
    pub(super) fn admit(&self, was_active: bool, now: Duration) -> Result<(), Duration> {
        let mut state = self.state();
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

    /// Whether nothing has succeeded for some seconds.
    pub(super) fn is_failing(&self, now: Duration) -> bool {
        let state = self.state();
        state.failures >= FAILURE_LIMIT && now.saturating_sub(state.failing_since) >= FAILING_AFTER
    }

    /// Whether the endpoint gave an answer about some token a short time ago.
    pub(super) fn succeeded_recently(&self, now: Duration) -> bool {
        let last_success = self.state().last_success;
        last_success.is_some_and(|at| now.saturating_sub(at) < RECENT)
    }

    /// Records an answer; true if it ends a series of failures.
    pub(super) fn succeeded(&self, now: Duration) -> bool {
        let mut state = self.state();
        let ended = state.failures > 0;
        *state = State {
            last_success: Some(now),
            ..State::default()
        };
        ended
    }

    /// Records a failure.
    pub(super) fn failed(&self, failure: &Failure, now: Duration) {
        let mut state = self.state();
        if state.failures == 0 {
            state.failing_since = now;
        }
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(failure.to_string());
        if !matches!(failure, Failure::NotSent(_)) {
            // Whatever came of it, the server can be reached.
            state.unsent = 0;
            state.open = None;
            return;
        }
        state.unsent = state.unsent.saturating_add(1);
        let pause = match state.open {
            // One of those that were under way when the circuit opened, or a probe.
            Some(open) if now < open.until => return,
            Some(open) => (open.pause * 2).min(LONGEST_PAUSE),
            None if state.unsent >= UNSENT_LIMIT => FIRST_PAUSE,
            None => return,
        };
        state.open = Some(Open {
            until: now + pause,
            pause,
            next_probe: now,
        });
    }

    pub(super) fn health(&self, now: Duration) -> IntrospectionHealth {
        let is_paused = self.pause(now).is_some();
        let state = self.state();
        IntrospectionHealth {
            last_success: state.last_success.map(|at| now.saturating_sub(at)),
            failures: state.failures,
            last_error: state.last_error.clone(),
            is_paused,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
