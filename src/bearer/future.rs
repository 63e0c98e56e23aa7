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
use super::service::{AuthFailure, Authenticated, check_binding, insert_token, token_failure};
use crate::clock::Now;
use crate::protocol::cache;
use crate::protocol::credentials::PresentedToken;
use crate::telemetry;
use crate::token::{PendingReplayCheck, TokenInfo, VerifyError};

pin_project! {
    /// The response future of [`Bearer`](super::Bearer).
    pub struct BearerFuture<S, C, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, C, B, S::Future>,
    }
}

type VerifyFuture<T> = Pin<Box<dyn Future<Output = Result<T, VerifyError>> + Send>>;

pin_project! {
    #[project = StateProjection]
    enum State<S, C, B, F> {
        Rejected { failure: Option<(AuthFailure, Arc<Settings<C>>, WireFormat)> },
        // Waits for a key set or for introspection. Tokens whose key is cached skip this state and its allocation.
        Verifying { verification: VerifyFuture<Arc<TokenInfo>>, call: Option<Box<(DeferredCall<S, C, B>, PresentedToken)>> },
        // Waits for the store that records the identifiers of DPoP proofs.
        CheckingReplay { check: VerifyFuture<()>, call: Option<Box<(DeferredCall<S, C, B>, Authenticated<C>, PendingReplayCheck)>> },
        Forwarded { #[pin] inner: F, headers: ResponseHeaders },
    }
}

/// A call of the inner service that waits for verification or for the replay check.
pub(super) struct DeferredCall<S, C, B> {
    pub(super) service: S,
    pub(super) request: Request<B>,
    pub(super) settings: Arc<Settings<C>>,
    pub(super) wire_format: WireFormat,
}

/// The changes to the headers of the inner service's response.
#[derive(Default)]
pub(super) struct ResponseHeaders {
    private: bool,
    nonce: Option<HeaderValue>,
    /// Whether the token came from another place than `Authorization`, so that shared caches do not know that the
    /// response belongs to one caller (RFC 9111 §3.5).
    is_elsewhere: bool,
    /// The members of `Vary` for the token sources.
    vary: Option<Arc<[HeaderValue]>>,
}

impl ResponseHeaders {
    pub(super) fn of_token<C>(settings: &Settings<C>, is_elsewhere: bool) -> Self {
        let is_elsewhere = is_elsewhere && settings.protects_caches;
        Self {
            private: settings.private,
            nonce: None,
            is_elsewhere,
            vary: is_elsewhere.then(|| Arc::clone(&settings.vary)),
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
        if self.is_elsewhere && cache::make_private(headers) {
            tracing::debug!(
                name: "response_made_private",
                target: "tower_oauth::bearer",
                "removed cache permissions from a response to a token outside of Authorization"
            );
        }
        // RFC 9449 §8.2: a response has at most one nonce, and a cache must not reuse it for another caller.
        if let Some(nonce) = self.nonce.take() {
            headers.insert(DPOP_NONCE, nonce);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            cache::remove_targeted(headers);
        } else if self.private && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}

/// Returns the members of `Vary` for the token sources of a layer, if it has any.
fn vary<C>(settings: &Settings<C>) -> Option<&Arc<[HeaderValue]>> {
    let vary = &settings.vary;
    (settings.protects_caches && !vary.is_empty()).then_some(vary)
}

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

impl<S, C, B> BearerFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    pub(super) fn rejected(
        failure: AuthFailure,
        settings: &Arc<Settings<C>>,
        wire_format: WireFormat,
    ) -> Self {
        Self {
            state: State::Rejected {
                failure: Some((failure, Arc::clone(settings), wire_format)),
            },
        }
    }

    pub(super) fn forwarded(inner: S::Future, headers: ResponseHeaders) -> Self {
        Self {
            state: State::Forwarded { inner, headers },
        }
    }

    pub(super) fn verifying(
        call: DeferredCall<S, C, B>,
        presented: PresentedToken,
        verification: VerifyFuture<Arc<TokenInfo>>,
    ) -> Self {
        let span = tracing::debug_span!(target: "tower_oauth::bearer", "verify");
        let verification = Box::pin(verification.instrument(span));
        let call = Some(Box::new((call, presented)));
        Self {
            state: State::Verifying { verification, call },
        }
    }

    pub(super) fn checking_replay(
        call: DeferredCall<S, C, B>,
        authenticated: Authenticated<C>,
        pending: PendingReplayCheck,
    ) -> Self {
        Self {
            state: call.check_replay(authenticated, pending),
        }
    }
}

impl<S, C, B, R> Future for BearerFuture<S, C, B>
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
                StateProjection::Rejected { failure } => match failure.take() {
                    Some((failure, settings, wire_format)) => {
                        telemetry::Request::Refused.count();
                        return Poll::Ready(Ok(respond(failure, &settings, wire_format)));
                    }
                    // Polled after completion.
                    None => return Poll::Pending,
                },
                StateProjection::Forwarded { inner, headers } => {
                    let mut response = ready!(inner.poll(cx))?;
                    headers.apply(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Verifying { verification, call } => {
                    let token_info = ready!(verification.as_mut().poll(cx));
                    let Some(taken) = call.take() else {
                        return Poll::Pending;
                    };
                    let (call, presented) = *taken;
                    call.check_binding(token_info, presented)
                }
                StateProjection::CheckingReplay { check, call } => {
                    let checked = ready!(check.as_mut().poll(cx));
                    let Some(taken) = call.take() else {
                        return Poll::Pending;
                    };
                    let (call, authenticated, pending) = *taken;
                    match checked {
                        Ok(()) => call.forward(authenticated, pending.into_nonce()),
                        Err(error) => {
                            let scheme = authenticated.scheme();
                            let failure = token_failure(&call.settings, error, scheme);
                            call.reject(failure)
                        }
                    }
                }
            };
            state.set(next);
        }
    }
}

