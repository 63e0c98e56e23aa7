//! The way of a request: its session is opened, the inner service responds, and cookies are set on
//! its response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::context::{LoginContext, OriginalPath};
use super::presented_cookies::SessionCookieNames;
use super::refusal::LoginRefusal;
use super::response::{self, LayerResponse};
use super::session_cookie::OpenedCookies;
use super::settings::Settings;
use crate::protocol::cache;
use crate::response_future::ResponseFuture;
use crate::session::Session;
use crate::token::original_uri;

pin_project! {
    /// The response future of [`Login`](super::Login).
    #[must_use = "futures do nothing unless polled"]
    pub struct LoginFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F, R> {
        Route { response: BoxFuture<LayerResponse> },
        Opening { opening: BoxFuture<OpenedCookies>, pending: Option<Box<PendingRequest<S, B>>> },
        Responding { #[pin] response: ResponseFuture<F, R>, finalizer: Option<ResponseFinalizer> },
        AwaitingRefresh { refresh: BoxFuture<()>, finished: Option<(Response<R>, ResponseFinalizer)> },
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that waits for its session, with the inner service that is ready for it.
pub(super) struct PendingRequest<S, B> {
    pub(super) settings: Arc<Settings>,
    pub(super) inner: S,
    /// Whether the request may use the session: it does not come from another site.
    pub(super) is_allowed: bool,
    pub(super) request: Request<B>,
}

/// What is added to a response of the inner service.
pub(super) struct ResponseFinalizer {
    settings: Arc<Settings>,
    /// `Set-Cookie` values that clear invalid cookies.
    clear_cookies: Vec<HeaderValue>,
    session: Option<Session>,
    /// A refresh in progress; the response waits for it, so that its cookie has the new tokens.
    pending_refresh: Option<BoxFuture<()>>,
    /// The names of the cookies that the browser sent the session in.
    presented_names: SessionCookieNames,
    context: LoginContext,
}

impl<S, B, R> LoginFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    /// Sends the response of a route of the layer.
    pub(super) fn route(response: impl Future<Output = LayerResponse> + Send + 'static) -> Self {
        let response = Box::pin(response);
        Self {
            state: State::Route { response },
        }
    }

    /// Waits for the session of a request, and calls the inner service.
    pub(super) fn opening(
        opening: BoxFuture<OpenedCookies>,
        pending: PendingRequest<S, B>,
    ) -> Self {
        let pending = Some(Box::new(pending));
        Self {
            state: State::Opening { opening, pending },
        }
    }

    pub(super) fn inner(future: S::Future, finalizer: ResponseFinalizer) -> Self {
        Self {
            state: State::inner(future, finalizer),
        }
    }

    pub(super) fn own(response: LayerResponse) -> Self
    where
        R: From<Bytes>,
    {
        Self {
            state: State::own(response),
        }
    }
}

impl<S, B, F, R> State<S, B, F, R> {
    fn inner(future: F, finalizer: ResponseFinalizer) -> Self {
        Self::Responding {
            response: ResponseFuture::inner(future),
            finalizer: Some(finalizer),
        }
    }

    fn own(response: LayerResponse) -> Self
    where
        R: From<Bytes>,
    {
        Self::Responding {
            response: ResponseFuture::own(response.map(R::from)),
            finalizer: None,
        }
    }
}

impl<S, B, R> Future for LoginFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            // A future that is polled after completion may stay pending.
            let next = match state.as_mut().project() {
                StateProjection::Route { response } => {
                    State::own(ready!(response.as_mut().poll(cx)))
                }
                StateProjection::Opening { opening, pending } => {
                    let opened = ready!(opening.as_mut().poll(cx));
                    let Some(mut pending) = pending.take() else {
                        return Poll::Pending;
                    };
                    let PendingRequest {
                        settings,
                        is_allowed,
                        request,
                        ..
                    } = &mut *pending;
                    match admit(settings, opened, *is_allowed, request) {
                        Ok(finalizer) => {
                            let PendingRequest {
                                mut inner, request, ..
                            } = *pending;
                            State::inner(inner.call(request), finalizer)
                        }
                        Err(response) => State::own(*response),
                    }
                }
                StateProjection::Responding {
                    response,
                    finalizer,
                } => {
                    let response = ready!(response.poll(cx))?;
                    let Some(mut finalizer) = finalizer.take() else {
                        return Poll::Ready(Ok(response));
                    };
                    match finalizer.pending_refresh.take() {
                        None => return Poll::Ready(Ok(finalizer.apply(response))),
                        Some(refresh) => State::AwaitingRefresh {
                            refresh,
                            finished: Some((response, finalizer)),
                        },
                    }
                }
                StateProjection::AwaitingRefresh { refresh, finished } => {
                    ready!(refresh.as_mut().poll(cx));
                    return match finished.take() {
                        Some((response, finalizer)) => Poll::Ready(Ok(finalizer.apply(response))),
                        None => Poll::Pending,
                    };
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R> std::fmt::Debug for LoginFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginFuture").finish_non_exhaustive()
    }
}

/// Adds the session to the request, or returns the response that rejects the request: one from another site is not
/// allowed to use a session.
pub(super) fn admit<B>(
    settings: &Arc<Settings>,
    opened: OpenedCookies,
    is_allowed: bool,
    request: &mut Request<B>,
) -> Result<ResponseFinalizer, Box<LayerResponse>> {
    let headers = request.headers();
    // If the store is unavailable, the user is neither signed in nor signed out.
    let cookie = settings
        .resolve(opened, headers)
        .map_err(|error| settings.reject(headers, &LoginRefusal::from(&error), None))?;
    if cookie.session.is_some() && !is_allowed {
        return Err(Box::new(settings.reject_cross_site(headers)));
    }
    let session = cookie.session.map(|(loaded, now)| {
        let session = Session::new(Arc::clone(&settings.manager), loaded, &now);
        session.refresh_proactively(&now);
        session
    });
    let pending_refresh = session.as_ref().and_then(Session::pending_refresh);
    let original = original_uri(request.uri(), request.extensions());
    let (_, has_prefix) = settings.paths.requested(original, request.uri());
    let original = OriginalPath::new(original, has_prefix);
    let extensions = request.extensions_mut();
    let context = LoginContext::insert(Arc::clone(settings), session.clone(), original, extensions);
    Ok(ResponseFinalizer {
        settings: Arc::clone(settings),
        clear_cookies: cookie.set_cookies,
        session,
        pending_refresh: pending_refresh.map(|refresh| -> BoxFuture<()> { Box::pin(refresh) }),
        presented_names: cookie.names,
        context,
    })
}

impl ResponseFinalizer {
    pub(super) fn apply<R>(self, mut response: Response<R>) -> Response<R> {
        let headers = response.headers_mut();
        let was_read = self.session.as_ref().is_some_and(Session::was_read);
        let depends_on_session = was_read || self.context.depends_on_session();
        let is_signed_in = self.session.is_some();
        let mut cookies = self.clear_cookies;
        if let Some(session) = self.session {
            let renewed = self
                .settings
                .renewed_cookies(&session.current(), self.presented_names);
            cookies.extend(renewed);
        }
        if !cookies.is_empty() {
            response::forbid_storing(headers);
            response::add_cookies(headers, cookies);
        } else if depends_on_session {
            // Some shared caches ignore `Vary`, so a response that depends on the session must not
            // be stored, even if an inner layer set another `Cache-Control` for all pages.
            if !cache::is_private(headers) {
                response::forbid_storing(headers);
            }
            response::forbid_sharing(headers);
        } else if is_signed_in && !headers.contains_key(CACHE_CONTROL) {
            // A service may have checked for a session without reading it. A response that says
            // that it may be shared, such as a static file, stays so.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
            response::vary_by_cookie(headers);
        }
        response
    }
}
