//! A refusal as a response, for HTTP and gRPC callers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::challenge_params::ChallengeParams;
use super::refusal::{ChallengeHints, Refusal, answer};
use crate::protocol::credentials::Scheme;
use crate::telemetry;
use crate::token::VerifyErrorKind;

/// How the caller wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireFormat {
    Http,
    /// gRPC: the refusal is in `grpc-status`, and the HTTP status is 200 if the layer was told that it protects
    /// gRPC. Clients in browsers (grpc-web) are answered with their own content type.
    Grpc(&'static str),
}

impl WireFormat {
    /// By the content type of a POST, which every gRPC call is. The caller chooses both, so this alone never
    /// makes the status of a refusal a success: a proxy that asks whether a request may pass would let it pass.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        if method != Method::POST {
            return Self::Http;
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        // The format of the messages may follow behind a plus, parameters behind a semicolon.
        let end = kind.iter().position(|byte| b"+; ".contains(byte));
        let kind = &kind[..end.unwrap_or(kind.len())];
        GRPC.into_iter()
            .find(|one| kind.eq_ignore_ascii_case(one.as_bytes()))
            .map_or(Self::Http, Self::Grpc)
    }
}

const GRPC: [&str; 3] = [
    "application/grpc",
    "application/grpc-web",
    "application/grpc-web-text",
];

/// Answers with a refusal, logs it once, and leaves it in the extensions.
pub(crate) fn refuse<R: Default>(
    refusal: Refusal,
    protection: &ChallengeParams,
    used: Option<Scheme>,
    demand: ChallengeHints<'_>,
    speech: WireFormat,
) -> Response<R> {
    let answer = answer(&refusal);
    let (status, message) = (answer.status, answer.message);
    reason(&refusal).count();
    log(&refusal, status);
    let mut response = Response::new(R::default());
    let headers = response.headers_mut();
    for challenge in answer.challenges(protection, used, demand) {
        headers.append(WWW_AUTHENTICATE, challenge.to_header_value());
    }
    // To a cache in between, a refused gRPC call is a 200 with an empty body.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = answer.retry_after {
        headers.insert(RETRY_AFTER, wait.as_secs().max(1).into());
    }
    match speech {
        WireFormat::Http => {}
        WireFormat::Grpc(kind) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert("grpc-status", HeaderValue::from_static(grpc_code(status)));
            // The sentences are plain ASCII without `%`, so they need no percent-encoding.
            headers.insert("grpc-message", HeaderValue::from_static(message));
        }
    }
    if speech == WireFormat::Http || !protection.trailers_only {
        *response.status_mut() = status;
    }
    response.extensions_mut().insert(refusal);
    response
}

/// One line for each refusal; what leaves the process does not say as much.
fn log(refusal: &Refusal, status: StatusCode) {
    // The outer error says only that it was the token.
    let reason: &dyn std::fmt::Display = match refusal {
        Refusal::Token(reason) => reason,
        other => other,
    };
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        let detail = match refusal {
            Refusal::MissingLayer(text) => *text,
            _ => "",
        };
        if !telemetry::may_log("misconfigured", detail) {
            return;
        }
        tracing::error!(name: "misconfigured", target: "tower_oauth::bearer", %reason, "misconfigured");
    } else {
        tracing::debug!(name: "refused", target: "tower_oauth::bearer", %status, %reason, "refused");
    }
}

/// The label of a refusal in the counts of them.
fn reason(refusal: &Refusal) -> telemetry::Reason {
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

/// UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE or INTERNAL.
fn grpc_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::SERVICE_UNAVAILABLE => "14",
        _ => "13",
    }
}
