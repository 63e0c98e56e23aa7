//! Ends one session, at the request of its own browser. While the store fails, this process rejects the session and
//! writes its end later.

use std::sync::Arc;
use std::time::Duration;

use super::clock_rollback::SessionTime;
use super::events;
use super::hooks::EndReason;
use super::loaded::{LoadedSession, OpenedSession, PresentedSession};
use super::manager::SessionManager;
use super::pending_ends::{EndAdded, PendingEnd};
use crate::record::{SessionId, SessionRecord, SessionRef};
use crate::store::StoreError;

/// The result of a sign-out.
#[derive(Clone, Debug)]
pub(crate) enum SignOut {
    /// The session has ended. This is its newest record, whose tokens must be revoked.
    Ended(Arc<SessionRecord>),
    /// The session had ended before.
    AlreadyEnded,
    /// The store failed, so the session has ended in this process only. The record is missing if only the
    /// store has it.
    EndedLocally(Option<Arc<SessionRecord>>),
    /// The store failed, and too many ends are pending.
    Failed(StoreError),
}

/// The store failed to end a session. The record is the newest that is known.
type EndFailure = (StoreError, Option<Arc<SessionRecord>>);

impl SessionManager {
    /// Ends the presented session. If the store fails, the session ends in this process and the store is
    /// retried in the background.
    pub(crate) async fn sign_out(&self, presented: PresentedSession, reason: EndReason) -> SignOut {
        let (error, record) = match self.end_presented(presented.clone()).await {
            Ok(None) => return SignOut::AlreadyEnded,
            Ok(Some(record)) => {
                self.notify_ended(&record, reason);
                return SignOut::Ended(record);
            }
            Err(failure) => failure,
        };
        let id = self.id_of(&presented);
        let record = record.or_else(|| match &presented {
            PresentedSession::Record(record) => Some(Arc::clone(record)),
            PresentedSession::Secret(_) => None,
        });
        let revoked_generation = record.as_ref().map(|record| record.generation());
        let retried = self.end_later(id, presented, revoked_generation, reason);
        if self.warning_is_due("session_end_pending", "") {
            events::end_pending(&error, retried);
        }
        let Some(record) = record else {
            return match retried {
                true => SignOut::EndedLocally(None),
                false => SignOut::Failed(error),
            };
        };
        if !retried {
            self.deny(&SessionRef::from(&*record));
        }
        self.notify_ended(&record, reason);
        SignOut::EndedLocally(Some(record))
    }

    /// Ends a presented session, also if only this process has ended it before. Returns its newest record, whose
    /// tokens must be revoked, or `None` if the session was not live. Does not call the hook.
    async fn end_presented(
        &self,
        presented: PresentedSession,
    ) -> Result<Option<Arc<SessionRecord>>, EndFailure> {
        let now = self.time();
        let opened = self.open(presented.clone(), &now).await;
        let ended = match (opened.map_err(|error| (error, None))?, presented) {
            (OpenedSession::Session(loaded), _) => {
                let known = Arc::clone(loaded.record());
                let ended = self.end_newest(loaded, &now).await;
                return ended.map(Some).map_err(|error| (error, Some(known)));
            }
            // The newer record of a cookie cannot be read here, so only the tokens in the cookie can be revoked.
            (OpenedSession::Unreadable, PresentedSession::Record(record))
                if !self.has_ended(&record, &now) =>
            {
                self.end(&record).await.map(|()| Some(record))
            }
            // Not live: a response with a newer cookie of it may still be in transit.
            (_, PresentedSession::Record(record)) => {
                let session = SessionRef::from(&*record);
                self.end_unread(&session).await.map(|()| None)
            }
            // Also a record that only another process can read, since its own browser signs out.
            (_, secret @ PresentedSession::Secret(_)) => {
                self.end_by_id(&self.id_of(&secret)).await.map(|()| None)
            }
        };
        ended.map_err(|error| (error, None))
    }

    /// Ends a session and returns its newest record, whose tokens must be revoked. A concurrent refresh then
    /// finds the session ended.
    async fn end_newest(
        &self,
        mut loaded: LoadedSession,
        now: &SessionTime,
    ) -> Result<Arc<SessionRecord>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(record) = self.end_if_current(&loaded).await? {
                if let Some(store) = self.store() {
                    self.index_remove(store, &record, now).await;
                }
                return Ok(record);
            }
            match self.load_newest(&loaded, now).await?.live()? {
                Some(newest) => loaded = newest,
                None => return Ok(Arc::clone(loaded.record())),
            }
        }
        self.end(loaded.record()).await?;
        Ok(Arc::clone(loaded.record()))
    }

    /// Ends a session everywhere: no process accepts a copy of its cookie after that.
    pub(crate) async fn end(&self, record: &SessionRecord) -> Result<(), StoreError> {
        self.end_unread(&SessionRef::from(record)).await?;
        if let Some(store) = self.store() {
            self.index_remove(store, record, &self.time()).await;
        }
        Ok(())
    }

    /// Rejects a session in this process and retries to write its end to the store. Returns `false` if too
    /// many ends are pending.
    fn end_later(
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
        let now = self.clock().monotonic();
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
            self.clock().sleep(delay).await;
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
        for (id, end) in pending.due(self.clock().monotonic()) {
            match self.end_presented(end.presented).await {
                Ok(Some(record)) => {
                    if end.revoked_generation.is_none() {
                        self.notify_ended(&record, end.reason);
                    }
                    let revoked = end.revoked_generation;
                    if revoked.is_none_or(|revoked| revoked < record.generation()) {
                        self.revoke(&record).await;
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

/// Sessions do not change more often than this during one sign-out.
const MAX_ATTEMPTS: usize = 8;

/// Each failure may take up to 2 seconds.
const MAX_FAILURES_PER_ROUND: usize = 4;

const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(60);
