//! Why there are no fresh tokens.

use std::time::Duration;

use crate::flow::FlowError;
use crate::session::error::SessionError;
use crate::store::StoreError;

/// Why there are no fresh tokens. What the access token at hand is worth is for the caller to see.
#[derive(Clone, Debug)]
pub(in crate::session) enum RefreshError {
    /// The session is over.
    Ended,
    /// There is no refresh token that could be sent.
    Expired,
    /// The authorization server does not serve this application. The session stays.
    Misconfigured(FlowError, Duration),
    /// The authorization server could not be asked. The session stays.
    Unavailable(FlowError, Duration),
    /// The store could not be asked. The session stays.
    Store(StoreError, Duration),
    /// It takes too long, for this reason.
    Busy(&'static str),
}

impl RefreshError {
    pub(super) const CROWDED: Self = Self::Busy("too many sessions are refreshed at this moment");
    pub(super) const SLOW: Self = Self::Busy("no answer in time");
    pub(super) const TORN_DOWN: Self = Self::Busy("the attempt was torn down");
    pub(super) const HELD_ELSEWHERE: Self = Self::Busy("another process refreshes the session");

    /// The same, with another time to try again.
    pub(super) fn again_after(self, pause: Duration) -> Self {
        match self {
            Self::Misconfigured(error, _) => Self::Misconfigured(error, pause),
            Self::Unavailable(error, _) => Self::Unavailable(error, pause),
            Self::Store(error, _) => Self::Store(error, pause),
            other => other,
        }
    }
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        Self::Store(error, SOON)
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
            RefreshError::Unavailable(error, pause) => unavailable(error.to_string(), pause),
            RefreshError::Store(error, pause) => unavailable(error.to_string(), pause),
            RefreshError::Busy(reason) => unavailable(reason.to_owned(), SOON),
        }
    }
}

const SOON: Duration = Duration::from_secs(1);
