//! Creates sessions.

use super::backend::SessionBackend;
use super::loaded::{LoadedSession, Revision};
use super::manager::SessionManager;
use super::secret::SessionSecret;
use super::shared::both;
use super::sign_in::CreateSessionError;
use crate::random::RandomError;
use crate::record::SessionRecord;
use crate::store::{Expect, Put, SharedStore, StoreError};

impl SessionManager {
    /// Returns the session of a completed login, which is not stored yet. Its ID is new: an ID from before the
    /// login is never continued, which prevents session fixation.
    pub(super) fn new_session(&self, record: SessionRecord) -> Result<LoadedSession, RandomError> {
        // The index and the end marker are stored for as long as this limit allows, so the record must keep
        // it even if the configuration changes.
        let record = self.after_watermark(record).with_limit(self.absolute);
        Ok(match &self.backend {
            SessionBackend::Cookie | SessionBackend::SharedCookie(_) => {
                LoadedSession::new(record, Revision::Cookie(None))
            }
            SessionBackend::Store(_) => {
                let secret = SessionSecret::random(self.random())?;
                let record = record.with_id(secret.id(self.flow.binding()));
                LoadedSession::new(record, Revision::Stored { secret, version: 0 })
            }
        })
    }

    /// Creates a new session where sessions are kept.
    pub(super) async fn create(
        &self,
        new: LoadedSession,
    ) -> Result<LoadedSession, CreateSessionError> {
        match &self.backend {
            SessionBackend::Cookie => Ok(new),
            SessionBackend::SharedCookie(store) => self.create_shared(store, new).await,
            SessionBackend::Store(store) => self.create_stored(store, new).await,
        }
    }

    /// Creates a session that needs no cookie.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn begin(
        &self,
        record: SessionRecord,
    ) -> Result<LoadedSession, CreateSessionError> {
        self.create(self.new_session(record)?).await
    }

    /// Moves the creation time past the watermark of the user, which would otherwise cover a login in the
    /// same second.
    fn after_watermark(&self, record: SessionRecord) -> SessionRecord {
        let latest = record.created_at().saturating_add(MAX_CLOCK_LEAD);
        match self.local.denylist.watermark(&record) {
            Some(watermark) if watermark < latest => record.created_after(watermark),
            _ => record,
        }
    }

    async fn create_shared(
        &self,
        store: &SharedStore,
        new: LoadedSession,
    ) -> Result<LoadedSession, CreateSessionError> {
        let record = new.record();
        self.index_add(store, record).await?;
        // Each request checks this again. Here the login can still be rejected with an error page.
        if self.is_logged_out(store, record).await? {
            return Err(self.undo_creation(record).await);
        }
        Ok(new)
    }

    async fn create_stored(
        &self,
        store: &SharedStore,
        new: LoadedSession,
    ) -> Result<LoadedSession, CreateSessionError> {
        let Revision::Stored { secret, .. } = new.revision().clone() else {
            return Err(StoreError::unavailable("a session without a secret").into());
        };
        let record = new.record();
        self.index_add(store, record).await?;
        let put = self
            .put_stored(store, &secret, record, Expect::Absent)
            .await?;
        let Put::Stored(version) = put else {
            return Err(StoreError::unavailable("the ID of a new session is taken").into());
        };
        // A bulk logout either found the session in the index or stored a watermark before. A login that
        // makes room for itself may have removed this session from the index before it was stored.
        let (logged_out, indexed) = both(
            self.is_logged_out(store, record),
            self.is_indexed(store, record),
        )
        .await;
        if logged_out? || !indexed? {
            return Err(self.undo_creation(record).await);
        }
        self.local.pending_ends.record_opened(record);
        Ok(new.with_revision(Revision::Stored { secret, version }))
    }

    /// Removes what was stored for a login that a logout overtook. The caller revokes its tokens.
    async fn undo_creation(&self, record: &SessionRecord) -> CreateSessionError {
        let ended = self.end(record).await;
        ended.map_or_else(CreateSessionError::Store, |()| {
            CreateSessionError::LoggedOut
        })
    }
}

/// How far the creation time may be moved ahead of the clock, in seconds. Less than the accepted clock skew.
const MAX_CLOCK_LEAD: i64 = 30;
