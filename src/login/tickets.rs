//! The cookie of a session that is kept in a store: a ticket, and nothing else.

use super::chunks::Found;
use super::cookies::{Jar, SESSION};
use crate::session::{Shown, Ticket};

/// `L42`, `L43`: exactly one cookie under the one name, or nobody.
pub(super) fn open(jar: &Jar<'_>) -> Found {
    if jar.session_parts().next().is_none() {
        return Found::Nothing;
    }
    if jar.overflow() || jar.session_parts().count() > 1 {
        return Found::Spoiled;
    }
    let ticket = jar.one(SESSION).and_then(Ticket::parse);
    ticket.map_or(Found::Spoiled, |ticket| Found::Shown(Shown::Ticket(ticket)))
}
