//! The denylist of this process: sessions that were ended before they expired.
//!
//! A live entry is never evicted. If there is no room for it, a watermark replaces it: sessions that were
//! created at or before the watermark are rejected, either those of one user or, as the last resort, those of
//! all users.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::{BothClocks, MAX_CLOCK_SKEW, seconds_after};
use crate::expiring_map::ExpiringMap;
use crate::record::{SessionId, SessionRecord, SessionRef, UserDigest};
use crate::sync::RwLock;

/// Ended sessions. Each entry lasts for as long as a copy of the cookie could be accepted otherwise, on both
/// clocks, so that a clock set forward does not make an ended session valid again.
#[derive(Debug, Default)]
pub(super) struct Denylist(RwLock<DenylistEntries>);

/// The users to which a raised watermark applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatermarkScope {
    OneUser,
    AllUsers,
}

impl Denylist {
    /// Denies a session for `lifetime`. Returns the scope of the watermark that was raised for it, if any.
    pub(super) fn insert(
        &self,
        session: &SessionRef,
        now: BothClocks,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        let entry = DenylistEntry {
            user: Some(session.user),
            created_at: session.created_at,
        };
        self.0.write().insert(&session.id, entry, now, lifetime)
    }

    /// Denies a session by its ID alone. The limit per user does not apply to such entries.
    pub(super) fn insert_id(
        &self,
        id: &SessionId,
        now: BothClocks,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        let entry = DenylistEntry {
            user: None,
            created_at: now.wall,
        };
        self.0.write().insert(id, entry, now, lifetime)
    }

    /// Reports whether the session has been ended, by its entry or by a watermark.
    pub(super) fn contains(&self, record: &SessionRecord) -> bool {
        let entries = self.0.read();
        let watermark = || entries.watermark(|| record.user());
        entries.contains(record.id())
            || watermark().is_some_and(|level| record.created_at() <= level)
    }

    /// Reports whether the session with this ID has an entry. Ignores watermarks.
    pub(super) fn contains_id(&self, id: &SessionId) -> bool {
        self.0.read().contains(id)
    }

    /// Returns the creation time up to which sessions of this user are rejected.
    pub(super) fn watermark(&self, record: &SessionRecord) -> Option<i64> {
        self.0.read().watermark(|| record.user())
    }
}

/// The first 8 bytes of a session ID, which is 256 random bits that no caller chooses. A session collides
/// with one of 2^17 entries with a probability of 2^-47.
type ShortId = u64;

#[derive(Debug)]
struct DenylistEntry {
    /// `None` if the session was ended by its ID alone.
    user: Option<UserDigest>,
    created_at: i64,
}

/// Both maps together have at most [`MAX`] entries; neither evicts any.
#[derive(Debug)]
struct DenylistEntries {
    sessions: ExpiringMap<ShortId, DenylistEntry, BothClocks>,
    /// By user, in the order of creation.
    by_user: BTreeSet<(UserDigest, i64, ShortId)>,
    watermarks: ExpiringMap<UserDigest, i64, BothClocks>,
    /// Never lowered.
    watermark_of_all: Option<i64>,
}

impl Default for DenylistEntries {
    fn default() -> Self {
        Self {
            sessions: ExpiringMap::new(usize::MAX),
            by_user: BTreeSet::new(),
            watermarks: ExpiringMap::new(usize::MAX),
            watermark_of_all: None,
        }
    }
}

impl DenylistEntries {
    fn contains(&self, id: &SessionId) -> bool {
        self.sessions.get(&short(id)).is_some()
    }

    fn watermark(&self, user: impl FnOnce() -> UserDigest) -> Option<i64> {
        if self.watermarks.is_empty() {
            return self.watermark_of_all;
        }
        self.watermarks
            .get(&user())
            .copied()
            .max(self.watermark_of_all)
    }

    fn insert(
        &mut self,
        id: &SessionId,
        entry: DenylistEntry,
        now: BothClocks,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        self.remove_expired(now);
        let id = short(id);
        let (user, created_at) = (entry.user, entry.created_at);
        let watermark = user.and_then(|user| self.watermark(|| user));
        if watermark.is_some_and(|level| created_at <= level) || self.sessions.get(&id).is_some() {
            return None;
        }
        self.sessions.insert(id, entry, now.after(lifetime));
        let mut raised = None;
        if let Some(user) = user {
            self.by_user.insert((user, created_at, id));
            if self.cap(user, MAX_PER_USER) {
                raised = Some(WatermarkScope::OneUser);
            }
        }
        if self.len() > MAX {
            raised = Some(self.make_room(now));
        }
        raised
    }

