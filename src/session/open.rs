//! Opens, loads and saves sessions, wherever they are kept.

use super::clock_rollback::SessionTime;
use super::loaded::{LoadedSession, OpenedSession, PresentedSession};
use super::manager::SessionManager;
use crate::record::{SessionId, SessionRecord};
use crate::store::StoreError;

impl SessionManager {
    /// Returns the ID of a presented session.
    pub(crate) fn id_of(&self, presented: &PresentedSession) -> SessionId {
        match presented {
            PresentedSession::Record(record) => *record.id(),
            PresentedSession::Secret(secret) => secret.id(self.flow.binding()),
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
}
