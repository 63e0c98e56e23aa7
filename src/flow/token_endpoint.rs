//! Requests to the token endpoint with client authentication, for all grant types.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::authenticated_request::SendError;
use super::dpop::NonceIssuer;
use super::error::{FlowError, FlowErrorKind};
use super::request_deadline::{DeadlinePassed, RequestDeadline};
use super::settings::Flow;
use crate::clock::seconds_after;
use crate::crypto::ProofKey;
use crate::issuer::{EndpointError, FormParameters};
use crate::protocol::Metadata;
use crate::protocol::credentials::Scheme;
use crate::protocol::dpop::ProofRejection;
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::token_response::{Lifetime, TokenResponse};
use crate::telemetry::may_log;

/// The lifetime of an access token whose `expires_in` is malformed, unless the configured default is shorter.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60);

/// A token request without a response.
#[derive(Debug)]
pub(super) enum TokenRequestError {
    /// There is no request: there are no metadata or no credentials.
    NotSent(FlowError),
    /// The back channel could not send the request, or the server did not process it for lack of a DPoP nonce.
    NotProcessed(FlowError),
    /// The request may have been sent, but no readable response was received.
    NoResponse(FlowError),
}

impl TokenRequestError {
    fn new(error: SendError, endpoint: &str) -> Self {
        let create = match &error {
            SendError::NotAuthenticated(_) => Self::NotSent,
            SendError::BackChannel(error) if error.is_not_sent() => Self::NotProcessed,
            SendError::BackChannel(_) | SendError::NoResponse(_) => Self::NoResponse,
        };
        create(FlowError::from(error).at_endpoint(endpoint))
    }
}

impl From<DeadlinePassed> for TokenRequestError {
    fn from(passed: DeadlinePassed) -> Self {
        match passed.is_unanswered {
            true => Self::NoResponse(passed.into()),
            false => Self::NotSent(passed.into()),
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
            TokenRequestError::NotSent(error)
            | TokenRequestError::NotProcessed(error)
            | TokenRequestError::NoResponse(error) => error,
        }
    }
}

impl Flow {
    /// Sends a token request, with a proof of this key. Takes at most 7 seconds with all repeats.
    ///
    /// Repeats it once if the server requires a DPoP nonce, since it has not processed the request then (RFC 9449 §8), and
    /// once if the server rejected a credential that has changed since (RFC 6749 §3.2.1). Never repeats it otherwise, nor
    /// late: another process may have the lease of the session by then.
    pub(super) async fn send_token_request(
        &self,
        parameters: FormParameters<'_>,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let deadline = RequestDeadline::start(self.clock());
        let request = self.send_token_request_before(&deadline, parameters, key);
        deadline.run(request).await
    }

    async fn send_token_request_before(
        &self,
        deadline: &RequestDeadline<'_>,
        parameters: FormParameters<'_>,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, TokenRequestError> {
        let metadata = self.server.metadata().await.map_err(FlowError::from)?;
        let endpoint = self.token_endpoint(&metadata)?;
        let send = |parameters| async {
            let response = self.send_authenticated(endpoint, parameters, key, deadline);
            let response = response.await;
            response.map_err(|error| TokenRequestError::new(error, endpoint))
        };
        if key.is_none() {
            return send(parameters).await;
        }
        let learn = |response: &Response<Bytes>| {
            let issuer = NonceIssuer::AuthorizationServer;
            self.nonces.learn(issuer, response.headers())
        };
        let response = send(parameters.clone()).await?;
        let has_nonce = learn(&response);
        if !requires_nonce(&response) {
            return Ok(response);
        }
        if !has_nonce {
            return Err(TokenRequestError::NotProcessed(
                FlowError::no_dpop_nonce().at_endpoint(endpoint),
            ));
        }
        if !deadline.permits_repeat() {
            return Err(TokenRequestError::NotProcessed(
                FlowError::dpop_nonce_late().at_endpoint(endpoint),
            ));
        }
        tracing::debug!(
            name: "dpop_nonce_required", target: "tower_oauth::login", issuer = self.server.issuer(),
            "the token endpoint requires a new DPoP nonce: the request is repeated with it"
        );
        let response = send(parameters).await?;
        learn(&response);
        match requires_nonce(&response) {
            true => Err(TokenRequestError::NotProcessed(
                FlowError::dpop_nonce_refused().at_endpoint(endpoint),
            )),
            false => Ok(response),
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
