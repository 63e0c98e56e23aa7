//! Pending ends of sessions: the store failed, so this process rejects the sessions and retries.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounded_map::BoundedMap;
use super::events;
use super::hooks::EndReason;
use super::logout::SignOut;
use super::manager::SessionManager;
use super::open::PresentedSession;
use crate::record::{SessionId, SessionRecord, SessionRef, UserDigest};
use crate::store::StoreError;

/// Sessions whose end is not in the store yet.
///
/// While the store is unavailable, a forged secret cannot be told from a real one. Secrets that this process
/// has not opened before therefore have a limit of their own, which an attacker can exhaust without harm to
/// users.
#[derive(Debug, Default)]
pub(super) struct PendingEnds {
    inner: Mutex<PendingEndsInner>,
    /// Stored sessions that this process has opened, with their user.
    opened: Mutex<BoundedMap<UserDigest>>,
}

#[derive(Debug, Default)]
struct PendingEndsInner {
    ends: HashMap<SessionId, PendingEnd>,
    /// Whether a task writes the pending ends.
    is_running: bool,
}

#[derive(Clone, Debug)]
struct PendingEnd {
    presented: PresentedSession,
    /// The generation of the tokens that were revoked, if any. The hook was called at the same time.
    revoked_generation: Option<u64>,
    reason: EndReason,
    /// The user of the session, or `None` if the secret may be forged.
    user: Option<UserDigest>,
    /// The number of failed attempts.
    failures: u32,
    /// The monotonic time after which every copy of the cookie has expired.
    until: Duration,
}

impl PendingEnds {
    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.lock().ends.contains_key(id)
    }

    /// Records that the secret of this session is not forged.
    pub(super) fn record_opened(&self, record: &SessionRecord) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.get(record.id()).is_none() {
            opened.put(*record.id(), SessionRef::from(record).user);
        }
    }

    fn user_of(&self, id: &SessionId) -> Option<UserDigest> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, PendingEndsInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingEndsInner {
    /// Reports whether there is room for another end of this user, or of a secret that may be forged.
    fn has_room(&self, user: Option<UserDigest>) -> bool {
        let of_same_user = self.ends.values().filter(|end| end.user == user).count();
        let of_users = self.ends.values().filter(|end| end.user.is_some()).count();
        match user {
            Some(_) => of_users < MAX_OF_USERS && of_same_user < MAX_PER_USER,
            None => of_same_user < MAX_UNVERIFIED,
        }
    }
}

impl SessionManager {
    /// Rejects a session in this process and retries to write its end to the store. Returns `false` if too
    /// many ends are pending.
    pub(super) fn end_later(
        &self,
        id: SessionId,
        presented: PresentedSession,
        revoked_generation: Option<u64>,
        reason: EndReason,
    ) -> bool {
        let until = self.flow.clock().monotonic();
        let until = until.saturating_add(self.max_lifetime());
        let user = match &presented {
            PresentedSession::Record(record) => Some(SessionRef::from(&**record).user),
            PresentedSession::Secret(_) => self.local.pending_ends.user_of(&id),
        };
        let mut inner = self.local.pending_ends.lock();
        if !inner.ends.contains_key(&id) {
            if !inner.has_room(user) {
                return false;
            }
            let end = PendingEnd {
                presented,
                revoked_generation,
                reason,
                user,
                failures: 0,
                until,
            };
            inner.ends.insert(id, end);
        }
        if !std::mem::replace(&mut inner.is_running, true) {
            let manager = self.clone();
            tokio::spawn(async move { manager.write_pending_ends().await });
        }
        true
    }

    /// Retries after 1, 2, 4 … 60 seconds. While the store fails, each attempt writes a few ends, and
    /// different ones each time, since the store may fail for the entries of a single session only.
    async fn write_pending_ends(&self) {
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            self.flow.clock().sleep(delay).await;
            let written = self.write_pending_ends_once().await;
            delay = match written {
                Ok(()) => FIRST_RETRY_DELAY,
                Err(_) => (delay * 2).min(LONGEST_RETRY_DELAY),
            };
            let mut inner = self.local.pending_ends.lock();
            if inner.ends.is_empty() {
                inner.is_running = false;
                return;
            }
        }
    }

    async fn write_pending_ends_once(&self) -> Result<(), StoreError> {
        let pending = self.local.pending_ends.lock().ends.clone();
        let mut pending: Vec<_> = pending.into_iter().collect();
        // Sessions of users first, and repeated failures last.
        pending.sort_by_key(|(_, end)| (end.failures, end.user.is_none()));
        let (mut written, mut failed, mut outcome) = (0, 0, Ok(()));
        for (id, end) in pending {
            let expired = self.flow.clock().monotonic() >= end.until;
            if !expired {
                match self.sign_out_in_store(end.presented).await {
                    Ok(SignOut::Ended(record)) => {
                        if end.revoked_generation.is_none() {
                            self.notify_ended(&record, end.reason);
                        }
                        if end
                            .revoked_generation
                            .is_none_or(|revoked| revoked < record.generation())
                        {
                            self.flow.revoke(&record).await;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        outcome = Err(error);
                        if let Some(end) = self.local.pending_ends.lock().ends.get_mut(&id) {
                            end.failures = end.failures.saturating_add(1);
                        }
                        failed += 1;
                        if failed == MAX_FAILURES_PER_ROUND {
                            break;
                        }
                        continue;
                    }
                }
                written += 1;
            }
            self.local.pending_ends.lock().ends.remove(&id);
        }
        if written > 0 {
            events::pending_ends_written(written);
        }
        outcome
    }
}

/// The maximum number of pending ends of users. Each has at most one record: some 4 MB in total.
const MAX_OF_USERS: usize = 1024;

/// The part of one user.
const MAX_PER_USER: usize = 64;

/// The maximum number of pending ends of secrets that may be forged.
const MAX_UNVERIFIED: usize = 1024;

/// Each failure may take up to 2 seconds.
const MAX_FAILURES_PER_ROUND: usize = 4;

const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);
const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(60);
