//! Why an authorization server gave no answer. None of it is the caller's fault (`I8`).

use std::time::Duration;

use http::StatusCode;

use super::response::BrokenAnswer;
use crate::issuer::{BackChannelError, Unavailable};
use crate::random::RandomError;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing was asked: no token can be the cause of that.
    #[error("{0}")]
    NotSent(String),
    /// It did not answer, or says that it cannot answer now.
    #[error("{reason}")]
    Away {
        kind: &'static str,
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
    /// What is logged apart from other failures.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not_sent",
            Self::Away { kind, .. } => kind,
            Self::Credentials(_) => "credentials",
            Self::Broken(_) => "broken",
        }
    }

    /// What the server asked for, if it did.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Away { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Without its metadata, it is not known where to ask.
    pub(super) fn no_metadata(error: &Unavailable) -> Self {
        Self::NotSent(error.to_string())
    }

    pub(super) fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Credentials(status),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Away {
                kind: "status",
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
            BackChannelError::NotSent(_)
            | BackChannelError::Insecure
            | BackChannelError::Missing => Self::NotSent(error.to_string()),
            BackChannelError::Timeout | BackChannelError::Transport(_) => Self::Away {
                kind: "no_answer",
                reason: error.to_string(),
                retry_after: None,
            },
        }
    }
}

/// The keys of a signed answer could not be fetched.
impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::Away {
            kind: "keys",
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
