//! One refresh from its beginning to its end, in a task of its own.

use std::time::Duration;

use super::due::RefreshMode;
use super::flights::Outcome;
use super::lease::{LEASE, Lease};
use super::outcome::RefreshError;
use crate::flow::{FlowError, RefreshFailure, Refreshed, SessionRecord};
use crate::session::backend::{Saved, SessionBackend};
use crate::session::events;
use crate::session::hooks::EndReason;
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::telemetry::Refresh;

/// How long another process may have the turn before nobody here waits for it any longer: the life of
/// its lease, should it be dead, and a little more.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(12);

/// How often it is looked whether the other is done, at first and later.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const NEXT_LOOK: Duration = Duration::from_millis(500);

/// How long a store that failed is left alone, at first and later, while tokens wait to be kept there.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const NEXT_PAUSE: Duration = Duration::from_secs(1);

/// So often in a row others may have written a session before we pause.
const CONFLICTS: u32 = 8;

enum Turn {
    /// Nothing is left to be done.
    Done(LoadedSession),
    /// It is on us, with this record. Without a store there are no others.
    Ours(LoadedSession, Option<Lease>),
}

/// Whether it is known that the refresh token was used, or that it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Known,
    Unclear,
}

impl SessionManager {
    pub(super) async fn attempt(&self, held: LoadedSession, want: RefreshMode) -> Outcome {
        let (held, lease) = match self.turn(held, want).await? {
            Turn::Done(newest) => return Ok(newest),
            Turn::Ours(held, lease) => (held, lease),
        };
        let Some(mut lease) = lease else {
            return self.exchange(&held, 0).await.0;
        };
        let work = self.exchange(&held, lease.fence());
        let (outcome, end) = lease.renewed_while(work).await;
        // The server may still be at work on a request whose answer was lost. Until the lease has run out
        // nobody sends that refresh token again.
        if end == End::Known {
            lease.release().await;
        }
        outcome
    }

