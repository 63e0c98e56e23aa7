//! The token request: the code for the tokens, once.

use super::complete::Grant;
use super::error::FlowError;
use super::settings::Flow;
use super::token_endpoint::NoAnswer;
use crate::protocol::OAuthErrorCode;
use crate::protocol::token_request::TokenRequest;
use crate::protocol::token_response::{TokenResponse, TokenResponseError};

/// Why a code brought no tokens, and whether it can have been redeemed all the same.
#[derive(Clone, Debug)]
pub(crate) struct NotRedeemed {
    pub(crate) error: FlowError,
    pub(crate) outcome: RedemptionOutcome,
}

/// What is known of a code after a token request without tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedemptionOutcome {
    /// The authorization server refused the request (RFC 6749 §5.2), or it was never sent: the code was not
    /// redeemed.
    Refused,
    /// No answer, an answer that cannot be read, or one of a proxy: the code may have been redeemed.
    Unknown,
}

impl Flow {
    /// Sends the code, within the limits of the back channel.
    ///
    /// There is no second attempt, whatever went wrong (`H76`): a code that was seen twice may revoke
    /// the tokens of the first time (RFC 6749 §4.1.2), and whether a request that brought no answer
    /// was carried out is not known.
    pub(crate) async fn redeem(&self, grant: &Grant) -> Result<TokenResponse, NotRedeemed> {
        let request = TokenRequest {
            code: grant.code(),
            redirect_uri: &self.redirect_uri,
            code_verifier: &grant.transaction().verifier,
        };
        let answer = self.ask_token_endpoint(request.parameters()).await;
        let answer = answer.map_err(|none| NotRedeemed {
            outcome: match none {
                NoAnswer::NotSent(_) => RedemptionOutcome::Refused,
                NoAnswer::Lost(_) => RedemptionOutcome::Unknown,
            },
            error: none.into(),
        })?;
        let status = answer.status();
        TokenResponse::parse(status.as_u16(), answer.body()).map_err(|error| NotRedeemed {
            outcome: match &error {
                TokenResponseError::Refused { code, .. }
                    if !status.is_server_error() && refuses_the_code(code) =>
                {
                    RedemptionOutcome::Refused
                }
                _ => RedemptionOutcome::Unknown,
            },
            error: error.into(),
        })
    }
}

/// The error codes of a token endpoint, RFC 6749 §5.2. Each says that the request was looked at and that nothing
/// was issued; any other code may have come up half-way.
fn refuses_the_code(code: &OAuthErrorCode) -> bool {
    matches!(
        code,
        OAuthErrorCode::InvalidRequest
            | OAuthErrorCode::InvalidClient
            | OAuthErrorCode::InvalidGrant
            | OAuthErrorCode::UnauthorizedClient
            | OAuthErrorCode::UnsupportedGrantType
            | OAuthErrorCode::InvalidScope
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_error_codes_of_a_token_endpoint_say_that_a_code_was_not_redeemed() {
        for (code, refuses) in [
            ("invalid_grant", true),
            ("invalid_request", true),
            ("invalid_client", true),
            ("unauthorized_client", true),
            ("unsupported_grant_type", true),
            ("invalid_scope", true),
            ("server_error", false),
            ("temporarily_unavailable", false),
            ("access_denied", false),
            ("slow_down", false),
            ("", false),
        ] {
            let code = OAuthErrorCode::from_wire(code);
            assert_eq!(refuses_the_code(&code), refuses, "{code}");
        }
    }
}
