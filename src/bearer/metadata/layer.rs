//! [`ResourceMetadataLayer`]: serves the documents, to everybody.

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
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::ResourceMetadata;
use super::document::WELL_KNOWN;

/// How long a document may be kept, unless said otherwise: an hour.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Answers `GET` and `HEAD` at the address of each document, and hands everything else on untouched.
///
/// It stands *outside* of [`BearerLayer`](crate::BearerLayer), on the router at the root of the host: who
/// asks for the document has no token yet. Pages of any origin may read it ([CORS]), and caches may keep it.
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

    /// The document for this request, where it is one that is answered here.
    fn find<B>(&self, request: &Request<B>) -> Option<&Document> {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        // The cheap question first: nearly every request is for something else.
        uri.path().starts_with(WELL_KNOWN).then_some(())?;
        self.documents
            .iter()
            .find(|one| asks_for_document(method, uri, headers, &one.path))
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

/// Whether the document of this address is asked for, or whether a page may ask for it (CORS). The query
/// counts only where the identifier has one.
pub(in crate::bearer) fn asks_for_document(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    address: &str,
) -> bool {
    let is_asked = match *method {
        Method::GET | Method::HEAD => true,
        Method::OPTIONS => headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD),
        _ => false,
    };
    let is_there = match address.split_once('?') {
        Some((path, query)) => uri.path() == path && uri.query() == Some(query),
        None => uri.path() == address,
    };
    is_asked && is_there
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

/// The service that [`ResourceMetadataLayer`] makes.
#[derive(Clone, Debug)]
pub struct ServeResourceMetadata<S> {
    inner: S,
    layer: ResourceMetadataLayer,
}

impl<S, B, R> Service<Request<B>> for ServeResourceMetadata<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResourceMetadataFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let layer = &self.layer;
        let Some(document) = layer.find(&request) else {
            let inner = self.inner.call(request);
            return ResourceMetadataFuture {
                state: State::Passed { inner },
            };
        };
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
