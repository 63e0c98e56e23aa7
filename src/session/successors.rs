//! What sessions in cookies have become: a request that still comes with the cookie from before a refresh
//! gets the tokens of that refresh (`L52`), and so does a browser that never got its answer (`L55`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::flow::{SessionId, SessionRecord};

/// The newest records of this process, by session.
#[derive(Debug, Default)]
pub(super) struct Successors(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<SessionId, Kept>,
    /// The oldest first; an entry that was renewed since stands again further behind.
    order: VecDeque<(u64, SessionId)>,
    count: u64,
}

#[derive(Debug)]
struct Kept {
    record: Arc<SessionRecord>,
    number: u64,
    until: Duration,
}

impl Successors {
    /// What this record lacks of its session, put together with it.
    pub(super) fn of(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let inner = self.lock();
        let kept = inner.records.get(record.id())?;
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
        let mut inner = self.lock();
        let kept = inner.records.get(record.id());
        if kept.is_some_and(|kept| kept.record.is_ahead_of(before)) {
            return false;
        }
        inner.count += 1;
        let number = inner.count;
        let kept = Kept {
            record: Arc::clone(record),
            number,
            until: now.saturating_add(lifetime),
        };
        inner.records.insert(*record.id(), kept);
        inner.order.push_back((number, *record.id()));
        inner.make_room(now);
        true
    }

    /// Forgets a session that ended, and hands out what it had become.
    pub(super) fn take(&self, id: &SessionId) -> Option<Arc<SessionRecord>> {
        self.lock().records.remove(id).map(|kept| kept.record)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn make_room(&mut self, now: Duration) {
        let Self { records, order, .. } = self;
        if order.len() > 2 * MAX {
            // One session that is written all the time must not push out the others.
            order.retain(|(number, id)| records.get(id).is_some_and(|kept| kept.number == *number));
        }
        while let Some(&(number, id)) = self.order.front() {
            let current = self.records.get(&id).filter(|kept| kept.number == number);
            match current {
                Some(kept) if kept.until > now && self.records.len() <= MAX => return,
                Some(_) => drop(self.records.remove(&id)),
                None => {}
            }
            self.order.pop_front();
        }
    }
}

/// Each as large as its tokens: some 40 MB at most. Beyond that the oldest is forgotten, and a cookie from
/// before its refresh brings a refresh token that was used.
const MAX: usize = 10_000;
