//! The service of [`BearerLayer`](super::BearerLayer).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Settings;
use super::protection::Judged;
use super::refusal::Refusal;
use super::response::Speech;
use crate::protocol::credentials::{self, Credentials, Presented, Scheme};
use crate::token::{Shown, Verdict, VerifiedToken, VerifyError};

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
        let speech = Speech::of(request.method(), request.headers());
        match judge(&self.settings, &mut request) {
            Judgement::Admitted => {
                ResponseFuture::admitted(self.inner.call(request), self.settings.private)
            }
            Judgement::Anonymous => ResponseFuture::admitted(self.inner.call(request), false),
            Judgement::Refused(refused) => {
                // Gives back what `poll_ready` may have reserved for a call that does not come.
                self.inner = self.inner.clone();
                ResponseFuture::refused(refused, &self.settings, speech)
            }
            Judgement::Undecided(presented) => {
                // The clone takes our place; the service that was polled ready is the one to call.
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                let settings = Arc::clone(&self.settings);
                ResponseFuture::verifying(ready, request, settings, presented, speech)
            }
        }
    }
}

/// What can be said of a request without waiting.
enum Judgement {
    /// The request carries its verified token now.
    Admitted,
    Anonymous,
    Refused(Refused),
    /// Somebody has to be asked first.
    Undecided(Presented),
}

/// A refusal, and the scheme whose challenge tells why: all of them where none was used alone.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) scheme: Option<Scheme>,
}

fn judge<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
) -> Judgement {
    let nobody = |refusal| {
        let scheme = None;
        Judgement::Refused(Refused { refusal, scheme })
    };
    let presented = match credentials::read(request.headers(), settings.bindings.takes_dpop()) {
        Err(_) => return nobody(Refusal::InvalidRequest),
        Ok(Credentials::Absent) if settings.optional => {
            admit_anonymous(settings, request);
            return Judgement::Anonymous;
        }
        Ok(Credentials::Absent) => return nobody(Refusal::NoCredentials),
        Ok(Credentials::Token(presented)) => presented,
    };
    let Some(verdict) = settings.verifier.at_hand(presented.token()) else {
        return Judgement::Undecided(presented);
    };
    match admit(settings, request, verdict, presented) {
        Ok(()) => Judgement::Admitted,
        Err(refused) => Judgement::Refused(refused),
    }
}

/// Looks at what only this request shows, then puts the verified token where scope layers, extractors
/// and handlers find it.
pub(super) fn admit<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
    verdict: Result<Arc<Verdict>, VerifyError>,
    presented: Presented,
) -> Result<(), Refused> {
    let scheme = presented.scheme;
    let admitted = verdict.and_then(|verdict| {
        let shown = Shown {
            scheme,
            token: presented.token(),
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        settings.bindings.check(&verdict, &shown)?;
        let claims = (settings.convert)(&verdict)?;
        Ok((verdict, claims))
    });
    let (verdict, claims) = admitted.map_err(|error| Refused {
        refusal: Refusal::Token(error),
        scheme: Some(scheme),
    })?;
    let extensions = request.extensions_mut();
    extensions.insert(Judged {
        protection: Arc::clone(&settings.protection),
        verdict: Some(Arc::clone(&verdict)),
        scheme,
    });
    extensions.insert(VerifiedToken::new(verdict, claims, presented));
    Ok(())
}

fn admit_anonymous<C: Send + Sync + 'static, B>(settings: &Settings<C>, request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    extensions.insert(Judged {
        protection: Arc::clone(&settings.protection),
        verdict: None,
        scheme: Scheme::Bearer,
    });
    extensions.remove::<VerifiedToken<C>>();
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
