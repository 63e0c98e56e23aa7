//! [`ResourceMetadataLayer`]: serves the metadata documents without authentication.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::document::{ResourceMetadata, WELL_KNOWN};
use super::request::{PassedMetadataLayer, is_plain, log_wrong_order, matches_address};
use crate::bearer::auth_state::AuthState;
use crate::response_future::ResponseFuture;
use crate::telemetry::LogOnce;
use crate::token::original_uri;

/// The default `max-age` of a document.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Serves metadata documents ([RFC 9728]) to `GET` and `HEAD` requests, and forwards all other requests.
///
/// Clients fetch the document before they have a token, so the layer must be *outside* of
/// [`BearerLayer`](crate::BearerLayer), on the router at the root of the host. On an axum router the layer that is added
/// last is the outermost: call `.layer(ResourceMetadataLayer::new(..))` after `.layer(bearer)`. In a
/// `tower::ServiceBuilder` the first is the outermost: add it before the `BearerLayer`. Inside of the `BearerLayer` it
/// cannot be reached without a token; the event `resource_metadata_behind_bearer_layer` is then logged once.
///
/// The layer only responds to plain requests: the exact path, no query (unless the identifier has one), no content
/// (`Content-Length`, `Transfer-Encoding`, or an HTTP/2 body of unknown length), and no `Upgrade`, `Expect`, `Trailer`,
/// `HTTP2-Settings` or field that overrides the method. Other requests for the path are forwarded, and the `BearerLayer`
/// validates them like any other request. A body type that does not report its end ([`Body::is_end_stream`]) counts as
/// content, so add layers that wrap request bodies in such a type inside of this layer.
///
/// The layer also responds to CORS preflight requests for the path. Pages of any origin may read the document ([CORS]),
/// and caches may store it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_oauth::bearer::{ResourceMetadata, ResourceMetadataLayer};
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// const API: &str = "https://api.example.com";
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let metadata = ResourceMetadata::new(API)?.add_authorization_server(&server);
/// let app = Router::new()
///     .route("/orders", get(async || "orders"))
///     .layer(BearerLayer::jwt(&server, API)?.with_resource_metadata(&metadata)?)
///     .layer(ResourceMetadataLayer::new(metadata));
///
/// let request = Request::get("/.well-known/oauth-protected-resource").body(axum::body::Body::empty())?;
/// assert_eq!(app.oneshot(request).await?.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
///
/// [CORS]: https://fetch.spec.whatwg.org/#http-cors-protocol
/// [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728#section-3
#[derive(Clone)]
pub struct ResourceMetadataLayer {
    documents: Arc<[Document]>,
    /// Whether the first document is also served at the path without a suffix.
    root_fallback: bool,
    cache_control: HeaderValue,
    warning: LogOnce,
}

#[derive(Clone)]
struct Document {
    path: Box<str>,
    json: Bytes,
}

impl ResourceMetadataLayer {
    /// Creates a layer that serves `metadata`, with a `max-age` of one hour.
    #[must_use]
    pub fn new(metadata: ResourceMetadata) -> Self {
        let layer = Self {
            documents: Arc::new([]),
            root_fallback: false,
            cache_control: HeaderValue::from_static("no-cache"),
            warning: LogOnce::default(),
        };
        layer.add_resource(metadata).with_max_age(MAX_AGE)
    }

    /// Adds the document of another resource on the same host. It replaces a document with the same path.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)]
    pub fn add_resource(mut self, metadata: ResourceMetadata) -> Self {
        let added = Document {
            path: metadata.path().into(),
            json: metadata.to_json().into(),
        };
        let mut documents = self.documents.to_vec();
        match documents.iter_mut().find(|one| one.path == added.path) {
            Some(replaced) => *replaced = added,
            None => documents.push(added),
        }
        self.documents = documents.into();
        self
    }

    /// Also serves the first document at the well-known path without a suffix, which some clients try as a fallback. A
    /// resource whose document has this path takes precedence.
    ///
    /// Clients that validate the resource identifier discard such a document
    /// ([RFC 9728 §3.3](https://www.rfc-editor.org/rfc/rfc9728#section-3.3)).
    #[must_use]
    pub fn with_root_fallback(mut self) -> Self {
        self.root_fallback = true;
        self
    }

    /// Sets the `max-age` of the documents for caches, in whole seconds. The default is one hour.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        let text = format!("public, max-age={}", max_age.as_secs());
        self.cache_control = HeaderValue::try_from(text).unwrap_or(self.cache_control);
        self
    }

    /// Returns the document that the request is for.
    fn find<B>(&self, request: &Request<B>) -> Option<&Document> {
        // A nested axum router removes a prefix of the path, so another path could look like that of the document.
        let uri = original_uri(request.uri(), request.extensions());
        // Checked first because it is cheap, and nearly every request is for another path.
        uri.path().starts_with(WELL_KNOWN).then_some(())?;
        let mut documents = self.documents.iter();
        documents
            .find(|one| matches_address(uri, &one.path))
            .or_else(|| {
                let is_root = self.root_fallback && matches_address(uri, WELL_KNOWN);
                self.documents.first().filter(|_| is_root)
            })
    }

    fn respond<R: From<Bytes>>(&self, method: &Method, document: &Document) -> Response<R> {
        if *method == Method::OPTIONS {
            let mut response = Response::new(R::from(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            let methods = HeaderValue::from_static("GET, HEAD");
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            // Clients may send header fields of their protocol, which cause the preflight request.
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
            return response;
        }
        let body = match *method {
            Method::HEAD => Bytes::new(),
            _ => document.json.clone(),
        };
        let mut response = Response::new(R::from(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, document.json.len().into());
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

impl<S> Layer<S> for ResourceMetadataLayer {
    type Service = ServeResourceMetadata<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServeResourceMetadata {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service created by [`ResourceMetadataLayer`].
#[derive(Clone, Debug)]
pub struct ServeResourceMetadata<S> {
    inner: S,
    layer: ResourceMetadataLayer,
}

impl<S, B, R> Service<Request<B>> for ServeResourceMetadata<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let layer = &self.layer;
        let found = layer.find(&request);
        let Some(document) = found.filter(|_| is_plain(&request)) else {
            if found.is_some() {
                request.extensions_mut().insert(PassedMetadataLayer);
            }
            return ResponseFuture::inner(self.inner.call(request));
        };
        if request.extensions().get::<AuthState>().is_some() {
            log_wrong_order(&layer.warning, &document.path);
        }
        let response = layer.respond(request.method(), document);
        // Releases what `poll_ready` may have reserved, since the inner service is not called.
        self.inner = self.inner.clone();
        ResponseFuture::own(response)
    }
}

impl fmt::Debug for ResourceMetadataLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.documents.iter().map(|one| &one.path);
        f.debug_list().entries(paths).finish()
    }
}
