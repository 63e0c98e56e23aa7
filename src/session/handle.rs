//! Somebody who is signed in, as handlers see them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::SessionError;
use super::held::Held;
use super::keeper::Keeper;
use crate::flow::{Email, SessionId, SessionRecord, UserInfo};
use crate::protocol::{AccessToken, Claims, ScopeSet};

/// Somebody who signed in.
///
/// There is no public way to make one, so a handler that is given one needs no check of its own: the
/// ID token was verified at the login, and the session is within its limits. Cheap to clone.
///
/// Know people by [`user_key`](Self::user_key), never by an e-mail address or a user name
/// ([OpenID Connect Core §5.7]).
///
/// What is *not* checked: whether the account still exists at the authorization server, and anything
/// that changed there since the login.
///
/// [OpenID Connect Core §5.7]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimStability
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    keeper: Arc<Keeper>,
    /// What the request came with: who somebody is does not change under a handler's hands.
    opened: Arc<SessionRecord>,
    expires_at: i64,
    /// The newest that is known here.
    current: Mutex<Held>,
}

/// Who somebody is: subjects are only unique within their issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct UserKey<'a> {
    /// `iss`: the authorization server.
    pub issuer: &'a str,
    /// `sub`: the person, as that server knows them.
    pub subject: &'a str,
}

impl Session {
    /// `iss`: the authorization server the person signed in at.
    pub fn issuer(&self) -> &str {
        self.0.opened.issuer()
    }

    /// `sub`: the person, as the issuer knows them.
    pub fn subject(&self) -> &str {
        self.0.opened.subject()
    }

    /// Issuer and subject: the key under which an application keeps what it knows of somebody.
    pub fn user_key(&self) -> UserKey<'_> {
        UserKey {
            issuer: self.issuer(),
            subject: self.subject(),
        }
    }

    /// The claims of the ID token, as they were at the login.
    pub fn claims(&self) -> &Claims {
        self.0.opened.claims()
    }

    /// The e-mail address in the ID token, and whether the issuer vouches for it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.claims().get(name))
    }

    /// The scopes that were granted, which may be others than those asked for (RFC 6749 §5.1).
    pub fn scopes(&self) -> &ScopeSet {
        self.0.opened.scopes()
    }

    /// When the person signed in here.
    pub fn signed_in_at(&self) -> SystemTime {
        moment(self.0.opened.created_at())
    }

    /// When the session ends if it is not used any more.
    pub fn expires_at(&self) -> SystemTime {
        moment(self.0.expires_at)
    }

    /// The name of the session: for logs and for support. No secret.
    pub fn id(&self) -> &SessionId {
        self.0.opened.id()
    }

    /// The access token, for requests to an API on the person's behalf. Opaque to this application.
    ///
    /// # Errors
    ///
    /// [`SessionError::AccessTokenExpired`] once its life is over, where it cannot be renewed.
    // It will wait for a fresh token; callers already await it.
    #[allow(clippy::unused_async)]
    pub async fn access_token(&self) -> Result<AccessToken, SessionError> {
        let held = self.current();
        if self.0.keeper.now() >= held.record().access_token_expires_at() {
            return Err(SessionError::AccessTokenExpired);
        }
        Ok(held.record().access_token().clone())
    }

    /// Asks the userinfo endpoint, once at each call: what is known of the person now, which may be
    /// more than the ID token said.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; in particular where the answer speaks of somebody else, or where it is signed
    /// and its signature, issuer or audience is wrong. Encrypted answers are refused.
    pub async fn userinfo(&self) -> Result<UserInfo, SessionError> {
        let token = self.access_token().await?;
        Ok(self
            .0
            .keeper
            .flow()
            .userinfo(&token, self.subject())
            .await?)
    }

    pub(crate) fn new(keeper: Arc<Keeper>, held: Held) -> Self {
        Self(Arc::new(Inner {
            expires_at: keeper.expires_at(held.record()),
            keeper,
            opened: Arc::clone(held.record()),
            current: Mutex::new(held),
        }))
    }

    /// The newest state of the session that is known to this request.
    pub(crate) fn current(&self) -> Held {
        self.lock().clone()
    }

    pub(super) fn keeper(&self) -> &Arc<Keeper> {
        &self.0.keeper
    }

    /// The session has become this.
    pub(super) fn renew(&self, held: Held) {
        *self.lock() = held;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names whose session it is; no token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND))
}

/// The end of the year 9999: every platform can name it.
const LAST_SECOND: u64 = 253_402_300_799;
