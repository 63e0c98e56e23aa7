//! Somebody who is signed in, as handlers see them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::email::Email;
use super::record::SessionRecord;
use super::settings::Flow;
use crate::clock::unix_seconds;
use crate::issuer::{BackChannelError, Unavailable};
use crate::protocol::{AccessToken, Claims, ScopeSet};
use crate::token::VerifyError;

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
    flow: Arc<Flow>,
    record: SessionRecord,
    expires_at: i64,
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

/// What a session could not give.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The access token has expired, and there is no newer one: the person has to sign in again.
    #[error("the access token has expired")]
    AccessTokenExpired,
    /// The metadata of the authorization server names no userinfo endpoint.
    #[error("the authorization server has no userinfo endpoint")]
    NoUserInfo,
    /// The authorization server does not take the access token any more.
    #[error("the access token was refused")]
    AccessTokenRefused,
    /// The userinfo endpoint answered something that cannot be used.
    #[error("the userinfo response cannot be used: {0}")]
    InvalidUserInfo(&'static str),
    /// The userinfo response is signed, and its signature, issuer or audience is wrong.
    #[error("the signed userinfo response cannot be verified")]
    UnverifiedUserInfo(#[source] VerifyError),
    /// The userinfo response speaks of somebody else (OpenID Connect Core §5.3.2).
    #[error("the userinfo response is of another subject")]
    OtherSubject,
    /// What is needed to ask is not known at the moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The request brought no answer.
    #[error(transparent)]
    BackChannel(#[from] BackChannelError),
}

impl From<VerifyError> for SessionError {
    fn from(error: VerifyError) -> Self {
        match error.unavailable() {
            Some(unavailable) => Self::Unavailable(unavailable.clone()),
            None => Self::UnverifiedUserInfo(error),
        }
    }
}

impl Session {
    /// `iss`: the authorization server the person signed in at.
    pub fn issuer(&self) -> &str {
        self.0.record.issuer()
    }

    /// `sub`: the person, as the issuer knows them.
    pub fn subject(&self) -> &str {
        self.0.record.subject()
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
        self.0.record.claims()
    }

    /// The e-mail address in the ID token, and whether the issuer vouches for it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.claims().get(name))
    }

    /// The scopes that were granted, which may be others than those asked for (RFC 6749 §5.1).
    pub fn scopes(&self) -> &ScopeSet {
        self.0.record.scopes()
    }

    /// When the person signed in here.
    pub fn signed_in_at(&self) -> SystemTime {
        moment(self.0.record.created_at())
    }

    /// When the session ends if it is not used any more.
    pub fn expires_at(&self) -> SystemTime {
        moment(self.0.expires_at)
    }

    /// The access token, for requests to an API on the person's behalf. Opaque to this application.
    ///
    /// # Errors
    ///
    /// [`SessionError::AccessTokenExpired`] once its life is over, where it cannot be renewed.
    // It will wait for a fresh token; callers already await it.
    #[allow(clippy::unused_async)]
    pub async fn access_token(&self) -> Result<AccessToken, SessionError> {
        if unix_seconds(&**self.0.flow.clock()) >= self.0.record.access_token_expires_at() {
            return Err(SessionError::AccessTokenExpired);
        }
        Ok(self.0.record.access_token().clone())
    }

    pub(super) fn flow(&self) -> &Flow {
        &self.0.flow
    }
}

impl Flow {
    /// The handle of a session that was found good; `expires_at` in seconds since 1970.
    pub(crate) fn session(self: &Arc<Self>, record: SessionRecord, expires_at: i64) -> Session {
        Session(Arc::new(Inner {
            flow: Arc::clone(self),
            record,
            expires_at,
        }))
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
