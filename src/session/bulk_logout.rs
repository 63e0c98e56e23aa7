//! Ends sessions from outside of their browsers: by a logout token ([OpenID Connect Back-Channel Logout]) or
//! an administrator.
//!
//! [OpenID Connect Back-Channel Logout]: https://openid.net/specs/openid-connect-backchannel-1_0.html

use bytes::Bytes;

use super::backend::SessionBackend;
use super::hooks::EndReason;
use super::index::{self, IndexEntry, IndexTag, SessionIndex};
use super::manager::SessionManager;
use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::flow::Flow;
use crate::store::{Expect, Key, Put, SharedStore, StoreError};
use crate::token::logout_token::LogoutToken;

/// The reason why a logout token ended no session.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EndSessionError {
    #[error("the logout token was used before")]
    Replayed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionManager {
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
        let ttl = time_until(token.valid_until, self.now()) + MAX_CLOCK_SKEW;
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
        let entries = index::read(store, sid, self.now()).await?;
        let first = entries.first().map(|entry| entry.other);
        let is_first = |entry: &IndexEntry| Some(entry.other) == first;
        let is_of_one = first.is_some_and(|first| first != user.tag());
        Ok(is_of_one && entries.iter().all(is_first) && !index::exists(store, user).await?)
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
        let list = &all.list;
        self.record_logout(store, list, all.sid, all.issued_until)
            .await?;
        let entries = index::read(store, list, self.now()).await?;
        let (mut ended, mut found) = (0, Vec::new());
        for entry in entries.iter().filter(|one| all.covers(one)) {
            if self.is_live(store, &entry.id).await? {
                self.end_by_id(&entry.id).await?;
                // The session may belong to another layer of this client that keeps its sessions in the same
                // store. The reverse case is covered, since sessions in cookies check the watermark on every
                // request.
                if let SessionBackend::SharedCookie(store) = &self.backend {
                    self.end_stored(store, &entry.id).await?;
                }
                self.notify_ended_unopened(Some(entry.id), all.user, all.reason);
                ended += 1;
            }
            found.push(entry.id);
        }
        if !found.is_empty() {
            index::remove(store, list, &found, self.now()).await?;
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
