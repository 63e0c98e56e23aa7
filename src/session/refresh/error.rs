//! The reasons why a session has no new tokens.

use std::time::Duration;

use crate::flow::FlowError;
use crate::session::error::SessionError;
use crate::store::StoreError;

/// The reason why a session has no new tokens. The caller checks whether the current access token is valid.
#[derive(Clone, Debug)]
pub(in crate::session) enum RefreshError {
    /// The session has ended.
    Ended,
    /// There is no valid refresh token.
    Expired,
    /// The authorization server rejected the client. The session is kept.
    Misconfigured(FlowError, Duration),
    /// The authorization server cannot be reached. The session is kept.
    Unavailable(FlowError, Duration),
    /// The store cannot be reached. The session is kept.
    Store(StoreError, Duration),
    /// The refresh takes too long, for this reason.
    Busy(&'static str),
}

impl RefreshError {
    pub(super) const TOO_MANY: Self = Self::Busy("too many refreshes are in progress");
    pub(super) const TIMED_OUT: Self = Self::Busy("the refresh timed out");
    pub(super) const ABORTED: Self = Self::Busy("the refresh was aborted");
    pub(super) const LEASE_HELD: Self = Self::Busy("another process is refreshing the session");

    /// Returns the same error with another retry delay.
    pub(super) fn with_retry_after(self, retry_after: Duration) -> Self {
        match self {
            Self::Misconfigured(error, _) => Self::Misconfigured(error, retry_after),
            Self::Unavailable(error, _) => Self::Unavailable(error, retry_after),
            Self::Store(error, _) => Self::Store(error, retry_after),
            other => other,
        }
    }
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        Self::Store(error, RETRY_AFTER)
    }
}

impl From<RefreshError> for SessionError {
    fn from(failure: RefreshError) -> Self {
        let unavailable = |reason: String, retry_after| Self::Unavailable {
            reason,
            retry_after,
        };
        match failure {
            RefreshError::Ended => Self::Ended,
            RefreshError::Expired => Self::AccessTokenExpired,
            RefreshError::Misconfigured(error, retry_after) => Self::Refused { error, retry_after },
            RefreshError::Unavailable(error, retry_after) => {
                unavailable(error.to_string(), retry_after)
            }
            RefreshError::Store(error, retry_after) => unavailable(error.to_string(), retry_after),
            RefreshError::Busy(reason) => unavailable(reason.to_owned(), RETRY_AFTER),
        }
    }
}

const RETRY_AFTER: Duration = Duration::from_secs(1);
