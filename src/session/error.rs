//! What a session could not give.

use std::time::Duration;

use crate::flow::UserInfoError;

/// What a session could not give.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The access token has expired, and there is no refresh token to get a newer one with: the person
    /// has to sign in again.
    #[error("the access token has expired")]
    AccessTokenExpired,
    /// The session has ended while the request was under way: signed out, or its refresh token refused.
    #[error("the session has ended")]
    Ended,
    /// Nothing can be said at the moment; the session stays. It is worth trying again after this time.
    #[error("the session cannot be renewed at the moment: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The userinfo endpoint gave nothing.
    #[error(transparent)]
    UserInfo(#[from] UserInfoError),
}
