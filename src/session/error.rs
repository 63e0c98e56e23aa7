//! The error of the methods of a session.

use std::time::Duration;

use crate::flow::{FlowError, UserInfoError};

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
