//! A login that is about to become a session, and what the application says to it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::flow::{Email, Flow, SessionRecord, UserInfo, UserInfoError};
use crate::protocol::{AccessToken, Claims, ScopeSet};
use crate::session::app_data::{self, AppDataError};
use crate::session::handle::UserKey;
use crate::session::manager::SessionManager;

/// Somebody whose ID token was found good and who has no session yet; for
/// [`LoginLayer::with_on_login`](crate::LoginLayer::with_on_login).
#[derive(Clone)]
pub struct NewLogin {
    flow: Arc<Flow>,
    record: Arc<SessionRecord>,
}

/// What an application says to a [`NewLogin`].
#[derive(Debug)]
#[must_use]
pub struct LoginDecision(Decision);

#[derive(Debug)]
enum Decision {
    Allow,
    AllowWith(Result<Option<String>, AppDataError>),
    Deny(Cow<'static, str>),
    Later(Duration),
}

/// Why nobody was let in. There is no session, and the tokens were revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LoginRejection {
    #[error("the application denied the login")]
    Denied(Cow<'static, str>),
    #[error("the application could not decide on the login: {reason}")]
    Later {
        reason: String,
        retry_after: Duration,
    },
    #[error("the application failed to decide on the login: {0}")]
    Failed(String),
}

impl NewLogin {
    /// `iss`: the authorization server.
    pub fn issuer(&self) -> &str {
        self.record.issuer()
    }

    /// `sub`: the person, as the issuer knows them.
    pub fn subject(&self) -> &str {
        self.record.subject()
    }

    /// Issuer and subject: the key under which an application keeps what it knows of somebody.
    pub fn user_key(&self) -> UserKey<'_> {
        UserKey {
            issuer: self.issuer(),
            subject: self.subject(),
        }
    }

    /// The claims of the ID token.
    pub fn claims(&self) -> &Claims {
        self.record.claims()
    }

    /// The e-mail address in the ID token, and whether the issuer vouches for it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.claims().get(name))
    }

    /// The scopes that were granted.
    pub fn scopes(&self) -> &ScopeSet {
        self.record.scopes()
    }

    /// The access token, to ask an API about the person before they are let in.
    pub fn access_token(&self) -> &AccessToken {
        self.record.access_token()
    }

    /// Asks the userinfo endpoint, once at each call.
    ///
    /// # Errors
    ///
    /// [`UserInfoError`], in particular where the answer speaks of somebody else.
    pub async fn userinfo(&self) -> Result<UserInfo, UserInfoError> {
        self.flow
            .userinfo(self.access_token(), self.subject())
            .await
    }
}

impl LoginDecision {
    /// They get a session.
    pub fn allow() -> Self {
        Self(Decision::Allow)
    }

    /// They get a session that has this with it, for
    /// [`Session::app_data`](crate::Session::app_data). It is kept as JSON: at most 1 KiB in cookies, 64 KiB
    /// in a store. What is larger, or is no JSON, fails the login with a 500 that the log explains.
    pub fn allow_with<T: Serialize + ?Sized>(app_data: &T) -> Self {
        Self(Decision::AllowWith(app_data::to_json(app_data)))
    }

    /// They get an error page (403) with these words, which are escaped, and no session. The tokens of the
    /// login are revoked.
    pub fn deny(words: impl Into<Cow<'static, str>>) -> Self {
        Self(Decision::Deny(words.into()))
    }

    /// It cannot be told at the moment, because a database is away for example: they get an error page
    /// (503, with `Retry-After`) and no session.
    pub fn later(retry_after: Duration) -> Self {
        Self(Decision::Later(retry_after))
    }
}

impl SessionManager {
    /// Asks the application about a login, once: the caller sees to that. Whoever is not admitted leaves
    /// nothing behind.
    pub(crate) async fn admit(
        &self,
        record: SessionRecord,
    ) -> Result<SessionRecord, LoginRejection> {
        let new = NewLogin {
            flow: Arc::clone(&self.flow),
            record: Arc::new(record.clone()),
        };
        let clock = self.flow.clock().as_ref();
        let admitted = match self.hooks.on_login.call(clock, new).await {
            None | Some(Ok(LoginDecision(Decision::Allow))) => return Ok(record),
            Some(Ok(LoginDecision(decision))) => self.carry_out(decision, &record),
            Some(Err(error @ super::NoAnswer::TooSlow)) => Err(LoginRejection::Later {
                reason: error.to_string(),
                retry_after: RETRY,
            }),
            Some(Err(error)) => Err(LoginRejection::Failed(error.to_string())),
        };
        if admitted.is_err() {
            self.flow.revoke(&record).await;
        }
        admitted
    }

    fn carry_out(
        &self,
        decision: Decision,
        record: &SessionRecord,
    ) -> Result<SessionRecord, LoginRejection> {
        match decision {
            Decision::Allow => Ok(record.clone()),
            Decision::AllowWith(text) => text
                .and_then(|text| self.with_app_data(record, text))
                .map_err(|error| LoginRejection::Failed(error.to_string())),
            Decision::Deny(words) => Err(LoginRejection::Denied(words)),
            Decision::Later(retry_after) => Err(LoginRejection::Later {
                reason: "it said so".to_owned(),
                retry_after,
            }),
        }
    }
}

/// Names who it is; no token.
impl fmt::Debug for NewLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewLogin")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// When to come again after a hook that was too slow.
const RETRY: Duration = Duration::from_secs(10);
