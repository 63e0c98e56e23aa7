//! Where sessions are, and the three things that are done to one there: load, save, end.

use super::events;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::flow::{SessionId, SessionRecord, SessionRef};
use crate::store::{SharedStore, StoreError};

#[derive(Clone, Debug)]
pub(super) enum SessionBackend {
    /// In the browser alone. This process remembers what was ended and what was renewed.
    Cookie,
    /// In the browser; what was ended and what was renewed is in a store.
    SharedCookie(SharedStore),
    /// In a store.
    Store(SharedStore),
}

/// What a store holds of a session.
#[derive(Debug)]
pub(super) enum LoadResult {
    Session(LoadedSession),
    /// It has ended, or never was.
    Ended,
    /// This process cannot read what is there. Another may: nothing is removed, replaced or told to the browser.
    Unreadable,
}

/// What came of writing a session.
#[derive(Clone, Debug)]
pub(crate) enum SaveResult {
    Stored(LoadedSession),
    /// Somebody else has written or ended it since it was loaded. Nothing was changed.
    Conflict,
}

impl SessionManager {
    /// The newest state of a session anywhere; `None` where it has ended. What cannot be read here is an error:
    /// whether the session has ended is not known.
    pub(super) async fn load(
        &self,
        loaded: &LoadedSession,
    ) -> Result<Option<LoadedSession>, StoreError> {
        if self.is_denied(loaded.record()) {
            return Ok(None);
        }
        self.load_ignoring_denylist(loaded).await
    }

    /// The same, whatever this process refuses.
    pub(super) async fn load_ignoring_denylist(
        &self,
        loaded: &LoadedSession,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let found = match &self.backend {
            SessionBackend::Cookie => {
                return Ok(self.unless_ended(self.newest_local(loaded.clone())));
            }
            SessionBackend::SharedCookie(store) => {
                self.newest_shared(store, loaded.clone()).await?
            }
            SessionBackend::Store(store) => match loaded.secret() {
                Some(secret) => self.load_stored(store, secret).await?,
                None => LoadResult::Ended,
            },
        };
        match found {
            LoadResult::Session(loaded) => Ok(self.unless_ended(Some(loaded))),
            LoadResult::Ended => Ok(None),
            LoadResult::Unreadable => Err(StoreError::unavailable(
                "the record of the session was written with a key or in a format that this process does not know",
            )),
        }
    }

    fn unless_ended(&self, loaded: Option<LoadedSession>) -> Option<LoadedSession> {
        loaded.filter(|loaded| !self.has_ended(loaded.record()))
    }

    /// Writes a newer record of a session, if nobody has written it since `held` was loaded (`L47`).
    pub(super) async fn save(
        &self,
        loaded: &LoadedSession,
        record: SessionRecord,
    ) -> Result<SaveResult, StoreError> {
        let newer = loaded.with_record(record);
        if self.is_denied(newer.record()) {
            return Ok(SaveResult::Conflict);
        }
        match &self.backend {
            SessionBackend::Cookie => Ok(self.save_local(loaded, newer)),
            SessionBackend::SharedCookie(store) => self.save_shared(store, newer).await,
            SessionBackend::Store(store) => self.save_stored(store, newer).await,
        }
    }

    /// Ends a session everywhere: no copy of its cookie is accepted from now on.
    pub(crate) async fn end(&self, record: &SessionRecord) -> Result<(), StoreError> {
        self.end_unread(&SessionRef::from(record)).await?;
        if let Some(store) = self.store() {
            self.index_remove(store, record).await;
        }
        Ok(())
    }

    /// Ends a session that cannot be read.
    pub(crate) async fn end_unread(&self, session: &SessionRef) -> Result<(), StoreError> {
        if matches!(self.backend, SessionBackend::Cookie) {
            self.deny(session);
            self.local.latest.take(&session.id);
            return Ok(());
        }
        self.end_by_id(&session.id).await
    }

    /// Ends a session of which only the ID is known.
    pub(super) async fn end_by_id(&self, id: &SessionId) -> Result<(), StoreError> {
        match &self.backend {
            SessionBackend::Cookie => {
                let clock = self.flow.clock().as_ref();
                let denylist = &self.local.denylist;
                let raised = denylist.insert_id(id, clock, self.max_lifetime());
                raised.into_iter().for_each(events::watermark_raised);
                self.local.latest.take(id);
                Ok(())
            }
            SessionBackend::SharedCookie(store) => self.end_shared(store, id).await,
            SessionBackend::Store(store) => self.end_stored(store, id).await,
        }
    }

    pub(super) fn store(&self) -> Option<&SharedStore> {
        match &self.backend {
            SessionBackend::Cookie => None,
            SessionBackend::SharedCookie(store) | SessionBackend::Store(store) => Some(store),
        }
    }

    /// Whether it is known in this process, without asking, that the session has ended.
    pub(crate) fn is_denied(&self, record: &SessionRecord) -> bool {
        self.local.denylist.contains(record) || self.local.pending_ends.contains(record.id())
    }

    /// The newest state that this process knows of, or `None` where it knows that the session has ended.
    pub(crate) fn newest_cached(&self, loaded: &LoadedSession) -> Option<LoadedSession> {
        self.newest_local(loaded.clone())
    }

    /// Whether this process can keep what a session in a cookie becomes.
    pub(super) fn has_room_for(&self, record: &SessionRecord) -> bool {
        let now = self.flow.clock().monotonic();
        self.local.latest.has_room(record.id(), now)
    }

    fn newest_local(&self, loaded: LoadedSession) -> Option<LoadedSession> {
        if self.is_denied(loaded.record()) {
            return None;
        }
        Some(match self.local.latest.of(loaded.record()) {
            Some(record) => loaded.with_record(record),
            None => loaded,
        })
    }

    fn save_local(&self, loaded: &LoadedSession, newer: LoadedSession) -> SaveResult {
        let (record, now) = (newer.record(), self.flow.clock().monotonic());
        let latest = &self.local.latest;
        if !latest.replace(loaded.record(), record, now, self.time_left(record)) {
            return SaveResult::Conflict;
        }
        // Ended between the two looks: whoever ended it has not seen these tokens, and revokes others (`L47`).
        if self.is_denied(record) {
            latest.take(record.id());
            return SaveResult::Conflict;
        }
        SaveResult::Stored(newer)
    }

    /// Refuses a session in this process.
    pub(super) fn deny(&self, session: &SessionRef) {
        let clock = self.flow.clock().as_ref();
        let denylist = &self.local.denylist;
        let raised = denylist.insert(session, clock, self.max_lifetime());
        raised.into_iter().for_each(events::watermark_raised);
    }
}
