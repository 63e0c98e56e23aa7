//! One refresh a session at a time in this process, shared by all who wait for it (`L51`).

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::RefreshError;
use crate::flow::SessionId;
use crate::session::LoadedSession;

pub(super) type Outcome = Result<LoadedSession, RefreshError>;

type Receiver = watch::Receiver<Option<Outcome>>;

/// The attempts under way, each in a task of its own: it goes on when those who wait leave (`L55`).
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Flights(Arc<Mutex<HashMap<SessionId, Receiver>>>);

/// A place among those who wait.
#[derive(Clone, Debug)]
pub(in crate::session) struct Seat {
    receiver: Receiver,
    /// Whether the attempt began with this seat.
    pub(super) first: bool,
}

impl Flights {
    /// A seat in the attempt under way for this session, or in a new one; `None` where too many are.
    pub(super) fn join<F>(&self, id: SessionId, start: impl FnOnce() -> F) -> Option<Seat>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(receiver) = flights.get(&id) {
            let receiver = receiver.clone();
            return Some(Seat {
                receiver,
                first: false,
            });
        }
        if flights.len() >= MAX {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(id, receiver.clone());
        let landing = Landing(self.clone(), id);
        let attempt = start();
        tokio::spawn(async move {
            let outcome = attempt.await;
            // Whoever comes from now on looks for itself, and finds what was kept.
            drop(landing);
            sender.send_replace(Some(outcome));
        });
        Some(Seat {
            receiver,
            first: true,
        })
    }

    /// Waits until no attempt is under way.
    pub(in crate::session) async fn wait_for_refreshes(&self) {
        loop {
            let Some(mut attempt) = self.lock().values().next().cloned() else {
                return;
            };
            // Closed with the end of its task, which has left the list by then.
            while attempt.changed().await.is_ok() {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Receiver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The outcome; `None` where the attempt was torn down with its runtime, or panicked.
    pub(in crate::session) async fn outcome(mut self) -> Option<Outcome> {
        let outcome = self.receiver.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }

    /// Whether the attempt is over, however it ended.
    pub(in crate::session) fn is_over(&self) -> bool {
        self.receiver.has_changed().is_err()
    }

    /// The outcome, where it is there.
    pub(in crate::session) fn at_hand(&self) -> Option<Outcome> {
        self.receiver.borrow().clone()
    }
}

/// Takes an attempt out of the list, however it ends.
struct Landing(Flights, SessionId);

impl Drop for Landing {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// Each is a task that holds a record. Beyond that somebody waits for the next time.
const MAX: usize = 4096;
