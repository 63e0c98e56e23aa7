//! The service of [`BearerLayer`](super::BearerLayer).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderValue, Request, Response};
use tower_service::Service;

use super::challenge_params::AuthState;
use super::future::{BearerFuture, DeferredCall, ResponseHeaders};
use super::layer::Settings;
use super::refusal::Refusal;
use super::response::WireFormat;
use crate::clock::Now;
use crate::protocol::credentials::{
    self, Credentials, InvalidCredentials, PresentedToken, Scheme, UncheckedToken,
};
use crate::telemetry;
use crate::token::{
    CacheLookup, PendingReplayCheck, RequestParts, TokenInfo, VerifiedToken, VerifyError,
    VerifyErrorKind,
};
use crate::verification::{PendingVerification, Verification};

/// The service created by [`BearerLayer`](super::BearerLayer).
pub struct Bearer<S, C = crate::protocol::Claims> {
    inner: S,
    settings: Arc<Settings<C>>,
}

impl<S, C> Bearer<S, C> {
    pub(super) fn new(inner: S, settings: Arc<Settings<C>>) -> Self {
        Self { inner, settings }
    }
}

impl<S, C, B, R> Service<Request<B>> for Bearer<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: Send + Sync + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BearerFuture<S, C, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let wire_format = WireFormat::of(request.method(), request.headers());
        match authenticate(&self.settings, &mut request) {
            AuthOutcome::Authenticated { is_elsewhere } => {
                let headers = ResponseHeaders::of_token(&self.settings, is_elsewhere);
                BearerFuture::forwarded(self.inner.call(request), headers)
            }
            AuthOutcome::Anonymous => {
                let headers = ResponseHeaders::of_anonymous(&self.settings);
                BearerFuture::forwarded(self.inner.call(request), headers)
            }
            AuthOutcome::Rejected(failure) => {
                // Releases what `poll_ready` may have reserved, since the inner service is not called.
                self.inner = self.inner.clone();
                let challenge = &self.settings.challenge;
                challenge.report(&failure.refusal, request.method(), request.uri());
                BearerFuture::rejected(failure, &self.settings, wire_format)
            }
            AuthOutcome::NeedsVerification(presented, verification) => {
                let call = self.defer(request, wire_format);
                BearerFuture::verifying(call, presented, verification)
            }
            AuthOutcome::NeedsReplayCheck(authenticated, check) => {
                let call = self.defer(request, wire_format);
                BearerFuture::checking_replay(call, authenticated, check)
            }
        }
    }
}

impl<S: Clone, C> Bearer<S, C> {
    /// Keeps the request until the token or the proof is verified.
    fn defer<B>(&mut self, request: Request<B>, wire_format: WireFormat) -> DeferredCall<S, C, B> {
        // Only the service that was polled ready may be called; the clone replaces it.
        let next = self.inner.clone();
        DeferredCall {
            service: std::mem::replace(&mut self.inner, next),
            request,
            settings: Arc::clone(&self.settings),
            wire_format,
        }
    }
}

/// The result of authentication as far as it is possible without waiting.
enum AuthOutcome<C> {
    /// The request extensions contain the verified token.
    Authenticated {
        /// Whether the token came from another place than `Authorization`.
        is_elsewhere: bool,
    },
    Anonymous,
    Rejected(AuthFailure),
    /// A key has to be fetched or the token introspected.
    NeedsVerification(
        PresentedToken,
        PendingVerification<Result<Arc<TokenInfo>, VerifyError>>,
    ),
    /// The request is authenticated unless the proof is a replay.
    NeedsReplayCheck(Authenticated<C>, PendingReplayCheck),
}

/// Why a request is rejected, and what the challenges contain.
pub(super) struct AuthFailure {
    pub(super) refusal: Refusal,
    /// The scheme whose challenge contains the error; `None` for all of them.
    pub(super) scheme: Option<Scheme>,
    /// The nonce that the next DPoP proof must contain (RFC 9449 §9).
    pub(super) nonce: Option<HeaderValue>,
}

impl AuthFailure {
    fn new(refusal: Refusal) -> Self {
        Self {
            refusal,
            scheme: None,
            nonce: None,
        }
    }
}

/// A verified token, its claims, and how it was presented.
pub(super) struct Authenticated<C> {
    token_info: Arc<TokenInfo>,
    claims: Arc<C>,
    presented: PresentedToken,
}

fn authenticate<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
) -> AuthOutcome<C> {
    let reject = |refusal| AuthOutcome::Rejected(AuthFailure::new(refusal));
    if settings.has_forbidden_trailer(request.headers()) {
        return reject(Refusal::ForbiddenTrailer);
    }
    let found = match read(settings, request) {
        Err(_) => return reject(Refusal::InvalidRequest),
        Ok(Credentials::Absent) => {
            if let Some(order) = &settings.layer_order {
                order.check(request);
            }
            if !settings.optional {
                return reject(Refusal::NoCredentials);
            }
            // A client that sends a proof of possession intends to present a token.
            if request.headers().contains_key("dpop") {
                return reject(Refusal::UnsupportedCredentials { found: LONE_PROOF });
            }
            let bindings = &settings.bindings;
            if !bindings.is_certificate_readable(request.headers(), request.extensions()) {
                return reject(Refusal::InvalidRequest);
            }
            insert_anonymous(settings, request);
            telemetry::Request::Anonymous.count();
            return AuthOutcome::Anonymous;
        }
        Ok(Credentials::Unsupported(found)) => {
            return reject(Refusal::UnsupportedCredentials { found });
        }
        Ok(Credentials::Token(found)) => found,
    };
    let is_elsewhere = found.is_elsewhere();
    let now = Now::new(&settings.challenge.clock);
    // The syntax of a cached token was checked when it was verified.
    let (token_info, presented) = match settings.verifier.lookup_cached(found.bytes(), &now) {
        CacheLookup::Hit(token_info) => (Ok(token_info), found.into_verified()),
        CacheLookup::Miss(tag) => {
            let Ok(presented) = found.checked() else {
                return reject(Refusal::InvalidRequest);
            };
            match settings.verifier.verify_at(presented.token(), tag, &now) {
                Verification::Ready(token_info) => (token_info, presented),
                Verification::Pending(pending) => {
                    return AuthOutcome::NeedsVerification(presented, pending);
                }
            }
        }
    };
    match check_binding(settings, request, token_info, presented, &now) {
        Ok((authenticated, None)) => {
            insert_token(settings, request, authenticated);
            AuthOutcome::Authenticated { is_elsewhere }
        }
        Ok((authenticated, Some(check))) => AuthOutcome::NeedsReplayCheck(authenticated, check),
        Err(failure) => AuthOutcome::Rejected(failure),
    }
}

