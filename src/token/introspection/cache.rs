//! Answers at hand: good ones and refusals in segments of their own, so that no flood of junk drives
//! out what is good (`I7`).
//!
//! The times that decide are compared with the crate's clock at each look; those of the cache itself
//! only give memory back.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::cache_key::Key;
use super::settings::Settings;
use super::validate;
use crate::clock::unix_seconds;
use crate::token::TokenInfo;
use crate::token::error::VerifyErrorKind;

/// What the cache itself keeps beside a token_info.
const OVERHEAD: u32 = 512;

/// Tokens that were active are known for so long, unless their `exp` comes first.
const WERE_ACTIVE_FOR: Duration = Duration::from_secs(24 * 3600);
const MAX_WERE_ACTIVE: u64 = 16 * 1024;

/// Refusals are all of one size, and there is no use in more.
const MAX_REFUSALS: u64 = 16 * 1024;

#[derive(Clone, Debug)]
pub(super) struct IntrospectionCache {
    good: Cache<Key, Good>,
    refused: Cache<Key, Refused>,
    /// Until when a token counts as one that was active before. It grants nothing: such a token is asked
    /// about like any other, with turns of its own.
    were_active: Cache<Key, Duration>,
}

#[derive(Clone, Debug)]
struct Good {
    token_info: Arc<TokenInfo>,
    /// By the monotonic clock: a wall clock that jumps back prolongs nothing.
    until: Duration,
    weight: u32,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    kind: VerifyErrorKind,
    until: Duration,
}

impl IntrospectionCache {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            good: Cache::builder()
                .max_capacity(settings.memory)
                .weigher(|_, good: &Good| good.weight)
                .time_to_live(settings.remembered_for)
                .build(),
            refused: Cache::builder()
                .max_capacity(MAX_REFUSALS)
                .time_to_live(settings.refusals_for)
                .build(),
            were_active: Cache::builder()
                .max_capacity(MAX_WERE_ACTIVE)
                .time_to_live(WERE_ACTIVE_FOR)
                .build(),
        }
    }

    /// Whether the last answer about this token was good.
    pub(super) fn was_active(&self, key: &Key, now: Duration) -> bool {
        self.were_active.get(key).is_some_and(|until| now < until)
    }

    /// What is known of a token, and still holds.
    pub(super) fn look(
        &self,
        key: &Key,
        settings: &Settings,
    ) -> Option<Result<Arc<TokenInfo>, VerifyErrorKind>> {
        let clock = &**settings.server.clock();
        let now = clock.monotonic();
        if let Some(good) = self.good.get(key) {
            let registered = good.token_info.claims.registered();
            let wall = unix_seconds(clock);
            // RFC 7662 §4 (`I5`): never past `exp`, which the leeway does not move here.
            let over = registered.expires_at.is_some_and(|exp| wall >= exp);
            if now >= good.until || over {
                self.good.invalidate(key);
                return None;
            }
            let timely = validate::check_times(registered, wall, settings.leeway);
            return Some(timely.map(|()| good.token_info));
        }
        let refused = self.refused.get(key)?;
        (now < refused.until).then_some(Err(refused.kind))
    }

    /// Keeps a good answer from the moment it was asked for: for as long as set, and never past `exp`.
    pub(super) fn keep(
        &self,
        key: Key,
        token_info: &Arc<TokenInfo>,
        settings: &Settings,
        asked_at: Duration,
    ) {
        let left = token_info.claims.registered().expires_at.map(|exp| {
            let left = exp.saturating_sub(unix_seconds(&**settings.server.clock()));
            Duration::from_secs(u64::try_from(left).unwrap_or(0))
        });
        let known_for = left.map_or(WERE_ACTIVE_FOR, |left| left.min(WERE_ACTIVE_FOR));
        self.were_active.insert(key, asked_at + known_for);
        let lifetime = left.map_or(settings.remembered_for, |left| {
            left.min(settings.remembered_for)
        });
        if lifetime.is_zero() {
            return;
        }
        let good = Good {
            token_info: Arc::clone(token_info),
            until: asked_at + lifetime,
            weight: u32::try_from(token_info.heap_bytes())
                .unwrap_or(u32::MAX)
                .saturating_add(OVERHEAD),
        };
        self.refused.invalidate(&key);
        self.good.insert(key, good);
        // An answer may be long, so what is too much goes now and not with the next few dozen.
        self.good.run_pending_tasks();
    }

    pub(super) fn keep_refusal(
        &self,
        key: Key,
        kind: VerifyErrorKind,
        settings: &Settings,
        asked_at: Duration,
    ) {
        self.good.invalidate(&key);
        self.were_active.invalidate(&key);
        // What time alone decides is decided anew each time.
        let lasting = !matches!(
            kind,
            VerifyErrorKind::Expired | VerifyErrorKind::NotYetValid
        );
        if lasting && !settings.refusals_for.is_zero() {
            let until = asked_at + settings.refusals_for;
            self.refused.insert(key, Refused { kind, until });
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.good.invalidate(key);
        self.refused.invalidate(key);
        self.were_active.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AuthorizationServer, Client};

    /// `V129`, without the requests: each key is one token of a stranger.
    #[test]
    fn two_hundred_thousand_refusals_take_up_no_more_than_their_segment() {
        let server = AuthorizationServer::new("https://id.example.test").unwrap();
        let client = Client::confidential("api", "secret");
        let settings = Settings::new(&server, client, "api".into()).unwrap();
        let remembered = IntrospectionCache::new(&settings);
        for junk in 0..200_000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&junk.to_be_bytes());
            remembered.keep_refusal(key, VerifyErrorKind::Inactive, &settings, Duration::ZERO);
            if junk % 20_000 == 0 {
                // What waits to be sorted out is bounded as well.
                assert!(remembered.refused.entry_count() <= MAX_REFUSALS + 1024);
            }
        }
        remembered.refused.run_pending_tasks();
        assert!(remembered.refused.entry_count() <= MAX_REFUSALS);
        assert!(remembered.refused.entry_count() > 0);
        assert_eq!(remembered.good.entry_count(), 0);
    }
}
