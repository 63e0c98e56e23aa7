//! Opens, loads, saves and ends sessions, wherever they are kept.

mod cookie;
mod shared_cookie;
mod store;

use std::sync::Arc;

pub(crate) use self::cookie::MAX_COOKIE_BYTES;
use super::clock_rollback::SessionTime;
use super::error::CreateSessionError;
use super::loaded::{LoadedSession, OpenedSession, PresentedSession};
use super::manager::{SessionBackend, SessionManager};
use crate::flow::FlowError;
use crate::random::RandomError;
use crate::record::{SessionId, SessionRecord, SessionRef};
use crate::store::{Expect, SharedStore, StoreError};

impl SessionManager {
    pub(super) fn store(&self) -> Option<&SharedStore> {
        match &self.backend {
            SessionBackend::Cookie => None,
            SessionBackend::SharedCookie(store) | SessionBackend::Store(store) => Some(store),
        }
    }

    /// Reports whether cookies have a session secret instead of a sealed session.
    pub(crate) fn keeps_sessions_in_store(&self) -> bool {
        matches!(self.backend, SessionBackend::Store(_))
    }

    /// Reports whether the browser has the only durable copy of a session.
    pub(super) fn is_cookie_only(&self) -> bool {
        matches!(self.backend, SessionBackend::Cookie)
    }

