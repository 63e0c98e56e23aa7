//! Refreshes the tokens of sessions ([RFC 6749 §6]).
//!
//! One request serves all callers: in this process they share a single flight, and processes that share a
//! store take turns with a lease. The attempt runs in its own task, and callers receive new tokens only after
//! they have been saved.
//!
//! [RFC 6749 §6]: https://www.rfc-editor.org/rfc/rfc6749#section-6

mod attempt;
mod lease;
pub(super) mod state;

use std::sync::Arc;
use std::time::Duration;

use self::state::{RefreshResult, RefreshWaiter};
use super::clock_rollback::SessionTime;
use super::error::{AppDataError, SessionError};
use super::events;
use super::hooks::{EndReason, RefreshAction, RefreshedSession};
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::clock::within;
use crate::flow::RefreshTarget;
use crate::protocol::Claims;
use crate::record::{ResourceToken, SessionRecord, TokenTimes};

/// When a refresh is required.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RefreshMode {
    /// The access token expires soon.
    Proactive(TokenOf),
    /// The access token has expired, or there is none yet.
    IfExpired(TokenOf),
    /// Always, unless all access tokens of the caller were replaced or discarded: an API has rejected one of them.
    Forced,
}

/// A further resource, or `None` for the access token of the session.
type TokenOf = Option<Arc<str>>;

impl RefreshMode {
    fn resource(&self) -> Option<&Arc<str>> {
        match self {
            Self::Proactive(resource) | Self::IfExpired(resource) => resource.as_ref(),
            Self::Forced => None,
        }
    }

    fn target(&self) -> RefreshTarget {
        match (self, self.resource()) {
            (Self::Forced, _) => RefreshTarget::All,
            (_, Some(resource)) => RefreshTarget::Resource(Arc::clone(resource)),
            (_, None) => RefreshTarget::Session,
        }
    }
}

impl SessionManager {
    /// Returns the session with a valid access token, refreshing it if it has expired: that of a further resource, or
    /// that of the session.
    pub(super) async fn refresh_if_expired(
        &self,
        loaded: &LoadedSession,
        resource: Option<&Arc<str>>,
    ) -> RefreshResult {
        let mode = RefreshMode::IfExpired(resource.cloned());
        self.join_refresh(loaded, mode).await
    }

    /// Returns the session with other tokens than those of `loaded`.
    pub(super) async fn force_refresh(&self, loaded: &LoadedSession) -> RefreshResult {
        self.join_refresh(loaded, RefreshMode::Forced).await
    }

    /// Starts a refresh if one is due, without waiting for it, since the access token is still valid. Returns
    /// a waiter for callers that need the result.
    pub(super) fn refresh_proactively(
        &self,
        loaded: &LoadedSession,
        resource: Option<&Arc<str>>,
        now: &SessionTime,
    ) -> Option<RefreshWaiter> {
        let record = loaded.record();
        let refreshes = &self.local.refreshes;
        let mode = RefreshMode::Proactive(resource.cloned());
        let is_delayed = || {
            let failure = self.active_failure(record, &mode, now.monotonic());
            refreshes.is_rejected(record) || failure.is_some()
        };
        if !self.needs_refresh(record, record, &mode, now) || is_delayed() {
            return None;
        }
        self.join(loaded, &mode).ok()
    }

    /// Reports whether a session in a cookie has ended because its access token has expired and its refresh
    /// token was rejected.
    pub(super) fn is_refresh_rejected(&self, record: &SessionRecord, now: &SessionTime) -> bool {
        !self.has_valid_token(record, None, now) && self.local.refreshes.is_rejected(record)
    }

    /// Returns the last failure of a refresh of the session, or of this token, if the next attempt is not due yet.
    fn active_failure(
        &self,
        record: &SessionRecord,
        mode: &RefreshMode,
        now: Duration,
    ) -> Option<SessionError> {
        let refreshes = &self.local.refreshes;
        let of = |resource| refreshes.active_failure(record.id(), resource, now);
        of(None).or_else(|| of(Some(self.resource_of(record, mode)?)))
    }

