//! Errors of the code flow, classified by the party that causes them, since that determines the response.

mod conversions;

use std::borrow::Cow;
use std::time::Duration;

use crate::issuer::{Client, Unavailable, describe};
use crate::protocol::OAuthErrorCode;
use crate::protocol::sanitize::{display_safe, listed, log_safe};
use crate::protocol::token_response::TokenResponseError;

/// The error of a failed login.
///
/// Intended for logs, metrics and tests; the user sees an error page instead. Never contains a token, a code
/// or a `state`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct FlowError {
    kind: FlowErrorKind,
    code: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    error_response: Option<Box<OAuthErrorResponse>>,
}

/// The party that caused a [`FlowError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlowErrorKind {
    /// The browser sent an invalid request: a callback that does not belong to a login of this browser, an
    /// invalid parameter, or a code that has expired.
    Request,
    /// The authorization endpoint returned an error response, or the user denied the request (RFC 6749
    /// §4.1.2.1).
    Refused,
    /// A silent login (`prompt=none`) requires user interaction. Not a failure (OpenID Connect Core §3.1.2.6).
    NotSignedIn,
    /// The authorization server returned a response that cannot be used.
    Server,
    /// The authorization server did not respond.
    Unavailable,
    /// This application is not configured as the authorization server requires.
    Configuration,
    /// The operating system returned no random bytes.
    Internal,
}

/// An error response of the authorization server (RFC 6749 §4.1.2.1, §5.2).
#[derive(Clone, Debug)]
struct OAuthErrorResponse {
    code: OAuthErrorCode,
    description: Option<String>,
    /// Whether it came with the browser. What comes over the back channel is not for users.
    from_browser: bool,
}

impl FlowError {
    /// Returns the party that caused the error.
    pub fn kind(&self) -> FlowErrorKind {
        self.kind
    }

    /// Returns a stable name of the reason, such as `state_mismatch`, for metrics, alerts and support.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Returns the time to wait before a retry, for [`FlowErrorKind::Unavailable`].
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the error code that the authorization server sent, if any. Escape it in HTML.
    pub fn oauth_error(&self) -> Option<&OAuthErrorCode> {
        self.error_response.as_deref().map(|error| &error.code)
    }

    /// Returns the `error_description` of the authorization response: truncated and without control
    /// characters, but untrusted. `None` for a token response, whose text is for administrators.
    pub(crate) fn description(&self) -> Option<String> {
        let response = self.response_from_browser()?;
        response.description.as_deref().map(display_safe)
    }

    /// Returns the error code of the authorization response, which may be shown to the user.
    pub(crate) fn authorization_error(&self) -> Option<&OAuthErrorCode> {
        Some(&self.response_from_browser()?.code)
    }

    /// Returns the message for the log, with the `error_description` of a token response. That of an
    /// authorization response is shown to the user, and may be a text of an attacker.
    pub(crate) fn for_log(&self) -> String {
        let response = self.error_response.as_deref();
        let response = response.filter(|response| !response.from_browser);
        match response.and_then(|response| response.description.as_deref()) {
            Some(description) => format!("{self}: {}", log_safe(description)),
            None => self.to_string(),
        }
    }

