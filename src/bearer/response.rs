//! Converts a [`Refusal`] to a response for HTTP and gRPC callers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::challenge::ChallengeParams;
use super::refusal::{Refusal, wire_refusal};
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

/// The parts of a request that the response to it depends on.
#[derive(Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl<'a> From<&'a Parts> for RequestHead<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

impl ChallengeParams {
    /// Creates the response to a rejected request, and calls the application's hook. Every place that rejects a request
    /// calls this exactly once. `used` is the scheme whose challenge contains the error; `None` for all of them.
    pub(crate) fn refuse<'a>(
        &self,
        refusal: Refusal,
        used: Option<Scheme>,
        request: impl Into<RequestHead<'a>>,
    ) -> Box<Response<()>> {
        let RequestHead {
            method,
            uri,
            headers,
            ..
        } = request.into();
        self.on_refusal.call(&refusal, method, uri);
        self.respond(refusal, used, WireFormat::of(method, headers))
    }

    /// Creates the response for a refusal, with the refusal in its extensions; logs and counts it once.
    pub(crate) fn respond(
        &self,
        refusal: Refusal,
        used: Option<Scheme>,
        wire_format: WireFormat,
    ) -> Box<Response<()>> {
        let wire = wire_refusal(&refusal);
        metric_reason(&refusal).count();
        if let Refusal::Token(error) = &refusal {
            error.kind().counter().count();
        }
        log(&refusal, wire.status);
        let mut response = Response::new(());
        let headers = response.headers_mut();
        for challenge in self.challenges(&refusal, used) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        // A cache could store a rejected gRPC call, which is a 200 with an empty body.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry_after) = wire.retry_after {
            headers.insert(RETRY_AFTER, retry_after.as_secs().max(1).into());
        }
        if let WireFormat::Grpc(content_type) = wire_format {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            let code = HeaderValue::from_static(grpc_code(wire.status));
            headers.insert("grpc-status", code);
            // The messages are printable ASCII without `%`, so they need no percent-encoding.
            if let Ok(message) = HeaderValue::try_from(wire.message) {
                headers.insert("grpc-message", message);
            }
        }
        if wire_format == WireFormat::Http || !self.trailers_only {
            *response.status_mut() = wire.status;
        }
        response.extensions_mut().insert(refusal);
        Box::new(response)
    }
}

/// Logs the reason, which is more detailed than the response.
fn log(refusal: &Refusal, status: StatusCode) {
    let kind = match refusal {
        Refusal::Token(error) => error.kind().counter().label(),
        other => metric_reason(other).label(),
    };
    // The cause of an outage says more than that there is one.
    let reason: &dyn std::fmt::Display = match refusal {
        Refusal::Token(error) => match error.unavailable() {
            Some(cause) => cause,
            None => error,
        },
        other => other,
    };
    // The failure behind `Refusal::Token` was logged where it happened.
    let is_logged = matches!(refusal, Refusal::Token(_));
    if status == StatusCode::INTERNAL_SERVER_ERROR && !is_logged {
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
            name: "request_rejected", target: "tower_oauth::bearer", %status, kind, %reason,
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
            VerifyErrorKind::Configuration => telemetry::Reason::Misconfigured,
            VerifyErrorKind::DpopProof(_) => telemetry::Reason::InvalidDpopProof,
            VerifyErrorKind::DpopNonce => telemetry::Reason::UseDpopNonce,
            _ => telemetry::Reason::InvalidToken,
        },
        Refusal::InsufficientScope { .. } => telemetry::Reason::InsufficientScope,
        Refusal::Policy { .. } => telemetry::Reason::Policy,
        Refusal::InsufficientUserAuthentication { .. } => telemetry::Reason::StepUp,
        Refusal::UnlistedMethod | Refusal::UnlistedRoute { .. } => {
            telemetry::Reason::UnlistedMethod
        }
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
