//! The error codes of authorization responses and token responses.

use std::fmt;

use super::json::{Json, parse_object};

/// Maximum length of a code. Registered codes are less than half as long.
const MAX_CODE: usize = 64;

/// The error code of an authorization response or a token response.
///
/// `Display` writes the code as it was sent, truncated to 64 characters, with each character that RFC 6749
/// §4.1.2.1 does not allow replaced by `?`. The text is untrusted: escape it in HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OAuthErrorCode {
    /// `invalid_request` (RFC 6749 §4.1.2.1, §5.2).
    InvalidRequest,
    /// `unauthorized_client` (RFC 6749 §4.1.2.1, §5.2).
    UnauthorizedClient,
    /// `access_denied`: the user or the authorization server denied the request (RFC 6749 §4.1.2.1).
    AccessDenied,
    /// `unsupported_response_type` (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// `invalid_scope` (RFC 6749 §4.1.2.1, §5.2).
    InvalidScope,
    /// `server_error` (RFC 6749 §4.1.2.1).
    ServerError,
    /// `temporarily_unavailable` (RFC 6749 §4.1.2.1).
    TemporarilyUnavailable,
    /// `invalid_client` (RFC 6749 §5.2).
    InvalidClient,
    /// `invalid_grant`: the code or refresh token is invalid, expired, revoked, already used or was issued to
    /// another client (RFC 6749 §5.2).
    InvalidGrant,
    /// `unsupported_grant_type` (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// `invalid_target`: the server issues no token for a requested resource (RFC 8707 §2).
    InvalidTarget,
    /// `invalid_authorization_details` (RFC 9396 §5).
    InvalidAuthorizationDetails,
    /// `login_required` (OpenID Connect Core §3.1.2.6).
    LoginRequired,
    /// `interaction_required` (OpenID Connect Core §3.1.2.6).
    InteractionRequired,
    /// `consent_required` (OpenID Connect Core §3.1.2.6).
    ConsentRequired,
    /// `account_selection_required` (OpenID Connect Core §3.1.2.6).
    AccountSelectionRequired,
    /// Any other code, truncated and sanitized.
    Other(Box<str>),
}

impl OAuthErrorCode {
    /// Converts any text. Never fails, since an error with an unregistered code is still an error.
    pub(crate) fn from_wire(code: &str) -> Self {
        match REGISTERED.iter().find(|(_, name)| *name == code) {
            Some((registered, _)) => registered.clone(),
            None => Self::Other(code.chars().take(MAX_CODE).map(sanitize).collect()),
        }
    }

    /// Reads the member `error` of an error response (RFC 6749 §5.2). Returns `None` if the body is not a strict JSON object
    /// with that string.
    pub(crate) fn of_body(body: &[u8]) -> Option<Self> {
        let response = parse_object(body).ok()?;
        let code = response.member("error").and_then(Json::as_str)?;
        Some(Self::from_wire(code))
    }

    /// Returns the code as it was sent.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(code) => code,
            registered => REGISTERED
                .iter()
                .find(|(code, _)| code == registered)
                .map_or("", |(_, name)| name),
        }
    }

    /// Returns whether the code reports that a request with `prompt=none` requires user interaction (OpenID
    /// Connect Core §3.1.2.6).
    pub(crate) fn requires_interaction(&self) -> bool {
        matches!(
            self,
            Self::LoginRequired
                | Self::InteractionRequired
                | Self::ConsentRequired
                | Self::AccountSelectionRequired
        )
    }
}

impl fmt::Display for OAuthErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Replaces characters outside `NQSCHAR` (RFC 6749 Appendix A).
fn sanitize(character: char) -> char {
    match character {
        ' ' | '!' | '#'..='[' | ']'..='~' => character,
        _ => '?',
    }
}

const REGISTERED: [(OAuthErrorCode, &str); 16] = [
    (OAuthErrorCode::InvalidRequest, "invalid_request"),
    (OAuthErrorCode::UnauthorizedClient, "unauthorized_client"),
    (OAuthErrorCode::AccessDenied, "access_denied"),
    (
        OAuthErrorCode::UnsupportedResponseType,
        "unsupported_response_type",
    ),
    (OAuthErrorCode::InvalidScope, "invalid_scope"),
    (OAuthErrorCode::ServerError, "server_error"),
    (
        OAuthErrorCode::TemporarilyUnavailable,
        "temporarily_unavailable",
    ),
    (OAuthErrorCode::InvalidClient, "invalid_client"),
    (OAuthErrorCode::InvalidGrant, "invalid_grant"),
    (
        OAuthErrorCode::UnsupportedGrantType,
        "unsupported_grant_type",
    ),
    (OAuthErrorCode::InvalidTarget, "invalid_target"),
    (
        OAuthErrorCode::InvalidAuthorizationDetails,
        "invalid_authorization_details",
    ),
    (OAuthErrorCode::LoginRequired, "login_required"),
    (OAuthErrorCode::InteractionRequired, "interaction_required"),
    (OAuthErrorCode::ConsentRequired, "consent_required"),
    (
        OAuthErrorCode::AccountSelectionRequired,
        "account_selection_required",
    ),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_code_is_truncated_and_sanitized() {
        let code = OAuthErrorCode::from_wire(&"\"\r\n\0é".repeat(100));
        assert_eq!(code.as_str(), "?".repeat(64));
        assert_eq!(
            OAuthErrorCode::from_wire("Access_Denied").to_string(),
            "Access_Denied"
        );
    }

    proptest! {
        #[test]
        fn parse_and_print_are_inverse(
            code in prop_oneof![
                prop::sample::select(REGISTERED.map(|(_, name)| name.to_owned()).to_vec()),
                "[ !#-\\[\\]-~]{0,64}",
            ],
        ) {
            let parsed = OAuthErrorCode::from_wire(&code);
            prop_assert_eq!(parsed.as_str(), code);
            prop_assert_eq!(OAuthErrorCode::from_wire(parsed.as_str()), parsed);
        }
    }
}
