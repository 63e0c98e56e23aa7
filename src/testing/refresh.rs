//! Refresh token behavior of a test client, for the differences between authorization servers.

use std::time::Duration;

use super::registry::{self, TestClient};
use crate::ConfigError;
use crate::protocol::ScopeSet;

/// How the token endpoint handles the refresh tokens of a client.
#[derive(Clone, Debug)]
pub(super) struct RefreshRules {
    pub(super) rotates: bool,
    /// From the time of issue; `None` if refresh tokens do not expire.
    pub(super) lifetime: Option<Duration>,
    pub(super) id_token: RefreshedIdToken,
    /// The scopes that remain after a refresh; `None` for all.
    pub(super) scopes: Option<ScopeSet>,
}

/// Whether the response to a refresh has an ID token (OpenID Connect Core §12.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshedIdToken {
    /// The response has no ID token.
    Absent,
    /// An ID token without `nonce`, as the specification recommends.
    #[default]
    WithoutNonce,
    /// An ID token with the `nonce` of the authorization request.
    WithNonce,
}

impl Default for RefreshRules {
    fn default() -> Self {
        Self {
            rotates: true,
            lifetime: None,
            id_token: RefreshedIdToken::default(),
            scopes: None,
        }
    }
}

impl TestClient {
    /// Disables refresh token rotation: refresh tokens are reusable. By default each refresh returns a
    /// new one, and reuse of an old one revokes the grant (RFC 9700 §4.14.2).
    pub fn without_rotation(mut self) -> Self {
        self.refresh.rotates = false;
        self
    }

    /// Sets the lifetime of refresh tokens, sent as `refresh_expires_in` in seconds. By default
    /// they do not expire and the member is absent.
    pub fn with_refresh_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh.lifetime = Some(lifetime);
        self
    }

    /// Sets which ID token a refresh returns. Default: [`RefreshedIdToken::WithoutNonce`].
    pub fn with_refreshed_id_token(mut self, id_token: RefreshedIdToken) -> Self {
        self.refresh.id_token = id_token;
        self
    }

    /// Reduces the scopes of refreshed tokens to these (RFC 6749 §5.1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a value is not a scope (RFC 6749 §3.3).
    pub fn with_refreshed_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        self.refresh.scopes = Some(registry::scopes(scopes)?);
        Ok(self)
    }
}
