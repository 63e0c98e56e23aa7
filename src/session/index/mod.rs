//! The sessions of a user and of a `sid`: adds a new session, ends the surplus, and lists the live ones.

mod entries;

pub(super) use self::entries::{IndexEntry, IndexTag, SessionIndex, digest};
use super::clock_rollback::SessionTime;
use super::events;
use super::hooks::EndReason;
use super::manager::{MAX_PER_USER, SessionManager};
use crate::record::{SessionId, SessionRecord};
use crate::store::{SharedStore, StoreError};

impl SessionManager {
    /// Returns the indexes of a session: that of its user, and that of its `sid` if it has one. `None` if its provider is
    /// none of this layer.
    pub(super) fn indexes_of(
        &self,
        record: &SessionRecord,
    ) -> Option<(SessionIndex, Option<SessionIndex>)> {
        let flow = self.flow_of(record)?;
        let by_sid = record
            .sid()
            .map(|sid| SessionIndex::of_sid(flow, record.issuer(), sid));
        Some((SessionIndex::of_user(flow, record.user_key()), by_sid))
    }

    /// Adds a new session to its indexes before it is stored anywhere else: a session in no index could not
    /// be ended by a bulk logout.
    pub(super) async fn index_add(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
        now: &SessionTime,
    ) -> Result<(), StoreError> {
        let Some((by_user, by_sid)) = self.indexes_of(record) else {
            return Ok(());
        };
        let entry = IndexEntry {
            id: *record.id(),
            issued_at: record.issued_at(),
            created_at: record.created_at(),
            ends_at: self.latest_expiry(record, now),
            other: by_sid.as_ref().map_or(IndexTag::NONE, SessionIndex::tag),
        };
        let added = by_user
            .add(store, entry, MAX_INDEX_ENTRIES, now.wall())
            .await?;
        for surplus in &added.surplus {
            self.end_replaced(surplus, record).await?;
        }
        // Only sessions of this user: a shared `sid` must not end the sessions of other users.
        let most = self.max_per_user.unwrap_or(MAX_PER_USER);
        if added.length > most {
            let indexes = (&by_user, by_sid.as_ref());
            self.end_surplus(store, record, indexes, most, now).await?;
        }
        let Some(by_sid) = by_sid else {
            return Ok(());
        };
        let other = by_user.tag();
        let entry = IndexEntry { other, ..entry };
        let added = by_sid
            .add(store, entry, MAX_INDEX_ENTRIES, now.wall())
            .await?;
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
        now: &SessionTime,
    ) -> Result<bool, StoreError> {
        let Some((by_user, _)) = self.indexes_of(record) else {
            return Ok(false);
        };
        let entries = by_user.read(store, now.wall()).await?;
        Ok(entries.iter().any(|entry| entry.id == *record.id()))
    }

    /// Removes an ended session from its indexes. A failure is ignored: readers skip entries without a
    /// session.
    pub(super) async fn index_remove(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
        now: &SessionTime,
    ) {
        let indexes = self.indexes_of(record);
        let indexes = indexes.map(|(by_user, by_sid)| [Some(by_user), by_sid]);
        for index in indexes.into_iter().flatten().flatten() {
            let _ = index.remove(store, &[*record.id()], now.wall()).await;
        }
    }

    /// Returns the live sessions of an index, the oldest first.
    pub(super) async fn live_entries(
        &self,
        store: &SharedStore,
        index: &SessionIndex,
    ) -> Result<Vec<IndexEntry>, StoreError> {
        let mut live_entries = Vec::new();
        for entry in index.read(store, self.time().wall()).await? {
            if self.is_live(&entry.id).await? {
                live_entries.push(entry);
            }
        }
        Ok(live_entries)
    }

    /// Ends the oldest sessions of a user beyond `most`, counting the new one. Sessions that expired do not
    /// count.
    async fn end_surplus(
        &self,
        store: &SharedStore,
        new_session: &SessionRecord,
        (by_user, by_sid): (&SessionIndex, Option<&SessionIndex>),
        most: usize,
        now: &SessionTime,
    ) -> Result<(), StoreError> {
        let entries = by_user.read(store, now.wall()).await?;
        if entries.len() <= most {
            return Ok(());
        }
        let (mut live, mut ended) = (Vec::new(), Vec::new());
        for entry in entries {
            if entry.id == *new_session.id() {
                continue;
            }
            match self.is_live(&entry.id).await? {
                true => live.push(entry.id),
                false => ended.push(entry.id),
            }
        }
        let surplus = (live.len() + 1).saturating_sub(most);
        for id in live.drain(..surplus) {
            self.end_replaced(&id, new_session).await?;
            ended.push(id);
        }
        by_user.remove(store, &ended, now.wall()).await?;
        // The ended sessions may have had the same `sid` and must not fill its index.
        match by_sid {
            Some(by_sid) => by_sid.remove(store, &ended, now.wall()).await,
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
        let user = Some(new_session.user_key());
        self.notify_ended_unopened(Some(*id), user, EndReason::Replaced);
        Ok(())
    }
}

/// Twice the maximum: concurrent logins add their entries before any of them ends a session.
const MAX_INDEX_ENTRIES: usize = 2 * MAX_PER_USER;
