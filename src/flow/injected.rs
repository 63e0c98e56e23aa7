//! Session records for tests that skip the login.

use std::time::Duration;

use super::record::{NewRecord, SessionRecord};
use super::session_id::SessionId;
use super::settings::Flow;
use crate::protocol::{AccessToken, Claims, IdToken, RefreshToken, ScopeSet};
use crate::random::RandomError;

/// The result of a login that a test defines.
pub(crate) struct Injected {
    pub(crate) claims: Claims,
    pub(crate) scopes: ScopeSet,
    pub(crate) access_token: AccessToken,
    pub(crate) access_token_lifetime: Duration,
    pub(crate) refresh_token: Option<RefreshToken>,
    pub(crate) id_token: IdToken,
}

impl Flow {
    /// Creates the record of a login at `now`.
    pub(crate) fn inject(
        &self,
        injected: Injected,
        now: i64,
    ) -> Result<SessionRecord, RandomError> {
        let lifetime = i64::try_from(injected.access_token_lifetime.as_secs());
        Ok(SessionRecord::new(NewRecord {
            id: SessionId::new(self.random().bytes()?),
            now,
            claims: injected.claims,
            scopes: injected.scopes,
            access_token: injected.access_token,
            access_token_expires_at: now.saturating_add(lifetime.unwrap_or(i64::MAX)),
            refresh_token: injected.refresh_token,
            refresh_token_expires_at: None,
            id_token: injected.id_token,
        }))
    }
}
