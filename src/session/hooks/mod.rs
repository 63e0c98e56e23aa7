//! Hooks with which an application approves logins, follows refreshes and observes ended sessions.

mod decisions;
#[cfg(test)]
mod tests;

pub(crate) use decisions::LoginRejection;
pub use decisions::{LoginDecision, NewLogin, RefreshDecision, RefreshedSession};
pub(super) use decisions::{NewAppData, RefreshAction};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::events;
use crate::clock::{Clock, SharedClock, within};
use crate::protocol::Claims;
use crate::record::{SessionId, SessionRecord, UserKey};
use crate::telemetry::SessionEnd;

/// The hooks of a login layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) on_login: SessionHook<NewLogin, LoginDecision>,
    pub(crate) on_refresh: SessionHook<RefreshedSession, RefreshDecision>,
    pub(crate) on_logout: SessionHook<EndedSession, ()>,
}

/// A session that has ended: the argument of
/// [`LoginLayer::with_on_logout`](crate::LoginLayer::with_on_logout).
#[derive(Clone, Debug)]
pub struct EndedSession {
    id: Option<SessionId>,
    user: Option<(String, String)>,
    claims: Option<Claims>,
    reason: EndReason,
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The user signed out of this application.
    SignedOut,
    /// The same browser signed in again, or the user has too many sessions.
    Replaced,
    /// The authorization server sent a logout token ([OpenID Connect Back-Channel Logout]).
    ///
    /// [OpenID Connect Back-Channel Logout]: https://openid.net/specs/openid-connect-backchannel-1_0.html
    BackChannel,
    /// The authorization server loaded the logout URI in the browser ([OpenID Connect Front-Channel Logout]).
    ///
    /// [OpenID Connect Front-Channel Logout]: https://openid.net/specs/openid-connect-frontchannel-1_0.html
    FrontChannel,
    /// The application ended it with [`SessionAdmin`](crate::session::SessionAdmin). A session that was ended
    /// by its ID may have expired before.
    Administrator,
    /// The hook [`with_on_refresh`](crate::LoginLayer::with_on_refresh) ended it.
    Hook,
    /// The authorization server rejected the refresh token, or returned tokens of another subject.
    RefreshRejected,
}

impl EndReason {
    fn count(self) {
        let counted = match self {
            Self::SignedOut => SessionEnd::SignedOut,
            Self::Replaced => SessionEnd::Replaced,
            Self::BackChannel => SessionEnd::BackChannel,
            Self::FrontChannel => SessionEnd::FrontChannel,
            Self::Administrator => SessionEnd::Administrator,
            Self::Hook => SessionEnd::Hook,
            Self::RefreshRejected => SessionEnd::RefreshRejected,
        };
        counted.count();
    }
}

impl EndedSession {
    pub(super) fn new(record: &SessionRecord, reason: EndReason) -> Self {
        Self {
            id: Some(*record.id()),
            user: Some((record.issuer().to_owned(), record.subject().to_owned())),
            claims: Some(record.claims().clone()),
            reason,
        }
    }

    /// A session whose record cannot be read. `user` is its user, if known.
    pub(super) fn unopened(
        id: Option<SessionId>,
        user: Option<UserKey<'_>>,
        reason: EndReason,
    ) -> Self {
        Self {
            id,
            user: user.map(|user| (user.issuer.to_owned(), user.subject.to_owned())),
            claims: None,
            reason,
        }
    }

    /// Returns the ID of the session, if known: a logout of a user may concern sessions that are not listed.
    pub fn session_id(&self) -> Option<&SessionId> {
        self.id.as_ref()
    }

    /// Returns issuer and subject, if known: the record of a session that is ended by its ID cannot be read.
    pub fn user_key(&self) -> Option<UserKey<'_>> {
        let (issuer, subject) = self.user.as_ref()?;
        Some(UserKey { issuer, subject })
    }

    /// Returns the claims of the ID token, if the record could be read.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// Returns why the session has ended.
    pub fn reason(&self) -> EndReason {
        self.reason
    }
}

impl Hooks {
    /// Calls the login hook. Returns new app data if the hook set some.
    pub(super) async fn approve_login(
        &self,
        clock: &SharedClock,
        login: NewLogin,
    ) -> Result<Option<NewAppData>, LoginRejection> {
        match self.on_login.call(&**clock, login).await {
            None => Ok(None),
            Some(Ok(decision)) => decision.0,
            Some(Err(error @ HookError::TooSlow)) => Err(LoginRejection::Later {
                reason: error.to_string(),
                retry_after: HOOK_RETRY_AFTER,
            }),
            Some(Err(error)) => Err(LoginRejection::Failed(error.to_string())),
        }
    }

    /// Calls the refresh hook. A failed hook keeps the session.
    pub(super) async fn after_refresh(
        &self,
        clock: &SharedClock,
        refreshed: RefreshedSession,
    ) -> RefreshAction {
        match self.on_refresh.call(&**clock, refreshed).await {
            None => RefreshAction::Keep,
            Some(Ok(decision)) => decision.0,
            Some(Err(error)) => {
                events::hook_failed("on_refresh", &error);
                RefreshAction::Keep
            }
        }
    }

    /// Counts the end of a session, and calls the hook without waiting for it.
    pub(super) fn notify_ended(&self, clock: &SharedClock, ended: EndedSession) {
        ended.reason.count();
        let hook = self.on_logout.clone();
        if !hook.is_set() {
            return;
        }
        let clock = Arc::clone(clock);
        tokio::spawn(async move {
            if let Some(Err(error)) = hook.call(&*clock, ended).await {
                events::hook_failed("on_logout", &error);
            }
        });
    }
}

/// A function of the application, if set.
pub(crate) struct SessionHook<A, R>(Option<Arc<HookFn<A, R>>>);

type HookFn<A, R> = dyn Fn(A) -> Pin<Box<dyn Future<Output = R> + Send>> + Send + Sync;

/// The reason why a hook returned no value.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum HookError {
    #[error("the hook timed out after 10 s")]
    TooSlow,
    #[error("the hook panicked")]
    Panicked,
}

impl<A: Send + 'static, R: Send + 'static> SessionHook<A, R> {
    pub(crate) fn new<F>(hook: impl Fn(A) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
    {
        Self(Some(Arc::new(move |argument| Box::pin(hook(argument)))))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Calls the hook in its own task, so that a panic does not affect the caller. The task is aborted after
    /// the timeout.
    async fn call(&self, clock: &dyn Clock, argument: A) -> Option<Result<R, HookError>> {
        let call = Arc::clone(self.0.as_ref()?);
        let mut task = AbortOnDrop(tokio::spawn(async move { call(argument).await }));
        Some(match within(clock, HOOK_TIMEOUT, &mut task.0).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(HookError::Panicked),
            None => Err(HookError::TooSlow),
        })
    }
}

/// Aborts a task when its caller is cancelled.
struct AbortOnDrop<R>(JoinHandle<R>);

impl<R> Drop for AbortOnDrop<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<A, R> Clone for SessionHook<A, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A, R> Default for SessionHook<A, R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<A, R> fmt::Debug for SessionHook<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "SessionHook(..)"
        } else {
            "SessionHook"
        })
    }
}

/// How long a hook may take.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The `Retry-After` if the login hook timed out.
const HOOK_RETRY_AFTER: Duration = Duration::from_secs(10);
