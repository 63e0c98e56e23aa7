//! The future of [`Bearer`](super::Bearer).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::Instrument as _;

use super::layer::Settings;
use super::refusal::ChallengeHints;
use super::response::{WireFormat, refuse};
use super::service::{Passed, Refused, admit, examine, refused};
use crate::protocol::cache;
use crate::protocol::credentials::Presented;
use crate::telemetry;
use crate::token::{PendingReplayCheck, TokenInfo, VerifyError};

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

type Asked<T> = Pin<Box<dyn Future<Output = Result<T, VerifyError>> + Send>>;

pin_project! {
    #[project = StateProjection]
    enum State<S, C, B, F> {
        Refused { refused: Option<(Refused, Arc<Settings<C>>, WireFormat)> },
        // A key has to be fetched first: nothing is boxed for a token that is at hand.
        Verifying { verification: Asked<Arc<TokenInfo>>, waiting: Option<Box<(Waiting<S, C, B>, Presented)>> },
        // A proof of possession has to be remembered first.
        Spending { spending: Asked<()>, waiting: Option<Box<(Waiting<S, C, B>, Passed<C>, PendingReplayCheck)>> },
        Admitted { #[pin] inner: F, finish: Finish },
    }
}

/// A request that waits for an answer from elsewhere.
pub(super) struct Waiting<S, C, B> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) settings: Arc<Settings<C>>,
    pub(super) speech: WireFormat,
}

/// What is done to the response of the inner service.
#[derive(Default)]
pub(super) struct Finish {
    private: bool,
    nonce: Option<HeaderValue>,
    /// The response is for the sender of this request alone, and caches do not know that by `Authorization`.
    elsewhere: bool,
    /// What the response depends on beside `Authorization`.
    vary: Option<Arc<[HeaderValue]>>,
}

impl Finish {
    pub(super) fn of_token<C>(settings: &Settings<C>, elsewhere: bool) -> Self {
        let elsewhere = elsewhere && settings.protects_caches;
        Self {
            private: settings.private,
            nonce: None,
            elsewhere,
            vary: elsewhere.then(|| Arc::clone(&settings.vary)),
        }
    }

    pub(super) fn of_anonymous<C>(settings: &Settings<C>) -> Self {
        Self {
            vary: vary(settings).map(Arc::clone),
            ..Self::default()
        }
    }

    fn apply(&mut self, headers: &mut HeaderMap) {
        for member in self.vary.take().iter().flat_map(|vary| vary.iter()) {
            cache::vary_by(headers, member);
        }
        if self.elsewhere && cache::make_private(headers) {
            tracing::debug!(
                name: "response_made_private",
                target: "tower_oauth::bearer",
                "removed permission for shared caches from a response to a token outside of Authorization"
            );
        }
        // RFC 9449 §8.2: one field, and nobody keeps what it came with (`D23`, `C13`).
        if let Some(nonce) = self.nonce.take() {
            headers.insert(DPOP_NONCE, nonce);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            cache::remove_targeted(headers);
        } else if self.private && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}

/// What `Vary` names for the sources of a layer, if there are any.
fn vary<C>(settings: &Settings<C>) -> Option<&Arc<[HeaderValue]>> {
    let vary = &settings.vary;
    (settings.protects_caches && !vary.is_empty()).then_some(vary)
}

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

impl<S, C, B> ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn refused(
        refused: Refused,
        settings: &Arc<Settings<C>>,
        speech: WireFormat,
    ) -> Self {
        Self {
            state: State::Refused {
                refused: Some((refused, Arc::clone(settings), speech)),
            },
        }
    }

    pub(super) fn admitted(inner: S::Future, finish: Finish) -> Self {
        Self {
            state: State::Admitted { inner, finish },
        }
    }

