//! [`RefusalBodyLayer`]: adds error bodies to rejections.

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

type RenderFn = dyn Fn(&Refusal) -> Bytes + Send + Sync;

/// Adds error bodies to the rejections of [`BearerLayer`](crate::BearerLayer), [`ScopeLayer`](crate::ScopeLayer), the
/// other layers of this module and the extractors, whose bodies are empty by default.
///
/// Add it outside of these layers. It does not change the status, and only the headers `Content-Type` and
/// `Content-Length`, so the challenge is kept. Other responses and responses to gRPC callers are not changed.
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
/// let response = api.oneshot(Request::get("/orders").body(axum::body::Body::empty())?).await?;
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\"");
/// let body = axum::body::to_bytes(response.into_body(), 1024).await?;
/// assert_eq!(
///     body,
///     r#"{"detail":"an access token is required","status":401,"title":"Unauthorized"}"#,
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RefusalBodyLayer {
    content_type: HeaderValue,
    render: Arc<RenderFn>,
}

impl RefusalBodyLayer {
    /// Creates a layer that renders problem details ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): `status`,
    /// `title`, the [message](Refusal::message) as `detail`, the error code as `error`, and the required scopes as
    /// `scope`. The body contains no text of the caller.
    #[must_use]
    pub fn problem_json() -> Self {
        Self {
            content_type: HeaderValue::from_static("application/problem+json"),
            render: Arc::new(problem),
        }
    }

    /// Creates a layer that renders bodies with `render`.
    ///
    /// Use only [`Refusal::status`], [`Refusal::error`] and [`Refusal::message`] in the body. The `Display` and `Debug`
    /// output of a `Refusal` is more detailed and not intended for callers.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the content type is not a valid header value.
    pub fn new<B: Into<Bytes>>(
        content_type: &str,
        render: impl Fn(&Refusal) -> B + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let invalid = |_| ConfigError::Setting {
            setting: "content type",
            value: content_type.to_owned(),
            reason: "it must be a valid header value",
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
    if let Refusal::InsufficientScope { required } = refusal {
        problem["scope"] = required.as_str().into();
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

/// The service created by [`RefusalBodyLayer`].
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
    /// The response future of [`RenderRefusal`].
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
        // gRPC callers read the rejection from the headers, and would parse a body as a message.
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
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl fmt::Debug for RefusalBodyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusalBodyLayer")
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}
