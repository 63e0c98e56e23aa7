//! One attempt shared by all who wait for it.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// At most one attempt at a time, in a task of its own: it goes on when those who wait leave, and
/// whoever comes meanwhile gets the same result (`J1`, `J2`).
#[derive(Debug)]
pub(crate) struct Flight<T> {
    current: Mutex<Option<watch::Receiver<Option<T>>>>,
}

/// A place among those who wait.
#[derive(Debug)]
pub(crate) struct Seat<T> {
    receiver: watch::Receiver<Option<T>>,
    started: bool,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self {
            current: Mutex::new(None),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// A seat in the attempt under way, or in a new one where `start` makes one.
    pub(crate) fn join_or<F>(&self, start: impl FnOnce() -> Option<F>) -> Option<Seat<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = lock(&self.current);
        // A receiver whose sender is gone belongs to an attempt that ended.
        if let Some(receiver) = current.as_ref().filter(|one| one.has_changed().is_ok()) {
            return Some(Seat {
                receiver: receiver.clone(),
                started: false,
            });
        }
        let attempt = start()?;
        let (sender, receiver) = watch::channel(None);
        *current = Some(receiver.clone());
        tokio::spawn(async move {
            let outcome = attempt.await;
            sender.send_replace(Some(outcome));
        });
        Some(Seat {
            receiver,
            started: true,
        })
    }
}

impl<T: Clone> Seat<T> {
    /// Whether this seat began the attempt; others came when it was already under way.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// The outcome; `None` where the attempt was torn down with its runtime.
    pub(crate) async fn outcome(mut self) -> Option<T> {
        let outcome = self.receiver.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

/// A poisoned lock is only one whose holder panicked; what these locks hold stays valid.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