    /// Checks the settings that depend on each other, which may be set in any order.
    pub(crate) fn check_settings(&self) -> Result<(), FlowError> {
        match &self.backend {
            SessionBackend::Cookie if self.max_per_user.is_some() => Err(FlowError::settings(
                "sessions_not_counted",
                "with_max_sessions_per_user needs with_session_store or with_shared_store: sessions in cookies alone \
                 cannot be counted",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the ID of a presented session.
    pub(crate) fn id_of(&self, presented: &PresentedSession) -> SessionId {
        match presented {
            PresentedSession::Record(record) => *record.id(),
            PresentedSession::Secret(secret) => secret.id(self.binding()),
        }
    }

    /// Returns the session of a completed login, which is not stored yet. Its ID is new: an ID from before the
    /// login is never continued, which prevents session fixation.
    pub(super) fn new_session(&self, record: SessionRecord) -> Result<LoadedSession, RandomError> {
        // The index and the end marker are stored for as long as this limit allows, so the record must keep
        // it even if the configuration changes.
        let record = record.with_limit(self.absolute);
        match &self.backend {
            SessionBackend::Cookie | SessionBackend::SharedCookie(_) => {
                Ok(LoadedSession::in_cookie(Arc::new(record)))
            }
            SessionBackend::Store(_) => store::new_session(self, record),
        }
    }

    /// Creates a new session where sessions are kept.
    pub(super) async fn create(
        &self,
        new: LoadedSession,
        now: &SessionTime,
    ) -> Result<LoadedSession, CreateSessionError> {
        match &self.backend {
            SessionBackend::Cookie => Ok(new),
            SessionBackend::SharedCookie(store) => {
                shared_cookie::create(self, store, new, now).await
            }
            SessionBackend::Store(store) => store::create(self, store, new, now).await,
        }
    }

    /// Opens the presented sessions if that requires no store access. Returns them otherwise, for
    /// [`open_presented`](Self::open_presented).
    pub(crate) fn open_cached(
        &self,
        presented: Vec<PresentedSession>,
        now: &SessionTime,
    ) -> Result<OpenedSession, Vec<PresentedSession>> {
        match &self.backend {
            SessionBackend::Cookie => {
                let opened = presented.into_iter().map(|one| self.open_local(one, now));
                Ok(opened.fold(OpenedSession::SIGNED_OUT, OpenedSession::or))
            }
            SessionBackend::SharedCookie(_) | SessionBackend::Store(_) => Err(presented),
        }
    }

    /// Opens the presented sessions. If several are presented, exactly one of them must be live.
    pub(crate) async fn open_presented(
        &self,
        presented: Vec<PresentedSession>,
        now: &SessionTime,
    ) -> Result<OpenedSession, StoreError> {
        let mut opened = OpenedSession::SIGNED_OUT;
        for one in presented {
            opened = opened.or(self.open_unless_denied(one, now).await?);
        }
        Ok(opened)
    }

    async fn open_unless_denied(
        &self,
        presented: PresentedSession,
        now: &SessionTime,
    ) -> Result<OpenedSession, StoreError> {
        let is_denied = match &presented {
            PresentedSession::Record(record) => self.is_denied(record),
            PresentedSession::Secret(_) => {
                let id = self.id_of(&presented);
                self.local.pending_ends.contains(&id)
            }
        };
        if is_denied {
            return Ok(OpenedSession::SIGNED_OUT);
        }
        Ok(match self.open(presented, now).await? {
            OpenedSession::Session(loaded) if self.is_denied(loaded.record()) => {
                OpenedSession::SIGNED_OUT
            }
            opened => opened,
        })
    }

    /// Opens a presented session, also if only this process has ended it.
    pub(super) async fn open(
        &self,
        presented: PresentedSession,
        now: &SessionTime,
    ) -> Result<OpenedSession, StoreError> {
        match (&self.backend, presented) {
            (SessionBackend::Cookie, presented) => Ok(self.open_local(presented, now)),
            (SessionBackend::SharedCookie(store), PresentedSession::Record(record)) => {
                shared_cookie::open(self, store, record, now).await
            }
            (SessionBackend::Store(store), PresentedSession::Secret(secret)) => {
                store::open(self, store, &secret, now).await
            }
            // A cookie of another backend.
            _ => Ok(OpenedSession::SIGNED_OUT),
        }
    }

    fn open_local(&self, presented: PresentedSession, now: &SessionTime) -> OpenedSession {
        match presented {
            PresentedSession::Record(record) => cookie::open(self, record, now),
            PresentedSession::Secret(_) => OpenedSession::SIGNED_OUT,
        }
    }

    /// Loads the newest state of a session. Returns `None` if the session has ended. A record that this
    /// process cannot read is an error, since the session may be live.
    pub(super) async fn load(
        &self,
        loaded: &LoadedSession,
        now: &SessionTime,
    ) -> Result<Option<LoadedSession>, StoreError> {
        match self.is_denied(loaded.record()) {
            true => Ok(None),
            false => self.load_newest(loaded, now).await?.live(),
        }
    }

    /// Loads the newest state of a session, also if only this process has ended it.
    pub(super) async fn load_newest(
        &self,
        loaded: &LoadedSession,
        now: &SessionTime,
    ) -> Result<OpenedSession, StoreError> {
        match (&self.backend, loaded.secret()) {
            (SessionBackend::Cookie, _) => Ok(cookie::load(self, loaded.clone(), now)),
            (SessionBackend::SharedCookie(store), _) => {
                shared_cookie::load(self, store, loaded.clone(), now).await
            }
            (SessionBackend::Store(store), Some(secret)) => {
                store::open(self, store, secret, now).await
            }
            (SessionBackend::Store(_), None) => Ok(OpenedSession::SIGNED_OUT),
        }
    }

    /// Returns the newest state that this process has cached, or `None` if this process has ended the
    /// session.
    pub(crate) fn newest_cached(&self, loaded: &LoadedSession) -> Option<LoadedSession> {
        cookie::newest(self, loaded.clone())
    }

    /// Notes that a response carries the cookie of this session.
    pub(crate) fn note_sent(&self, loaded: &LoadedSession) {
        self.local.latest.note_sent(loaded.record());
    }

    /// Writes a newer record of a session. Returns `None`, and changes nothing, if the session was written or
    /// ended after `loaded` was loaded.
    pub(super) async fn save(
        &self,
        loaded: &LoadedSession,
        record: SessionRecord,
        now: &SessionTime,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let newer = loaded.with_record(record);
        match self.is_denied(newer.record()) {
            true => Ok(None),
            false => self.write(loaded, newer, now).await,
        }
    }

    /// Like [`save`](Self::save), also if this process has ended the session.
    async fn write(
        &self,
        before: &LoadedSession,
        newer: LoadedSession,
        now: &SessionTime,
    ) -> Result<Option<LoadedSession>, StoreError> {
        match &self.backend {
            SessionBackend::Cookie => Ok(cookie::save(self, before.record(), newer, now)),
            SessionBackend::SharedCookie(store) => {
                shared_cookie::save(self, store, newer, now).await
            }
            SessionBackend::Store(store) => store::save(self, store, newer, now).await,
        }
    }

    /// Updates the time of the last use, if the stored one is old enough to justify a write.
    pub(crate) async fn touch(&self, loaded: LoadedSession, now: &SessionTime) -> LoadedSession {
        match &self.backend {
            SessionBackend::Cookie | SessionBackend::SharedCookie(_) => {
                cookie::touch(self, loaded, now)
            }
            SessionBackend::Store(_) => store::touch(self, loaded, now).await,
        }
    }

    /// Like [`touch`](Self::touch), for a session that was opened without store access.
    pub(crate) fn touch_cached(&self, loaded: LoadedSession, now: &SessionTime) -> LoadedSession {
        cookie::touch(self, loaded, now)
    }

    /// Ends a session whose record cannot be read.
    pub(crate) async fn end_unread(&self, session: &SessionRef) -> Result<(), StoreError> {
        match &self.backend {
            SessionBackend::Cookie => {
                cookie::end(self, session);
                Ok(())
            }
            SessionBackend::SharedCookie(_) | SessionBackend::Store(_) => {
                self.end_by_id(&session.id).await
            }
        }
    }

    /// Ends a session by its ID alone.
    pub(super) async fn end_by_id(&self, id: &SessionId) -> Result<(), StoreError> {
        match &self.backend {
            SessionBackend::Cookie => cookie::end_by_id(self, id),
            SessionBackend::SharedCookie(store) => {
                shared_cookie::end(self, store, id, Expect::Anything).await?;
            }
            SessionBackend::Store(store) => {
                store::end(store, id, Expect::Anything).await?;
            }
        }
        Ok(())
    }

    /// Like [`end_by_id`](Self::end_by_id), for a session that may belong to another layer of this client, which
    /// keeps its sessions in the same store. The reverse case is covered, since sessions in cookies check the
    /// watermark on every request.
    pub(super) async fn end_at_all_layers(&self, id: &SessionId) -> Result<(), StoreError> {
        self.end_by_id(id).await?;
        if let SessionBackend::SharedCookie(store) = &self.backend {
            store::end(store, id, Expect::Anything).await?;
        }
        Ok(())
    }

    /// Ends a session unless the store has a newer state of it. Returns its newest record if it has ended.
    pub(super) async fn end_if_current(
        &self,
        loaded: &LoadedSession,
    ) -> Result<Option<Arc<SessionRecord>>, StoreError> {
        let (record, expect) = (loaded.record(), loaded.expected());
        let has_ended = match &self.backend {
            SessionBackend::Cookie => return Ok(Some(cookie::end_newest(self, loaded))),
            SessionBackend::SharedCookie(store) => {
                shared_cookie::end(self, store, record.id(), expect).await?
            }
            SessionBackend::Store(store) => store::end(store, record.id(), expect).await?,
        };
        Ok(has_ended.then(|| Arc::clone(record)))
    }

    pub(super) async fn is_live(&self, id: &SessionId) -> Result<bool, StoreError> {
        match &self.backend {
            SessionBackend::Cookie => Ok(!self.local.denylist.contains_id(id)),
            SessionBackend::SharedCookie(store) => shared_cookie::is_live(store, id).await,
            SessionBackend::Store(store) => store::is_live(store, id).await,
        }
    }

    /// Reports whether a new record of the session can be kept until its browser has it.
    pub(super) fn has_room_for(&self, record: &SessionRecord) -> bool {
        match &self.backend {
            SessionBackend::Cookie => cookie::has_room_for(self, record),
            SessionBackend::SharedCookie(_) | SessionBackend::Store(_) => true,
        }
    }

    /// Returns the maximum size of the app data in this record, which contains app data of `bytes`.
    pub(super) fn max_app_data(&self, record: &SessionRecord, bytes: usize) -> usize {
        match &self.backend {
            SessionBackend::Cookie | SessionBackend::SharedCookie(_) => {
                cookie::max_app_data(record, bytes)
            }
            SessionBackend::Store(_) => store::MAX_APP_DATA,
        }
    }
}
