//! The cache of verified tokens: a cached token needs no signature check.
//!
//! An entry states only that a token was valid, and with which key. Every hit checks the times and the key again; a
//! token that fails is validated anew, so a response does not depend on the cache. Scopes, proof of possession and
//! other properties of the request are checked on every request. Tokens themselves are not stored.

mod table;

use std::fmt;
use std::sync::Arc;

use self::table::Table;
use super::jwt::settings::JwtSettings;
use super::token_info::TokenInfo;
use crate::clock::Now;
use crate::crypto::{CacheTag, TokenTagger};
use crate::issuer::KeyStatus;
use crate::protocol::limits::MAX_PRESENTED_TOKEN;
use crate::random::Random;
use crate::telemetry::TokenOrigin;

/// The default size of the cache of a layer.
pub(super) const DEFAULT_BYTES: usize = 32 * 1024 * 1024;

/// The cache of one verifier.
pub(crate) struct TokenCache {
    tagger: TokenTagger,
    entries: Table<Arc<TokenInfo>>,
    max_bytes: usize,
    /// The size of the application's claims type, without its text.
    claims_size: Option<usize>,
}

/// The result of looking up a token in the cache.
pub(crate) enum CacheLookup {
    Hit(Arc<TokenInfo>),
    /// The token can be cached under this tag, if there is one.
    Miss(Option<CacheTag>),
}

impl TokenCache {
    /// Creates an empty cache. Returns `None`, which means that every token is validated, if `max_bytes` is 0 or the
    /// operating system provides no randomness.
    pub(super) fn new(max_bytes: usize, claims_size: Option<usize>) -> Option<Self> {
        if max_bytes == 0 {
            return None;
        }
        // Each cache has a random key, so a tag has no meaning in another cache.
        let key = Random::system().bytes().ok()?;
        Some(Self {
            tagger: TokenTagger::new(&key)?,
            entries: Table::new(max_bytes),
            max_bytes,
            claims_size,
        })
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Looks up a token that is still valid, with a key and a verifier that are still current. The bytes need not be checked
    /// before.
    pub(super) fn lookup(
        &self,
        token: &[u8],
        is_current: impl FnOnce(&Arc<JwtSettings>) -> bool,
        now: &Now<'_>,
    ) -> CacheLookup {
        // A token that exceeds the length limit is rejected anyway.
        let is_short = token.len() <= MAX_PRESENTED_TOKEN;
        let Some(tag) = is_short.then(|| self.tagger.tag(token)).flatten() else {
            return CacheLookup::Miss(None);
        };
        let Some(token_info) = self.entries.get(&tag) else {
            return CacheLookup::Miss(Some(tag));
        };
        let status = match &token_info.cache.provenance {
            Some(provenance) if is_current(&provenance.verifier) => {
                let seconds = now.unix_seconds(provenance.verifier.server.clock());
                // An expired token, or one of a withdrawn key, is not accepted from the cache.
                match provenance.validity.contains(&seconds) {
                    true => provenance.key.status(now),
                    false => KeyStatus::Withdrawn,
                }
            }
            _ => KeyStatus::Unknown,
        };
        if status == KeyStatus::Current {
            TokenOrigin::Cached.count();
            tracing::trace!(
                name: "token_cache_hit",
                target: "tower_oauth::token",
                "found the token in the cache"
            );
            return CacheLookup::Hit(token_info);
        }
        if status == KeyStatus::Withdrawn {
            self.entries.remove(&tag);
        }
        CacheLookup::Miss(Some(tag))
    }

    /// Stores a token that was just validated.
    pub(super) fn insert(&self, tag: CacheTag, token_info: &Arc<TokenInfo>) {
        if token_info.cache.provenance.is_some() {
            // The converted claims are added later, so their size is reserved now: at most that of the text for
            // their strings.
            let text = token_info.claims.as_json().len();
            let converted = self.claims_size.map_or(0, |size| size + text);
            let bytes = token_info.heap_bytes() + converted;
            self.entries.insert(tag, Arc::clone(token_info), bytes);
        }
    }
}

/// Prints the size, and nothing about the tokens.
impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tokens, bytes) = self.entries.size();
        f.debug_struct("TokenCache")
            .field("tokens", &tokens)
            .field("bytes", &bytes)
            .field("max_bytes", &self.max_bytes)
            .finish()
    }
}
