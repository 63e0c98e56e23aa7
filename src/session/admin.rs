//! Lists and ends sessions from outside of them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::hooks::EndReason;
use super::index::{IndexEntry, SessionIndex};
use super::logout::BulkLogout;
use super::manager::SessionManager;
use crate::clock::system_time;
use crate::flow::Flow;
use crate::record::{SessionId, UserKey};
use crate::store::StoreError;
use crate::sync::Mutex;

/// Lists and ends the sessions of a [`LoginLayer`](crate::LoginLayer), for example after a password change or
/// when an account is closed.
///
/// Returned by [`LoginLayer::sessions`](crate::LoginLayer::sessions). Cloning is cheap. It covers the
/// sessions of its layer's client at the authorization server, and of no other client that shares the store.
///
/// | | store | cookie with a shared store | cookie alone |
/// | --- | --- | --- | --- |
/// | [`of_user`](Self::of_user), [`of_user_key`](Self::of_user_key), [`of_sid`](Self::of_sid) | yes | yes | [`SessionAdminError::NoStore`] |
/// | [`end`](Self::end) | everywhere | everywhere | in this process |
/// | [`end_user`](Self::end_user), [`end_user_key`](Self::end_user_key), [`end_sid`](Self::end_sid) | everywhere | everywhere | [`SessionAdminError::NoStore`] |
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
///
/// # Several providers
///
/// A subject is unique only within its issuer. Methods that take a subject or a `sid` alone concern the provider that the
/// layer was created with, and **no other one**; [`at_provider`](Self::at_provider) returns a handle for the users of
/// another one. Of a provider with several tenants, they concern all of its tenants. With the [key](crate::Session::user_key) of a user, the issuer determines the provider:
///
/// ```
/// # use tower_oauth::{Session, session::{SessionAdmin, SessionAdminError}};
/// async fn sign_out_everywhere(
///     session: &Session,
///     sessions: &SessionAdmin,
/// ) -> Result<usize, SessionAdminError> {
///     sessions.end_user_key(session.user_key()).await
/// }
/// ```
#[derive(Clone)]
pub struct SessionAdmin {
    manager: Arc<Mutex<Arc<SessionManager>>>,
    /// The name of the provider of the users. `None` for the first one.
    provider: Option<Arc<str>>,
}

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
    /// The layer has no provider with this name.
    #[error("the layer has no provider {0:?}")]
    UnknownProvider(String),
    /// The issuer of the user is that of no provider of the layer.
    #[error("no provider of the layer has users of the issuer {0:?}")]
    UnknownIssuer(String),
    /// The store failed. A part of the operation may have taken effect; repeating it is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user and the index of its sessions.
struct IndexedUser<'a> {
    key: UserKey<'a>,
    list: SessionIndex,
}

impl<'a> IndexedUser<'a> {
    fn new(flow: &Flow, key: UserKey<'a>) -> Self {
        let list = SessionIndex::of_user(flow, key);
        Self { key, list }
    }
}

impl SessionAdmin {
    pub(crate) fn new(manager: Arc<SessionManager>) -> Self {
        Self {
            manager: Arc::new(Mutex::new(manager)),
            provider: None,
        }
    }

    /// Returns a handle for the users of the [provider](crate::Provider) with this name, and of no other one.
    ///
    /// Its methods return [`SessionAdminError::UnknownProvider`] if the layer has none with this name.
    #[must_use]
    pub fn at_provider(&self, name: &str) -> Self {
        Self {
            manager: Arc::clone(&self.manager),
            provider: Some(name.into()),
        }
    }

    /// Applies later settings of the layer to this handle and all of its clones.
    pub(crate) fn set_manager(&self, manager: Arc<SessionManager>) {
        *self.manager.lock() = manager;
    }

    fn manager(&self) -> Arc<SessionManager> {
        Arc::clone(&self.manager.lock())
    }

