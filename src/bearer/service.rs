//! The service of [`BearerLayer`](super::BearerLayer).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, HeaderValue, Request, Response};
use tower_service::Service;

use super::challenge_params::AuthState;
use super::future::{Finish, ResponseFuture, Waiting};
use super::layer::Settings;
use super::refusal::Refusal;
use super::response::WireFormat;
use crate::protocol::credentials::{
    self, Credentials, Found, InvalidCredentials, Presented, Scheme,
};
use crate::telemetry;
use crate::token::{
    CacheLookup, PendingReplayCheck, RequestParts, TokenInfo, VerifiedToken, VerifyError,
    VerifyErrorKind,
};

/// The service that [`BearerLayer`](super::BearerLayer) makes.
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
    type Future = ResponseFuture<S, C, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let speech = WireFormat::of(request.method(), request.headers());
        match judge(&self.settings, &mut request) {
            AuthOutcome::Admitted(elsewhere) => {
                let finish = Finish::of_token(&self.settings, elsewhere);
                ResponseFuture::admitted(self.inner.call(request), finish)
            }
            AuthOutcome::Anonymous => {
                let finish = Finish::of_anonymous(&self.settings);
                ResponseFuture::admitted(self.inner.call(request), finish)
            }
            AuthOutcome::Refused(refused) => {
                // Gives back what `poll_ready` may have reserved for a call that does not come.
                self.inner = self.inner.clone();
                let protection = &self.settings.protection;
                protection.tell(&refused.refusal, request.method(), request.uri());
                ResponseFuture::refused(refused, &self.settings, speech)
            }
            AuthOutcome::Undecided(presented) => {
                let waiting = self.wait(request, speech);
                ResponseFuture::verifying(waiting, presented)
            }
            AuthOutcome::PendingReplayCheck(passed, proof) => {
                let waiting = self.wait(request, speech);
                ResponseFuture::spending(waiting, passed, proof)
            }
        }
    }
}

impl<S: Clone, C> Bearer<S, C> {
    /// Keeps a request until somebody has answered.
    fn wait<B>(&mut self, request: Request<B>, speech: WireFormat) -> Waiting<S, C, B> {
        // The clone takes our place; the service that was polled ready is the one to call.
        let next = self.inner.clone();
        Waiting {
            service: std::mem::replace(&mut self.inner, next),
            request,
            settings: Arc::clone(&self.settings),
            speech,
        }
    }
}

/// What can be said of a request without waiting.
enum AuthOutcome<C> {
    /// The request carries its verified token now; whether it came from elsewhere than `Authorization`.
    Admitted(bool),
    Anonymous,
    Refused(Refused),
    /// Somebody has to be asked first.
    Undecided(Presented),
    /// All is good, if the proof was not shown before.
    PendingReplayCheck(Passed<C>, PendingReplayCheck),
}

/// A refusal, and the scheme whose challenge tells why: all of them where none was used alone.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) scheme: Option<Scheme>,
    /// What a proof has to hold the next time (RFC 9449 §9).
    pub(super) nonce: Option<HeaderValue>,
}

/// A token that is good, with what it is presented as.
pub(super) struct Passed<C> {
    token_info: Arc<TokenInfo>,
    claims: Arc<C>,
    presented: Presented,
}

fn judge<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
) -> AuthOutcome<C> {
    let nobody = |refusal| {
        AuthOutcome::Refused(Refused {
            refusal,
            scheme: None,
            nonce: None,
        })
    };
    if settings.has_forbidden_trailer(request.headers()) {
        return nobody(Refusal::ForbiddenTrailer);
    }
    let found = match read(settings, request) {
        Err(_) => return nobody(Refusal::InvalidRequest),
        Ok(Credentials::Absent) => {
            if let Some(order) = &settings.layer_order {
                order.check(request);
            }
            if !settings.optional {
                return nobody(Refusal::NoCredentials);
            }
            // A client that proves possession means to present a token.
            if request.headers().contains_key("dpop") {
                return nobody(Refusal::UnsupportedCredentials { found: LONE_PROOF });
            }
            let bindings = &settings.bindings;
            if !bindings.is_certificate_readable(request.headers(), request.extensions()) {
                return nobody(Refusal::InvalidRequest);
            }
            admit_anonymous(settings, request);
            telemetry::Request::Anonymous.count();
            return AuthOutcome::Anonymous;
        }
        Ok(Credentials::Unsupported(found)) => {
            return nobody(Refusal::UnsupportedCredentials { found });
        }
        Ok(Credentials::Token(found)) => found,
    };
    let elsewhere = found.is_elsewhere();
    // A token that is remembered was read before, to the last character.
    let (token_info, presented) = match settings.verifier.lookup_cached(found.bytes()) {
        CacheLookup::Hit(token_info) => (Ok(token_info), found.known()),
        CacheLookup::Miss(tag) => {
            let Ok(presented) = found.checked() else {
                return nobody(Refusal::InvalidRequest);
            };
            match settings.verifier.verify_now(presented.token(), tag) {
                Some(token_info) => (token_info, presented),
                None => return AuthOutcome::Undecided(presented),
            }
        }
    };
    match examine(settings, request, token_info, presented) {
        Ok((passed, None)) => {
            admit(settings, request, passed);
            AuthOutcome::Admitted(elsewhere)
        }
        Ok((passed, Some(proof))) => AuthOutcome::PendingReplayCheck(passed, proof),
        Err(refused) => AuthOutcome::Refused(refused),
    }
}

