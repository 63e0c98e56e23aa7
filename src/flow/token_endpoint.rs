//! The request that every exchange at the token endpoint is, whatever it brings.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};

use super::error::{FlowError, FlowErrorKind};
use super::settings::{Flow, token_endpoint};
use crate::clock::unix_seconds;
use crate::issuer::{AuthenticationContext, BackChannelError, FormParameters};
use crate::protocol::form;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The request was not made.
    NotSent(FlowError),
    /// It was handed to the back channel, which brought nothing that can be read.
    Lost(BackChannelError),
}

impl From<FlowError> for NoAnswer {
    fn from(error: FlowError) -> Self {
        Self::NotSent(error)
    }
}

impl From<NoAnswer> for FlowError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::NotSent(error) => error,
            NoAnswer::Lost(error) => error.into(),
        }
    }
}

impl Flow {
    /// One request, within the limits of the back channel. Never repeated here.
    pub(super) async fn ask_token_endpoint(
        &self,
        parameters: FormParameters<'_>,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let metadata = self.server.metadata().await.map_err(FlowError::from)?;
        let request = self.authenticated_form(token_endpoint(&metadata)?, parameters)?;
        self.server
            .send(request)
            .await
            .map_err(|error| match error {
                BackChannelError::Insecure
                | BackChannelError::Missing
                | BackChannelError::NotSent(_) => NoAnswer::NotSent(error.into()),
                _ => NoAnswer::Lost(error),
            })
    }

    /// A form that says who we are and proves it, anew for each request (RFC 6749 §2.3).
    pub(super) fn authenticated_form<'a>(
        &'a self,
        endpoint: &str,
        mut parameters: FormParameters<'a>,
    ) -> Result<Request<Bytes>, FlowError> {
        let occasion = AuthenticationContext {
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
