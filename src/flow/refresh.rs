//! New tokens for an old session, RFC 6749 §6 and OpenID Connect Core §12.

use bytes::Bytes;
use http::Response;

use super::error::{FlowError, FlowErrorKind};
use super::record::SessionRecord;
use super::settings::Flow;
use super::token_endpoint::NoAnswer;
use crate::clock::unix_seconds;
use crate::issuer::retry_after;
use crate::protocol::token_request::RefreshRequest;
use crate::protocol::token_response::{TokenResponse, TokenResponseError};
use crate::protocol::{AccessToken, Claims, IdToken, OAuthErrorCode, RefreshToken, ScopeSet};
use crate::token::id_token::refreshed::{self, RefreshExpectations};

/// What a refresh brought, after every check.
#[derive(Clone, Debug)]
pub(crate) struct Refreshed {
    pub(crate) access_token: AccessToken,
    /// When it came, in seconds since 1970, as everywhere.
    pub(crate) access_token_since: i64,
    pub(crate) access_token_expires_at: i64,
    /// `None`: the old one stays good (RFC 6749 §6).
    pub(crate) refresh_token: Option<RefreshToken>,
    pub(crate) refresh_token_expires_at: Option<i64>,
    /// What is left of the scopes; `None`: all of them.
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) id_token: Option<(IdToken, Claims)>,
}

/// Why there are no new tokens, sorted by what it says of the refresh token (`L53`).
#[derive(Clone, Debug)]
pub(crate) enum RefreshFailure {
    /// The server does not take this refresh token, and never will again.
    Refused(FlowError),
    /// The tokens are of another server, another person or for another client.
    OtherPerson(FlowError),
    /// The server will not serve this client. The refresh token was not judged.
    Misconfigured(FlowError),
    /// The request was not carried out, and may be another time.
    Unavailable(FlowError),
    /// It may have been carried out or not: no answer came, or one that cannot be used.
    Unclear(FlowError),
}

impl RefreshFailure {
    #[cfg(test)]
    pub(crate) fn error(&self) -> &FlowError {
        let (Self::Refused(error)
        | Self::OtherPerson(error)
        | Self::Misconfigured(error)
        | Self::Unavailable(error)
        | Self::Unclear(error)) = self;
        error
    }

    /// An answer that brings no tokens.
    fn of(error: TokenResponseError) -> Self {
        match &error {
            TokenResponseError::Refused { code, .. } if ends_a_session(code) => {
                Self::Refused(FlowError::refresh_refused(error))
            }
            TokenResponseError::Refused { code, .. } => match code {
                OAuthErrorCode::TemporarilyUnavailable => Self::Unavailable(error.into()),
                // It went wrong in the middle of something.
                OAuthErrorCode::ServerError => Self::Unclear(error.into()),
                _ => Self::Misconfigured(error.into()),
            },
            TokenResponseError::Status(429 | 503) => Self::Unavailable(error.into()),
            // Not of the token endpoint, but of a proxy or a filter before it, or of no endpoint at
            // all.
            TokenResponseError::Status(300..=407 | 409..=499) => Self::Misconfigured(error.into()),
            _ => Self::Unclear(error.into()),
        }
    }
}

/// RFC 6749 §5.2, and what some servers say in its place. An error code that is not known says nothing of
/// the refresh token, so it ends no session.
fn ends_a_session(code: &OAuthErrorCode) -> bool {
    match code {
        OAuthErrorCode::InvalidGrant => true,
        // Entra: a policy wants the person to be there, so no refresh will do until the next login.
        OAuthErrorCode::LoginRequired
        | OAuthErrorCode::InteractionRequired
        | OAuthErrorCode::ConsentRequired => true,
        // Keycloak, of a refresh token that is a JWT and expired; GitHub.
        OAuthErrorCode::Other(code) => matches!(&**code, "JwtToken" | "bad_refresh_token"),
        _ => false,
    }
}

