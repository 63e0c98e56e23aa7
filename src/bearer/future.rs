//! The future of [`Bearer`](super::Bearer).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Settings;
use super::refusal::Demand;
use super::response::{Speech, refuse};
use super::service::{Refused, admit};
use crate::protocol::credentials::Presented;
use crate::token::{Verdict, VerifyError};

pin_project! {
    /// The answer of [`Bearer`](super::Bearer): a refusal, or the inner service's.
    pub struct ResponseFuture<S, C, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, C, B, S::Future>,
    }
}

type Verification = Pin<Box<dyn Future<Output = Result<Arc<Verdict>, VerifyError>> + Send>>;

pin_project! {
    #[project = StateProjection]
    enum State<S, C, B, F> {
        Refused { refused: Option<(Refused, Arc<Settings<C>>, Speech)> },
        // A key has to be fetched first: the only case that boxes anything.
        Verifying { verification: Verification, waiting: Option<Box<Waiting<S, C, B>>> },
        Admitted { #[pin] inner: F, private: bool },
    }
}

struct Waiting<S, C, B> {
    service: S,
    request: Request<B>,
    settings: Arc<Settings<C>>,
    presented: Presented,
    speech: Speech,
}

impl<S, C, B> ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn refused(refused: Refused, settings: &Arc<Settings<C>>, speech: Speech) -> Self {
        Self {
            state: State::Refused {
                refused: Some((refused, Arc::clone(settings), speech)),
            },
        }
    }

    pub(super) fn admitted(inner: S::Future, private: bool) -> Self {
        Self {
            state: State::Admitted { inner, private },
        }
    }

    pub(super) fn verifying(
        service: S,
        request: Request<B>,
        settings: Arc<Settings<C>>,
        presented: Presented,
        speech: Speech,
    ) -> Self {
        let (verifier, shown) = (settings.verifier.clone(), presented.clone());
        let verification = Box::pin(async move { verifier.verify(shown.token()).await });
        let waiting = Waiting {
            service,
            request,
            settings,
            presented,
            speech,
        };
        Self {
            state: State::Verifying {
                verification,
                waiting: Some(Box::new(waiting)),
            },
        }
    }
}

impl<S, C, B, R> Future for ResponseFuture<S, C, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Send + Sync + 'static,
    R: Default,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Refused { refused } => match refused.take() {
                    Some((Refused { refusal, scheme }, settings, speech)) => {
                        let protection = &settings.protection;
                        let demand = Demand::default();
                        return Poll::Ready(Ok(refuse(
                            refusal, protection, scheme, demand, speech,
                        )));
                    }
                    // Polled again after it was done.
                    None => return Poll::Pending,
                },
                StateProjection::Admitted { inner, private } => {
                    let mut response = ready!(inner.poll(cx))?;
                    if *private && !response.headers().contains_key(CACHE_CONTROL) {
                        let value = HeaderValue::from_static("private");
                        response.headers_mut().insert(CACHE_CONTROL, value);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Verifying {
                    verification,
                    waiting,
                } => {
                    let verdict = ready!(verification.as_mut().poll(cx));
                    let Some(waiting) = waiting.take() else {
                        return Poll::Pending;
                    };
                    waiting.go_on(verdict)
                }
            };
            state.set(next);
        }
    }
}

impl<S, C, B> Waiting<S, C, B>
where
    S: Service<Request<B>>,
    C: Send + Sync + 'static,
{
    fn go_on(mut self, verdict: Result<Arc<Verdict>, VerifyError>) -> State<S, C, B, S::Future> {
        match admit(&self.settings, &mut self.request, verdict, self.presented) {
            Ok(()) => {
                let private = self.settings.private;
                State::Admitted {
                    inner: self.service.call(self.request),
                    private,
                }
            }
            Err(refused) => {
                let refused = Some((refused, self.settings, self.speech));
                State::Refused { refused }
            }
        }
    }
}

impl<S, C, B> fmt::Debug for ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
