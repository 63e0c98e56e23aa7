//! Opens the session that a browser presents in its cookies.

use super::backend::{LoadResult, SaveResult, SessionBackend};
use super::events;
use super::loaded::{LoadedSession, Revision};
use super::manager::SessionManager;
use super::secret::SessionSecret;
use crate::record::SessionRecord;
use crate::store::StoreError;

/// A session as a cookie presents it, decrypted but not yet loaded.
#[derive(Clone, Debug)]
pub(crate) enum PresentedSession {
    Record(Box<SessionRecord>),
    Secret(SessionSecret),
}

/// The distinct sessions in the cookies of one request: one, unless an attacker planted a cookie.
#[derive(Debug)]
pub(crate) struct PresentedSessions {
    pub(crate) first: PresentedSession,
    pub(crate) others: Vec<PresentedSession>,
}

impl PresentedSessions {
    pub(crate) fn into_iter(self) -> impl Iterator<Item = PresentedSession> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl From<PresentedSession> for PresentedSessions {
    fn from(first: PresentedSession) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

/// The result of opening a presented session.
#[derive(Debug)]
pub(crate) enum OpenedSession {
    Session(LoadedSession),
    /// The session has ended, for this reason.
    Ended(&'static str),
    /// This process cannot read the record, but another one may: the request is anonymous and the browser
    /// keeps its cookie.
    Unreadable,
}

impl SessionManager {
    /// Opens a session if that requires no store access. Returns the presented sessions otherwise, for
    /// [`open_presented`](Self::open_presented).
    pub(crate) fn cached(
        &self,
        presented: PresentedSessions,
    ) -> Result<OpenedSession, PresentedSessions> {
        match (&self.backend, presented.first) {
            (SessionBackend::Cookie, PresentedSession::Record(record)) => {
                let mut opened = self.open_local(*record);
                for other in presented.others {
                    if let PresentedSession::Record(record) = other {
                        opened = opened.or(self.open_local(*record));
                    }
                }
                Ok(opened)
            }
            (_, first) => Err(PresentedSessions {
                first,
                others: presented.others,
            }),
        }
    }

    /// Opens the presented sessions. If several are presented, exactly one of them must be live.
    pub(crate) async fn open_presented(
        &self,
        presented: PresentedSessions,
    ) -> Result<OpenedSession, StoreError> {
        let mut opened = self.load_presented(presented.first).await?;
        for other in presented.others {
            opened = opened.or(self.load_presented(other).await?);
        }
        Ok(opened)
    }

    async fn load_presented(
        &self,
        presented: PresentedSession,
    ) -> Result<OpenedSession, StoreError> {
        let found = match (&self.backend, presented) {
            (SessionBackend::Cookie, PresentedSession::Record(record)) => {
                return Ok(self.open_local(*record));
            }
            (SessionBackend::SharedCookie(_), PresentedSession::Record(record))
                if self.is_denied(&record) =>
            {
                LoadResult::Ended
            }
            (SessionBackend::SharedCookie(store), PresentedSession::Record(record)) => {
                let loaded = LoadedSession::new(*record, Revision::Cookie(None));
                self.newest_shared(store, loaded).await?
            }
            (SessionBackend::Store(_), PresentedSession::Secret(secret))
                if self.has_pending_end(&secret) =>
            {
                LoadResult::Ended
            }
            (SessionBackend::Store(store), PresentedSession::Secret(secret)) => {
                let found = self.load_stored(store, &secret).await?;
                if let LoadResult::Session(loaded) = &found {
                    self.local.pending_ends.record_opened(loaded.record());
                }
                match found {
                    LoadResult::Session(loaded) if self.is_denied(loaded.record()) => {
                        LoadResult::Ended
                    }
                    found => found,
                }
            }
            // A cookie of another backend.
            _ => LoadResult::Ended,
        };
        Ok(match found {
            LoadResult::Ended => OpenedSession::Ended(ENDED),
            LoadResult::Unreadable => OpenedSession::Unreadable,
            LoadResult::Session(loaded) if self.has_ended(loaded.record()) => {
                OpenedSession::Ended(EXPIRED)
            }
            LoadResult::Session(loaded) => OpenedSession::Session(loaded),
        })
    }

    fn has_pending_end(&self, secret: &SessionSecret) -> bool {
        self.local.pending_ends.contains(&self.name_of(secret))
    }

    /// Updates the time of the last use, if the stored one is old enough to justify a write.
    pub(crate) async fn touch(&self, loaded: LoadedSession) -> LoadedSession {
        let SessionBackend::Store(_) = self.backend else {
            return self.touch_cached(loaded);
        };
        let Some(touched) = self.touched(&loaded) else {
            return loaded;
        };
        match self.save(&loaded, touched).await {
            Ok(SaveResult::Stored(newer)) => newer,
            // A concurrent request has updated it too.
            Ok(SaveResult::Conflict) => loaded,
            Err(error) => {
                events::touch_failed(&error);
                loaded
            }
        }
    }

    /// Like [`touch`](Self::touch), for a session in a cookie.
    pub(crate) fn touch_cached(&self, loaded: LoadedSession) -> LoadedSession {
        let loaded = match self.touched(&loaded) {
            Some(touched) => loaded.with_record(touched),
            None => loaded,
        };
        self.local.last_uses.record(loaded.record());
        loaded
    }

    /// Notes that a response carries the cookie of this session.
    pub(crate) fn note_sent(&self, loaded: &LoadedSession) {
        self.local.latest.note_sent(loaded.record());
    }

    fn touched(&self, loaded: &LoadedSession) -> Option<SessionRecord> {
        let now = self.now();
        let record = loaded.record();
        let due = record.needs_touch(now, self.idle);
        due.then(|| SessionRecord::clone(record).touched(now))
    }

    pub(super) fn open_local(&self, record: SessionRecord) -> OpenedSession {
        if self.is_denied(&record) {
            return OpenedSession::Ended(ENDED);
        }
        let loaded = LoadedSession::new(record, Revision::Cookie(None));
        let loaded = match self.local.latest.of(loaded.record()) {
            Some(newer) => {
                let last_seen = loaded.record().last_seen();
                loaded.with_record(newer.touched(last_seen))
            }
            None => loaded,
        };
        if self.has_ended(loaded.record()) {
            return OpenedSession::Ended(EXPIRED);
        }
        if self.is_refresh_rejected(loaded.record()) {
            return OpenedSession::Ended(REFRESH_REJECTED);
        }
        OpenedSession::Session(loaded)
    }
}

impl OpenedSession {
    /// Returns the one live session. Two live sessions are rejected, since an attacker may have planted one
    /// of them.
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
const REFRESH_REJECTED: &str = "refresh_refused";
