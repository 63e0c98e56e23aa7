//! The limit on concurrent token requests of callbacks.
//!
//! A callback needs a transaction cookie of this application and nothing else, so callers without credentials can
//! cause token requests by made-up codes. At most [`MAX_REQUESTS`] are under way at a time. The others wait longer
//! than a token request may take, and are served in turn from both ends of the queue: the one that waits longest, then
//! the one that came last. So a burst of made-up codes that hang holds up neither those who came before it nor those
//! who come after it. What could not be served in time, or finds too many waiting, is answered by 503 *before* anything
//! was sent; its transaction is left as it is, so reloading the page continues the login.
//!
//! # Not solved here
//!
//! A made-up code looks like a real one until the token endpoint has answered. If it hangs for 5 seconds on made-up
//! codes, and callbacks with such codes come faster than 12 a second for longer than the waiting time, some callbacks of
//! honest browsers are refused as well. Sessions, refreshes and sign-outs do not pass here. A rate limit by address in
//! front of the callback route is the remedy.

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
pub(super) struct RedemptionLimit(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    under_way: usize,
    /// The one that waits longest first. Some may have given up.
    waiting: VecDeque<oneshot::Sender<RedemptionPermit>>,
    newest_is_next: bool,
}

/// The permission to send one token request; it goes to another callback when dropped.
#[derive(Debug)]
pub(super) struct RedemptionPermit(Option<RedemptionLimit>);

impl RedemptionLimit {
    /// Waits for a permit. Returns `None` if too many wait already, none became free in time, or `given_up`
    /// completes first.
    pub(super) async fn acquire(
        &self,
        clock: &dyn Clock,
        given_up: impl Future<Output = ()>,
    ) -> Option<RedemptionPermit> {
        let granted = match self.queue().enter()? {
            Entered::Now => return Some(RedemptionPermit(Some(self.clone()))),
            Entered::Waiting(granted) => granted,
        };
        let (mut granted, mut given_up) = (pin!(granted), pin!(given_up));
        let either = poll_fn(|cx| {
            if let Poll::Ready(permit) = granted.as_mut().poll(cx) {
                return Poll::Ready(permit.ok());
            }
            given_up.as_mut().poll(cx).map(|()| None)
        });
        within(clock, WAIT_TIMEOUT, either).await?
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    Now,
    Waiting(oneshot::Receiver<RedemptionPermit>),
}

impl Queue {
    fn enter(&mut self) -> Option<Entered> {
        if self.under_way < MAX_REQUESTS {
            self.under_way += 1;
            return Some(Entered::Now);
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|waiter| !waiter.is_closed());
        }
        if self.waiting.len() >= MAX_WAITING {
            return None;
        }
        let (waiter, granted) = oneshot::channel();
        self.waiting.push_back(waiter);
        Some(Entered::Waiting(granted))
    }

    /// Returns who gets the place of a request that has ended. If nobody waits, the place is free.
    fn next(&mut self) -> Option<oneshot::Sender<RedemptionPermit>> {
        let next = match self.newest_is_next {
            true => self.waiting.pop_back(),
            false => self.waiting.pop_front(),
        };
        match &next {
            // One that gave up is nobody's turn.
            Some(waiter) if waiter.is_closed() => {}
            Some(_) => self.newest_is_next = !self.newest_is_next,
            None => self.under_way = self.under_way.saturating_sub(1),
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
                Err(mut not_wanted) => drop(not_wanted.0.take()),
            }
        }
    }
}

/// Token requests of callbacks under way at a time.
const MAX_REQUESTS: usize = 64;

/// RedemptionCache that wait for one of them, each a task of a few KiB.
const MAX_WAITING: usize = 1024;

/// How long one waits: six times as long as a token request may take, and shorter than proxies and
/// authorization codes usually last.
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
    async fn places_go_to_the_first_and_the_last_in_turn_and_none_is_lost() {
        let limit = RedemptionLimit::default();
        let mut permits = Vec::new();
        for _ in 0..MAX_REQUESTS {
            permits.extend(waiting(&limit).await);
        }
        assert_eq!(permits.len(), MAX_REQUESTS);
        let mut queue: Vec<Waiting> = (0..6).map(|_| waiting(&limit)).collect();
        assert!(queue.iter_mut().all(|one| poll(one).is_pending()));
        // The second gives up; the last does after it was granted a place, before it has seen it.
        drop(queue.remove(1));
        permits.truncate(MAX_REQUESTS - 2);
        drop(queue.pop());
        let polled: Vec<_> = queue.iter_mut().map(poll).collect();
        let served: Vec<bool> = polled.iter().map(Poll::is_ready).collect();
        assert_eq!(served, [true, true, false, false]);
        drop(queue);
        drop(polled);
        drop(permits);
        assert_eq!(limit.queue().under_way, 0);
    }

    #[tokio::test]
    async fn those_who_gave_up_leave_room_for_others_to_wait() {
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
