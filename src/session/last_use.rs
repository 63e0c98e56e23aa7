//! When sessions in cookies were last used, as far as this process has seen.
//!
//! The time of the last use is in the cookie alone. A `Session` that a handler keeps has that of its own request, and
//! would take a session for idle that its browser goes on to use.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bounded_map::BoundedMap;
use crate::flow::SessionRecord;

/// Seconds since 1970, by session.
#[derive(Debug, Default)]
pub(super) struct LastUses(Mutex<BoundedMap<i64>>);

impl LastUses {
    pub(super) fn note(&self, record: &SessionRecord) {
        let mut uses = self.lock();
        let last_seen = record.last_seen();
        if uses.get(record.id()).is_none_or(|noted| *noted < last_seen) {
            uses.put(*record.id(), last_seen);
        }
    }

    /// Returns a use of the session that is later than the last one in its record.
    pub(super) fn later_than(&self, record: &SessionRecord) -> Option<i64> {
        let noted = self.lock().get(record.id()).copied();
        noted.filter(|noted| *noted > record.last_seen())
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
