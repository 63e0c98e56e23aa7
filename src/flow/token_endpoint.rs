//! Requests to the token endpoint with client authentication, for all grant types.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};

use super::error::{FlowError, FlowErrorKind};
use super::settings::{Flow, token_endpoint};
use crate::clock::unix_seconds;
use crate::issuer::{AuthenticationContext, BackChannelError, FormParameters};
use crate::protocol::form;

/// A token request without a response.
#[derive(Debug)]
pub(super) enum TokenRequestError {
    /// The request was not sent.
    NotSent(FlowError),
    /// The request may have been sent, but no readable response was received.
    NoResponse(BackChannelError),
}

impl From<FlowError> for TokenRequestError {
    fn from(error: FlowError) -> Self {
        Self::NotSent(error)
    }
}

impl From<TokenRequestError> for FlowError {
    fn from(error: TokenRequestError) -> Self {
        match error {
            TokenRequestError::NotSent(error) => error,
            TokenRequestError::NoResponse(error) => error.into(),
        }
    }
}

impl Flow {
    /// Sends one token request, within the limits of the back channel. Never retries.
    pub(super) async fn send_token_request(
        &self,
        parameters: FormParameters<'_>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let metadata = self.server.metadata().await.map_err(FlowError::from)?;
        let request = self.authenticated_form(token_endpoint(&metadata)?, parameters)?;
        self.server
            .send(request)
            .await
            .map_err(|error| match error {
                BackChannelError::Insecure
                | BackChannelError::Missing
                | BackChannelError::NotSent(_) => TokenRequestError::NotSent(error.into()),
                _ => TokenRequestError::NoResponse(error),
            })
    }

    /// Creates a form request with client authentication (RFC 6749 §2.3). A client assertion is new for each
    /// request.
    pub(super) fn authenticated_form<'a>(
        &'a self,
        endpoint: &str,
        mut parameters: FormParameters<'a>,
    ) -> Result<Request<Bytes>, FlowError> {
        let context = AuthenticationContext {
            issuer: self.server.issuer(),
            now: unix_seconds(&**self.server.clock()),
            random: *self.random(),
        };
        let credentials = self.client.authenticate(&context, &mut parameters)?;

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
}
