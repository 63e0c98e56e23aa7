//! Lists and ends sessions from outside of them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::bulk_logout::BulkLogout;
use super::hooks::EndReason;
use super::index::{IndexEntry, SessionIndex};
use super::manager::SessionManager;
use crate::clock::system_time;
use crate::record::SessionId;
use crate::store::{SharedStore, StoreError};

/// Lists and ends the sessions of a [`LoginLayer`](crate::LoginLayer), for example after a password change or
/// when an account is closed.
///
/// Returned by [`LoginLayer::sessions`](crate::LoginLayer::sessions). Cloning is cheap. It covers the
/// sessions of its layer's client at the authorization server, and of no other client that shares the store.
///
/// | | store | cookie with a shared store | cookie alone |
/// | --- | --- | --- | --- |
/// | [`of_user`](Self::of_user), [`of_sid`](Self::of_sid) | yes | yes | [`SessionAdminError::NoStore`] |
/// | [`end`](Self::end) | everywhere | everywhere | in this process |
/// | [`end_user`](Self::end_user), [`end_sid`](Self::end_sid) | everywhere | everywhere | [`SessionAdminError::NoStore`] |
///
/// A session ends before the next request with its cookie. The user stays signed in at the authorization
/// server. The tokens are not revoked, since only the browser can decrypt them.
///
/// # Not checked
///
/// **Authorization is the caller's job**: these methods do not check who calls them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oauth::store::MemoryStore;
/// use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let callback = "https://shop.example.com/auth/callback";
/// let client = Client::confidential("shop", "a secret from the environment");
/// let login = LoginLayer::new(&server, client, callback, CookieKey::generate()?)?
///     .with_session_store(MemoryStore::new());
///
/// let sessions = login.sessions();
/// for session in sessions.of_user("alice").await? {
///     println!("{} since {:?}", session.id(), session.signed_in_at());
/// }
/// assert_eq!(sessions.end_user("alice").await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionAdmin(Arc<SessionManager>);

/// A session in the lists of [`SessionAdmin`], without claims and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    id: SessionId,
    signed_in_at: SystemTime,
    ends_at: SystemTime,
}

/// The error of listing or ending sessions.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionAdminError {
    /// Sessions are in cookies alone, so they cannot be listed.
    #[error(
        "sessions in cookies alone cannot be listed: use `with_session_store` or `with_shared_store`"
    )]
    NoStore,
    /// The store failed. A part of the operation may have taken effect; repeating it is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SessionAdmin {
    pub(crate) fn new(manager: Arc<SessionManager>) -> Self {
        Self(manager)
    }

    /// Returns the live sessions of this subject (`sub`), the oldest first.
    ///
    /// With sessions in cookies, an expired session is listed until the absolute limit.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_user(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionAdminError> {
        self.of(&self.0.user_index(subject)).await
    }

    /// Returns the live sessions of this session at the authorization server (`sid`), the oldest first.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_sid(&self, sid: &str) -> Result<Vec<SessionInfo>, SessionAdminError> {
        self.of(&self.0.sid_index(sid)).await
    }

    /// Ends the session with this ID. An unknown session has ended already, which is not an error.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError::Store`].
    pub async fn end(&self, id: &SessionId) -> Result<(), SessionAdminError> {
        let is_live = match self.0.store() {
            Some(store) => self.0.is_live(store, id).await?,
            None => !self.0.local.denylist.contains_id(id),
        };
        if is_live {
            self.0.end_by_id(id).await?;
            let reason = EndReason::Administrator;
            self.0.notify_ended_unopened(Some(*id), None, reason);
        }
        Ok(())
    }

    /// Ends all sessions of this subject (`sub`), including those of logins in progress. Returns how many
    /// live sessions were listed.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_user(&self, subject: &str) -> Result<usize, SessionAdminError> {
        let list = self.0.user_index(subject);
        self.end_all(list, Some((self.issuer(), subject))).await
    }

    /// Ends all sessions of this session at the authorization server (`sid`). Returns how many live sessions
    /// were listed.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_sid(&self, sid: &str) -> Result<usize, SessionAdminError> {
        self.end_all(self.0.sid_index(sid), None).await
    }

    async fn of(&self, list: &SessionIndex) -> Result<Vec<SessionInfo>, SessionAdminError> {
        let store = self.store()?;
        let entries = self.0.live_entries(store, list).await?;
        Ok(entries.iter().map(SessionInfo::from).collect())
    }

    async fn end_all(
        &self,
        list: SessionIndex,
        user: Option<(&str, &str)>,
    ) -> Result<usize, SessionAdminError> {
        let store = self.store()?;
        let all = BulkLogout {
            list,
            sid: None,
            user,
            issued_until: self.0.now(),
            only_before: false,
            reason: EndReason::Administrator,
        };
        Ok(self.0.end_all(store, &all).await?)
    }

    fn store(&self) -> Result<&SharedStore, SessionAdminError> {
        self.0.store().ok_or(SessionAdminError::NoStore)
    }

    fn issuer(&self) -> &str {
        self.0.flow.server().issuer()
    }
}

impl fmt::Debug for SessionAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionAdmin").finish_non_exhaustive()
    }
}

impl SessionInfo {
    /// Returns the ID, for [`SessionAdmin::end`]. It is not a secret.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns when the user signed in.
    pub fn signed_in_at(&self) -> SystemTime {
        self.signed_in_at
    }

    /// Returns when the session ends at the latest. It ends earlier if it is not used.
    pub fn ends_at(&self) -> SystemTime {
        self.ends_at
    }
}

impl From<&IndexEntry> for SessionInfo {
    fn from(entry: &IndexEntry) -> Self {
        Self {
            id: entry.id,
            signed_in_at: system_time(entry.created_at),
            ends_at: system_time(entry.ends_at),
        }
    }
}
