//! The ends of sessions that the store has not recorded yet. `sign_out` writes them.

use std::time::Duration;

use super::hooks::EndReason;
use super::loaded::PresentedSession;
use crate::expiring_map::ExpiringMap;
use crate::record::{SessionId, SessionRecord, UserDigest};
use crate::sync::RwLock;

/// Sessions whose end is not in the store yet.
///
/// While the store is unavailable, a forged secret cannot be told from a real one. Secrets that this process
/// has not opened before therefore have a limit of their own, which an attacker can exhaust without harm to
/// users.
#[derive(Debug)]
pub(super) struct PendingEnds {
    ends: RwLock<PendingEndsById>,
    /// Stored sessions that this process has opened, with their user.
    opened: RwLock<ExpiringMap<SessionId, UserDigest, ()>>,
}

#[derive(Debug)]
struct PendingEndsById {
    /// Until every copy of the cookie has expired. Bounded by [`has_room`](Self::has_room).
    by_id: ExpiringMap<SessionId, PendingEnd>,
    /// Whether a task writes the pending ends.
    is_running: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PendingEnd {
    pub(super) presented: PresentedSession,
    /// The generation of the tokens that were revoked, if any. The hook was called at the same time.
    pub(super) revoked_generation: Option<u64>,
    pub(super) reason: EndReason,
    /// The user of the session, or `None` if the secret may be forged.
    pub(super) user: Option<UserDigest>,
    /// The number of failed attempts.
    pub(super) failures: u32,
}

/// What follows from a new pending end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndAdded {
    /// The caller must start the task that writes the pending ends.
    First,
    /// A task is running.
    Added,
    TooMany,
}

impl Default for PendingEnds {
    fn default() -> Self {
        Self {
            ends: RwLock::new(PendingEndsById {
                by_id: ExpiringMap::new(usize::MAX),
                is_running: false,
            }),
            opened: RwLock::new(ExpiringMap::new(MAX_OPENED)),
        }
    }
}

impl PendingEnds {
    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.ends.read().by_id.get(id).is_some()
    }

    /// Records that the secret of this session is not forged.
    pub(super) fn record_opened(&self, record: &SessionRecord) {
        if self.user_of(record.id()).is_none() {
            let mut opened = self.opened.write();
            opened.insert(*record.id(), record.user(), ());
        }
    }

    pub(super) fn user_of(&self, id: &SessionId) -> Option<UserDigest> {
        self.opened.read().get(id).copied()
    }

    /// Adds an end, unless there are too many of this user, of users, or of secrets that may be forged.
    pub(super) fn add(&self, id: SessionId, end: PendingEnd, until: Duration) -> EndAdded {
        let mut ends = self.ends.write();
        if ends.by_id.get(&id).is_none() {
            if !ends.has_room(end.user) {
                return EndAdded::TooMany;
            }
            ends.by_id.insert(id, end, until);
        }
        match std::mem::replace(&mut ends.is_running, true) {
            false => EndAdded::First,
            true => EndAdded::Added,
        }
    }

    /// Returns the ends to write, those of users first and repeated failures last. Removes those that have expired.
    pub(super) fn due(&self, now: Duration) -> Vec<(SessionId, PendingEnd)> {
        let mut ends = self.ends.write();
        ends.by_id.remove_expired(now);
        let due = ends.by_id.iter().map(|(id, end)| (*id, end.clone()));
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, end)| (end.failures, end.user.is_none()));
        due
    }

    pub(super) fn note_failure(&self, id: &SessionId) {
        if let Some(end) = self.ends.write().by_id.get_mut(id) {
            end.failures = end.failures.saturating_add(1);
        }
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.ends.write().by_id.remove(id);
    }

    /// Reports whether none is left. The task ends then, and the next end starts another one.
    pub(super) fn is_done(&self) -> bool {
        let mut ends = self.ends.write();
        ends.is_running = !ends.by_id.is_empty();
        !ends.is_running
    }
}

impl PendingEndsById {
    fn has_room(&self, user: Option<UserDigest>) -> bool {
        let users = || self.by_id.iter().map(|(_, end)| end.user);
        let of_same_user = users().filter(|other| *other == user).count();
        let of_users = users().filter(Option::is_some).count();
        match user {
            Some(_) => of_users < MAX_ENDS_OF_USERS && of_same_user < MAX_ENDS_PER_USER,
            None => of_same_user < MAX_UNVERIFIED_ENDS,
        }
    }
}

/// The maximum number of opened sessions: a few MB. Beyond it the oldest is removed.
const MAX_OPENED: usize = 10_000;

/// The maximum number of pending ends of users. Each has at most one record: some 4 MB in total.
const MAX_ENDS_OF_USERS: usize = 1024;

/// The part of one user.
const MAX_ENDS_PER_USER: usize = 64;

/// The maximum number of pending ends of secrets that may be forged.
const MAX_UNVERIFIED_ENDS: usize = 1024;
