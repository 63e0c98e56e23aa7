//! The cookie of a session in a store: a random secret only.

use super::cookies::Jar;
use super::presented_cookies::{MAX_SESSIONS, SessionCookieContents, SessionCookieNames};
use crate::session::{PresentedSession, PresentedSessions, SessionSecret};

/// Reads the session secrets of a request. Any other cookie under a session name is ignored.
pub(super) fn open(jar: &Jar<'_>) -> SessionCookieContents {
    let mut count = 0;
    let mut secrets = Vec::new();
    for (index, value) in jar.session_parts() {
        count += 1;
        if index.is_empty()
            && secrets.len() < MAX_SESSIONS
            && let Some(secret) = SessionSecret::parse(value)
        {
            secrets.push(PresentedSession::Secret(secret));
        }
    }
    let has_invalid = jar.overflow() || secrets.len() < count;
    let mut secrets = secrets.into_iter();
    let presented = secrets.next().map(|first| PresentedSessions {
        first,
        others: secrets.collect(),
    });
    SessionCookieContents {
        presented,
        names: SessionCookieNames::WHOLE,
        has_invalid,
    }
}
