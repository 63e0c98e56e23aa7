//! A login becomes a session.

use super::held::{Held, Seat};
use super::hooks::EndReason;
use super::index::{self, Entry};
use super::keeper::Keeper;
use super::place::Place;
use super::ticket::Ticket;
use crate::crypto::base64url;
use crate::crypto::digest::sha256;
use crate::flow::{SessionRecord, Transaction};
use crate::protocol::State;
use crate::random::RandomError;
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

/// Why no session was begun. Nothing of it is left anywhere.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NotBegun {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The authorization server signed the person out while they signed in here.
    #[error("a logout overtook the login")]
    LoggedOut,
}

impl Keeper {
    /// Whether this state may be redeemed: with a store once, whichever replica is asked (`L13`).
    pub(crate) async fn claim(&self, state: &State) -> Result<bool, StoreError> {
        let (Place::CookieWith(store) | Place::Store(store)) = &self.place else {
            return Ok(true);
        };
        let digest = base64url::encode(&sha256(state.expose().as_bytes()));
        let key = Key::new("state", &digest);
        // Twice as long as the login could be presented again: clocks differ.
        let ttl = Transaction::LIFETIME * 2;
        let put = store
            .put(&key, b"".as_slice().into(), ttl, Expect::Absent)
            .await?;
        Ok(put != Put::Conflict)
    }

    /// Begins the session of a login, under a name that nobody knew before (`L20`).
    pub(crate) async fn begin(&self, record: SessionRecord) -> Result<Held, NotBegun> {
        match &self.place {
            Place::Cookie | Place::CookieWith(_) => Ok(Held::new(record, Seat::Cookie(None))),
            Place::Store(store) => self.begin_stored(store, record).await,
        }
    }

    async fn begin_stored(
        &self,
        store: &SharedStore,
        record: SessionRecord,
    ) -> Result<Held, NotBegun> {
        let ticket = Ticket::random(self.random())?;
        let record = record.with_id(ticket.id());
        let now = self.now();
        let entry = Entry {
            id: *record.id(),
            created_at: record.created_at(),
            ends_at: self.ends_at(&record),
        };
        // The lists first: a session that no list leads to could not be ended from outside.
        for list in index::lists_of(&record) {
            for surplus in index::add(store, &list, entry, MOST_ON_A_LIST, now).await? {
                self.end(&surplus, None).await?;
                let user = (record.issuer(), record.subject());
                self.tell_ended_unread(Some(surplus), Some(user), EndReason::Replaced);
            }
        }
        let put = self
            .put_stored(store, &ticket, &record, Expect::Absent)
            .await?;
        let Put::Stored(version) = put else {
            return Err(StoreError::unavailable("the name of a new session is taken").into());
        };
        if self.is_logged_out(store, &record).await? {
            self.end(record.id(), Some(&record)).await?;
            return Err(NotBegun::LoggedOut);
        }
        Ok(Held::new(record, Seat::Stored { ticket, version }))
    }
}

/// Sessions of one person, or of one session at the authorization server, that are kept at a time.
const MOST_ON_A_LIST: usize = 256;
