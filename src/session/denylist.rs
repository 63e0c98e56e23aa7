//! The revocation list of this process: sessions that were ended before they expired.
//!
//! A live entry is never dropped. Where there is no room for it, a watermark takes its place: sessions of one user,
//! or in the last resort of all users, that were created at or before it are refused.

mod entries;
#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::entries::DenylistEntries;
use crate::clock::{Clock, unix_seconds};
use crate::flow::{SessionId, SessionRecord, SessionRef};

/// Ended sessions, each for as long as a copy of its cookie could be accepted otherwise.
#[derive(Debug, Default)]
pub(super) struct Denylist(Mutex<DenylistEntries>);

/// For whom a watermark was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatermarkScope {
    OneUser,
    AllUsers,
}

impl Denylist {
    /// Refuses a session from now on, for as long as `lifetime`. Returns whose watermark was raised for it, if a
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

    /// The same for a session of which only the ID is known. Such entries share no limit with those of any user.
    pub(super) fn insert_id(
        &self,
        id: &SessionId,
        clock: &dyn Clock,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        let created_at = unix_seconds(clock);
        self.lock().insert(id, None, created_at, clock, lifetime)
    }

    /// Reports whether the session was ended.
    pub(super) fn contains(&self, record: &SessionRecord) -> bool {
        let entries = self.lock();
        let watermark = || entries.watermark(record);
        entries.contains(record.id())
            || watermark().is_some_and(|level| record.created_at() <= level)
    }

    /// Reports whether the session of this ID was ended; watermarks are not considered.
    pub(super) fn contains_id(&self, id: &SessionId) -> bool {
        self.lock().contains(id)
    }

    /// Returns the creation time up to which sessions of this user are refused.
    pub(super) fn watermark(&self, record: &SessionRecord) -> Option<i64> {
        self.lock().watermark(record)
    }

    fn lock(&self) -> MutexGuard<'_, DenylistEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
