//! What sessions in cookies have become: a request that still comes with the cookie from before a refresh
//! gets the tokens of that refresh (`L52`), and so does a browser that never got its answer (`L55`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::by_session::BySession;
use crate::flow::{SessionId, SessionRecord};

/// The newest records of this process. Each is as large as its tokens, some 40 MB in all at most; a cookie
/// from before a refresh that is forgotten brings a refresh token that was used.
#[derive(Debug, Default)]
pub(super) struct Successors(Mutex<BySession<Kept>>);

#[derive(Debug)]
struct Kept {
    record: Arc<SessionRecord>,
    until: Duration,
}

impl Successors {
    /// What this record lacks of its session, put together with it.
    pub(super) fn of(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let memory = self.lock();
        let kept = memory.get(record.id())?;
        kept.record
            .is_ahead_of(record)
            .then(|| record.joined(&kept.record))
    }

    /// Keeps a record for as long as its session may last, unless something is kept that `before`, which it
    /// was made of, lacks: then it says no.
    pub(super) fn replace(
        &self,
        before: &SessionRecord,
        record: &Arc<SessionRecord>,
        now: Duration,
        lifetime: Duration,
    ) -> bool {
        let mut memory = self.lock();
        let kept = memory.get(record.id());
        if kept.is_some_and(|kept| kept.record.is_ahead_of(before)) {
            return false;
        }
        let kept = Kept {
            record: Arc::clone(record),
            until: now.saturating_add(lifetime),
        };
        memory.put(*record.id(), kept);
        memory.forget_while(|kept| kept.until <= now);
        true
    }

    /// Forgets a session that ended, and hands out what it had become.
    pub(super) fn take(&self, id: &SessionId) -> Option<Arc<SessionRecord>> {
        self.lock().remove(id).map(|kept| kept.record)
    }

    fn lock(&self) -> MutexGuard<'_, BySession<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
