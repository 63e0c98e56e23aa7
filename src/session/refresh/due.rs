//! Decides when a session needs new tokens.

use crate::record::SessionRecord;
use crate::session::manager::SessionManager;

/// How long before its expiry an access token is refreshed, in seconds.
const REFRESH_WINDOW: i64 = 60;

/// The maximum jitter, in seconds. It is derived from the session, so that all processes agree on it and
/// users who signed in together do not refresh together.
const MAX_JITTER: i64 = 30;

/// When a refresh is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshMode {
    /// The access token expires soon.
    Proactive,
    /// The access token has expired.
    IfExpired,
    /// Always, unless the tokens are newer than those of the caller: an API has rejected them.
    Forced,
}

impl SessionManager {
    /// Reports whether this record needs a refresh, for a caller with tokens of generation `base`.
    pub(super) fn needs_refresh(
        &self,
        record: &SessionRecord,
        base: u64,
        mode: RefreshMode,
    ) -> bool {
        match mode {
            RefreshMode::Proactive => self.can_refresh(record) && self.now() >= self.due_at(record),
            RefreshMode::IfExpired => !self.has_valid_token(record),
            RefreshMode::Forced => record.generation() <= base,
        }
    }

    pub(in crate::session) fn has_valid_token(&self, record: &SessionRecord) -> bool {
        self.now() < self.token_ends_at(record)
    }

    pub(super) fn can_refresh(&self, record: &SessionRecord) -> bool {
        let end = record.tokens().refresh_token_expires_at;
        record.tokens().refresh_token.is_some() && end.is_none_or(|end| self.now() < end)
    }

    /// Returns the time of the proactive refresh: at most half the lifetime of the token before its expiry,
    /// so that a short-lived token is not refreshed on each request.
    fn due_at(&self, record: &SessionRecord) -> i64 {
        let end = self.token_ends_at(record);
        let since = record.tokens().access_token_since;
        let life = record
            .tokens()
            .access_token_expires_at
            .saturating_sub(since);
        end.saturating_sub((REFRESH_WINDOW - jitter(record)).min(life / 2).max(0))
    }

    /// Returns the expiry of the access token, adjusted for a wall clock that was set back.
    fn token_ends_at(&self, record: &SessionRecord) -> i64 {
        let lost = self.rolled_back_since(record.tokens().access_token_since);
        record.tokens().access_token_expires_at.saturating_sub(lost)
    }
}

fn jitter(record: &SessionRecord) -> i64 {
    let id = record.id().as_bytes();
    let mix = u64::from(u16::from_be_bytes([id[0], id[1]])).wrapping_add(record.generation());
    i64::try_from(mix % MAX_JITTER.unsigned_abs()).unwrap_or_default()
}
