//! One refresh from its beginning to its end, in a task of its own.

use std::time::Duration;

use super::due::RefreshMode;
use super::flights::RefreshResult;
use super::lease::{LEASE_TTL, Lease};
use super::outcome::RefreshError;
use crate::flow::{FlowError, RefreshFailure, Refreshed, SessionRecord};
use crate::session::backend::{SaveResult, SessionBackend};
use crate::session::events;
use crate::session::hooks::EndReason;
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::telemetry::Refresh;

/// How long another process may have the turn before nobody here waits for it any longer: the life of
/// its lease, should it be dead, and a little more.
const LEASE_WAIT_TIMEOUT: Duration = Duration::from_secs(12);

/// How often it is looked whether the other is done, at first and later.
const FIRST_POLL: Duration = Duration::from_millis(50);
const MAX_POLL: Duration = Duration::from_millis(500);

/// How long a store that failed is left alone, at first and later, while tokens wait to be kept there.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// So often in a row others may have written a session before we pause.
const MAX_CONFLICTS: u32 = 8;

enum LeaseOutcome {
    /// Nothing is left to be done.
    Done(LoadedSession),
    /// It is on us, with this record. Without a store there are no others.
    Acquired(LoadedSession, Option<Lease>),
}

/// Whether it is known that the refresh token was used, or that it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenUse {
    Determined,
    Unclear,
}

impl SessionManager {
    pub(super) async fn attempt(&self, loaded: LoadedSession, mode: RefreshMode) -> RefreshResult {
        let (loaded, lease) = match self.acquire_lease(loaded, mode).await? {
            LeaseOutcome::Done(newest) => return Ok(newest),
            LeaseOutcome::Acquired(loaded, lease) => (loaded, lease),
        };
        let Some(mut lease) = lease else {
            return self.send_refresh_request(&loaded, 0).await.0;
        };
        let work = self.send_refresh_request(&loaded, lease.fence());
        let (outcome, end) = lease.renew_while(work).await;
        // The server may still be at work on a request whose answer was lost. Until the lease has run out
        // nobody sends that refresh token again.
        if end == TokenUse::Determined {
            lease.release().await;
        }
        outcome
    }

