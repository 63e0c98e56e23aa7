//! When it is time for fresh tokens (`L50`).

use crate::flow::SessionRecord;
use crate::session::manager::SessionManager;

/// How long before its end an access token is replaced, in seconds, at most.
const WINDOW: i64 = 60;

/// How much later than that it may be. It depends on the session, so that those who signed in together do not
/// refresh together, and all processes agree on it.
const JITTER: i64 = 30;

/// What somebody wants of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshMode {
    /// A token that will last.
    Ahead,
    /// A token that is good now.
    Good,
    /// Another token than that of this generation, which an API refused.
    Newer,
}

impl SessionManager {
    /// Whether this record is not yet what is wanted by somebody who has tokens of generation `base`.
    pub(super) fn is_wanted(&self, record: &SessionRecord, base: u64, want: RefreshMode) -> bool {
        match want {
            RefreshMode::Ahead => self.can_refresh(record) && self.now() >= self.due_at(record),
            RefreshMode::Good => !self.has_good_token(record),
            RefreshMode::Newer => record.generation() <= base,
        }
    }

    pub(in crate::session) fn has_good_token(&self, record: &SessionRecord) -> bool {
        self.now() < self.token_ends_at(record)
    }

    pub(super) fn can_refresh(&self, record: &SessionRecord) -> bool {
        let end = record.refresh_token_expires_at();
        record.refresh_token().is_some() && end.is_none_or(|end| self.now() < end)
    }

    /// A token of a short life is not refreshed at each request: half its life is its own.
    fn due_at(&self, record: &SessionRecord) -> i64 {
        let end = self.token_ends_at(record);
        let since = record.access_token_since();
        let life = record.access_token_expires_at().saturating_sub(since);
        end.saturating_sub((WINDOW - jitter(record)).min(life / 2).max(0))
    }

    /// A clock that was set back prolongs nothing.
    fn token_ends_at(&self, record: &SessionRecord) -> i64 {
        let lost = self.lost_since(record.access_token_since());
        record.access_token_expires_at().saturating_sub(lost)
    }
}

fn jitter(record: &SessionRecord) -> i64 {
    let id = record.id().as_bytes();
    let mix = u64::from(u16::from_be_bytes([id[0], id[1]])).wrapping_add(record.generation());
    i64::try_from(mix % JITTER.unsigned_abs()).unwrap_or_default()
}
