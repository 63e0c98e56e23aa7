//! The hook for refreshed sessions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::flow::{Flow, UserInfo, UserInfoError};
use crate::protocol::{AccessToken, Claims, ScopeSet};
use crate::record::{SessionId, SessionRecord};
use crate::session::app_data::{self, AppDataError};
use crate::session::error::SessionError;
use crate::session::events;
use crate::session::handle::UserKey;
use crate::session::hooks::EndReason;
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;

/// A session with refreshed tokens: the argument of
/// [`LoginLayer::with_on_refresh`](crate::LoginLayer::with_on_refresh).
#[derive(Clone)]
pub struct RefreshedSession {
    flow: Arc<Flow>,
    record: Arc<SessionRecord>,
    new_claims: Option<Claims>,
}

/// The application's decision on a [`RefreshedSession`].
#[derive(Debug)]
#[must_use]
pub struct RefreshDecision(RefreshAction);

#[derive(Debug)]
enum RefreshAction {
    Keep,
    KeepWith(Result<Option<String>, AppDataError>),
    End,
}

impl RefreshedSession {
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
        app_data::from_json(self.record.app_data())
    }

    /// Requests the claims of the userinfo endpoint with the new access token, with one request for each
    /// call.
    ///
    /// # Errors
    ///
    /// [`UserInfoError`], for example if the response is about another subject.
    pub async fn userinfo(&self) -> Result<UserInfo, UserInfoError> {
        self.flow
            .userinfo(self.access_token(), self.subject())
            .await
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
        Self(RefreshAction::KeepWith(app_data::to_json(app_data)))
    }

    /// Ends the session and revokes its tokens.
    pub fn end() -> Self {
        Self(RefreshAction::End)
    }
}

impl SessionManager {
    /// Calls the hook after the new tokens were saved, so that the hook cannot lose them.
    ///
    /// A failed hook does not end the session.
    pub(in crate::session) async fn after_refresh(
        &self,
        loaded: LoadedSession,
        new_claims: Option<Claims>,
    ) -> Result<LoadedSession, SessionError> {
        if !self.hooks.on_refresh.is_set() {
            return Ok(loaded);
        }
        let refreshed = RefreshedSession {
            flow: Arc::clone(&self.flow),
            record: Arc::clone(loaded.record()),
            new_claims,
        };
        let clock = self.flow.clock().as_ref();
        let decision = match self.hooks.on_refresh.call(clock, refreshed).await {
            None => return Ok(loaded),
            Some(Ok(RefreshDecision(decision))) => decision,
            Some(Err(error)) => {
                events::hook_failed("on_refresh", &error);
                return Ok(loaded);
            }
        };
        match decision {
            RefreshAction::Keep => Ok(loaded),
            RefreshAction::KeepWith(text) => {
                let saved = match text {
                    Ok(text) => self.replace_app_data(&loaded, |_| Ok(text.clone())).await,
                    Err(error) => Err(error),
                };
                match saved {
                    Ok(newer) => Ok(newer),
                    Err(AppDataError::Ended) => Err(SessionError::Ended),
                    Err(error) => {
                        events::hook_failed("on_refresh", &error);
                        Ok(loaded)
                    }
                }
            }
            RefreshAction::End => {
                self.end_after_hook(loaded.record()).await;
                Err(SessionError::Ended)
            }
        }
    }

    /// Ends the session after the hook decided so. The hook is not called again, so a failing store is
    /// retried until the session has expired.
    async fn end_after_hook(&self, record: &SessionRecord) {
        while let Err(error) = self.end(record).await {
            events::end_failed(&error);
            if self.has_ended(record) {
                break;
            }
            self.flow.clock().sleep(RETRY_DELAY).await;
        }
        self.notify_ended(record, EndReason::Hook);
        self.flow.revoke(record).await;
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

/// The delay before a failed store is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);
