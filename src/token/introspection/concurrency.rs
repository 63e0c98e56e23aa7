//! The limit on concurrent introspection requests, and which of them are abandoned under load.
//!
//! An endpoint that hangs for some tokens must not let these occupy all permits. A request that takes much longer
//! than requests about active tokens moves to one of a few slots for slow requests. If these are occupied and
//! other requests wait for a permit, it is abandoned. Previously active tokens have reserved permits, and their
//! requests are never abandoned.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use crate::clock::{Clock, within};
use crate::sync::Mutex;

/// A request is slow after this multiple of the average response time, within the two limits below.
const SLOW_FACTOR: u32 = 4;
const MIN_SLOW_AFTER: Duration = Duration::from_millis(250);
const MAX_SLOW_AFTER: Duration = Duration::from_secs(5);

/// Used until a token was found active.
const DEFAULT_SLOW_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    general: Semaphore,
    slow: Semaphore,
    /// For previously active tokens.
    reserved: Semaphore,
    waiting: AtomicUsize,
    /// The moving average over responses that found a token active. A caller without an active token cannot
    /// raise it.
    average: Mutex<Option<Duration>>,
}

pub(super) struct ConcurrencyPermit<'a> {
    permit: SemaphorePermit<'a>,
    was_active: bool,
}

impl ConcurrencyLimit {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            general: Semaphore::new(concurrency),
            slow: Semaphore::new((concurrency / 2).max(1)),
            reserved: Semaphore::new((concurrency / 4).max(1)),
            waiting: AtomicUsize::new(0),
            average: Mutex::default(),
        }
    }

    /// Waits at most `timeout` for a permit.
    pub(super) async fn acquire(
        &self,
        clock: &dyn Clock,
        was_active: bool,
        timeout: Duration,
    ) -> Option<ConcurrencyPermit<'_>> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let permit = match was_active {
            true => within(clock, timeout, self.general_or_reserved()).await,
            false => within(clock, timeout, self.general.acquire()).await,
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let permit = permit?.ok()?;
        Some(ConcurrencyPermit { permit, was_active })
    }

    async fn general_or_reserved(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        let general = pin!(self.general.acquire());
        let reserved = pin!(self.reserved.acquire());
        select(general, reserved).await.factor_first().0
    }

    /// Runs `request` with this permit. Returns `None` if it was abandoned in favor of other requests.
    pub(super) async fn run<T>(
        &self,
        clock: &dyn Clock,
        permit: ConcurrencyPermit<'_>,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        let mut request = pin!(request);
        loop {
            if let Some(response) = within(clock, self.slow_after(), request.as_mut()).await {
                return Some(response);
            }
            if let Ok(_slot) = self.slow.try_acquire() {
                drop(permit.permit);
                return Some(request.await);
            }
            if !permit.was_active && self.waiting.load(Ordering::Relaxed) > 0 {
                return None;
            }
        }
    }

    /// Records the response time of a request that found its token active.
    pub(super) fn record_response_time(&self, elapsed: Duration) {
        let mut average = self.average.lock();
        *average = Some(average.map_or(elapsed, |average| (average * 7 + elapsed) / 8));
    }

    /// Returns the time after which a request counts as slow.
    pub(super) fn slow_after(&self) -> Duration {
        let average = *self.average.lock();
        average.map_or(DEFAULT_SLOW_AFTER, |average| {
            (average * SLOW_FACTOR).clamp(MIN_SLOW_AFTER, MAX_SLOW_AFTER)
        })
    }
}
