//! The decisions of an application on logins and refreshes, and what it decides on.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::flow::{UserInfo, UserInfoError};
use crate::protocol::{AccessToken, Claims, ScopeSet};
use crate::record::{Email, SessionId, SessionRecord, UserKey};
use crate::session::error::AppDataError;
use crate::session::providers::ProviderEntry;

/// A login whose user is known, from a verified ID token or an
/// [`IdentitySource`](crate::login::IdentitySource), before its session is created: the argument of
/// [`LoginLayer::with_on_login`](crate::LoginLayer::with_on_login).
#[derive(Clone)]
pub struct NewLogin {
    provider: ProviderEntry,
    record: Arc<SessionRecord>,
    previous: Option<Arc<SessionRecord>>,
    unverified_user: Option<String>,
}

/// The application's decision on a [`NewLogin`].
#[derive(Debug)]
#[must_use]
pub struct LoginDecision(pub(super) Result<Option<NewAppData>, LoginRejection>);

/// App data as JSON.
pub(in crate::session) type NewAppData = Result<String, AppDataError>;

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
    pub(in crate::session) fn new(
        provider: ProviderEntry,
        record: SessionRecord,
        previous: Option<Arc<SessionRecord>>,
    ) -> Self {
        Self {
            provider,
            record: Arc::new(record),
            previous,
            unverified_user: None,
        }
    }

    pub(in crate::session) fn with_unverified_user(self, unverified_user: Option<String>) -> Self {
        Self {
            unverified_user,
            ..self
        }
    }

    /// Returns what came with the browser about the user: the parameter `user` of the authorization response, a JSON text
    /// of at most 2 KiB in which Apple sends the name, once, at the first consent.
    ///
    /// **Nothing of it is verified**: the person at the browser can write what they like. Show it to that person, for
    /// example as the proposed name of an account, and escape it. The e-mail address in it is not the user's: use
    /// [`email`](Self::email), which is that of the ID token.
    pub fn unverified_user(&self) -> Option<&str> {
        self.unverified_user.as_deref()
    }

    /// Returns the name of the [provider](crate::Provider) that the user signed in at.
    pub fn provider(&self) -> &str {
        &self.provider.name
    }

    /// Returns the user who is signed in in this browser already, whose session the login replaces: the same user, or another
    /// one, such as the same person at another provider.
    ///
    /// `None` if the session cookie is [`SameSite::Strict`](crate::login::SameSite::Strict): browsers do not send it then.
    ///
    /// # Security
    ///
    /// Every site can start a login with a link. Before the application links two users to one account, ask the person on a
    /// page of its own.
    pub fn previous_user(&self) -> Option<UserKey<'_>> {
        self.previous.as_ref().map(|record| record.user_key())
    }

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
        self.record.user_key()
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
        let (flow, tokens) = (&self.provider.flow, self.record.tokens());
        flow.userinfo(tokens, self.subject()).await
    }
}

impl LoginDecision {
    /// Creates the session.
    pub fn allow() -> Self {
        Self(Ok(None))
    }

    /// Creates the session with `app_data`, which [`Session::app_data`](crate::Session::app_data) returns. It
    /// is serialized as JSON of at most 1 KiB in cookies and 64 KiB in a store. Data that is larger or cannot
    /// be serialized rejects the login with 500 and a log event.
    pub fn allow_with<T: Serialize + ?Sized>(app_data: &T) -> Self {
        Self(Ok(Some(to_json(app_data))))
    }

    /// Rejects the login with an error page (403) that shows `words`, escaped, and revokes the tokens of the
    /// login.
    pub fn deny(words: impl Into<Cow<'static, str>>) -> Self {
        Self(Err(LoginRejection::Denied(words.into())))
    }

    /// Rejects the login with an error page (503 with `Retry-After`), for example because a database cannot
    /// be reached.
    pub fn later(retry_after: Duration) -> Self {
        Self(Err(LoginRejection::Later {
            reason: "decided by the hook".to_owned(),
            retry_after,
        }))
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

/// A session with refreshed tokens: the argument of
/// [`LoginLayer::with_on_refresh`](crate::LoginLayer::with_on_refresh).
#[derive(Clone)]
pub struct RefreshedSession {
    provider: ProviderEntry,
    record: Arc<SessionRecord>,
    new_claims: Option<Claims>,
}

/// The application's decision on a [`RefreshedSession`].
#[derive(Debug)]
#[must_use]
pub struct RefreshDecision(pub(super) RefreshAction);

#[derive(Debug)]
pub(in crate::session) enum RefreshAction {
    Keep,
    KeepWith(NewAppData),
    End,
}

impl RefreshedSession {
    pub(in crate::session) fn new(
        provider: ProviderEntry,
        record: Arc<SessionRecord>,
        new_claims: Option<Claims>,
    ) -> Self {
        Self {
            provider,
            record,
            new_claims,
        }
    }

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
        self.record.user_key()
    }

    /// Returns the name of the [provider](crate::Provider) that the user signed in at.
    pub fn provider(&self) -> &str {
        &self.provider.name
    }

    /// Returns the ID of the session.
    pub fn session_id(&self) -> &SessionId {
        self.record.id()
    }

    /// Returns the claims of the ID token from the login.
    pub fn claims(&self) -> &Claims {
        self.record.claims()
    }

    /// Returns the claims of the ID token in the refresh response, if it had one. Issuer and subject are
    /// those of the login ([OpenID Connect Core §12.2]).
    ///
    /// [OpenID Connect Core §12.2]: https://openid.net/specs/openid-connect-core-1_0.html#RefreshTokenResponse
    pub fn new_claims(&self) -> Option<&Claims> {
        self.new_claims.as_ref()
    }

    /// Returns the scopes of the new access token.
    pub fn scopes(&self) -> &ScopeSet {
        &self.record.tokens().scopes
    }

    /// Returns the new access token.
    pub fn access_token(&self) -> &AccessToken {
        &self.record.tokens().access_token
    }

    /// Returns the app data of the session.
    ///
    /// # Errors
    ///
    /// [`AppDataError::OtherType`] if it cannot be deserialized as `T`.
    pub fn app_data<T: DeserializeOwned>(&self) -> Result<Option<T>, AppDataError> {
        let text = self.record.app_data();
        let data = text.map(serde_json::from_str).transpose();
        data.map_err(AppDataError::other_type)
    }

    /// Requests the claims of the userinfo endpoint with the new access token, with one request for each
    /// call.
    ///
    /// # Errors
    ///
    /// [`UserInfoError`], for example if the response is about another subject.
    pub async fn userinfo(&self) -> Result<UserInfo, UserInfoError> {
        let (flow, tokens) = (&self.provider.flow, self.record.tokens());
        flow.userinfo(tokens, self.subject()).await
    }
}

impl RefreshDecision {
    /// Keeps the session.
    pub fn keep() -> Self {
        Self(RefreshAction::Keep)
    }

    /// Keeps the session and replaces its app data, with the limits of
    /// [`LoginDecision::allow_with`](super::LoginDecision::allow_with). Data that is too large is not saved,
    /// which is logged.
    pub fn keep_with<T: Serialize + ?Sized>(app_data: &T) -> Self {
        Self(RefreshAction::KeepWith(to_json(app_data)))
    }

    /// Ends the session and revokes its tokens.
    pub fn end() -> Self {
        Self(RefreshAction::End)
    }
}

/// Shows issuer and subject, and no token.
impl fmt::Debug for RefreshedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshedSession")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

fn to_json<T: Serialize + ?Sized>(app_data: &T) -> NewAppData {
    serde_json::to_string(app_data).map_err(AppDataError::not_json)
}
