//! [`ScopeLayer`]: what a token must grant for a route.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::challenge_params::AuthState;
use super::policy::{Policy, Unmet};
use super::refusal::Refusal;
use super::require::{self, Requirement, ScopeFuture};
use crate::ConfigError;
use crate::token::TokenInfo;

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
    pub(crate) fn check(
        &self,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Refusal> {
        self.policy
            .check(token_info, extensions)
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

impl Requirement for ScopeLayer {
    const NO_LAYER: &'static str = "a ScopeLayer has no BearerLayer around it";

    fn judge(
        &self,
        _: &AuthState,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Refusal> {
        self.check(token_info, extensions)
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
        require::call(&self.policy, &mut self.inner, request)
    }
}
