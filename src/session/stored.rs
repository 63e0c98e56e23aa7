//! Sessions in a store: each is a sealed record under the digest of its secret.

use std::time::Duration;

use super::backend::{LoadResult, SaveResult};
use super::events;
use super::loaded::{LoadedSession, Revision};
use super::manager::{SessionManager, UnsealError};
use super::secret::SessionSecret;
use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::crypto::seal::Purpose;
use crate::record::{SessionId, SessionRecord};
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

impl SessionManager {
    /// Loads the session of this secret. A record that cannot be opened is kept: a process that lacks a
    /// cookie key or runs an older release must not end sessions of other processes.
    pub(super) async fn load_stored(
        &self,
        store: &SharedStore,
        secret: &SessionSecret,
    ) -> Result<LoadResult, StoreError> {
        let id = self.name_of(secret);
        let Some(found) = store.get(&key(&id)).await? else {
            return Ok(LoadResult::Ended);
        };
        let version = found.version();
        let sealed = found.into_value().to_vec();
        let opened = self.unseal(Purpose::Stored, Some(secret.as_bytes()), &id, sealed);
        Ok(match opened {
            Ok(record) => {
                let secret = secret.clone();
                LoadResult::Session(LoadedSession::new(
                    record,
                    Revision::Stored { secret, version },
                ))
            }
            Err(reason) => {
                events::record_unreadable("session", reason);
                match reason {
                    UnsealError::Foreign => LoadResult::Ended,
                    UnsealError::Unreadable => LoadResult::Unreadable,
                }
            }
        })
    }

    /// Returns the ID of the session that this secret opens.
    pub(crate) fn name_of(&self, secret: &SessionSecret) -> SessionId {
        secret.id(self.flow.binding())
    }

    pub(super) async fn save_stored(
        &self,
        store: &SharedStore,
        newer: LoadedSession,
    ) -> Result<SaveResult, StoreError> {
        let Revision::Stored { secret, version } = newer.revision().clone() else {
            return Ok(SaveResult::Conflict);
        };
        let expect = Expect::Version(version);
        match self
            .put_stored(store, &secret, newer.record(), expect)
            .await?
        {
            Put::Stored(version) => Ok(SaveResult::Stored(
                newer.with_revision(Revision::Stored { secret, version }),
            )),
            Put::Conflict => Ok(SaveResult::Conflict),
        }
    }

    pub(super) async fn put_stored(
        &self,
        store: &SharedStore,
        secret: &SessionSecret,
        record: &SessionRecord,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let sealed = self.seal(Purpose::Stored, Some(secret.as_bytes()), record);
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

    /// Returns the remaining lifetime of an unused session, with an allowance for clock skew.
    fn time_to_live(&self, record: &SessionRecord) -> Duration {
        time_until(self.expires_at(record), self.now()) + MAX_CLOCK_SKEW
    }
}

/// Returns the store key of a session.
pub(super) fn key(id: &SessionId) -> Key {
    Key::new("session", &id.to_string())
}
