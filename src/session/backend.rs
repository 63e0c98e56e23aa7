//! Where sessions are kept, and the operations on one of them: load, save and end.

use super::denylist::WatermarkScope;
use super::events;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::clock::BothClocks;
use crate::record::{SessionId, SessionRecord, SessionRef};
use crate::store::{SharedStore, StoreError};

#[derive(Clone, Debug)]
pub(super) enum SessionBackend {
    /// In cookies alone. This process keeps the ended sessions and the latest records.
    Cookie,
    /// In cookies. Ended sessions and the latest records are in a store.
    SharedCookie(SharedStore),
    /// In a store. The cookie has a [`SessionSecret`](super::secret::SessionSecret).
    Store(SharedStore),
}

/// The result of reading a session from the store.
#[derive(Debug)]
pub(super) enum LoadResult {
    Session(LoadedSession),
    /// The session has ended or never existed.
    Ended,
    /// This process cannot read the record. Another process may be able to, so this one neither removes nor
    /// replaces the record, and does not clear the cookie.
    Unreadable,
}

/// The result of writing a session.
#[derive(Clone, Debug)]
pub(crate) enum SaveResult {
    Stored(LoadedSession),
    /// The session was written or ended after it was loaded. Nothing was changed.
    Conflict,
}

impl SessionManager {
    /// Loads the newest state of a session. Returns `None` if the session has ended. A record that this
    /// process cannot read is an error, since the session may be live.
    pub(super) async fn load(
        &self,
        loaded: &LoadedSession,
    ) -> Result<Option<LoadedSession>, StoreError> {
        if self.is_denied(loaded.record()) {
            return Ok(None);
        }
        self.load_ignoring_denylist(loaded).await
    }

    /// Like [`load`](Self::load), but ignores the denylist and the pending ends of this process.
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
                "this process cannot read the session record: its key or format is unknown",
            )),
        }
    }

    fn unless_ended(&self, loaded: Option<LoadedSession>) -> Option<LoadedSession> {
        let mut loaded = loaded?;
        if let Some(last_use) = self.local.last_uses.later_than(loaded.record()) {
            let record = SessionRecord::clone(loaded.record()).touched(last_use);
            loaded = loaded.with_record(record);
        }
        (!self.has_ended(loaded.record())).then_some(loaded)
    }

    /// Writes a newer record of a session, unless the session was written or ended after `loaded` was loaded.
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

    /// Ends a session everywhere: no process accepts a copy of its cookie after that.
    pub(crate) async fn end(&self, record: &SessionRecord) -> Result<(), StoreError> {
        self.end_unread(&SessionRef::from(record)).await?;
        if let Some(store) = self.store() {
            self.index_remove(store, record).await;
        }
        Ok(())
    }

    /// Ends a session whose record cannot be read.
    pub(crate) async fn end_unread(&self, session: &SessionRef) -> Result<(), StoreError> {
        if matches!(self.backend, SessionBackend::Cookie) {
            self.deny(session);
            self.local.latest.take(&session.id);
            return Ok(());
        }
        self.end_by_id(&session.id).await
    }

    /// Ends a session by its ID alone.
    pub(super) async fn end_by_id(&self, id: &SessionId) -> Result<(), StoreError> {
        match &self.backend {
            SessionBackend::Cookie => {
                let now = BothClocks::now(&**self.flow.clock());
                let denylist = &self.local.denylist;
                self.warn_about_watermark(denylist.insert_id(id, now, self.max_lifetime()));
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

    /// Reports whether this process has ended the session. The store is not asked.
    pub(crate) fn is_denied(&self, record: &SessionRecord) -> bool {
        self.local.denylist.contains(record) || self.local.pending_ends.contains(record.id())
    }

    /// Returns the newest state that this process has cached, or `None` if this process has ended the
    /// session.
    pub(crate) fn newest_cached(&self, loaded: &LoadedSession) -> Option<LoadedSession> {
        self.newest_local(loaded.clone())
    }

    /// Reports whether this process has room for the refreshed record of a session in a cookie.
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
        // The session may have been ended between the two checks. That request has not seen these tokens and
        // revokes older ones.
        if self.is_denied(record) {
            latest.take(record.id());
            return SaveResult::Conflict;
        }
        SaveResult::Stored(newer)
    }

    /// Rejects the session in this process from now on.
    pub(super) fn deny(&self, session: &SessionRef) {
        let now = BothClocks::now(&**self.flow.clock());
        let denylist = &self.local.denylist;
        self.warn_about_watermark(denylist.insert(session, now, self.max_lifetime()));
    }

    fn warn_about_watermark(&self, raised: Option<WatermarkScope>) {
        if let Some(raised) = raised
            && self.warning_is_due("denylist_watermark_raised", "")
        {
            events::watermark_raised(raised);
        }
    }
}
