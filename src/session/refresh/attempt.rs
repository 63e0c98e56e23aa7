//! Runs one refresh from the lease to the saved tokens, in a task that outlives its callers.

use std::sync::Arc;
use std::time::Duration;

use super::lease::{LEASE_TTL, Lease};
use super::state::RefreshResult;
use super::{RefreshMode, TOO_MANY, can_refresh};
use crate::flow::{FlowError, RefreshFailure, Refreshed};
use crate::record::SessionRecord;
use crate::session::clock_rollback::SessionTime;
use crate::session::error::SessionError;
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
        mode: &RefreshMode,
    ) -> RefreshResult {
        let (loaded, lease) = match self.acquire_lease(loaded, mode).await? {
            LeaseOutcome::Done(newest) => return Ok(newest),
            LeaseOutcome::Acquired(loaded, lease) => (loaded, lease),
        };
        let Some(mut lease) = lease else {
            return self.send_refresh_request(&loaded, mode, 0).await.0;
        };
        let work = self.send_refresh_request(&loaded, mode, lease.fence());
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
        mode: &RefreshMode,
    ) -> Result<LeaseOutcome, SessionError> {
        let base = Arc::clone(loaded.record());
        let clock = self.clock();
        let deadline = clock.monotonic().saturating_add(LEASE_WAIT_TIMEOUT);
        let mut delay = FIRST_POLL;
        loop {
            let (newest, done) = self.newest_and_done(&loaded, &base, mode).await?;
            if done {
                return Ok(LeaseOutcome::Done(newest));
            }
            loaded = newest;
            let Some(store) = self.store() else {
                return Ok(LeaseOutcome::Acquired(loaded, None));
            };
            let lease = Lease::acquire(store, clock, loaded.record().id()).await;
            if let Some(mut lease) = lease.map_err(|error| SessionError::store(&error))? {
                // The previous holder may have finished between the first load and the lease.
                match self.newest_and_done(&loaded, &base, mode).await {
                    Ok((newest, false)) if lease.ensure_valid().await => {
                        return Ok(LeaseOutcome::Acquired(newest, Some(lease)));
                    }
                    // Too slow: the lease has expired and another process may have it.
                    Ok((newest, false)) => loaded = newest,
                    checked => {
                        lease.release().await;
                        return checked.map(|(newest, _)| LeaseOutcome::Done(newest));
                    }
                }
            }
            if clock.monotonic() >= deadline {
                return Err(SessionError::busy(
                    "another process is refreshing the session",
                ));
            }
            clock.sleep(delay).await;
            delay = (delay * 2).min(MAX_POLL);
        }
    }

    /// Loads the newest state of the session.
    pub(in crate::session) async fn newest(
        &self,
        loaded: &LoadedSession,
        now: &SessionTime,
    ) -> Result<LoadedSession, SessionError> {
        let newest = self.load(loaded, now).await;
        let newest = newest.map_err(|error| SessionError::store(&error))?;
        newest.ok_or(SessionError::Ended)
    }

    /// Loads the newest state of the session. Reports whether it needs no refresh, or returns an error if it needs
    /// one that is not possible now.
    async fn newest_and_done(
        &self,
        loaded: &LoadedSession,
        base: &SessionRecord,
        mode: &RefreshMode,
    ) -> Result<(LoadedSession, bool), SessionError> {
        let now = self.time();
        let newest = self.newest(loaded, &now).await?;
        let record = newest.record();
        if !self.needs_refresh(record, base, mode, &now) {
            return Ok((newest, true));
        }
        let refreshes = &self.local.refreshes;
        if refreshes.is_rejected(record) {
            return Err(SessionError::Ended);
        }
        if !can_refresh(record, &now) {
            let needs_one = mode.resource().is_some() && record.tokens().refresh_token.is_none();
            return Err(match needs_one {
                true => SessionError::NoRefreshToken,
                false => SessionError::AccessTokenExpired,
            });
        }
        // Without room for the result, a rotated refresh token would be lost.
        if !self.has_room_for(record) {
            return Err(SessionError::busy(TOO_MANY));
        }
        match self.active_failure(record, mode, now.monotonic()) {
            Some(failure) => Err(failure),
            None => Ok((newest, false)),
        }
    }

    /// Sends the refresh token and handles the response.
    async fn send_refresh_request(
        &self,
        loaded: &LoadedSession,
        mode: &RefreshMode,
        fence: u64,
    ) -> (RefreshResult, TokenUse) {
        let record = loaded.record();
        let Some(flow) = self.flow_of(record) else {
            return (Err(SessionError::Ended), TokenUse::Known);
        };
        let failure = match flow.refresh(record, mode.target()).await {
            Ok(new) if new.access_token.is_none() => {
                return (
                    self.keep_refresh_token(loaded, new, fence).await,
                    TokenUse::Known,
                );
            }
            Ok(new) => {
                let now = self.clock().monotonic();
                let resource = self.resource_of(record, mode);
                self.local
                    .refreshes
                    .record_success(record.id(), resource, now);
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
            RefreshFailure::NotForSession(error) => {
                Refresh::NotForSession.count();
                events::refresh_tokens_rejected(&error);
                self.end_after_refresh(loaded).await
            }
            RefreshFailure::Misconfigured(error) => {
                Refresh::Misconfigured.count();
                let resource = match error.is_about_resource() {
                    // The other tokens of the session can be refreshed.
                    true => {
                        events::resource_refused(&error);
                        self.resource_of(record, mode)
                    }
                    false => {
                        events::refresh_misconfigured(&error);
                        None
                    }
                };
                let retry_after = Duration::ZERO;
                let failure = SessionError::Refused { error, retry_after };
                self.back_off(record, resource, failure)
            }
            RefreshFailure::Unexplained(error) if self.confirms_rejection(record) => {
                self.refresh_token_rejected(loaded, &error).await
            }
            RefreshFailure::Unavailable(error) | RefreshFailure::Unexplained(error) => {
                Refresh::Unavailable.count();
                events::refresh_failed(&error);
                let retry_after = error.retry_after().unwrap_or_default();
                self.back_off(record, None, unavailable(&error, retry_after))
            }
            RefreshFailure::Unclear(error) => {
                Refresh::Unclear.count();
                events::refresh_failed(&error);
                let retry_after = error.retry_after().unwrap_or_default().max(LEASE_TTL);
                let outcome = self.back_off(record, None, unavailable(&error, retry_after));
                return (outcome, TokenUse::Unknown);
            }
        };
        (outcome, TokenUse::Known)
    }

    fn confirms_rejection(&self, record: &SessionRecord) -> bool {
        let now = self.clock().monotonic();
        self.local.refreshes.confirms_rejection(*record.id(), now)
    }

    /// Delays the next refresh of the session, or only that of the token for `resource`.
    fn back_off(
        &self,
        record: &SessionRecord,
        resource: Option<&Arc<str>>,
        failure: SessionError,
    ) -> RefreshResult {
        let (now, refreshes) = (self.clock().monotonic(), &self.local.refreshes);
        let random = self.random();
        Err(refreshes.record_failure(record.id(), resource, failure, now, random))
    }

    /// Saves a rotated refresh token that arrived without a usable access token, so that the next attempt sends the new
    /// one, and delays that attempt.
    async fn keep_refresh_token(
        &self,
        loaded: &LoadedSession,
        new: Refreshed,
        fence: u64,
    ) -> RefreshResult {
        Refresh::Unavailable.count();
        let saved = self.save_tokens(loaded.clone(), new, fence).await?;
        let error = FlowError::no_access_token();
        events::refresh_failed(&error);
        self.back_off(saved.record(), None, unavailable(&error, Duration::ZERO))
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
        let (clock, refreshes) = (self.clock(), &self.local.refreshes);
        let mut delay = FIRST_RETRY_DELAY;
        let mut conflicts = 0;
        loop {
            let record = new.applied_to(loaded.record(), generation);
            let now = self.time();
            let ended = self.has_ended(&record, &now);
            let current = match self.save(&loaded, record.clone(), &now).await {
                Ok(Some(newer)) => {
                    if rotated && self.is_cookie_only() && refreshes.rotation_warning.is_first() {
                        events::rotation_without_store();
                    }
                    return Ok(newer);
                }
                Ok(None) => self.load(&loaded, &now).await,
                Err(error) => Err(error),
            };
            match current {
                // The session ended during the request, so its tokens are of no further use.
                Ok(None) => {
                    self.revoke(&record).await;
                    return Err(SessionError::Ended);
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
                Err(_) if ended => return Err(SessionError::Ended),
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
        let newest = self.newest(loaded, &self.time()).await?;
        if newest.record().tokens().refresh_token != loaded.record().tokens().refresh_token {
            return Ok(newest);
        }
        if self.is_cookie_only() {
            // Another process may have used the refresh token, and the browser may have that response. So the
            // cookie is not changed, and the access token is used until it expires.
            events::refresh_reuse_suspected(error);
            self.local.refreshes.record_rejection(loaded.record());
            return Err(SessionError::Ended);
        }
        events::refresh_token_rejected(error);
        self.end_after_refresh(&newest).await
    }

    /// If the store fails, the next attempt ends the session, since the refresh token stays invalid.
    async fn end_after_refresh(&self, loaded: &LoadedSession) -> RefreshResult {
        let record = loaded.record();
        match self.end(record).await {
            Ok(()) => self.notify_ended(record, EndReason::RefreshRejected),
            Err(error) => events::end_failed(&error),
        }
        Err(SessionError::Ended)
    }
}

fn unavailable(error: &FlowError, retry_after: Duration) -> SessionError {
    SessionError::Unavailable {
        reason: error.to_string(),
        retry_after,
    }
}
