//! The end of a session by its own browser.

use std::sync::Arc;

use super::backend::{Found, SessionBackend};
use super::events;
use super::hooks::EndReason;
use super::loaded::{LoadedSession, Seat};
use super::manager::SessionManager;
use super::open::{OpenedSession, PresentedSession};
use super::{shared, stored};
use crate::flow::{SessionId, SessionRecord, SessionRef};
use crate::store::{Expect, Put, Removed, StoreError};

/// How a sign-out went.
#[derive(Clone, Debug)]
pub(crate) enum SignOut {
    /// The session has ended. This is its newest record, whose tokens are to be revoked.
    Ended(Arc<SessionRecord>),
    /// It had ended before.
    Over,
    /// The store did not accept the end of the session: it has ended in this process. The record is missing if only
    /// the store has it.
    EndedHere(Option<Arc<SessionRecord>>),
    /// The store cannot be asked, and too many ends wait for it.
    EndSessionError(StoreError),
}

/// What a cookie opens.
enum Target {
    Alive(LoadedSession),
    /// Nothing that lives. A response with a newer cookie of the same session may be on its way.
    Over(SessionRef),
    /// Nothing that lives and can be read here. Another process may have the key to it.
    Unread(SessionId),
    /// A cookie whose newer record cannot be read here: its own tokens are all that can be revoked.
    Older(Arc<SessionRecord>),
    /// It is a cookie of another mode.
    Nothing,
}

impl SessionManager {
    /// Ends the session that a cookie opens. If the store fails, it ends in this process, and the store is tried
    /// again in the background.
    pub(crate) async fn sign_out(&self, shown: PresentedSession, reason: EndReason) -> SignOut {
        let (error, held) = match self.find(shown.clone()).await {
            Err(error) => (error, None),
            Ok(found) => match self.end_found(&found).await {
                Ok(outcome) => {
                    if let SignOut::Ended(record) = &outcome {
                        self.notify_ended(record, reason);
                    }
                    return outcome;
                }
                Err(error) => match found {
                    Target::Alive(held) => (error, Some(held)),
                    _ => (error, None),
                },
            },
        };
        let (id, record) = match &shown {
            PresentedSession::Record(record) => {
                (*record.id(), Some(Arc::new(SessionRecord::clone(record))))
            }
            PresentedSession::SessionSecret(ticket) => (self.name_of(ticket), None),
        };
        let record = held.map(|held| Arc::clone(held.record())).or(record);
        let told = record.as_ref().map(|record| record.generation());
        let retried = self.end_later(id, shown, told, reason);
        let clock = self.flow.clock().as_ref();
        if self.memory.pending_ends_logged.is_due(clock) {
            events::end_pending(&error, retried);
        }
        let Some(record) = record else {
            return match retried {
                true => SignOut::EndedHere(None),
                false => SignOut::EndSessionError(error),
            };
        };
        if !retried {
            self.deny(&SessionRef::from(&*record));
        }
        self.notify_ended(&record, reason);
        SignOut::EndedHere(Some(record))
    }

    /// The same, with nothing done if the store fails and nothing told to the application.
    pub(super) async fn sign_out_in_store(
        &self,
        shown: PresentedSession,
    ) -> Result<SignOut, StoreError> {
        let found = self.find(shown).await?;
        self.end_found(&found).await
    }

    async fn find(&self, shown: PresentedSession) -> Result<Target, StoreError> {
        let (found, otherwise) = match (&self.place, shown) {
            (SessionBackend::Cookie, PresentedSession::Record(record)) => {
                let session = SessionRef::from(&*record);
                return Ok(match self.open_here(*record) {
                    OpenedSession::Session(held) => Target::Alive(held),
                    OpenedSession::Ended(_) | OpenedSession::Unreadable => Target::Over(session),
                });
            }
            (SessionBackend::CookieWith(store), PresentedSession::Record(record)) => {
                let session = SessionRef::from(&*record);
                let held = LoadedSession::new(*record, Seat::Cookie(None));
                let older = Arc::clone(held.record());
                let newest = self.newest_shared(store, held).await?;
                if matches!(newest, Found::Unreadable) && !self.has_ended(&older) {
                    return Ok(Target::Older(older));
                }
                (newest, Target::Over(session))
            }
            (SessionBackend::Store(store), PresentedSession::SessionSecret(ticket)) => {
                let stored = self.load_stored(store, &ticket).await?;
                (stored, Target::Unread(self.name_of(&ticket)))
            }
            _ => return Ok(Target::Nothing),
        };
        Ok(match found {
            Found::Session(held) if !self.has_ended(held.record()) => Target::Alive(held),
            // A record that only another process can read ends as well: this is the sign-out of its browser.
            Found::Session(_) | Found::Ended | Found::Unreadable => otherwise,
        })
    }

    async fn end_found(&self, found: &Target) -> Result<SignOut, StoreError> {
        match found {
            Target::Alive(held) => return Ok(SignOut::Ended(self.leave(held).await?)),
            Target::Over(session) => self.end_unread(session).await?,
            Target::Unread(id) => self.end_by_id(id).await?,
            Target::Older(record) => {
                self.end(record).await?;
                return Ok(SignOut::Ended(Arc::clone(record)));
            }
            Target::Nothing => {}
        }
        Ok(SignOut::Over)
    }

    /// Ends a session, and returns its newest record: the one whose tokens have to be revoked. A refresh under way
    /// finds the session ended.
    async fn leave(&self, held: &LoadedSession) -> Result<Arc<SessionRecord>, StoreError> {
        if matches!(self.place, SessionBackend::Cookie) {
            return Ok(self.leave_here(held));
        }
        let mut held = held.clone();
        for _ in 0..ATTEMPTS {
            if self.end_this(&held).await? {
                return Ok(Arc::clone(held.record()));
            }
            match self.load_anyhow(&held).await? {
                Some(newest) => held = newest,
                None => return Ok(Arc::clone(held.record())),
            }
        }
        self.end(held.record()).await?;
        Ok(Arc::clone(held.record()))
    }

    fn leave_here(&self, held: &LoadedSession) -> Arc<SessionRecord> {
        let record = held.record();
        // Denied first: nothing newer is kept after that.
        self.deny(&SessionRef::from(&**record));
        match self.memory.successors.take(record.id()) {
            Some(newer) if newer.generation() > record.generation() => newer,
            _ => Arc::clone(record),
        }
    }

    /// Ends a session unless there is a newer record of it.
    async fn end_this(&self, held: &LoadedSession) -> Result<bool, StoreError> {
        let record = held.record();
        match (&self.place, held.seat()) {
            (SessionBackend::CookieWith(store), Seat::Cookie(version)) => {
                let expect = version.map_or(Expect::Absent, Expect::Version);
                let (key, value) = (shared::key(record.id()), shared::ended());
                if store.put(&key, value, self.longest_life(), expect).await? == Put::Conflict {
                    return Ok(false);
                }
                self.delist(store, record).await;
            }
            (SessionBackend::Store(store), Seat::Stored { version, .. }) => {
                let key = stored::key(record.id());
                if store.remove(&key, Expect::Version(*version)).await? == Removed::Conflict {
                    return Ok(false);
                }
                self.delist(store, record).await;
            }
            // Of another mode.
            _ => {}
        }
        Ok(true)
    }
}

/// Nobody refreshes more often in so short a time.
const ATTEMPTS: usize = 8;
