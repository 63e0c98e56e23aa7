//! Detects that a `BearerLayer` stands outside of the `ResourceMetadataLayer` that accepts_resource its document.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request, Uri};

use crate::token::original_uri;

/// Marks a request for a document that a `ResourceMetadataLayer` handed on, because something came with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandedOn;

/// Reports once that requests for the document of a `BearerLayer` reach that layer.
#[derive(Clone, Debug)]
pub(in crate::bearer) struct LayerOrder {
    /// The path of the document, with a query if the identifier has one.
    address: Arc<str>,
    report: Report,
}

impl LayerOrder {
    pub(in crate::bearer) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            report: Report::default(),
        }
    }

    /// Checks a request that presents no access token. A `ResourceMetadataLayer` further out would have
    /// answered a plain request for the document, and would have marked any other.
    pub(in crate::bearer) fn check<B>(&self, request: &Request<B>) {
        let method = request.method();
        if (method == Method::GET || method == Method::HEAD)
            && is_address(
                original_uri(request.uri(), request.extensions()),
                &self.address,
            )
            && request.extensions().get::<HandedOn>().is_none()
        {
            self.report.send(&self.address);
        }
    }
}

/// Compares path and query byte for byte.
pub(super) fn is_address(uri: &Uri, address: &str) -> bool {
    match address.split_once('?') {
        Some((path, query)) => uri.path() == path && uri.query() == Some(query),
        None => uri.path() == address && uri.query().is_none(),
    }
}

/// A log line that is written once, however often its cause comes back: callers can cause it.
#[derive(Clone, Debug, Default)]
pub(super) struct Report(Arc<AtomicBool>);

impl Report {
    pub(super) fn send(&self, path: &str) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "resource_metadata_behind_bearer_layer",
                target: "tower_oauth::bearer",
                path,
                "the resource metadata is behind a BearerLayer, so clients without a token cannot read it: \
                 ResourceMetadataLayer must stand outside of BearerLayer (on an axum Router, call \
                 `.layer(ResourceMetadataLayer::new(..))` after `.layer(bearer)`; in a ServiceBuilder, before it)"
            );
        }
    }
}
