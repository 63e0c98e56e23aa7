//! Ends sessions: at the request of their own browser, by a logout token ([OpenID Connect Back-Channel Logout]), or by an
//! administrator.
//!
//! [OpenID Connect Back-Channel Logout]: https://openid.net/specs/openid-connect-backchannel-1_0.html

use std::sync::Arc;

use bytes::Bytes;

use super::clock_rollback::SessionTime;
use super::events;
use super::hooks::EndReason;
use super::index::{self, IndexEntry, IndexTag, SessionIndex};
use super::loaded::{LoadedSession, OpenedSession, PresentedSession};
use super::manager::SessionManager;
use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::flow::Flow;
use crate::record::{SessionRecord, SessionRef};
use crate::store::{Expect, Key, Put, SharedStore, StoreError};
use crate::token::logout_token::LogoutToken;

/// The result of a sign-out.
#[derive(Clone, Debug)]
pub(crate) enum SignOut {
    /// The session has ended. This is its newest record, whose tokens must be revoked.
    Ended(Arc<SessionRecord>),
    /// The session had ended before.
    AlreadyEnded,
    /// The store failed, so the session has ended in this process only. The record is missing if only the
    /// store has it.
    EndedLocally(Option<Arc<SessionRecord>>),
    /// The store failed, and too many ends are pending.
    Failed(StoreError),
}

/// The reason why a logout token ended no session.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EndSessionError {
    #[error("the logout token was used before")]
    Replayed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store failed to end a session. The record is the newest that is known.
type EndFailure = (StoreError, Option<Arc<SessionRecord>>);

impl SessionManager {
    /// Ends the presented session. If the store fails, the session ends in this process and the store is
    /// retried in the background.
    pub(crate) async fn sign_out(&self, presented: PresentedSession, reason: EndReason) -> SignOut {
        let (error, record) = match self.end_presented(presented.clone()).await {
            Ok(None) => return SignOut::AlreadyEnded,
            Ok(Some(record)) => {
                self.notify_ended(&record, reason);
                return SignOut::Ended(record);
            }
            Err(failure) => failure,
        };
        let id = self.id_of(&presented);
        let record = record.or_else(|| match &presented {
            PresentedSession::Record(record) => Some(Arc::clone(record)),
            PresentedSession::Secret(_) => None,
        });
        let revoked_generation = record.as_ref().map(|record| record.generation());
        let retried = self.end_later(id, presented, revoked_generation, reason);
        if self.warning_is_due("session_end_pending", "") {
            events::end_pending(&error, retried);
        }
        let Some(record) = record else {
            return match retried {
                true => SignOut::EndedLocally(None),
                false => SignOut::Failed(error),
            };
        };
        if !retried {
            self.deny(&SessionRef::from(&*record));
        }
        self.notify_ended(&record, reason);
        SignOut::EndedLocally(Some(record))
    }

    /// Ends a presented session, also if only this process has ended it before. Returns its newest record, whose
    /// tokens must be revoked, or `None` if the session was not live. Does not call the hook.
    pub(super) async fn end_presented(
        &self,
        presented: PresentedSession,
    ) -> Result<Option<Arc<SessionRecord>>, EndFailure> {
        let now = self.time();
        let opened = self.open(presented.clone(), &now).await;
        let ended = match (opened.map_err(|error| (error, None))?, presented) {
            (OpenedSession::Session(loaded), _) => {
                let known = Arc::clone(loaded.record());
                let ended = self.end_newest(loaded, &now).await;
                return ended.map(Some).map_err(|error| (error, Some(known)));
            }
            // The newer record of a cookie cannot be read here, so only the tokens in the cookie can be revoked.
            (OpenedSession::Unreadable, PresentedSession::Record(record))
                if !self.has_ended(&record, &now) =>
            {
                self.end(&record).await.map(|()| Some(record))
            }
            // Not live: a response with a newer cookie of it may still be in transit.
            (_, PresentedSession::Record(record)) => {
                let session = SessionRef::from(&*record);
                self.end_unread(&session).await.map(|()| None)
            }
            // Also a record that only another process can read, since its own browser signs out.
            (_, secret @ PresentedSession::Secret(_)) => {
                self.end_by_id(&self.id_of(&secret)).await.map(|()| None)
            }
        };
        ended.map_err(|error| (error, None))
    }

