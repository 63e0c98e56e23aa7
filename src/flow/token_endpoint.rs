//! Requests to the token endpoint with client authentication, for all grant types.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use crate::clock::{seconds_after, unix_seconds};
use crate::issuer::{AuthenticationContext, EndpointError, FormParameters};
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::token_response::{Lifetime, TokenResponse};
use crate::protocol::{Metadata, form};
use crate::telemetry::may_log;

/// The lifetime of an access token whose `expires_in` is malformed, unless the configured default is shorter.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60);

/// A token request without a response.
#[derive(Debug)]
pub(super) enum TokenRequestError {
    /// The request was not sent.
    NotSent(FlowError),
    /// The request may have been sent, but no readable response was received.
    NoResponse(FlowError),
}

impl TokenRequestError {
    /// Adds the endpoint to the message, for the log.
    fn at_endpoint(self, url: &str) -> Self {
        match self {
            Self::NotSent(error) => Self::NotSent(error.at_endpoint(url)),
            Self::NoResponse(error) => Self::NoResponse(error.at_endpoint(url)),
        }
    }
}

impl From<FlowError> for TokenRequestError {
    fn from(error: FlowError) -> Self {
        Self::NotSent(error)
    }
}

impl From<TokenRequestError> for FlowError {
    fn from(error: TokenRequestError) -> Self {
        match error {
            TokenRequestError::NotSent(error) | TokenRequestError::NoResponse(error) => error,
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
        let endpoint = self.token_endpoint(&metadata)?;
        let response = self.send_authenticated(endpoint, parameters).await;
        response.map_err(|error| error.at_endpoint(endpoint))
    }

    /// Sends a form with client authentication to an endpoint of the authorization server: token, revocation or
    /// pushed authorization requests.
    pub(super) async fn send_authenticated(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let request = self.authenticated_form(endpoint, parameters).await?;
        self.server.send(request).await.map_err(|error| {
            let is_not_sent = error.is_not_sent();
            let error = FlowError::from(error);
            match is_not_sent {
                true => TokenRequestError::NotSent(error),
                false => TokenRequestError::NoResponse(error),
            }
        })
    }

    /// Creates a form request with client authentication (RFC 6749 §2.3). A client assertion is new for each
    /// request.
    pub(super) async fn authenticated_form<'a>(
        &'a self,
        endpoint: &str,
        mut parameters: FormParameters<'a>,
    ) -> Result<Request<Bytes>, FlowError> {
        let context = AuthenticationContext {
            issuer: self.server.issuer(),
            now: unix_seconds(&**self.server.clock()),
            random: *self.random(),
        };
        let credentials = self.client.authenticate(&context, &mut parameters).await?;

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

    /// Returns the token endpoint, if it supports the authentication method of the client.
    pub(super) fn token_endpoint<'m>(&self, metadata: &'m Metadata) -> Result<&'m str, FlowError> {
        let endpoint = self.client.endpoint(metadata, ServerEndpoint::Token);
        endpoint.map_err(|error| endpoint_error(&error, "no_token_endpoint"))
    }

    /// Returns when the access token and the refresh token of a response expire. Without `expires_in`, the lifetime
    /// of the access token is not unlimited (RFC 6749 §5.1).
    pub(super) fn expiry_of<T>(&self, tokens: &TokenResponse<T>, now: i64) -> (i64, Option<i64>) {
        let after = |seconds| seconds_after(now, Duration::from_secs(seconds));
        let lifetime = match tokens.expires_in {
            Lifetime::Seconds(seconds) => Duration::from_secs(seconds),
            Lifetime::Absent => self.default_token_lifetime,
            Lifetime::Malformed => self.default_token_lifetime.min(UNKNOWN_LIFETIME),
        };
        (
            seconds_after(now, lifetime),
            tokens.refresh_expires_in.map(after),
        )
    }
}

/// Converts the reason why an endpoint cannot be used; `missing` is the code if there is none.
pub(super) fn endpoint_error(error: &EndpointError, missing: &'static str) -> FlowError {
    let code = match error {
        EndpointError::Missing { .. } => missing,
        EndpointError::MalformedList(_) => "metadata_malformed",
        EndpointError::Method { .. } => "client_authentication_unsupported",
    };
    FlowError::new(FlowErrorKind::Configuration, code, error.to_string())
}

/// Logs the malformed members of a token response that were ignored.
pub(super) fn log_ignored<T>(tokens: &TokenResponse<T>, issuer: &str) {
    for member in &tokens.ignored {
        if may_log("token_response_member_ignored", member) {
            tracing::warn!(
                name: "token_response_member_ignored", target: "tower_oauth::login", issuer, member,
                "ignored a malformed member of the token response"
            );
        }
    }
}

/// Rejects metadata in which one of these members is malformed.
pub(super) fn well_formed(metadata: &Metadata, names: &[&str]) -> Result<(), FlowError> {
    let checked = metadata.require_well_formed(names);
    checked.map_err(|malformed| {
        FlowError::new(
            FlowErrorKind::Configuration,
            "metadata_malformed",
            malformed.to_string(),
        )
    })
}
