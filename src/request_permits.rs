//! The limit on concurrent requests to the authorization server that unauthenticated callers cause: token requests of
//! callbacks, which need only a transaction cookie and a forged code, and pushed authorization requests of logins that
//! start.
//!
//! At most [`MAX_REQUESTS`] are in flight at a time, each for at most 7 seconds: the time limit of a request with its
//! credentials and repeats. Other callers wait longer than that, and are served
//! alternately from both ends of the queue: the oldest, then the newest. So a burst of requests that hang delays neither
//! the callers before it nor those after it. A caller that is not served in time, or finds the queue full, gets 503
//! *before* anything is sent. A callback keeps its transaction then, so reloading the page continues the login.
//!
//! # Not solved here
//!
//! A forged code looks like a valid one until the token endpoint responds. If that takes 7 seconds
//! per forged code, and forged callbacks arrive faster than 9 per second for longer than the
//! waiting time, some callbacks of honest browsers are rejected too. Sessions, refreshes and
//! sign-outs are not affected. Use a rate limit per client address on the callback route and the login route.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::clock::{Clock, within};
use crate::sync::Mutex;

/// The permission to send one request. Dropping it passes it to the next caller.
pub(crate) type RequestPermit = OwnedSemaphorePermit;

/// Limits the requests of one kind of one login layer in one process.
#[derive(Clone, Debug)]
pub(crate) struct RequestPermits {
    free: Arc<Semaphore>,
    queue: Arc<Mutex<WaitQueue>>,
}

#[derive(Debug, Default)]
struct WaitQueue {
    /// Oldest first. Some may have been dropped.
    waiting: VecDeque<oneshot::Sender<RequestPermit>>,
    newest_is_next: bool,
}

impl RequestPermits {
    /// Waits for a permit. Returns `None` if the queue is full, no permit became free in time, or
    /// `abandoned` completes first.
    pub(crate) async fn acquire(
        &self,
        clock: &dyn Clock,
        abandoned: impl Future<Output = ()>,
    ) -> Option<RequestPermit> {
        // Takes none that a waiting caller is about to get.
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        let granted = self.queue.lock().enter()?;
        let (granted, abandoned) = (pin!(self.wait(granted)), pin!(abandoned));
        match within(clock, WAIT_TIMEOUT, select(granted, abandoned)).await? {
            Either::Left((permit, _)) => permit,
            Either::Right(((), _)) => None,
        }
    }

    /// Waits for the turn of a caller in the queue. A semaphore serves the oldest first, so each
    /// waiting caller passes the permits that it receives on to the one whose turn it is.
    async fn wait(&self, mut granted: oneshot::Receiver<RequestPermit>) -> Option<RequestPermit> {
        loop {
            let free = pin!(Arc::clone(&self.free).acquire_owned());
            match select(&mut granted, free).await {
                Either::Left((permit, _)) => return permit.ok(),
                Either::Right((permit, _)) => self.queue.lock().grant(permit.ok()?),
            }
        }
    }
}

impl WaitQueue {
    fn enter(&mut self) -> Option<oneshot::Receiver<RequestPermit>> {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|waiter| !waiter.is_closed());
        }
        if self.waiting.len() >= MAX_WAITING {
            return None;
        }
        let (waiter, granted) = oneshot::channel();
        self.waiting.push_back(waiter);
        Some(granted)
    }

    /// Gives a permit to the oldest or newest caller that still waits. Without one, it is free.
    fn grant(&mut self, mut permit: RequestPermit) {
        while let Some(waiter) = match self.newest_is_next {
            true => self.waiting.pop_back(),
            false => self.waiting.pop_front(),
        } {
            match waiter.send(permit) {
                Ok(()) => {
                    self.newest_is_next = !self.newest_is_next;
                    return;
                }
                // A dropped waiter does not count as a turn.
                Err(unclaimed) => permit = unclaimed,
            }
        }
    }
}

