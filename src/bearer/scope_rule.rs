//! The rows of the tables of scopes, by gRPC method and by route.

use std::sync::Arc;

use http::Extensions;

use super::auth_state::AuthState;
use super::policy::Policy;
use super::refusal::Refusal;

/// What a row requires.
#[derive(Clone, Debug)]
pub(super) enum ScopeRule {
    Policy(Arc<Policy>),
    /// Every request that the outer layer forwards.
    Unscoped,
}

impl ScopeRule {
    /// Enforces the row of a request, or rejects it with `unlisted` if there is none.
    pub(super) fn enforce(
        rule: Option<&Self>,
        extensions: &Extensions,
        no_layer: &'static str,
        unlisted: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        let state = AuthState::of(extensions, no_layer)?;
        match rule {
            Some(Self::Policy(policy)) => state.require(policy, extensions),
            Some(Self::Unscoped) => Ok(()),
            None if state.token_info.is_none() => Err(Refusal::NoCredentials),
            None => Err(unlisted()),
        }
    }
}
