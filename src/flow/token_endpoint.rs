//! Requests to the token endpoint with client authentication, for all grant types.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};

use super::dpop::NonceIssuer;
use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use crate::clock::{seconds_after, unix_seconds};
use crate::crypto::ProofKey;
use crate::issuer::{AuthenticationContext, EndpointError, FormParameters};
use crate::protocol::credentials::Scheme;
use crate::protocol::dpop::{PROOF_FIELD, ProofRejection};
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::token_response::{Lifetime, TokenResponse};
use crate::protocol::{Metadata, form};
use crate::telemetry::may_log;

/// The lifetime of an access token whose `expires_in` is malformed, unless the configured default is shorter.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60);

/// A token request without a response.
#[derive(Debug)]
pub(super) enum TokenRequestError {
    /// The request was not sent, or the server did not process it for lack of a DPoP nonce.
    NotProcessed(FlowError),
    /// The request may have been sent, but no readable response was received.
    NoResponse(FlowError),
}

impl TokenRequestError {
    /// Adds the endpoint to the message, for the log.
    fn at_endpoint(self, url: &str) -> Self {
        match self {
            Self::NotProcessed(error) => Self::NotProcessed(error.at_endpoint(url)),
            Self::NoResponse(error) => Self::NoResponse(error.at_endpoint(url)),
        }
    }
}

impl From<FlowError> for TokenRequestError {
    fn from(error: FlowError) -> Self {
        Self::NotProcessed(error)
    }
}

impl From<TokenRequestError> for FlowError {
    fn from(error: TokenRequestError) -> Self {
        match error {
            TokenRequestError::NotProcessed(error) | TokenRequestError::NoResponse(error) => error,
        }
    }
}

impl Flow {
    /// Sends a token request, within the limits of the back channel, with a proof of this key.
    ///
    /// Repeats it once if the server requires a DPoP nonce, since it has not processed the request then (RFC 9449 §8).
    /// Never repeats it otherwise.
    pub(super) async fn send_token_request(
        &self,
        parameters: FormParameters<'_>,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let metadata = self.server.metadata().await.map_err(FlowError::from)?;
        let endpoint = self.token_endpoint(&metadata)?;
        let sent = self.send_with_nonce(endpoint, parameters, key).await;
        sent.map_err(|error| error.at_endpoint(endpoint))
    }

    async fn send_with_nonce(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let Some(key) = key else {
            return self.send_authenticated(endpoint, parameters).await;
        };
        let first = self.send_with_proof(endpoint, parameters.clone(), key);
        let (response, has_nonce) = first.await?;
        if !requires_nonce(&response) {
            return Ok(response);
        }
        if !has_nonce {
            return Err(FlowError::no_dpop_nonce().into());
        }
        tracing::debug!(
            name: "dpop_nonce_required", target: "tower_oauth::login", issuer = self.server.issuer(),
            "the token endpoint requires a new DPoP nonce: the request is repeated with it"
        );
        let (response, _) = self.send_with_proof(endpoint, parameters, key).await?;
        match requires_nonce(&response) {
            true => Err(FlowError::dpop_nonce_refused().into()),
            false => Ok(response),
        }
    }

    /// Sends a token request with a new proof. Keeps the nonce of the response and returns whether it has one.
    async fn send_with_proof(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
        key: &ProofKey,
    ) -> Result<(Response<Bytes>, bool), TokenRequestError> {
        let mut request = self.authenticated_form(endpoint, parameters).await?;
        let proof = self.token_request_proof(key, request.method(), request.uri())?;
        request.headers_mut().insert(PROOF_FIELD, proof);
        let response = self.send_form(request).await?;
        let issuer = NonceIssuer::AuthorizationServer;
        let has_nonce = self.nonces.learn(issuer, response.headers());
        Ok((response, has_nonce))
    }

    /// Sends a form with client authentication to an endpoint of the authorization server: token, revocation or
    /// pushed authorization requests.
    pub(super) async fn send_authenticated(
        &self,
        endpoint: &str,
        parameters: FormParameters<'_>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let request = self.authenticated_form(endpoint, parameters).await?;
        self.send_form(request).await
    }

    async fn send_form(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        self.server.send(request).await.map_err(|error| {
            let is_not_sent = error.is_not_sent();
            let error = FlowError::from(error);
            match is_not_sent {
                true => TokenRequestError::NotProcessed(error),
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
        endpoint.map_err(|error| {
            let code = match error {
                EndpointError::Missing { .. } => "no_token_endpoint",
                EndpointError::MalformedList(_) => "metadata_malformed",
                EndpointError::Method { .. } => "client_authentication_unsupported",
            };
            FlowError::new(FlowErrorKind::Configuration, code, error.to_string())
        })
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

/// Returns the type of the access tokens that are bound to this key, if any.
pub(super) fn scheme_for(key: Option<&ProofKey>) -> Scheme {
    match key {
        Some(_) => Scheme::Dpop,
        None => Scheme::Bearer,
    }
}

fn requires_nonce(response: &Response<Bytes>) -> bool {
    let rejection = ProofRejection::of_token_response(response.status(), response.body());
    rejection == Some(ProofRejection::NonceRequired)
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
