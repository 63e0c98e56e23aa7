//! Single flight for refreshes: concurrent callers in this process share one attempt for each session.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::RefreshError;
use crate::record::SessionId;
use crate::session::LoadedSession;

pub(super) type RefreshResult = Result<LoadedSession, RefreshError>;

type ResultReceiver = watch::Receiver<Option<RefreshResult>>;

/// The attempts in progress. Each runs in its own task and continues if its callers are cancelled.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct RefreshFlights(Arc<Mutex<HashMap<SessionId, ResultReceiver>>>);

/// Waits for the result of an attempt.
#[derive(Clone, Debug)]
pub(in crate::session) struct RefreshWaiter {
    receiver: ResultReceiver,
    /// Whether this waiter started the attempt.
    pub(super) is_first: bool,
}

impl RefreshFlights {
    /// Joins the attempt in progress for this session or starts one. Returns `None` if too many are in
    /// progress.
    pub(super) fn join<F>(&self, id: SessionId, start: impl FnOnce() -> F) -> Option<RefreshWaiter>
    where
        F: Future<Output = RefreshResult> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(receiver) = flights.get(&id) {
            let receiver = receiver.clone();
            return Some(RefreshWaiter {
                receiver,
                is_first: false,
            });
        }
        if flights.len() >= MAX_IN_PROGRESS {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(id, receiver.clone());
        let remove = RemoveOnDrop(self.clone(), id);
        let attempt = start();
        tokio::spawn(async move {
            let outcome = attempt.await;
            // Removed before the result is sent: a later caller loads the saved session instead.
            drop(remove);
            sender.send_replace(Some(outcome));
        });
        Some(RefreshWaiter {
            receiver,
            is_first: true,
        })
    }

    /// Waits until no attempt is in progress.
    pub(in crate::session) async fn wait_for_refreshes(&self) {
        loop {
            let Some(mut attempt) = self.lock().values().next().cloned() else {
                return;
            };
            // The channel closes when the task ends, after the attempt was removed.
            while attempt.changed().await.is_ok() {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, ResultReceiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefreshWaiter {
    /// Waits for the result. Returns `None` if the attempt panicked or its runtime shut down.
    pub(in crate::session) async fn wait(mut self) -> Option<RefreshResult> {
        let outcome = self.receiver.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    /// Reports whether the attempt has ended, with or without a result.
    pub(in crate::session) fn is_over(&self) -> bool {
        self.receiver.has_changed().is_err()
    }

    /// Returns the result if it is available.
    pub(in crate::session) fn result(&self) -> Option<RefreshResult> {
        self.receiver.borrow().clone()
    }
}

/// Removes an attempt when it ends, also if it panics.
struct RemoveOnDrop(RefreshFlights, SessionId);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// The maximum number of attempts in progress, each with a task and a record. Further callers get an error
/// and retry later.
const MAX_IN_PROGRESS: usize = 4096;
