//! Single flight: concurrent callers share one attempt.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Runs at most one attempt at a time, in its own task.
///
/// The attempt continues if its callers leave, and callers that arrive in the meantime get the same result.
#[derive(Debug)]
pub(crate) struct SingleFlight<T> {
    current: Mutex<Option<watch::Receiver<Option<T>>>>,
}

/// A caller that waits for an attempt.
#[derive(Debug)]
pub(crate) struct Waiter<T> {
    receiver: watch::Receiver<Option<T>>,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self {
            current: Mutex::new(None),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// Joins the attempt in flight, or begins a new one if `start` returns one.
    pub(crate) fn join_or<F>(&self, start: impl FnOnce() -> Option<F>) -> Option<Waiter<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = lock(&self.current);
        // A receiver without a sender belongs to an attempt that has ended.
        if let Some(receiver) = current.as_ref().filter(|one| one.has_changed().is_ok()) {
            return Some(Waiter {
                receiver: receiver.clone(),
            });
        }
        let attempt = start()?;
        let (sender, receiver) = watch::channel(None);
        *current = Some(receiver.clone());
        tokio::spawn(async move {
            let outcome = attempt.await;
            sender.send_replace(Some(outcome));
        });
        Some(Waiter { receiver })
    }
}

impl<T: Clone> Waiter<T> {
    /// Waits for the outcome. Returns `None` if the attempt panicked or its runtime shut down.
    pub(crate) async fn outcome(mut self) -> Option<T> {
        let outcome = self.receiver.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

/// Locks a mutex whose content stays consistent if a holder panicked, so poisoning is ignored.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