    /// Ends a session and returns its newest record, whose tokens must be revoked. A concurrent refresh then
    /// finds the session ended.
    async fn end_newest(
        &self,
        mut loaded: LoadedSession,
        now: &SessionTime,
    ) -> Result<Arc<SessionRecord>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(record) = self.end_if_current(&loaded).await? {
                if let Some(store) = self.store() {
                    self.index_remove(store, &record, now).await;
                }
                return Ok(record);
            }
            match self.load_newest(&loaded, now).await?.live()? {
                Some(newest) => loaded = newest,
                None => return Ok(Arc::clone(loaded.record())),
            }
        }
        self.end(loaded.record()).await?;
        Ok(Arc::clone(loaded.record()))
    }

    /// Ends a session everywhere: no process accepts a copy of its cookie after that.
    pub(crate) async fn end(&self, record: &SessionRecord) -> Result<(), StoreError> {
        self.end_unread(&SessionRef::from(record)).await?;
        if let Some(store) = self.store() {
            self.index_remove(store, record, &self.time()).await;
        }
        Ok(())
    }

    /// Reports whether a back-channel logout at this process reaches every process of the application.
    pub(crate) fn accepts_logout_tokens(&self) -> bool {
        self.store().is_some_and(SharedStore::is_shared)
    }

    /// Ends the sessions that a logout token names: those of its `sid`, all of its `sub`, or those of `sub`
    /// with this `sid`. Returns the number of listed sessions; copies in cookies may be more.
    ///
    /// The `jti` is recorded after all sessions have ended. A delivery that failed half-way can be repeated,
    /// and ending a session twice has no effect.
    pub(crate) async fn end_by_token(&self, token: &LogoutToken) -> Result<usize, EndSessionError> {
        let Some(store) = self.store() else {
            return Err(StoreError::unavailable("there is no store").into());
        };
        let issuer = self.flow.server().issuer();
        let used_jti = used_jti(&self.flow, &token.jwt_id);
        if store.get(&used_jti).await?.is_some() {
            return Err(EndSessionError::Replayed);
        }
        let user = token.subject.as_deref().map(|subject| (issuer, subject));
        let user_list = token.subject.as_deref().map(|sub| self.user_index(sub));
        let sid_list = token.session_id.as_deref().map(|sid| self.sid_index(sid));
        let (list, sid) = match (user_list, sid_list) {
            (Some(list), None) | (None, Some(list)) => (list, None),
            // The token means neither other sessions of this user nor other users with this `sid`. Some
            // servers use another `sub` in logout tokens than in ID tokens, though: a `sub` that is unknown
            // here, with a `sid` whose sessions are of a single user, is unambiguous.
            (Some(user), Some(sid)) => match self.is_of_one_other_user(store, &sid, &user).await? {
                true => (sid, None),
                false => (user, Some(sid.tag())),
            },
            (None, None) => return Ok(0),
        };
        let all = BulkLogout {
            list,
            sid,
            user,
            issued_until: token.issued_at,
            only_before: true,
            reason: EndReason::BackChannel,
        };
        let ended = self.end_all(store, &all).await?;
        let ttl = time_until(token.valid_until, self.time().wall()) + MAX_CLOCK_SKEW;
        // Exactly one of two concurrent deliveries succeeds.
        match store
            .put(&used_jti, Bytes::new(), ttl, Expect::Absent)
            .await?
        {
            Put::Stored(_) => Ok(ended),
            Put::Conflict => Err(EndSessionError::Replayed),
        }
    }

    async fn is_of_one_other_user(
        &self,
        store: &SharedStore,
        sid: &SessionIndex,
        user: &SessionIndex,
    ) -> Result<bool, StoreError> {
        let entries = sid.read(store, self.time().wall()).await?;
        let first = entries.first().map(|entry| entry.other);
        let is_first = |entry: &IndexEntry| Some(entry.other) == first;
        let is_of_one = first.is_some_and(|first| first != user.tag());
        Ok(is_of_one && entries.iter().all(is_first) && !user.exists(store).await?)
    }

    /// Ends every live session of `all`, and returns how many were live.
    ///
    /// Writes the watermark first and reads the index afterwards: a concurrent login is found in the index or
    /// finds the watermark.
    pub(super) async fn end_all(
        &self,
        store: &SharedStore,
        all: &BulkLogout<'_>,
    ) -> Result<usize, StoreError> {
        let (list, now) = (&all.list, self.time().wall());
        self.record_logout(store, list, all.sid, all.issued_until)
            .await?;
        let entries = list.read(store, now).await?;
        let (mut ended, mut found) = (0, Vec::new());
        for entry in entries.iter().filter(|one| all.covers(one)) {
            if self.is_live(&entry.id).await? {
                self.end_at_all_layers(&entry.id).await?;
                self.notify_ended_unopened(Some(entry.id), all.user, all.reason);
                ended += 1;
            }
            found.push(entry.id);
        }
        if !found.is_empty() {
            list.remove(store, &found, now).await?;
        }
        Ok(ended)
    }
}

/// Which sessions are ended, and what the hook is told.
pub(super) struct BulkLogout<'a> {
    pub(super) list: SessionIndex,
    /// Limits a logout of a user to the sessions of this `sid`.
    pub(super) sid: Option<IndexTag>,
    /// Issuer and subject, if known.
    pub(super) user: Option<(&'a str, &'a str)>,
    /// Logins in progress end too if their ID token was issued at this time or before.
    pub(super) issued_until: i64,
    /// Whether that also holds for indexed sessions, so that a late logout ends no later login. Otherwise all
    /// of them end, since the clock of the authorization server may be ahead.
    pub(super) only_before: bool,
    pub(super) reason: EndReason,
}

impl BulkLogout<'_> {
    fn covers(&self, entry: &IndexEntry) -> bool {
        let of_sid = self.sid.is_none_or(|sid| entry.other == sid);
        of_sid && (!self.only_before || entry.issued_at <= self.issued_until)
    }
}

/// Returns the store key of a used `jti`, which is unique within its issuer (RFC 7519 §4.1.7).
fn used_jti(flow: &Flow, jwt_id: &str) -> Key {
    Key::new("logout", &index::digest(flow, jwt_id))
}

/// Sessions do not change more often than this during one sign-out.
const MAX_ATTEMPTS: usize = 8;
