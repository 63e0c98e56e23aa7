//! [`ScopeLayer`]: requires scopes or another policy for a route.

use std::sync::Arc;

use http::Response;
use http::request::Parts;
use tower_layer::Layer;

use super::auth_state::{AuthState, refuse};
use super::guard::{Guard, Requirement};
use super::policy::Policy;
use crate::ConfigError;

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
    pub(crate) policy: Arc<Policy>,
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
}

/// For tables of scopes, whose rows take either.
impl From<Policy> for ScopeLayer {
    fn from(policy: Policy) -> Self {
        Self::new(policy)
    }
}

/// The token of the request must satisfy the policy.
impl Requirement for Policy {
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<()>>> {
        AuthState::of(&head.extensions, NO_LAYER)
            .and_then(|state| state.require(self, &head.extensions))
            .map_err(|refusal| refuse(refusal, &*head))
    }
}

const NO_LAYER: &str = "ScopeLayer requires an outer BearerLayer";

impl<S> Layer<S> for ScopeLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = Arc::clone(&self.policy);
        Guard::new(inner, policy)
    }
}
