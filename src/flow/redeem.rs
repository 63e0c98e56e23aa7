//! The token request that redeems the authorization code (RFC 6749 §4.1.3).

use super::callback::AuthorizationGrant;
use super::error::FlowError;
use super::settings::Flow;
use super::token_endpoint::{TokenRequestError, log_ignored, scheme_for};
use crate::protocol::OAuthErrorCode;
use crate::protocol::dpop::ProofRejection;
use crate::protocol::token_request::TokenRequest;
use crate::protocol::token_response::{TokenResponse, TokenResponseError};

/// The redemption failed; says whether the code may have been redeemed nevertheless.
#[derive(Clone, Debug)]
pub(crate) struct RedemptionError {
    pub(crate) error: FlowError,
    pub(crate) outcome: RedemptionOutcome,
}

/// Whether a code was redeemed by a token request that returned no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedemptionOutcome {
    /// There was no request, for lack of metadata or credentials. The code can be sent later.
    NotSent,
    /// The authorization server rejected the request (RFC 6749 §5.2, RFC 9449 §8), or could not be reached: the code was not
    /// redeemed.
    Refused,
    /// No response, an unreadable response, or a response of a proxy: the code may have been redeemed.
    Unknown,
}

impl Flow {
    /// Redeems the code, within 7 seconds.
    ///
    /// Never retries, except with a DPoP nonce or a changed credential of the client, if the server rejected the request
    /// for lack of it and so did not process it: a request without a response may have been processed, and if a code is
    /// used twice, the authorization server should revoke the tokens that it issued (RFC 6749 §4.1.2).
    pub(crate) async fn redeem(
        &self,
        grant: &AuthorizationGrant,
    ) -> Result<TokenResponse, RedemptionError> {
        let key = self.proof_key(&grant.transaction.secret);
        let key = key.map_err(|error| RedemptionError {
            outcome: RedemptionOutcome::NotSent,
            error,
        })?;
        let request = TokenRequest {
            code: &grant.code,
            redirect_uri: self.redirect.as_str(),
            code_verifier: &grant.transaction.secret.verifier(),
            resource: self.main_resource().map(|one| &**one),
        };
        let response = self.send_token_request(request.parameters(), key.as_ref());
        let response = response.await;
        let response = response.map_err(|error| RedemptionError {
            outcome: match error {
                TokenRequestError::NotSent(_) => RedemptionOutcome::NotSent,
                TokenRequestError::NotProcessed(_) => RedemptionOutcome::Refused,
                TokenRequestError::NoResponse(_) => RedemptionOutcome::Unknown,
            },
            error: error.into(),
        })?;
        let status = response.status();
        let scheme = scheme_for(key.as_ref());
        let tokens = TokenResponse::parse(status.as_u16(), response.body(), scheme);
        let tokens = tokens.inspect(|tokens| log_ignored(tokens, self.server.issuer()));
        tokens.map_err(|error| RedemptionError {
            outcome: match &error {
                TokenResponseError::Refused { code, .. }
                    if !status.is_server_error() && is_rejection(code) =>
                {
                    RedemptionOutcome::Refused
                }
                _ => RedemptionOutcome::Unknown,
            },
            error: FlowError::from(error)
                .with_advice_for(&self.client)
                .with_advice_on_access(self.main_resource().map(|one| &**one)),
        })
    }
}

/// Returns whether the error code is one of RFC 6749 §5.2, RFC 8707 §2, RFC 9396 §5 or RFC 9449 §5 and §8, which report
/// that no tokens were issued. Any other code may report a failure in the middle of processing.
fn is_rejection(code: &OAuthErrorCode) -> bool {
    let is_of_proof = match code {
        OAuthErrorCode::Other(code) => ProofRejection::from_code(code).is_some(),
        _ => false,
    };
    is_of_proof
        || matches!(
            code,
            OAuthErrorCode::InvalidRequest
                | OAuthErrorCode::InvalidClient
                | OAuthErrorCode::InvalidGrant
                | OAuthErrorCode::UnauthorizedClient
                | OAuthErrorCode::UnsupportedGrantType
                | OAuthErrorCode::InvalidScope
                | OAuthErrorCode::InvalidTarget
                | OAuthErrorCode::InvalidAuthorizationDetails
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_error_codes_show_that_a_code_was_not_redeemed() {
        for (code, expected) in [
            ("invalid_grant", true),
            ("invalid_request", true),
            ("invalid_client", true),
            ("unauthorized_client", true),
            ("unsupported_grant_type", true),
            ("invalid_scope", true),
            ("invalid_target", true),
            ("invalid_authorization_details", true),
            ("invalid_dpop_proof", true),
            ("use_dpop_nonce", true),
            ("server_error", false),
            ("temporarily_unavailable", false),
            ("access_denied", false),
            ("slow_down", false),
            ("", false),
        ] {
            let code = OAuthErrorCode::from_wire(code);
            assert_eq!(is_rejection(&code), expected, "{code}");
        }
    }
}