    /// Returns the resource that a refresh requests a token for.
    fn resource_of<'a>(
        &'a self,
        record: &SessionRecord,
        mode: &'a RefreshMode,
    ) -> Option<&'a Arc<str>> {
        mode.resource().or_else(|| self.main_resource(record))
    }

    /// Returns the resource that the access token of a session is requested for, at its provider.
    pub(super) fn main_resource(&self, record: &SessionRecord) -> Option<&Arc<str>> {
        self.flow_of(record)?.main_resource()
    }

    /// Waits for at most `limit` until no refresh is in progress in this process. Reports whether that was
    /// reached.
    pub(crate) async fn wait_for_refreshes(&self, limit: Duration) -> bool {
        let attempts = self.local.refreshes.attempts.wait_until_idle();
        let idle = within(&**self.clock(), limit, attempts).await;
        idle.is_some()
    }

    async fn join_refresh(&self, loaded: &LoadedSession, mode: RefreshMode) -> RefreshResult {
        let mut attempts = 0;
        loop {
            let waiter = self.join(loaded, &mode)?;
            let has_started = waiter.has_started();
            let outcome = within(&**self.clock(), REFRESH_TIMEOUT, waiter.outcome()).await;
            let outcome = outcome.ok_or_else(|| SessionError::busy("the refresh timed out"))?;
            let newest = match outcome {
                None => return Err(SessionError::busy("the refresh was aborted")),
                // The attempt of another caller, perhaps for another token.
                Some(Err(error)) if !has_started && error.is_about_one_token() => continue,
                Some(result) => result?,
            };
            // An attempt that another caller started may have required no refresh for its mode.
            let base = loaded.record();
            // The tokens of a process that took over the lease may lack the one that this attempt received.
            attempts += u32::from(has_started);
            let is_last = match mode.resource() {
                None => has_started,
                Some(_) => attempts == MAX_ATTEMPTS,
            };
            if is_last || !self.needs_refresh(newest.record(), base, &mode, &self.time()) {
                return Ok(newest);
            }
        }
    }

    /// Reports whether this record needs a refresh, for a caller with the tokens of `base`.
    fn needs_refresh(
        &self,
        record: &SessionRecord,
        base: &SessionRecord,
        mode: &RefreshMode,
        now: &SessionTime,
    ) -> bool {
        match mode {
            RefreshMode::Proactive(resource) => {
                let times = record.tokens().times(resource.as_deref());
                let is_due = |times| now.wall() >= due_at(record, times, now);
                can_refresh(record, now) && times.is_some_and(is_due)
            }
            RefreshMode::IfExpired(resource) => {
                !self.has_valid_token(record, resource.as_deref(), now)
            }
            RefreshMode::Forced => !are_replaced(base, record),
        }
    }

    /// Reports whether there is an access token for this resource, or for the session, that has not expired. A token that
    /// was requested for another resource than the first one now configured counts as expired.
    pub(super) fn has_valid_token(
        &self,
        record: &SessionRecord,
        resource: Option<&str>,
        now: &SessionTime,
    ) -> bool {
        let tokens = record.tokens();
        let is_ours = resource.is_some() || tokens.resource.as_ref() == self.main_resource(record);
        let times = tokens.times(resource);
        is_ours && times.is_some_and(|times| now.wall() < token_ends_at(times, now))
    }

    fn join(
        &self,
        loaded: &LoadedSession,
        mode: &RefreshMode,
    ) -> Result<RefreshWaiter, SessionError> {
        let attempts = &self.local.refreshes.attempts;
        attempts.join(*loaded.record().id(), |attempt| {
            if attempt.in_progress() >= MAX_IN_PROGRESS {
                return Err(SessionError::busy(TOO_MANY));
            }
            let (manager, loaded, mode) = (self.clone(), loaded.clone(), mode.clone());
            Ok(async move { manager.run_refresh(loaded, &mode).await })
        })
    }

    /// Calls the hook after the new tokens were saved, so that the hook cannot lose them.
    ///
    /// A failed hook does not end the session.
    pub(super) async fn after_refresh(
        &self,
        loaded: LoadedSession,
        new_claims: Option<Claims>,
    ) -> RefreshResult {
        let record = Arc::clone(loaded.record());
        let Some(provider) = self.providers().of(&record).cloned() else {
            return Ok(loaded);
        };
        let refreshed = RefreshedSession::new(provider, record, new_claims);
        let decision = self.hooks.after_refresh(self.clock(), refreshed).await;
        let saved = match decision {
            RefreshAction::Keep => return Ok(loaded),
            RefreshAction::KeepWith(Ok(text)) => {
                self.replace_app_data(&loaded, |_| Ok(text.clone())).await
            }
            RefreshAction::KeepWith(Err(error)) => Err(error),
            RefreshAction::End => {
                self.end_after_hook(loaded.record()).await;
                return Err(SessionError::Ended);
            }
        };
        match saved {
            Ok(newer) => Ok(newer),
            Err(AppDataError::Ended) => Err(SessionError::Ended),
            Err(error) => {
                events::hook_failed("on_refresh", &error);
                Ok(loaded)
            }
        }
    }

    /// Ends the session after the hook decided so. The hook is not called again, so a failing store is
    /// retried until the session has expired.
    async fn end_after_hook(&self, record: &SessionRecord) {
        while let Err(error) = self.end(record).await {
            events::end_failed(&error);
            if self.has_ended(record, &self.time()) {
                break;
            }
            self.clock().sleep(END_RETRY_DELAY).await;
        }
        self.notify_ended(record, EndReason::Hook);
        self.revoke(record).await;
    }
}

