//! The denylist of this process: sessions that were ended before they expired.
//!
//! A live entry is never evicted. If there is no room for it, a watermark replaces it: sessions that were
//! created at or before the watermark are rejected, either those of one user or, as the last resort, those of
//! all users.

mod entries;
#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::entries::DenylistEntries;
use crate::clock::{Clock, unix_seconds};
use crate::record::{SessionId, SessionRecord, SessionRef};

/// Ended sessions. Each entry lasts for as long as a copy of the cookie could be accepted otherwise.
#[derive(Debug, Default)]
pub(super) struct Denylist(Mutex<DenylistEntries>);

/// The users to which a raised watermark applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatermarkScope {
    OneUser,
    AllUsers,
}

impl Denylist {
    /// Denies a session for `lifetime`. Returns the scope of the watermark that was raised for it, if a
    /// warning about that is due.
    pub(super) fn insert(
        &self,
        session: &SessionRef,
        clock: &dyn Clock,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        let (user, created_at) = (Some(session.user), session.created_at);
        self.lock()
            .insert(&session.id, user, created_at, clock, lifetime)
    }

    /// Denies a session by its ID alone. The limit per user does not apply to such entries.
    pub(super) fn insert_id(
        &self,
        id: &SessionId,
        clock: &dyn Clock,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        let created_at = unix_seconds(clock);
        self.lock().insert(id, None, created_at, clock, lifetime)
    }

    /// Reports whether the session has been ended, by its entry or by a watermark.
    pub(super) fn contains(&self, record: &SessionRecord) -> bool {
        let entries = self.lock();
        let watermark = || entries.watermark(record);
        entries.contains(record.id())
            || watermark().is_some_and(|level| record.created_at() <= level)
    }

    /// Reports whether the session with this ID has an entry. Ignores watermarks.
    pub(super) fn contains_id(&self, id: &SessionId) -> bool {
        self.lock().contains(id)
    }

    /// Returns the creation time up to which sessions of this user are rejected.
    pub(super) fn watermark(&self, record: &SessionRecord) -> Option<i64> {
        self.lock().watermark(record)
    }

    fn lock(&self) -> MutexGuard<'_, DenylistEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
