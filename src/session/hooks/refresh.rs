//! A session whose tokens were renewed, and what the application says to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::flow::{Flow, SessionId, SessionRecord, UserInfo, UserInfoError};
use crate::protocol::{AccessToken, Claims, ScopeSet};
use crate::session::app_data::{self, AppDataError};
use crate::session::events;
use crate::session::handle::UserKey;
use crate::session::hooks::EndReason;
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::session::refresh::RefreshError;

/// A session whose tokens were renewed; for
/// [`LoginLayer::with_on_refresh`](crate::LoginLayer::with_on_refresh).
#[derive(Clone)]
pub struct RefreshedSession {
    flow: Arc<Flow>,
    record: Arc<SessionRecord>,
    new_claims: Option<Claims>,
}

/// What an application says to a [`RefreshedSession`].
#[derive(Debug)]
#[must_use]
pub struct RefreshDecision(Decision);

#[derive(Debug)]
enum Decision {
    Keep,
    KeepWith(Result<Option<String>, AppDataError>),
    End,
}

impl RefreshedSession {
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

    /// The name of the session.
    pub fn session_id(&self) -> &SessionId {
        self.record.id()
    }

    /// The claims of the ID token of the login.
    pub fn claims(&self) -> &Claims {
        self.record.claims()
    }

    /// The claims of the ID token that came with the new tokens, if one did: what the authorization
    /// server says of the person now. Issuer and subject are those of the login.
    pub fn new_claims(&self) -> Option<&Claims> {
        self.new_claims.as_ref()
    }

    /// The scopes of the new access token.
    pub fn scopes(&self) -> &ScopeSet {
        self.record.scopes()
    }

    /// The new access token.
    pub fn access_token(&self) -> &AccessToken {
        self.record.access_token()
    }

    /// What the application keeps with the session.
    ///
    /// # Errors
    ///
    /// [`AppDataError::OtherType`] where it is no `T`.
    pub fn app_data<T: DeserializeOwned>(&self) -> Result<Option<T>, AppDataError> {
        app_data::from_json(self.record.app_data())
    }

    /// Asks the userinfo endpoint with the new access token, once at each call.
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

impl RefreshDecision {
    /// The session goes on.
    pub fn keep() -> Self {
        Self(Decision::Keep)
    }

    /// The session goes on with this instead of what was kept with it; limits as in
    /// [`LoginDecision::allow_with`](super::LoginDecision::allow_with). What is too large is not kept, and the log says
    /// so.
    pub fn keep_with<T: Serialize + ?Sized>(app_data: &T) -> Self {
        Self(Decision::KeepWith(app_data::to_json(app_data)))
    }

    /// The session ends, and its tokens are revoked.
    pub fn end() -> Self {
        Self(Decision::End)
    }
}

impl SessionManager {
    /// Tells the application of new tokens that were saved already, so that nothing it does can lose them.
    ///
    /// A hook that fails is not a logout: the session goes on.
    pub(in crate::session) async fn after_refresh(
        &self,
        held: LoadedSession,
        new_claims: Option<Claims>,
    ) -> Result<LoadedSession, RefreshError> {
        if !self.hooks.on_refresh.is_set() {
            return Ok(held);
        }
        let refreshed = RefreshedSession {
            flow: Arc::clone(&self.flow),
            record: Arc::clone(held.record()),
            new_claims,
        };
        let clock = self.flow.clock().as_ref();
        let decision = match self.hooks.on_refresh.call(clock, refreshed).await {
            None => return Ok(held),
            Some(Ok(RefreshDecision(decision))) => decision,
            Some(Err(error)) => {
                events::hook_failed("on_refresh", &error);
                return Ok(held);
            }
        };
        match decision {
            Decision::Keep => Ok(held),
            Decision::KeepWith(text) => {
                let kept = match text {
                    Ok(text) => self.replace_app_data(&held, |_| Ok(text.clone())).await,
                    Err(error) => Err(error),
                };
                match kept {
                    Ok(newer) => Ok(newer),
                    Err(AppDataError::Ended) => Err(RefreshError::Ended),
                    Err(error) => {
                        events::hook_failed("on_refresh", &error);
                        Ok(held)
                    }
                }
            }
            Decision::End => {
                self.end_by_decision(held.record()).await;
                Err(RefreshError::Ended)
            }
        }
    }

    /// The application has said so, and nobody asks it again: a store that is away is asked until the
    /// session is over by itself.
    async fn end_by_decision(&self, record: &SessionRecord) {
        while let Err(error) = self.end(record).await {
            events::not_ended(&error);
            if self.has_ended(record) {
                break;
            }
            self.flow.clock().sleep(PAUSE).await;
        }
        self.notify_ended(record, EndReason::Hook);
        self.flow.revoke(record).await;
    }
}

/// Names whose session it is; no token.
impl fmt::Debug for RefreshedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshedSession")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
