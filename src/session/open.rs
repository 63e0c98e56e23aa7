//! Who a browser is, by what it shows.

use super::events;
use super::held::{Held, Seat};
use super::keeper::Keeper;
use super::place::{Found, Place, Saved};
use super::ticket::Ticket;
use crate::flow::SessionRecord;
use crate::store::StoreError;

/// What a browser shows of a session, opened as far as nobody has to be asked.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Record(Box<SessionRecord>),
    Ticket(Ticket),
}

/// The different sessions that the cookies of a request open: one, unless a cookie was planted.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) first: Shown,
    pub(crate) others: Vec<Shown>,
}

impl Presented {
    pub(crate) fn into_iter(self) -> impl Iterator<Item = Shown> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl From<Shown> for Presented {
    fn from(first: Shown) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
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
    pub(crate) fn at_hand(&self, presented: Presented) -> Result<Opened, Presented> {
        match (&self.place, presented.first) {
            (Place::Cookie, Shown::Record(record)) => {
                let mut opened = self.open_here(*record);
                for other in presented.others {
                    if let Shown::Record(record) = other {
                        opened = opened.or(self.open_here(*record));
                    }
                }
                Ok(opened)
            }
            (_, first) => Err(Presented {
                first,
                others: presented.others,
            }),
        }
    }

    /// Opens what a browser shows. Of several sessions, the only one that lives counts.
    pub(crate) async fn look_up(&self, presented: Presented) -> Result<Opened, StoreError> {
        let mut opened = self.look_up_one(presented.first).await?;
        for other in presented.others {
            opened = opened.or(self.look_up_one(other).await?);
        }
        Ok(opened)
    }

    async fn look_up_one(&self, shown: Shown) -> Result<Opened, StoreError> {
        let found = match (&self.place, shown) {
            (Place::Cookie, Shown::Record(record)) => return Ok(self.open_here(*record)),
            (Place::CookieWith(_), Shown::Record(record)) if self.is_denied(&record) => {
                Found::Ended
            }
            (Place::CookieWith(store), Shown::Record(record)) => {
                let held = Held::new(*record, Seat::Cookie(None));
                self.newest_shared(store, held).await?
            }
            (Place::Store(_), Shown::Ticket(ticket)) if self.is_pending(&ticket) => Found::Ended,
            (Place::Store(store), Shown::Ticket(ticket)) => {
                let found = self.load_stored(store, &ticket).await?;
                if let Found::Session(held) = &found {
                    self.memory.pending_ends.note_opened(held.record());
                }
                match found {
                    Found::Session(held) if self.is_denied(held.record()) => Found::Ended,
                    found => found,
                }
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

    fn is_pending(&self, ticket: &Ticket) -> bool {
        self.memory.pending_ends.contains(&self.name_of(ticket))
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

    /// Notes that a response carries the cookie of this session.
    pub(crate) fn note_sent(&self, held: &Held) {
        self.memory.successors.note_sent(held.record());
    }

    fn touched(&self, held: &Held) -> Option<SessionRecord> {
        let now = self.now();
        let record = held.record();
        let due = record.wants_touch(now, self.idle);
        due.then(|| SessionRecord::clone(record).touched(now))
    }

    pub(super) fn open_here(&self, record: SessionRecord) -> Opened {
        if self.is_denied(&record) {
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

impl Opened {
    /// The session that lives, if there is one; two are none, since one of them may have been planted.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Session(_), Self::Session(_)) => Self::Ended(AMBIGUOUS),
            (Self::Ended(AMBIGUOUS), _) => Self::Ended(AMBIGUOUS),
            (Self::Ended(_), other) => other,
            (Self::Unreadable, session @ Self::Session(_)) => session,
            (opened, _) => opened,
        }
    }
}

const AMBIGUOUS: &str = "two_sessions";
const ENDED: &str = "signed_out";
const EXPIRED: &str = "expired";
const REFUSED: &str = "refresh_refused";
