//! The `error` of an authorization response and of a token response.

use std::fmt;

/// Longer codes are cut: no specification has one half as long.
const MAX_CODE: usize = 64;

/// An error code of the code flow: what the authorization server says went wrong.
///
/// Printing gives the code as it was sent, cut to 64 characters and with every character outside
/// RFC 6749 §4.1.2.1 replaced by `?`. It is still a stranger's text: escape it in HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OAuthErrorCode {
    /// `invalid_request` (RFC 6749 §4.1.2.1, §5.2).
    InvalidRequest,
    /// `unauthorized_client` (RFC 6749 §4.1.2.1, §5.2).
    UnauthorizedClient,
    /// `access_denied`: the person or the server said no (RFC 6749 §4.1.2.1).
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
    /// `invalid_grant`: the code is unknown, used, expired or another client's (RFC 6749 §5.2).
    InvalidGrant,
    /// `unsupported_grant_type` (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// `login_required` (OpenID Connect Core §3.1.2.6).
    LoginRequired,
    /// `interaction_required` (OpenID Connect Core §3.1.2.6).
    InteractionRequired,
    /// `consent_required` (OpenID Connect Core §3.1.2.6).
    ConsentRequired,
    /// `account_selection_required` (OpenID Connect Core §3.1.2.6).
    AccountSelectionRequired,
    /// Any other code, harmless but unknown here.
    Other(Box<str>),
}

impl OAuthErrorCode {
    /// Takes any text; nothing is refused, since an error without a known code is still an error.
    pub(crate) fn from_wire(code: &str) -> Self {
        match KNOWN.iter().find(|(_, name)| *name == code) {
            Some((known, _)) => known.clone(),
            None => Self::Other(code.chars().take(MAX_CODE).map(harmless).collect()),
        }
    }

    /// The code as it is written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(code) => code,
            known => KNOWN
                .iter()
                .find(|(code, _)| code == known)
                .map_or("", |(_, name)| name),
        }
    }

    /// Whether this is how `prompt=none` says that it would have had to ask the person.
    pub(crate) fn wants_interaction(&self) -> bool {
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

/// `NQSCHAR` of RFC 6749 Appendix A.
fn harmless(character: char) -> char {
    match character {
        ' ' | '!' | '#'..='[' | ']'..='~' => character,
        _ => '?',
    }
}

const KNOWN: [(OAuthErrorCode, &str); 14] = [
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
    fn a_hostile_code_is_cut_and_made_harmless() {
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
                prop::sample::select(KNOWN.map(|(_, name)| name.to_owned()).to_vec()),
                "[ !#-\\[\\]-~]{0,64}",
            ],
        ) {
            let parsed = OAuthErrorCode::from_wire(&code);
            prop_assert_eq!(parsed.as_str(), code);
            prop_assert_eq!(OAuthErrorCode::from_wire(parsed.as_str()), parsed);
        }
    }
}
