//! A session that somebody ended, and who.

use std::sync::Arc;

use crate::flow::{SessionId, SessionRecord};
use crate::protocol::Claims;
use crate::session::events;
use crate::session::handle::UserKey;
use crate::session::manager::SessionManager;

/// A session that was ended; for
/// [`LoginLayer::with_on_logout`](crate::LoginLayer::with_on_logout).
#[derive(Clone, Debug)]
pub struct EndedSession {
    id: Option<SessionId>,
    user: Option<(String, String)>,
    claims: Option<Claims>,
    reason: EndReason,
}

/// Who ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The person signed out here.
    SignedOut,
    /// The same browser signed in anew, or the person has too many sessions.
    Replaced,
    /// The authorization server told this application ([OpenID Connect Back-Channel Logout]).
    ///
    /// [OpenID Connect Back-Channel Logout]: https://openid.net/specs/openid-connect-backchannel-1_0.html
    BackChannel,
    /// The authorization server sent the browser ([OpenID Connect Front-Channel Logout]).
    ///
    /// [OpenID Connect Front-Channel Logout]: https://openid.net/specs/openid-connect-frontchannel-1_0.html
    FrontChannel,
    /// The application ended it from outside, by [`Sessions`](crate::session::Sessions). By its name
    /// alone, it may have been over before.
    Administrator,
    /// The application ended it when it heard of a refresh.
    Hook,
    /// The authorization server does not take the refresh token any more, or gave tokens of another person
    /// for it.
    Refused,
}

impl EndedSession {
    /// The name of the session, where it is known: a logout at the authorization server may speak of all
    /// sessions of a person.
    pub fn session_id(&self) -> Option<&SessionId> {
        self.id.as_ref()
    }

    /// Whose it was, where that is known: a session that is ended by its name alone cannot be read.
    pub fn user_key(&self) -> Option<UserKey<'_>> {
        let (issuer, subject) = self.user.as_ref()?;
        Some(UserKey { issuer, subject })
    }

    /// The claims of the ID token, where the session could be read.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// Who ended it.
    pub fn reason(&self) -> EndReason {
        self.reason
    }
}

impl SessionManager {
    /// Tells the application of a session that has just ended. Nobody waits for it.
    pub(crate) fn notify_ended(&self, record: &SessionRecord, reason: EndReason) {
        self.tell(EndedSession {
            id: Some(*record.id()),
            user: Some((record.issuer().to_owned(), record.subject().to_owned())),
            claims: Some(record.claims().clone()),
            reason,
        });
    }

    /// The same of a session that is known by its name alone, or of all that a person has: issuer and
    /// subject.
    pub(crate) fn notify_ended_unopened(
        &self,
        id: Option<SessionId>,
        user: Option<(&str, &str)>,
        reason: EndReason,
    ) {
        self.tell(EndedSession {
            id,
            user: user.map(|(issuer, subject)| (issuer.to_owned(), subject.to_owned())),
            claims: None,
            reason,
        });
    }

    fn tell(&self, ended: EndedSession) {
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