const LONE_PROOF: &str = "a DPoP proof without an access token";

/// Reads the token from the header or from a token source. RFC 6750 §2: a request that uses more than one method
/// is malformed, even if the tokens are equal.
fn read<C, B>(
    settings: &Settings<C>,
    request: &Request<B>,
) -> Result<Credentials, InvalidCredentials> {
    let (headers, extensions) = (request.headers(), request.extensions());
    let mut found = credentials::read(headers, settings.bindings.takes_dpop())?;
    for source in &settings.token_sources {
        let Some(value) = source.find(headers, extensions)? else {
            continue;
        };
        if !matches!(found, Credentials::Absent) {
            return Err(InvalidCredentials);
        }
        found = Credentials::Token(UncheckedToken::bare(value));
    }
    Ok(found)
}

/// Checks the proof of possession, which is part of this request and never cached. The replay check of a returned
/// proof is still pending.
pub(super) fn check_binding<C, B>(
    settings: &Settings<C>,
    request: &Request<B>,
    token_info: Result<Arc<TokenInfo>, VerifyError>,
    presented: PresentedToken,
    now: &Now<'_>,
) -> Result<(Authenticated<C>, Option<PendingReplayCheck>), AuthFailure> {
    let scheme = presented.scheme;
    if let Ok(token_info) = &token_info
        && settings.bindings.has_unreadable_certificate(
            token_info,
            request.headers(),
            request.extensions(),
        )
    {
        return Err(AuthFailure::new(Refusal::InvalidRequest));
    }
    let checked = token_info.and_then(|token_info| {
        let parts = RequestParts {
            presented: &presented,
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            now,
        };
        let pending = settings.bindings.check(&token_info, &parts)?;
        let claims = (settings.convert)(&token_info)?;
        Ok((token_info, claims, pending))
    });
    let (token_info, claims, pending) =
        checked.map_err(|error| token_failure(settings, error, scheme))?;
    let authenticated = Authenticated {
        token_info,
        claims,
        presented,
    };
    Ok((authenticated, pending))
}

/// Returns the failure for an invalid token or proof of possession.
pub(super) fn token_failure<C>(
    settings: &Settings<C>,
    error: VerifyError,
    used: Scheme,
) -> AuthFailure {
    // If DPoP is required, there is no `Bearer` challenge that could contain the error.
    let is_offered = error.kind() != VerifyErrorKind::DpopRequired;
    AuthFailure {
        nonce: settings.bindings.nonce_for(error.kind()),
        refusal: Refusal::Token(error),
        scheme: is_offered.then_some(used),
    }
}

/// Inserts the verified token into the request extensions, for scope layers, extractors and handlers.
pub(super) fn insert_token<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
    authenticated: Authenticated<C>,
) {
    let Authenticated {
        token_info,
        claims,
        presented,
    } = authenticated;
    let extensions = request.extensions_mut();
    clear_previous(extensions);
    extensions.insert(AuthState {
        challenge: Arc::clone(&settings.challenge),
        token_info: Some(Arc::clone(&token_info)),
        scheme: presented.scheme,
        clear: clear::<C>,
    });
    extensions.insert(VerifiedToken::new(token_info, claims, presented));
    settings.strip_credentials(request.headers_mut());
    telemetry::Request::Accepted.count();
}

fn insert_anonymous<C: Send + Sync + 'static, B>(settings: &Settings<C>, request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    clear_previous(extensions);
    extensions.insert(AuthState {
        challenge: Arc::clone(&settings.challenge),
        token_info: None,
        scheme: Scheme::Bearer,
        clear: clear::<C>,
    });
    // Credentials of other schemes were not validated, so they must not reach the inner service either.
    settings.strip_credentials(request.headers_mut());
}

/// Removes the token of an outer layer, which may have claims of another type: the innermost layer alone decides
/// which token authenticates the request.
fn clear_previous(extensions: &mut Extensions) {
    if let Some(clear) = extensions.get().map(|previous: &AuthState| previous.clear) {
        clear(extensions);
    }
}

fn clear<C: Send + Sync + 'static>(extensions: &mut Extensions) {
    extensions.remove::<VerifiedToken<C>>();
}

impl<C> Authenticated<C> {
    pub(super) fn scheme(&self) -> Scheme {
        self.presented.scheme
    }

    /// Returns whether the token came from another place than `Authorization`.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.presented.is_elsewhere()
    }
}

impl<S: Clone, C> Clone for Bearer<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Bearer<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