impl<S, C, B> DeferredCall<S, C, B>
where
    S: Service<Request<B>>,
{
    fn check_binding(
        self,
        token_info: Result<Arc<TokenInfo>, VerifyError>,
        presented: PresentedToken,
    ) -> State<S, C, B, S::Future>
    where
        C: Send + Sync + 'static,
    {
        // The request waited for its verification.
        let now = Now::new(&self.settings.challenge.clock);
        match check_binding(&self.settings, &self.request, token_info, presented, &now) {
            Ok((authenticated, None)) => self.forward(authenticated, None),
            Ok((authenticated, Some(pending))) => self.check_replay(authenticated, pending),
            Err(failure) => self.reject(failure),
        }
    }

    fn check_replay(
        self,
        authenticated: Authenticated<C>,
        pending: PendingReplayCheck,
    ) -> State<S, C, B, S::Future> {
        let check = Box::pin(pending.record());
        let call = Some(Box::new((self, authenticated, pending)));
        State::CheckingReplay { check, call }
    }

    fn forward(
        mut self,
        authenticated: Authenticated<C>,
        nonce: Option<HeaderValue>,
    ) -> State<S, C, B, S::Future>
    where
        C: Send + Sync + 'static,
    {
        let headers = ResponseHeaders {
            nonce,
            ..ResponseHeaders::of_token(&self.settings, authenticated.is_elsewhere())
        };
        insert_token(&self.settings, &mut self.request, authenticated);
        State::Forwarded {
            inner: self.service.call(self.request),
            headers,
        }
    }

    fn reject(self, failure: AuthFailure) -> State<S, C, B, S::Future> {
        let challenge = &self.settings.challenge;
        challenge.report(&failure.refusal, self.request.method(), self.request.uri());
        let failure = Some((failure, self.settings, self.wire_format));
        State::Rejected { failure }
    }
}

fn respond<C, R: Default>(
    failure: AuthFailure,
    settings: &Settings<C>,
    wire_format: WireFormat,
) -> Response<R> {
    let hints = ChallengeHints::default();
    let AuthFailure {
        refusal,
        scheme,
        nonce,
    } = failure;
    let mut response = refuse(refusal, &settings.challenge, scheme, hints, wire_format);
    if let Some(nonce) = nonce {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    for member in vary(settings).into_iter().flat_map(|vary| vary.iter()) {
        cache::vary_by(response.headers_mut(), member);
    }
    response
}

impl<S, C, B> fmt::Debug for BearerFuture<S, C, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerFuture").finish_non_exhaustive()
    }
}
