//! Authentication of a request: a function of the settings and the head of the request.

use std::sync::Arc;

use http::request::Parts;
use http::{Request, Response};
use tracing::Instrument as _;

use super::auth_state::AuthState;
use super::form_token::FormToken;
use super::refusal::Refusal;
use super::settings::{DPOP_NONCE, ResponseHeaders, Settings};
use crate::clock::Now;
use crate::protocol::cache;
use crate::protocol::credentials::{self, Credentials, InvalidCredentials, PresentedToken, Scheme};
use crate::telemetry;
use crate::token::{CacheLookup, PendingReplayCheck, TokenInfo, VerifyError, VerifyErrorKind};
use crate::verification::{PendingVerification, Verification};

/// What is done with a request: it is forwarded, with these changes to its response, if any; or this response is sent.
pub(super) type Decision = Result<Option<ResponseHeaders>, Box<Response<()>>>;

/// The authentication of a request. The head of an accepted request has the result in its extensions.
pub(super) enum AuthOutcome {
    Complete(Decision),
    /// The future owns the head, and returns it.
    Pending(PendingVerification<(Parts, Decision)>),
}

/// Authenticates a request: immediately unless a key has to be fetched, the token introspected, or a DPoP proof recorded.
pub(super) fn authenticate(settings: &Arc<Settings>, head: &mut Parts) -> AuthOutcome {
    let presented = match find_token(settings, head) {
        Ok(Some(presented)) => presented,
        Ok(None) => {
            let extensions = &mut head.extensions;
            AuthState::insert_anonymous(extensions, &settings.challenge, settings.claims_type);
            // Credentials of other schemes were not validated, so they must not reach the inner service either.
            settings.strip_credentials(&mut head.headers);
            telemetry::Request::Anonymous.count();
            let headers = ResponseHeaders::of_anonymous(settings);
            return AuthOutcome::Complete(Ok(Some(headers)));
        }
        Err(refusal) => {
            return AuthOutcome::Complete(Err(reject(settings, head, refusal, None)));
        }
    };
    let now = Now::new(&settings.clock);
    let verification = match settings.verifier.lookup_cached(presented.bytes(), &now) {
        CacheLookup::Hit(token_info) => {
            return accept(settings, head, presented, Ok(token_info), &now);
        }
        // The syntax of a cached token was checked when it was verified.
        CacheLookup::Miss(_) if !presented.is_token68() => {
            let response = reject(settings, head, Refusal::InvalidRequest, None);
            return AuthOutcome::Complete(Err(response));
        }
        CacheLookup::Miss(tag) => settings.verifier.verify_at(presented.token(), tag, &now),
    };
    match verification {
        Verification::Ready(token_info) => {
            let outcome = accept(settings, head, presented, token_info, &now);
            record_accepted(settings, &outcome);
            outcome
        }
        Verification::Pending(verification) => {
            let (settings, mut head) = (Arc::clone(settings), take(head));
            let span = tracing::debug_span!(target: "tower_oauth::bearer", "verify");
            AuthOutcome::Pending(Box::pin(async move {
                let token_info = verification.instrument(span).await;
                let accepted = {
                    // The request waited, so the clock is read again.
                    let now = Now::new(&settings.clock);
                    accept(&settings, &mut head, presented, token_info, &now)
                };
                record_accepted(&settings, &accepted);
                match accepted {
                    AuthOutcome::Complete(decision) => (head, decision),
                    AuthOutcome::Pending(authentication) => authentication.await,
                }
            }))
        }
    }
}

/// Notes that a new token was accepted. Whether its proof was used before is not known yet, and does not matter here.
fn record_accepted(settings: &Settings, outcome: &AuthOutcome) {
    if !matches!(outcome, AuthOutcome::Complete(Err(_))) {
        settings.rejections.record_accepted();
    }
}

/// Moves the head out of the request, which is restored when authentication is complete.
fn take(head: &mut Parts) -> Parts {
    std::mem::replace(head, Request::new(()).into_parts().0)
}

/// Finds the token of a request. Returns `None` if the request is forwarded as anonymous.
fn find_token(settings: &Settings, head: &Parts) -> Result<Option<PresentedToken>, Refusal> {
    if let Some(contradiction) = settings.contradiction {
        return Err(Refusal::MissingLayer(contradiction.reason));
    }
    if settings.fapi2 && head.extensions.get::<FormToken>().is_some() {
        tracing::debug!(
            name: "form_token_rejected",
            target: "tower_oauth::bearer",
            found = "an access token in a form",
            expected = "an access token in the Authorization header (FAPI 2.0 Security Profile §5.3.4)",
            setting = "BearerLayer::with_fapi2_security_profile",
            "rejected a request with an access token in a form"
        );
        return Err(Refusal::InvalidRequest);
    }
    if settings.removes_fields() && settings.has_forbidden_trailer(&head.headers) {
        return Err(Refusal::ForbiddenTrailer);
    }
    match read_credentials(settings, head) {
        Ok(Credentials::Token(presented)) => return Ok(Some(presented)),
        Ok(Credentials::Unsupported(found)) => {
            return Err(Refusal::UnsupportedCredentials { found });
        }
        Ok(Credentials::Absent) => {}
        Err(InvalidCredentials) => return Err(Refusal::InvalidRequest),
    }
    if let Some(order) = &settings.layer_order {
        order.check(head);
    }
    if !settings.optional {
        return Err(Refusal::NoCredentials);
    }
    // A client that sends a proof of possession intends to present a token.
    if head.headers.contains_key("dpop") {
        return Err(Refusal::UnsupportedCredentials { found: LONE_PROOF });
    }
    if settings.bindings.has_unreadable_certificate(None, head) {
        return Err(Refusal::InvalidRequest);
    }
    Ok(None)
}

