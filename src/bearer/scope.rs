//! [`ScopeLayer`]: requires scopes or another policy for a route.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::challenge_params::AuthState;
use super::policy::{Policy, Unmet};
use super::refusal::Refusal;
use super::require::{self, Requirement};
use crate::ConfigError;
use crate::response_future::ResponseFuture;
use crate::token::TokenInfo;

/// Requires scopes, roles or conditions on claims of the token that an outer [`BearerLayer`](crate::BearerLayer)
/// verified.
///
/// Rejects a token with insufficient scope with 403 `insufficient_scope` and the required scopes ([RFC 6750 §3.1]), and
/// an anonymous request, forwarded by an optional layer, with 401. Without an outer `BearerLayer`, the response to every
/// request is 500. To require roles or conditions on claims, use a [`Policy`].
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
    /// Creates a layer that enforces `policy`.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy: Arc::new(policy),
        }
    }

    /// Requires `scopes` (space-separated; all of them) and rejects other requests with 403 `insufficient_scope`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if the list is empty or a value is not a scope.
    pub fn all(scopes: &str) -> Result<Self, ConfigError> {
        Policy::all(scopes).map(Self::new)
    }

    /// Requires at least one of `scopes` (space-separated).
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all).
    pub fn any(scopes: &str) -> Result<Self, ConfigError> {
        Policy::any(scopes).map(Self::new)
    }

    /// Requires every scope of at least one of these space-separated lists.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all), and if there is no list.
    pub fn any_of_all<'a>(
        alternatives: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        Policy::any_of_all(alternatives).map(Self::new)
    }

    /// Checks the policy, and returns why the token does not satisfy it.
    pub(crate) fn check(
        &self,
        token_info: &TokenInfo,
        extensions: &Extensions,
    ) -> Result<(), Refusal> {
        self.policy
            .check(token_info, extensions)
            .map_err(|unmet| match unmet {
                Unmet::Scope(nearest) => Refusal::InsufficientScope {
                    required: nearest.to_string(),
                },
                Unmet::Condition(description) => Refusal::Policy { description },
                Unmet::WrongType => Refusal::MissingLayer(
                    "a Policy expects claims of another type than the BearerLayer deserializes",
                ),
            })
    }
}

impl Requirement for ScopeLayer {
    const NO_LAYER: &'static str = "ScopeLayer requires an outer BearerLayer";

    fn enforce(
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
            layer: self.clone(),
        }
    }
}

/// The service created by [`ScopeLayer`].
#[derive(Clone, Debug)]
pub struct RequireScope<S> {
    inner: S,
    layer: ScopeLayer,
}

impl<S, B, R> Service<Request<B>> for RequireScope<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        require::call(&self.layer, &mut self.inner, request)
    }
}