    fn len(&self) -> usize {
        self.sessions.len() + self.watermarks.len()
    }

    fn remove_expired(&mut self, now: BothClocks) {
        let has_expired = |until: BothClocks| until.has_passed(now);
        while let Some((id, entry)) = self.sessions.pop_first_if(has_expired) {
            self.remove_of_user(id, &entry);
        }
        while self.watermarks.pop_first_if(has_expired).is_some() {}
    }

    fn remove(&mut self, id: ShortId) {
        if let Some(entry) = self.sessions.remove(&id) {
            self.remove_of_user(id, &entry);
        }
    }

    fn remove_of_user(&mut self, id: ShortId, entry: &DenylistEntry) {
        if let Some(user) = entry.user {
            self.by_user.remove(&(user, entry.created_at, id));
        }
    }

    /// Reduces the entries of a user to the `most` newest. Reports whether a watermark replaced others.
    fn cap(&mut self, user: UserDigest, most: usize) -> bool {
        let of_user = (user, i64::MIN, 0)..=(user, i64::MAX, ShortId::MAX);
        let entries: Vec<_> = self.by_user.range(of_user).copied().collect();
        let Some(surplus) = entries.len().checked_sub(most).filter(|more| *more > 0) else {
            return false;
        };
        let level = entries[surplus - 1].1;
        // The watermark also covers sessions that were created in the same second, and lasts as long as all that it
        // covers.
        let covered = entries.iter().take_while(|(_, at, _)| *at <= level);
        let covered: Vec<ShortId> = covered.map(|(_, _, id)| *id).collect();
        let expiries = covered.iter().map(|id| self.sessions.expiry(id));
        let expiries = expiries.chain([self.watermarks.expiry(&user)]).flatten();
        if let Some(until) = expiries.reduce(BothClocks::later) {
            let before = self.watermarks.get(&user).copied();
            let raised = before.map_or(level, |before| before.max(level));
            self.watermarks.insert(user, raised, until);
        }
        covered.into_iter().for_each(|id| self.remove(id));
        true
    }

    /// Makes room at the expense of the users with the most entries, and of all users only if each has one.
    fn make_room(&mut self, now: BothClocks) -> WatermarkScope {
        for most in [32, 16, 8, 4, 2, 1] {
            for user in self.users_with_more_than(most) {
                self.cap(user, most);
            }
            if self.len() <= TARGET_LEN {
                return WatermarkScope::OneUser;
            }
        }
        let sessions = self.sessions.iter().map(|(_, entry)| entry.created_at);
        let watermarks = self.watermarks.iter().map(|(_, level)| *level);
        let mut times: Vec<i64> = sessions.chain(watermarks).collect();
        let surplus = times.len() - TARGET_LEN;
        let level = *times.select_nth_unstable(surplus).1;
        // A session that was created later than this is rejected anyway, as it is from the future.
        let raised = level.min(seconds_after(now.wall, MAX_CLOCK_SKEW));
        self.watermark_of_all = self.watermark_of_all.max(Some(raised));
        let sessions = self.sessions.iter();
        let covered = sessions.filter(|(_, entry)| entry.created_at <= level);
        let covered: Vec<ShortId> = covered.map(|(id, _)| *id).collect();
        covered.into_iter().for_each(|id| self.remove(id));
        let watermarks = self.watermarks.iter();
        let covered = watermarks.filter(|(_, of_user)| **of_user <= level);
        let covered: Vec<UserDigest> = covered.map(|(user, _)| *user).collect();
        for user in covered {
            self.watermarks.remove(&user);
        }
        WatermarkScope::AllUsers
    }

    fn users_with_more_than(&self, most: usize) -> Vec<UserDigest> {
        let entries: Vec<UserDigest> = self.by_user.iter().map(|(user, _, _)| *user).collect();
        let users = entries.chunk_by(|one, next| one == next);
        let many = users.filter(|entries| entries.len() > most);
        many.map(|entries| entries[0]).collect()
    }
}

fn short(id: &SessionId) -> ShortId {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    ShortId::from_be_bytes(first)
}

/// The maximum number of entries of one user. Beyond it a watermark for this user replaces them.
const MAX_PER_USER: usize = 64;

/// The maximum number of entries and watermarks: 30 MB. Fewer in tests, which fill the list.
const MAX: usize = if cfg!(test) { 1 << 12 } else { 1 << 17 };

/// The number of entries that remain after making room, so that the next inserts need no scan.
const TARGET_LEN: usize = MAX - MAX / 16;
