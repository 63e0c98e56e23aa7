//! Why an introspection request failed. A failure says nothing about the token: the caller gets 503, not 401.

use std::time::Duration;

use http::StatusCode;

use super::response::InvalidResponse;
use super::settings::Settings;
use crate::issuer::{BackChannelError, Unavailable};
use crate::random::RandomError;
use crate::telemetry::LogLimits;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum IntrospectionFailure {
    /// Nothing was sent, so the token cannot be the cause.
    #[error("{0}")]
    NotSent(String),
    /// The server did not respond, or responded that it is unavailable.
    #[error("{reason}")]
    Unavailable {
        kind: &'static str,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// 401 or 403: the server rejected the credentials of the client (RFC 7662 §2.3).
    #[error("the introspection endpoint rejected the client credentials with status {0}")]
    Credentials(StatusCode),
    /// The response is not a valid introspection response.
    #[error("{0}")]
    InvalidResponse(String),
}

impl IntrospectionFailure {
    /// Returns the kind, by which log events are rate limited.
    fn kind(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not_sent",
            Self::Unavailable { kind, .. } => kind,
            Self::Credentials(_) => "credentials",
            Self::InvalidResponse(_) => "invalid_response",
        }
    }

    /// Logs the failure, once a minute per kind. Rejected client credentials are logged as an error, since only an
    /// operator can correct them.
    pub(super) fn log(
        &self,
        settings: &Settings,
        other_tokens_work: bool,
        limits: &LogLimits,
        now: Duration,
    ) {
        let issuer = settings.server.issuer();
        let is_misconfigured = matches!(self, Self::Credentials(_)) && !other_tokens_work;
        let name = match is_misconfigured {
            true => "introspection_credentials_rejected",
            false => "introspection_failed",
        };
        match limits.allows(name, self.kind(), now) {
            true if is_misconfigured => tracing::error!(
                name: "introspection_credentials_rejected",
                target: "tower_oauth::bearer",
                issuer,
                client_id = settings.client.id(),
                error = %self,
                "the introspection endpoint rejected the client credentials; requests get 503 until they \
                 are corrected"
            ),
            true => tracing::warn!(
                name: "introspection_failed",
                target: "tower_oauth::bearer",
                issuer,
                error = %self,
                other_tokens_work,
                "failed to introspect a token"
            ),
            false => tracing::debug!(
                name: "introspection_failed_again",
                target: "tower_oauth::bearer",
                issuer,
                error = %self,
                "failed to introspect a token"
            ),
        }
    }

    /// Returns the `Retry-After` of the server.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Creates the failure of a request whose endpoint is unknown without the metadata.
    pub(super) fn no_metadata(error: &Unavailable) -> Self {
        Self::NotSent(error.to_string())
    }

    pub(super) fn from_status(status: StatusCode, retry_after: Option<Duration>) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Credentials(status),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable {
                kind: "status",
                reason: format!("the introspection endpoint responded with status {status}"),
                retry_after,
            },
            _ => Self::InvalidResponse(format!(
                "the introspection endpoint responded with status {status}"
            )),
        }
    }
}

impl From<BackChannelError> for IntrospectionFailure {
    fn from(error: BackChannelError) -> Self {
        match error {
            BackChannelError::TooLarge | BackChannelError::Encoded(_) => {
                Self::InvalidResponse(error.to_string())
            }
            BackChannelError::NotSent(_)
            | BackChannelError::Insecure
            | BackChannelError::Missing => Self::NotSent(error.to_string()),
            BackChannelError::Timeout | BackChannelError::Transport(_) => Self::Unavailable {
                kind: "no_response",
                reason: error.to_string(),
                retry_after: None,
            },
        }
    }
}

/// The keys that verify a signed response could not be fetched.
impl From<Unavailable> for IntrospectionFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable {
            kind: "keys",
            reason: error.to_string(),
            retry_after: Some(error.retry_after()),
        }
    }
}

impl From<InvalidResponse> for IntrospectionFailure {
    fn from(error: InvalidResponse) -> Self {
        Self::InvalidResponse(error.to_string())
    }
}

impl From<RandomError> for IntrospectionFailure {
    fn from(error: RandomError) -> Self {
        Self::InvalidResponse(error.to_string())
    }
}