impl Flow {
    /// Sends the refresh token of this session, once. Whether and when it may be sent again is for the
    /// caller to know, who must be the only one to send it.
    pub(crate) async fn refresh(
        &self,
        record: &SessionRecord,
    ) -> Result<Refreshed, RefreshFailure> {
        let refresh_token = record
            .refresh_token()
            .ok_or_else(|| RefreshFailure::Refused(FlowError::no_refresh_token()))?;
        let request = RefreshRequest { refresh_token };
        let answer = match self.ask_token_endpoint(request.parameters()).await {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent(error)) if error.kind() == FlowErrorKind::Configuration => {
                return Err(RefreshFailure::Misconfigured(error));
            }
            Err(NoAnswer::NotSent(error)) => return Err(RefreshFailure::Unavailable(error)),
            Err(NoAnswer::Lost(error)) => return Err(RefreshFailure::Unclear(error.into())),
        };
        let tokens = self.read(&answer)?;
        self.check(record, tokens).await
    }

    fn read(&self, answer: &Response<Bytes>) -> Result<TokenResponse, RefreshFailure> {
        let tokens = TokenResponse::parse(answer.status().as_u16(), answer.body());
        tokens.map_err(|error| match RefreshFailure::of(error) {
            RefreshFailure::Unavailable(error) => {
                RefreshFailure::Unavailable(error.with_retry_after(retry_after(answer.headers())))
            }
            RefreshFailure::Unclear(error) => {
                RefreshFailure::Unclear(error.with_retry_after(retry_after(answer.headers())))
            }
            failure => failure,
        })
    }

    async fn check(
        &self,
        record: &SessionRecord,
        tokens: TokenResponse,
    ) -> Result<Refreshed, RefreshFailure> {
        let claims = match &tokens.id_token {
            None => None,
            Some(id_token) => {
                let expected = RefreshExpectations {
                    client_id: self.client.id(),
                    login_claims: record.claims(),
                    access_token: &tokens.access_token,
                };
                refreshed::verify(&self.server, id_token, &expected)
                    .await
                    // `H83`: with tokens of somebody else nothing here may go on.
                    .map_err(|error| match error.is_another_identity() {
                        true => RefreshFailure::OtherPerson(error.into()),
                        false => RefreshFailure::Unclear(error.into()),
                    })?
            }
        };
        let now = unix_seconds(&**self.clock());
        let after = |seconds: u64| now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
        Ok(Refreshed {
            access_token_since: now,
            // `L54`: a token without a life told is not one without an end.
            access_token_expires_at: after(
                tokens
                    .expires_in
                    .unwrap_or(self.default_token_lifetime.as_secs()),
            ),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            refresh_token_expires_at: tokens.refresh_expires_in.map(after),
            scopes: tokens.scope.map(|scopes| record.scopes().common(&scopes)),
            id_token: tokens.id_token.zip(claims),
        })
    }
}

impl SessionRecord {
    /// The same session with its new tokens.
    ///
    /// The claims stay those of the login: the next ID token is held against them, and may leave out
    /// what they say (`nonce`, `sid`).
    pub(crate) fn refreshed(&self, new: Refreshed, generation: u64) -> Self {
        let (refresh_token, refresh_token_expires_at) = match new.refresh_token {
            Some(rotated) => (Some(rotated), new.refresh_token_expires_at),
            None => (
                self.refresh_token().cloned(),
                new.refresh_token_expires_at
                    .or_else(|| self.refresh_token_expires_at()),
            ),
        };
        let id_token = new.id_token.map(|(id_token, _)| id_token);
        self.with_tokens(Tokens {
            generation,
            scopes: new.scopes.unwrap_or_else(|| self.scopes().clone()),
            access_token: new.access_token,
            access_token_since: new.access_token_since,
            access_token_expires_at: new.access_token_expires_at,
            refresh_token,
            refresh_token_expires_at,
            id_token: id_token.or_else(|| self.id_token().cloned()),
        })
    }
}

/// The part of a session that a refresh changes.
pub(super) struct Tokens {
    pub(super) generation: u64,
    pub(super) scopes: ScopeSet,
    pub(super) access_token: AccessToken,
    pub(super) access_token_since: i64,
    pub(super) access_token_expires_at: i64,
    pub(super) refresh_token: Option<RefreshToken>,
    pub(super) refresh_token_expires_at: Option<i64>,
    pub(super) id_token: Option<IdToken>,
}
