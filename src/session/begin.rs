//! A login becomes a session.

use super::backend::SessionBackend;
use super::loaded::{LoadedSession, Seat};
use super::manager::SessionManager;
use super::secret::SessionSecret;
use super::shared::both;
use crate::flow::SessionRecord;
use crate::random::RandomError;
use crate::store::{Expect, Put, SharedStore, StoreError};

/// Why no session was begun. Nothing of it is left anywhere.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CreateSessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The authorization server signed the person out while they signed in here.
    #[error("a logout overtook the login")]
    LoggedOut,
}

impl SessionManager {
    /// Begins the session of a login, under a name that nobody knew before (`L20`).
    pub(crate) async fn begin(
        &self,
        record: SessionRecord,
    ) -> Result<LoadedSession, CreateSessionError> {
        // `L44`: whoever notes where it is, or that it has ended, counts on this.
        let record = self.above_watermark(record).with_limit(self.absolute);
        match &self.place {
            SessionBackend::Cookie => Ok(LoadedSession::new(record, Seat::Cookie(None))),
            SessionBackend::CookieWith(store) => self.begin_shared(store, record).await,
            SessionBackend::Store(store) => self.begin_stored(store, record).await,
        }
    }

    /// A login in the second of its user's watermark is not covered by it.
    fn above_watermark(&self, record: SessionRecord) -> SessionRecord {
        let latest = record.created_at().saturating_add(MOST_AHEAD);
        match self.memory.denylist.watermark(&record) {
            Some(watermark) if watermark < latest => record.created_after(watermark),
            _ => record,
        }
    }

    async fn begin_shared(
        &self,
        store: &SharedStore,
        record: SessionRecord,
    ) -> Result<LoadedSession, CreateSessionError> {
        self.enlist(store, &record).await?;
        // Each request looks again; here there is still somebody to tell.
        if self.is_logged_out(store, &record).await? {
            return Err(self.overtaken(&record).await);
        }
        Ok(LoadedSession::new(record, Seat::Cookie(None)))
    }

    async fn begin_stored(
        &self,
        store: &SharedStore,
        record: SessionRecord,
    ) -> Result<LoadedSession, CreateSessionError> {
        let ticket = SessionSecret::random(self.random())?;
        let record = record.with_id(ticket.id(self.flow.binding()));
        self.enlist(store, &record).await?;
        let put = self
            .put_stored(store, &ticket, &record, Expect::Absent)
            .await?;
        let Put::Stored(version) = put else {
            return Err(StoreError::unavailable("the name of a new session is taken").into());
        };
        // Whoever ends many at once found the session on its list or left a note; whoever has a place to
        // make may have taken it off the list before it was here.
        let (logged_out, listed) = both(
            self.is_logged_out(store, &record),
            self.is_listed(store, &record),
        )
        .await;
        if logged_out? || !listed? {
            return Err(self.overtaken(&record).await);
        }
        self.memory.pending_ends.note_opened(&record);
        Ok(LoadedSession::new(record, Seat::Stored { ticket, version }))
    }

    /// Leaves nothing here of a login whose logout was faster; whoever began it revokes its tokens.
    async fn overtaken(&self, record: &SessionRecord) -> CreateSessionError {
        let ended = self.end(record).await;
        ended.map_or_else(CreateSessionError::Store, |()| {
            CreateSessionError::LoggedOut
        })
    }
}

/// How much later than the clock tells a session may be created, in seconds: less than clocks may differ.
const MOST_AHEAD: i64 = 30;
