//! The last use of sessions in cookies, as far as this process has observed it.
//!
//! The time of the last use is only in the cookie. A `Session` that outlives its request has the time of that request,
//! and would otherwise end as idle while its browser still uses the session.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bounded_map::BoundedMap;
use crate::record::SessionRecord;

/// Seconds since 1970, by session.
#[derive(Debug, Default)]
pub(super) struct LastUses(Mutex<BoundedMap<i64>>);

impl LastUses {
    pub(super) fn record(&self, record: &SessionRecord) {
        let mut uses = self.lock();
        let last_seen = record.last_seen();
        if uses
            .get(record.id())
            .is_none_or(|recorded| *recorded < last_seen)
        {
            uses.put(*record.id(), last_seen);
        }
    }

    /// Returns the last observed use if it is later than the one in the record.
    pub(super) fn later_than(&self, record: &SessionRecord) -> Option<i64> {
        let recorded = self.lock().get(record.id()).copied();
        recorded.filter(|recorded| *recorded > record.last_seen())
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
