//! Revocation of the tokens of an ended session (RFC 7009).

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use tracing::Instrument as _;

use super::error::FlowError;
use super::request_deadline::RequestDeadline;
use super::settings::Flow;
use crate::clock::within;
use crate::issuer::{EndpointError, describe};
use crate::protocol::OAuthErrorCode;
use crate::protocol::endpoint::ServerEndpoint;
use crate::record::{SessionRecord, SessionTokens};
use crate::telemetry::may_log;

/// How long a sign-out waits for the requests.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of a revocation request.
enum RevocationResult {
    /// The token is revoked, or was already invalid (RFC 7009 §2.2).
    Revoked,
    /// The server does not revoke tokens of this type (RFC 7009 §2.2.1).
    Unsupported,
    /// The request failed. Further requests are not sent.
    Failed(Cow<'static, str>),
}

impl Flow {
    /// Revokes the refresh token and then the access tokens of a session. With the refresh token a server should
    /// also invalidate the access tokens of the same grant (RFC 7009 §2.1).
    ///
    /// Sends a request once more only if the server rejected a credential of the client that has changed since. Never
    /// retries otherwise, not even on 503: the session has ended in any case, its tokens are deleted here and expire at
    /// the authorization server. Waits at most two seconds; the requests continue in a task of their own.
    pub(crate) async fn revoke(&self, record: &SessionRecord) {
        self.revoke_tokens(record.tokens().clone()).await;
    }

    /// The same for tokens without a session.
    pub(super) async fn revoke_tokens(&self, tokens: SessionTokens) {
        let flow = self.clone();
        let revocation = async move {
            if let Err(reason) = flow.revoke_all(&tokens).await {
                log_failure(&reason);
            }
        };
        let revocation = tokio::spawn(revocation.in_current_span());
        within(&**self.clock(), WAIT_TIMEOUT, revocation).await;
    }

    async fn revoke_all(&self, tokens: &SessionTokens) -> Result<(), Cow<'static, str>> {
        let metadata = self.server.metadata().await;
        let metadata = metadata.map_err(|error| error.to_string())?;
        let endpoint = match self.client.endpoint(&metadata, ServerEndpoint::Revocation) {
            Ok(endpoint) => endpoint,
            Err(error @ EndpointError::Missing { .. }) => {
                self.warn_of_missing_endpoint(&error);
                return Ok(());
            }
            Err(error) => return Err(error.to_string().into()),
        };
        let refresh_token = tokens.refresh_token.as_ref();
        let refresh_token = refresh_token.map(|token| (token.expose(), "refresh_token"));
        let access_token = (tokens.access_token.expose(), "access_token");
        let further = tokens.resource_tokens.iter();
        let further = further.map(|one| (one.access_token.expose(), "access_token"));
        let all = refresh_token
            .into_iter()
            .chain([access_token])
            .chain(further);
        for (token, hint) in all {
            match self.revoke_one(endpoint, token, hint).await {
                RevocationResult::Revoked => {}
                RevocationResult::Unsupported => tracing::debug!(
                    name: "revocation_unsupported", target: "tower_oauth::login", hint,
                    "the authorization server does not revoke tokens of this type"
                ),
                RevocationResult::Failed(found) => {
                    return Err(describe("POST", endpoint, found, "").into());
                }
            }
        }
        Ok(())
    }

    /// Logs once that tokens cannot be revoked.
    fn warn_of_missing_endpoint(&self, error: &EndpointError) {
        if self.missing_revocation_warning.is_first() {
            tracing::warn!(
                name: "revocation_endpoint_missing",
                target: "tower_oauth::login",
                issuer = self.server.issuer(),
                %error,
                "the tokens of ended sessions are not revoked and stay valid until they expire"
            );
        }
    }

    /// Sends a revocation request, with client authentication as at the token endpoint (RFC 7009 §2.1).
    async fn revoke_one(
        &self,
        endpoint: &str,
        token: &str,
        hint: &'static str,
    ) -> RevocationResult {
        let parameters = vec![
            ("token", Cow::Borrowed(token)),
            ("token_type_hint", Cow::Borrowed(hint)),
        ];
        let deadline = RequestDeadline::start(self.clock());
        let request = self.send_authenticated(endpoint, parameters, None, &deadline);
        let response = match deadline.run(request).await {
            Ok(response) => response,
            Err(error) => {
                return RevocationResult::Failed(FlowError::from(error).to_string().into());
            }
        };
        let status = response.status();
        if status == StatusCode::OK {
            return RevocationResult::Revoked;
        }
        let code = OAuthErrorCode::of_body(response.body());
        let name = code.as_ref().map(OAuthErrorCode::as_str);
        if status == StatusCode::BAD_REQUEST && name == Some("unsupported_token_type") {
            return RevocationResult::Unsupported;
        }
        let is_of_client = status == StatusCode::UNAUTHORIZED
            || status.is_client_error() && code == Some(OAuthErrorCode::InvalidClient);
        let advice = match is_of_client {
            true => self.client.rejection_advice(),
            false => "",
        };
        let error = name.map_or_else(String::new, |name| format!(", error {name}"));
        let found = format!("status {}{error}, expected 200{advice}", status.as_u16());
        RevocationResult::Failed(found.into())
    }
}

fn log_failure(reason: &str) {
    if may_log("revocation_failed", "") {
        tracing::warn!(
            name: "revocation_failed", target: "tower_oauth::login", reason,
            "failed to revoke the tokens of a session"
        );
    }
}
