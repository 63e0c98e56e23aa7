//! The callback: validation of the authorization response (RFC 6749 §4.1.2).
//!
//! This is cheap, so it can be done for every caller; only a valid response leads to a token request.

use super::error::FlowError;
use super::settings::Flow;
use super::token_endpoint::well_formed;
use super::transaction::{Destination, StateDigest, Transaction};
use crate::clock::unix_seconds;
use crate::protocol::authorization_response::{AuthorizationOutcome, AuthorizationResponse};
use crate::protocol::metadata::ISS_PARAMETER;
use crate::protocol::sanitize::log_safe;
use crate::protocol::{AuthorizationCode, State};
use crate::record::UserDigest;

/// A validated authorization response with a code, which can be redeemed in one token request.
#[derive(Debug)]
pub(crate) struct AuthorizationGrant {
    pub(super) transaction: Transaction,
    pub(super) state: State,
    pub(super) code: AuthorizationCode,
    unverified_user: Option<String>,
}

impl AuthorizationGrant {
    /// Identifies the login.
    pub(crate) fn state(&self) -> StateDigest {
        self.transaction.state
    }

    /// Takes what the response says about the user. It is not signed.
    pub(crate) fn take_unverified_user(&mut self) -> Option<String> {
        self.unverified_user.take()
    }

    /// Returns the only user who can complete the login, if there is one.
    pub(crate) fn required_user(&self) -> Option<UserDigest> {
        self.transaction.required_user()
    }
}

impl Flow {
    /// Validates an authorization response against the transaction of its login, before the token request.
    ///
    /// Consumes both, so that neither can be used again. A response that does not match its transaction causes
    /// no request. A response without `iss` may have to wait for the metadata.
    pub(crate) async fn accept(
        &self,
        transaction: Transaction,
        response: AuthorizationResponse,
    ) -> Result<AuthorizationGrant, FlowError> {
        self.check_binding(&transaction, &response)?;
        self.check_issuer(&response).await?;
        let state = response.state().clone();
        let unverified_user = response.unverified_user().map(str::to_owned);
        let code = code_of(response, transaction.silent);
        let resources = self.resources().iter().map(|one| &**one);
        let code = code.map_err(|error| error.with_advice_on_access(resources))?;
        Ok(AuthorizationGrant {
            transaction,
            state,
            code,
            unverified_user,
        })
    }

    /// Checks that the response belongs to a recent login of this browser, at this authorization server and for
    /// this redirect URI (RFC 6749 §10.12, RFC 9700 §4.4.2).
    fn check_binding(
        &self,
        transaction: &Transaction,
        response: &AuthorizationResponse,
    ) -> Result<(), FlowError> {
        if transaction.state != StateDigest::of(response.state()) {
            return Err(FlowError::request(
                "state_mismatch",
                "the state belongs to another login",
            ));
        }
        if transaction.expired(unix_seconds(&**self.clock()), self.login_time_limit) {
            return Err(FlowError::request(
                "transaction_expired",
                "the login took too long",
            ));
        }
        if transaction.destination != Destination::new(self.server.issuer(), self.redirect.as_str())
        {
            return Err(FlowError::request(
                "transaction_elsewhere",
                "the login was started at another authorization server or for another redirect URI",
            ));
        }
        Ok(())
    }

    /// Checks that the response comes from the expected issuer (RFC 9207 §2.4), for error responses as well.
    /// Compares byte for byte, and requires `iss` if the server declares that it always sends it.
    async fn check_issuer(&self, response: &AuthorizationResponse) -> Result<(), FlowError> {
        match response.issuer() {
            Some(issuer) if self.issuers().contains(&issuer) => Ok(()),
            Some(issuer) => Err(FlowError::request(
                "issuer_mismatch",
                format!(
                    "the response comes from another authorization server: iss is {}, expected {}",
                    log_safe(issuer),
                    log_safe(self.server.issuer())
                ),
            )),
            None => {
                let metadata = self.server.metadata().await?;
                well_formed(&metadata, &[ISS_PARAMETER])?;
                // FAPI 2.0 Security Profile §5.3.3.2: always, also if the metadata changed during the login.
                let is_required = self.is_fapi2() && !self.response_mode().is_signed();
                if is_required || metadata.authorization_response_iss_parameter_supported() {
                    return Err(FlowError::request(
                        "issuer_missing",
                        "the response does not name its issuer",
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Returns the code of a response, or the error that it reports (RFC 6749 §4.1.2.1).
fn code_of(response: AuthorizationResponse, silent: bool) -> Result<AuthorizationCode, FlowError> {
    match response.into_outcome() {
        AuthorizationOutcome::Code(code) => Ok(code),
        AuthorizationOutcome::Error { code, description } => {
            Err(FlowError::refused(code, description, silent))
        }
        AuthorizationOutcome::Nothing => Err(FlowError::request(
            "code_missing",
            "the response has neither a code nor an error",
        )),
    }
}
