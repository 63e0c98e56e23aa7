//! Writes the ends of sessions to the store that failed before. This process rejects these sessions meanwhile.

use std::time::Duration;

use super::events;
use super::hooks::EndReason;
use super::loaded::PresentedSession;
use super::local_state::{EndAdded, PendingEnd};
use super::manager::SessionManager;
use crate::record::SessionId;
use crate::store::StoreError;

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
        let pending = &self.local.pending_ends;
        let user = match &presented {
            PresentedSession::Record(record) => Some(record.user()),
            PresentedSession::Secret(_) => pending.user_of(&id),
        };
        let now = self.flow.clock().monotonic();
        let end = PendingEnd {
            presented,
            revoked_generation,
            reason,
            user,
            failures: 0,
        };
        let added = pending.add(id, end, now.saturating_add(self.max_lifetime()));
        if added == EndAdded::First {
            let manager = self.clone();
            tokio::spawn(async move { manager.write_pending_ends().await });
        }
        added != EndAdded::TooMany
    }

    /// Retries after 1, 2, 4 … 60 seconds. While the store fails, each attempt writes a few ends, and
    /// different ones each time, since the store may fail for the entries of a single session only.
    async fn write_pending_ends(&self) {
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            self.flow.clock().sleep(delay).await;
            let written = self.write_pending_ends_once().await;
            if self.local.pending_ends.is_done() {
                return;
            }
            delay = match written {
                Ok(()) => FIRST_RETRY_DELAY,
                Err(_) => (delay * 2).min(LONGEST_RETRY_DELAY),
            };
        }
    }

    async fn write_pending_ends_once(&self) -> Result<(), StoreError> {
        let pending = &self.local.pending_ends;
        let (mut written, mut failed, mut outcome) = (0, 0, Ok(()));
        for (id, end) in pending.due(self.flow.clock().monotonic()) {
            match self.end_presented(end.presented).await {
                Ok(Some(record)) => {
                    if end.revoked_generation.is_none() {
                        self.notify_ended(&record, end.reason);
                    }
                    let revoked = end.revoked_generation;
                    if revoked.is_none_or(|revoked| revoked < record.generation()) {
                        self.flow.revoke(&record).await;
                    }
                }
                Ok(None) => {}
                Err((error, _)) => {
                    outcome = Err(error);
                    pending.note_failure(&id);
                    failed += 1;
                    if failed == MAX_FAILURES_PER_ROUND {
                        break;
                    }
                    continue;
                }
            }
            written += 1;
            pending.remove(&id);
        }
        if written > 0 {
            events::pending_ends_written(written);
        }
        outcome
    }
}

/// Each failure may take up to 2 seconds.
const MAX_FAILURES_PER_ROUND: usize = 4;

const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(60);
