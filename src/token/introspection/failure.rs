//! Why an introspection request failed. A failure says nothing about the token: the caller gets 503, not 401.

use std::time::Duration;

use http::StatusCode;

use super::response::InvalidResponse;
use super::settings::Settings;
use crate::issuer::{AuthenticationError, BackChannelError, Client, Unavailable, describe};
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
    /// Nothing was sent, and only an operator can correct it.
    #[error("{0}")]
    Configuration(String),
    /// 401: the server rejected the credentials of the client (RFC 7662 §2.3).
    #[error(
        "the introspection endpoint rejected the client credentials with status {status}{advice}"
    )]
    Credentials {
        status: StatusCode,
        advice: &'static str,
    },
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
            Self::Configuration(_) => "configuration",
            Self::Credentials { .. } => "credentials",
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
        let is_misconfigured = self.is_misconfigured(other_tokens_work);
        let name = match self {
            Self::Credentials { .. } if is_misconfigured => "introspection_credentials_rejected",
            Self::Configuration(_) => "introspection_misconfigured",
            _ => "introspection_failed",
        };
        match limits.allows(name, self.kind(), now) {
            true if matches!(self, Self::Configuration(_)) => tracing::error!(
                name: "introspection_misconfigured",
                target: "tower_oauth::bearer",
                issuer,
                client_id = settings.client.id(),
                error = %self,
                "introspection is not configured as the authorization server requires; requests get 500"
            ),
            true if is_misconfigured => tracing::error!(
                name: "introspection_credentials_rejected",
                target: "tower_oauth::bearer",
                issuer,
                client_id = settings.client.id(),
                error = %self,
                "the introspection endpoint rejected the client credentials; requests get 500 until they \
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

    /// Returns whether only an operator can correct the failure. Some servers reject the credentials if the token is
    /// unknown to them, so they are wrong only if no other token works.
    pub(super) fn is_misconfigured(&self, other_tokens_work: bool) -> bool {
        match self {
            Self::Configuration(_) => true,
            Self::Credentials { .. } => !other_tokens_work,
            _ => false,
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
        match error.is_configuration_error() {
            true => Self::Configuration(error.to_string()),
            false => Self::NotSent(error.to_string()),
        }
    }

    pub(super) fn from_status(
        client: &Client,
        status: StatusCode,
        retry_after: Option<Duration>,
    ) -> Self {
        match status {
            // Not 403, which a firewall sends for tokens that look like an attack.
            StatusCode::UNAUTHORIZED => Self::Credentials {
                status,
                advice: client.rejection_advice(),
            },
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unavailable {
                kind: "status",
                reason: format!("the introspection endpoint responded with status {status}"),
                retry_after,
            },
            _ => {
                let advice = match status {
                    StatusCode::FORBIDDEN => client.rejection_advice(),
                    _ => "",
                };
                Self::InvalidResponse(format!(
                    "the introspection endpoint responded with status {status}{advice}"
                ))
            }
        }
    }
}

impl IntrospectionFailure {
    /// There was no response, or one that cannot be read.
    pub(super) fn no_response(url: &str, error: &BackChannelError) -> Self {
        let text = describe("POST", url, error, "");
        match error {
            BackChannelError::TooLarge | BackChannelError::Encoded(_) => {
                Self::InvalidResponse(text)
            }
            BackChannelError::NotSent(_) => Self::NotSent(text),
            BackChannelError::Insecure | BackChannelError::Missing => Self::Configuration(text),
            BackChannelError::Timeout | BackChannelError::Transport(_) => Self::Unavailable {
                kind: "no_response",
                reason: text,
                retry_after: None,
            },
        }
    }
}

/// The keys that verify a signed response could not be fetched.
impl From<Unavailable> for IntrospectionFailure {
    fn from(error: Unavailable) -> Self {
        if error.is_configuration_error() {
            return Self::Configuration(error.to_string());
        }
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

/// The request was not sent.
impl From<AuthenticationError> for IntrospectionFailure {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Configuration(reason) => Self::Configuration(reason),
            AuthenticationError::Unavailable(_) | AuthenticationError::Random(_) => {
                Self::NotSent(error.to_string())
            }
        }
    }
}
