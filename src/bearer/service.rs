//! The service of [`BearerLayer`](super::BearerLayer).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Settings;
use super::refusal::Refusal;
use super::response::{Speech, refuse};
use crate::protocol::challenge::Realm;
use crate::protocol::credentials::{self, Credentials};
use crate::token::{Verdict, VerifiedToken, VerifyError};

/// The service that [`BearerLayer`](super::BearerLayer) makes.
pub struct Bearer<S, C = crate::protocol::Claims> {
    inner: S,
    settings: Arc<Settings<C>>,
}

/// That a request was looked at, and what was found: for scope layers and extractors, which have to
/// tell an anonymous request from a missing layer.
#[derive(Clone)]
pub(crate) struct Judged {
    pub(crate) realm: Realm,
    pub(crate) verdict: Option<Verdict>,
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
            Judgement::Refused(refusal) => {
                // Gives back what `poll_ready` may have reserved for a call that does not come.
                self.inner = self.inner.clone();
                ResponseFuture::refused(refusal, &self.settings, speech)
            }
            Judgement::Undecided { value, token_at } => {
                // The clone takes our place; the service that was polled ready is the one to call.
                let next = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, next);
                let settings = Arc::clone(&self.settings);
                ResponseFuture::verifying(ready, request, settings, value, token_at, speech)
            }
        }
    }
}

/// What can be said of a request without waiting.
enum Judgement {
    /// The request carries its verified token now.
    Admitted,
    Anonymous,
    Refused(Refusal),
    /// A key has to be fetched first.
    Undecided {
        value: HeaderValue,
        token_at: usize,
    },
}

fn judge<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
) -> Judgement {
    let (token, value, token_at) = match credentials::read(request.headers()) {
        Err(_) => return Judgement::Refused(Refusal::InvalidRequest),
        Ok(Credentials::Absent) if settings.optional => {
            admit_anonymous(settings, request);
            return Judgement::Anonymous;
        }
        Ok(Credentials::Absent) => return Judgement::Refused(Refusal::NoCredentials),
        Ok(Credentials::Bearer {
            value,
            token,
            token_at,
        }) => (token, value.clone(), token_at),
    };
    let Some(verdict) = settings.verifier.verify_at_hand(token) else {
        return Judgement::Undecided { value, token_at };
    };
    let admitted = verdict.and_then(|verdict| admit(settings, request, verdict, value, token_at));
    match admitted {
        Ok(()) => Judgement::Admitted,
        Err(error) => Judgement::Refused(Refusal::Token(error)),
    }
}

/// Puts the verified token where scope layers, extractors and handlers find it.
pub(super) fn admit<C: Send + Sync + 'static, B>(
    settings: &Settings<C>,
    request: &mut Request<B>,
    verdict: Verdict,
    credentials: HeaderValue,
    token_at: usize,
) -> Result<(), VerifyError> {
    let claims = (settings.convert)(&verdict.claims)?;
    let token = VerifiedToken::new(verdict.clone(), claims, credentials, token_at);
    let extensions = request.extensions_mut();
    extensions.insert(Judged {
        realm: settings.realm.clone(),
        verdict: Some(verdict),
    });
    extensions.insert(token);
    Ok(())
}

fn admit_anonymous<C: Send + Sync + 'static, B>(settings: &Settings<C>, request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    extensions.insert(Judged {
        realm: settings.realm.clone(),
        verdict: None,
    });
    extensions.remove::<VerifiedToken<C>>();
}

/// The refusal as a response of whatever body type.
pub(super) fn respond<C, R: Default>(
    refusal: Refusal,
    settings: &Settings<C>,
    speech: Speech,
) -> Response<R> {
    refuse(refusal, &settings.realm, None, speech)
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
