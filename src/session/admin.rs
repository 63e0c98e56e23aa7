//! An administrator's view of the sessions: who is signed in where, and the end of that (`L49`).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::bulk_logout::All;
use super::handle::moment;
use super::hooks::EndReason;
use super::index::{Entry, List};
use super::manager::SessionManager;
use crate::flow::SessionId;
use crate::store::{SharedStore, StoreError};

/// The sessions of a [`LoginLayer`](crate::LoginLayer), to be listed and ended from outside of them: by an
/// administrator's page, when a password was changed, when an account is closed.
///
/// [`LoginLayer::sessions`](crate::LoginLayer::sessions) gives it. Cheap to clone. It sees the sessions of
/// its layer's client at the authorization server, and of no other client that shares the store.
///
/// | | store | cookie with shared memory | cookie alone |
/// | --- | --- | --- | --- |
/// | [`of_user`](Self::of_user), [`of_sid`](Self::of_sid) | yes | yes | [`SessionAdminError::NoStore`] |
/// | [`end`](Self::end) | everywhere | everywhere | in this process |
/// | [`end_user`](Self::end_user), [`end_sid`](Self::end_sid) | everywhere | everywhere | [`SessionAdminError::NoStore`] |
///
/// A session that was ended here is over at the next request that comes with its cookie. The person stays
/// signed in at the authorization server, and the tokens of the session are not revoked: nobody but its
/// browser can read them.
///
/// What is *not* checked: whether who asks may do so.
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
pub struct Sessions(Arc<SessionManager>);

/// One session, as a list has it: nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    id: SessionId,
    signed_in_at: SystemTime,
    ends_at: SystemTime,
}

/// Why sessions could not be listed or ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionAdminError {
    /// The sessions are in the cookies of their browsers and nowhere else, so nobody has a list of them.
    #[error(
        "sessions are kept in cookies alone: use `with_session_store` or `with_shared_store` to list them"
    )]
    NoStore,
    /// The store could not be asked, or may have done only a part of what it was asked. Asking again does
    /// no harm.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    pub(crate) fn new(keeper: Arc<SessionManager>) -> Self {
        Self(keeper)
    }

    /// The sessions of this subject (`sub`) that live, the oldest first.
    ///
    /// In cookie mode one that ended by itself stands there until the last moment it could have lived.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_user(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionAdminError> {
        self.of(&self.0.list_of_user(subject)).await
    }

    /// The sessions of this session at the authorization server (`sid`) that live, the oldest first.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_sid(&self, sid: &str) -> Result<Vec<SessionInfo>, SessionAdminError> {
        self.of(&self.0.list_of_sid(sid)).await
    }

    /// Ends the session of this name; one that is unknown has ended already.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError::Store`].
    pub async fn end(&self, id: &SessionId) -> Result<(), SessionAdminError> {
        let known = match self.0.store() {
            Some(store) => self.0.lives(store, id).await?,
            None => !self.0.memory.denylist.contains_id(id),
        };
        if known {
            self.0.end_by_id(id).await?;
            let reason = EndReason::Administrator;
            self.0.notify_ended_unopened(Some(*id), None, reason);
        }
        Ok(())
    }

    /// Ends all sessions of this subject, and says how many there were; a login that is under way does not
    /// outlive it.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_user(&self, subject: &str) -> Result<usize, SessionAdminError> {
        let list = self.0.list_of_user(subject);
        self.end_all(list, Some((self.issuer(), subject))).await
    }

    /// Ends all sessions of this session at the authorization server (`sid`), and says how many there were.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_sid(&self, sid: &str) -> Result<usize, SessionAdminError> {
        self.end_all(self.0.list_of_sid(sid), None).await
    }

    async fn of(&self, list: &List) -> Result<Vec<SessionInfo>, SessionAdminError> {
        let store = self.store()?;
        let entries = self.0.alive(store, list).await?;
        Ok(entries.iter().map(SessionInfo::from).collect())
    }

    async fn end_all(
        &self,
        list: List,
        user: Option<(&str, &str)>,
    ) -> Result<usize, SessionAdminError> {
        let store = self.store()?;
        let all = All {
            list,
            sid: None,
            user,
            moment: self.0.now(),
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

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl SessionInfo {
    /// Its name, for [`Sessions::end`]; no secret.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// When the person signed in.
    pub fn signed_in_at(&self) -> SystemTime {
        self.signed_in_at
    }

    /// When it ends at the latest; it may end before, if nobody uses it.
    pub fn ends_at(&self) -> SystemTime {
        self.ends_at
    }
}

impl From<&Entry> for SessionInfo {
    fn from(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            signed_in_at: moment(entry.created_at),
            ends_at: moment(entry.ends_at),
        }
    }
}
