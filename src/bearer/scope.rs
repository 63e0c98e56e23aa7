//! [`ScopeLayer`]: what a token must grant for a route.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::policy::{Policy, Unmet};
use super::protection::{Judged, Protection};
use super::refusal::{Demand, Refusal};
use super::response::{Speech, refuse};
use crate::ConfigError;
use crate::protocol::ScopeSet;
use crate::protocol::credentials::Scheme;
use crate::token::Verdict;

/// Demands scopes of the token that a [`BearerLayer`](crate::BearerLayer) further out has verified.
///
/// A token that grants too little gets 403 with `insufficient_scope` and the scopes that would be
/// enough ([RFC 6750 §3.1]); an anonymous request that an optional layer let through gets 401. Without
/// a `BearerLayer` around it every request gets 500.
///
/// Roles, and whatever else the claims tell, go through the same door: see [`Policy`].
///
/// ```
/// use tower_oauth::ScopeLayer;
/// use tower_oauth::bearer::Policy;
///
/// let read = ScopeLayer::all("orders:read")?;
/// let either = ScopeLayer::any("orders:write orders:admin")?;
/// let combined = ScopeLayer::any_of_all(["orders:read orders:write", "orders:admin"])?;
/// let clerks = ScopeLayer::new(Policy::all("orders:read")?.and_role("roles", "clerk")?);
/// assert!(ScopeLayer::all("no\"quotes").is_err());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
#[derive(Clone, Debug)]
pub struct ScopeLayer {
    policy: Arc<Policy>,
}

impl ScopeLayer {
    /// Whatever this policy asks for.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
        }
    }

    /// Every scope of this space-separated list.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] where the list is empty or holds something that is no scope.
    pub fn all(scopes: &str) -> Result<Self, ConfigError> {
        Policy::all(scopes).map(Self::new)
    }

    /// At least one scope of this space-separated list.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn any(scopes: &str) -> Result<Self, ConfigError> {
        Policy::any(scopes).map(Self::new)
    }

    /// Every scope of at least one of these space-separated lists.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all); and where there is no list.
    pub fn any_of_all<'a>(
        alternatives: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        Policy::any_of_all(alternatives).map(Self::new)
    }

    /// Why a token is refused here, if it is.
    pub(crate) fn check(&self, verdict: &Verdict, extensions: &Extensions) -> Result<(), Refusal> {
        self.policy
            .check(verdict, extensions)
            .map_err(|unmet| match unmet {
                Unmet::Scope(nearest) => Refusal::InsufficientScope {
                    needed: nearest.to_string(),
                },
                Unmet::Condition(sentence) => Refusal::Policy { sentence },
                Unmet::WrongType => Refusal::MissingLayer(
                    "a policy asks for claims of another type than the BearerLayer reads",
                ),
            })
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = RequireScope<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireScope {
            inner,
            policy: self.clone(),
        }
    }
}

/// The service that [`ScopeLayer`] makes.
#[derive(Clone, Debug)]
pub struct RequireScope<S> {
    inner: S,
    policy: ScopeLayer,
}

impl<S, B, R> Service<Request<B>> for RequireScope<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ScopeFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.policy.judge(&request) {
            Ok(()) => ScopeFuture::admitted(self.inner.call(request)),
            Err(response) => ScopeFuture::refused(*response),
        }
    }
}

impl ScopeLayer {
    /// Lets a request through, or answers it.
    pub(super) fn judge<B, R: Default>(
        &self,
        request: &Request<B>,
    ) -> Result<(), Box<Response<R>>> {
        let (judged, verdict) = find_verdict(request, "a ScopeLayer has no BearerLayer around it")?;
        let Err(refusal) = self.check(verdict, request.extensions()) else {
            return Ok(());
        };
        let needed = match &refusal {
            Refusal::InsufficientScope { needed } => Some(ScopeSet::from_wire(needed)),
            _ => None,
        };
        let demand = Demand {
            scope: needed.as_ref(),
            ..Demand::default()
        };
        let used = Some(judged.scheme);
        Err(refuse_request(
            refusal,
            request,
            &judged.protection,
            used,
            demand,
        ))
    }
}

/// That a layer further out looked at the request; otherwise the answer.
pub(super) fn find_judged<'a, B, R: Default>(
    request: &'a Request<B>,
    missing: &'static str,
) -> Result<&'a Judged, Box<Response<R>>> {
    request.extensions().get().ok_or_else(|| {
        let (refusal, protection) = (Refusal::MissingLayer(missing), Protection::default());
        refuse_request(refusal, request, &protection, None, Demand::default())
    })
}

/// What that layer found of the token; without a token or a layer, the answer.
pub(super) fn find_verdict<'a, B, R: Default>(
    request: &'a Request<B>,
    missing: &'static str,
) -> Result<(&'a Judged, &'a Verdict), Box<Response<R>>> {
    let judged = find_judged(request, missing)?;
    let verdict = judged.verdict.as_deref().ok_or_else(|| {
        let (refusal, protection) = (Refusal::NoCredentials, &judged.protection);
        refuse_request(refusal, request, protection, None, Demand::default())
    })?;
    Ok((judged, verdict))
}

/// The answer to a request that is at hand, and word of it to the application.
pub(super) fn refuse_request<B, R: Default>(
    refusal: Refusal,
    request: &Request<B>,
    protection: &Protection,
    used: Option<Scheme>,
    demand: Demand<'_>,
) -> Box<Response<R>> {
    protection.tell(&refusal, request.method(), request.uri());
    let speech = Speech::of(request.method(), request.headers());
    Box::new(refuse(refusal, protection, used, demand, speech))
}

pin_project! {
    /// The answer of [`RequireScope`], [`RequireStepUp`](super::RequireStepUp) and
    /// [`RequireMethodScope`](super::RequireMethodScope): a refusal, or the inner service's.
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
