//! The time limit of a request with client authentication, including its repeats.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::authenticated_request::SendError;
use super::error::{FlowError, RETRY_AFTER};
use crate::clock::{SharedClock, within};

/// The time limit of all: metadata, credentials, the request and its repeats. A lease of a session that is not renewed
/// is valid for at least this long after its holder checked it, so that no other process sends the same refresh token
/// meanwhile.
pub(crate) const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(7);

/// The time after which no repeat is started, since little of [`REQUEST_TIME_LIMIT`] is left for its response.
const REPEAT_LIMIT: Duration = Duration::from_secs(5);

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

    /// Runs `work` until the deadline. Returns `None` if it has not completed by then.
    pub(super) async fn run<T, E: From<SendError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match within(&**self.clock, REQUEST_TIME_LIMIT, work).await {
            Some(result) => result,
            None if self.is_unanswered.load(Ordering::Relaxed) => {
                Err(SendError::NoResponse(too_slow()).into())
            }
            None => Err(SendError::NotAuthenticated(too_slow()).into()),
        }
    }
}

fn too_slow() -> FlowError {
    FlowError::unavailable(
        "request_too_slow",
        "no response within the time limit of 7 seconds for metadata, credential, request and repeats",
        RETRY_AFTER,
    )
}
