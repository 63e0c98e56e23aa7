//! Responses of the relay itself: problem documents (RFC 9457), since its callers are scripts, and
//! log events.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::target::TargetError;
use super::websocket::HandshakeError;
use crate::flow::RejectedProof;
use crate::login::LoginContext;
use crate::login::set_retry_after;
use crate::protocol::sanitize::log_safe;
use crate::session::SessionError;
use crate::telemetry::may_log;

/// A response before its body is converted to the body type of the relay.
pub(super) type RelayResponse = Response<Bytes>;

const TARGET: &str = "tower_oauth::relay";

pub(super) fn invalid_target(reason: TargetError, path: &str) -> RelayResponse {
    match reason {
        TargetError::NotBelowPrefix => problem(
            StatusCode::NOT_FOUND,
            "not_relayed",
            "This path is not relayed.",
        ),
        TargetError::Ambiguous(found) => {
            let path = log_safe(path);
            tracing::debug!(
                name: "relay_path_rejected", target: TARGET, reason = %found, path,
                "rejected an ambiguous path"
            );
            problem(
                StatusCode::BAD_REQUEST,
                "unclear_path",
                "The path is ambiguous.",
            )
        }
    }
}

/// RFC 6455 §4.2.2: 426 with the supported version.
pub(super) fn invalid_handshake(error: HandshakeError) -> RelayResponse {
    tracing::debug!(
        name: "relay_upgrade_rejected", target: TARGET, reason = %error,
        "rejected an upgrade that is not a WebSocket handshake"
    );
    let status = match error {
        HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
        HandshakeError::NoConnection => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = problem(
        status,
        "upgrade_refused",
        "Only WebSocket handshakes over HTTP/1.1 are relayed.",
    );
    if error == HandshakeError::Version {
        let headers = response.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    response
}

pub(super) fn executable_destination() -> RelayResponse {
    problem(
        StatusCode::FORBIDDEN,
        "not_to_run",
        "Relayed responses cannot be loaded as scripts or style sheets.",
    )
}

pub(super) fn method_not_allowed(allowed: HeaderValue) -> RelayResponse {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_relayed",
        "This method is not relayed.",
    );
    // RFC 9110 §15.5.6.
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// An ended session needs a new login. An outage does not, and signs the user out of nothing.
pub(super) fn token_unavailable(
    error: &SessionError,
    context: &LoginContext,
    headers: &HeaderMap,
) -> RelayResponse {
    let (status, retry_after) = match error {
        SessionError::Unavailable { retry_after, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after))
        }
        SessionError::Refused { retry_after, .. } => (StatusCode::BAD_GATEWAY, Some(*retry_after)),
        // A retry would find the same token.
        SessionError::UnusableAccessToken | SessionError::NoRefreshToken => {
            (StatusCode::BAD_GATEWAY, None)
        }
        SessionError::UnknownResource { .. } => (StatusCode::INTERNAL_SERVER_ERROR, None),
        _ => {
            tracing::debug!(
                name: "relay_token_unavailable", target: TARGET, reason = %error,
                "the session has no usable access token"
            );
            return context.login_required_for_script(headers);
        }
    };
    if may_log(
        "relay_token_unavailable",
        status.canonical_reason().unwrap_or_default(),
    ) {
        tracing::warn!(
            name: "relay_token_unavailable", target: TARGET, reason = %error,
            "the session has no usable access token"
        );
    }
    let mut response = problem(
        status,
        "token_unavailable",
        "No access token is available right now.",
    );
    if let Some(wait) = retry_after {
        set_retry_after(response.headers_mut(), wait);
    }
    response
}

/// The upstream cannot be reached, or its response is not valid.
pub(super) fn bad_gateway(reason: &str) -> RelayResponse {
    if may_log("relay_upstream_failed", "bad_gateway") {
        tracing::warn!(
            name: "relay_upstream_failed", target: TARGET, reason,
            "the upstream did not respond, or its response is not valid"
        );
    }
    problem(
        StatusCode::BAD_GATEWAY,
        "upstream_failed",
        "The upstream service did not respond.",
    )
}

/// The upstream names a URL that the relay does not forward to.
pub(super) fn foreign_location(reason: &str) -> RelayResponse {
    if may_log("relay_location_rejected", "") {
        tracing::warn!(
            name: "relay_location_rejected", target: TARGET, reason,
            "the upstream sent a `Location` that is not relayed"
        );
    }
    problem(
        StatusCode::BAD_GATEWAY,
        "location_not_relayed",
        "The upstream service redirects to an address that is not relayed.",
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

/// The browser did not send the whole body in time.
pub(super) fn body_too_late(limit: Duration) -> RelayResponse {
    body_rejected(&format!(
        "it did not arrive within {limit:?}; see `Relay::with_timeout`"
    ));
    problem(
        StatusCode::REQUEST_TIMEOUT,
        "body_too_late",
        "The request was not received in time.",
    )
}

pub(super) fn unreadable_body(reason: &str) -> RelayResponse {
    body_rejected(reason);
    problem(
        StatusCode::BAD_REQUEST,
        "unreadable_body",
        "The request could not be read.",
    )
}

fn body_rejected(reason: &str) {
    tracing::debug!(
        name: "relay_body_rejected", target: TARGET, reason,
        "a request body could not be read before it was sent"
    );
}

/// The upstream requires a DPoP nonce, which is known now, and the body cannot be sent again.
pub(super) fn send_again() -> RelayResponse {
    tracing::debug!(
        name: "relay_not_repeated", target: TARGET,
        "the upstream requires a DPoP nonce, and the request body was too long to be kept: the browser must send it again"
    );
    let mut response = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "send_again",
        "Please send the request again.",
    );
    set_retry_after(response.headers_mut(), Duration::from_secs(1));
    response
}

/// The upstream rejected the proof of a request, which the browser cannot correct.
pub(super) fn proof_rejected(rejected: RejectedProof) -> RelayResponse {
    bad_gateway(match rejected {
        RejectedProof::NewNonce => {
            "it rejected the DPoP nonce that it had just sent (use_dpop_nonce twice)"
        }
        RejectedProof::NoNonce => {
            "it requires a DPoP nonce (use_dpop_nonce), and sent no valid `DPoP-Nonce`"
        }
        RejectedProof::Invalid => {
            "it rejected the DPoP proof (invalid_dpop_proof): check that the clock of this machine is right"
        }
    })
}

pub(super) fn timed_out() -> RelayResponse {
    if may_log("relay_upstream_failed", "timeout") {
        tracing::warn!(
            name: "relay_upstream_failed", target: TARGET, reason = "timeout",
            "the upstream did not respond in time"
        );
    }
    problem(
        StatusCode::GATEWAY_TIMEOUT,
        "upstream_too_late",
        "The upstream service did not respond in time.",
    )
}

fn problem(status: StatusCode, code: &'static str, title: &'static str) -> RelayResponse {
    let problem = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "code": code,
    });
    let mut response = Response::new(Bytes::from(problem.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static("application/problem+json");
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