/// Reports whether none of the access tokens of `base` is in `record`. A server may issue the same token again.
fn are_replaced(base: &SessionRecord, record: &SessionRecord) -> bool {
    let (old, new) = (base.tokens(), record.tokens());
    let is_same =
        old.access_token == new.access_token && old.access_token_since == new.access_token_since;
    let is_kept = |one: &ResourceToken| {
        let kept = new.resource_token(&one.resource);
        kept.is_some_and(|kept| kept.since == one.since && kept.access_token == one.access_token)
    };
    !is_same && !old.resource_tokens.iter().any(is_kept)
}

fn can_refresh(record: &SessionRecord, now: &SessionTime) -> bool {
    let tokens = record.tokens();
    let end = tokens.refresh_token_expires_at;
    tokens.refresh_token.is_some() && end.is_none_or(|end| now.wall() < end)
}

/// Returns the time of the proactive refresh: at most half the lifetime of the token before its expiry,
/// so that a short-lived token is not refreshed on each request.
fn due_at(record: &SessionRecord, times: TokenTimes, now: &SessionTime) -> i64 {
    let life = times.expires_at.saturating_sub(times.since);
    let ahead = (REFRESH_WINDOW - jitter(record)).min(life / 2).max(0);
    token_ends_at(times, now).saturating_sub(ahead)
}

/// Returns the expiry of the access token, adjusted for a wall clock that was set back.
fn token_ends_at(times: TokenTimes, now: &SessionTime) -> i64 {
    let lost = now.rolled_back_since(times.since);
    times.expires_at.saturating_sub(lost)
}

fn jitter(record: &SessionRecord) -> i64 {
    let id = record.id().as_bytes();
    let mix = u64::from(u16::from_be_bytes([id[0], id[1]])).wrapping_add(record.generation());
    i64::try_from(mix % MAX_JITTER.unsigned_abs()).unwrap_or_default()
}

/// How long a caller waits for a refresh. The attempt continues after that.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a caller starts a refresh for the token of a further resource.
const MAX_ATTEMPTS: u32 = 2;

/// The maximum number of attempts in progress, each with a task and a record. Further callers get an error
/// and retry later.
const MAX_IN_PROGRESS: usize = 4096;

const TOO_MANY: &str = "too many refreshes are in progress";

/// How long before its expiry an access token is refreshed, in seconds.
const REFRESH_WINDOW: i64 = 60;

/// The maximum jitter, in seconds. It is derived from the session, so that all processes agree on it and
/// users who signed in together do not refresh together.
const MAX_JITTER: i64 = 30;

/// The delay before a failed store is asked again to end a session.
const END_RETRY_DELAY: Duration = Duration::from_secs(1);
