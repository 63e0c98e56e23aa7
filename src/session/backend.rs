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
    CookieWith(SharedStore),
    /// In a store.
    Store(SharedStore),
}

/// What a store holds of a session.
#[derive(Debug)]
pub(super) enum Found {
    Session(LoadedSession),
    /// It has ended, or never was.
    Ended,
    /// This process cannot read what is there. Another may: nothing is removed, replaced or told to the browser.
    Unreadable,
}

/// What came of writing a session.
#[derive(Clone, Debug)]
pub(crate) enum Saved {
    Stored(LoadedSession),
    /// Somebody else has written or ended it since it was loaded. Nothing was changed.
    Conflict,
}

impl SessionManager {
    /// The newest state of a session anywhere; `None` where it has ended. What cannot be read here is an error:
    /// whether the session has ended is not known.
    pub(super) async fn load(
        &self,
        held: &LoadedSession,
    ) -> Result<Option<LoadedSession>, StoreError> {
        if self.is_denied(held.record()) {
            return Ok(None);
        }
        self.load_anyhow(held).await
    }

    /// The same, whatever this process refuses.
    pub(super) async fn load_anyhow(
        &self,
        held: &LoadedSession,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let found = match &self.place {
            SessionBackend::Cookie => return Ok(self.still_lives(self.newest_here(held.clone()))),
            SessionBackend::CookieWith(store) => self.newest_shared(store, held.clone()).await?,
            SessionBackend::Store(store) => match held.ticket() {
                Some(ticket) => self.load_stored(store, ticket).await?,
                None => Found::Ended,
            },
        };
        match found {
            Found::Session(held) => Ok(self.still_lives(Some(held))),
            Found::Ended => Ok(None),
            Found::Unreadable => Err(StoreError::unavailable(
                "the record of the session was written with a key or in a format that this process does not know",
            )),
        }
    }

    fn still_lives(&self, held: Option<LoadedSession>) -> Option<LoadedSession> {
        let mut held = held?;
        if let Some(later) = self.memory.last_uses.later_than(held.record()) {
            let record = SessionRecord::clone(held.record()).touched(later);
            held = held.with_record(record);
        }
        (!self.has_ended(held.record())).then_some(held)
    }

    /// Writes a newer record of a session, if nobody has written it since `held` was loaded (`L47`).
    pub(super) async fn save(
        &self,
        held: &LoadedSession,
        record: SessionRecord,
    ) -> Result<Saved, StoreError> {
        let newer = held.with_record(record);
        if self.is_denied(newer.record()) {
            return Ok(Saved::Conflict);
        }
        match &self.place {
            SessionBackend::Cookie => Ok(self.save_here(held, newer)),
            SessionBackend::CookieWith(store) => self.save_successor(store, newer).await,
            SessionBackend::Store(store) => self.save_stored(store, newer).await,
        }
    }

    /// Ends a session everywhere: no copy of its cookie is accepted from now on.
    pub(crate) async fn end(&self, record: &SessionRecord) -> Result<(), StoreError> {
        self.end_unread(&SessionRef::from(record)).await?;
        if let Some(store) = self.store() {
            self.delist(store, record).await;
        }
        Ok(())
    }

    /// Ends a session that cannot be read.
    pub(crate) async fn end_unread(&self, session: &SessionRef) -> Result<(), StoreError> {
        if matches!(self.place, SessionBackend::Cookie) {
            self.deny(session);
            self.memory.successors.take(&session.id);
            return Ok(());
        }
        self.end_by_id(&session.id).await
    }

    /// Ends a session of which only the ID is known.
    pub(super) async fn end_by_id(&self, id: &SessionId) -> Result<(), StoreError> {
        match &self.place {
            SessionBackend::Cookie => {
                let clock = self.flow.clock().as_ref();
                let denylist = &self.memory.denylist;
                let raised = denylist.insert_id(id, clock, self.longest_life());
                raised.into_iter().for_each(events::watermark_raised);
                self.memory.successors.take(id);
                Ok(())
            }
            SessionBackend::CookieWith(store) => self.end_shared(store, id).await,
            SessionBackend::Store(store) => self.end_stored(store, id).await,
        }
    }

    pub(super) fn store(&self) -> Option<&SharedStore> {
        match &self.place {
            SessionBackend::Cookie => None,
            SessionBackend::CookieWith(store) | SessionBackend::Store(store) => Some(store),
        }
    }

    /// Whether it is known in this process, without asking, that the session has ended.
    pub(crate) fn is_denied(&self, record: &SessionRecord) -> bool {
        self.memory.denylist.contains(record) || self.memory.pending_ends.contains(record.id())
    }

    /// The newest state that this process knows of, or `None` where it knows that the session has ended.
    pub(crate) fn newest_cached(&self, held: &LoadedSession) -> Option<LoadedSession> {
        self.newest_here(held.clone())
    }

    /// Whether this process can keep what a session in a cookie becomes.
    pub(super) fn has_room_for(&self, record: &SessionRecord) -> bool {
        let now = self.flow.clock().monotonic();
        self.memory.successors.has_room(record.id(), now)
    }

    fn newest_here(&self, held: LoadedSession) -> Option<LoadedSession> {
        if self.is_denied(held.record()) {
            return None;
        }
        Some(match self.memory.successors.of(held.record()) {
            Some(record) => held.with_record(record),
            None => held,
        })
    }

    fn save_here(&self, held: &LoadedSession, newer: LoadedSession) -> Saved {
        let (record, now) = (newer.record(), self.flow.clock().monotonic());
        let successors = &self.memory.successors;
        if !successors.replace(held.record(), record, now, self.time_left(record)) {
            return Saved::Conflict;
        }
        // Ended between the two looks: whoever ended it has not seen these tokens, and revokes others (`L47`).
        if self.is_denied(record) {
            successors.take(record.id());
            return Saved::Conflict;
        }
        Saved::Stored(newer)
    }

    /// Refuses a session in this process.
    pub(super) fn deny(&self, session: &SessionRef) {
        let clock = self.flow.clock().as_ref();
        let denylist = &self.memory.denylist;
        let raised = denylist.insert(session, clock, self.longest_life());
        raised.into_iter().for_each(events::watermark_raised);
    }
}
