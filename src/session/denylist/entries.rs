//! Entries and watermarks of the denylist, and how room is made for new ones.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::WatermarkScope;
use crate::clock::{Clock, MAX_CLOCK_SKEW, seconds_after, unix_seconds};
use crate::record::{SessionId, SessionRecord, UserDigest};

/// A time on both clocks, in seconds. An entry expires when both clocks have passed it, so that a clock set
/// forward does not make an ended session valid again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    monotonic: u64,
    wall: i64,
}

/// The first 8 bytes of a session ID, which is 256 random bits that no caller chooses. A session collides
/// with one of 2^17 entries with a probability of 2^-47.
type ShortId = u64;

#[derive(Debug)]
struct DenylistEntry {
    /// `None` if the session was ended by its ID alone.
    user: Option<UserDigest>,
    created_at: i64,
    expires: Deadline,
}

#[derive(Debug)]
struct Watermark {
    created_at: i64,
    expires: Deadline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ExpiringItem {
    Session(ShortId),
    Watermark(UserDigest),
}

#[derive(Debug, Default)]
pub(super) struct DenylistEntries {
    sessions: HashMap<ShortId, DenylistEntry>,
    /// By user, in the order of creation.
    by_user: BTreeSet<(UserDigest, i64, ShortId)>,
    watermarks: HashMap<UserDigest, Watermark>,
    expiries: BTreeSet<(Deadline, ExpiringItem)>,
    /// Never lowered.
    watermark_of_all: Option<i64>,
    /// The monotonic second until which no further warning is due.
    no_warning_until: u64,
}

impl Deadline {
    fn now(clock: &dyn Clock) -> Self {
        Self {
            monotonic: clock.monotonic().as_secs(),
            wall: unix_seconds(clock),
        }
    }

    fn after(self, duration: Duration) -> Self {
        Self {
            // Whole seconds are rounded down.
            monotonic: self.monotonic.saturating_add(duration.as_secs() + 1),
            wall: seconds_after(self.wall, duration),
        }
    }

    fn has_passed(self, now: Self) -> bool {
        self.monotonic <= now.monotonic && self.wall <= now.wall
    }

    fn later(self, other: Self) -> Self {
        Self {
            monotonic: self.monotonic.max(other.monotonic),
            wall: self.wall.max(other.wall),
        }
    }
}

impl DenylistEntries {
    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.sessions.contains_key(&short(id))
    }

    pub(super) fn watermark(&self, record: &SessionRecord) -> Option<i64> {
        if self.watermarks.is_empty() {
            return self.watermark_of_all;
        }
        let user = UserDigest::new(record.issuer(), record.subject());
        let own = self.watermarks.get(&user);
        own.map(|watermark| watermark.created_at)
            .max(self.watermark_of_all)
    }

    pub(super) fn insert(
        &mut self,
        id: &SessionId,
        user: Option<UserDigest>,
        created_at: i64,
        clock: &dyn Clock,
        lifetime: Duration,
    ) -> Option<WatermarkScope> {
        let now = Deadline::now(clock);
        self.remove_expired(now);
        let id = short(id);
        let own = user.and_then(|user| self.watermarks.get(&user));
        let watermark = own.map(|one| one.created_at).max(self.watermark_of_all);
        let covered = user.is_some() && watermark.is_some_and(|one| created_at <= one);
        if covered || self.sessions.contains_key(&id) {
            return None;
        }
        let expires = now.after(lifetime);
        self.expiries.insert((expires, ExpiringItem::Session(id)));
        if let Some(user) = user {
            self.by_user.insert((user, created_at, id));
        }
        let entry = DenylistEntry {
            user,
            created_at,
            expires,
        };
        self.sessions.insert(id, entry);
        let mut raised = None;
        if user.is_some_and(|user| self.cap(user, MAX_PER_USER)) {
            raised = Some(WatermarkScope::OneUser);
        }
        if self.len() > MAX {
            raised = Some(self.make_room(now));
        }
        let due = raised.filter(|_| self.no_warning_until <= now.monotonic)?;
        self.no_warning_until = now.monotonic.saturating_add(SECONDS_BETWEEN_WARNINGS);
        Some(due)
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len() + self.watermarks.len()
    }

