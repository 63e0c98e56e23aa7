//! [`FormTokenLayer`]: reads the token from a form body (RFC 6750 §2.2).

mod reading;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Limited;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::ConfigError;
use crate::clock::{Clock, SystemClock};
use crate::protocol::cache;
use reading::{FormReader, Settings, add_authorization, may_have_token, reject};

/// Marks a request whose token was in its form.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormToken;

/// The maximum and default length of a form. Forms with a token are small, and the body is buffered.
const MAX_FORM: usize = 64 * 1024;

const READ_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Reads `access_token` from a form body ([RFC 6750 §2.2]), for callers that cannot set header fields.
///
/// Add it *outside* of [`BearerLayer`](crate::BearerLayer). The layer buffers the bodies of `POST`, `PUT` and `PATCH`
/// requests with `application/x-www-form-urlencoded`, and forwards them unchanged. It adds the token to the request as an
/// `Authorization` field, without replacing an existing one: `BearerLayer` rejects more than one token with 400. Query
/// parameters are not read.
///
/// | form | status |
/// | --- | --- |
/// | longer than 64 KiB, see [`with_limit`](Self::with_limit) | 413 |
/// | not complete within 10 seconds, see [`with_read_timeout`](Self::with_read_timeout) | 408 |
/// | interrupted | 400 |
/// | with a parameter `access_token` and bytes that are not ASCII (RFC 6750 §2.2) | 400 |
///
/// After an incomplete form, the response closes an HTTP/1 connection.
///
/// Shared caches do not recognize a token in a form, so the layer adds `Cache-Control: private` to the response;
/// [`without_cache_protection`](Self::without_cache_protection) disables this.
///
/// # Deployment notes
///
/// Pages of any origin can make a browser submit a form, but not with a token that they do not know. Announce that tokens
/// in forms are accepted in the resource metadata: [`BearerMethod::Body`](crate::bearer::BearerMethod::Body).
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
#[derive(Clone, Debug)]
#[must_use]
pub struct FormTokenLayer {
    settings: Settings,
}

impl FormTokenLayer {
    /// Creates a layer that reads forms of at most 64 KiB that arrive within 10 seconds.
    pub fn new() -> Self {
        let settings = Settings {
            limit: MAX_FORM,
            read_timeout: READ_TIMEOUT,
            clock: Arc::new(SystemClock),
            protects_caches: true,
        };
        Self { settings }
    }

    /// Sets the maximum length of a form, in bytes. The default is 64 KiB, which is also the maximum.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.settings.limit = limit.min(MAX_FORM);
        self
    }

    /// Sets the time within which the whole form must arrive. The default is 10 seconds. The timeout starts when the
    /// layer first waits for the body, and does not restart with each chunk.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is zero or more than 5 minutes.
    pub fn with_read_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        if timeout.is_zero() || timeout > MAX_READ_TIMEOUT {
            return Err(ConfigError::Setting {
                setting: "read timeout of forms",
                value: format!("{timeout:?}"),
                reason: "it must be more than zero and at most 5 minutes",
            });
        }
        self.settings.read_timeout = timeout;
        Ok(self)
    }

    /// Sets the clock of the timeout. The default is the system clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Does not change the `Cache-Control` of responses.
    pub fn without_cache_protection(mut self) -> Self {
        self.settings.protects_caches = false;
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
        let settings = self.settings.clone();
        ReadFormToken { inner, settings }
    }
}

/// The service created by [`FormTokenLayer`].
#[derive(Clone, Debug)]
pub struct ReadFormToken<S> {
    inner: S,
    settings: Settings,
}

impl<S, B, R> Service<Request<B>> for ReadFormToken<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body + From<Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = FormTokenFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !may_have_token(request.method(), request.headers()) {
            let inner = self.inner.call(request);
            return FormTokenFuture {
                state: State::Forwarded {
                    inner,
                    is_private: false,
                },
            };
        }
        // Only the service that was polled ready may be called; the clone replaces it.
        let next = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, next);
        let (head, body) = request.into_parts();
        FormTokenFuture {
            state: State::Reading {
                body: Limited::new(body, self.settings.limit),
                reader: FormReader {
                    buffer: Vec::new(),
                    settings: self.settings.clone(),
                    timer: None,
                    call: Some((service, head)),
                },
            },
        }
    }
}

pin_project! {
    /// The response future of [`ReadFormToken`].
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
        Reading { #[pin] body: Limited<B>, reader: FormReader<S> },
        Forwarded { #[pin] inner: F, is_private: bool },
    }
}

impl<S, B, R> Future for FormTokenFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body + From<Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Default,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Forwarded { inner, is_private } => {
                    let mut response = ready!(inner.poll(cx))?;
                    if *is_private {
                        cache::make_private(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Reading { body, reader } => {
                    let end = ready!(reader.poll_end(body, cx));
                    let Some((mut service, mut head)) = reader.call.take() else {
                        // A future that is polled after completion may stay pending.
                        return Poll::Pending;
                    };
                    if let Err(status) = end {
                        let response = reject(status, head.version);
                        return Poll::Ready(Ok(response.map(|()| R::default())));
                    }
                    let has_token = add_authorization(&reader.buffer, &mut head.headers);
                    if has_token {
                        head.extensions.insert(FormToken);
                    }
                    let form = Bytes::from(std::mem::take(&mut reader.buffer));
                    State::Forwarded {
                        inner: service.call(Request::from_parts(head, B::from(form))),
                        is_private: has_token && reader.settings.protects_caches,
                    }
                }
            };
            state.set(next);
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
