//! Why a login did not come about, sorted by who is to blame, since that decides the answer.

use std::borrow::Cow;
use std::time::Duration;

use crate::issuer::{BackChannelError, Unavailable};
use crate::protocol::OAuthErrorCode;
use crate::protocol::authorization_response::InvalidAuthorizationResponse;
use crate::protocol::token_response::TokenResponseError;
use crate::random::RandomError;
use crate::token::id_token::IdTokenError;

/// Why a login did not come about.
///
/// For logs, metrics and tests; the browser gets a page that says what its person can do. It never
/// holds a token, a code or a state.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct FlowError {
    kind: FlowErrorKind,
    code: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    refusal: Option<Box<Refusal>>,
}

/// Who is to blame for a [`FlowError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlowErrorKind {
    /// The browser's request: a callback that belongs to no login of this browser, a parameter that
    /// cannot be, a code that is no longer good.
    Request,
    /// The authorization endpoint, or the person there, said no: any error it sent the browser back
    /// with, whatever it says of whose fault it is.
    Refused,
    /// A silent login (`prompt=none`) found nobody signed in. Not a failure.
    NotSignedIn,
    /// The authorization server answered something that cannot be used.
    Server,
    /// The authorization server did not answer.
    Unavailable,
    /// This application is not set up as the authorization server expects.
    Configuration,
    /// The machine gave no randomness.
    Internal,
}

/// What the authorization server said.
#[derive(Clone, Debug)]
struct Refusal {
    code: OAuthErrorCode,
    description: Option<String>,
}

impl FlowError {
    /// Who is to blame.
    pub fn kind(&self) -> FlowErrorKind {
        self.kind
    }

    /// A stable name of the reason, such as `state_mismatch`: for metrics, alerts and support.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// When it is worth trying again, for [`FlowErrorKind::Unavailable`].
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The error code the authorization server sent, where it sent one. Escape it in HTML.
    pub fn oauth_error(&self) -> Option<&OAuthErrorCode> {
        self.refusal.as_deref().map(|refusal| &refusal.code)
    }

    /// The explanation the authorization server sent: capped and without control characters, and
    /// still a stranger's text.
    pub(crate) fn description(&self) -> Option<&str> {
        self.refusal
            .as_deref()
            .and_then(|refusal| refusal.description.as_deref())
    }

    pub(super) fn new(
        kind: FlowErrorKind,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            retry_after: None,
            refusal: None,
        }
    }

    pub(super) fn request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FlowErrorKind::Request, code, message)
    }

    /// An error response of the authorization endpoint (RFC 6749 §4.1.2.1). `silent` says that the
    /// login was not allowed to ask the person.
    pub(super) fn refused(code: OAuthErrorCode, description: Option<String>, silent: bool) -> Self {
        let (kind, name) = match code {
            _ if silent && code.wants_interaction() => {
                (FlowErrorKind::NotSignedIn, "not_signed_in")
            }
            OAuthErrorCode::AccessDenied => (FlowErrorKind::Refused, "access_denied"),
            OAuthErrorCode::ServerError => (FlowErrorKind::Refused, "authorization_server_error"),
            OAuthErrorCode::TemporarilyUnavailable => {
                (FlowErrorKind::Refused, "authorization_server_busy")
            }
            _ => (FlowErrorKind::Refused, "authorization_error"),
        };
        let message = format!("the authorization endpoint answered error {code}");
        Self::new(kind, name, message).with_refusal(code, description)
    }

    pub(super) fn no_id_token() -> Self {
        Self::new(
            FlowErrorKind::Server,
            "id_token_missing",
            "the token response has no ID token",
        )
    }

    pub(super) fn unavailable(
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_after: Duration,
    ) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(FlowErrorKind::Unavailable, code, message)
        }
    }

    /// The refresh token is no longer good.
    pub(super) fn refresh_refused(error: TokenResponseError) -> Self {
        let message = error.to_string();
        let refused = Self::new(FlowErrorKind::Refused, "refresh_refused", message);
        match error {
            TokenResponseError::Refused { code, description } => {
                refused.with_refusal(code, description)
            }
            _ => refused,
        }
    }

    pub(super) fn no_refresh_token() -> Self {
        Self::new(
            FlowErrorKind::Refused,
            "no_refresh_token",
            "there is no refresh token",
        )
    }

    /// What the server says of the time is better than what we think of it.
    pub(super) fn with_retry_after(self, told: Option<Duration>) -> Self {
        Self {
            retry_after: told.or(self.retry_after),
            ..self
        }
    }

    fn with_refusal(self, code: OAuthErrorCode, description: Option<String>) -> Self {
        Self {
            refusal: Some(Box::new(Refusal { code, description })),
            ..self
        }
    }
}