    pub(super) fn verifying(waiting: Waiting<S, C, B>, presented: Presented) -> Self {
        let (verifier, shown) = (waiting.settings.verifier.clone(), presented.clone());
        let verification = async move { verifier.verify(shown.token()).await };
        let span = tracing::debug_span!(target: "tower_oauth::bearer", "verify");
        let verification = Box::pin(verification.instrument(span));
        let waiting = Some(Box::new((waiting, presented)));
        Self {
            state: State::Verifying {
                verification,
                waiting,
            },
        }
    }

    pub(super) fn spending(
        waiting: Waiting<S, C, B>,
        passed: Passed<C>,
        proof: PendingReplayCheck,
    ) -> Self {
        Self {
            state: waiting.spend(passed, proof),
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
                    Some((refused, settings, speech)) => {
                        telemetry::Request::Refused.count();
                        return Poll::Ready(Ok(respond(refused, &settings, speech)));
                    }
                    // Polled again after it was done.
                    None => return Poll::Pending,
                },
                StateProjection::Admitted { inner, finish } => {
                    let mut response = ready!(inner.poll(cx))?;
                    finish.apply(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Verifying {
                    verification,
                    waiting,
                } => {
                    let token_info = ready!(verification.as_mut().poll(cx));
                    let Some(kept) = waiting.take() else {
                        return Poll::Pending;
                    };
                    let (waiting, presented) = *kept;
                    waiting.examine(token_info, presented)
                }
                StateProjection::Spending { spending, waiting } => {
                    let spent = ready!(spending.as_mut().poll(cx));
                    let Some(kept) = waiting.take() else {
                        return Poll::Pending;
                    };
                    let (waiting, passed, proof) = *kept;
                    match spent {
                        Ok(()) => waiting.admit(passed, proof.into_nonce()),
                        Err(error) => {
                            let refused = refused(&waiting.settings, error, passed.scheme());
                            waiting.refuse(refused)
                        }
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, C, B> Waiting<S, C, B>
where
    S: Service<Request<B>>,
{
    fn examine(
        self,
        token_info: Result<Arc<TokenInfo>, VerifyError>,
        presented: Presented,
    ) -> State<S, C, B, S::Future>
    where
        C: Send + Sync + 'static,
    {
        match examine(&self.settings, &self.request, token_info, presented) {
            Ok((passed, None)) => self.admit(passed, None),
            Ok((passed, Some(proof))) => self.spend(passed, proof),
            Err(refused) => self.refuse(refused),
        }
    }

    fn spend(self, passed: Passed<C>, proof: PendingReplayCheck) -> State<S, C, B, S::Future> {
        let spending = Box::pin(proof.record());
        let waiting = Some(Box::new((self, passed, proof)));
        State::Spending { spending, waiting }
    }

    fn admit(mut self, passed: Passed<C>, nonce: Option<HeaderValue>) -> State<S, C, B, S::Future>
    where
        C: Send + Sync + 'static,
    {
        let finish = Finish {
            nonce,
            ..Finish::of_token(&self.settings, passed.is_elsewhere())
        };
        admit(&self.settings, &mut self.request, passed);
        State::Admitted {
            inner: self.service.call(self.request),
            finish,
        }
    }

    fn refuse(self, refused: Refused) -> State<S, C, B, S::Future> {
        let protection = &self.settings.protection;
        protection.tell(&refused.refusal, self.request.method(), self.request.uri());
        let refused = Some((refused, self.settings, self.speech));
        State::Refused { refused }
    }
}

/// The refusal as a response of whatever body type.
fn respond<C, R: Default>(
    refused: Refused,
    settings: &Settings<C>,
    speech: WireFormat,
) -> Response<R> {
    let demand = ChallengeHints::default();
    let Refused {
        refusal,
        scheme,
        nonce,
    } = refused;
    let mut response = refuse(refusal, &settings.protection, scheme, demand, speech);
    if let Some(nonce) = nonce {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    for member in vary(settings).into_iter().flat_map(|vary| vary.iter()) {
        cache::vary_by(response.headers_mut(), member);
    }
    response
}

impl<S, C, B> fmt::Debug for ResponseFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
