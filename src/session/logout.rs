//! Ends a session at the request of its own browser.

use std::sync::Arc;

use super::backend::{LoadResult, SessionBackend};
use super::events;
use super::hooks::EndReason;
use super::loaded::{LoadedSession, Revision};
use super::manager::SessionManager;
use super::open::{OpenedSession, PresentedSession};
use super::{shared, stored};
use crate::record::{SessionId, SessionRecord, SessionRef};
use crate::store::{Expect, Put, Removed, StoreError};

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

/// The session that a cookie opens.
enum SignOutTarget {
    Live(LoadedSession),
    /// The session is not live. A response with a newer cookie of it may still be in transit.
    AlreadyEnded(SessionRef),
    /// The record is missing or cannot be read here. Another process may have its key.
    Unreadable(SessionId),
    /// The newer record of a cookie cannot be read here, so only the tokens in the cookie can be revoked.
    Outdated(Arc<SessionRecord>),
    /// The cookie belongs to another backend.
    OtherBackend,
}

impl SessionManager {
    /// Ends the presented session. If the store fails, the session ends in this process and the store is
    /// retried in the background.
    pub(crate) async fn sign_out(&self, presented: PresentedSession, reason: EndReason) -> SignOut {
        let (error, loaded) = match self.find_session(presented.clone()).await {
            Err(error) => (error, None),
            Ok(found) => match self.end_target(&found).await {
                Ok(outcome) => {
                    if let SignOut::Ended(record) = &outcome {
                        self.notify_ended(record, reason);
                    }
                    return outcome;
                }
                Err(error) => match found {
                    SignOutTarget::Live(loaded) => (error, Some(loaded)),
                    _ => (error, None),
                },
            },
        };
        let (id, record) = match &presented {
            PresentedSession::Record(record) => {
                (*record.id(), Some(Arc::new(SessionRecord::clone(record))))
            }
            PresentedSession::Secret(secret) => (self.name_of(secret), None),
        };
        let record = loaded.map(|loaded| Arc::clone(loaded.record())).or(record);
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

    /// Ends the presented session in the store. Does nothing if the store fails, and does not call the hook.
    pub(super) async fn sign_out_in_store(
        &self,
        presented: PresentedSession,
    ) -> Result<SignOut, StoreError> {
        let found = self.find_session(presented).await?;
        self.end_target(&found).await
    }

    async fn find_session(&self, presented: PresentedSession) -> Result<SignOutTarget, StoreError> {
        let (found, not_live) = match (&self.backend, presented) {
            (SessionBackend::Cookie, PresentedSession::Record(record)) => {
                let session = SessionRef::from(&*record);
                return Ok(match self.open_local(*record) {
                    OpenedSession::Session(loaded) => SignOutTarget::Live(loaded),
                    OpenedSession::Ended(_) | OpenedSession::Unreadable => {
                        SignOutTarget::AlreadyEnded(session)
                    }
                });
            }
            (SessionBackend::SharedCookie(store), PresentedSession::Record(record)) => {
                let session = SessionRef::from(&*record);
                let loaded = LoadedSession::new(*record, Revision::Cookie(None));
                let older = Arc::clone(loaded.record());
                let newest = self.newest_shared(store, loaded).await?;
                if matches!(newest, LoadResult::Unreadable) && !self.has_ended(&older) {
                    return Ok(SignOutTarget::Outdated(older));
                }
                (newest, SignOutTarget::AlreadyEnded(session))
            }
            (SessionBackend::Store(store), PresentedSession::Secret(secret)) => {
                let stored = self.load_stored(store, &secret).await?;
                (stored, SignOutTarget::Unreadable(self.name_of(&secret)))
            }
            _ => return Ok(SignOutTarget::OtherBackend),
        };
        Ok(match found {
            LoadResult::Session(loaded) if !self.has_ended(loaded.record()) => {
                SignOutTarget::Live(loaded)
            }
            // A record that only another process can read ends as well, since its own browser signs out.
            LoadResult::Session(_) | LoadResult::Ended | LoadResult::Unreadable => not_live,
        })
    }

    async fn end_target(&self, found: &SignOutTarget) -> Result<SignOut, StoreError> {
        match found {
            SignOutTarget::Live(loaded) => {
                return Ok(SignOut::Ended(self.end_newest(loaded).await?));
            }
            SignOutTarget::AlreadyEnded(session) => self.end_unread(session).await?,
            SignOutTarget::Unreadable(id) => self.end_by_id(id).await?,
            SignOutTarget::Outdated(record) => {
                self.end(record).await?;
                return Ok(SignOut::Ended(Arc::clone(record)));
            }
            SignOutTarget::OtherBackend => {}
        }
        Ok(SignOut::AlreadyEnded)
    }

    /// Ends a session and returns its newest record, whose tokens must be revoked. A concurrent refresh then
    /// finds the session ended.
    async fn end_newest(&self, loaded: &LoadedSession) -> Result<Arc<SessionRecord>, StoreError> {
        if matches!(self.backend, SessionBackend::Cookie) {
            return Ok(self.end_local(loaded));
        }
        let mut loaded = loaded.clone();
        for _ in 0..MAX_ATTEMPTS {
            if self.end_if_current(&loaded).await? {
                return Ok(Arc::clone(loaded.record()));
            }
            match self.load_ignoring_denylist(&loaded).await? {
                Some(newest) => loaded = newest,
                None => return Ok(Arc::clone(loaded.record())),
            }
        }
        self.end(loaded.record()).await?;
        Ok(Arc::clone(loaded.record()))
    }

    fn end_local(&self, loaded: &LoadedSession) -> Arc<SessionRecord> {
        let record = loaded.record();
        // Denied first, so that no newer record is kept afterwards.
        self.deny(&SessionRef::from(&**record));
        match self.local.latest.take(record.id()) {
            Some(newer) if newer.generation() > record.generation() => newer,
            _ => Arc::clone(record),
        }
    }

    /// Ends a session unless the store has a newer record of it.
    async fn end_if_current(&self, loaded: &LoadedSession) -> Result<bool, StoreError> {
        let record = loaded.record();
        match (&self.backend, loaded.revision()) {
            (SessionBackend::SharedCookie(store), Revision::Cookie(version)) => {
                let expect = version.map_or(Expect::Absent, Expect::Version);
                let (key, value) = (shared::key(record.id()), shared::end_marker());
                if store.put(&key, value, self.max_lifetime(), expect).await? == Put::Conflict {
                    return Ok(false);
                }
                self.index_remove(store, record).await;
            }
            (SessionBackend::Store(store), Revision::Stored { version, .. }) => {
                let key = stored::key(record.id());
                if store.remove(&key, Expect::Version(*version)).await? == Removed::Conflict {
                    return Ok(false);
                }
                self.index_remove(store, record).await;
            }
            // The revision of another backend.
            _ => {}
        }
        Ok(true)
    }
}

/// Sessions do not change more often than this during one sign-out.
const MAX_ATTEMPTS: usize = 8;
