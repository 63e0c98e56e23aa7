//! What scopes, step-ups and gRPC methods have in common: something is demanded of a request that a
//! layer further out has judged, and it goes on or is answered.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::challenge_params::{AuthState, ChallengeParams};
use super::refusal::{ChallengeHints, Refusal};
use super::response::{WireFormat, refuse};
use crate::protocol::ScopeSet;
use crate::protocol::credentials::Scheme;
use crate::token::TokenInfo;

/// Something that a token has to meet.
pub(super) trait Requirement {
    /// What the application reads where no layer has judged the request.
    const NO_LAYER: &'static str;

    /// Why this token does not meet it, if it does not.
    fn judge(
        &self,
        judged: &AuthState,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Refusal>;

    /// What a caller is told to come back with, beside the scopes that the refusal names.
    fn demand(&self) -> ChallengeHints<'_> {
        ChallengeHints::default()
    }
}

/// Lets a request through that meets the requirement, or answers it.
pub(super) fn call<S, B, R>(
    requirement: &impl Requirement,
    inner: &mut S,
    request: Request<B>,
) -> ScopeFuture<S::Future, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    match check(requirement, &request) {
        Ok(()) => ScopeFuture::admitted(inner.call(request)),
        Err(response) => ScopeFuture::refused(*response),
    }
}

/// A request that no layer has judged is 500 and never anonymous (`X1`); who shows no token is asked for
/// one before anything is told of what else is demanded.
fn check<T: Requirement, B, R: Default>(
    requirement: &T,
    request: &Request<B>,
) -> Result<(), Box<Response<R>>> {
    let judged = find_judged(request, T::NO_LAYER)?;
    let protection = &judged.protection;
    let token_info = judged.token_info.as_deref().ok_or_else(|| {
        let refusal = Refusal::NoCredentials;
        refuse_request(
            refusal,
            request,
            protection,
            None,
            ChallengeHints::default(),
        )
    })?;
    let Err(refusal) = requirement.judge(judged, token_info, request.extensions()) else {
        return Ok(());
    };
    let needed = match &refusal {
        Refusal::InsufficientScope { needed } => Some(ScopeSet::from_wire(needed)),
        _ => None,
    };
    let demand = ChallengeHints {
        scope: needed.as_ref(),
        ..requirement.demand()
    };
    let used = Some(judged.scheme);
    Err(refuse_request(refusal, request, protection, used, demand))
}

/// That a layer further out looked at the request; otherwise the answer.
pub(super) fn find_judged<'a, B, R: Default>(
    request: &'a Request<B>,
    missing: &'static str,
) -> Result<&'a AuthState, Box<Response<R>>> {
    request.extensions().get().ok_or_else(|| {
        let (refusal, protection) = (Refusal::MissingLayer(missing), ChallengeParams::default());
        refuse_request(
            refusal,
            request,
            &protection,
            None,
            ChallengeHints::default(),
        )
    })
}

/// The answer to a request that is at hand, and word of it to the application.
pub(super) fn refuse_request<B, R: Default>(
    refusal: Refusal,
    request: &Request<B>,
    protection: &ChallengeParams,
    used: Option<Scheme>,
    demand: ChallengeHints<'_>,
) -> Box<Response<R>> {
    protection.tell(&refusal, request.method(), request.uri());
    let speech = WireFormat::of(request.method(), request.headers());
    Box::new(refuse(refusal, protection, used, demand, speech))
}

pin_project! {
    /// The answer of [`RequireScope`](super::RequireScope), [`RequireStepUp`](super::RequireStepUp),
    /// [`RequireMethodScope`](super::RequireMethodScope), [`ForwardClaims`](super::ForwardClaims) and
    /// [`RejectAmbiguousPaths`](super::RejectAmbiguousPaths): a refusal, or the inner service's.
    #[derive(Debug)]
    pub struct ScopeFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProjection]
    #[derive(Debug)]
    enum State<F, R> {
        Refused { response: Option<Response<R>> },
        Admitted { #[pin] inner: F },
    }
}

impl<F, R> ScopeFuture<F, R> {
    pub(super) fn refused(response: Response<R>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn admitted(inner: F) -> Self {
        Self {
            state: State::Admitted { inner },
        }
    }
}

impl<F, R, E> Future for ScopeFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled again after it was done.
                None => Poll::Pending,
            },
            StateProjection::Admitted { inner } => inner.poll(cx),
        }
    }
}
