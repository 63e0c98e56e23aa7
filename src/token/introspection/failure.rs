//! Why an authorization server gave no answer. None of it is the caller's fault (`I8`).

use std::time::Duration;

use http::StatusCode;

use super::answer::BrokenAnswer;
use crate::issuer::{BackChannelError, Unavailable};
use crate::random::RandomError;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It could not be reached, or says that it cannot answer now.
    #[error("{reason}")]
    Away {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// 401 or 403: it does not take us for who we are (RFC 7662 §2.3).
    #[error("the introspection endpoint refused our own credentials with status {0}")]
    Credentials(StatusCode),
    /// It answered, but not what an introspection endpoint answers.
    #[error("{0}")]
    Broken(String),
}

impl Failure {
    /// Whether it makes sense to leave the server alone for a while. A status like 500 may be the doing
    /// of one odd token, and 403 that of a filter which takes the token for an attack; if they counted,
    /// whoever sends such tokens could shut everybody out.
    pub(super) fn is_outage(&self) -> bool {
        !matches!(
            self,
            Self::Broken(_) | Self::Credentials(StatusCode::FORBIDDEN)
        )
    }

    pub(super) fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Credentials(status),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Away {
                reason: format!("the introspection endpoint answered with status {status}"),
                retry_after,
            },
            _ => Self::Broken(format!(
                "the introspection endpoint answered with status {status}"
            )),
        }
    }
}

impl From<BackChannelError> for Failure {
    fn from(error: BackChannelError) -> Self {
        match error {
            BackChannelError::TooLarge => Self::Broken(error.to_string()),
            _ => Self::Away {
                reason: error.to_string(),
                retry_after: None,
            },
        }
    }
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::Away {
            reason: error.to_string(),
            retry_after: Some(error.retry_after()),
        }
    }
}

impl From<BrokenAnswer> for Failure {
    fn from(error: BrokenAnswer) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<RandomError> for Failure {
    fn from(error: RandomError) -> Self {
        Self::Broken(error.to_string())
    }
}
