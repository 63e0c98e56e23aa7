//! The hook that approves or rejects logins.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::flow::{Flow, UserInfo, UserInfoError};
use crate::protocol::{AccessToken, Claims, ScopeSet};
use crate::record::{Email, SessionRecord};
use crate::session::app_data::{self, AppDataError};
use crate::session::handle::UserKey;
use crate::session::manager::SessionManager;

/// A login with a verified ID token, before its session is created: the argument of
/// [`LoginLayer::with_on_login`](crate::LoginLayer::with_on_login).
#[derive(Clone)]
pub struct NewLogin {
    flow: Arc<Flow>,
    record: Arc<SessionRecord>,
}

/// The application's decision on a [`NewLogin`].
#[derive(Debug)]
#[must_use]
pub struct LoginDecision(LoginAction);

#[derive(Debug)]
enum LoginAction {
    Allow,
    AllowWith(Result<Option<String>, AppDataError>),
    Deny(Cow<'static, str>),
    Later(Duration),
}

/// The reason why a login was rejected. No session was created and the tokens were revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LoginRejection {
    #[error("the application rejected the login")]
    Denied(Cow<'static, str>),
    #[error("the application deferred the login: {reason}")]
    Later {
        reason: String,
        retry_after: Duration,
    },
    #[error("the login hook failed: {0}")]
    Failed(String),
}

impl NewLogin {
    /// Returns the issuer (`iss`), which identifies the authorization server.
    pub fn issuer(&self) -> &str {
        self.record.issuer()
    }

    /// Returns the subject (`sub`), which identifies the user at the issuer.
    pub fn subject(&self) -> &str {
        self.record.subject()
    }

    /// Returns issuer and subject, which together identify the user.
    pub fn user_key(&self) -> UserKey<'_> {
        UserKey {
            issuer: self.issuer(),
            subject: self.subject(),
        }
    }

    /// Returns the claims of the ID token.
    pub fn claims(&self) -> &Claims {
        self.record.claims()
    }

    /// Returns the e-mail address in the ID token, and whether the issuer has verified it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.claims().get(name))
    }

    /// Returns the granted scopes.
    pub fn scopes(&self) -> &ScopeSet {
        &self.record.tokens().scopes
    }

    /// Returns the access token, for requests about the user before the decision.
    pub fn access_token(&self) -> &AccessToken {
        &self.record.tokens().access_token
    }

    /// Requests the claims of the userinfo endpoint ([OpenID Connect Core §5.3]), with one request for each
    /// call.
    ///
    /// # Errors
    ///
    /// [`UserInfoError`], for example if the response is about another subject.
    ///
    /// [OpenID Connect Core §5.3]: https://openid.net/specs/openid-connect-core-1_0.html#UserInfo
    pub async fn userinfo(&self) -> Result<UserInfo, UserInfoError> {
        self.flow
            .userinfo(self.access_token(), self.subject())
            .await
    }
}

impl LoginDecision {
    /// Creates the session.
    pub fn allow() -> Self {
        Self(LoginAction::Allow)
    }

    /// Creates the session with `app_data`, which [`Session::app_data`](crate::Session::app_data) returns. It
    /// is serialized as JSON of at most 1 KiB in cookies and 64 KiB in a store. Data that is larger or cannot
    /// be serialized rejects the login with 500 and a log event.
    pub fn allow_with<T: Serialize + ?Sized>(app_data: &T) -> Self {
        Self(LoginAction::AllowWith(app_data::to_json(app_data)))
    }

    /// Rejects the login with an error page (403) that shows `words`, escaped, and revokes the tokens of the
    /// login.
    pub fn deny(words: impl Into<Cow<'static, str>>) -> Self {
        Self(LoginAction::Deny(words.into()))
    }

    /// Rejects the login with an error page (503 with `Retry-After`), for example because a database cannot
    /// be reached.
    pub fn later(retry_after: Duration) -> Self {
        Self(LoginAction::Later(retry_after))
    }
}

impl SessionManager {
    /// Calls the login hook, once for each login.
    pub(in crate::session) async fn approve_login(
        &self,
        record: SessionRecord,
    ) -> Result<SessionRecord, LoginRejection> {
        let new = NewLogin {
            flow: Arc::clone(&self.flow),
            record: Arc::new(record.clone()),
        };
        let clock = self.flow.clock().as_ref();
        match self.hooks.on_login.call(clock, new).await {
            None | Some(Ok(LoginDecision(LoginAction::Allow))) => Ok(record),
            Some(Ok(LoginDecision(decision))) => self.apply(decision, &record),
            Some(Err(error @ super::HookError::TooSlow)) => Err(LoginRejection::Later {
                reason: error.to_string(),
                retry_after: HOOK_RETRY_AFTER,
            }),
            Some(Err(error)) => Err(LoginRejection::Failed(error.to_string())),
        }
    }

    fn apply(
        &self,
        decision: LoginAction,
        record: &SessionRecord,
    ) -> Result<SessionRecord, LoginRejection> {
        match decision {
            LoginAction::Allow => Ok(record.clone()),
            LoginAction::AllowWith(text) => text
                .and_then(|text| self.with_app_data(record, text))
                .map_err(|error| LoginRejection::Failed(error.to_string())),
            LoginAction::Deny(words) => Err(LoginRejection::Denied(words)),
            LoginAction::Later(retry_after) => Err(LoginRejection::Later {
                reason: "decided by the hook".to_owned(),
                retry_after,
            }),
        }
    }
}

/// Shows issuer and subject, and no token.
impl fmt::Debug for NewLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewLogin")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// The `Retry-After` if the hook timed out.
const HOOK_RETRY_AFTER: Duration = Duration::from_secs(10);
