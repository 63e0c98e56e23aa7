//! The limit on concurrent token requests of callbacks.
//!
//! A callback needs a transaction cookie of this application and nothing else, so callers without credentials can
//! cause token requests by made-up codes. At most [`MAX_REQUESTS`] are under way at a time. The others wait in the
//! order in which they came, longer than a token request may take: a callback behind a full set of hanging requests is
//! served, not refused. What could not be served in that time, or finds too many waiting, is answered by 503
//! *before* anything was sent; its transaction is left as it is, so reloading the page continues the login.
//!
//! # Not solved here
//!
//! A made-up code looks like a real one until the token endpoint has answered. If it hangs for 5 seconds on made-up
//! codes, and callbacks with such codes come faster than 12 a second for longer than the waiting time, callbacks of
//! honest browsers are refused as well. Sessions, refreshes and sign-outs do not pass here. A rate limit by address in
//! front of the callback route is the remedy.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{Clock, within};

/// Limits the token requests of one login layer in one process.
#[derive(Clone, Debug)]
pub(super) struct RedemptionLimit {
    requests: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// The permission to send one token request; it ends when dropped.
#[derive(Debug)]
pub(super) struct RedemptionPermit {
    _request: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Default for RedemptionLimit {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
            places: Arc::new(Semaphore::new(MAX_REQUESTS + MAX_WAITING)),
        }
    }
}

impl RedemptionLimit {
    /// Waits for a permit. Returns `None` if too many wait already, none became free in time, or `given_up`
    /// completes first.
    pub(super) async fn acquire(
        &self,
        clock: &dyn Clock,
        given_up: impl Future<Output = ()>,
    ) -> Option<RedemptionPermit> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let requests = || Arc::clone(&self.requests);
        let request = match requests().try_acquire_owned() {
            Ok(request) => request,
            Err(_) => {
                let (mut turn, mut given_up) = (pin!(requests().acquire_owned()), pin!(given_up));
                let either = poll_fn(|cx| {
                    if let Poll::Ready(request) = turn.as_mut().poll(cx) {
                        return Poll::Ready(request.ok());
                    }
                    given_up.as_mut().poll(cx).map(|()| None)
                });
                within(clock, WAIT_TIMEOUT, either).await??
            }
        };
        Some(RedemptionPermit {
            _request: request,
            _place: place,
        })
    }
}

/// Token requests of callbacks under way at a time.
const MAX_REQUESTS: usize = 64;

/// Callbacks that wait for one of them, each a task of a few KiB.
const MAX_WAITING: usize = 1024;

/// How long one waits: four times as long as a token request may take, and shorter than proxies and
/// authorization codes usually last.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
