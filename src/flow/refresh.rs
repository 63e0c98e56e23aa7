//! Refresh of the tokens of a session (RFC 6749 §6, OpenID Connect Core §12).

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use super::token_endpoint::{TokenRequestError, log_ignored, scheme_for};
use crate::clock::unix_seconds;
use crate::issuer::retry_after;
use crate::protocol::credentials::Scheme;
use crate::protocol::token_request::RefreshRequest;
use crate::protocol::token_response::{TokenResponse, TokenResponseError};
use crate::protocol::{
    AccessToken, AuthorizationDetails, Claims, IdToken, OAuthErrorCode, RefreshToken, ScopeSet,
};
use crate::record::{ResourceToken, SessionRecord};
use crate::token::id_token::refreshed::{self, RefreshExpectations};

/// Which access tokens a refresh replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefreshTarget {
    /// That of the session.
    Session,
    /// That of the session. Those of further resources are discarded, and requested again when they are needed.
    All,
    /// That of a further resource (RFC 8707 §2.2).
    Resource(Arc<str>),
}

/// The verified result of a refresh.
#[derive(Clone, Debug)]
pub(crate) struct Refreshed {
    target: RefreshTarget,
    /// The resource of the access token, if it is that of the session.
    resource: Option<Arc<str>>,
    /// `None` if the response has no usable one.
    pub(crate) access_token: Option<NewAccessToken>,
    /// `None` means that the previous refresh token stays valid (RFC 6749 §6).
    pub(crate) refresh_token: Option<RefreshToken>,
    pub(crate) refresh_token_expires_at: Option<i64>,
    /// The remaining scopes of the session, or those of the resource. `None` means that they are unchanged.
    pub(crate) scopes: Option<ScopeSet>,
    authorization_details: Option<AuthorizationDetails>,
    pub(crate) id_token: Option<(IdToken, Claims)>,
}

#[derive(Clone, Debug)]
pub(crate) struct NewAccessToken {
    token: AccessToken,
    /// The time at which it was received, in seconds since the Unix epoch.
    since: i64,
    expires_at: i64,
}

/// Why a refresh failed, classified by what is known about the refresh token.
#[derive(Clone, Debug)]
pub(crate) enum RefreshFailure {
    /// The authorization server rejected the refresh token permanently.
    Refused(FlowError),
    /// The tokens are not for this session: their ID token is of another user or forged, or their type differs. They
    /// must not be used, and the session must end.
    NotForSession(FlowError),
    /// The status is 400 without an error code. Some servers reject a refresh token with it, but so may a proxy.
    Unexplained(FlowError),
    /// The authorization server rejected the client. The refresh token was not validated.
    Misconfigured(FlowError),
    /// The request was not processed and can be retried.
    Unavailable(FlowError),
    /// The request may have been processed: there was no response, or it cannot be used.
    Unclear(FlowError),
}

impl RefreshFailure {
    /// Returns the name of the class, and the error.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (&'static str, &FlowError) {
        match self {
            Self::Refused(error) => ("refused", error),
            Self::NotForSession(error) => ("not for the session", error),
            Self::Unexplained(error) => ("unexplained", error),
            Self::Misconfigured(error) => ("misconfigured", error),
            Self::Unavailable(error) => ("unavailable", error),
            Self::Unclear(error) => ("unclear", error),
        }
    }

    /// Classifies a response without tokens.
    fn of(error: TokenResponseError) -> Self {
        match &error {
            TokenResponseError::Refused { code, .. } if ends_a_session(code) => {
                Self::Refused(FlowError::refresh_refused(error))
            }
            TokenResponseError::Refused { code, .. } => match code {
                OAuthErrorCode::TemporarilyUnavailable => Self::Unavailable(error.into()),
                // The server failed while it processed the request.
                OAuthErrorCode::ServerError => Self::Unclear(error.into()),
                _ => Self::Misconfigured(error.into()),
            },
            // RFC 9449 §5: a client must not use a token of another type than the one it asked for.
            TokenResponseError::TokenType(_) => Self::NotForSession(error.into()),
            TokenResponseError::Status(429 | 503) => Self::Unavailable(error.into()),
            TokenResponseError::Status(400) => Self::Unexplained(error.into()),
            // Sent by a proxy or a firewall, or the URL is not a token endpoint.
            TokenResponseError::Status(300..=407 | 409..=499) => Self::Misconfigured(error.into()),
            _ => Self::Unclear(error.into()),
        }
    }
}

/// Returns whether an error code rejects the refresh token permanently: the code of RFC 6749 §5.2, and codes that
/// some servers send instead. Unknown codes do not end a session, since they are not about the refresh token.
fn ends_a_session(code: &OAuthErrorCode) -> bool {
    match code {
        OAuthErrorCode::InvalidGrant => true,
        // Entra: a policy requires user interaction, so refreshes fail until the next login.
        OAuthErrorCode::LoginRequired
        | OAuthErrorCode::InteractionRequired
        | OAuthErrorCode::ConsentRequired => true,
        // Keycloak, for an expired refresh token that is a JWT; GitHub.
        OAuthErrorCode::Other(code) => matches!(&**code, "JwtToken" | "bad_refresh_token"),
        _ => false,
    }
}

