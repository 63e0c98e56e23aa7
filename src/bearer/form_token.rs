//! [`FormTokenLayer`]: the token of a form, moved to where [`BearerLayer`](crate::BearerLayer) looks.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::protocol::form;

/// A form that carries a token is small; what the reader of forms takes at most.
const MAX_FORM: usize = 64 * 1024;

/// Reads `access_token` out of a form body ([RFC 6750 §2.2]), for callers that cannot set headers.
///
/// It stands *outside* of [`BearerLayer`](crate::BearerLayer). Only `POST`, `PUT` and `PATCH` with
/// `application/x-www-form-urlencoded` are looked at; such a body is read whole, and handed on
/// unchanged. A token found there becomes the `Authorization` field of the request, beside one that is
/// already there: two tokens, in whatever places, are answered with 400 by the `BearerLayer`. The query is
/// never read.
///
/// A form of more than 64 KiB (see [`with_limit`](Self::with_limit)) is answered with 413, and one that
/// breaks off with 400.
///
/// # Deployment notes
///
/// A page of any origin can make a browser send a form, though not with a token it does not know. Say
/// what is accepted in the metadata:
/// [`BearerMethod::Body`](crate::bearer::BearerMethod::Body).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::post};
/// use tower_oauth::bearer::FormTokenLayer;
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let api: Router = Router::new()
///     .route("/upload", post(async || "thank you"))
///     .layer(BearerLayer::jwt(&server, "https://api.example.com")?)
///     .layer(FormTokenLayer::new());
/// # Ok(())
/// # }
/// ```
///
/// [RFC 6750 §2.2]: https://www.rfc-editor.org/rfc/rfc6750#section-2.2
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct FormTokenLayer {
    limit: usize,
}

impl FormTokenLayer {
    /// Forms of at most 64 KiB.
    pub fn new() -> Self {
        Self { limit: MAX_FORM }
    }

    /// A smaller limit, in bytes; 64 KiB is the most.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.min(MAX_FORM);
        self
    }
}

impl Default for FormTokenLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for FormTokenLayer {
    type Service = ReadFormToken<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let limit = self.limit;
        ReadFormToken { inner, limit }
    }
}

/// The service that [`FormTokenLayer`] makes.
#[derive(Clone, Debug)]
pub struct ReadFormToken<S> {
    inner: S,
    limit: usize,
}

impl<S, B, R> Service<Request<B>> for ReadFormToken<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body + From<Bytes>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = FormTokenFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !may_hold_token(request.method(), request.headers()) {
            let inner = self.inner.call(request);
            return FormTokenFuture {
                state: State::Passed { inner },
            };
        }
        // The clone takes our place; the service that was polled ready is the one to call.
        let next = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, next);
        let (parts, body) = request.into_parts();
        let reading = Reading {
            body: Box::pin(body),
            read: Vec::new(),
            limit: self.limit,
            waiting: Some((service, parts)),
        };
        FormTokenFuture {
            state: State::Reading { reading },
        }
    }
}

/// RFC 6750 §2.2: a form, and a method that gives its body a meaning (`C3`).
fn may_hold_token(method: &Method, headers: &HeaderMap) -> bool {
    let method = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return false;
    };
    let essence = kind.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    method
        && essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        && !headers.contains_key(CONTENT_ENCODING)
}

/// Adds the token of a form to what the request presents.
fn present(text: &[u8], headers: &mut HeaderMap) {
    // RFC 6750 §2.2: all of ASCII, or it is no form that carries a token.
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.is_ascii());
    // Pair by pair: one that cannot be read, or one of too many, must not hide a token from the rule that
    // there is one. Two are as bad as more.
    let pairs = text.unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| is_token(pair)).take(2) {
        let token = form::parse(pair).ok().and_then(|mut pairs| pairs.pop());
        // One that cannot stand in a header is shown as credentials that cannot be read.
        let line =
            token.and_then(|(_, token)| HeaderValue::try_from(format!("Bearer {token}")).ok());
        let mut line = line.unwrap_or(HeaderValue::from_static("Bearer"));
        line.set_sensitive(true);
        headers.append(AUTHORIZATION, line);
    }
}

fn is_token(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    let name = form::parse(name).unwrap_or_default();
    name.first().is_some_and(|(name, _)| name == "access_token")
}

pin_project! {
    /// The answer of [`ReadFormToken`].
    pub struct FormTokenFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F> {
        Reading { reading: Reading<S, B> },
        Passed { #[pin] inner: F },
    }
}

struct Reading<S, B> {
    // Bodies need not be `Unpin`.
    body: Pin<Box<B>>,
    read: Vec<u8>,
    limit: usize,
    waiting: Option<(S, http::request::Parts)>,
}

impl<S, B: Body> Reading<S, B> {
    /// Reads to the end; the status says why not.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        while let Some(frame) = ready!(self.body.as_mut().poll_frame(cx)) {
            let Ok(frame) = frame else {
                return Poll::Ready(Err(StatusCode::BAD_REQUEST));
            };
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            if data.remaining() > self.limit - self.read.len() {
                return Poll::Ready(Err(StatusCode::PAYLOAD_TOO_LARGE));
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                let length = chunk.len();
                self.read.extend_from_slice(chunk);
                data.advance(length);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, B, R> Future for FormTokenFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body + From<Bytes>,
    R: Default,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let inner = match state.as_mut().project() {
                StateProjection::Passed { inner } => return inner.poll(cx),
                StateProjection::Reading { reading } => {
                    let end = ready!(reading.poll_end(cx));
                    let Some((mut service, mut parts)) = reading.waiting.take() else {
                        // Polled again after it was done.
                        return Poll::Pending;
                    };
                    if let Err(status) = end {
                        let mut response = Response::new(R::default());
                        *response.status_mut() = status;
                        return Poll::Ready(Ok(response));
                    }
                    present(&reading.read, &mut parts.headers);
                    let body = Bytes::from(std::mem::take(&mut reading.read));
                    service.call(Request::from_parts(parts, B::from(body)))
                }
            };
            state.set(State::Passed { inner });
        }
    }
}

impl<S, B> fmt::Debug for FormTokenFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormTokenFuture").finish_non_exhaustive()
    }
}
