//! The service of [`BearerLayer`](super::BearerLayer), and its future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::authenticate::{AuthOutcome, Decision, authenticate};
use super::settings::{ResponseHeaders, Settings};
use crate::verification::PendingVerification;

/// The service created by [`BearerLayer`](super::BearerLayer).
#[derive(Clone)]
pub struct Bearer<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Bearer<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Bearer<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BearerFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let state = match authenticate(&self.settings, &mut head) {
            AuthOutcome::Complete(decision) => {
                let is_rejected = decision.is_err();
                let state = respond(&mut self.inner, head, body, decision);
                if is_rejected {
                    // Releases what `poll_ready` may have reserved, since the inner service is not called.
                    self.inner = self.inner.clone();
                }
                state
            }
            AuthOutcome::Pending(authentication) => {
                // Only the service that was polled ready may be called; the clone replaces it.
                let next = self.inner.clone();
                let service = std::mem::replace(&mut self.inner, next);
                State::Authenticating {
                    authentication,
                    call: Some((service, body)),
                }
            }
        };
        BearerFuture { state }
    }
}

/// Calls the inner service unless the request is rejected.
fn respond<S, B, R>(
    service: &mut S,
    head: Parts,
    body: B,
    decision: Decision,
) -> State<S, B, S::Future, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    match decision {
        Ok(headers) => State::Forwarded {
            response: service.call(Request::from_parts(head, body)),
            headers,
        },
        Err(response) => State::Rejected {
            response: Some(response.map(|()| R::default())),
        },
    }
}

pin_project! {
    /// The response future of [`Bearer`].
    #[must_use = "futures do nothing unless polled"]
    pub struct BearerFuture<S, B, R>
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
        // Waits for a key set, introspection, or the store that records DPoP proofs. Cached tokens skip this state and
        // its allocation.
        Authenticating {
            authentication: PendingVerification<(Parts, Decision)>,
            call: Option<(S, B)>,
        },
        Forwarded {
            #[pin]
            response: F,
            headers: Option<ResponseHeaders>,
        },
        Rejected {
            response: Option<Response<R>>,
        },
    }
}

impl<S, B, R> Future for BearerFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Authenticating {
                    authentication,
                    call,
                } => {
                    let (head, decision) = ready!(authentication.as_mut().poll(cx));
                    let Some((mut service, body)) = call.take() else {
                        // Not reached: the state changes with the result.
                        return Poll::Pending;
                    };
                    respond(&mut service, head, body, decision)
                }
                StateProjection::Forwarded { response, headers } => {
                    let mut response = ready!(response.poll(cx))?;
                    if let Some(headers) = headers {
                        headers.apply(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Rejected { response } => {
                    // A future that is polled after completion may stay pending.
                    return response
                        .take()
                        .map_or(Poll::Pending, |own| Poll::Ready(Ok(own)));
                }
            };
            state.set(next);
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Bearer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> fmt::Debug for BearerFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerFuture").finish_non_exhaustive()
    }
}
