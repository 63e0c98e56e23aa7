//! [`RefusalBodyLayer`]: a body for refusals, which are empty otherwise.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use super::refusal::Refusal;
use crate::ConfigError;

type Render = dyn Fn(&Refusal) -> Bytes + Send + Sync;

/// Gives refusals a body: those of [`BearerLayer`](crate::BearerLayer), of
/// [`ScopeLayer`](crate::ScopeLayer) and of the extractors.
///
/// It stands outside of them all. Status and headers stay as they are, except for `Content-Type` and
/// `Content-Length`, so the challenge cannot get lost. What is no refusal, and every answer to a gRPC
/// caller, passes untouched.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_oauth::bearer::RefusalBodyLayer;
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let api = Router::new()
///     .route("/orders", get(async || "orders"))
///     .layer(BearerLayer::jwt(&server, "https://api.example.com")?)
///     .layer(RefusalBodyLayer::problem_json());
///
/// let answer = api.oneshot(Request::get("/orders").body(axum::body::Body::empty())?).await?;
/// assert_eq!(answer.headers()["content-type"], "application/problem+json");
/// assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"api\"");
/// let body = axum::body::to_bytes(answer.into_body(), 1024).await?;
/// assert_eq!(
///     body,
///     r#"{"detail":"an access token is needed","status":401,"title":"Unauthorized"}"#,
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RefusalBodyLayer {
    content_type: HeaderValue,
    render: Arc<Render>,
}

impl RefusalBodyLayer {
    /// Problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): status and title, the fixed
    /// sentence of the refusal as `detail`, its code as `error`, and the scopes that are needed as
    /// `scope`. Nothing the caller sent is in it.
    #[must_use]
    pub fn problem_json() -> Self {
        Self {
            content_type: HeaderValue::from_static("application/problem+json"),
            render: Arc::new(problem),
        }
    }

    /// A body of one's own, for refusals of all kinds.
    ///
    /// [`Refusal::status`], [`Refusal::error`] and [`Refusal::message`] are what the caller may know. The
    /// rest of a `Refusal` says more: do not print it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a content type that cannot stand in a header.
    pub fn new<B: Into<Bytes>>(
        content_type: &str,
        render: impl Fn(&Refusal) -> B + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let invalid = |_| ConfigError::Setting {
            setting: "content type",
            value: content_type.to_owned(),
            reason: "it must be the value of a header",
        };
        Ok(Self {
            content_type: HeaderValue::try_from(content_type).map_err(invalid)?,
            render: Arc::new(move |refusal| render(refusal).into()),
        })
    }
}

fn problem(refusal: &Refusal) -> Bytes {
    let status = refusal.status();
    let mut problem = json!({
        "status": status.as_u16(),
        "title": status.canonical_reason(),
        "detail": refusal.message(),
    });
    if let Some(code) = refusal.error() {
        problem["error"] = code.as_str().into();
    }
    if let Refusal::InsufficientScope { needed } = refusal {
        problem["scope"] = needed.as_str().into();
    }
    problem.to_string().into()
}

impl<S> Layer<S> for RefusalBodyLayer {
    type Service = RenderRefusal<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        RenderRefusal { inner, layer }
    }
}

/// The service that [`RefusalBodyLayer`] makes.
#[derive(Clone, Debug)]
pub struct RenderRefusal<S> {
    inner: S,
    layer: RefusalBodyLayer,
}

impl<S, B, R> Service<Request<B>> for RenderRefusal<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RefusalBodyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        RefusalBodyFuture {
            inner: self.inner.call(request),
            layer: self.layer.clone(),
        }
    }
}

pin_project! {
    /// The answer of [`RenderRefusal`].
    #[derive(Debug)]
    pub struct RefusalBodyFuture<F> {
        #[pin]
        inner: F,
        layer: RefusalBodyLayer,
    }
}

impl<F, R, E> Future for RefusalBodyFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        // To a gRPC caller the refusal is in the headers, and a body would be a broken message.
        if is_grpc(&response) {
            return Poll::Ready(Ok(response));
        }
        let Some(refusal) = response.extensions().get::<Refusal>() else {
            return Poll::Ready(Ok(response));
        };
        let body = (this.layer.render)(refusal);
        *response.body_mut() = R::from(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, this.layer.content_type.clone());
        headers.remove(CONTENT_LENGTH);
        Poll::Ready(Ok(response))
    }
}

fn is_grpc<R>(response: &Response<R>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl fmt::Debug for RefusalBodyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusalBodyLayer")
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}
