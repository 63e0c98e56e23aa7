//! `login.required()`: only those who are signed in come through.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::context::LoginContext;
use super::missing;
use super::response::Answer;
use crate::session::Session;

/// Lets a request through only with a session; made by [`LoginLayer::required`](super::LoginLayer::required).
///
/// It looks at the session alone and at no path, so that no spelling of a path gets around it. What has
/// no session is answered as [`LoginLayer`](super::LoginLayer) describes: 303 to the login route for a
/// navigation, 401 for everything else. Without the login layer around it the answer is a 500.
#[derive(Clone, Copy, Debug)]
pub struct RequiredLayer {
    layer: u64,
}

/// The service of a [`RequiredLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Required<S> {
    inner: S,
    layer: u64,
}

pin_project! {
    /// The response future of [`Required`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct RequiredFuture<F, R> {
        #[pin]
        inner: Option<F>,
        answer: Option<Response<R>>,
    }
}

impl RequiredLayer {
    pub(super) fn new(layer: u64) -> Self {
        Self { layer }
    }
}

impl<S> Layer<S> for RequiredLayer {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        Required {
            inner,
            layer: self.layer,
        }
    }
}

impl<S, B, R> Service<Request<B>> for Required<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RequiredFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.refusal(&request) {
            None => RequiredFuture {
                inner: Some(self.inner.call(request)),
                answer: None,
            },
            Some(answer) => {
                // What the inner service reserved in `poll_ready` is given back.
                self.inner = self.inner.clone();
                RequiredFuture {
                    inner: None,
                    answer: Some(answer.map(R::from)),
                }
            }
        }
    }
}

impl<F, R, E> Future for RequiredFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            // Polled again after its end, it stays pending, as futures may.
            None => this
                .answer
                .take()
                .map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
        }
    }
}

impl<S> Required<S> {
    fn refusal<B>(&self, request: &Request<B>) -> Option<Answer> {
        let extensions = request.extensions();
        match extensions.get::<LoginContext>() {
            Some(mark) if mark.layer() == self.layer => {
                mark.look();
                let asks = || mark.ask_to_log_in(request.method(), request.headers());
                extensions.get::<Session>().is_none().then(asks)
            }
            Some(_) => Some(missing(FOREIGN)),
            None => Some(missing(MISSING)),
        }
    }
}

const MISSING: &str = "`login.required()` has no LoginLayer around it: add `.layer(login)` outside";
const FOREIGN: &str = "`login.required()` belongs to another LoginLayer than the one around it";
