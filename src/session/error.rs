//! The error of the methods of a session.

use std::time::Duration;

use crate::flow::{FlowError, UserInfoError};
use crate::store::StoreError;

/// The error of [`Session::access_token`](crate::Session::access_token), [`refresh`](crate::Session::refresh)
/// and [`userinfo`](crate::Session::userinfo).
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
    /// The access token has expired and the authorization server rejected the client, because its credentials
    /// are wrong or its registration has changed. The session is kept and works again once that is corrected.
    /// To the user this is a server error (502).
    #[error("the authorization server rejected the client: {error}")]
    Refused {
        /// The error response of the authorization server, for the log.
        error: FlowError,
        /// When to try again.
        retry_after: Duration,
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

    pub(super) fn store(error: StoreError) -> Self {
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