const LONE_PROOF: &str = "a DPoP proof without an access token";

/// Reads the token from the header or from a token source. RFC 6750 §2: a request that uses more than one method
/// is malformed, even if the tokens are equal.
fn read_credentials(settings: &Settings, head: &Parts) -> Result<Credentials, InvalidCredentials> {
    let mut found = credentials::read(&head.headers, settings.bindings.takes_dpop())?;
    for source in &settings.token_sources {
        let Some(value) = source.find(&head.headers, &head.extensions)? else {
            continue;
        };
        if !matches!(found, Credentials::Absent) {
            return Err(InvalidCredentials);
        }
        found = Credentials::Token(PresentedToken::bare(value));
    }
    Ok(found)
}

/// Accepts a request whose token was verified, after the checks of the request itself.
fn accept(
    settings: &Arc<Settings>,
    head: &mut Parts,
    presented: PresentedToken,
    token_info: Result<Arc<TokenInfo>, VerifyError>,
    now: &Now<'_>,
) -> AuthOutcome {
    let scheme = Some(presented.scheme);
    let is_elsewhere = presented.is_elsewhere();
    let is_changed = settings.private || is_elsewhere;
    let headers = is_changed.then(|| ResponseHeaders::of_token(settings, is_elsewhere));
    let checked = match token_info {
        Ok(token_info) => check_request(settings, head, presented, token_info, now),
        Err(error) => Err(Refusal::Token(error)),
    };
    match checked {
        Ok(None) => {
            telemetry::Request::Accepted.count();
            AuthOutcome::Complete(Ok(headers))
        }
        Ok(Some(replay)) => record_proof(Arc::clone(settings), take(head), replay, headers),
        Err(refusal) => AuthOutcome::Complete(Err(reject(settings, head, refusal, scheme))),
    }
}

/// Accepts a request unless its DPoP proof is a replay.
// Not inlined, and the rejection neither: most requests need no stack for them.
#[inline(never)]
fn record_proof(
    settings: Arc<Settings>,
    head: Parts,
    replay: Box<PendingReplayCheck>,
    mut headers: Option<ResponseHeaders>,
) -> AuthOutcome {
    AuthOutcome::Pending(Box::pin(async move {
        if let Err(error) = replay.record().await {
            // The head is dropped with the response, and the token in its extensions with it.
            let response = reject(&settings, &head, Refusal::Token(error), Some(Scheme::Dpop));
            return (head, Err(response));
        }
        telemetry::Request::Accepted.count();
        headers.get_or_insert_default().nonce = replay.into_nonce().map(Box::new);
        (head, Ok(headers))
    }))
}

/// Checks the proof of possession, which is part of this request and never cached, and inserts the token into the request
/// extensions. The replay check of a returned proof is still pending: it is the last one, so that a request which is
/// rejected for another reason does not use up its proof.
fn check_request(
    settings: &Settings,
    head: &mut Parts,
    presented: PresentedToken,
    token_info: Arc<TokenInfo>,
    now: &Now<'_>,
) -> Result<Option<Box<PendingReplayCheck>>, Refusal> {
    let bindings = &settings.bindings;
    let invalid = |kind: VerifyErrorKind| Refusal::Token(kind.into());
    let mut replay = None;
    if bindings.concern(&token_info) {
        if bindings.has_unreadable_certificate(Some(&token_info), head) {
            return Err(Refusal::InvalidRequest);
        }
        let checked = bindings.check(&token_info, &presented, head, now);
        replay = checked.map_err(invalid)?;
    }
    AuthState::insert_token(
        &mut head.extensions,
        &settings.challenge,
        settings.claims_type,
        token_info,
        presented,
        now.unix_seconds(&settings.clock),
    )
    .map_err(invalid)?;
    if settings.removes_fields() {
        settings.strip_credentials(&mut head.headers);
    }
    Ok(replay)
}

/// Creates the response to a rejected request. `scheme` is that of the presented token.
#[cold]
fn reject(
    settings: &Settings,
    head: &Parts,
    refusal: Refusal,
    scheme: Option<Scheme>,
) -> Box<Response<()>> {
    let (used, nonce) = match &refusal {
        Refusal::Token(error) => {
            // If DPoP is required, there is no `Bearer` challenge that could contain the error.
            let is_offered = error.kind() != VerifyErrorKind::DpopRequired;
            // The nonce that the next proof must contain (RFC 9449 §9).
            let nonce = settings.bindings.nonce_for(error.kind());
            (scheme.filter(|_| is_offered), nonce)
        }
        _ => (None, None),
    };
    telemetry::Request::Refused.count();
    settings
        .rejections
        .record_rejected(&refusal, &settings.clock);
    let mut response = settings.challenge.refuse(refusal, used, head);
    if let Some(nonce) = nonce {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    for member in settings.vary().into_iter().flat_map(|vary| vary.iter()) {
        cache::vary_by(response.headers_mut(), member);
    }
    response
}
