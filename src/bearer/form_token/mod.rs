//! [`FormTokenLayer`]: the token of a form, moved to where [`BearerLayer`](crate::BearerLayer) looks.

mod reading;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::ConfigError;
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::protocol::cache;
use reading::{Reading, may_hold_token, present, refuse};

/// A form that carries a token is small; what the reader of forms takes at most.
const MAX_FORM: usize = 64 * 1024;

/// How long a form may take to arrive, unless set otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Reads `access_token` out of a form body ([RFC 6750 §2.2]), for callers that cannot set headers.
///
/// It stands *outside* of [`BearerLayer`](crate::BearerLayer). Only `POST`, `PUT` and `PATCH` with
/// `application/x-www-form-urlencoded` are looked at; such a body is read whole, and handed on
/// unchanged. A token found there becomes the `Authorization` field of the request, beside one that is
/// already there: two tokens, in whatever places, are answered with 400 by the `BearerLayer`. The query is
/// never read.
///
/// A form of more than 64 KiB (see [`with_limit`](Self::with_limit)) is answered with 413, one that breaks off with
/// 400, and one that has not arrived within 10 seconds (see [`with_read_timeout`](Self::with_read_timeout)) with 408;
/// over HTTP/1 its connection is closed. A form that is not ASCII cannot carry a token (RFC 6750 §2.2): if it has a
/// parameter `access_token` all the same, the request is refused with 400.
///
/// Nothing of a form tells a cache whose response it is, so a response to a request whose token came from one gets
/// `Cache-Control: private` ([`without_cache_protection`](Self::without_cache_protection) switches that off).
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
#[derive(Clone, Debug)]
#[must_use]
pub struct FormTokenLayer {
    settings: Settings,
}

#[derive(Clone, Debug)]
struct Settings {
    limit: usize,
    read_timeout: Duration,
    clock: SharedClock,
    protects_caches: bool,
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

    /// A smaller limit, in bytes; 64 KiB is the most.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.settings.limit = limit.min(MAX_FORM);
        self
    }

    /// Limits the time in which a whole form must arrive: 10 seconds by default. The time counts from the moment at
    /// which the layer first waits for the body, and does not begin again with each piece.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for zero and for more than 5 minutes.
    pub fn with_read_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        if timeout.is_zero() || timeout > LONGEST_READ_TIMEOUT {
            return Err(ConfigError::Setting {
                setting: "read timeout of forms",
                value: format!("{timeout:?}"),
                reason: "it must be more than zero and at most 5 minutes",
            });
        }
        self.settings.read_timeout = timeout;
        Ok(self)
    }

    /// Measures the time by this clock, for tests: the system's by default.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Leaves `Cache-Control` of responses as the handlers set it.
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

/// The service that [`FormTokenLayer`] makes.
#[derive(Clone, Debug)]
pub struct ReadFormToken<S> {
    inner: S,
    settings: Settings,
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
                state: State::Passed {
                    inner,
                    private: false,
                },
            };
        }
        // The clone takes our place; the service that was polled ready is the one to call.
        let next = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, next);
        let (parts, body) = request.into_parts();
        let reading = Reading {
            body: Box::pin(body),
            read: Vec::new(),
            settings: self.settings.clone(),
            timer: None,
            waiting: Some((service, parts)),
        };
        FormTokenFuture {
            state: State::Reading { reading },
        }
    }
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
        // `private`: the response is for the sender of a token that caches do not see.
        Passed { #[pin] inner: F, private: bool },
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
            let next = match state.as_mut().project() {
                StateProjection::Passed { inner, private } => {
                    let mut response = ready!(inner.poll(cx))?;
                    if *private {
                        cache::make_private(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Reading { reading } => {
                    let end = ready!(reading.poll_end(cx));
                    let Some((mut service, mut parts)) = reading.waiting.take() else {
                        // Polled again after it was done.
                        return Poll::Pending;
                    };
                    if let Err(status) = end {
                        return Poll::Ready(Ok(refuse(status, parts.version)));
                    }
                    let found = present(&reading.read, &mut parts.headers);
                    let body = Bytes::from(std::mem::take(&mut reading.read));
                    State::Passed {
                        inner: service.call(Request::from_parts(parts, B::from(body))),
                        private: found && reading.settings.protects_caches,
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
