//! How long a session lasts.

use std::time::Duration;

use super::session::SessionRecord;
use crate::clock::{MAX_CLOCK_SKEW, seconds_after};

impl SessionRecord {
    /// Returns the time of the login.
    pub(crate) fn created_at(&self) -> i64 {
        self.created_at
    }

    /// Returns the record with a creation time later than `time`, for a session that has not been saved yet.
    pub(crate) fn created_after(self, time: i64) -> Self {
        let created_at = self.created_at.max(time.saturating_add(1));
        Self {
            created_at,
            last_seen: self.last_seen.max(created_at),
            ..self
        }
    }

    /// Returns the record with this absolute limit, which later changes of the configuration do not extend.
    pub(crate) fn with_limit(self, absolute: Duration) -> Self {
        let ends_by = seconds_after(self.created_at, absolute);
        Self { ends_by, ..self }
    }

    /// Returns the time of the last use.
    pub(crate) fn last_seen(&self) -> i64 {
        self.last_seen
    }

    /// Returns whether the time of the last use needs to be saved: a tenth of the idle limit has passed since.
    pub(crate) fn needs_touch(&self, now: i64, idle: Duration) -> bool {
        now >= seconds_after(self.last_seen, (idle / 10).max(Duration::from_secs(1)))
    }

    /// Returns the record with `now` as the time of the last use.
    pub(crate) fn touched(self, now: i64) -> Self {
        Self {
            last_seen: now.max(self.last_seen),
            ..self
        }
    }

    /// Returns the time at which the session ends regardless of its use: at the absolute limit, at
    /// `session_expiry` of the ID token, or when access token and refresh token have both expired.
    ///
    /// `lost` returns by how many seconds the wall clock understates the age of a timestamp, because the clock
    /// was set back.
    pub(crate) fn ends_at(&self, absolute: Duration, lost: impl Fn(i64) -> i64) -> i64 {
        let latest = self.latest_expiry(absolute, lost);
        let tokens = self
            .tokens
            .refresh_token_expires_at
            .map(|end| end.max(self.tokens.access_token_expires_at));
        tokens.map_or(latest, |end| end.min(latest))
    }

    /// Like [`ends_at`](Self::ends_at), without the limit of the tokens: a refresh may return a refresh token
    /// that expires later.
    pub(crate) fn latest_expiry(&self, absolute: Duration, lost: impl Fn(i64) -> i64) -> i64 {
        let limit = seconds_after(self.created_at, absolute).min(self.ends_by);
        let limit = limit.saturating_sub(lost(self.created_at));
        self.provider
            .expiry
            .map_or(limit, |expiry| expiry.min(limit))
    }

    /// Returns the time at which the session ends if it is not used again.
    pub(crate) fn expires_at(
        &self,
        absolute: Duration,
        idle: Duration,
        lost: impl Fn(i64) -> i64,
    ) -> i64 {
        let idle = seconds_after(self.last_seen, idle).saturating_sub(lost(self.last_seen));
        idle.min(self.ends_at(absolute, lost))
    }

    /// Returns whether the record was created or used in the future. Such a session is rejected: the clock was set
    /// back, which must not extend a session.
    pub(crate) fn is_from_the_future(&self, now: i64) -> bool {
        self.created_at.max(self.last_seen) > seconds_after(now, MAX_CLOCK_SKEW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::parse_object;
    use crate::record::SessionTokens;
    use crate::record::session::ProviderSession;
    use crate::record::session::tests::record_of;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_session_ends_at_its_limits_and_after_a_clock_rollback() {
        let record = record_of("alice", 1_000_000);
        for (name, now, seen, expired) in [
            ("fresh", 0, 0, false),
            ("idle, almost", 3599, 0, false),
            ("idle by a second", 3600, 0, true),
            ("used", 3600, 3599, false),
            ("old, almost", 8 * 3600 - 1, 8 * 3600 - 1, false),
            ("old, though used", 8 * 3600, 8 * 3600 - 1, true),
            ("clock skew between replicas", -60, 0, false),
            ("from the future", -61, 0, true),
        ] {
            let record = record.clone().touched(1_000_000 + seen);
            let now = 1_000_000 + now;
            let ended = now >= record.expires_at(8 * HOUR, HOUR, |_| 0);
            assert_eq!(ended || record.is_from_the_future(now), expired, "{name}");
        }
        let lost = |time| if time < 1_000_100 { 60 } else { 0 };
        assert_eq!(record.expires_at(8 * HOUR, HOUR, |_| 0), 1_003_600);
        assert_eq!(record.expires_at(8 * HOUR, HOUR, lost), 1_003_540);
        let record = record.touched(1_000_100);
        assert_eq!(record.expires_at(8 * HOUR, HOUR, lost), 1_003_700);
        assert_eq!(record.ends_at(8 * HOUR, lost), 1_028_740);
    }

    /// The earliest of all limits applies.
    #[test]
    fn the_authorization_server_can_shorten_a_session() {
        let with = |session_expiry: &str, tokens_end: Option<i64>| {
            let mut record = record_of("alice", 1_000_000);
            let claims = format!(r#"{{"session_expiry":{session_expiry}}}"#);
            let claims = parse_object(claims.as_bytes()).unwrap();
            record.provider = ProviderSession::read(|name| claims.member(name));
            let tokens = SessionTokens {
                refresh_token_expires_at: tokens_end,
                ..record.tokens().clone()
            };
            record.with_tokens(tokens, 1).ends_at(8 * HOUR, |_| 0)
        };
        let limit = 1_028_800;
        assert_eq!(with("null", None), limit);
        assert_eq!(with("1000900.5", None), 1_000_900);
        assert_eq!(with("2000000", None), limit);
        assert_eq!(with("\"soon\"", None), limit);
        assert_eq!(with("null", Some(1_007_200)), 1_007_200);
        assert_eq!(with("null", Some(1_000_001)), 1_000_300);
    }

    #[test]
    fn a_touch_is_due_after_a_tenth_of_the_idle_limit_and_never_decreases_last_seen() {
        let record = record_of("alice", 1_000_000);
        assert!(!record.needs_touch(1_000_359, HOUR));
        assert!(record.needs_touch(1_000_360, HOUR));
        assert_eq!(record.touched(999_000).last_seen(), 1_000_000);
    }
}
