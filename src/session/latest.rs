//! The latest records of sessions in cookies: a request that presents the cookie from before a refresh gets
//! the refreshed tokens, also if the browser never received that response.
//!
//! Until the browser has the new cookie, this process has the only copy of a rotated refresh token. Therefore
//! a record that no response carried is never evicted in favor of another user, and no refresh starts without
//! room for its result.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::record::{SessionId, SessionRecord, UserDigest};

/// The latest records, bounded by [`MAX`]. Each is as large as its tokens, some 40 MB in total.
#[derive(Debug, Default)]
pub(super) struct LatestRecords(Mutex<Records>);

/// How far the cookie of a record has come. Records are evicted in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CookieProgress {
    /// The browser has sent the cookie of this record or of a newer one.
    Presented,
    /// A response carries the cookie.
    Sent,
    Unsent,
}

#[derive(Debug)]
struct LatestRecord {
    record: Arc<SessionRecord>,
    until: Duration,
    user: UserDigest,
    progress: CookieProgress,
    /// The sequence number of the insertion.
    number: u64,
}

#[derive(Debug, Default)]
struct Records {
    by_id: HashMap<SessionId, LatestRecord>,
    /// All records in eviction order.
    order: BTreeSet<(CookieProgress, u64, SessionId)>,
    /// All records by user, in eviction order.
    by_user: BTreeSet<(UserDigest, CookieProgress, u64, SessionId)>,
    counts: HashMap<UserDigest, usize>,
    /// Users by number of records. The last one has the most.
    ranking: BTreeSet<(usize, UserDigest)>,
    expiries: BTreeSet<(Duration, SessionId)>,
    puts: u64,
}

impl LatestRecords {
    /// Returns the record merged with the newer one of its session, if there is one.
    pub(super) fn of(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let mut records = self.lock();
        let kept = records.by_id.get(record.id())?;
        if kept.record.is_ahead_of(record) {
            return Some(record.merged(&kept.record));
        }
        if kept.progress != CookieProgress::Presented {
            records.advance(record.id(), CookieProgress::Presented);
        }
        None
    }

    /// Inserts a record until its session expires. Returns `false` if there is a record that is newer than
    /// `before`, from which `record` was made.
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
        let kept = LatestRecord {
            record: Arc::clone(record),
            until: now.saturating_add(lifetime),
            user: UserDigest::new(record.issuer(), record.subject()),
            progress: CookieProgress::Unsent,
            number: records.puts,
        };
        records.put(*id, kept);
        true
    }

    /// Reports whether the result of a refresh of this session can be inserted without evicting a record that
    /// other users need.
    pub(super) fn has_room(&self, id: &SessionId, now: Duration) -> bool {
        let mut records = self.lock();
        records.remove_expired(now);
        records.by_id.len() < MAX || records.by_id.contains_key(id) || records.victim().is_some()
    }

    /// Notes that a response carries the cookie of this record.
    pub(super) fn note_sent(&self, record: &SessionRecord) {
        let mut records = self.lock();
        let kept = records.by_id.get(record.id());
        if kept.is_some_and(|kept| {
            kept.progress == CookieProgress::Unsent && !kept.record.is_ahead_of(record)
        }) {
            records.advance(record.id(), CookieProgress::Sent);
        }
    }

    /// Removes the record of an ended session and returns it.
    pub(super) fn take(&self, id: &SessionId) -> Option<Arc<SessionRecord>> {
        self.lock().remove(id).map(|kept| kept.record)
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn put(&mut self, id: SessionId, kept: LatestRecord) {
        let (user, progress, number) = (kept.user, kept.progress, kept.number);
        self.order.insert((progress, number, id));
        self.by_user.insert((user, progress, number, id));
        self.expiries.insert((kept.until, id));
        self.count(user, 1);
        self.by_id.insert(id, kept);
    }

    fn remove(&mut self, id: &SessionId) -> Option<LatestRecord> {
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

    fn advance(&mut self, id: &SessionId, progress: CookieProgress) {
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

    /// Returns the record to evict: of the user with the most records, the first in eviction order. If no
    /// user exceeds the fair share, the oldest record of all whose cookie was sent.
    fn victim(&self) -> Option<SessionId> {
        let &(count, user) = self.ranking.last()?;
        if count > FAIR_SHARE {
            let of_user = self
                .by_user
                .range((user, CookieProgress::Presented, 0, LOWEST)..);
            return of_user.map(|&(_, _, _, id)| id).next();
        }
        let first = self.order.first();
        let sent = first.filter(|(progress, _, _)| *progress != CookieProgress::Unsent);
        sent.map(|&(_, _, id)| id)
    }

    fn drop_one(&mut self) -> bool {
        let victim = self.victim();
        victim.is_some_and(|id| self.remove(&id).is_some())
    }
}

const LOWEST: SessionId = SessionId::new([0; 32]);

/// The number of records that a user keeps while others need room.
const FAIR_SHARE: usize = 8;

/// The maximum number of records. Refreshes in progress may exceed it.
const MAX: usize = 10_000;

#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests;
