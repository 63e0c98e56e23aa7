//! The way of a request: its session is opened, the inner service responds, and cookies are set on
//! its response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::admit::{BoxFuture, ResponseFinalizer, admit};
use super::response::LayerResponse;
use super::session_cookie::OpenedCookies;
use super::settings::Settings;
use crate::response_future::ResponseFuture;

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

/// A request that waits for its session, with the inner service that is ready for it.
struct PendingRequest<S, B> {
    settings: Arc<Settings>,
    inner: S,
    request: Request<B>,
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
        settings: Arc<Settings>,
        inner: S,
        request: Request<B>,
    ) -> Self {
        let pending = Some(Box::new(PendingRequest {
            settings,
            inner,
            request,
        }));
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
                    match admit(&pending.settings, opened, &mut pending.request) {
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
