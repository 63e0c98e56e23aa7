//! The time limit of a request with client authentication, including its repeats.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::{FlowError, RETRY_AFTER};
use crate::clock::{SharedClock, within};

/// The time limit of all: metadata, credentials, the request and its repeats. A lease of a session that is not renewed
/// is valid for at least this long after its holder checked it, so that no other process sends the same refresh token
/// meanwhile.
pub(crate) const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(7);

/// The time after which no repeat is started, since little of [`REQUEST_TIME_LIMIT`] is left for its response.
const REPEAT_LIMIT: Duration = Duration::from_secs(5);

/// The deadline passed before the request had a response.
#[derive(Debug)]
pub(super) struct DeadlinePassed {
    /// Whether the server may process a request now.
    pub(super) is_unanswered: bool,
}

/// The deadline of one request, which may be repeated.
#[derive(Debug)]
pub(super) struct RequestDeadline<'a> {
    clock: &'a SharedClock,
    /// Monotonic time.
    started: Duration,
    /// Whether a request was sent that has no response yet.
    is_unanswered: AtomicBool,
}

impl<'a> RequestDeadline<'a> {
    pub(super) fn start(clock: &'a SharedClock) -> Self {
        Self {
            clock,
            started: clock.monotonic(),
            is_unanswered: AtomicBool::new(false),
        }
    }

    /// Returns whether there is time for a repeat.
    pub(super) fn permits_repeat(&self) -> bool {
        self.clock.monotonic().saturating_sub(self.started) < REPEAT_LIMIT
    }

    /// Waits for the response of a request that is sent now.
    pub(super) async fn response<T>(&self, request: impl Future<Output = T>) -> T {
        self.is_unanswered.store(true, Ordering::Relaxed);
        let response = request.await;
        self.is_unanswered.store(false, Ordering::Relaxed);
        response
    }

    /// Runs `work` until the deadline. Returns an error if it has not completed by then.
    pub(super) async fn run<T, E: From<DeadlinePassed>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = within(&**self.clock, REQUEST_TIME_LIMIT, work).await;
        let is_unanswered = self.is_unanswered.load(Ordering::Relaxed);
        result.unwrap_or_else(|| Err(DeadlinePassed { is_unanswered }.into()))
    }
}

impl From<DeadlinePassed> for FlowError {
    fn from(_: DeadlinePassed) -> Self {
        Self::unavailable(
            "request_too_slow",
            "no response within the time limit of 7 seconds for metadata, credential, request and repeats",
            RETRY_AFTER,
        )
    }
}