    fn response_from_browser(&self) -> Option<&OAuthErrorResponse> {
        let response = self.error_response.as_deref();
        response.filter(|response| response.from_browser)
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
            error_response: None,
        }
    }

    /// Settings that contradict each other.
    pub(crate) fn settings(code: &'static str, message: &'static str) -> Self {
        Self::new(FlowErrorKind::Configuration, code, message)
    }

    pub(super) fn request(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(FlowErrorKind::Request, code, message)
    }

    /// Converts a refusal of a pushed request whose parameters a link chose: it says nothing about this application,
    /// unless it is about the client or about what every login requests.
    pub(super) fn caused_by_parameters(mut self) -> Self {
        let is_of_settings = matches!(
            self.oauth_error(),
            None | Some(
                OAuthErrorCode::InvalidClient
                    | OAuthErrorCode::UnauthorizedClient
                    | OAuthErrorCode::UnsupportedResponseType
                    | OAuthErrorCode::InvalidScope
                    | OAuthErrorCode::InvalidTarget
                    | OAuthErrorCode::InvalidAuthorizationDetails
            )
        );
        if self.code == "pushed_request_refused" && !is_of_settings {
            self.kind = FlowErrorKind::Request;
        }
        self
    }

    /// Converts an error response of the authorization endpoint (RFC 6749 §4.1.2.1). `silent` states that the
    /// request had `prompt=none`.
    pub(super) fn refused(code: OAuthErrorCode, description: Option<String>, silent: bool) -> Self {
        let (kind, name) = match code {
            _ if silent && code.requires_interaction() => {
                (FlowErrorKind::NotSignedIn, "not_signed_in")
            }
            OAuthErrorCode::AccessDenied => (FlowErrorKind::Refused, "access_denied"),
            OAuthErrorCode::ServerError => (FlowErrorKind::Refused, "authorization_server_error"),
            OAuthErrorCode::TemporarilyUnavailable => {
                (FlowErrorKind::Refused, "authorization_server_busy")
            }
            OAuthErrorCode::InvalidTarget => (FlowErrorKind::Configuration, "resource_refused"),
            OAuthErrorCode::InvalidAuthorizationDetails => (
                FlowErrorKind::Configuration,
                "authorization_details_refused",
            ),
            _ => (FlowErrorKind::Refused, "authorization_error"),
        };
        let message = format!("the authorization endpoint returned error {code}");
        Self::new(kind, name, message).with_error_response(code, description, true)
    }

    pub(super) fn no_id_token() -> Self {
        Self::new(
            FlowErrorKind::Server,
            "id_token_missing",
            "the token response has no ID token",
        )
    }

    /// A refresh response with a refresh token and no usable access token.
    pub(crate) fn no_access_token() -> Self {
        Self::new(
            FlowErrorKind::Server,
            "access_token_missing",
            "the token response has no usable access token; its refresh token is kept",
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

    /// The metadata or the keys are not available: an outage, or an error of the configuration.
    pub(super) fn without_document(
        error: &Unavailable,
        outage: &'static str,
        configuration: &'static str,
    ) -> Self {
        match error.is_configuration_error() {
            true => Self::new(
                FlowErrorKind::Configuration,
                configuration,
                error.to_string(),
            ),
            false => Self::unavailable(outage, error.to_string(), error.retry_after()),
        }
    }

    /// The authorization server rejected the refresh token.
    pub(super) fn refresh_refused(error: TokenResponseError) -> Self {
        let message = error.to_string();
        let rejected = Self::new(FlowErrorKind::Refused, "refresh_refused", message);
        match error {
            TokenResponseError::Refused { code, description } => {
                rejected.with_error_response(code, description, false)
            }
            _ => rejected,
        }
    }

    /// `use_dpop_nonce` without a nonce: no proof would be accepted.
    pub(super) fn no_dpop_nonce() -> Self {
        Self::new(
            FlowErrorKind::Server,
            "dpop_nonce_missing",
            "the token endpoint requires a DPoP nonce (use_dpop_nonce), and its response has not exactly one valid \
             `DPoP-Nonce` field",
        )
    }

    /// `use_dpop_nonce` a second time: the server rejects its own nonces.
    pub(super) fn dpop_nonce_refused() -> Self {
        Self::new(
            FlowErrorKind::Server,
            "dpop_nonce_refused",
            "the token endpoint rejected the DPoP nonce that it had just sent (use_dpop_nonce twice): its processes may \
             not share their nonces",
        )
    }

    /// `use_dpop_nonce` so late that the request cannot be repeated within its time limit.
    pub(super) fn dpop_nonce_late() -> Self {
        Self::unavailable(
            "dpop_nonce_late",
            "the token endpoint requires a DPoP nonce (use_dpop_nonce) and took more than 5 seconds to say so: the request \
             is not repeated",
            RETRY_AFTER,
        )
    }

    pub(super) fn no_refresh_token() -> Self {
        Self::new(
            FlowErrorKind::Refused,
            "no_refresh_token",
            "the session has no refresh token",
        )
    }

    /// Sets the time to wait to that of the field `Retry-After`, if the response has it.
    pub(super) fn with_retry_after(self, field: Option<Duration>) -> Self {
        Self {
            retry_after: field.or(self.retry_after),
            ..self
        }
    }

    /// Adds the endpoint to the message, for the log.
    pub(super) fn at_endpoint(self, url: &str) -> Self {
        Self {
            message: describe("POST", url, &self.message, "").into(),
            ..self
        }
    }

    /// Adds what an operator can try, if the authorization server rejected the credentials of the client.
    pub(super) fn with_advice_for(self, client: &Client) -> Self {
        match self.oauth_error() {
            Some(OAuthErrorCode::InvalidClient) => Self {
                message: format!("{}{}", self.message, client.rejection_advice()).into(),
                ..self
            },
            _ => self,
        }
    }

    /// Adds the setting to the message if the authorization server issues no token for one of these resources (RFC 8707
    /// §2), or does not accept the authorization details (RFC 9396 §5).
    pub(super) fn with_advice_on_access<'a>(
        self,
        resources: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut resources = resources.into_iter().peekable();
        let advice = match self.oauth_error() {
            Some(OAuthErrorCode::InvalidTarget) if resources.peek().is_some() => format!(
                "register each of the requested resources {} at the authorization server, or change \
                 LoginLayer::add_resource",
                listed(resources)
            ),
            Some(OAuthErrorCode::InvalidAuthorizationDetails) => {
                "register their types for the client at the authorization server, or change \
                 LoginLayer::with_authorization_details"
                    .to_owned()
            }
            _ => return self,
        };
        Self {
            message: format!("{}; {advice}", self.message).into(),
            ..self
        }
    }

    /// Returns whether the error is about the resource of the request, and not about the session or the client.
    pub(crate) fn is_about_resource(&self) -> bool {
        self.oauth_error() == Some(&OAuthErrorCode::InvalidTarget)
    }

    pub(super) fn with_error_response(
        self,
        code: OAuthErrorCode,
        description: Option<String>,
        from_browser: bool,
    ) -> Self {
        let response = OAuthErrorResponse {
            code,
            description,
            from_browser,
        };
        Self {
            error_response: Some(Box::new(response)),
            ..self
        }
    }
}

/// The time to wait before a retry if a response has no `Retry-After`.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);
