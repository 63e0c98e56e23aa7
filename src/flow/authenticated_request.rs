//! Requests with client authentication (RFC 6749 §2.3) to the token endpoint, for revocation and for pushed
//! authorization requests.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use crate::crypto::ProofKey;
use crate::issuer::{AuthenticationContext, BackChannelError, FormParameters};
use crate::protocol::dpop::PROOF_FIELD;
use crate::protocol::form;
use crate::protocol::json::parse_object;

/// A request with client authentication without a response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The request could not be authenticated, so nothing was sent.
    NotAuthenticated(FlowError),
    BackChannel(BackChannelError),
}

impl From<FlowError> for SendError {
    fn from(error: FlowError) -> Self {
        Self::NotAuthenticated(error)
    }
}

impl From<SendError> for FlowError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotAuthenticated(error) => error,
            SendError::BackChannel(error) => error.into(),
        }
    }
}

impl Flow {
    /// Sends a form with client authentication and, at the token endpoint, a proof of this key.
    ///
    /// Sends it once more, with a new proof, if the server rejected the client and the credential has changed since it
    /// was read.
    pub(super) async fn send_authenticated(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, SendError> {
        let mut authenticated = parameters.clone();
        let context = self.authentication_context();
        let credentials = self.client.authenticate(&context, &mut authenticated);
        let credentials = credentials.await.map_err(FlowError::from)?;
        let request = form_request(endpoint, authenticated, credentials.header.clone())?;
        let response = self.send_with_proof(request, key).await?;
        if !is_client_rejection(&response) {
            return Ok(response);
        }
        let mut authenticated = parameters;
        let again = self
            .client
            .authenticate_again(&credentials, &context, &mut authenticated);
        let Some(credentials) = again.await else {
            return Ok(response);
        };
        tracing::info!(
            name: "client_credential_replaced", target: "tower_oauth::login",
            issuer = self.server.issuer(), client_id = self.client.id(), endpoint,
            "the authorization server rejected the client; sending the request once more with the changed credential"
        );
        let request = form_request(endpoint, authenticated, credentials.header)?;
        self.send_with_proof(request, key).await
    }

    async fn send_with_proof(
        &self,
        mut request: Request<Bytes>,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, SendError> {
        if let Some(key) = key {
            let proof = self.token_request_proof(key, request.method(), request.uri())?;
            request.headers_mut().insert(PROOF_FIELD, proof);
        }
        let response = self.server.send(request).await;
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

/// Creates a form request with the credentials of the client.
fn form_request(
    endpoint: &str,
    parameters: FormParameters<'_>,
    credentials: Option<HeaderValue>,
) -> Result<Request<Bytes>, FlowError> {
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
                "the endpoint in the metadata is not a URL",
            )
        })
}

/// Returns whether the server rejected the client (RFC 6749 §5.2). A server that fails while it processes the request
/// may have used the code or the token.
fn is_client_rejection(response: &Response<Bytes>) -> bool {
    response.status().is_client_error()
        && parse_object(response.body()).is_ok_and(|body| {
            let error = body.member("error").and_then(|error| error.as_str());
            error == Some("invalid_client")
        })
}
