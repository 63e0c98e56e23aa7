//! The response future of the login layer: loads the session, calls the inner service, and sets
//! cookies on its response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap};
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::context::LoginContext;
use super::jar::Jar;
use super::presented_cookies::SessionCookieNames;
use super::refusal::LoginRefusal;
use super::response::{self, LayerResponse};
use super::service::prepare;
use super::settings::Settings;
use crate::protocol::cache;
use crate::session::{OpenedSession, Session};
use crate::store::StoreError;

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
        Opening { opening: OpeningFuture, pending: Option<Box<PendingRequest<S, B>>> },
        Inner { #[pin] future: F, finalizer: Option<ResponseFinalizer> },
        AwaitingRefresh { pending_refreshes: PendingRefreshes, finished: Option<(Response<R>, ResponseFinalizer)> },
        Route { future: RouteFuture },
        Ready { response: Option<Response<R>> },
    }
}

/// A request that waits for its session, with the inner service that is ready for it.
pub(super) struct PendingRequest<S, B> {
    pub(super) settings: Arc<Settings>,
    pub(super) inner: S,
    /// Whether it may use a session (see [`Csrf`](super::Csrf)).
    pub(super) is_allowed: bool,
    /// The names of the cookies that its session is in.
    pub(super) names: SessionCookieNames,
    pub(super) request: Request<B>,
}

type RouteFuture = Pin<Box<dyn Future<Output = LayerResponse> + Send>>;
pub(super) type PendingRefreshes = Pin<Box<dyn Future<Output = ()> + Send>>;
type OpeningFuture = Pin<Box<dyn Future<Output = Result<OpenedSession, StoreError>> + Send>>;

/// What is added to a response of the inner service.
pub(super) struct ResponseFinalizer {
    pub(super) settings: Arc<Settings>,
    /// `Set-Cookie` values that clear invalid cookies.
    pub(super) clear_cookies: Vec<HeaderValue>,
    pub(super) session: Option<Session>,
    /// Refreshes in progress; the response waits for them, so that its cookie has the new tokens.
    pub(super) pending_refreshes: Option<PendingRefreshes>,
    /// The names of the cookies that the browser sent the session in.
    pub(super) presented_names: SessionCookieNames,
    pub(super) context: LoginContext,
}

impl<S, B, R> LoginFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn opening(opening: OpeningFuture, pending: PendingRequest<S, B>) -> Self {
        Self {
            state: State::Opening {
                opening,
                pending: Some(Box::new(pending)),
            },
        }
    }

    pub(super) fn inner(future: S::Future, finalizer: ResponseFinalizer) -> Self {
        let finalizer = Some(finalizer);
        Self {
            state: State::Inner { future, finalizer },
        }
    }

    pub(super) fn route(future: RouteFuture) -> Self {
        Self {
            state: State::Route { future },
        }
    }

    pub(super) fn ready(response: LayerResponse) -> Self
    where
        R: From<Bytes>,
    {
        let response = Some(response.map(R::from));
        Self {
            state: State::Ready { response },
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
            let next = match state.as_mut().project() {
                StateProjection::Opening { opening, pending } => {
                    let opened = ready!(opening.as_mut().poll(cx));
                    match pending.take() {
                        Some(pending) => pending.resume(opened),
                        None => return Poll::Pending,
                    }
                }
                StateProjection::Inner { future, finalizer } => {
                    let response = ready!(future.poll(cx))?;
                    match finalizer.take() {
                        None => return Poll::Ready(Ok(response)),
                        Some(mut finalizer) => match finalizer.pending_refreshes.take() {
                            None => return Poll::Ready(Ok(finalizer.apply(response))),
                            Some(pending_refreshes) => State::AwaitingRefresh {
                                pending_refreshes,
                                finished: Some((response, finalizer)),
                            },
                        },
                    }
                }
                StateProjection::AwaitingRefresh {
                    pending_refreshes,
                    finished,
                } => {
                    ready!(pending_refreshes.as_mut().poll(cx));
                    return match finished.take() {
                        Some((response, finalizer)) => Poll::Ready(Ok(finalizer.apply(response))),
                        None => Poll::Pending,
                    };
                }
                StateProjection::Route { future } => {
                    let response = ready!(future.as_mut().poll(cx));
                    return Poll::Ready(Ok(response.map(R::from)));
                }
                // A future that is polled after completion may stay pending.
                StateProjection::Ready { response } => {
                    return response
                        .take()
                        .map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R> PendingRequest<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    fn resume(mut self, opened: Result<OpenedSession, StoreError>) -> State<S, B, S::Future, R> {
        let settings = &self.settings;
        let headers = self.request.headers();
        let prepared = match opened {
            Ok(opened) => {
                let jar = Jar::read(headers, &settings.cookies);
                let cookie = settings.resolved(opened, self.names, &jar);
                prepare(settings, cookie, self.is_allowed, &mut self.request)
            }
            // If the store is unavailable, the user is neither signed in nor signed out.
            Err(error) => Err(Box::new(settings.reject(
                headers,
                &LoginRefusal::from(&error),
                None,
            ))),
        };
        match prepared {
            Ok(finalizer) => State::Inner {
                future: self.inner.call(self.request),
                finalizer: Some(finalizer),
            },
            Err(response) => State::Ready {
                response: Some(response.map(R::from)),
            },
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

impl ResponseFinalizer {
    fn apply<R>(self, mut response: Response<R>) -> Response<R> {
        self.write(response.headers_mut());
        response
    }

    fn write(self, headers: &mut HeaderMap) {
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
    }
}
