//! The end of a session by its own browser.

use std::sync::Arc;

use super::held::{Held, Seat};
use super::keeper::Keeper;
use super::place::Place;
use super::{shared, stored};
use crate::flow::SessionRecord;
use crate::store::{Expect, Put, Removed, StoreError};

impl Keeper {
    /// Ends a session, and hands out its newest record: the one whose tokens are still good and have to be
    /// revoked. What a refresh brings that is under way meanwhile finds the session ended.
    pub(crate) async fn leave(&self, held: &Held) -> Result<Arc<SessionRecord>, StoreError> {
        if matches!(self.place, Place::Cookie) {
            return Ok(self.leave_here(held));
        }
        let mut held = held.clone();
        for _ in 0..ATTEMPTS {
            if self.end_this(&held).await? {
                return Ok(Arc::clone(held.record()));
            }
            match self.load(&held).await? {
                Some(newest) => held = newest,
                None => return Ok(Arc::clone(held.record())),
            }
        }
        self.end(held.record().id(), Some(held.record())).await?;
        Ok(Arc::clone(held.record()))
    }

    fn leave_here(&self, held: &Held) -> Arc<SessionRecord> {
        let record = held.record();
        // Buried first: nothing newer is kept after that.
        self.end_here(record.id());
        match self.memory.successors.take(record.id()) {
            Some(newer) if newer.generation() > record.generation() => newer,
            _ => Arc::clone(record),
        }
    }

    /// Ends a session unless there is a newer record of it.
    async fn end_this(&self, held: &Held) -> Result<bool, StoreError> {
        let record = held.record();
        match (&self.place, held.seat()) {
            (Place::CookieWith(store), Seat::Cookie(version)) => {
                let expect = version.map_or(Expect::Absent, Expect::Version);
                let (key, value) = (shared::key(record.id()), shared::ended());
                if store.put(&key, value, self.longest_life(), expect).await? == Put::Conflict {
                    return Ok(false);
                }
                self.end_here(record.id());
                self.delist(store, record).await;
            }
            (Place::Store(store), Seat::Stored { version, .. }) => {
                let key = stored::key(record.id());
                if store.remove(&key, Expect::Version(*version)).await? == Removed::Conflict {
                    return Ok(false);
                }
                self.delist(store, record).await;
            }
            // Of another mode: nobody's.
            _ => {}
        }
        Ok(true)
    }
}

/// Nobody refreshes more often in so short a time.
const ATTEMPTS: usize = 8;
