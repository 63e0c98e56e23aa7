//! What sessions in cookies have become: a request that still comes with the cookie from before a refresh
//! gets the tokens of that refresh, and so does a browser that never got its response.
//!
//! A rotated refresh token is nowhere else until a browser has its cookie. So a record that no response carried yet is
//! never dropped for the sake of another user's, and no refresh begins that has no place for its outcome.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::flow::{SessionId, SessionRecord, UserDigest};

/// The newest records of this process. Each is as large as its tokens, some 40 MB in all.
#[derive(Debug, Default)]
pub(super) struct LatestRecords(Mutex<Records>);

/// How far a record has come; the first are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// The browser has sent the cookie of this record, or of a newer one.
    Presented,
    /// A response carries the cookie.
    Sent,
    Kept,
}

#[derive(Debug)]
struct Kept {
    record: Arc<SessionRecord>,
    until: Duration,
    user: UserDigest,
    progress: Progress,
    /// When it was put, counted from the first.
    number: u64,
}

#[derive(Debug, Default)]
struct Records {
    by_id: HashMap<SessionId, Kept>,
    /// Those of all users, in the order in which they are dropped.
    order: BTreeSet<(Progress, u64, SessionId)>,
    /// The same by user.
    by_user: BTreeSet<(UserDigest, Progress, u64, SessionId)>,
    counts: HashMap<UserDigest, usize>,
    /// The user with the most records is the last.
    ranking: BTreeSet<(usize, UserDigest)>,
    expiries: BTreeSet<(Duration, SessionId)>,
    puts: u64,
}

impl LatestRecords {
    /// Returns what this record lacks of its session, together with it.
    pub(super) fn of(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let mut records = self.lock();
        let kept = records.by_id.get(record.id())?;
        if kept.record.is_ahead_of(record) {
            return Some(record.merged(&kept.record));
        }
        if kept.progress != Progress::Presented {
            records.advance(record.id(), Progress::Presented);
        }
        None
    }

    /// Keeps a record for as long as its session may last, unless something is kept that `before`, which it
    /// was made of, lacks: then it returns `false`.
    pub(super) fn replace(
        &self,
        before: &SessionRecord,
        record: &Arc<SessionRecord>,
        now: Duration,
        lifetime: Duration,
    ) -> bool {
        let mut records = self.lock();
        let id = record.id();
        let kept = records.by_id.get(id);
        if kept.is_some_and(|kept| kept.record.is_ahead_of(before)) {
            return false;
        }
        records.remove(id);
        records.remove_expired(now);
        while records.by_id.len() >= MAX && records.drop_one() {}
        records.puts += 1;
        let kept = Kept {
            record: Arc::clone(record),
            until: now.saturating_add(lifetime),
            user: UserDigest::new(record.issuer(), record.subject()),
            progress: Progress::Kept,
            number: records.puts,
        };
        records.put(*id, kept);
        true
    }

    /// Reports whether the outcome of a refresh of this session can be kept without a loss for other users.
    pub(super) fn has_room(&self, id: &SessionId, now: Duration) -> bool {
        let mut records = self.lock();
        records.remove_expired(now);
        records.by_id.len() < MAX || records.by_id.contains_key(id) || records.victim().is_some()
    }

    /// Notes that a response carries the cookie of this record.
    pub(super) fn note_sent(&self, record: &SessionRecord) {
        let mut records = self.lock();
        let kept = records.by_id.get(record.id());
        if kept
            .is_some_and(|kept| kept.progress == Progress::Kept && !kept.record.is_ahead_of(record))
        {
            records.advance(record.id(), Progress::Sent);
        }
    }

    /// Drops a session that ended, and returns what it had become.
    pub(super) fn take(&self, id: &SessionId) -> Option<Arc<SessionRecord>> {
        self.lock().remove(id).map(|kept| kept.record)
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn put(&mut self, id: SessionId, kept: Kept) {
        let (user, progress, number) = (kept.user, kept.progress, kept.number);
        self.order.insert((progress, number, id));
        self.by_user.insert((user, progress, number, id));
        self.expiries.insert((kept.until, id));
        self.count(user, 1);
        self.by_id.insert(id, kept);
    }

    fn remove(&mut self, id: &SessionId) -> Option<Kept> {
        let kept = self.by_id.remove(id)?;
        let (user, progress, number) = (kept.user, kept.progress, kept.number);
        self.order.remove(&(progress, number, *id));
        self.by_user.remove(&(user, progress, number, *id));
        self.expiries.remove(&(kept.until, *id));
        self.count(user, -1);
        Some(kept)
    }

    fn count(&mut self, user: UserDigest, change: isize) {
        let before = self.counts.remove(&user).unwrap_or_default();
        self.ranking.remove(&(before, user));
        let count = before.saturating_add_signed(change);
        if count > 0 {
            self.counts.insert(user, count);
            self.ranking.insert((count, user));
        }
    }

    fn advance(&mut self, id: &SessionId, progress: Progress) {
        if let Some(mut kept) = self.remove(id) {
            kept.progress = progress;
            self.put(*id, kept);
        }
    }

    fn remove_expired(&mut self, now: Duration) {
        while let Some(&(until, id)) = self.expiries.first()
            && until <= now
        {
            self.expiries.pop_first();
            self.remove(&id);
        }
    }

    /// What makes room: of the user who has most records, the one that has come farthest, and of those the oldest.
    /// If no user has more than a fair share, the oldest of all that a response carries.
    fn victim(&self) -> Option<SessionId> {
        let &(count, user) = self.ranking.last()?;
        if count > FAIR_SHARE {
            let of_user = self.by_user.range((user, Progress::Presented, 0, LOWEST)..);
            return of_user.map(|&(_, _, _, id)| id).next();
        }
        let first = self.order.first();
        let sent = first.filter(|(progress, _, _)| *progress != Progress::Kept);
        sent.map(|&(_, _, id)| id)
    }

    fn drop_one(&mut self) -> bool {
        let victim = self.victim();
        victim.is_some_and(|id| self.remove(&id).is_some())
    }
}

const LOWEST: SessionId = SessionId::new([0; 32]);

/// Records that one user may have while others need room.
const FAIR_SHARE: usize = 8;

/// Beyond that there are only as many more as refreshes are under way.
const MAX: usize = 10_000;

#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests;