const LONE_PROOF: &str = "a DPoP proof without an access token";

/// The token of the header, or of a place that was named beside it; two are one too many, whatever they
/// say (RFC 6750 §2, `C3`).
fn read<C, B>(
    settings: &Settings<C>,
    request: &Request<B>,
) -> Result<Credentials, InvalidCredentials> {
    let (headers, extensions) = (request.headers(), request.extensions());
    let mut found = credentials::read(headers, settings.bindings.takes_dpop())?;
    for source in &settings.sources {
        let Some(value) = source.find(headers, extensions)? else {
            continue;
        };
        if !matches!(found, Credentials::Absent) {
            return Err(InvalidCredentials);
        }
        found = Credentials::Token(Found::bare(value));
    }
    Ok(found)
}

/// Looks at what only this request shows. A proof that comes back has still to be spent.
pub(super) fn examine<C, B>(
    settings: &Settings<C>,
    request: &Request<B>,
    token_info: Result<Arc<TokenInfo>, VerifyError>,
    presented: Presented,
) -> Result<(Passed<C>, Option<PendingReplayCheck>), Refused> {
    let scheme = presented.scheme;
    if let Ok(token_info) = &token_info
        && settings.bindings.has_unreadable_certificate(
            token_info,
            request.headers(),
            request.extensions(),
        )
    {
        return Err(Refused {
            refusal: Refusal::InvalidRequest,
            scheme: None,
            nonce: None,
        });
    }
    let examined = token_info.and_then(|token_info| {
        let parts = RequestParts {
            presented: &presented,
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        let proof = settings.bindings.check(&token_info, &parts)?;
        let claims = (settings.convert)(&token_info)?;
        Ok((token_info, claims, proof))
    });
    let (token_info, claims, proof) = examined.map_err(|error| refused(settings, error, scheme))?;
    let passed = Passed {
        token_info,
        claims,
        presented,
    };
    Ok((passed, proof))
}

/// A refusal of the token or of what it was shown with.
pub(super) fn refused<C>(settings: &Settings<C>, error: VerifyError, used: Scheme) -> Refused {
    // Where Bearer is not offered, there is only the other challenge to tell why.
    let told = error.kind() != VerifyErrorKind::DpopRequired;
    Refused {
        nonce: settings.bindings.nonce_for(error.kind()),
        refusal: Refusal::Token(error),
        scheme: told.then_some(used),
    }
}

/// Puts the verified token where scope layers, extractors and handlers find it.
pub(super) fn admit<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
    passed: Passed<C>,
) {
    let Passed {
        token_info,
        claims,
        presented,
    } = passed;
    let extensions = request.extensions_mut();
    forget_earlier(extensions);
    extensions.insert(AuthState {
        protection: Arc::clone(&settings.protection),
        token_info: Some(Arc::clone(&token_info)),
        scheme: presented.scheme,
        forget: forget::<C>,
    });
    extensions.insert(VerifiedToken::new(token_info, claims, presented));
    settings.strip_credentials(request.headers_mut());
    telemetry::Request::Accepted.count();
}

fn admit_anonymous<C: Send + Sync + 'static, B>(settings: &Settings<C>, request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    forget_earlier(extensions);
    extensions.insert(AuthState {
        protection: Arc::clone(&settings.protection),
        token_info: None,
        scheme: Scheme::Bearer,
        forget: forget::<C>,
    });
    // Nobody judged what may be there: all the more reason to keep it.
    settings.strip_credentials(request.headers_mut());
}

/// One token speaks for a request, that of the innermost layer: not one of a layer around it that reads the
/// claims as another type.
fn forget_earlier(extensions: &mut Extensions) {
    if let Some(forget) = extensions.get().map(|earlier: &AuthState| earlier.forget) {
        forget(extensions);
    }
}

fn forget<C: Send + Sync + 'static>(extensions: &mut Extensions) {
    extensions.remove::<VerifiedToken<C>>();
}

impl<C> Passed<C> {
    pub(super) fn scheme(&self) -> Scheme {
        self.presented.scheme
    }

    /// Whether the token came from elsewhere than `Authorization`.
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
