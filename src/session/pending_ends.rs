//! Pending ends of sessions: the store failed, so this process rejects the sessions and retries.

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

/// Sessions whose end is not in the store yet.
#[derive(Debug, Default)]
pub(super) struct PendingEnds(Mutex<PendingEndsInner>);

#[derive(Debug, Default)]
struct PendingEndsInner {
    ends: HashMap<SessionId, PendingEnd>,
    /// Whether a task writes the pending ends.
    is_running: bool,
}

#[derive(Clone, Debug)]
struct PendingEnd {
    presented: PresentedSession,
    /// The generation of the tokens that were revoked, if any. The hook was called at the same time.
    revoked_generation: Option<u64>,
    reason: EndReason,
    /// The monotonic time after which every copy of the cookie has expired.
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
    /// Rejects a session in this process and retries to write its end to the store. Returns `false` if too
    /// many ends are pending.
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

    /// Retries after 1, 2, 4 … 60 seconds. While the store fails, each attempt writes one end.
    async fn write_pending_ends(&self) {
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            self.flow.clock().sleep(delay).await;
            let written = self.write_pending_ends_once().await;
            delay = match written {
                Ok(()) => FIRST_RETRY_DELAY,
                Err(_) => (delay * 2).min(LONGEST_RETRY_DELAY),
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
            let expired = self.flow.clock().monotonic() >= end.until;
            if !expired {
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

/// The maximum number of pending ends. Each has at most one record: some 4 MB in total.
const MAX: usize = 1024;

const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(60);
