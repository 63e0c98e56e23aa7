//! How many questions are under way at once, and which of them give way.
//!
//! An endpoint that hangs for odd tokens must not leave all turns with them. A question that takes much
//! longer than answers about good tokens moves to one of the few places for slow questions; if these are
//! taken and others wait for a turn, it is given up. Tokens that were active before have turns of their
//! own and are never given up.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use crate::clock::{Clock, within};

/// A question is slow after so many times the usual time of an answer, within these limits.
const SLOW_FACTOR: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// As long as no token was found active.
const UNKNOWN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Turns {
    open: Semaphore,
    slow: Semaphore,
    /// For tokens that were active before.
    reserved: Semaphore,
    waiting: AtomicUsize,
    /// Smoothed, of answers that found a token active: a caller without a good token cannot raise it.
    usual: Mutex<Option<Duration>>,
}

pub(super) struct Turn<'a> {
    permit: SemaphorePermit<'a>,
    was_active: bool,
}

impl Turns {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            open: Semaphore::new(concurrency),
            slow: Semaphore::new((concurrency / 2).max(1)),
            reserved: Semaphore::new((concurrency / 4).max(1)),
            waiting: AtomicUsize::new(0),
            usual: Mutex::default(),
        }
    }

    /// Waits for a turn, for `limit` at most.
    pub(super) async fn take(
        &self,
        clock: &dyn Clock,
        was_active: bool,
        limit: Duration,
    ) -> Option<Turn<'_>> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let permit = match was_active {
            true => within(clock, limit, self.any_permit()).await,
            false => within(clock, limit, self.open.acquire()).await,
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let permit = permit?.ok()?;
        Some(Turn { permit, was_active })
    }

    async fn any_permit(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        let mut open = pin!(self.open.acquire());
        let mut reserved = pin!(self.reserved.acquire());
        std::future::poll_fn(|cx| match open.as_mut().poll(cx) {
            Poll::Ready(permit) => Poll::Ready(permit),
            Poll::Pending => reserved.as_mut().poll(cx),
        })
        .await
    }

    /// Asks in this turn; `None` if the question was given up for others.
    pub(super) async fn ask<T>(
        &self,
        clock: &dyn Clock,
        turn: Turn<'_>,
        question: impl Future<Output = T>,
    ) -> Option<T> {
        let mut question = pin!(question);
        loop {
            if let Some(answer) = within(clock, self.slow_after(), question.as_mut()).await {
                return Some(answer);
            }
            if let Ok(_place) = self.slow.try_acquire() {
                drop(turn.permit);
                return Some(question.await);
            }
            if !turn.was_active && self.waiting.load(Ordering::Relaxed) > 0 {
                return None;
            }
        }
    }

    /// Records how long an answer took that found a token active.
    pub(super) fn learn(&self, took: Duration) {
        let mut usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        *usual = Some(usual.map_or(took, |usual| (usual * 7 + took) / 8));
    }

    /// How long an answer about a good token takes, generously.
    pub(super) fn slow_after(&self) -> Duration {
        let usual = *self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        usual.map_or(UNKNOWN, |usual| {
            (usual * SLOW_FACTOR).clamp(SHORTEST, LONGEST)
        })
    }
}
