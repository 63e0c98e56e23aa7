//! The hook for ended sessions.

use std::sync::Arc;

use crate::protocol::Claims;
use crate::record::{SessionId, SessionRecord};
use crate::session::events;
use crate::session::handle::UserKey;
use crate::session::manager::SessionManager;

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

impl EndedSession {
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

impl SessionManager {
    /// Calls the hook for a session that has just ended, without waiting for it.
    pub(crate) fn notify_ended(&self, record: &SessionRecord, reason: EndReason) {
        self.call_logout_hook(EndedSession {
            id: Some(*record.id()),
            user: Some((record.issuer().to_owned(), record.subject().to_owned())),
            claims: Some(record.claims().clone()),
            reason,
        });
    }

    /// Calls the hook for a session whose record cannot be read. `user` is issuer and subject, if known.
    pub(crate) fn notify_ended_unopened(
        &self,
        id: Option<SessionId>,
        user: Option<(&str, &str)>,
        reason: EndReason,
    ) {
        self.call_logout_hook(EndedSession {
            id,
            user: user.map(|(issuer, subject)| (issuer.to_owned(), subject.to_owned())),
            claims: None,
            reason,
        });
    }

    fn call_logout_hook(&self, ended: EndedSession) {
        let hook = self.hooks.on_logout.clone();
        if !hook.is_set() {
            return;
        }
        let clock = Arc::clone(self.flow.clock());
        tokio::spawn(async move {
            if let Some(Err(error)) = hook.call(clock.as_ref(), ended).await {
                events::hook_failed("on_logout", &error);
            }
        });
    }
}
