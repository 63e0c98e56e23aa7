//! The end of a login: validation of the tokens (OpenID Connect Core §3.1.3.3, §3.1.3.7).

use super::callback::AuthorizationGrant;
use super::error::FlowError;
use super::settings::Flow;
use crate::clock::unix_seconds;
use crate::protocol::Claims;
use crate::protocol::token_response::TokenResponse;
use crate::record::{NewRecord, SessionId, SessionRecord, SessionTokens, SubjectSource};
use crate::token::id_token::{self, LoginExpectations};

impl Flow {
    /// Completes the login with the tokens of the token response.
    ///
    /// No token is used before the ID token is verified, whose nonce binds the code to this browser (RFC 9700
    /// §4.5.3.2).
    pub(crate) async fn complete(
        &self,
        grant: AuthorizationGrant,
        mut tokens: TokenResponse,
    ) -> Result<SessionRecord, FlowError> {
        let transaction = &grant.transaction;
        // RFC 6749 §5.1: the requested scopes, unless the response has `scope`.
        let scopes = match tokens.scope.take() {
            Some(scopes) => self.granted_scopes(scopes),
            None => self.scopes.clone(),
        };
        let now = unix_seconds(&**self.clock());
        let (access_token_expires_at, refresh_token_expires_at) = self.expiry_of(&tokens, now);
        let mut session_tokens = SessionTokens {
            resource: self.main_resource().cloned(),
            scopes,
            access_token: tokens.access_token,
            access_token_since: now,
            access_token_expires_at,
            refresh_token: tokens.refresh_token,
            refresh_token_expires_at,
            // A server without OpenID Connect that sends one has not said what it means: it identifies no user.
            id_token: tokens.id_token.filter(|_| !self.has_identity_source()),
            proof_key: self.proof_key(&transaction.secret)?,
            // RFC 9396 §7: the response says what was granted. Without it, nothing is known to be.
            authorization_details: tokens.authorization_details.unwrap_or_default(),
            resource_tokens: Vec::new(),
        };
        let claims = match &self.identity {
            Some(source) => self.identified_claims(source, &session_tokens).await,
            None => self.verified_claims(&grant, &session_tokens).await,
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => {
                // These tokens will never be used.
                self.revoke_tokens(session_tokens).await;
                return Err(error);
            }
        };
        session_tokens.refresh_token =
            (session_tokens.refresh_token).filter(|_| self.keeps_refresh_tokens);
        Ok(SessionRecord::new(NewRecord {
            id: SessionId::new(self.random().bytes()?),
            entry: self.entry(),
            subject_source: match &self.identity {
                Some(_) => SubjectSource::Userinfo,
                None => SubjectSource::IdToken,
            },
            now: unix_seconds(&**self.clock()),
            claims,
            tokens: session_tokens,
        }))
    }

    /// Verifies the ID token of these tokens and returns its claims.
    async fn verified_claims(
        &self,
        grant: &AuthorizationGrant,
        tokens: &SessionTokens,
    ) -> Result<Claims, FlowError> {
        // OpenID Connect Core §3.1.3.3: required, since the request had the scope `openid`.
        let id_token = tokens.id_token.as_ref();
        let id_token = id_token.ok_or_else(FlowError::no_id_token)?;
        let AuthorizationGrant {
            transaction,
            state,
            code,
            ..
        } = grant;
        let expected = LoginExpectations {
            settings: self.id_tokens(),
            client_id: self.client.id(),
            nonce: Some(&transaction.secret.nonce()),
            access_token: &tokens.access_token,
            code,
            state,
            max_age: transaction.max_age,
            started_at: transaction.started_at,
            acr_values: transaction.acr_values.as_ref(),
            claims: [&self.claim_requirements(), &transaction.claims],
        };
        Ok(id_token::verify(&self.server, id_token, &expected).await?)
    }
}
