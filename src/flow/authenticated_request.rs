//! Requests with client authentication (RFC 6749 §2.3) to the token endpoint, for revocation and for pushed
//! authorization requests.

use bytes::Bytes;
use http::{Request, Response};

use super::error::{FlowError, FlowErrorKind};
use super::request_deadline::{DeadlinePassed, RequestDeadline};
use super::settings::Flow;
use crate::crypto::ProofKey;
use crate::issuer::{
    AuthenticationContext, BackChannelError, ClientRejection, FormParameters, RejectionRule,
    SentCredentials,
};
use crate::protocol::dpop::PROOF_FIELD;
use crate::protocol::sanitize::log_safe;

/// A request with client authentication without a response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The request could not be authenticated, so nothing was sent.
    NotAuthenticated(FlowError),
    BackChannel(BackChannelError),
    /// The deadline passed before there was a response.
    NoResponse(FlowError),
}

impl From<DeadlinePassed> for SendError {
    fn from(passed: DeadlinePassed) -> Self {
        match passed.is_unanswered {
            true => Self::NoResponse(passed.into()),
            false => Self::NotAuthenticated(passed.into()),
        }
    }
}

impl From<FlowError> for SendError {
    fn from(error: FlowError) -> Self {
        Self::NotAuthenticated(error)
    }
}

impl From<SendError> for FlowError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotAuthenticated(error) | SendError::NoResponse(error) => error,
            SendError::BackChannel(error) => error.into(),
        }
    }
}

impl Flow {
    /// Sends a form with client authentication and, at the token endpoint, a proof of this key.
    ///
    /// Sends it once more, with a new proof, if the server rejected the client, the credential has changed since it was
    /// read, and there is time for a repeat. The caller runs it within this deadline.
    pub(super) async fn send_authenticated(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
        key: Option<&ProofKey>,
        deadline: &RequestDeadline<'_>,
    ) -> Result<Response<Bytes>, SendError> {
        let mut authenticated = parameters.clone();
        let context = self.authentication_context();
        let credentials = self.client.authenticate(&context, &mut authenticated);
        let credentials = credentials.await.map_err(FlowError::from)?;
        let request = form_request(endpoint, &authenticated, &credentials)?;
        let response = self.send_with_proof(request, key, deadline).await?;
        let response = credentials.without_echo(response, &authenticated);
        let mut authenticated = parameters;
        let client = &self.client;
        // The server may have used a code or a token that was sent, unless it says that it rejected the client.
        let rejection = ClientRejection::of(&response, RejectionRule::ErrorCode);
        let again =
            client.authenticate_again(rejection, &credentials, &context, &mut authenticated);
        let Some(credentials) = again.await.filter(|_| deadline.permits_repeat()) else {
            return Ok(response);
        };
        tracing::info!(
            name: "client_credential_replaced", target: "tower_oauth::login",
            issuer = self.server.issuer(), client_id = self.client.id(), endpoint,
            "the authorization server rejected the client; sending the request once more with the changed credential"
        );
        let request = form_request(endpoint, &authenticated, &credentials)?;
        let response = self.send_with_proof(request, key, deadline).await?;
        Ok(credentials.without_echo(response, &authenticated))
    }

    async fn send_with_proof(
        &self,
        mut request: Request<Bytes>,
        key: Option<&ProofKey>,
        deadline: &RequestDeadline<'_>,
    ) -> Result<Response<Bytes>, SendError> {
        if let Some(key) = key {
            let proof = self.token_request_proof(key, request.method(), request.uri())?;
            request.headers_mut().insert(PROOF_FIELD, proof);
        }
        let response = deadline.response(self.server.send(request)).await;
        response.map_err(SendError::BackChannel)
    }

    fn authentication_context(&self) -> AuthenticationContext<'_> {
        AuthenticationContext {
            issuer: self.server.issuer(),
            clock: self.server.clock(),
            random: *self.random(),
        }
    }
}

fn form_request(
    endpoint: &str,
    parameters: &FormParameters<'_>,
    credentials: &SentCredentials,
) -> Result<Request<Bytes>, FlowError> {
    let request = credentials.form_request(endpoint, "application/json", parameters);
    request.ok_or_else(|| {
        FlowError::new(
            FlowErrorKind::Configuration,
            "metadata_malformed",
            format!("the endpoint {} is not a URL", log_safe(endpoint)),
        )
    })
}
