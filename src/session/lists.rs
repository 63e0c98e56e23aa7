//! What the keeper does with whole lists of sessions: a new one is added, those that are too many end, and
//! somebody asks who is there.

use super::backend::SessionBackend;
use super::events;
use super::hooks::EndReason;
use super::index::{self, Entry, List, Tag};
use super::manager::SessionManager;
use super::{shared, stored};
use crate::flow::{SessionId, SessionRecord};
use crate::store::{SharedStore, StoreError};

impl SessionManager {
    /// Puts a session that begins on its lists, before it is anywhere else: one that no list leads to could
    /// not be ended from outside.
    pub(super) async fn enlist(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<(), StoreError> {
        let entry = Entry {
            id: *record.id(),
            issued_at: record.issued_at(),
            created_at: record.created_at(),
            ends_at: self.latest_end(record),
            other: Tag::NONE,
        };
        let user = self.list_of_user(record.subject());
        let by_sid = record.sid().map(|sid| self.list_of_sid(sid));
        let other = by_sid.as_ref().map_or(Tag::NONE, List::tag);
        let (of_user, now) = (Entry { other, ..entry }, self.now());
        let added = index::add(store, &user, of_user, LONGEST_LIST, now).await?;
        for surplus in &added.surplus {
            self.end_replaced(surplus, record).await?;
        }
        // Of one user alone: a `sid` that many users share ends the session of none of them.
        let most = self.most_per_user.unwrap_or(MOST_ON_A_LIST);
        if added.length > most {
            self.end_surplus(store, &user, record, most).await?;
        }
        let Some(by_sid) = by_sid else {
            return Ok(());
        };
        let other = user.tag();
        let of_sid = Entry { other, ..entry };
        let added = index::add(store, &by_sid, of_sid, LONGEST_LIST, now).await?;
        for surplus in &added.surplus {
            self.end_replaced(surplus, record).await?;
        }
        if added.is_full {
            self.warn_of_shared_sid();
        }
        Ok(())
    }

    /// The list of its user alone leads to the session then: a logout token that names the user ends it.
    fn warn_of_shared_sid(&self) {
        if self.memory.shared_sids.is_due(self.flow.clock().as_ref()) {
            events::sid_is_shared();
        }
    }

    /// Whether the list of its user leads to this session.
    pub(super) async fn is_listed(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<bool, StoreError> {
        let list = self.list_of_user(record.subject());
        let listed = index::read(store, &list, self.now()).await?;
        Ok(listed.iter().any(|entry| entry.id == *record.id()))
    }

    /// Takes a session that ended off its lists. They only lead to sessions: an entry too many is passed
    /// over.
    pub(super) async fn delist(&self, store: &SharedStore, record: &SessionRecord) {
        for list in self.lists_of(record) {
            let ended = std::slice::from_ref(record.id());
            let _ = index::remove(store, &list, ended, self.now()).await;
        }
    }

    /// Those on a list that live, the oldest first.
    pub(super) async fn alive(
        &self,
        store: &SharedStore,
        list: &List,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut alive = Vec::new();
        for entry in index::read(store, list, self.now()).await? {
            if self.lives(store, &entry.id).await? {
                alive.push(entry);
            }
        }
        Ok(alive)
    }

    /// Ends the oldest sessions of a list, as far as there are more than `most` with the one that begins
    /// (`L49`). What has ended by itself does not count.
    async fn end_surplus(
        &self,
        store: &SharedStore,
        list: &List,
        begins: &SessionRecord,
        most: usize,
    ) -> Result<(), StoreError> {
        let (listed, now) = (index::read(store, list, self.now()).await?, self.now());
        if listed.len() <= most {
            return Ok(());
        }
        let mut gone = Vec::new();
        let mut alive = Vec::new();
        for entry in listed.into_iter().filter(|entry| entry.id != *begins.id()) {
            match self.lives(store, &entry.id).await? {
                true => alive.push(entry.id),
                false => gone.push(entry.id),
            }
        }
        let surplus = (alive.len() + 1).saturating_sub(most);
        for id in alive.drain(..surplus) {
            self.end_replaced(&id, begins).await?;
            gone.push(id);
        }
        index::remove(store, list, &gone, now).await?;
        // They may have had the same `sid`, and must not fill its list.
        match begins.sid() {
            Some(sid) => index::remove(store, &self.list_of_sid(sid), &gone, now).await,
            None => Ok(()),
        }
    }

    /// Ends a session for the sake of another of the same person.
    async fn end_replaced(&self, id: &SessionId, begins: &SessionRecord) -> Result<(), StoreError> {
        self.end_by_id(id).await?;
        let user = (begins.issuer(), begins.subject());
        self.notify_ended_unopened(Some(*id), Some(user), EndReason::Replaced);
        Ok(())
    }

    pub(super) async fn lives(
        &self,
        store: &SharedStore,
        id: &SessionId,
    ) -> Result<bool, StoreError> {
        Ok(match &self.place {
            SessionBackend::Store(_) => store.get(&stored::key(id)).await?.is_some(),
            SessionBackend::Cookie | SessionBackend::CookieWith(_) => {
                let known = store.get(&shared::key(id)).await?;
                !known.is_some_and(|known| shared::says_ended(&known))
            }
        })
    }
}

/// Sessions of one user that are kept at a time.
pub(crate) const MOST_ON_A_LIST: usize = 256;

/// Those included that begin at the same moment, before any of them has made room.
const LONGEST_LIST: usize = 2 * MOST_ON_A_LIST;
