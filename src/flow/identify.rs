//! Logins of users whom an identity source names.

use super::error::{FlowError, FlowErrorKind};
use super::identity::{Identity, IdentityError, SharedIdentitySource, UserApi};
use super::settings::Flow;
use super::start_request::StartRequest;
use crate::clock::unix_seconds;
use crate::issuer::call_application;
use crate::protocol::{AccessToken, Claims, ScopeSet};

impl<R> Flow<R> {
    /// Returns whether users are identified by a source, and not by an ID token.
    pub(crate) fn has_identity_source(&self) -> bool {
        self.identity.is_some()
    }
}

impl Flow {
    /// Asks the source for the user of an access token that was just issued to this client.
    pub(super) async fn identify(
        &self,
        source: &SharedIdentitySource,
        token: &AccessToken,
        scopes: &ScopeSet,
    ) -> Result<Identity, IdentityError> {
        let api = UserApi::new(&self.server, token.clone(), scopes.clone());
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
        token: &AccessToken,
        scopes: &ScopeSet,
    ) -> Result<Claims, FlowError> {
        let identity = self.identify(source, token, scopes).await?;
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
        let has_claims =
            !self.claim_requirements().is_empty() || request.requested_claims.is_some();
        if request.max_age.is_none() && request.acr_values.is_none() && !has_claims {
            return Ok(());
        }
        let (code, message) = (
            "login_unconfirmable",
            "the login requests max_age, acr_values or claims, which only an ID token confirms, and the provider issues \
             none: remove the requirement, or use another provider for it",
        );
        Err(match request.is_of_a_link() {
            true => FlowError::request(code, message),
            false => FlowError::settings(code, message),
        })
    }
}
