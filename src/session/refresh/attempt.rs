//! Runs one refresh from the lease to the saved tokens, in a task that outlives its callers.

use std::time::Duration;

use super::due::RefreshMode;
use super::error::RefreshError;
use super::flights::RefreshResult;
use super::lease::{LEASE_TTL, Lease};
use crate::flow::{FlowError, RefreshFailure, Refreshed};
use crate::record::SessionRecord;
use crate::session::backend::{SaveResult, SessionBackend};
use crate::session::events;
use crate::session::hooks::EndReason;
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::telemetry::Refresh;

/// How long this process waits for the lease of another one: the TTL of the lease, in case its holder
/// crashed, and a margin.
const LEASE_WAIT_TIMEOUT: Duration = Duration::from_secs(12);

/// How often the session is loaded while another process has the lease, at first and at most.
const FIRST_POLL: Duration = Duration::from_millis(50);
const MAX_POLL: Duration = Duration::from_millis(500);

/// The delay before the store is retried while refreshed tokens are not saved, at first and at most.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(250);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The number of consecutive conflicts after which saving pauses.
const MAX_CONFLICTS: u32 = 8;

enum LeaseOutcome {
    /// The session needs no refresh.
    Done(LoadedSession),
    /// This process refreshes this record. Without a store there is no lease, since no other process has the
    /// session.
    Acquired(LoadedSession, Option<Lease>),
}

/// Whether it is known if the authorization server used the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenUse {
    Known,
    Unknown,
}

impl SessionManager {
    pub(super) async fn run_refresh(
        &self,
        loaded: LoadedSession,
        mode: RefreshMode,
    ) -> RefreshResult {
        let (loaded, lease) = match self.acquire_lease(loaded, mode).await? {
            LeaseOutcome::Done(newest) => return Ok(newest),
            LeaseOutcome::Acquired(loaded, lease) => (loaded, lease),
        };
        let Some(mut lease) = lease else {
            return self.send_refresh_request(&loaded, 0).await.0;
        };
        let work = self.send_refresh_request(&loaded, lease.fence());
        let (outcome, token_use) = lease.renew_while(work).await;
        // The authorization server may still process a request whose response was lost. No process sends the
        // refresh token again until the lease has expired.
        if token_use == TokenUse::Known {
            lease.release().await;
        }
        outcome
    }

    /// Waits until the session needs no refresh or this process has the lease.
    async fn acquire_lease(
        &self,
        mut loaded: LoadedSession,
        mode: RefreshMode,
    ) -> Result<LeaseOutcome, RefreshError> {
        let base = loaded.record().generation();
        let clock = self.flow.clock();
        let deadline = clock.monotonic().saturating_add(LEASE_WAIT_TIMEOUT);
        let mut delay = FIRST_POLL;
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
                // The previous holder may have finished between the first load and the lease.
                let newest = self.newest(&loaded).await;
                let checked = newest.and_then(|newest| {
                    let done = self.is_done(newest.record(), base, mode)?;
                    Ok((newest, done))
                });
                match checked {
                    Ok((newest, false)) if lease.ensure_valid().await => {
                        return Ok(LeaseOutcome::Acquired(newest, Some(lease)));
                    }
                    Ok((newest, true)) => {
                        lease.release().await;
                        return Ok(LeaseOutcome::Done(newest));
                    }
                    // Too slow: the lease has expired and another process may have it.
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
            clock.sleep(delay).await;
            delay = (delay * 2).min(MAX_POLL);
        }
    }

    /// Loads the newest state of the session.
    pub(in crate::session) async fn newest(
        &self,
        loaded: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.load(loaded).await?.ok_or(RefreshError::Ended)
    }