/// What an answer without a time of its own is worth waiting for.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<InvalidAuthorizationResponse> for FlowError {
    fn from(error: InvalidAuthorizationResponse) -> Self {
        let code = match error {
            InvalidAuthorizationResponse::Form(_) => "callback_malformed",
            InvalidAuthorizationResponse::Repeated => "callback_repeated_parameter",
            InvalidAuthorizationResponse::NoState => "state_missing",
            InvalidAuthorizationResponse::Token => "callback_token",
            InvalidAuthorizationResponse::Malformed => "callback_malformed_value",
        };
        Self::request(code, error.to_string())
    }
}

impl From<Unavailable> for FlowError {
    fn from(error: Unavailable) -> Self {
        Self::unavailable(
            "metadata_unavailable",
            error.to_string(),
            error.retry_after(),
        )
    }
}

/// The request of the token endpoint brought no answer: whether it was carried out is not known.
impl From<BackChannelError> for FlowError {
    fn from(error: BackChannelError) -> Self {
        match error {
            BackChannelError::Insecure | BackChannelError::Missing => Self::new(
                FlowErrorKind::Configuration,
                "back_channel",
                error.to_string(),
            ),
            BackChannelError::TooLarge => Self::new(
                FlowErrorKind::Server,
                "token_response_too_large",
                error.to_string(),
            ),
            BackChannelError::Timeout
            | BackChannelError::NotSent(_)
            | BackChannelError::Transport(_) => {
                Self::unavailable("token_endpoint_unreachable", error.to_string(), RETRY_AFTER)
            }
        }
    }
}

/// `H74`, `H76`: the code was too late, we are not who we should be, or the answer is no answer.
impl From<TokenResponseError> for FlowError {
    fn from(error: TokenResponseError) -> Self {
        let message = error.to_string();
        match error {
            TokenResponseError::Refused { code, description } => {
                let (kind, name) = match code {
                    OAuthErrorCode::InvalidGrant => (FlowErrorKind::Request, "code_refused"),
                    OAuthErrorCode::InvalidClient
                    | OAuthErrorCode::UnauthorizedClient
                    | OAuthErrorCode::UnsupportedGrantType
                    | OAuthErrorCode::InvalidScope => {
                        (FlowErrorKind::Configuration, "client_refused")
                    }
                    OAuthErrorCode::TemporarilyUnavailable => {
                        (FlowErrorKind::Unavailable, "token_endpoint_busy")
                    }
                    _ => (FlowErrorKind::Server, "token_endpoint_error"),
                };
                let retry_after = (kind == FlowErrorKind::Unavailable).then_some(RETRY_AFTER);
                Self {
                    retry_after,
                    ..Self::new(kind, name, message)
                }
                .with_refusal(code, description)
            }
            TokenResponseError::Status(429 | 500..=599) => {
                Self::unavailable("token_endpoint_unavailable", message, RETRY_AFTER)
            }
            TokenResponseError::Status(_) => {
                Self::new(FlowErrorKind::Server, "token_endpoint_status", message)
            }
            TokenResponseError::NotJson => {
                Self::new(FlowErrorKind::Server, "token_response_malformed", message)
            }
            TokenResponseError::Member(_) => {
                Self::new(FlowErrorKind::Server, "token_response_member", message)
            }
            TokenResponseError::TokenType => {
                Self::new(FlowErrorKind::Server, "token_type", message)
            }
        }
    }
}

impl From<IdTokenError> for FlowError {
    fn from(error: IdTokenError) -> Self {
        match &error {
            IdTokenError::Unavailable(unavailable) => Self::unavailable(
                error.code(),
                unavailable.to_string(),
                unavailable.retry_after(),
            ),
            _ => Self::new(
                FlowErrorKind::Server,
                error.code(),
                format!("the ID token was refused: {error}"),
            ),
        }
    }
}

impl From<RandomError> for FlowError {
    fn from(error: RandomError) -> Self {
        Self::new(FlowErrorKind::Internal, "no_randomness", error.to_string())
    }
}
