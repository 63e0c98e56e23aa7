//! The token request: the code for the tokens, once.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};

use super::error::{FlowError, FlowErrorKind};
use super::settings::{Flow, token_endpoint};
use super::transaction::Transaction;
use crate::clock::unix_seconds;
use crate::issuer::Occasion;
use crate::protocol::token_request::TokenRequest;
use crate::protocol::token_response::TokenResponse;
use crate::protocol::{AuthorizationCode, form};

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
        let metadata = self.server.metadata().await?;
        let request = self.token_request(token_endpoint(&metadata)?, code, transaction)?;
        let answer = self.server.send(request).await?;
        Ok(TokenResponse::parse(
            answer.status().as_u16(),
            answer.body(),
        )?)
    }

    fn token_request(
        &self,
        endpoint: &str,
        code: &AuthorizationCode,
        transaction: &Transaction,
    ) -> Result<Request<Bytes>, FlowError> {
        let mut parameters = TokenRequest {
            code,
            redirect_uri: &self.redirect_uri,
            code_verifier: &transaction.verifier,
        }
        .parameters();
        let occasion = Occasion {
            issuer: self.server.issuer(),
            now: unix_seconds(&**self.server.clock()),
            random: *self.random(),
        };
        let credentials = self.client.authenticate(&occasion, &mut parameters)?;

        let mut request = Request::post(endpoint)
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, credentials);
        }
        request
            .body(Bytes::from(form::encode(parameters)))
            .map_err(|_| {
                FlowError::new(
                    FlowErrorKind::Configuration,
                    "no_token_endpoint",
                    "the token endpoint of the metadata is not a URL",
                )
            })
    }
}
