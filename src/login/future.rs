//! The response future: an inner response gets its cookies, our own answers pass.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{HeaderValue, Response};
use pin_project_lite::pin_project;

use super::answer::{self, Answer};
use super::mark::Mark;
use super::settings::Settings;
use crate::flow::SessionId;

pin_project! {
    /// The response future of [`Login`](super::Login) and [`Required`](super::Required).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<F, R> {
        Inner { #[pin] future: F, afterwards: Option<Afterwards> },
        Route { future: RouteFuture },
        Answer { answer: Option<Response<R>> },
    }
}

type RouteFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What is done to a response on its way out.
#[derive(Debug)]
pub(super) struct Afterwards {
    settings: Arc<Settings>,
    /// What clears cookies that are nobody's.
    clearing: Vec<HeaderValue>,
    /// The session and what keeps it alive.
    renewal: Option<(SessionId, Vec<HeaderValue>)>,
    mark: Option<Mark>,
}

impl<F, R> ResponseFuture<F, R> {
    pub(super) fn inner(future: F, afterwards: Option<Afterwards>) -> Self {
        Self {
            state: State::Inner { future, afterwards },
        }
    }

    pub(super) fn route(future: RouteFuture) -> Self {
        Self {
            state: State::Route { future },
        }
    }

    pub(super) fn answer(answer: Answer) -> Self
    where
        R: From<Bytes>,
    {
        let answer = Some(answer.map(R::from));
        Self {
            state: State::Answer { answer },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: From<Bytes>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Inner { future, afterwards } => {
                let mut response = ready!(future.poll(cx))?;
                if let Some(mut afterwards) = afterwards.take() {
                    afterwards.apply(response.headers_mut());
                }
                Poll::Ready(Ok(response))
            }
            Projected::Route { future } => future
                .as_mut()
                .poll(cx)
                .map(|answer| Ok(answer.map(R::from))),
            Projected::Answer { answer } => {
                // Polled again after its end, it stays pending, as futures may.
                answer
                    .take()
                    .map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
        }
    }
}

impl<F, R> std::fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl Afterwards {
    pub(super) fn new(settings: Arc<Settings>, clearing: Vec<HeaderValue>) -> Self {
        Self {
            settings,
            clearing,
            renewal: None,
            mark: None,
        }
    }

    pub(super) fn keep_alive(&mut self, id: SessionId, cookies: Vec<HeaderValue>) {
        self.renewal = Some((id, cookies));
    }

    pub(super) fn watch(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    fn apply(&mut self, headers: &mut HeaderMap) {
        let mut cookies = std::mem::take(&mut self.clearing);
        if let Some((id, renewal)) = self.renewal.take()
            && !renewal.is_empty()
            // `L47`: a slow response must not bring back a session that was ended meanwhile.
            && !self.settings.memory.tombstones.holds(&id)
        {
            cookies.extend(renewal);
        }
        if !cookies.is_empty() {
            answer::forbid_storing(headers);
            answer::add_cookies(headers, cookies);
        } else if self.mark.as_ref().is_some_and(Mark::looked) {
            // Some shared caches do not heed `Vary`: what is one person's is not for them, whatever a layer
            // further in says of all pages.
            if !answer::is_private(headers) {
                answer::forbid_storing(headers);
            }
            answer::vary_by_cookie(headers);
        }
    }
}
