//! What a session could not give.

use std::time::Duration;

use crate::flow::{FlowError, UserInfoError};

/// What a session could not give.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The access token has expired, and there is no refresh token to get a newer one with, or none that is
    /// still good: the person has to sign in again.
    #[error("the access token has expired")]
    AccessTokenExpired,
    /// The session has ended while the request was under way: signed out here or elsewhere, its refresh
    /// token was refused, or the tokens that came were another person's.
    #[error("the session has ended")]
    Ended,
    /// The authorization server or the store does not answer at the moment; the session stays (503).
    #[error("the session cannot be renewed at the moment: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The access token has expired, and the authorization server does not let this application renew it: its
    /// credentials are wrong or its registration has changed. The session stays, and mends itself when
    /// they are put right; to the person it is a failure of the server (502).
    #[error("the authorization server refuses this application: {error}")]
    Refused {
        /// What the server said, for the log.
        error: FlowError,
        /// When to try again.
        retry_after: Duration,
    },
    /// The userinfo endpoint gave nothing.
    #[error(transparent)]
    UserInfo(#[from] UserInfoError),
}
