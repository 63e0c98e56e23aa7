//! Requests to the token endpoint with client authentication, for all grant types.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use crate::clock::seconds_after;
use crate::issuer::{AuthenticationContext, BackChannelError, EndpointError, FormParameters};
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::json::parse_object;
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

/// A request with client authentication without a response.
#[derive(Debug)]
pub(super) enum SendError {
    /// The client could not be authenticated, so nothing was sent.
    NotAuthenticated(FlowError),
    BackChannel(BackChannelError),
}

impl TokenRequestError {
    /// Adds the endpoint to the message, for the log.
    fn new(error: SendError, url: &str) -> Self {
        let is_not_sent = match &error {
            SendError::NotAuthenticated(_) => true,
            SendError::BackChannel(error) => error.is_not_sent(),
        };
        let error = FlowError::from(error).at_endpoint(url);
        match is_not_sent {
            true => Self::NotSent(error),
            false => Self::NoResponse(error),
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
            SendError::NotAuthenticated(error) => error,
            SendError::BackChannel(error) => error.into(),
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
        response.map_err(|error| TokenRequestError::new(error, endpoint))
    }

    /// Sends a form with client authentication to an endpoint of the authorization server: token, revocation or
    /// pushed authorization requests.
    pub(super) async fn send_authenticated(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
    ) -> Result<Response<Bytes>, SendError> {
        let mut authenticated = parameters.clone();
        let context = self.authentication_context();
        let credentials = self.client.authenticate(&context, &mut authenticated);
        let credentials = credentials.await.map_err(FlowError::from)?;
        let request = form_request(endpoint, authenticated, credentials.header.clone())?;
        let response = self.send_form(request).await?;
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
        self.send_form(request).await
    }

    async fn send_form(&self, request: Request<Bytes>) -> Result<Response<Bytes>, SendError> {
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

/// Converts the reason why an endpoint cannot be used; `missing` is the code if there is none.
pub(super) fn endpoint_error(error: &EndpointError, missing: &'static str) -> FlowError {
    let code = match error {
        EndpointError::Missing { .. } => missing,
        EndpointError::MalformedList(_) => "metadata_malformed",
        EndpointError::Method { .. } | EndpointError::Algorithm { .. } => {
            "client_authentication_unsupported"
        }
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
