//! Who a browser is, by what it shows.

use super::backend::{Found, Saved, SessionBackend};
use super::events;
use super::loaded::{LoadedSession, Seat};
use super::manager::SessionManager;
use super::secret::SessionSecret;
use crate::flow::SessionRecord;
use crate::store::StoreError;

/// What a browser shows of a session, opened as far as nobody has to be asked.
#[derive(Clone, Debug)]
pub(crate) enum PresentedSession {
    Record(Box<SessionRecord>),
    SessionSecret(SessionSecret),
}

/// The different sessions that the cookies of a request open: one, unless a cookie was planted.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) first: PresentedSession,
    pub(crate) others: Vec<PresentedSession>,
}

impl Presented {
    pub(crate) fn into_iter(self) -> impl Iterator<Item = PresentedSession> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl From<PresentedSession> for Presented {
    fn from(first: PresentedSession) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum OpenedSession {
    Session(LoadedSession),
    /// It is nobody's any more, for this reason.
    Ended(&'static str),
    /// This process cannot read it, and another may: the request is anonymous and the browser keeps its cookie.
    Unreadable,
}

impl SessionManager {
    /// Opens what needs no asking; the rest comes back, for [`open_presented`](Self::open_presented).
    pub(crate) fn at_hand(&self, presented: Presented) -> Result<OpenedSession, Presented> {
        match (&self.place, presented.first) {
            (SessionBackend::Cookie, PresentedSession::Record(record)) => {
                let mut opened = self.open_here(*record);
                for other in presented.others {
                    if let PresentedSession::Record(record) = other {
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
    pub(crate) async fn open_presented(
        &self,
        presented: Presented,
    ) -> Result<OpenedSession, StoreError> {
        let mut opened = self.look_up_one(presented.first).await?;
        for other in presented.others {
            opened = opened.or(self.look_up_one(other).await?);
        }
        Ok(opened)
    }

    async fn look_up_one(&self, shown: PresentedSession) -> Result<OpenedSession, StoreError> {
        let found = match (&self.place, shown) {
            (SessionBackend::Cookie, PresentedSession::Record(record)) => {
                return Ok(self.open_here(*record));
            }
            (SessionBackend::CookieWith(_), PresentedSession::Record(record))
                if self.is_denied(&record) =>
            {
                Found::Ended
            }
            (SessionBackend::CookieWith(store), PresentedSession::Record(record)) => {
                let held = LoadedSession::new(*record, Seat::Cookie(None));
                self.newest_shared(store, held).await?
            }
            (SessionBackend::Store(_), PresentedSession::SessionSecret(ticket))
                if self.is_pending(&ticket) =>
            {
                Found::Ended
            }
            (SessionBackend::Store(store), PresentedSession::SessionSecret(ticket)) => {
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
            Found::Ended => OpenedSession::Ended(ENDED),
            Found::Unreadable => OpenedSession::Unreadable,
            Found::Session(held) if self.has_ended(held.record()) => OpenedSession::Ended(EXPIRED),
            Found::Session(held) => OpenedSession::Session(held),
        })
    }

    fn is_pending(&self, ticket: &SessionSecret) -> bool {
        self.memory.pending_ends.contains(&self.name_of(ticket))
    }

    /// Notes that the session is in use, if the last note is old enough to be worth a new one (`L44`).
    pub(crate) async fn touch(&self, held: LoadedSession) -> LoadedSession {
        let SessionBackend::Store(_) = self.place else {
            return self.touch_cached(held);
        };
        let Some(touched) = self.touched(&held) else {
            return held;
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

    /// The same without waiting, for a session in a cookie.
    pub(crate) fn touch_cached(&self, held: LoadedSession) -> LoadedSession {
        let held = match self.touched(&held) {
            Some(touched) => held.with_record(touched),
            None => held,
        };
        self.memory.last_uses.note(held.record());
        held
    }

    /// Notes that a response carries the cookie of this session.
    pub(crate) fn note_sent(&self, held: &LoadedSession) {
        self.memory.successors.note_sent(held.record());
    }

    fn touched(&self, held: &LoadedSession) -> Option<SessionRecord> {
        let now = self.now();
        let record = held.record();
        let due = record.wants_touch(now, self.idle);
        due.then(|| SessionRecord::clone(record).touched(now))
    }

    pub(super) fn open_here(&self, record: SessionRecord) -> OpenedSession {
        if self.is_denied(&record) {
            return OpenedSession::Ended(ENDED);
        }
        let held = LoadedSession::new(record, Seat::Cookie(None));
        let held = match self.memory.successors.of(held.record()) {
            Some(newer) => {
                let last_seen = held.record().last_seen();
                held.with_record(newer.touched(last_seen))
            }
            None => held,
        };
        if self.has_ended(held.record()) {
            return OpenedSession::Ended(EXPIRED);
        }
        if self.is_refused(held.record()) {
            return OpenedSession::Ended(REFUSED);
        }
        OpenedSession::Session(held)
    }
}

impl OpenedSession {
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
