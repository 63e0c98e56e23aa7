//! Revocation of the tokens of a session that is over, RFC 7009.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use super::record::SessionRecord;
use super::settings::Flow;
use crate::clock::within;
use crate::protocol::json::parse_object;
use crate::telemetry::may_log;

/// How long both requests may take together.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of a request to the revocation endpoint.
enum Answer {
    /// The token is good for nothing any more, or never was (RFC 7009 §2.2): which, nobody is told.
    Revoked,
    /// The server does not revoke tokens of this kind (RFC 7009 §2.2.1).
    Unsupported,
    /// No use in asking on.
    Failed(Cow<'static, str>),
}

impl Flow {
    /// Tells the server that the tokens of a session are not needed any more: the refresh token first,
    /// with which a server ends the access tokens of its grant too, then the access token.
    ///
    /// The session is over whatever comes of it, so nothing is tried again, not even where the server
    /// asks for patience (503): the tokens are forgotten here and expire there. A server without a
    /// revocation endpoint is not asked. It takes two seconds at most.
    pub(crate) async fn revoke(&self, record: &SessionRecord) {
        let outcome = within(&**self.clock(), PATIENCE, self.revoke_all(record)).await;
        let reason = match outcome {
            Some(Ok(())) => return,
            Some(Err(reason)) => reason,
            None => Cow::Borrowed("no answer in time"),
        };
        if may_log("revocation_failed", "") {
            tracing::warn!(target: "tower_oauth::login", event = "revocation_failed", %reason);
        }
    }

    async fn revoke_all(&self, record: &SessionRecord) -> Result<(), Cow<'static, str>> {
        let metadata = self.server.metadata().await;
        let metadata = metadata.map_err(|error| error.to_string())?;
        let Some(endpoint) = metadata.revocation_endpoint() else {
            return Ok(());
        };
        let refresh_token = record
            .refresh_token()
            .map(|token| (token.expose(), "refresh_token"));
        let access_token = (record.access_token().expose(), "access_token");
        for (token, hint) in refresh_token.into_iter().chain([access_token]) {
            match self.revoke_one(endpoint, token, hint).await {
                Answer::Revoked => {}
                Answer::Unsupported => {
                    tracing::debug!(
                        target: "tower_oauth::login", event = "revocation_unsupported", hint
                    );
                }
                Answer::Failed(reason) => return Err(reason),
            }
        }
        Ok(())
    }

    /// RFC 7009 §2.1: who asks proves who they are, as at the token endpoint.
    async fn revoke_one(&self, endpoint: &str, token: &str, hint: &'static str) -> Answer {
        let parameters = vec![
            ("token", Cow::Borrowed(token)),
            ("token_type_hint", Cow::Borrowed(hint)),
        ];
        let request = match self.authenticated_form(endpoint, parameters) {
            Ok(request) => request,
            Err(error) => return Answer::Failed(error.to_string().into()),
        };
        let answer = match self.server.send(request).await {
            Ok(answer) => answer,
            Err(error) => return Answer::Failed(error.to_string().into()),
        };
        match answer.status() {
            StatusCode::OK => Answer::Revoked,
            StatusCode::BAD_REQUEST if is_unsupported(answer.body()) => Answer::Unsupported,
            status => Answer::Failed(format!("the answer has status {}", status.as_u16()).into()),
        }
    }
}

fn is_unsupported(body: &[u8]) -> bool {
    parse_object(body).is_ok_and(|answer| {
        let error = answer.member("error").and_then(|error| error.as_str());
        error == Some("unsupported_token_type")
    })
}