impl Flow {
    /// Sends the refresh token of this session once.
    ///
    /// The caller must ensure that a refresh token is sent by one task at a time, and decides on retries: a
    /// server that rotates refresh tokens treats a second use as theft (RFC 9700 §4.14.2).
    pub(crate) async fn refresh(
        &self,
        record: &SessionRecord,
        target: RefreshTarget,
    ) -> Result<Refreshed, RefreshFailure> {
        let refresh_token = record
            .tokens()
            .refresh_token
            .as_ref()
            .ok_or_else(|| RefreshFailure::Refused(FlowError::no_refresh_token()))?;
        let resource = match &target {
            RefreshTarget::Resource(resource) => Some(&**resource),
            RefreshTarget::Session | RefreshTarget::All => self.main_resource().map(|one| &**one),
        };
        let request = RefreshRequest {
            refresh_token,
            resource,
        };
        // RFC 9449 §5: every refresh has a proof. The refresh token of a public client is bound to the key.
        let key = record.tokens().proof_key.as_ref();
        let response = match self.send_token_request(request.parameters(), key).await {
            Ok(response) => response,
            Err(TokenRequestError::NotSent(error) | TokenRequestError::NotProcessed(error)) => {
                return Err(match error.kind() {
                    FlowErrorKind::Configuration => RefreshFailure::Misconfigured(error),
                    _ => RefreshFailure::Unavailable(error),
                });
            }
            Err(TokenRequestError::NoResponse(error)) => {
                return Err(RefreshFailure::Unclear(error));
            }
        };
        let tokens = read(&response, scheme_for(key)).map_err(|failure| match failure {
            RefreshFailure::Misconfigured(error) => {
                let error = error.with_advice_for(&self.client);
                RefreshFailure::Misconfigured(error.with_advice_on_access(resource))
            }
            failure => failure,
        })?;
        log_ignored(&tokens, self.server.issuer());
        self.check(record, target, tokens).await
    }

    async fn check(
        &self,
        record: &SessionRecord,
        target: RefreshTarget,
        tokens: TokenResponse<Option<AccessToken>>,
    ) -> Result<Refreshed, RefreshFailure> {
        let now = unix_seconds(&**self.clock());
        let (access_token_expires_at, refresh_token_expires_at) = self.expiry_of(&tokens, now);
        // A server without OpenID Connect that sends one has not said what it means: it identifies no user.
        let id_token = tokens.id_token.filter(|_| !self.has_identity_source());
        let claims = match &id_token {
            None => None,
            Some(id_token) => {
                let expected = RefreshExpectations {
                    settings: self.id_tokens(),
                    client_id: self.client.id(),
                    login_claims: record.claims(),
                    access_token: tokens.access_token.as_ref(),
                };
                refreshed::verify(&self.server, id_token, &expected)
                    .await
                    // OpenID Connect Core §12.2: tokens that are forged or of another identity must not be used.
                    .map_err(|error| RefreshFailure::NotForSession(error.into()))?
            }
        };
        let is_same_resource = record.tokens().resource.as_ref() == self.main_resource();
        Ok(Refreshed {
            resource: self.main_resource().cloned(),
            access_token: tokens.access_token.map(|token| NewAccessToken {
                token,
                since: now,
                expires_at: access_token_expires_at,
            }),
            refresh_token: tokens.refresh_token,
            refresh_token_expires_at,
            scopes: tokens.scope.map(|scopes| self.granted_scopes(scopes)).map(
                |scopes| match target {
                    // The scopes of another resource need not be among those of the first.
                    RefreshTarget::Resource(_) => scopes,
                    RefreshTarget::Session | RefreshTarget::All if !is_same_resource => scopes,
                    // RFC 6749 §6: a refresh cannot add scopes.
                    RefreshTarget::Session | RefreshTarget::All => {
                        record.tokens().scopes.intersection(&scopes)
                    }
                },
            ),
            authorization_details: tokens.authorization_details,
            target,
            id_token: id_token.zip(claims),
        })
    }
}

fn read(
    response: &Response<Bytes>,
    scheme: Scheme,
) -> Result<TokenResponse<Option<AccessToken>>, RefreshFailure> {
    let status = response.status().as_u16();
    let tokens = TokenResponse::parse_refresh(status, response.body(), scheme);
    let retry_after = retry_after(response.headers());
    tokens.map_err(|error| match RefreshFailure::of(error) {
        RefreshFailure::Unavailable(error) => {
            RefreshFailure::Unavailable(error.with_retry_after(retry_after))
        }
        RefreshFailure::Unclear(error) => {
            RefreshFailure::Unclear(error.with_retry_after(retry_after))
        }
        failure => failure,
    })
}

