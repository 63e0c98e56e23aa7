//! [`ResponseFuture`]: the response of an inner service, or one of the layer itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

pin_project! {
    /// The response future of layers that either call the inner service or send a response themselves.
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct ResponseFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F, R> {
        Inner { #[pin] future: F },
        Own { response: Option<Response<R>> },
    }
}

impl<F, R> ResponseFuture<F, R> {
    /// Returns the response of the inner service.
    pub(crate) fn inner(future: F) -> Self {
        Self {
            state: State::Inner { future },
        }
    }

    /// Returns a response of the layer itself.
    pub(crate) fn own(response: Response<R>) -> Self {
        Self {
            state: State::Own {
                response: Some(response),
            },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Inner { future } => future.poll(cx),
            StateProjection::Own { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // A future that is polled after completion may stay pending.
                None => Poll::Pending,
            },
        }
    }
}
