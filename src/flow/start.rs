//! The start of a login: the authorization URL and the transaction.

use std::fmt;

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use super::start_request::StartRequest;
use super::token_endpoint::well_formed;
use super::transaction::{Destination, LoginSecret, StateDigest, Transaction};
use crate::clock::unix_seconds;
use crate::crypto::{base64url, digest};
use crate::protocol::authorization_request::{AuthorizationRequest, CodeRequest};
use crate::protocol::metadata::{CHALLENGE_METHODS, PROTECTION_OF_LOGINS};
use crate::protocol::pkce::CodeChallenge;
use crate::protocol::sanitize::listed;
use crate::protocol::{AuthorizationDetails, CodeVerifier, Metadata, State};

/// A started login.
pub(crate) struct StartedLogin {
    /// The URL to redirect the browser to. It contains `state` and `nonce`.
    pub(crate) location: String,
    pub(crate) transaction: Transaction,
}

/// Omits the location, which contains secrets.
impl fmt::Debug for StartedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartedLogin")
            .field("transaction", &self.transaction)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// Returns an error unless a login could be started now.
    pub(crate) async fn ready(&self) -> Result<(), FlowError> {
        let metadata = self.server.metadata().await?;
        self.check_login(&metadata, None)?;
        let available = self.client.check_available(&**self.clock()).await;
        Ok(available?)
    }

    /// Starts a login with this `state`, and a new `nonce` and code verifier of 256 bits each.
    pub(crate) async fn start(
        &self,
        state: &State,
        request: StartRequest,
    ) -> Result<StartedLogin, FlowError> {
        let metadata = self.server.metadata().await?;
        self.check_login(&metadata, request.authorization_details.as_ref())?;
        request.check(&metadata)?;
        let is_of_a_link = request.is_of_a_link();
        let request = self.with_requirements(request)?;
        self.check_confirmable(&request)?;
        let acr_values = request.acr_values()?;

        let transaction = Transaction {
            state: StateDigest::of(state),
            secret: LoginSecret::new(self.random().bytes()?),
            destination: Destination::new(self.server.issuer(), self.redirect.as_str()),
            started_at: unix_seconds(&**self.clock()),
            by_person: request.by_person,
            purpose: request.purpose,
            silent: request.prompt.as_deref() == Some("none"),
            max_age: request.max_age,
            claims: request.claim_requirements(acr_values.as_ref())?,
            page: request.page,
            acr_values,
            replaces: request.replaces,
        };
        let authorization = self.authorization_request(state, &transaction.secret, &request)?;
        let location = self.send_request(&metadata, &authorization, request.purpose);
        let location = location.await;
        let location = location.map_err(|error| match is_of_a_link {
            true => error.caused_by_parameters(),
            false => error,
        })?;
        Ok(StartedLogin {
            location,
            transaction,
        })
    }

    /// Returns an error unless a login with these authorization details, in addition to those of every login, is possible
    /// at this server, before the user signs in there.
    fn check_login(
        &self,
        metadata: &Metadata,
        details: Option<&AuthorizationDetails>,
    ) -> Result<(), FlowError> {
        well_formed(metadata, &PROTECTION_OF_LOGINS)?;
        self.check_fapi2_login(metadata)?;
        check_pkce(metadata)?;
        self.check_sendable(metadata)?;
        self.check_dpop(metadata)?;
        self.access.check(details, metadata)?;
        self.token_endpoint(metadata).map(|_| ())
    }

    /// Returns what is asked: all parameters of the authorization request.
    fn authorization_request(
        &self,
        state: &State,
        secret: &LoginSecret,
        request: &StartRequest,
    ) -> Result<AuthorizationRequest, FlowError> {
        let nonce = secret.nonce();
        let mut authorization = AuthorizationRequest::new(CodeRequest {
            client_id: self.client.id(),
            redirect_uri: self.redirect.as_str(),
            scope: &self.scopes.to_string(),
            state,
            nonce: (!self.has_identity_source()).then_some(&nonce),
            code_challenge: &challenge(&secret.verifier())?,
        });
        if let Some(mode) = self.response_mode().name() {
            authorization.add("response_mode", mode);
        }
        if let Some(thumbprint) = self.proof_key_thumbprint(secret)? {
            authorization.add("dpop_jkt", &thumbprint);
        }
        request.add_to(&mut authorization);
        self.access.add_to(
            request.authorization_details.as_ref(),
            request.requested_claims.as_ref(),
            &mut authorization,
        );
        for (name, value) in &self.parameters {
            authorization.add_configured(name, value);
        }
        Ok(authorization)
    }
}

/// Rejects a server that lists PKCE methods without `S256`, since it would not check the challenge (RFC 9700
/// §2.1.1). A server that lists no methods receives the challenge; `state` and `nonce` protect the login as well.
fn check_pkce(metadata: &Metadata) -> Result<(), FlowError> {
    match metadata.code_challenge_methods_supported() {
        Some(methods) if !methods.iter().any(|method| method == "S256") => Err(FlowError::new(
            FlowErrorKind::Configuration,
            "pkce_unsupported",
            format!(
                "{CHALLENGE_METHODS} of the metadata is {}, expected a list with S256",
                listed(methods.iter().map(String::as_str))
            ),
        )),
        _ => Ok(()),
    }
}

/// Computes the code challenge with the method `S256` (RFC 7636 §4.2).
fn challenge(verifier: &CodeVerifier) -> Result<CodeChallenge, FlowError> {
    let digest = digest::sha256(verifier.expose().as_bytes());
    CodeChallenge::parse(&base64url::encode(&digest)).map_err(|error| {
        // Unreachable: the encoding of a digest of 32 bytes is always valid.
        FlowError::new(FlowErrorKind::Internal, "code_challenge", error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_of_rfc_7636_appendix_b_is_computed() {
        let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let challenge = challenge(&verifier).unwrap();
        assert_eq!(
            challenge.as_str(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
