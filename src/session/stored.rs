//! Sessions in a store: one sealed record each, under the digest of its ticket (`L37`).

use std::time::Duration;

use super::backend::{Found, Saved};
use super::events;
use super::loaded::{LoadedSession, Seat};
use super::manager::{NotOpened, SessionManager};
use super::secret::SessionSecret;
use crate::crypto::seal::Purpose;
use crate::flow::{SessionId, SessionRecord};
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

impl SessionManager {
    /// Reads the session of this ticket. A record that does not open stays where it is: a process that lacks a
    /// cookie key, or is of an older release, must not end sessions of the others (`H58`, `H59`).
    pub(super) async fn load_stored(
        &self,
        store: &SharedStore,
        ticket: &SessionSecret,
    ) -> Result<Found, StoreError> {
        let id = self.name_of(ticket);
        let Some(found) = store.get(&key(&id)).await? else {
            return Ok(Found::Ended);
        };
        let version = found.version();
        let sealed = found.into_value().to_vec();
        let opened = self.unseal(Purpose::Stored, Some(ticket.as_bytes()), &id, sealed);
        Ok(match opened {
            Ok(record) => {
                let ticket = ticket.clone();
                Found::Session(LoadedSession::new(record, Seat::Stored { ticket, version }))
            }
            Err(reason) => {
                events::unreadable("session", reason);
                match reason {
                    NotOpened::Foreign => Found::Ended,
                    NotOpened::Unreadable => Found::Unreadable,
                }
            }
        })
    }

    /// Returns the name of the session that this ticket opens, if it is there.
    pub(crate) fn name_of(&self, ticket: &SessionSecret) -> SessionId {
        ticket.id(self.flow.binding())
    }

    pub(super) async fn save_stored(
        &self,
        store: &SharedStore,
        newer: LoadedSession,
    ) -> Result<Saved, StoreError> {
        let Seat::Stored { ticket, version } = newer.seat().clone() else {
            return Ok(Saved::Conflict);
        };
        let expect = Expect::Version(version);
        match self
            .put_stored(store, &ticket, newer.record(), expect)
            .await?
        {
            Put::Stored(version) => Ok(Saved::Stored(
                newer.with_seat(Seat::Stored { ticket, version }),
            )),
            Put::Conflict => Ok(Saved::Conflict),
        }
    }

    pub(super) async fn put_stored(
        &self,
        store: &SharedStore,
        ticket: &SessionSecret,
        record: &SessionRecord,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let sealed = self.seal(Purpose::Stored, Some(ticket.as_bytes()), record);
        let sealed = sealed.map_err(StoreError::unavailable)?;
        let ttl = self.time_to_live(record);
        store
            .put(&key(record.id()), sealed.into(), ttl, expect)
            .await
    }

    pub(super) async fn end_stored(
        &self,
        store: &SharedStore,
        id: &SessionId,
    ) -> Result<(), StoreError> {
        store.remove(&key(id), Expect::Anything).await?;
        Ok(())
    }

    /// As long as the session lives if nobody uses it, and a while for clocks that differ.
    fn time_to_live(&self, record: &SessionRecord) -> Duration {
        let left = self.expires_at(record).saturating_sub(self.now());
        Duration::from_secs(u64::try_from(left).unwrap_or_default()) + SLACK
    }
}

/// Under which a session lies.
pub(super) fn key(id: &SessionId) -> Key {
    Key::new("session", &id.to_string())
}

const SLACK: Duration = Duration::from_secs(60);
