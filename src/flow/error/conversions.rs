//! Which party causes an error of a lower level, and what the response to it is.

use super::{FlowError, FlowErrorKind, RETRY_AFTER};
use crate::issuer::{AuthenticationError, BackChannelError, Unavailable};
use crate::protocol::OAuthErrorCode;
use crate::protocol::authorization_response::InvalidAuthorizationResponse;
use crate::protocol::credentials::Scheme;
use crate::protocol::dpop::ProofRejection;
use crate::protocol::token_response::TokenResponseError;
use crate::random::RandomError;
use crate::token::id_token::IdTokenError;

impl From<InvalidAuthorizationResponse> for FlowError {
    fn from(error: InvalidAuthorizationResponse) -> Self {
        let code = match error {
            InvalidAuthorizationResponse::Form(_) => "callback_malformed",
            InvalidAuthorizationResponse::Repeated => "callback_repeated_parameter",
            InvalidAuthorizationResponse::NoState => "state_missing",
            InvalidAuthorizationResponse::Token => "callback_token",
            InvalidAuthorizationResponse::Mode => "response_mode_mismatch",
            InvalidAuthorizationResponse::Malformed => "callback_malformed_value",
        };
        Self::request(code, error.to_string())
    }
}

impl From<Unavailable> for FlowError {
    fn from(error: Unavailable) -> Self {
        Self::without_document(&error, "metadata_unavailable", "metadata_configuration")
    }
}

/// The token endpoint did not respond. Whether it processed the request is unknown.
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
            BackChannelError::Encoded(_) => Self::new(
                FlowErrorKind::Server,
                "token_response_encoded",
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

/// The token endpoint rejected the code or the client, or its response cannot be used.
impl From<TokenResponseError> for FlowError {
    fn from(error: TokenResponseError) -> Self {
        let message = error.to_string();
        match error {
            TokenResponseError::Refused { code, description }
                if ProofRejection::from_code(code.as_str()).is_some() =>
            {
                let message = format!(
                    "{message}: without `LoginLayer::with_dpop` requests have no proof; with it, check that the clock of \
                     this machine, which is `iat` of the proof, is right"
                );
                Self::new(FlowErrorKind::Configuration, "dpop_proof_refused", message)
                    .with_error_response(code, description, false)
            }
            TokenResponseError::Refused { code, description } => {
                let (kind, name) = match code {
                    OAuthErrorCode::InvalidGrant => (FlowErrorKind::Request, "code_refused"),
                    OAuthErrorCode::InvalidClient
                    | OAuthErrorCode::UnauthorizedClient
                    | OAuthErrorCode::UnsupportedGrantType
                    | OAuthErrorCode::InvalidScope => {
                        (FlowErrorKind::Configuration, "client_refused")
                    }
                    OAuthErrorCode::InvalidTarget => {
                        (FlowErrorKind::Configuration, "resource_refused")
                    }
                    OAuthErrorCode::InvalidAuthorizationDetails => (
                        FlowErrorKind::Configuration,
                        "authorization_details_refused",
                    ),
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
                .with_error_response(code, description, false)
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
            TokenResponseError::TokenType(Scheme::Bearer) => {
                Self::new(FlowErrorKind::Server, "token_type", message)
            }
            TokenResponseError::TokenType(Scheme::Dpop) => {
                let message = format!(
                    "{message}: the authorization server ignored the DPoP proof; enable DPoP for the client there, or \
                     remove `LoginLayer::with_dpop`"
                );
                Self::new(FlowErrorKind::Server, "token_type", message)
            }
        }
    }
}

impl From<IdTokenError> for FlowError {
    fn from(error: IdTokenError) -> Self {
        match &error {
            IdTokenError::Unavailable(unavailable) => {
                Self::without_document(unavailable, error.code(), "keys_configuration")
            }
            _ => Self::new(
                FlowErrorKind::Server,
                error.code(),
                format!("the ID token was rejected: {error}"),
            ),
        }
    }
}

/// The request was not sent.
impl From<AuthenticationError> for FlowError {
    fn from(error: AuthenticationError) -> Self {
        match error {
            AuthenticationError::Configuration(message) => Self::new(
                FlowErrorKind::Configuration,
                "client_credential_invalid",
                message,
            ),
            AuthenticationError::Unavailable(message) => {
                Self::unavailable("client_credential_unavailable", message, RETRY_AFTER)
            }
            AuthenticationError::Random(error) => error.into(),
        }
    }
}

impl From<RandomError> for FlowError {
    fn from(error: RandomError) -> Self {
        Self::new(FlowErrorKind::Internal, "no_randomness", error.to_string())
    }
}
