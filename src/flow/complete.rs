//! The end of a login: validation of the tokens (OpenID Connect Core §3.1.3.3, §3.1.3.7).

use super::callback::AuthorizationGrant;
use super::error::FlowError;
use super::settings::Flow;
use crate::clock::unix_seconds;
use crate::protocol::token_response::TokenResponse;
use crate::protocol::{Claims, IdToken};
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
        let (claims, id_token) = match &self.identity {
            Some(source) => {
                let claims = self.identified_claims(source, &tokens.access_token, &scopes);
                let claims = claims.await?;
                (claims, None)
            }
            None => {
                let (claims, id_token) = self.verified_claims(&grant, &mut tokens).await?;
                (claims, Some(id_token))
            }
        };

        let now = unix_seconds(&**self.clock());
        let (access_token_expires_at, refresh_token_expires_at) = self.expiry_of(&tokens, now);
        Ok(SessionRecord::new(NewRecord {
            id: SessionId::new(self.random().bytes()?),
            entry: self.entry(),
            subject_source: match &self.identity {
                Some(_) => SubjectSource::Userinfo,
                None => SubjectSource::IdToken,
            },
            now,
            claims,
            tokens: SessionTokens {
                resource: self.main_resource().cloned(),
                scopes,
                access_token: tokens.access_token,
                access_token_since: now,
                access_token_expires_at,
                refresh_token: tokens.refresh_token.filter(|_| self.keeps_refresh_tokens),
                refresh_token_expires_at,
                id_token,
                proof_key: self.proof_key(&transaction.secret)?,
                // RFC 9396 §7: the response says what was granted. Without it, nothing is known to be.
                authorization_details: tokens.authorization_details.unwrap_or_default(),
                resource_tokens: Vec::new(),
            },
        }))
    }
    /// Verifies the ID token of the response and returns its claims.
    async fn verified_claims(
        &self,
        grant: &AuthorizationGrant,
        tokens: &mut TokenResponse,
    ) -> Result<(Claims, IdToken), FlowError> {
        let AuthorizationGrant {
            transaction,
            state,
            code,
            ..
        } = grant;
        // OpenID Connect Core §3.1.3.3: required, since the request had the scope `openid`.
        let id_token = tokens.id_token.take().ok_or_else(FlowError::no_id_token)?;
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
        let claims = id_token::verify(&self.server, &id_token, &expected).await?;
        Ok((claims, id_token))
    }
}
