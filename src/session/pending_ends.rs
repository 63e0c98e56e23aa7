//! Ends of sessions that the store did not accept: this process refuses the sessions, and tries again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::events;
use super::hooks::EndReason;
use super::logout::SignOut;
use super::manager::SessionManager;
use super::open::PresentedSession;
use crate::flow::SessionId;
use crate::store::StoreError;

/// Sessions whose end is yet to be written to the store.
#[derive(Debug, Default)]
pub(super) struct PendingEnds(Mutex<PendingEndsInner>);

#[derive(Debug, Default)]
struct PendingEndsInner {
    ends: HashMap<SessionId, PendingEnd>,
    /// Whether a task writes them.
    is_running: bool,
}

#[derive(Clone, Debug)]
struct PendingEnd {
    presented: PresentedSession,
    /// The generation of the tokens that are revoked already, if any are. The application was told then.
    revoked_generation: Option<u64>,
    reason: EndReason,
    /// The monotonic time from which no copy of the cookie can be accepted any more.
    until: Duration,
}

impl PendingEnds {
    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.lock().ends.contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, PendingEndsInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionManager {
    /// Refuses a session in this process, and writes its end to the store as soon as that is possible. Returns
    /// `false` if too many ends are pending.
    pub(super) fn end_later(
        &self,
        id: SessionId,
        presented: PresentedSession,
        revoked_generation: Option<u64>,
        reason: EndReason,
    ) -> bool {
        let until = self.flow.clock().monotonic();
        let until = until.saturating_add(self.max_lifetime());
        let mut inner = self.local.pending_ends.lock();
        if inner.ends.len() >= MAX && !inner.ends.contains_key(&id) {
            return false;
        }
        let end = PendingEnd {
            presented,
            revoked_generation,
            reason,
            until,
        };
        inner.ends.entry(id).or_insert(end);
        if !std::mem::replace(&mut inner.is_running, true) {
            let manager = self.clone();
            tokio::spawn(async move { manager.write_pending_ends().await });
        }
        true
    }

    /// Tries after 1, 2, 4 … 60 seconds. While the store fails, one end is tried at a time.
    async fn write_pending_ends(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.flow.clock().sleep(pause).await;
            let written = self.write_pending_ends_once().await;
            pause = match written {
                Ok(()) => FIRST_PAUSE,
                Err(_) => (pause * 2).min(LONGEST_PAUSE),
            };
            let mut inner = self.local.pending_ends.lock();
            if inner.ends.is_empty() {
                inner.is_running = false;
                return;
            }
        }
    }

    async fn write_pending_ends_once(&self) -> Result<(), StoreError> {
        let pending = self.local.pending_ends.lock().ends.clone();
        let (mut written, mut outcome) = (0, Ok(()));
        for (id, end) in pending {
            let over = self.flow.clock().monotonic() >= end.until;
            if !over {
                match self.sign_out_in_store(end.presented).await {
                    Ok(SignOut::Ended(record)) => {
                        if end.revoked_generation.is_none() {
                            self.notify_ended(&record, end.reason);
                        }
                        if end
                            .revoked_generation
                            .is_none_or(|revoked| revoked < record.generation())
                        {
                            self.flow.revoke(&record).await;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
                written += 1;
            }
            self.local.pending_ends.lock().ends.remove(&id);
        }
        if written > 0 {
            events::pending_ends_written(written);
        }
        outcome
    }
}

/// Each holds a session record at most: some 4 MB in all.
const MAX: usize = 1024;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
