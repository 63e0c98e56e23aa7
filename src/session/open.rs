//! Who a browser is, by what it shows.

use super::events;
use super::held::{Held, Seat};
use super::keeper::Keeper;
use super::place::{Found, Place, Saved};
use super::ticket::Ticket;
use crate::flow::SessionRecord;
use crate::store::StoreError;

/// What a browser shows of a session, opened as far as nobody has to be asked.
#[derive(Debug)]
pub(crate) enum Shown {
    Record(Box<SessionRecord>),
    Ticket(Ticket),
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Opened {
    Session(Held),
    /// It is nobody's any more, for this reason.
    Ended(&'static str),
    /// This process cannot read it, and another may: the request is anonymous and the browser keeps its cookie.
    Unreadable,
}

impl Keeper {
    /// Opens what needs no asking; the rest comes back, for [`look_up`](Self::look_up).
    pub(crate) fn at_hand(&self, shown: Shown) -> Result<Opened, Shown> {
        match (&self.place, shown) {
            (Place::Cookie, Shown::Record(record)) => Ok(self.open_here(*record)),
            (_, shown) => Err(shown),
        }
    }

    /// Opens what a browser shows.
    pub(crate) async fn look_up(&self, shown: Shown) -> Result<Opened, StoreError> {
        let found = match (&self.place, shown) {
            (Place::Cookie, Shown::Record(record)) => return Ok(self.open_here(*record)),
            (Place::CookieWith(store), Shown::Record(record)) => {
                let held = Held::new(*record, Seat::Cookie(None));
                self.newest_shared(store, held).await?
            }
            (Place::Store(store), Shown::Ticket(ticket)) => {
                self.load_stored(store, &ticket).await?
            }
            // Of another mode than ours.
            _ => Found::Ended,
        };
        Ok(match found {
            Found::Ended => Opened::Ended(ENDED),
            Found::Unreadable => Opened::Unreadable,
            Found::Session(held) if self.has_ended(held.record()) => Opened::Ended(EXPIRED),
            Found::Session(held) => Opened::Session(held),
        })
    }

    /// Notes that the session is in use, if the last note is old enough to be worth a new one (`L44`).
    pub(crate) async fn touch(&self, held: Held) -> Held {
        let Some(touched) = self.touched(&held) else {
            return held;
        };
        let Place::Store(_) = self.place else {
            return held.with_record(touched);
        };
        match self.save(&held, touched).await {
            Ok(Saved::Stored(newer)) => newer,
            // Whoever was faster has used it too.
            Ok(Saved::Conflict) => held,
            Err(error) => {
                events::not_touched(&error);
                held
            }
        }
    }

    /// The same without waiting, where that is possible.
    pub(crate) fn touch_at_hand(&self, held: Held) -> Held {
        match self.touched(&held) {
            Some(touched) => held.with_record(touched),
            None => held,
        }
    }

    fn touched(&self, held: &Held) -> Option<SessionRecord> {
        let now = self.now();
        let record = held.record();
        let due = record.wants_touch(now, self.idle);
        due.then(|| SessionRecord::clone(record).touched(now))
    }

    fn open_here(&self, record: SessionRecord) -> Opened {
        if self.is_buried(record.id()) {
            return Opened::Ended(ENDED);
        }
        let held = Held::new(record, Seat::Cookie(None));
        let held = match self.memory.successors.of(held.record()) {
            Some(newer) => {
                let last_seen = held.record().last_seen();
                held.with_record(newer.touched(last_seen))
            }
            None => held,
        };
        if self.has_ended(held.record()) {
            return Opened::Ended(EXPIRED);
        }
        if self.is_refused(held.record()) {
            return Opened::Ended(REFUSED);
        }
        Opened::Session(held)
    }
}

const ENDED: &str = "signed_out";
const EXPIRED: &str = "expired";
const REFUSED: &str = "refresh_refused";
