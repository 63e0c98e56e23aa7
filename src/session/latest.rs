//! The latest records of sessions in cookies: a request that presents the cookie from before a refresh gets
//! the refreshed tokens, also if the browser never received that response.
//!
//! Until the browser has the new cookie, this process has the only copy of a rotated refresh token. Therefore
//! a record that no response carried is never evicted in favor of another user, and no refresh starts without
//! room for its result.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::expiring_map::ExpiringMap;
use crate::record::{SessionId, SessionRecord, UserDigest};
use crate::sync::RwLock;

/// The latest records, bounded by [`MAX`]. Each is as large as its tokens, some 40 MB in total.
#[derive(Debug, Default)]
pub(super) struct LatestRecords(RwLock<Records>);

/// How far the cookie of a record has come. Records are evicted in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CookieProgress {
    /// The browser has sent the cookie of this record or of a newer one.
    Presented,
    /// A response carries the cookie.
    Sent,
    Unsent,
}

/// Progress, number of the insertion and session, in eviction order.
type EvictionRank = (CookieProgress, u64, SessionId);

#[derive(Debug)]
struct LatestRecord {
    record: Arc<SessionRecord>,
    user: UserDigest,
    rank: EvictionRank,
}

#[derive(Debug)]
struct Records {
    /// Evicts none: a refresh in progress may exceed [`MAX`].
    by_id: ExpiringMap<SessionId, LatestRecord>,
    order: BTreeSet<EvictionRank>,
    by_user: HashMap<UserDigest, BTreeSet<EvictionRank>>,
    /// Users by number of records. The last one has the most.
    ranking: BTreeSet<(usize, UserDigest)>,
    insertions: u64,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            by_id: ExpiringMap::new(usize::MAX),
            order: BTreeSet::new(),
            by_user: HashMap::new(),
            ranking: BTreeSet::new(),
            insertions: 0,
        }
    }
}

impl LatestRecords {
    /// Returns the record merged with the newer one of its session, if there is one.
    pub(super) fn of(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let records = self.0.read();
        let kept = records.by_id.get(record.id())?;
        if kept.record.is_ahead_of(record) {
            return Some(record.merged(&kept.record));
        }
        if kept.rank.0 != CookieProgress::Presented {
            drop(records);
            self.0.write().advance(record, CookieProgress::Presented);
        }
        None
    }

    /// Returns the record with the tokens for further resources that its cookie was too small for.
    pub(super) fn completing(&self, record: &SessionRecord) -> Option<SessionRecord> {
        let records = self.0.read();
        record.completed_by(&records.by_id.get(record.id())?.record)
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
        let mut records = self.0.write();
        let kept = records.by_id.get(record.id());
        if kept.is_some_and(|kept| kept.record.is_ahead_of(before)) {
            return false;
        }
        records.remove(record.id());
        records.remove_expired(now);
        while records.by_id.len() >= MAX
            && let Some(victim) = records.victim()
        {
            records.remove(&victim);
        }
        records.insertions += 1;
        let kept = LatestRecord {
            record: Arc::clone(record),
            user: record.user(),
            rank: (CookieProgress::Unsent, records.insertions, *record.id()),
        };
        records.insert(kept, now.saturating_add(lifetime));
        true
    }

    /// Reports whether the result of a refresh of this session can be inserted without evicting a record that
    /// other users need.
    pub(super) fn has_room(&self, id: &SessionId, now: Duration) -> bool {
        let mut records = self.0.write();
        records.remove_expired(now);
        records.by_id.len() < MAX || records.by_id.get(id).is_some() || records.victim().is_some()
    }

    /// Notes that a response carries the cookie of this record.
    pub(super) fn note_sent(&self, record: &SessionRecord) {
        self.0.write().advance(record, CookieProgress::Sent);
    }

    /// Removes the record of an ended session and returns it.
    pub(super) fn take(&self, id: &SessionId) -> Option<Arc<SessionRecord>> {
        self.0.write().remove(id).map(|kept| kept.record)
    }
}

impl Records {
    fn insert(&mut self, kept: LatestRecord, until: Duration) {
        let (user, rank) = (kept.user, kept.rank);
        self.by_id.insert(rank.2, kept, until);
        self.order.insert(rank);
        self.change_user(user, |ranks| ranks.insert(rank));
    }

    fn remove(&mut self, id: &SessionId) -> Option<LatestRecord> {
        let kept = self.by_id.remove(id)?;
        self.forget_rank(&kept);
        Some(kept)
    }

    fn remove_expired(&mut self, now: Duration) {
        for (_, kept) in self.by_id.remove_expired(now) {
            self.forget_rank(&kept);
        }
    }

    fn forget_rank(&mut self, kept: &LatestRecord) {
        self.order.remove(&kept.rank);
        self.change_user(kept.user, |ranks| ranks.remove(&kept.rank));
    }

    fn change_user(
        &mut self,
        user: UserDigest,
        change: impl FnOnce(&mut BTreeSet<EvictionRank>) -> bool,
    ) {
        let mut ranks = self.by_user.remove(&user).unwrap_or_default();
        self.ranking.remove(&(ranks.len(), user));
        change(&mut ranks);
        if !ranks.is_empty() {
            self.ranking.insert((ranks.len(), user));
            self.by_user.insert(user, ranks);
        }
    }