impl Default for RequestPermits {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_REQUESTS)),
            queue: Arc::default(),
        }
    }
}

/// Limit on concurrent requests.
const MAX_REQUESTS: usize = 64;

/// Limit on waiting callers, each a task of a few KiB.
const MAX_WAITING: usize = 1024;

/// Four times as long as a request can take with its repeats (7 seconds), and shorter than the usual timeouts of proxies
/// and lifetimes of authorization codes.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::clock::SystemClock;

    type Waiting = std::pin::Pin<Box<dyn Future<Output = Option<RequestPermit>>>>;

    fn waiting(permits: &RequestPermits) -> Waiting {
        let permits = permits.clone();
        Box::pin(async move { permits.acquire(&SystemClock, std::future::pending()).await })
    }

    fn poll(waiting: &mut Waiting) -> Poll<Option<RequestPermit>> {
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    async fn take_all(permits: &RequestPermits) -> Vec<RequestPermit> {
        let mut taken = Vec::new();
        for _ in 0..MAX_REQUESTS {
            taken.extend(waiting(permits).await);
        }
        taken
    }

    /// Polls all callbacks until nothing changes, and returns which of them got a permit.
    fn served(queue: &mut [Waiting], permits: &mut Vec<RequestPermit>) -> Vec<usize> {
        let mut served = Vec::new();
        for _ in 0..2 {
            for (number, one) in queue.iter_mut().enumerate() {
                if !served.contains(&number)
                    && let Poll::Ready(permit) = poll(one)
                {
                    permits.extend(permit);
                    served.push(number);
                }
            }
        }
        served.sort_unstable();
        served
    }

    #[tokio::test]
    async fn permits_alternate_between_oldest_and_newest_and_none_is_lost() {
        let permits = RequestPermits::default();
        let mut taken = take_all(&permits).await;
        assert_eq!(taken.len(), MAX_REQUESTS);
        let mut queue: Vec<Waiting> = (0..6).map(|_| waiting(&permits)).collect();
        assert!(queue.iter_mut().all(|one| poll(one).is_pending()));
        // The second waiter is dropped before a permit is free; the last one after that, before it
        // was polled.
        drop(queue.remove(1));
        taken.truncate(MAX_REQUESTS - 2);
        drop(queue.pop());
        let mut granted = Vec::new();
        assert_eq!(served(&mut queue, &mut granted), [0, 3]);
        // Callbacks that arrive later do not overtake.
        taken.pop();
        assert!(poll(&mut waiting(&permits)).is_pending());
        drop((queue.remove(3), queue.remove(0)));
        assert_eq!(served(&mut queue, &mut granted), [0]);
        drop((queue, granted, taken));
        assert_eq!(permits.free.available_permits(), MAX_REQUESTS);
    }

    #[tokio::test]
    async fn a_permit_that_was_granted_to_a_dropped_callback_is_free_again() {
        let permits = RequestPermits::default();
        let mut taken = take_all(&permits).await;
        let mut queue: Vec<Waiting> = (0..2).map(|_| waiting(&permits)).collect();
        assert!(queue.iter_mut().all(|one| poll(one).is_pending()));
        taken.truncate(MAX_REQUESTS - 2);
        // The first one takes its own permit and grants the other to the second, which never looks.
        assert!(poll(&mut queue[0]).is_ready());
        drop((queue, taken));
        assert_eq!(permits.free.available_permits(), MAX_REQUESTS);
    }

    #[tokio::test]
    async fn dropped_waiters_leave_the_queue() {
        let permits = RequestPermits::default();
        let _taken = take_all(&permits).await;
        let mut queue: Vec<Waiting> = (0..MAX_WAITING).map(|_| waiting(&permits)).collect();
        assert!(queue.iter_mut().all(|one| poll(one).is_pending()));
        assert!(matches!(poll(&mut waiting(&permits)), Poll::Ready(None)));
        drop(queue.pop());
        assert!(poll(&mut waiting(&permits)).is_pending());
    }
}
