//! A fuse between this process and an authorization server in trouble: after a few failures in a row
//! nobody waits for it any more, and one question at a time finds out whether it is back (`I11`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::failure::Failure;
use super::health::IntrospectionHealth;

/// So many failures in a row open the circuit.
const LIMIT: u32 = 5;

/// The first pause; each that follows is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A probe that has not come back by then was torn down with its runtime.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// All failures since the last success.
    failures: u32,
    /// Outages in a row.
    outages: u32,
    /// Whether one of them was a refusal of our own credentials.
    forbidden: bool,
    last_error: Option<String>,
    last_success: Option<Duration>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Duration,
    pause: Duration,
    probe_since: Option<Duration>,
}

impl Circuit {
    /// How long to wait, where it is no time to ask now.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        let open = self.state().open?;
        if now < open.until {
            return Some(open.until - now);
        }
        let probed = open
            .probe_since
            .is_some_and(|since| now < since + PROBE_LIMIT);
        probed.then_some(FIRST_PAUSE)
    }

    /// Lets one question through: any while the circuit is closed, one at a time after a pause.
    pub(super) fn admit(&self, now: Duration) -> Result<(), Duration> {
        if let Some(pause) = self.pause(now) {
            return Err(pause);
        }
        let mut state = self.state();
        match &mut state.open {
            // Somebody was faster between the two looks.
            Some(open)
                if open
                    .probe_since
                    .is_some_and(|since| now < since + PROBE_LIMIT) =>
            {
                return Err(FIRST_PAUSE);
            }
            Some(open) => open.probe_since = Some(now),
            None => {}
        }
        Ok(())
    }

    /// Takes an answer in; true where it ends a row of failures.
    pub(super) fn succeeded(&self, now: Duration) -> bool {
        let mut state = self.state();
        let ended = state.failures > 0;
        *state = State {
            last_success: Some(now),
            ..State::default()
        };
        ended
    }

    /// Takes a failure in; true where it is the first of its row, or the first that needs a person.
    pub(super) fn failed(&self, failure: &Failure, now: Duration) -> bool {
        let mut state = self.state();
        let forbidden = matches!(failure, Failure::Credentials(_));
        let news = state.failures == 0 || (forbidden && !state.forbidden);
        state.forbidden |= forbidden;
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(failure.to_string());
        if !failure.is_outage() {
            state.outages = 0;
            state.open = None;
            return news;
        }
        state.outages = state.outages.saturating_add(1);
        let asked_for = match failure {
            Failure::Away { retry_after, .. } => *retry_after,
            _ => None,
        };
        let pause = match state.open {
            // One of those who were under way when it opened.
            Some(open) if open.probe_since.is_none() => return news,
            Some(open) => Some((open.pause * 2).min(LONGEST_PAUSE)),
            None => (state.outages >= LIMIT).then_some(FIRST_PAUSE),
        };
        if let Some(pause) = pause {
            state.open = Some(Open {
                until: now + asked_for.unwrap_or(pause).clamp(pause, LONGEST_PAUSE),
                pause,
                probe_since: None,
            });
        }
        news
    }

    pub(super) fn health(&self, now: Duration) -> IntrospectionHealth {
        let state = self.state();
        IntrospectionHealth {
            last_success: state.last_success.map(|at| now.saturating_sub(at)),
            failures: state.failures,
            last_error: state.last_error.clone(),
            is_paused: state.open.is_some(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