    fn remove_expired(&mut self, now: Deadline) {
        while let Some(&(expires, item)) = self.expiries.first() {
            if !expires.has_passed(now) {
                return;
            }
            self.expiries.pop_first();
            match item {
                ExpiringItem::Session(id) => self.remove(id),
                ExpiringItem::Watermark(user) => drop(self.watermarks.remove(&user)),
            }
        }
    }

    fn remove(&mut self, id: ShortId) {
        let Some(entry) = self.sessions.remove(&id) else {
            return;
        };
        self.expiries
            .remove(&(entry.expires, ExpiringItem::Session(id)));
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
        let mut expires = Deadline {
            monotonic: 0,
            wall: i64::MIN,
        };
        // The watermark also covers sessions that were created in the same second.
        for &(_, _, id) in entries.iter().take_while(|(_, at, _)| *at <= level) {
            if let Some(entry) = self.sessions.get(&id) {
                expires = expires.later(entry.expires);
            }
            self.remove(id);
        }
        self.raise(user, level, expires);
        true
    }

    fn raise(&mut self, user: UserDigest, level: i64, expires: Deadline) {
        let mut watermark = Watermark {
            created_at: level,
            expires,
        };
        if let Some(before) = self.watermarks.remove(&user) {
            self.expiries
                .remove(&(before.expires, ExpiringItem::Watermark(user)));
            watermark.created_at = watermark.created_at.max(before.created_at);
            watermark.expires = watermark.expires.later(before.expires);
        }
        self.expiries
            .insert((watermark.expires, ExpiringItem::Watermark(user)));
        self.watermarks.insert(user, watermark);
    }

    /// Makes room at the expense of the users with the most entries, and of all users only if each has one.
    fn make_room(&mut self, now: Deadline) -> WatermarkScope {
        for most in [32, 16, 8, 4, 2, 1] {
            for user in self.users_with_more_than(most) {
                self.cap(user, most);
            }
            if self.len() <= TARGET_LEN {
                return WatermarkScope::OneUser;
            }
        }
        let sessions = self.sessions.values().map(|entry| entry.created_at);
        let watermarks = self.watermarks.values().map(|one| one.created_at);
        let mut times: Vec<i64> = sessions.chain(watermarks).collect();
        let surplus = times.len() - TARGET_LEN;
        let level = *times.select_nth_unstable(surplus).1;
        // A session that was created later than this is rejected anyway, as it is from the future.
        let raised = level.min(seconds_after(now.wall, MAX_CLOCK_SKEW));
        self.watermark_of_all = self.watermark_of_all.max(Some(raised));
        let covered = |entry: &DenylistEntry| entry.created_at <= level;
        let ids = self.sessions.iter().filter(|(_, entry)| covered(entry));
        let ids: Vec<ShortId> = ids.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.remove(id));
        let expiries = &mut self.expiries;
        self.watermarks.retain(|user, watermark| {
            let stays = watermark.created_at > level;
            if !stays {
                expiries.remove(&(watermark.expires, ExpiringItem::Watermark(*user)));
            }
            stays
        });
        WatermarkScope::AllUsers
    }

    fn users_with_more_than(&self, most: usize) -> Vec<UserDigest> {
        let mut users = Vec::new();
        let mut run: (Option<UserDigest>, usize) = (None, 0);
        for &(user, _, _) in &self.by_user {
            run = match run {
                (Some(before), count) if before == user => (run.0, count + 1),
                _ => (Some(user), 1),
            };
            if run.1 == most + 1 {
                users.push(user);
            }
        }
        users
    }
}

fn short(id: &SessionId) -> ShortId {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    ShortId::from_be_bytes(first)
}

/// The maximum number of entries of one user. Beyond it a watermark for this user replaces them.
pub(super) const MAX_PER_USER: usize = 64;

/// The maximum number of entries and watermarks: 25 MB.
pub(super) const MAX: usize = 1 << 17;

/// The number of entries that remain after making room, so that the next inserts need no scan.
const TARGET_LEN: usize = MAX - MAX / 16;

const SECONDS_BETWEEN_WARNINGS: u64 = 60;