    /// Waits until the tokens are what is wanted, or until it is on us to get them.
    async fn acquire_lease(
        &self,
        mut loaded: LoadedSession,
        mode: RefreshMode,
    ) -> Result<LeaseOutcome, RefreshError> {
        let base = loaded.record().generation();
        let clock = self.flow.clock();
        let deadline = clock.monotonic().saturating_add(LEASE_WAIT_TIMEOUT);
        let mut pause = FIRST_POLL;
        loop {
            loaded = self.newest(&loaded).await?;
            if self.is_done(loaded.record(), base, mode)? {
                return Ok(LeaseOutcome::Done(loaded));
            }
            let (SessionBackend::SharedCookie(store) | SessionBackend::Store(store)) =
                &self.backend
            else {
                return Ok(LeaseOutcome::Acquired(loaded, None));
            };
            if let Some(mut lease) = Lease::acquire(store, clock, loaded.record().id()).await? {
                // Who had the turn before may have been done with it between the two looks.
                let newest = self.newest(&loaded).await;
                let done = newest.and_then(|newest| {
                    let done = self.is_done(newest.record(), base, mode)?;
                    Ok((newest, done))
                });
                match done {
                    Ok((newest, false)) if lease.ensure_valid().await => {
                        return Ok(LeaseOutcome::Acquired(newest, Some(lease)));
                    }
                    Ok((newest, true)) => {
                        lease.release().await;
                        return Ok(LeaseOutcome::Done(newest));
                    }
                    // Too slow: somebody else may have the turn by now.
                    Ok((newest, false)) => loaded = newest,
                    Err(failure) => {
                        lease.release().await;
                        return Err(failure);
                    }
                }
            }
            if clock.monotonic() >= deadline {
                return Err(RefreshError::LEASE_HELD);
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(MAX_POLL);
        }
    }

    /// Loads the session as it is now.
    pub(in crate::session) async fn newest(
        &self,
        loaded: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.load(loaded).await?.ok_or(RefreshError::Ended)
    }

    /// Whether there is nothing to do; an error where there is and it cannot be done now.
    fn is_done(
        &self,
        record: &SessionRecord,
        base: u64,
        mode: RefreshMode,
    ) -> Result<bool, RefreshError> {
        if !self.needs_refresh(record, base, mode) {
            return Ok(true);
        }
        let refreshes = &self.local.refreshes;
        if refreshes.rejected.contains(record) {
            return Err(RefreshError::Ended);
        }
        if !self.can_refresh(record) {
            return Err(RefreshError::Expired);
        }
        let now = self.flow.clock().monotonic();
        // A rotated refresh token that is kept nowhere would be lost.
        if self.keeps_in_cookies_alone() && !self.has_room_for(record) {
            return Err(RefreshError::TOO_MANY);
        }
        match refreshes.backoff.pause(record.id(), now) {
            Some(failure) => Err(failure),
            None => Ok(false),
        }
    }

    /// Sends the refresh token, and does what the answer asks for.
    async fn send_refresh_request(
        &self,
        loaded: &LoadedSession,
        fence: u64,
    ) -> (RefreshResult, TokenUse) {
        let record = loaded.record();
        let failure = match self.flow.refresh(record).await {
            Ok(new) => {
                self.local.refreshes.backoff.record_success(record.id());
                let claims = new.id_token.as_ref().map(|(_, claims)| claims.clone());
                let mut saved_session = self.save_tokens(loaded.clone(), new, fence).await;
                if let Ok(newest) = saved_session {
                    Refresh::Success.count();
                    events::refreshed();
                    saved_session = self.after_refresh(newest, claims).await;
                }
                return (saved_session, TokenUse::Determined);
            }
            Err(failure) => failure,
        };
        let outcome = match failure {
            RefreshFailure::Refused(error) => self.refresh_token_rejected(loaded, &error).await,
            RefreshFailure::OtherPerson(error) => {
                Refresh::OtherPerson.count();
                events::other_person(&error);
                self.end_after_refresh(loaded).await
            }
            RefreshFailure::Misconfigured(error) => {
                Refresh::Misconfigured.count();
                events::refresh_misconfigured(&error);
                let failure = RefreshError::Misconfigured(error, Duration::ZERO);
                self.back_off(record, failure, Duration::ZERO)
            }
            RefreshFailure::Unavailable(error) => {
                Refresh::Unavailable.count();
                events::refresh_failed(&error);
                let told = error.retry_after().unwrap_or_default();
                let failure = RefreshError::Unavailable(error, told);
                self.back_off(record, failure, told)
            }
            RefreshFailure::Unclear(error) => {
                Refresh::Unclear.count();
                events::refresh_failed(&error);
                let told = error.retry_after().unwrap_or_default().max(LEASE_TTL);
                let failure = RefreshError::Unavailable(error, told);
                return (self.back_off(record, failure, told), TokenUse::Unclear);
            }
        };
        (outcome, TokenUse::Determined)
    }

    fn back_off(
        &self,
        record: &SessionRecord,
        failure: RefreshError,
        at_least: Duration,
    ) -> RefreshResult {
        let now = self.flow.clock().monotonic();
        let backoff = &self.local.refreshes.backoff;
        Err(backoff.record_failure(*record.id(), failure, at_least, now, self.random()))
    }

    /// Keeps the new tokens where the session is. Nobody has them before that (`L54`).
    async fn save_tokens(
        &self,
        mut loaded: LoadedSession,
        new: Refreshed,
        fence: u64,
    ) -> RefreshResult {
        let sent = loaded.record().refresh_token().cloned();
        let rotated = new.refresh_token.is_some() && new.refresh_token != sent;
        let generation = fence.max(loaded.record().generation().saturating_add(1));
        let clock = self.flow.clock();
        let mut pause = FIRST_PAUSE;
        let mut conflicts = 0;
        loop {
            let record = loaded.record().refreshed(new.clone(), generation);
            let ended = self.has_ended(&record);
            let saved = match self.save(&loaded, record.clone()).await {
                Ok(SaveResult::Stored(newer)) => {
                    self.warn_about_rotation(rotated);
                    return Ok(newer);
                }
                Ok(SaveResult::Conflict) => self.load(&loaded).await,
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
                    loaded = other;
                    conflicts += 1;
                    if conflicts < MAX_CONFLICTS {
                        continue;
                    }
                }
                Err(_) if ended => return Err(RefreshError::Ended),
                Err(error) => events::tokens_not_kept(&error),
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// `L53`: the refresh token is good for nothing any more.
    async fn refresh_token_rejected(
        &self,
        loaded: &LoadedSession,
        error: &FlowError,
    ) -> RefreshResult {
        Refresh::Refused.count();
        let newest = self.newest(loaded).await?;
        if newest.record().refresh_token() != loaded.record().refresh_token() {
            return Ok(newest);
        }
        match self.backend {
            // Another process may have used the refresh token, and the browser may have its answer: what it
            // holds is not touched, and what is good in the meantime stays good.
            SessionBackend::Cookie => {
                events::refresh_reuse_suspected(error);
                self.local.refreshes.rejected.insert(loaded.record());
                Err(RefreshError::Ended)
            }
            SessionBackend::SharedCookie(_) | SessionBackend::Store(_) => {
                events::refresh_refused(error);
                self.end_after_refresh(&newest).await
            }
        }
    }

    /// Where the store is away the next attempt ends the session: the refresh token stays refused.
    async fn end_after_refresh(&self, loaded: &LoadedSession) -> RefreshResult {
        let record = loaded.record();
        match self.end(record).await {
            Ok(()) => self.notify_ended(record, EndReason::Refused),
            Err(error) => events::not_ended(&error),
        }
        Err(RefreshError::Ended)
    }

    /// Once, since it is the same for all sessions.
    fn warn_about_rotation(&self, rotated: bool) {
        let alone = matches!(self.backend, SessionBackend::Cookie);
        if rotated && alone && self.local.refreshes.is_first_warning() {
            events::rotation_without_store();
        }
    }
}
