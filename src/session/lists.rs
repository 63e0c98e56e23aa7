//! Maintains the session indexes: adds a new session, ends the surplus, and lists the live ones.

use super::backend::SessionBackend;
use super::events;
use super::hooks::EndReason;
use super::index::{self, IndexEntry, IndexTag, SessionIndex};
use super::manager::SessionManager;
use super::{shared, stored};
use crate::record::{SessionId, SessionRecord};
use crate::store::{SharedStore, StoreError};

impl SessionManager {
    /// Adds a new session to its indexes before it is stored anywhere else: a session in no index could not
    /// be ended by a bulk logout.
    pub(super) async fn index_add(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<(), StoreError> {
        let entry = IndexEntry {
            id: *record.id(),
            issued_at: record.issued_at(),
            created_at: record.created_at(),
            ends_at: self.latest_expiry(record),
            other: IndexTag::NONE,
        };
        let user = self.user_index(record.subject());
        let by_sid = record.sid().map(|sid| self.sid_index(sid));
        let other = by_sid.as_ref().map_or(IndexTag::NONE, SessionIndex::tag);
        let (of_user, now) = (IndexEntry { other, ..entry }, self.now());
        let added = index::add(store, &user, of_user, MAX_INDEX_ENTRIES, now).await?;
        for surplus in &added.surplus {
            self.end_replaced(surplus, record).await?;
        }
        // Only sessions of this user: a shared `sid` must not end the sessions of other users.
        let most = self.max_per_user.unwrap_or(MAX_PER_USER);
        if added.length > most {
            self.end_surplus(store, &user, record, most).await?;
        }
        let Some(by_sid) = by_sid else {
            return Ok(());
        };
        let other = user.tag();
        let of_sid = IndexEntry { other, ..entry };
        let added = index::add(store, &by_sid, of_sid, MAX_INDEX_ENTRIES, now).await?;
        for surplus in &added.surplus {
            self.end_replaced(surplus, record).await?;
        }
        // The session is then only in the index of its user, so a logout token must name the user to end it.
        if added.is_full && self.warning_is_due("sid_is_shared", "") {
            events::sid_is_shared();
        }
        Ok(())
    }

    /// Reports whether the session is in the index of its user.
    pub(super) async fn is_indexed(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<bool, StoreError> {
        let list = self.user_index(record.subject());
        let entries = index::read(store, &list, self.now()).await?;
        Ok(entries.iter().any(|entry| entry.id == *record.id()))
    }

    /// Removes an ended session from its indexes. A failure is ignored: readers skip entries without a
    /// session.
    pub(super) async fn index_remove(&self, store: &SharedStore, record: &SessionRecord) {
        for list in self.indexes_of(record) {
            let ended = std::slice::from_ref(record.id());
            let _ = index::remove(store, &list, ended, self.now()).await;
        }
    }

    /// Returns the live sessions of an index, the oldest first.
    pub(super) async fn live_entries(
        &self,
        store: &SharedStore,
        list: &SessionIndex,
    ) -> Result<Vec<IndexEntry>, StoreError> {
        let mut live_entries = Vec::new();
        for entry in index::read(store, list, self.now()).await? {
            if self.is_live(store, &entry.id).await? {
                live_entries.push(entry);
            }
        }
        Ok(live_entries)
    }

    /// Ends the oldest sessions of an index beyond `most`, counting the new one. Sessions that expired do not
    /// count.
    async fn end_surplus(
        &self,
        store: &SharedStore,
        list: &SessionIndex,
        new_session: &SessionRecord,
        most: usize,
    ) -> Result<(), StoreError> {
        let (entries, now) = (index::read(store, list, self.now()).await?, self.now());
        if entries.len() <= most {
            return Ok(());
        }
        let mut ended = Vec::new();
        let mut live_entries = Vec::new();
        for entry in entries
            .into_iter()
            .filter(|entry| entry.id != *new_session.id())
        {
            match self.is_live(store, &entry.id).await? {
                true => live_entries.push(entry.id),
                false => ended.push(entry.id),
            }
        }
        let surplus = (live_entries.len() + 1).saturating_sub(most);
        for id in live_entries.drain(..surplus) {
            self.end_replaced(&id, new_session).await?;
            ended.push(id);
        }
        index::remove(store, list, &ended, now).await?;
        // The ended sessions may have had the same `sid` and must not fill its index.
        match new_session.sid() {
            Some(sid) => index::remove(store, &self.sid_index(sid), &ended, now).await,
            None => Ok(()),
        }
    }

    /// Ends a session in favor of a newer one of the same user.
    async fn end_replaced(
        &self,
        id: &SessionId,
        new_session: &SessionRecord,
    ) -> Result<(), StoreError> {
        self.end_by_id(id).await?;
        let user = (new_session.issuer(), new_session.subject());
        self.notify_ended_unopened(Some(*id), Some(user), EndReason::Replaced);
        Ok(())
    }

    pub(super) async fn is_live(
        &self,
        store: &SharedStore,
        id: &SessionId,
    ) -> Result<bool, StoreError> {
        Ok(match &self.backend {
            SessionBackend::Store(_) => store.get(&stored::key(id)).await?.is_some(),
            SessionBackend::Cookie | SessionBackend::SharedCookie(_) => {
                let entry = store.get(&shared::key(id)).await?;
                !entry.is_some_and(|entry| shared::is_end_marker(&entry))
            }
        })
    }
}

/// The maximum number of sessions of one user.
pub(crate) const MAX_PER_USER: usize = 256;

/// Twice the maximum: concurrent logins add their entries before any of them ends a session.
const MAX_INDEX_ENTRIES: usize = 2 * MAX_PER_USER;
