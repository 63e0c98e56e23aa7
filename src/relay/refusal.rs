//! What the relay says itself: a problem (RFC 9457), since only scripts are answered, and a line in the log.

use std::error::Error;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::target::TargetError;
use super::websocket::HandshakeError;
use crate::login::LoginContext;
use crate::protocol::sanitize::log_safe;
use crate::session::SessionError;
use crate::telemetry::may_log;

/// A response before it gets the body type of a relay.
pub(super) type RelayResponse = Response<Bytes>;

const TARGET: &str = "tower_oauth::relay";

pub(super) fn invalid_target(reason: TargetError, path: &str) -> RelayResponse {
    match reason {
        TargetError::NotBelowPrefix => problem(
            StatusCode::NOT_FOUND,
            "not_relayed",
            "Nothing is relayed from here.",
        ),
        TargetError::Ambiguous(found) => {
            let path = log_safe(path);
            tracing::debug!(target: TARGET, event = "relay_refused_path", %found, path);
            problem(
                StatusCode::BAD_REQUEST,
                "unclear_path",
                "This path can be read as another one.",
            )
        }
    }
}

/// RFC 6455 §4.2.2: 426 names the version that would do.
pub(super) fn invalid_handshake(flaw: HandshakeError) -> RelayResponse {
    tracing::debug!(target: TARGET, event = "relay_refused_upgrade", found = %flaw);
    let status = match flaw {
        HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
        HandshakeError::NoConnection => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut answer = problem(
        status,
        "upgrade_refused",
        "Only WebSocket handshakes over HTTP/1.1 are relayed.",
    );
    if flaw == HandshakeError::Version {
        let headers = answer.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    answer
}

pub(super) fn not_executable() -> RelayResponse {
    problem(
        StatusCode::FORBIDDEN,
        "not_to_run",
        "What is relayed is data, and no script or style sheet.",
    )
}

pub(super) fn method_not_allowed(allowed: HeaderValue) -> RelayResponse {
    let mut answer = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_relayed",
        "This method is not relayed.",
    );
    // RFC 9110 §15.5.6.
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}

/// An ended session is for the person to mend; an outage mends itself, and nobody is logged out for it.
pub(super) fn token_unavailable(
    error: &SessionError,
    context: &LoginContext,
    headers: &HeaderMap,
) -> RelayResponse {
    let (status, retry_after) = match error {
        SessionError::Unavailable { retry_after, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, *retry_after)
        }
        SessionError::Refused { retry_after, .. } => (StatusCode::BAD_GATEWAY, *retry_after),
        _ => {
            tracing::debug!(target: TARGET, event = "relay_without_token", reason = %error);
            return context.login_required_for_script(headers);
        }
    };
    if may_log(
        "relay_without_token",
        status.canonical_reason().unwrap_or_default(),
    ) {
        tracing::warn!(target: TARGET, event = "relay_without_token", reason = %error);
    }
    let mut answer = problem(
        status,
        "token_unavailable",
        "The sign-in service gives no access token at the moment.",
    );
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let seconds = seconds.max(1).into();
    answer.headers_mut().insert(RETRY_AFTER, seconds);
    answer
}

/// The upstream cannot be reached, or what it says is no answer.
pub(super) fn bad_gateway(reason: &str) -> RelayResponse {
    if may_log("relay_failed", "bad_gateway") {
        tracing::warn!(target: TARGET, event = "relay_failed", reason);
    }
    problem(
        StatusCode::BAD_GATEWAY,
        "upstream_failed",
        "The service behind did not answer.",
    )
}

pub(super) fn unreachable(error: &(dyn Error + 'static)) -> RelayResponse {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    bad_gateway(&reason)
}

pub(super) fn timed_out() -> RelayResponse {
    if may_log("relay_failed", "too_late") {
        tracing::warn!(target: TARGET, event = "relay_failed", reason = "no answer in time");
    }
    problem(
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_too_late",
        "The service behind did not answer in time.",
    )
}

fn problem(status: StatusCode, code: &'static str, title: &'static str) -> RelayResponse {
    let problem = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "code": code,
    });
    let mut answer = Response::new(Bytes::from(problem.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let content_type = HeaderValue::from_static("application/problem+json");
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
