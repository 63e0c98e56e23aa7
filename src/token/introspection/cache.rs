//! The cache of introspection results. Active and negative results have separate segments, so that a flood of
//! invalid tokens cannot evict active ones.
//!
//! Expiry is decided by the crate's clock on every lookup. The TTLs of the cache itself only free memory.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::response::check_times;
use super::settings::{CacheKey, Settings};
use crate::clock::{BothClocks, Now, unix_seconds};
use crate::token::error::VerifyError;
use crate::token::error::VerifyErrorKind;
use crate::token::token_info::TokenInfo;

/// The bytes that the cache itself needs for an entry.
const ENTRY_OVERHEAD: u32 = 512;

/// How long a token counts as previously active, unless its `exp` is earlier.
const PREVIOUSLY_ACTIVE_TTL: Duration = Duration::from_secs(24 * 3600);
const MAX_PREVIOUSLY_ACTIVE: u64 = 16 * 1024;

/// Negative entries all have the same size, so their number is limited instead of their bytes.
const MAX_NEGATIVE_ENTRIES: u64 = 16 * 1024;

#[derive(Clone, Debug)]
pub(super) struct IntrospectionCache {
    active: Cache<CacheKey, ActiveEntry>,
    negative: Cache<CacheKey, NegativeEntry>,
    /// Until when a token counts as previously active. This grants no access: the token is introspected again,
    /// with a reserved share of the concurrency limit.
    previously_active: Cache<CacheKey, Duration>,
}

#[derive(Clone, Debug)]
struct ActiveEntry {
    token_info: Arc<TokenInfo>,
    requested_at: BothClocks,
    ttl: Duration,
    weight: u32,
}

#[derive(Clone, Debug)]
struct NegativeEntry {
    error: VerifyError,
    requested_at: BothClocks,
}

impl IntrospectionCache {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            active: Cache::builder()
                .max_capacity(settings.cache_size)
                .weigher(|_, entry: &ActiveEntry| entry.weight)
                .time_to_live(settings.cache_ttl)
                .build(),
            negative: Cache::builder()
                .max_capacity(MAX_NEGATIVE_ENTRIES)
                .time_to_live(settings.negative_cache_ttl)
                .build(),
            previously_active: Cache::builder()
                .max_capacity(MAX_PREVIOUSLY_ACTIVE)
                .time_to_live(PREVIOUSLY_ACTIVE_TTL)
                .build(),
        }
    }

    /// Returns whether the token was active at its last introspection.
    pub(super) fn was_active(&self, key: &CacheKey, now: Duration) -> bool {
        self.previously_active
            .get(key)
            .is_some_and(|expires_at| now < expires_at)
    }

    /// Returns the cached result if it is still valid.
    pub(super) fn get(
        &self,
        key: &CacheKey,
        settings: &Settings,
        now: &Now<'_>,
    ) -> Option<Result<Arc<TokenInfo>, VerifyError>> {
        let clock = settings.server.clock();
        let both = now.both(clock);
        if let Some(entry) = self.active.get(key) {
            let registered = entry.token_info.claims.registered();
            let wall = now.unix_seconds(clock);
            // RFC 7662 §4: a cached result is not used after `exp`. The leeway does not apply here.
            let is_expired = registered.expires_at.is_some_and(|exp| wall >= exp);
            if entry.requested_at.age(both) >= entry.ttl || is_expired {
                self.active.invalidate(key);
                return None;
            }
            let times = check_times(registered, wall, settings.leeway);
            return Some(times.map(|()| entry.token_info).map_err(VerifyError::from));
        }
        let entry = self.negative.get(key)?;
        let is_fresh = entry.requested_at.age(both) < settings.negative_cache_ttl;
        is_fresh.then_some(Err(entry.error))
    }

    /// Caches an active result. Its TTL begins when the request was sent and ends at `exp` at the latest.
    pub(super) fn insert_active(
        &self,
        key: CacheKey,
        token_info: &Arc<TokenInfo>,
        settings: &Settings,
        requested_at: BothClocks,
    ) {
        let remaining = token_info.claims.registered().expires_at.map(|exp| {
            let remaining = exp.saturating_sub(unix_seconds(&**settings.server.clock()));
            Duration::from_secs(u64::try_from(remaining).unwrap_or(0))
        });
        let active_ttl = remaining.map_or(PREVIOUSLY_ACTIVE_TTL, |remaining| {
            remaining.min(PREVIOUSLY_ACTIVE_TTL)
        });
        self.previously_active
            .insert(key, requested_at.monotonic + active_ttl);
        let ttl = remaining.map_or(settings.cache_ttl, |remaining| {
            remaining.min(settings.cache_ttl)
        });
        if ttl.is_zero() {
            return;
        }
        let entry = ActiveEntry {
            token_info: Arc::clone(token_info),
            requested_at,
            ttl,
            weight: u32::try_from(token_info.heap_bytes())
                .unwrap_or(u32::MAX)
                .saturating_add(ENTRY_OVERHEAD),
        };
        self.negative.invalidate(&key);
        self.active.insert(key, entry);
        // A response can be long, so entries above the size limit are evicted now and not in the next batch.
        self.active.run_pending_tasks();
    }

    /// Caches a negative result, unless it can change with time alone.
    pub(super) fn insert_negative(
        &self,
        key: CacheKey,
        error: VerifyError,
        settings: &Settings,
        requested_at: BothClocks,
    ) {
        self.active.invalidate(&key);
        self.previously_active.invalidate(&key);
        let is_cacheable = !matches!(
            error.kind(),
            VerifyErrorKind::Expired | VerifyErrorKind::NotYetValid
        );
        if is_cacheable && !settings.negative_cache_ttl.is_zero() {
            let entry = NegativeEntry {
                error,
                requested_at,
            };
            self.negative.insert(key, entry);
        }
    }

    pub(super) fn remove(&self, key: &CacheKey) {
        self.active.invalidate(key);
        self.negative.invalidate(key);
        self.previously_active.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AuthorizationServer, Client};

    /// A client that sends invalid tokens must not be able to exhaust memory: each key is one such token.
    #[test]
    fn two_hundred_thousand_negative_results_stay_within_the_limit() {
        let server = AuthorizationServer::new("https://id.example.test").unwrap();
        let client = Client::confidential("api", "secret");
        let settings = Settings::new(&server, client, "api".into()).unwrap();
        let cache = IntrospectionCache::new(&settings);
        for invalid in 0..200_000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&invalid.to_be_bytes());
            let now = BothClocks::now(&**settings.server.clock());
            cache.insert_negative(key, VerifyErrorKind::Inactive.into(), &settings, now);
            if invalid % 20_000 == 0 {
                // Entries that wait for eviction are bounded as well.
                assert!(cache.negative.entry_count() <= MAX_NEGATIVE_ENTRIES + 1024);
            }
        }
        cache.negative.run_pending_tasks();
        assert!(cache.negative.entry_count() <= MAX_NEGATIVE_ENTRIES);
        assert!(cache.negative.entry_count() > 0);
        assert_eq!(cache.active.entry_count(), 0);
    }
}
