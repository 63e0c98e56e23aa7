//! The errors of sessions.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::flow::{CredentialsError, FlowError, UserInfoError};
use crate::random::RandomError;
use crate::store::StoreError;

/// The error of [`Session::access_token`](crate::Session::access_token),
/// [`access_token_for`](crate::Session::access_token_for), [`authorize`](crate::Session::authorize),
/// [`refresh`](crate::Session::refresh) and [`userinfo`](crate::Session::userinfo).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The access token has expired and there is no valid refresh token. The user has to sign in again.
    #[error("the access token has expired")]
    AccessTokenExpired,
    /// The session has ended during the request: the user signed out here or elsewhere, the authorization
    /// server rejected the refresh token, or a refresh returned the tokens of another subject.
    #[error("the session has ended")]
    Ended,
    /// The authorization server or the store does not respond. The session is kept (503).
    #[error("the session cannot be refreshed: {reason}")]
    Unavailable {
        /// The reason, for the log.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The access token has expired, and the authorization server rejected the client, because its credentials
    /// are wrong or its registration has changed, or the resource that the token is for (`invalid_target`). The
    /// session is kept and works again once that is corrected. To the user this is a server error (502).
    #[error("the authorization server rejected the client or the resource: {error}")]
    Refused {
        /// The error response of the authorization server, for the log.
        error: FlowError,
        /// When to try again.
        retry_after: Duration,
    },
    /// The access token has characters that `Authorization` cannot carry ([RFC 6750 §2.1]). The session is kept. To the
    /// user this is a server error (502).
    ///
    /// [RFC 6750 §2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    #[error("the access token cannot be sent: it is not a b64token (RFC 6750 §2.1)")]
    UnusableAccessToken,
    /// The URI of the request that was to be authorized cannot be sent an access token: it is not absolute, or neither
    /// https nor on a loopback host ([RFC 6750 §5.3]), or it has user information, dot segments or backslashes. The session
    /// is kept.
    ///
    /// [RFC 6750 §5.3]: https://www.rfc-editor.org/rfc/rfc6750#section-5.3
    #[error(
        "the access token cannot be sent to this URI: it must be absolute, https unless its host is loopback, and \
         without user information, dot segments and backslashes"
    )]
    UnusableUri,
    /// The session has no refresh token, without which there is no access token for a further
    /// [resource](crate::LoginLayer::add_resource). Many authorization servers issue one only for the scope
    /// `offline_access` and `prompt=consent` (OpenID Connect Core §11).
    #[error(
        "the session has no refresh token, which the access token of a further resource requires: see the scope \
         `offline_access`"
    )]
    NoRefreshToken,
    /// [`Session::access_token_for`](crate::Session::access_token_for) was called for a resource that
    /// [`LoginLayer::add_resource`](crate::LoginLayer::add_resource) does not name. A mistake in the application (500).
    #[error(
        "there are no access tokens for {resource:?}: LoginLayer::add_resource has {configured:?}"
    )]
    UnknownResource {
        /// The resource.
        resource: String,
        /// The resources of the layer.
        configured: Vec<String>,
    },
    /// The userinfo request failed.
    #[error(transparent)]
    UserInfo(#[from] UserInfoError),
}

impl SessionError {
    /// The session is kept, and the operation can be repeated in a second.
    pub(super) fn busy(reason: &str) -> Self {
        Self::Unavailable {
            reason: reason.to_owned(),
            retry_after: RETRY_AFTER,
        }
    }

    pub(super) fn credentials(error: &CredentialsError) -> Self {
        match error {
            CredentialsError::Unusable => Self::UnusableAccessToken,
            CredentialsError::NoProof(error) => Self::busy(&error.to_string()),
        }
    }

    pub(super) fn store(error: &StoreError) -> Self {
        Self::busy(&error.to_string())
    }

    /// Returns when to try again, or zero if that is unknown.
    pub(super) fn retry_after(&self) -> Duration {
        match self {
            Self::Unavailable { retry_after, .. } | Self::Refused { retry_after, .. } => {
                *retry_after
            }
            _ => Duration::ZERO,
        }
    }

    /// Returns whether the error need not concern the other access tokens of the session.
    pub(super) fn is_about_one_token(&self) -> bool {
        match self {
            Self::AccessTokenExpired | Self::NoRefreshToken => true,
            Self::Refused { error, .. } => error.is_about_resource(),
            _ => false,
        }
    }

    /// Returns the same error with another retry delay.
    pub(super) fn with_retry_after(mut self, delay: Duration) -> Self {
        if let Self::Unavailable { retry_after, .. } | Self::Refused { retry_after, .. } = &mut self
        {
            *retry_after = delay;
        }
        self
    }
}

const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The error of reading or writing app data.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppDataError {
    /// The data is too large. Nothing was changed.
    #[error("app data of {bytes} bytes as JSON exceeds the maximum of {limit} bytes")]
    TooLarge {
        /// The size of the data as JSON, in bytes.
        bytes: usize,
        /// The maximum: 1024 in cookies, or less beside large tokens; 65 536 in a store.
        limit: usize,
    },
    /// The data cannot be serialized as JSON.
    #[error("the app data cannot be serialized as JSON")]
    NotJson(#[source] Arc<dyn Error + Send + Sync>),
    /// The stored data cannot be deserialized as the requested type.
    #[error("the app data cannot be deserialized as this type")]
    OtherType(#[source] Arc<dyn Error + Send + Sync>),
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
    /// The store cannot be reached, or too many requests write to this session concurrently.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session cannot be written to cookies.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum SealSessionError {
    #[error(
        "a session of {bytes} bytes does not fit into cookies, which hold {limit}: it needs a session store"
    )]
    TooLarge { bytes: usize, limit: usize },
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The reason why a session was not created. Nothing of it is left in the store.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CreateSessionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The authorization server ended the user's sessions during the login.
    #[error("a logout ended the session during the login")]
    LoggedOut,
    /// The session would have ended this number of seconds ago.
    #[error(
        "the session would have ended {0} seconds ago: check `session_expiry` of the ID token, the lifetimes of the \
         tokens, and the clock of this machine"
    )]
    Expired(i64),
}

/// The reason why a stored record cannot be opened. The record is neither removed nor replaced for it: other
/// processes share the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnsealError {
    /// The record is sealed with a key that this process does not have, or has an unknown format.
    Unreadable,
    /// The record was not sealed for this session, secret and layer, or its provider is none of this layer, so it
    /// authenticates no user.
    Foreign,
}

impl AppDataError {
    pub(super) fn not_json(error: serde_json::Error) -> Self {
        Self::NotJson(Arc::new(error))
    }

    pub(super) fn other_type(error: serde_json::Error) -> Self {
        Self::OtherType(Arc::new(error))
    }
}
