//! The limit on concurrent token requests of callbacks.
//!
//! A callback needs only a transaction cookie of this application, so unauthenticated callers can
//! cause token requests with forged codes. At most [`MAX_REQUESTS`] are in flight at a time. Other
//! callbacks wait longer than a token request can take, and are served alternately from both ends
//! of the queue: the oldest, then the newest. So a burst of forged codes whose requests hang delays
//! neither the callbacks before it nor those after it. A callback that is not served in time, or
//! finds the queue full, gets 503 *before* its code is sent. Its transaction is kept, so reloading
//! the page continues the login.
//!
//! # Not solved here
//!
//! A forged code looks like a valid one until the token endpoint responds. If that takes 5 seconds
//! per forged code, and forged callbacks arrive faster than 12 per second for longer than the
//! waiting time, some callbacks of honest browsers are rejected too. Sessions, refreshes and
//! sign-outs are not affected. Use a rate limit per client address on the callback route.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::{Clock, within};

/// Limits the token requests of one login layer in one process.
#[derive(Clone, Debug, Default)]
pub(super) struct RedemptionLimit(Arc<Mutex<WaitQueue>>);

#[derive(Debug, Default)]
struct WaitQueue {
    in_flight: usize,
    /// Oldest first. Some may have been dropped.
    waiting: VecDeque<oneshot::Sender<RedemptionPermit>>,
    newest_is_next: bool,
}

/// The permission to send one token request. Dropping it passes it to the next callback.
#[derive(Debug)]
pub(super) struct RedemptionPermit(Option<RedemptionLimit>);

impl RedemptionLimit {
    /// Waits for a permit. Returns `None` if the queue is full, no permit became free in time, or
    /// `abandoned` completes first.
    pub(super) async fn acquire(
        &self,
        clock: &dyn Clock,
        abandoned: impl Future<Output = ()>,
    ) -> Option<RedemptionPermit> {
        let granted = match self.queue().enter()? {
            Admission::Granted => return Some(RedemptionPermit(Some(self.clone()))),
            Admission::Queued(granted) => granted,
        };
        let (mut granted, mut abandoned) = (pin!(granted), pin!(abandoned));
        let either = poll_fn(|cx| {
            if let Poll::Ready(permit) = granted.as_mut().poll(cx) {
                return Poll::Ready(permit.ok());
            }
            abandoned.as_mut().poll(cx).map(|()| None)
        });
        within(clock, WAIT_TIMEOUT, either).await?
    }

    fn queue(&self) -> MutexGuard<'_, WaitQueue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Admission {
    Granted,
    Queued(oneshot::Receiver<RedemptionPermit>),
}

impl WaitQueue {
    fn enter(&mut self) -> Option<Admission> {
        if self.in_flight < MAX_REQUESTS {
            self.in_flight += 1;
            return Some(Admission::Granted);
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|waiter| !waiter.is_closed());
        }
        if self.waiting.len() >= MAX_WAITING {
            return None;
        }
        let (waiter, granted) = oneshot::channel();
        self.waiting.push_back(waiter);
        Some(Admission::Queued(granted))
    }

    /// Returns the next waiter to get a permit; if there is none, the permit becomes free.
    fn next(&mut self) -> Option<oneshot::Sender<RedemptionPermit>> {
        let next = match self.newest_is_next {
            true => self.waiting.pop_back(),
            false => self.waiting.pop_front(),
        };
        match &next {
            // A dropped waiter does not count as a turn.
            Some(waiter) if waiter.is_closed() => {}
            Some(_) => self.newest_is_next = !self.newest_is_next,
            None => self.in_flight = self.in_flight.saturating_sub(1),
        }
        next
    }
}

impl Drop for RedemptionPermit {
    fn drop(&mut self) {
        let Some(limit) = self.0.take() else {
            return;
        };
        loop {
            let Some(waiter) = limit.queue().next() else {
                return;
            };
            match waiter.send(Self(Some(limit.clone()))) {
                Ok(()) => return,
                Err(mut unclaimed) => drop(unclaimed.0.take()),
            }
        }
    }
}

/// Limit on concurrent token requests of callbacks.
const MAX_REQUESTS: usize = 64;

/// Limit on waiting callbacks, each a task of a few KiB.
const MAX_WAITING: usize = 1024;

/// Six times as long as a token request can take, and shorter than the usual timeouts of proxies
/// and lifetimes of authorization codes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::clock::SystemClock;

    type Waiting = std::pin::Pin<Box<dyn Future<Output = Option<RedemptionPermit>>>>;

    fn waiting(limit: &RedemptionLimit) -> Waiting {
        let limit = limit.clone();
        Box::pin(async move { limit.acquire(&SystemClock, std::future::pending()).await })
    }

    fn poll(waiting: &mut Waiting) -> Poll<Option<RedemptionPermit>> {
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn permits_alternate_between_oldest_and_newest_and_none_is_lost() {
        let limit = RedemptionLimit::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_REQUESTS {
            permits.extend(waiting(&limit).await);
        }
        assert_eq!(permits.len(), MAX_REQUESTS);
        let mut queue: Vec<Waiting> = (0..6).map(|_| waiting(&limit)).collect();
        assert!(queue.iter_mut().all(|one| poll(one).is_pending()));
        // The second waiter is dropped before it was granted a permit; the last one after that,
        // before it was polled.
        drop(queue.remove(1));
        permits.truncate(MAX_REQUESTS - 2);
        drop(queue.pop());
        let polled: Vec<_> = queue.iter_mut().map(poll).collect();
        let served: Vec<bool> = polled.iter().map(Poll::is_ready).collect();
        assert_eq!(served, [true, true, false, false]);
        drop(queue);
        drop(polled);
        drop(permits);
        assert_eq!(limit.queue().in_flight, 0);
    }

    #[tokio::test]
    async fn dropped_waiters_leave_the_queue() {
        let limit = RedemptionLimit::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_REQUESTS {
            permits.extend(waiting(&limit).await);
        }
        let mut queue: Vec<Waiting> = (0..MAX_WAITING).map(|_| waiting(&limit)).collect();
        assert!(queue.iter_mut().all(|one| poll(one).is_pending()));
        assert!(matches!(poll(&mut waiting(&limit)), Poll::Ready(None)));
        drop(queue.pop());
        assert!(poll(&mut waiting(&limit)).is_pending());
    }
}
