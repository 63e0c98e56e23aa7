//! Ends of sessions that the store did not accept: this process refuses the sessions, and tries again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounded_map::BoundedMap;
use super::events;
use super::hooks::EndReason;
use super::logout::SignOut;
use super::manager::SessionManager;
use super::open::PresentedSession;
use crate::flow::{SessionId, SessionRecord, SessionRef, UserDigest};
use crate::store::StoreError;

/// Sessions whose end is yet to be written to the store.
///
/// While the store cannot be asked, a made-up ticket looks like that of a session. So what this process has not opened
/// before has a room of its own, which whoever makes tickets up can fill without harm to the others.
#[derive(Debug, Default)]
pub(super) struct PendingEnds {
    inner: Mutex<Inner>,
    /// Stored sessions that this process has opened.
    opened: Mutex<BoundedMap<UserDigest>>,
}

#[derive(Debug, Default)]
struct Inner {
    ends: HashMap<SessionId, PendingEnd>,
    /// Whether a task writes them.
    is_served: bool,
}

#[derive(Clone, Debug)]
struct PendingEnd {
    shown: PresentedSession,
    /// The generation of the tokens that are revoked already, if any are. The application was told then.
    told: Option<u64>,
    reason: EndReason,
    /// Whose session it is; `None` if the cookie may be made up.
    user: Option<UserDigest>,
    /// How often it was tried in vain.
    failures: u32,
    /// The monotonic time from which no copy of the cookie can be accepted any more.
    until: Duration,
}

impl PendingEnds {
    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.lock().ends.contains_key(id)
    }

    /// Notes that a ticket is that of a session.
    pub(super) fn note_opened(&self, record: &SessionRecord) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.get(record.id()).is_none() {
            opened.put(*record.id(), SessionRef::from(record).user);
        }
    }

    fn user_of(&self, id: &SessionId) -> Option<UserDigest> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether there is room for one more end of this user, or of what may be made up.
    fn has_room(&self, user: Option<UserDigest>) -> bool {
        let alike = self.ends.values().filter(|end| end.user == user).count();
        let known = self.ends.values().filter(|end| end.user.is_some()).count();
        match user {
            Some(_) => known < MAX_KNOWN && alike < MAX_PER_USER,
            None => alike < MAX_UNKNOWN,
        }
    }
}

impl SessionManager {
    /// Refuses a session in this process, and writes its end to the store as soon as that is possible. Returns
    /// `false` if too many ends are pending.
    pub(super) fn end_later(
        &self,
        id: SessionId,
        shown: PresentedSession,
        told: Option<u64>,
        reason: EndReason,
    ) -> bool {
        let until = self.flow.clock().monotonic();
        let until = until.saturating_add(self.longest_life());
        let user = match &shown {
            PresentedSession::Record(record) => Some(SessionRef::from(&**record).user),
            PresentedSession::SessionSecret(_) => self.memory.pending_ends.user_of(&id),
        };
        let mut inner = self.memory.pending_ends.lock();
        if !inner.ends.contains_key(&id) {
            if !inner.has_room(user) {
                return false;
            }
            let end = PendingEnd {
                shown,
                told,
                reason,
                user,
                failures: 0,
                until,
            };
            inner.ends.insert(id, end);
        }
        if !std::mem::replace(&mut inner.is_served, true) {
            let keeper = self.clone();
            tokio::spawn(async move { keeper.write_pending_ends().await });
        }
        true
    }

    /// Tries after 1, 2, 4 … 60 seconds. While the store fails, a few ends are tried at a time: others each time, since
    /// it may be the entries of one session alone that fail.
    async fn write_pending_ends(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.flow.clock().sleep(pause).await;
            let written = self.write_pending_ends_once().await;
            pause = match written {
                Ok(()) => FIRST_PAUSE,
                Err(_) => (pause * 2).min(LONGEST_PAUSE),
            };
            let mut inner = self.memory.pending_ends.lock();
            if inner.ends.is_empty() {
                inner.is_served = false;
                return;
            }
        }
    }

    async fn write_pending_ends_once(&self) -> Result<(), StoreError> {
        let pending = self.memory.pending_ends.lock().ends.clone();
        let mut pending: Vec<_> = pending.into_iter().collect();
        // Sessions before what may be made up, and what failed before after what did not.
        pending.sort_by_key(|(_, end)| (end.failures, end.user.is_none()));
        let (mut written, mut failed, mut outcome) = (0, 0, Ok(()));
        for (id, end) in pending {
            let over = self.flow.clock().monotonic() >= end.until;
            if !over {
                match self.sign_out_in_store(end.shown).await {
                    Ok(SignOut::Ended(record)) => {
                        if end.told.is_none() {
                            self.notify_ended(&record, end.reason);
                        }
                        if end.told.is_none_or(|revoked| revoked < record.generation()) {
                            self.flow.revoke(&record).await;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => {
                        outcome = Err(error);
                        if let Some(end) = self.memory.pending_ends.lock().ends.get_mut(&id) {
                            end.failures = end.failures.saturating_add(1);
                        }
                        failed += 1;
                        if failed == FAILURES_AT_A_TIME {
                            break;
                        }
                        continue;
                    }
                }
                written += 1;
            }
            self.memory.pending_ends.lock().ends.remove(&id);
        }
        if written > 0 {
            events::pending_ends_written(written);
        }
        outcome
    }
}

/// Ends of sessions. Each holds a session record at most: some 4 MB in all.
const MAX_KNOWN: usize = 1024;

/// Those of one user among them.
const MAX_PER_USER: usize = 64;

/// Ends of what may be made up, each with a ticket.
const MAX_UNKNOWN: usize = 1024;

/// Each waits 2 seconds at most.
const FAILURES_AT_A_TIME: usize = 4;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
