//! How a client's refresh tokens behave, where servers differ.

use std::time::Duration;

use super::registry::{self, TestClient};
use crate::ConfigError;
use crate::protocol::ScopeSet;

/// What a client gets for a refresh token.
#[derive(Clone, Debug)]
pub(super) struct RefreshRules {
    pub(super) rotates: bool,
    /// Counted from the moment a token is issued; `None` for one that does not expire.
    pub(super) lifetime: Option<Duration>,
    pub(super) id_token: RefreshedIdToken,
    /// All that is left of the scopes, where a refresh takes some away.
    pub(super) scopes: Option<ScopeSet>,
}

/// Whether a refresh brings an ID token (OpenID Connect Core §12.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshedIdToken {
    /// None.
    Absent,
    /// One without `nonce`, as the specification recommends.
    #[default]
    WithoutNonce,
    /// One with the `nonce` of the authorization request.
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
    /// Lets a refresh token be used again and again: a refresh brings none. By default each use
    /// brings another, and the second use of one ends the grant (RFC 9700 §4.14.2).
    pub fn without_rotation(mut self) -> Self {
        self.refresh.rotates = false;
        self
    }

    /// How long a refresh token is good after it was issued, told as `refresh_expires_in` in seconds;
    /// by default it does not expire, and nothing is told.
    pub fn with_refresh_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh.lifetime = Some(lifetime);
        self
    }

    /// Which ID token a refresh brings; by default one without `nonce`.
    pub fn with_refreshed_id_token(mut self, id_token: RefreshedIdToken) -> Self {
        self.refresh.id_token = id_token;
        self
    }

    /// Takes scopes away at a refresh: no more than these are left (RFC 6749 §5.1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for a value that RFC 6749 §3.3 does not allow.
    pub fn with_refreshed_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        self.refresh.scopes = Some(registry::scopes(scopes)?);
        Ok(self)
    }
}
