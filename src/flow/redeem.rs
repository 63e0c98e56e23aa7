//! The token request: the code for the tokens, once.

use super::error::FlowError;
use super::settings::Flow;
use super::transaction::Transaction;
use crate::protocol::AuthorizationCode;
use crate::protocol::token_request::TokenRequest;
use crate::protocol::token_response::TokenResponse;

impl Flow {
    /// Sends the code, within the limits of the back channel.
    ///
    /// There is no second attempt, whatever went wrong (`H76`): a code that was seen twice may revoke
    /// the tokens of the first time (RFC 6749 §4.1.2), and whether a request that brought no answer
    /// was carried out is not known.
    pub(super) async fn redeem(
        &self,
        code: &AuthorizationCode,
        transaction: &Transaction,
    ) -> Result<TokenResponse, FlowError> {
        let request = TokenRequest {
            code,
            redirect_uri: &self.redirect_uri,
            code_verifier: &transaction.verifier,
        };
        let answer = self.ask_token_endpoint(request.parameters()).await?;
        Ok(TokenResponse::parse(
            answer.status().as_u16(),
            answer.body(),
        )?)
    }
}
