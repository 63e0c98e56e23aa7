//! Which requests receive the document, and which show that the `ResourceMetadataLayer` is not outside of the
//! `BearerLayer`.

use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};
use http_body::Body;

use crate::telemetry::LogOnce;
use crate::token::original_uri;

/// Marks a request for a document that a `ResourceMetadataLayer` forwarded, because it was not a plain request.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassedMetadataLayer;

/// Warns once if requests for the metadata document reach the `BearerLayer`.
#[derive(Clone, Debug)]
pub(in crate::bearer) struct LayerOrder {
    /// The path of the document, with a query if the identifier has one.
    address: Arc<str>,
    warning: LogOnce,
}

impl LayerOrder {
    pub(in crate::bearer) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            warning: LogOnce::default(),
        }
    }

    /// Checks a request without an access token. An outer `ResourceMetadataLayer` would have responded to a plain
    /// request for the document, and would have marked any other.
    pub(in crate::bearer) fn check(&self, head: &Parts) {
        let method = &head.method;
        if (method == Method::GET || method == Method::HEAD)
            && matches_address(original_uri(&head.uri, &head.extensions), &self.address)
            && head.extensions.get::<PassedMetadataLayer>().is_none()
        {
            log_wrong_order(&self.warning, &self.address);
        }
    }
}

/// Compares path and query byte for byte.
pub(super) fn matches_address(uri: &Uri, address: &str) -> bool {
    match address.split_once('?') {
        Some((path, query)) => uri.path() == path && uri.query() == Some(query),
        None => uri.path() == address && uri.query().is_none(),
    }
}

/// Returns whether a request is a `GET`, `HEAD` or CORS preflight request, and has nothing that the inner service could
/// act on.
pub(super) fn is_plain<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let is_read = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::OPTIONS => headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        _ => false,
    };
    is_read && !announces_content(headers) && request.body().is_end_stream()
}

fn announces_content(headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(CONTENT_LENGTH).iter();
    CONTENT_FIELDS
        .iter()
        .any(|name| headers.contains_key(*name))
        || lengths.into_iter().any(|length| length != "0")
}

/// Fields that announce content, another protocol, or another method than that of the request line.
const CONTENT_FIELDS: [&str; 9] = [
    "transfer-encoding",
    "trailer",
    "expect",
    "upgrade",
    "http2-settings",
    "content-encoding",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// Logs once that the layers are in the wrong order, because every caller can cause it.
pub(super) fn log_wrong_order(warning: &LogOnce, path: &str) {
    if warning.is_first() {
        tracing::warn!(
            name: "resource_metadata_behind_bearer_layer",
            target: "tower_oauth::bearer",
            path,
            "the resource metadata is behind a BearerLayer, so clients without a token cannot read it: \
             ResourceMetadataLayer must be outside of BearerLayer (on an axum Router, call \
             `.layer(ResourceMetadataLayer::new(..))` after `.layer(bearer)`; in a ServiceBuilder, before it)"
        );
    }
}