    /// Reports whether the session needs no refresh. Returns an error if it needs one that is not possible
    /// now.
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
        // Without room for the result, a rotated refresh token would be lost.
        if self.is_cookie_only() && !self.has_room_for(record) {
            return Err(RefreshError::TOO_MANY);
        }
        match refreshes.backoff.active_failure(record.id(), now) {
            Some(failure) => Err(failure),
            None => Ok(false),
        }
    }

    /// Sends the refresh token and handles the response.
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
                let mut saved = self.save_tokens(loaded.clone(), new, fence).await;
                if let Ok(newest) = saved {
                    Refresh::Success.count();
                    events::refreshed(record.id());
                    saved = self.after_refresh(newest, claims).await;
                }
                return (saved, TokenUse::Known);
            }
            Err(failure) => failure,
        };
        let outcome = match failure {
            RefreshFailure::Refused(error) => self.refresh_token_rejected(loaded, &error).await,
            RefreshFailure::OtherSubject(error) => {
                Refresh::OtherSubject.count();
                events::refresh_subject_mismatch(&error);
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
                let retry_after = error.retry_after().unwrap_or_default();
                let failure = RefreshError::Unavailable(error, retry_after);
                self.back_off(record, failure, retry_after)
            }
            RefreshFailure::Unclear(error) => {
                Refresh::Unclear.count();
                events::refresh_failed(&error);
                let retry_after = error.retry_after().unwrap_or_default().max(LEASE_TTL);
                let failure = RefreshError::Unavailable(error, retry_after);
                return (
                    self.back_off(record, failure, retry_after),
                    TokenUse::Unknown,
                );
            }
        };
        (outcome, TokenUse::Known)
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

    /// Saves the new tokens. No caller receives them before that, since unsaved rotated tokens can be lost.
    async fn save_tokens(
        &self,
        mut loaded: LoadedSession,
        new: Refreshed,
        fence: u64,
    ) -> RefreshResult {
        let sent = loaded.record().tokens().refresh_token.clone();
        let rotated = new.refresh_token.is_some() && new.refresh_token != sent;
        let generation = fence.max(loaded.record().generation().saturating_add(1));
        let clock = self.flow.clock();
        let mut delay = FIRST_RETRY_DELAY;
        let mut conflicts = 0;
        loop {
            let record = new.applied_to(loaded.record(), generation);
            let ended = self.has_ended(&record);
            let current = match self.save(&loaded, record.clone()).await {
                Ok(SaveResult::Stored(newer)) => {
                    self.warn_about_rotation(rotated);
                    return Ok(newer);
                }
                Ok(SaveResult::Conflict) => self.load(&loaded).await,
                Err(error) => Err(error),
            };
            match current {
                // The session ended during the request, so its tokens are of no further use.
                Ok(None) => {
                    self.flow.revoke(&record).await;
                    return Err(RefreshError::Ended);
                }
                // Saved by this attempt whose store response was lost, or by a later lease.
                Ok(Some(other)) if other.record().generation() >= generation => return Ok(other),
                // Another write, for example of the time of the last use.
                Ok(Some(other)) => {
                    loaded = other;
                    conflicts += 1;
                    if conflicts < MAX_CONFLICTS {
                        continue;
                    }
                }
                Err(_) if ended => return Err(RefreshError::Ended),
                Err(error) => events::tokens_not_saved(&error),
            }
            clock.sleep(delay).await;
            delay = (delay * 2).min(MAX_RETRY_DELAY);
        }
    }

    /// Handles `invalid_grant`: the refresh token is invalid ([RFC 6749 §5.2]).
    ///
    /// [RFC 6749 §5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    async fn refresh_token_rejected(
        &self,
        loaded: &LoadedSession,
        error: &FlowError,
    ) -> RefreshResult {
        Refresh::Refused.count();
        let newest = self.newest(loaded).await?;
        if newest.record().tokens().refresh_token != loaded.record().tokens().refresh_token {
            return Ok(newest);
        }
        match self.backend {
            // Another process may have used the refresh token, and the browser may have that response. So the
            // cookie is not changed, and the access token is used until it expires.
            SessionBackend::Cookie => {
                events::refresh_reuse_suspected(error);
                self.local.refreshes.rejected.insert(loaded.record());
                Err(RefreshError::Ended)
            }
            SessionBackend::SharedCookie(_) | SessionBackend::Store(_) => {
                events::refresh_token_rejected(error);
                self.end_after_refresh(&newest).await
            }
        }
    }

    /// If the store fails, the next attempt ends the session, since the refresh token stays invalid.
    async fn end_after_refresh(&self, loaded: &LoadedSession) -> RefreshResult {
        let record = loaded.record();
        match self.end(record).await {
            Ok(()) => self.notify_ended(record, EndReason::RefreshRejected),
            Err(error) => events::end_failed(&error),
        }
        Err(RefreshError::Ended)
    }

    /// Warns once, since the reason is the same for all sessions.
    fn warn_about_rotation(&self, rotated: bool) {
        let is_cookie_only = matches!(self.backend, SessionBackend::Cookie);
        if rotated && is_cookie_only && self.local.refreshes.is_first_warning() {
            events::rotation_without_store();
        }
    }
}