    /// Waits until the tokens are what is wanted, or until it is on us to get them.
    async fn turn(&self, mut held: LoadedSession, want: RefreshMode) -> Result<Turn, RefreshError> {
        let base = held.record().generation();
        let clock = self.flow.clock();
        let deadline = clock.monotonic().saturating_add(WAIT_FOR_OTHERS);
        let mut pause = FIRST_LOOK;
        loop {
            held = self.newest(&held).await?;
            if self.is_done(held.record(), base, want)? {
                return Ok(Turn::Done(held));
            }
            let (SessionBackend::CookieWith(store) | SessionBackend::Store(store)) = &self.place
            else {
                return Ok(Turn::Ours(held, None));
            };
            if let Some(mut lease) = Lease::take(store, clock, held.record().id()).await? {
                // Who had the turn before may have been done with it between the two looks.
                let newest = self.newest(&held).await;
                let done = newest.and_then(|newest| {
                    let done = self.is_done(newest.record(), base, want)?;
                    Ok((newest, done))
                });
                match done {
                    Ok((newest, false)) if lease.is_good().await => {
                        return Ok(Turn::Ours(newest, Some(lease)));
                    }
                    Ok((newest, true)) => {
                        lease.release().await;
                        return Ok(Turn::Done(newest));
                    }
                    // Too slow: somebody else may have the turn by now.
                    Ok((newest, false)) => held = newest,
                    Err(failure) => {
                        lease.release().await;
                        return Err(failure);
                    }
                }
            }
            if clock.monotonic() >= deadline {
                return Err(RefreshError::HELD_ELSEWHERE);
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(NEXT_LOOK);
        }
    }

    /// Loads the session as it is now.
    pub(in crate::session) async fn newest(
        &self,
        held: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.load(held).await?.ok_or(RefreshError::Ended)
    }

    /// Whether there is nothing to do; an error where there is and it cannot be done now.
    fn is_done(
        &self,
        record: &SessionRecord,
        base: u64,
        want: RefreshMode,
    ) -> Result<bool, RefreshError> {
        if !self.is_wanted(record, base, want) {
            return Ok(true);
        }
        let memory = &self.memory.refreshes;
        if memory.refused.holds(record) {
            return Err(RefreshError::Ended);
        }
        if !self.can_refresh(record) {
            return Err(RefreshError::Expired);
        }
        let now = self.flow.clock().monotonic();
        // A rotated refresh token that is kept nowhere would be lost.
        if self.keeps_in_cookies_alone() && !self.has_room_for(record) {
            return Err(RefreshError::CROWDED);
        }
        match memory.backoff.pause(record.id(), now) {
            Some(failure) => Err(failure),
            None => Ok(false),
        }
    }

    /// Sends the refresh token, and does what the answer asks for.
    async fn exchange(&self, held: &LoadedSession, fence: u64) -> (Outcome, End) {
        let record = held.record();
        let failure = match self.flow.refresh(record).await {
            Ok(new) => {
                self.memory.refreshes.backoff.succeeded(record.id());
                let claims = new.id_token.as_ref().map(|(_, claims)| claims.clone());
                let mut kept = self.keep(held.clone(), new, fence).await;
                if let Ok(newest) = kept {
                    Refresh::Success.count();
                    events::refreshed();
                    kept = self.after_refresh(newest, claims).await;
                }
                return (kept, End::Known);
            }
            Err(failure) => failure,
        };
        let outcome = match failure {
            RefreshFailure::Refused(error) => self.refused(held, &error).await,
            RefreshFailure::OtherSubject(error) => {
                Refresh::OtherPerson.count();
                events::other_person(&error);
                self.end_refreshed(held).await
            }
            RefreshFailure::Misconfigured(error) => {
                Refresh::Misconfigured.count();
                events::refresh_misconfigured(&error);
                let failure = RefreshError::Misconfigured(error, Duration::ZERO);
                self.again_later(record, failure, Duration::ZERO)
            }
            RefreshFailure::Unavailable(error) => {
                Refresh::Unavailable.count();
                events::refresh_failed(&error);
                let told = error.retry_after().unwrap_or_default();
                let failure = RefreshError::Unavailable(error, told);
                self.again_later(record, failure, told)
            }
            RefreshFailure::Unclear(error) => {
                Refresh::Unclear.count();
                events::refresh_failed(&error);
                let told = error.retry_after().unwrap_or_default().max(LEASE);
                let failure = RefreshError::Unavailable(error, told);
                return (self.again_later(record, failure, told), End::Unclear);
            }
        };
        (outcome, End::Known)
    }

    fn again_later(
        &self,
        record: &SessionRecord,
        failure: RefreshError,
        at_least: Duration,
    ) -> Outcome {
        let now = self.flow.clock().monotonic();
        let backoff = &self.memory.refreshes.backoff;
        Err(backoff.failed(*record.id(), failure, at_least, now, self.random()))
    }

    /// Keeps the new tokens where the session is. Nobody has them before that (`L54`).
    async fn keep(&self, mut held: LoadedSession, new: Refreshed, fence: u64) -> Outcome {
        let sent = held.record().refresh_token().cloned();
        let rotated = new.refresh_token.is_some() && new.refresh_token != sent;
        let generation = fence.max(held.record().generation().saturating_add(1));
        let clock = self.flow.clock();
        let mut pause = FIRST_PAUSE;
        let mut conflicts = 0;
        loop {
            let record = held.record().refreshed(new.clone(), generation);
            let ended = self.has_ended(&record);
            let saved = match self.save(&held, record.clone()).await {
                Ok(Saved::Stored(newer)) => {
                    self.warn_of_rotation(rotated);
                    return Ok(newer);
                }
                Ok(Saved::Conflict) => self.load(&held).await,
                Err(error) => Err(error),
            };
            match saved {
                // `L47`: it was signed out while the server took its time. Its tokens are worth nothing
                // to anybody.
                Ok(None) => {
                    self.flow.revoke(&record).await;
                    return Err(RefreshError::Ended);
                }
                // Ours, where only the answer of the store was lost, or those of a later turn.
                Ok(Some(other)) if other.record().generation() >= generation => return Ok(other),
                // Something else was written, such as the time of the last request.
                Ok(Some(other)) => {
                    held = other;
                    conflicts += 1;
                    if conflicts < CONFLICTS {
                        continue;
                    }
                }
                Err(_) if ended => return Err(RefreshError::Ended),
                Err(error) => events::tokens_not_kept(&error),
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(NEXT_PAUSE);
        }
    }

    /// `L53`: the refresh token is good for nothing any more.
    async fn refused(&self, held: &LoadedSession, error: &FlowError) -> Outcome {
        Refresh::Refused.count();
        let newest = self.newest(held).await?;
        if newest.record().refresh_token() != held.record().refresh_token() {
            return Ok(newest);
        }
        match self.place {
            // Another process may have used the refresh token, and the browser may have its answer: what it
            // holds is not touched, and what is good in the meantime stays good.
            SessionBackend::Cookie => {
                events::refresh_reuse_suspected(error);
                self.memory.refreshes.refused.note(held.record());
                Err(RefreshError::Ended)
            }
            SessionBackend::CookieWith(_) | SessionBackend::Store(_) => {
                events::refresh_refused(error);
                self.end_refreshed(&newest).await
            }
        }
    }

    /// Where the store is away the next attempt ends the session: the refresh token stays refused.
    async fn end_refreshed(&self, held: &LoadedSession) -> Outcome {
        let record = held.record();
        match self.end(record).await {
            Ok(()) => self.notify_ended(record, EndReason::Refused),
            Err(error) => events::not_ended(&error),
        }
        Err(RefreshError::Ended)
    }

    /// Once, since it is the same for all sessions.
    fn warn_of_rotation(&self, rotated: bool) {
        let alone = matches!(self.place, SessionBackend::Cookie);
        if rotated && alone && self.memory.refreshes.warns() {
            events::rotation_without_store();
        }
    }
}
