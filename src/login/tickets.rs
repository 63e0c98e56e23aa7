//! The cookie of a session that is kept in a store: a ticket, and nothing else.

use super::cookies::Jar;
use super::presented::{Found, MAX_SESSIONS, SessionNames};
use crate::session::{PresentedSession, PresentedSessions, SessionSecret};

/// Reads the tickets of a request. Any other cookie under the names of sessions is passed over.
pub(super) fn open(jar: &Jar<'_>) -> Found {
    let mut count = 0;
    let mut tickets = Vec::new();
    for (index, value) in jar.session_parts() {
        count += 1;
        if index.is_empty()
            && tickets.len() < MAX_SESSIONS
            && let Some(ticket) = SessionSecret::parse(value)
        {
            tickets.push(PresentedSession::Secret(ticket));
        }
    }
    let is_broken = jar.overflow() || tickets.len() < count;
    let mut tickets = tickets.into_iter();
    let presented = tickets.next().map(|first| PresentedSessions {
        first,
        others: tickets.collect(),
    });
    Found {
        presented,
        names: SessionNames::WHOLE,
        is_broken,
    }
}
