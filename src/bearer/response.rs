//! Converts a [`Refusal`] to a response for HTTP and gRPC callers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::challenge_params::ChallengeParams;
use super::refusal::{ChallengeHints, Refusal, wire_refusal};
use crate::protocol::credentials::Scheme;
use crate::telemetry;
use crate::token::VerifyErrorKind;

/// The protocol of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireFormat {
    Http,
    /// gRPC or grpc-web, with the content type of the response. The rejection is in `grpc-status`; the HTTP status is
    /// 200 only if the layer is configured for gRPC.
    Grpc(&'static str),
}

impl WireFormat {
    /// Returns the format for a request, by its content type if it is a POST, as every gRPC call is. The caller
    /// chooses both, so they alone never make the status of a rejection a success: a proxy that asks whether a
    /// request is allowed would forward it.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method != Method::POST {
            return Self::Http;
        }
        let content_type = headers
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        // A message format may follow after `+`, parameters after `;`.
        let end = content_type.iter().position(|byte| b"+; ".contains(byte));
        let content_type = &content_type[..end.unwrap_or(content_type.len())];
        GRPC.into_iter()
            .find(|grpc| content_type.eq_ignore_ascii_case(grpc.as_bytes()))
            .map_or(Self::Http, Self::Grpc)
    }
}

const GRPC: [&str; 3] = [
    "application/grpc",
    "application/grpc-web",
    "application/grpc-web-text",
];

/// Creates the response for a refusal, with the refusal in its extensions; logs and counts it once.
pub(crate) fn refuse<R: Default>(
    refusal: Refusal,
    challenge: &ChallengeParams,
    used: Option<Scheme>,
    hints: ChallengeHints<'_>,
    wire_format: WireFormat,
) -> Response<R> {
    let wire = wire_refusal(&refusal);
    let (status, message) = (wire.status, wire.message);
    metric_reason(&refusal).count();
    log(&refusal, status);
    let mut response = Response::new(R::default());
    let headers = response.headers_mut();
    for challenge in wire.challenges(challenge, used, hints) {
        headers.append(WWW_AUTHENTICATE, challenge.to_header_value());
    }
    // A cache could store a rejected gRPC call, which is a 200 with an empty body.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(retry_after) = wire.retry_after {
        headers.insert(RETRY_AFTER, retry_after.as_secs().max(1).into());
    }
    match wire_format {
        WireFormat::Http => {}
        WireFormat::Grpc(content_type) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers.insert("grpc-status", HeaderValue::from_static(grpc_code(status)));
            // The messages are printable ASCII without `%`, so they need no percent-encoding.
            headers.insert("grpc-message", HeaderValue::from_static(message));
        }
    }
    if wire_format == WireFormat::Http || !challenge.trailers_only {
        *response.status_mut() = status;
    }
    response.extensions_mut().insert(refusal);
    response
}

/// Logs the reason, which is more detailed than the response.
fn log(refusal: &Refusal, status: StatusCode) {
    // `Refusal::Token` has its reason in the source.
    let reason: &dyn std::fmt::Display = match refusal {
        Refusal::Token(reason) => reason,
        other => other,
    };
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        let detail = match refusal {
            Refusal::MissingLayer(text) => *text,
            _ => "",
        };
        if !telemetry::may_log("layer_misconfigured", detail) {
            return;
        }
        tracing::error!(
            name: "layer_misconfigured", target: "tower_oauth::bearer", %reason,
            "a layer is missing or misconfigured"
        );
    } else {
        tracing::debug!(
            name: "request_rejected", target: "tower_oauth::bearer", %status, %reason,
            "rejected a request"
        );
    }
}

/// Returns the metric label of a refusal.
fn metric_reason(refusal: &Refusal) -> telemetry::Reason {
    match refusal {
        Refusal::NoCredentials => telemetry::Reason::NoCredentials,
        Refusal::UnsupportedCredentials { .. } => telemetry::Reason::UnsupportedCredentials,
        Refusal::InvalidRequest | Refusal::ForbiddenTrailer => telemetry::Reason::InvalidRequest,
        Refusal::Token(error) => match error.kind() {
            VerifyErrorKind::Unavailable | VerifyErrorKind::StoreUnavailable => {
                telemetry::Reason::Unavailable
            }
            VerifyErrorKind::DpopProof(_) => telemetry::Reason::InvalidDpopProof,
            VerifyErrorKind::DpopNonce => telemetry::Reason::UseDpopNonce,
            _ => telemetry::Reason::InvalidToken,
        },
        Refusal::InsufficientScope { .. } => telemetry::Reason::InsufficientScope,
        Refusal::Policy { .. } => telemetry::Reason::Policy,
        Refusal::InsufficientUserAuthentication => telemetry::Reason::StepUp,
        Refusal::UnlistedMethod => telemetry::Reason::UnlistedMethod,
        Refusal::MissingLayer(_) => telemetry::Reason::Misconfigured,
    }
}

/// Returns UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE or INTERNAL.
fn grpc_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::SERVICE_UNAVAILABLE => "14",
        _ => "13",
    }
}
