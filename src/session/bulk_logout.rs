//! Sessions that are ended by others than their own browser: the authorization server that tells of a
//! sign-out, and whoever looks after the application (`L49`, `L66`).

use std::time::Duration;

use bytes::Bytes;

use super::backend::SessionBackend;
use super::hooks::EndReason;
use super::index::{self, Entry, List, Tag};
use super::manager::SessionManager;
use crate::flow::Flow;
use crate::store::{Expect, Key, Put, SharedStore, StoreError};
use crate::token::logout_token::LogoutToken;

/// Why a logout token ended nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EndSessionError {
    #[error("the logout token was seen before")]
    Replayed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionManager {
    /// Whether what the authorization server tells is known to every process of the application.
    pub(crate) fn takes_logout_tokens(&self) -> bool {
        self.store().is_some_and(SharedStore::is_shared)
    }

    /// Ends what a logout token names: the sessions of its `sid`, all of its `sub`, or those of `sub` with
    /// this `sid`.
    /// Says how many were found; there may be more, in cookies that nobody lists.
    ///
    /// The token is noted as seen when all is done: a delivery that failed or broke off can be repeated,
    /// and what it did already is no different for being done again.
    pub(crate) async fn end_by_token(&self, token: &LogoutToken) -> Result<usize, EndSessionError> {
        let Some(store) = self.store() else {
            return Err(StoreError::unavailable("there is no store").into());
        };
        let issuer = self.flow.server().issuer();
        let seen = seen(&self.flow, &token.jwt_id);
        if store.get(&seen).await?.is_some() {
            return Err(EndSessionError::Replayed);
        }
        let user = token.subject.as_deref().map(|subject| (issuer, subject));
        let user_list = token.subject.as_deref().map(|sub| self.list_of_user(sub));
        let sid_list = token.session_id.as_deref().map(|sid| self.list_of_sid(sid));
        let (list, sid) = match (user_list, sid_list) {
            (Some(list), None) | (None, Some(list)) => (list, None),
            // Neither another session of this user nor one of another user with this `sid` is meant. Some servers
            // name the user by another `sub` than in ID tokens, though; a `sid` of one user alone is unmistakable.
            (Some(user), Some(sid)) => match self.is_of_one_other_user(store, &sid, &user).await? {
                true => (sid, None),
                false => (user, Some(sid.tag())),
            },
            (None, None) => return Ok(0),
        };
        let all = All {
            list,
            sid,
            user,
            moment: token.issued_at,
            only_before: true,
            reason: EndReason::BackChannel,
        };
        let ended = self.end_all(store, &all).await?;
        let left = token.valid_until.saturating_sub(self.now());
        let ttl = Duration::from_secs(u64::try_from(left).unwrap_or_default()) + SLACK;
        // Of two deliveries at the same moment one is the first.
        match store.put(&seen, Bytes::new(), ttl, Expect::Absent).await? {
            Put::Stored(_) => Ok(ended),
            Put::Conflict => Err(EndSessionError::Replayed),
        }
    }

    async fn is_of_one_other_user(
        &self,
        store: &SharedStore,
        sid: &List,
        user: &List,
    ) -> Result<bool, StoreError> {
        let entries = index::read(store, sid, self.now()).await?;
        let first = entries.first().map(|entry| entry.other);
        let is_first = |entry: &Entry| Some(entry.other) == first;
        Ok(first.is_some_and(|first| first != user.tag()) && entries.iter().all(is_first))
    }

    /// Ends every session of these that lives, and says how many did.
    ///
    /// The note first, then the list: a login under way at the same time stands on the list or finds the
    /// note.
    pub(super) async fn end_all(
        &self,
        store: &SharedStore,
        all: &All<'_>,
    ) -> Result<usize, StoreError> {
        let list = &all.list;
        self.note_logout(store, list, all.sid, all.moment).await?;
        let entries = index::read(store, list, self.now()).await?;
        let (mut ended, mut gone) = (0, Vec::new());
        for entry in entries.iter().filter(|one| all.covers(one)) {
            if self.lives(store, &entry.id).await? {
                self.end_by_id(&entry.id).await?;
                // It may be of another layer of this client, which keeps sessions in the same store. The other
                // way round, sessions in cookies are held to the note at each request.
                if let SessionBackend::CookieWith(store) = &self.place {
                    self.end_stored(store, &entry.id).await?;
                }
                self.notify_ended_unopened(Some(entry.id), all.user, all.reason);
                ended += 1;
            }
            gone.push(entry.id);
        }
        if !gone.is_empty() {
            index::remove(store, list, &gone, self.now()).await?;
        }
        Ok(ended)
    }
}

/// Which sessions are ended, and how that is told.
pub(super) struct All<'a> {
    pub(super) list: List,
    /// Of those of a user, only the sessions of this `sid`.
    pub(super) sid: Option<Tag>,
    /// Issuer and subject, where they are known.
    pub(super) user: Option<(&'a str, &'a str)>,
    /// Logins under way end whose ID token was issued at the latest then.
    pub(super) moment: i64,
    /// Those on the list as well: a logout that is heard of late ends nobody who signed in since. Otherwise
    /// whoever is on the list, since the clock of the authorization server may be ahead of ours.
    pub(super) only_before: bool,
    pub(super) reason: EndReason,
}

impl All<'_> {
    fn covers(&self, entry: &Entry) -> bool {
        let of_sid = self.sid.is_none_or(|sid| entry.other == sid);
        of_sid && (!self.only_before || entry.issued_at <= self.moment)
    }
}

/// `jti` is unique within its issuer (RFC 7519 §4.1.7), as far as one client can tell.
fn seen(flow: &Flow, jwt_id: &str) -> Key {
    Key::new("logout", &index::digest(flow, jwt_id))
}

/// Clocks differ between those who note and those who look.
const SLACK: Duration = Duration::from_secs(60);
