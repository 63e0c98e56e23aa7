//! [`ResourceMetadataLayer`]: accepts_resource the documents without authentication.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::ResourceMetadata;
use super::document::WELL_KNOWN;
use super::order::{HandedOn, Report, is_address};
use crate::bearer::challenge_params::AuthState;
use crate::token::original_uri;

/// How long a document may be kept, unless said otherwise: an hour.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Answers `GET` and `HEAD` at the address of each document, and passes every other request to the inner
/// service.
///
/// Clients fetch the document before they have a token, so the layer must stand *outside* of
/// [`BearerLayer`](crate::BearerLayer), on the router at the root of the host. On an axum router the layer that is
/// added last is the outermost: call `.layer(ResourceMetadataLayer::new(..))` after `.layer(bearer)`. In a
/// `tower::ServiceBuilder` the first is the outermost: name it before the `BearerLayer`. Inside of the `BearerLayer`
/// it is never reached without a token; the log says so once (`resource_metadata_behind_bearer_layer`).
///
/// Only a request that carries nothing is answered here: exactly the address, without a query (unless the
/// identifier has one), without content, announced or not (`Content-Length`, `Transfer-Encoding`, an HTTP/2 body
/// of unknown length), and without `Upgrade`, `Expect`, `Trailer`, `HTTP2-Settings` or a field that overrides the
/// method. Everything else at that address goes on and meets the `BearerLayer` like any other request. A body type
/// that does not report its end ([`Body::is_end_stream`]) counts as content, so a layer that wraps request bodies
/// in such a type belongs further in.
///
/// CORS preflight requests for the address are answered as well. Pages of any origin may read the document ([CORS]),
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
#[derive(Clone)]
pub struct ResourceMetadataLayer {
    documents: Arc<[Document]>,
    cache_control: HeaderValue,
    report: Report,
}

#[derive(Clone)]
struct Document {
    path: Box<str>,
    json: Bytes,
}

impl ResourceMetadataLayer {
    /// Serves this document, to be kept for an hour.
    #[must_use]
    pub fn new(metadata: ResourceMetadata) -> Self {
        let layer = Self {
            documents: Arc::new([]),
            cache_control: HeaderValue::from_static("no-cache"),
            report: Report::default(),
        };
        layer.add_resource(metadata).with_max_age(MAX_AGE)
    }

    /// Serves the document of another resource on the same host, too. Of two with one address the one
    /// that was added last is served.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)]
    pub fn add_resource(self, metadata: ResourceMetadata) -> Self {
        let json = metadata.to_json();
        self.add(metadata.path(), json.into())
    }

    /// Serves the first document also at the address without a path, where some clients look when the
    /// first address they tried does not answer. A resource that has this address itself goes before.
    ///
    /// A careful client discards what it finds there, since the identifier is not the one it asked about
    /// ([RFC 9728 §3.3](https://www.rfc-editor.org/rfc/rfc9728#section-3.3)).
    #[must_use]
    pub fn with_root_fallback(self) -> Self {
        match self.documents.first() {
            Some(first) if !self.documents.iter().any(|one| *one.path == *WELL_KNOWN) => {
                let json = first.json.clone();
                self.add(WELL_KNOWN, json)
            }
            _ => self,
        }
    }

    /// How long the documents may be kept, in whole seconds: an hour unless said otherwise.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        let text = format!("public, max-age={}", max_age.as_secs());
        self.cache_control = HeaderValue::try_from(text).unwrap_or(self.cache_control);
        self
    }

    fn add(mut self, path: &str, json: Bytes) -> Self {
        let others = self.documents.iter().filter(|one| *one.path != *path);
        let added = Document {
            path: path.into(),
            json,
        };
        self.documents = others.cloned().chain([added]).collect();
        self
    }

    /// Returns the document whose address is the target of this request.
    fn find<B>(&self, request: &Request<B>) -> Option<&Document> {
        // Inside of a nested axum router the path is cut, and another path would look like the address.
        let uri = original_uri(request.uri(), request.extensions());
        // The cheap question first: nearly every request is for something else.
        uri.path().starts_with(WELL_KNOWN).then_some(())?;
        self.documents.iter().find(|one| is_address(uri, &one.path))
    }

    fn answer<R: From<Bytes>>(&self, method: &Method, document: &Document) -> Response<R> {
        if *method == Method::OPTIONS {
            let mut response = Response::new(R::from(Bytes::new()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            let methods = HeaderValue::from_static("GET, HEAD");
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            // Clients mark their requests with headers of their protocol, which calls for a preflight.
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

/// Returns whether a request asks for the document, or asks whether a page may (CORS), and carries nothing that a
/// service could act on.
fn is_plain<B: Body>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let asks = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::OPTIONS => headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        _ => false,
    };
    asks && !announces_more(headers) && request.body().is_end_stream()
}

fn announces_more(headers: &HeaderMap) -> bool {
    let lengths = headers.get_all(CONTENT_LENGTH).iter();
    CARRIERS.iter().any(|name| headers.contains_key(*name))
        || lengths.into_iter().any(|length| length != "0")
}

/// Fields that announce content, another protocol or another method than that of the request line.
const CARRIERS: [&str; 9] = [
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

impl<S> Layer<S> for ResourceMetadataLayer {
    type Service = ServeResourceMetadata<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ServeResourceMetadata {
            inner,
            layer: self.clone(),
        }
    }
}

/// The service that [`ResourceMetadataLayer`] makes.
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
    type Future = ResourceMetadataFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let layer = &self.layer;
        let found = layer.find(&request);
        let Some(document) = found.filter(|_| is_plain(&request)) else {
            if found.is_some() {
                request.extensions_mut().insert(HandedOn);
            }
            let inner = self.inner.call(request);
            return ResourceMetadataFuture {
                state: State::Passed { inner },
            };
        };
        if request.extensions().get::<AuthState>().is_some() {
            layer.report.send(&document.path);
        }
        let response = Some(layer.answer(request.method(), document));
        // Gives back what `poll_ready` may have reserved for a call that does not come.
        self.inner = self.inner.clone();
        ResourceMetadataFuture {
            state: State::Answered { response },
        }
    }
}

pin_project! {
    /// The answer of [`ServeResourceMetadata`]: a document, or the inner service's.
    #[derive(Debug)]
    pub struct ResourceMetadataFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F, R> {
        Answered { response: Option<Response<R>> },
        Passed { #[pin] inner: F },
    }
}

impl<F, R, E> Future for ResourceMetadataFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Answered { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled again after it was done.
                None => Poll::Pending,
            },
            StateProjection::Passed { inner } => inner.poll(cx),
        }
    }
}

impl fmt::Debug for ResourceMetadataLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.documents.iter().map(|one| &one.path);
        f.debug_list().entries(paths).finish()
    }
}
