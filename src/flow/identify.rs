//! Logins of users whom an identity source names.

use bytes::Bytes;
use http::{Request, Uri};

use super::api_request::ApiRequestError;
use super::dpop::{CredentialsError, RejectedProof};
use super::error::{FlowError, FlowErrorKind};
use super::identity::{
    Identity, IdentityError, ResponseFuture, SendUserRequest, SharedIdentitySource, UserApi,
};
use super::settings::Flow;
use super::start_request::StartRequest;
use crate::clock::unix_seconds;
use crate::issuer::call_application;
use crate::protocol::Claims;
use crate::record::SessionTokens;

impl<R> Flow<R> {
    /// Returns whether users are identified by a source, and not by an ID token.
    pub(crate) fn has_identity_source(&self) -> bool {
        self.identity.is_some()
    }
}

/// Sends the requests of a source.
struct TokenSender {
    flow: Flow,
    tokens: SessionTokens,
}

impl SendUserRequest for TokenSender {
    fn send<'a>(&'a self, request: &'a Request<Bytes>) -> ResponseFuture<'a> {
        Box::pin(async {
            let (token, key) = (&self.tokens.access_token, self.tokens.proof_key.as_ref());
            let response = self.flow.send_with_token(request, token, key).await;
            response.map_err(|error| error_of(request.uri(), error))
        })
    }
}

fn error_of(url: &Uri, error: ApiRequestError) -> IdentityError {
    match error {
        ApiRequestError::BackChannel(error) => IdentityError::of_back_channel(url, &error),
        ApiRequestError::Credentials(CredentialsError::Unusable) => {
            IdentityError::invalid_response(
                "the access token cannot be sent: it is not a b64token (RFC 6750 §2.1)",
            )
        }
        ApiRequestError::Credentials(CredentialsError::NoProof(error)) => {
            IdentityError::unavailable(format!("GET {url}: {error}"))
        }
        ApiRequestError::Proof(RejectedProof::Invalid) => IdentityError::configuration(format!(
            "GET {url}: the API rejected the DPoP proof; check that the clock of this machine is right"
        )),
        ApiRequestError::Proof(RejectedProof::NewNonce) => {
            IdentityError::invalid_response(format!(
                "GET {url}: the API requires a DPoP nonce and rejected the one that it had sent"
            ))
        }
        ApiRequestError::Proof(RejectedProof::NoNonce) => IdentityError::invalid_response(format!(
            "GET {url}: the API requires a DPoP nonce and sent no valid `DPoP-Nonce`"
        )),
    }
}

impl Flow {
    /// Asks the source for the user of an access token that was just issued to this client.
    pub(super) async fn identify(
        &self,
        source: &SharedIdentitySource,
        tokens: &SessionTokens,
    ) -> Result<Identity, IdentityError> {
        let api = UserApi::new(
            TokenSender {
                flow: self.clone(),
                tokens: tokens.clone(),
            },
            tokens.scopes.clone(),
        );
        let identified = call_application(&**self.clock(), source.identify(&api)).await;
        let identity = identified.unwrap_or_else(|reason| {
            let error = IdentityError::unavailable(format!("the identity source: {reason}"));
            Err(error.after(api.last_request()))
        })?;
        match identity.has_valid_subject() {
            true => Ok(identity),
            false => Err(IdentityError::invalid_response(
                "the identity source returned a subject that is empty, longer than 255 bytes or not ASCII",
            )),
        }
    }

    /// Returns the claims of the session of this access token.
    pub(super) async fn identified_claims(
        &self,
        source: &SharedIdentitySource,
        tokens: &SessionTokens,
    ) -> Result<Claims, FlowError> {
        let identity = self.identify(source, tokens).await?;
        let now = unix_seconds(&**self.clock());
        // The reserved issuer of the configured metadata: no ID token names another.
        let claims = identity.session_claims(self.server.issuer(), now);
        claims.ok_or_else(|| {
            IdentityError::invalid_response(
                "the identity source returned claims that are nested too deeply or of another type than registered",
            )
            .into()
        })
    }

    /// Rejects a login that requests what only an ID token can confirm: it would look as if it had been checked.
    pub(super) fn check_confirmable(&self, request: &StartRequest) -> Result<(), FlowError> {
        if !self.has_identity_source() {
            return Ok(());
        }
        if request.prompt.as_deref() == Some("none") {
            return Err(FlowError::new(
                FlowErrorKind::NotSignedIn,
                "silent_login_unsupported",
                "a login without interaction (prompt=none) is not possible at a provider without OpenID Connect",
            ));
        }
        const CODE: &str = "login_unconfirmable";
        let has_claims = request.requested_claims.is_some();
        // Another provider may confirm it, so that is no mistake of the configuration.
        if request.max_age.is_some() || request.acr_values.is_some() || has_claims {
            return Err(FlowError::request(
                CODE,
                "the login requests max_age, acr_values or claims, which only an ID token confirms, and the provider \
                 issues none: remove the requirement, or use another provider for it",
            ));
        }
        if !self.claim_requirements().is_empty() {
            return Err(FlowError::settings(
                CODE,
                "`with_requested_claims` requires claims that only an ID token confirms, and the provider issues none: \
                 remove it",
            ));
        }
        Ok(())
    }
}