    /// Returns the flow of the provider of the users that are named by their subject alone.
    fn flow<'m>(&self, manager: &'m SessionManager) -> Result<&'m Flow, SessionAdminError> {
        let Some(name) = &self.provider else {
            return Ok(manager.layer_flow());
        };
        let provider = manager.providers().named(name);
        let flow = provider.map(|provider| &*provider.flow);
        flow.ok_or_else(|| SessionAdminError::UnknownProvider(name.as_ref().to_owned()))
    }

    /// Returns the users with this subject: of several tenants, each may have one.
    fn users<'a>(
        &self,
        manager: &'a SessionManager,
        subject: &'a str,
    ) -> Result<Vec<IndexedUser<'a>>, SessionAdminError> {
        let flow = self.flow(manager)?;
        let users = flow.issuers().into_iter().map(|issuer| {
            let key = UserKey::new(issuer, subject);
            IndexedUser::new(flow, key)
        });
        Ok(users.collect())
    }

    /// Returns the indexes of one user: clients of one authorization server have one each.
    fn user_of_key<'a>(
        &self,
        manager: &'a SessionManager,
        key: UserKey<'a>,
    ) -> Result<Vec<IndexedUser<'a>>, SessionAdminError> {
        let flows: Vec<_> = match self.provider {
            Some(_) => vec![self.flow(manager)?],
            None => (manager.providers().all().map(|one| &*one.flow)).collect(),
        };
        let mut found: Vec<IndexedUser<'_>> = Vec::new();
        for flow in flows {
            let Some(issuer) = flow.issuer_of(key.issuer) else {
                continue;
            };
            let user = IndexedUser::new(flow, UserKey::new(issuer, key.subject));
            if !found.iter().any(|one| one.list.id() == user.list.id()) {
                found.push(user);
            }
        }
        match found.is_empty() {
            true => Err(SessionAdminError::UnknownIssuer(key.issuer.to_owned())),
            false => Ok(found),
        }
    }

    /// Returns the indexes of a `sid`, which is unique only within its issuer.
    fn sids(
        &self,
        manager: &SessionManager,
        sid: &str,
    ) -> Result<Vec<SessionIndex>, SessionAdminError> {
        let flow = self.flow(manager)?;
        let issuers = flow.issuers().into_iter();
        Ok(issuers
            .map(|issuer| SessionIndex::of_sid(flow, issuer, sid))
            .collect())
    }

    /// Returns the live sessions of this subject (`sub`) at **one** provider, the oldest first: the first one, or that of
    /// [`at_provider`](Self::at_provider).
    ///
    /// With sessions in cookies, an expired session is listed until the absolute limit.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_user(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionAdminError> {
        let manager = self.manager();
        let users = self.users(&manager, subject)?;
        let lists: Vec<_> = users.into_iter().map(|user| user.list).collect();
        manager.infos(&lists).await
    }

    /// Returns the live sessions of this user, the oldest first, at whichever provider of the layer the user signed in:
    /// [`of_user`](Self::of_user) for a layer with several providers.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_user_key(
        &self,
        user: UserKey<'_>,
    ) -> Result<Vec<SessionInfo>, SessionAdminError> {
        let manager = self.manager();
        let users = self.user_of_key(&manager, user)?;
        let lists: Vec<_> = users.into_iter().map(|user| user.list).collect();
        manager.infos(&lists).await
    }

    /// Returns the live sessions of this session at the authorization server (`sid`), the oldest first.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn of_sid(&self, sid: &str) -> Result<Vec<SessionInfo>, SessionAdminError> {
        let manager = self.manager();
        let lists = self.sids(&manager, sid)?;
        manager.infos(&lists).await
    }

    /// Ends the session with this ID. An unknown session has ended already, which is not an error.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError::Store`].
    pub async fn end(&self, id: &SessionId) -> Result<(), SessionAdminError> {
        let manager = self.manager();
        if manager.is_live(id).await? {
            manager.end_by_id(id).await?;
            let reason = EndReason::Administrator;
            manager.notify_ended_unopened(Some(*id), None, reason);
        }
        Ok(())
    }

    /// Ends all sessions of this subject (`sub`) at **one** provider, including those of logins in progress: the first
    /// provider, or that of [`at_provider`](Self::at_provider). Returns how many live sessions were listed.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_user(&self, subject: &str) -> Result<usize, SessionAdminError> {
        let manager = self.manager();
        let users = self.users(&manager, subject)?;
        manager.end_users(users).await
    }

    /// Ends all sessions of this user, including those of logins in progress, at whichever provider of the layer the user
    /// signed in: [`end_user`](Self::end_user) for a layer with several providers. Returns how many live sessions were
    /// listed.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_user_key(&self, user: UserKey<'_>) -> Result<usize, SessionAdminError> {
        let manager = self.manager();
        let users = self.user_of_key(&manager, user)?;
        manager.end_users(users).await
    }

    /// Ends all sessions of this session at the authorization server (`sid`). Returns how many live sessions
    /// were listed.
    ///
    /// # Errors
    ///
    /// [`SessionAdminError`].
    pub async fn end_sid(&self, sid: &str) -> Result<usize, SessionAdminError> {
        let manager = self.manager();
        let mut ended = 0;
        for list in self.sids(&manager, sid)? {
            ended += manager.end_listed(list, None).await?;
        }
        Ok(ended)
    }
}

impl SessionManager {
    async fn infos(&self, lists: &[SessionIndex]) -> Result<Vec<SessionInfo>, SessionAdminError> {
        let store = self.store().ok_or(SessionAdminError::NoStore)?;
        let mut entries = Vec::new();
        for list in lists {
            entries.extend(self.live_entries(store, list).await?);
        }
        entries.sort_by_key(|entry| entry.created_at);
        Ok(entries.iter().map(SessionInfo::from).collect())
    }

    async fn end_users(&self, users: Vec<IndexedUser<'_>>) -> Result<usize, SessionAdminError> {
        let mut ended = 0;
        for user in users {
            ended += self.end_listed(user.list, Some(user.key)).await?;
        }
        Ok(ended)
    }

    async fn end_listed(
        &self,
        list: SessionIndex,
        user: Option<UserKey<'_>>,
    ) -> Result<usize, SessionAdminError> {
        let store = self.store().ok_or(SessionAdminError::NoStore)?;
        let all = BulkLogout {
            list,
            sid: None,
            user,
            issued_until: self.time().wall(),
            only_before: false,
            reason: EndReason::Administrator,
        };
        Ok(self.end_all(store, &all).await?)
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
