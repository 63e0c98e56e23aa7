//! The second step: the browser is back, and either somebody signed in or nobody did.
//!
//! It has two halves, and the token request stands between them. The first says whether there is a code to redeem
//! and costs next to nothing, so that it can be done for everybody; the second validates what the code brought.

use super::error::FlowError;
use super::record::{NewRecord, SessionRecord};
use super::session_id::SessionId;
use super::settings::Flow;
use super::transaction::Transaction;
use crate::clock::unix_seconds;
use crate::protocol::AuthorizationCode;
use crate::protocol::authorization_response::{AuthorizationOutcome, AuthorizationResponse};
use crate::protocol::token_response::TokenResponse;
use crate::token::id_token::{self, LoginExpectations};

/// A response that fits its login and brings a code, which is good for one token request.
#[derive(Debug)]
pub(crate) struct Grant {
    transaction: Transaction,
    code: AuthorizationCode,
}

impl Grant {
    pub(super) fn code(&self) -> &AuthorizationCode {
        &self.code
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}

impl Flow {
    /// Everything before the token request (`L11`).
    ///
    /// The transaction and the response are taken by value: whatever comes out, neither can be used
    /// again. A response that does not fit its transaction fetches nothing; one that does not name its
    /// issuer may wait for the metadata.
    pub(crate) async fn accept(
        &self,
        transaction: Transaction,
        response: AuthorizationResponse,
    ) -> Result<Grant, FlowError> {
        self.check_binding(&transaction, &response)?;
        self.check_issuer(&response).await?;
        let code = code_of(response, transaction.silent)?;
        Ok(Grant { transaction, code })
    }

    /// RFC 6749 §10.12, RFC 9700 §4.4.2 (`H08`, `L19`): this browser's login, young enough, at this
    /// server and for this redirect URI.
    fn check_binding(
        &self,
        transaction: &Transaction,
        response: &AuthorizationResponse,
    ) -> Result<(), FlowError> {
        if transaction.state != *response.state() {
            return Err(FlowError::request(
                "state_mismatch",
                "the state is of another login",
            ));
        }
        if transaction.expired(unix_seconds(&**self.clock())) {
            return Err(FlowError::request(
                "transaction_expired",
                "the login took too long",
            ));
        }
        if transaction.issuer != self.server.issuer()
            || transaction.redirect_uri != self.redirect_uri
        {
            return Err(FlowError::request(
                "transaction_elsewhere",
                "the login was started at another authorization server or for another redirect URI",
            ));
        }
        Ok(())
    }

    /// RFC 9207 §2.4 (`L15`, `H14`): who answers is whom we asked, byte for byte, for errors as well;
    /// and a server that always says its name is not silent.
    async fn check_issuer(&self, response: &AuthorizationResponse) -> Result<(), FlowError> {
        match response.issuer() {
            Some(issuer) if issuer == self.server.issuer() => Ok(()),
            Some(_) => Err(FlowError::request(
                "issuer_mismatch",
                "the response is of another authorization server",
            )),
            None => {
                let metadata = self.server.metadata().await?;
                if metadata.authorization_response_iss_parameter_supported() {
                    return Err(FlowError::request(
                        "issuer_missing",
                        "the response does not name its authorization server",
                    ));
                }
                Ok(())
            }
        }
    }

    /// Completes the login with what the code brought.
    ///
    /// No token is used before the ID token was found good (RFC 9700 §4.5.3.2).
    pub(crate) async fn complete(
        &self,
        grant: Grant,
        tokens: TokenResponse,
    ) -> Result<SessionRecord, FlowError> {
        let Grant { transaction, code } = &grant;
        // OpenID Connect Core §3.1.3.3: with `openid` there is one.
        let id_token = tokens.id_token.ok_or_else(FlowError::no_id_token)?;
        let expected = LoginExpectations {
            client_id: self.client.id(),
            nonce: Some(&transaction.nonce),
            access_token: &tokens.access_token,
            code,
            state: &transaction.state,
            max_age: transaction.max_age,
            started_at: transaction.started_at,
            acr_values: transaction.acr_values.as_deref(),
        };
        let claims = id_token::verify(&self.server, &id_token, &expected).await?;

        let now = unix_seconds(&**self.clock());
        let lifetime = tokens
            .expires_in
            .unwrap_or(self.default_token_lifetime.as_secs());
        Ok(SessionRecord::new(NewRecord {
            id: SessionId::new(self.random().bytes()?),
            now,
            claims,
            // RFC 6749 §5.1: what was asked for, unless the server says something else.
            scopes: tokens.scope.unwrap_or_else(|| self.scopes.clone()),
            access_token: tokens.access_token,
            access_token_expires_at: now
                .saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX)),
            refresh_token: tokens.refresh_token,
            refresh_token_expires_at: tokens
                .refresh_expires_in
                .map(|lifetime| now.saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX))),
            id_token,
        }))
    }
}

/// RFC 6749 §4.1.2.1 (`L16`, `H17`): an error is an error, whatever stands beside it.
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
