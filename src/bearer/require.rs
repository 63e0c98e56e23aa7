//! Enforces a requirement (scopes, step-up authentication, gRPC methods) on a request that an outer layer
//! authenticated.

use http::{Extensions, Request, Response};
use tower_service::Service;

use super::challenge_params::{AuthState, ChallengeParams};
use super::refusal::{ChallengeHints, Refusal};
use super::response::{WireFormat, refuse};
use crate::protocol::ScopeSet;
use crate::protocol::credentials::Scheme;
use crate::response_future::ResponseFuture;
use crate::token::TokenInfo;

/// A requirement on the token of a request.
pub(super) trait Requirement {
    /// The message of the 500 response if there is no outer `BearerLayer`.
    const NO_LAYER: &'static str;

    /// Checks the token, and returns why it does not meet the requirement.
    fn enforce(
        &self,
        state: &AuthState,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Refusal>;

    /// Returns the parameters of the challenge beside the scopes of the refusal.
    fn hints(&self) -> ChallengeHints<'_> {
        ChallengeHints::default()
    }
}

/// Forwards a request that meets the requirement, and rejects it otherwise.
pub(super) fn call<S, B, R>(
    requirement: &impl Requirement,
    inner: &mut S,
    request: Request<B>,
) -> ResponseFuture<S::Future, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    match check(requirement, &request) {
        Ok(()) => ResponseFuture::inner(inner.call(request)),
        Err(response) => ResponseFuture::own(*response),
    }
}

/// Without an outer layer the response is 500: such a request must never count as anonymous. An anonymous request gets
/// a challenge that does not reveal the requirement.
fn check<T: Requirement, B, R: Default>(
    requirement: &T,
    request: &Request<B>,
) -> Result<(), Box<Response<R>>> {
    let state = auth_state(request, T::NO_LAYER)?;
    let challenge = &state.challenge;
    let token_info = state.token_info.as_deref().ok_or_else(|| {
        let (refusal, hints) = (Refusal::NoCredentials, ChallengeHints::default());
        refuse_request(refusal, request, challenge, None, hints)
    })?;
    let Err(refusal) = requirement.enforce(state, token_info, request.extensions()) else {
        return Ok(());
    };
    let required = match &refusal {
        Refusal::InsufficientScope { required } => Some(ScopeSet::from_wire(required)),
        _ => None,
    };
    let hints = ChallengeHints {
        scope: required.as_ref(),
        ..requirement.hints()
    };
    let used = Some(state.scheme);
    Err(refuse_request(refusal, request, challenge, used, hints))
}

/// Returns the authentication result of the outer layer, or the 500 response if there is none.
pub(super) fn auth_state<'a, B, R: Default>(
    request: &'a Request<B>,
    no_layer: &'static str,
) -> Result<&'a AuthState, Box<Response<R>>> {
    request.extensions().get().ok_or_else(|| {
        let (refusal, challenge) = (Refusal::MissingLayer(no_layer), ChallengeParams::default());
        refuse_request(
            refusal,
            request,
            &challenge,
            None,
            ChallengeHints::default(),
        )
    })
}

/// Creates the response to a rejected request, and calls the application's hook.
pub(super) fn refuse_request<B, R: Default>(
    refusal: Refusal,
    request: &Request<B>,
    challenge: &ChallengeParams,
    used: Option<Scheme>,
    hints: ChallengeHints<'_>,
) -> Box<Response<R>> {
    challenge.report(&refusal, request.method(), request.uri());
    let wire_format = WireFormat::of(request.method(), request.headers());
    Box::new(refuse(refusal, challenge, used, hints, wire_format))
}