impl Refreshed {
    /// Returns the record with the new tokens.
    ///
    /// The claims stay those of the login: later ID tokens are compared with them and may omit some (`nonce`,
    /// `sid`; OpenID Connect Core §12.2).
    pub(crate) fn applied_to(&self, record: &SessionRecord, generation: u64) -> SessionRecord {
        let mut tokens = record.tokens().clone();
        match &self.target {
            RefreshTarget::Resource(resource) => {
                if let Some(new) = &self.access_token {
                    let scopes = self.scopes.as_ref().unwrap_or(&tokens.scopes);
                    tokens.set_resource_token(ResourceToken {
                        resource: resource.as_ref().to_owned(),
                        access_token: new.token.clone(),
                        since: new.since,
                        expires_at: new.expires_at,
                        scopes: scopes.clone(),
                    });
                }
            }
            target => {
                if let Some(new) = &self.access_token {
                    tokens.resource.clone_from(&self.resource);
                    tokens.access_token = new.token.clone();
                    tokens.access_token_since = new.since;
                    tokens.access_token_expires_at = new.expires_at;
                }
                if let Some(scopes) = &self.scopes {
                    tokens.scopes = scopes.clone();
                }
                if let Some(details) = &self.authorization_details {
                    tokens.authorization_details = details.clone();
                }
                if *target == RefreshTarget::All {
                    tokens.resource_tokens.clear();
                }
            }
        }
        // They take room in cookies.
        if let Some(new) = &self.access_token {
            tokens
                .resource_tokens
                .retain(|token| token.expires_at > new.since);
        }
        if let Some((id_token, _)) = &self.id_token {
            tokens.id_token = Some(id_token.clone());
        }
        // The lifetime of a rotated token is unknown unless the response has it.
        if self.refresh_token.is_some() || self.refresh_token_expires_at.is_some() {
            tokens.refresh_token_expires_at = self.refresh_token_expires_at;
        }
        if let Some(rotated) = &self.refresh_token {
            tokens.refresh_token = Some(rotated.clone());
        }
        record.with_tokens(tokens, generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(status: u16, body: &str) -> (&'static str, &'static str) {
        let response = Response::builder().status(status);
        let response = response.body(Bytes::from(body.to_owned())).unwrap();
        let failure = read(&response, Scheme::Bearer).unwrap_err();
        let (name, error) = failure.parts();
        (name, error.code())
    }

    #[test]
    fn failures_are_classified_by_the_state_of_the_refresh_token() {
        for (expected, responses) in [
            (
                ("refused", "refresh_refused"),
                &[
                    (400, r#"{"error":"invalid_grant"}"#),
                    // Keycloak, an expired JWT.
                    (400, r#"{"error":"JwtToken"}"#),
                    // GitHub.
                    (200, r#"{"error":"bad_refresh_token"}"#),
                    // Entra, a policy.
                    (400, r#"{"error":"interaction_required"}"#),
                    (400, r#"{"error":"login_required"}"#),
                    (400, r#"{"error":"consent_required"}"#),
                ][..],
            ),
            (
                ("misconfigured", "client_refused"),
                &[
                    (401, r#"{"error":"invalid_client"}"#),
                    (400, r#"{"error":"unauthorized_client"}"#),
                    (400, r#"{"error":"unsupported_grant_type"}"#),
                    (400, r#"{"error":"invalid_scope"}"#),
                ],
            ),
            (
                ("misconfigured", "token_endpoint_error"),
                &[
                    (400, r#"{"error":"invalid_request"}"#),
                    (400, r#"{"error":"access_denied"}"#),
                    (400, r#"{"error":"invalid_grants"}"#),
                    (400, r#"{"error":{"a":"invalid_grant"}}"#),
                ],
            ),
            (
                ("misconfigured", "dpop_proof_refused"),
                &[
                    (400, r#"{"error":"use_dpop_nonce"}"#),
                    (400, r#"{"error":"invalid_dpop_proof"}"#),
                ],
            ),
            (
                ("misconfigured", "token_endpoint_status"),
                &[(401, ""), (302, "")],
            ),
            (
                ("unexplained", "token_endpoint_status"),
                &[(400, "<html>"), (400, "")],
            ),
            (
                ("unavailable", "token_endpoint_unavailable"),
                &[(429, ""), (503, "<html>")],
            ),
            (
                ("unavailable", "token_endpoint_busy"),
                &[(503, r#"{"error":"temporarily_unavailable"}"#)],
            ),
            (
                ("unclear", "token_endpoint_error"),
                &[(500, r#"{"error":"server_error"}"#)],
            ),
            (
                ("unclear", "token_endpoint_unavailable"),
                &[(500, ""), (502, "<html>")],
            ),
            (
                ("unclear", "token_endpoint_status"),
                &[
                    (408, ""),
                    (201, r#"{"access_token":"a","token_type":"Bearer"}"#),
                ],
            ),
            (
                ("unclear", "token_response_malformed"),
                &[(200, "<html>"), (200, "")],
            ),
            (
                ("not for the session", "token_type"),
                &[(200, r#"{"access_token":"a","token_type":"DPoP"}"#)],
            ),
            (
                ("unclear", "token_response_member"),
                &[(200, r#"{"access_token":"","token_type":"Bearer"}"#)],
            ),
        ] {
            for (status, body) in responses {
                assert_eq!(classify(*status, body), expected, "{status} {body}");
            }
        }
    }
}