    /// Notes that the cookie of this record has come so far, unless the kept record is newer.
    fn advance(&mut self, record: &SessionRecord, progress: CookieProgress) {
        let id = record.id();
        let kept = self.by_id.get(id);
        let is_behind =
            |kept: &LatestRecord| kept.rank.0 > progress && !kept.record.is_ahead_of(record);
        if kept.is_some_and(is_behind)
            && let Some(until) = self.by_id.expiry(id)
            && let Some(mut kept) = self.remove(id)
        {
            kept.rank.0 = progress;
            self.insert(kept, until);
        }
    }

    /// Returns the record to evict: of the user with the most records, the first in eviction order. If no
    /// user exceeds the fair share, the oldest record of all whose cookie was sent.
    fn victim(&self) -> Option<SessionId> {
        let &(count, user) = self.ranking.last()?;
        let rank = if count > FAIR_SHARE {
            self.by_user.get(&user)?.first()
        } else {
            let sent = |rank: &&EvictionRank| rank.0 != CookieProgress::Unsent;
            self.order.first().filter(sent)
        };
        rank.map(|rank| rank.2)
    }
}

/// The last use of sessions in cookies, in seconds since the Unix epoch.
///
/// The time of the last use is only in the cookie. A `Session` that outlives its request has the time of that request,
/// and would otherwise end as idle while its browser still uses the session.
#[derive(Debug)]
pub(super) struct LastUses(RwLock<ExpiringMap<SessionId, i64, ()>>);

impl LastUses {
    pub(super) fn record(&self, record: &SessionRecord) {
        let recorded = self.0.read().get(record.id()).copied();
        if recorded.is_none_or(|recorded| recorded < record.last_seen()) {
            let mut uses = self.0.write();
            uses.insert(*record.id(), record.last_seen(), ());
        }
    }

    /// Returns the last observed use if it is later than the one in the record.
    pub(super) fn later_than(&self, record: &SessionRecord) -> Option<i64> {
        let recorded = self.0.read().get(record.id()).copied();
        recorded.filter(|recorded| *recorded > record.last_seen())
    }
}

impl Default for LastUses {
    fn default() -> Self {
        Self(RwLock::new(ExpiringMap::new(MAX_USES)))
    }
}

/// The maximum number of sessions in [`LastUses`]: a few MB. Beyond it the oldest is removed.
const MAX_USES: usize = 10_000;

/// The number of records that a user keeps while others need room.
const FAIR_SHARE: usize = 8;

/// The maximum number of records, fewer in tests, which fill the map. Refreshes in progress may exceed it.
const MAX: usize = if cfg!(test) { 1_000 } else { 10_000 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::record_of;

    const HOUR: Duration = Duration::from_secs(3600);

    fn numbered(record: &SessionRecord, number: usize) -> (SessionRecord, Arc<SessionRecord>) {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let before = record.clone().with_id(SessionId::new(id));
        let after = before.clone().with_app_data(Some("1".to_owned()));
        (before, Arc::new(after))
    }

    fn keep(latest: &LatestRecords, record: &SessionRecord, number: usize) -> SessionRecord {
        let (before, after) = numbered(record, number);
        assert!(latest.replace(&before, &after, Duration::ZERO, HOUR));
        before
    }

    #[test]
    fn one_user_with_many_sessions_evicts_no_record_of_another() {
        let (alice, mallory) = (record_of("alice", 0), record_of("mallory", 0));
        let latest = LatestRecords::default();
        let before = keep(&latest, &alice, usize::MAX);
        for number in 0..3 * MAX {
            keep(&latest, &mallory, number);
        }
        assert!(latest.of(&before).is_some());
        assert_eq!(latest.0.read().by_id.len(), MAX);
        assert!(latest.has_room(before.id(), Duration::ZERO));
    }

    #[test]
    fn records_that_the_browser_has_are_evicted_and_unsent_records_are_not() {
        let user = |number: usize| record_of(&number.to_string(), 0);
        let latest = LatestRecords::default();
        for number in 0..MAX {
            keep(&latest, &user(number), number);
        }
        let other = SessionId::new([9; 32]);
        let (first, newest) = numbered(&user(0), 0);
        assert!(!latest.has_room(&other, Duration::ZERO));
        assert!(
            latest.has_room(first.id(), Duration::ZERO),
            "it replaces its own record"
        );
        latest.note_sent(&first);
        assert!(!latest.has_room(&other, Duration::ZERO), "an older cookie");
        latest.note_sent(&newest);
        assert!(latest.has_room(&other, Duration::ZERO));
        let (second, presented) = numbered(&user(1), 1);
        assert!(latest.of(&presented).is_none());
        let before = keep(&latest, &user(MAX), MAX);
        assert!(latest.of(&second).is_none(), "the browser has it");
        assert!(latest.of(&first).is_some());
        assert!(latest.of(&before).is_some());
        // Expired records make room too.
        assert!(latest.has_room(&other, HOUR));
        let records = latest.0.read();
        assert!(records.by_id.is_empty() && records.by_user.is_empty());
        assert!(records.ranking.is_empty() && records.order.is_empty());
    }
}
