//! The cache of issuer lookups: verifiers, negative results and lookups in progress, with their TTLs and limits.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::BothClocks;
use crate::expiring_map::ExpiringMap;
use crate::token::jwt::JwtVerifier;

/// How long a request waits for a lookup. The lookup itself continues.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a verifier is used before its issuer is looked up again.
const VERIFIER_TTL: Duration = Duration::from_secs(600);

/// How long a verifier is used beyond its TTL while lookups fail.
const OUTAGE_LIMIT: Duration = Duration::from_secs(3600);

/// How long it is cached that there is no verifier for an issuer.
const NOT_FOUND_TTL: Duration = Duration::from_secs(60);

/// How long a failure is cached if there is no verifier.
const FAILURE_TTL: Duration = Duration::from_millis(250);

/// How long a failure is cached if a stale verifier is used in the meantime.
const FAILURE_TTL_WITH_FALLBACK: Duration = Duration::from_secs(5);

const MAX_VERIFIERS: usize = 1000;
const MAX_NEGATIVE: usize = 256;
/// In addition to the issuers of cached verifiers.
const MAX_IN_PROGRESS: usize = 256;

/// The result of a lookup.
#[derive(Clone, Debug)]
pub(super) enum LookupOutcome {
    Found(JwtVerifier),
    /// There is no such issuer.
    NotFound,
    Failed,
}

/// Several maps, so that invented issuers cannot evict an issuer that was found.
#[derive(Debug)]
pub(super) struct LookupCache {
    verifiers: HashMap<Box<str>, CachedVerifier>,
    /// Issuers without a verifier.
    negative: ExpiringMap<Box<str>, LookupOutcome>,
    /// Lookups of issuers without a verifier, until no request waits for them.
    in_progress: ExpiringMap<Box<str>, ()>,
}

#[derive(Debug)]
struct CachedVerifier {
    verifier: JwtVerifier,
    found_at: BothClocks,
    used_at: Duration,
    renewal: Option<Renewal>,
}

/// The last lookup since the verifier was found.
#[derive(Clone, Copy, Debug)]
enum Renewal {
    /// Since this time.
    InProgress(Duration),
    /// At this time.
    Failed(Duration),
}

impl Default for LookupCache {
    fn default() -> Self {
        Self {
            verifiers: HashMap::new(),
            negative: ExpiringMap::new(MAX_NEGATIVE),
            in_progress: ExpiringMap::new(MAX_IN_PROGRESS),
        }
    }
}

impl LookupCache {
    /// Returns the outcome for an issuer if it can be given without waiting.
    pub(super) fn get(&mut self, issuer: &str, now: BothClocks) -> Option<LookupOutcome> {
        if let Some(cached) = self.verifiers.get_mut(issuer) {
            cached.used_at = now.monotonic;
            if cached.is_usable(now) {
                let verifier = || LookupOutcome::Found(cached.verifier.clone());
                return cached.needs_no_waiting(now).then(verifier);
            }
        }
        let is_valid = self.negative.expiry(issuer)? > now.monotonic;
        self.negative.get(issuer).filter(|_| is_valid).cloned()
    }

    /// Returns the verifier to use if the lookup of its issuer fails.
    pub(super) fn fallback(&self, issuer: &str, now: BothClocks) -> Option<JwtVerifier> {
        let cached = self.verifiers.get(issuer)?;
        cached.is_usable(now).then(|| cached.verifier.clone())
    }

    /// Records that a lookup begins. Returns `false` if too many are in progress.
    pub(super) fn begin(&mut self, issuer: &str, now: BothClocks) -> bool {
        // Invented issuers must not prevent a known issuer from being looked up again.
        let known = self.verifiers.get_mut(issuer);
        if let Some(known) = known.filter(|known| known.is_usable(now)) {
            known.renewal = Some(Renewal::InProgress(now.monotonic));
            return true;
        }
        // No request waits longer than the timeout, so a lookup that hangs does not count. It continues, and a
        // verifier that it finds is cached.
        if self.in_progress.is_full()
            && self
                .in_progress
                .pop_first_if(|until| until <= now.monotonic)
                .is_none()
        {
            return false;
        }
        self.in_progress
            .insert(issuer.into(), (), now.monotonic + WAIT_TIMEOUT);
        true
    }

    /// Gives the keys of the cached verifier to the one that was found: the application may have created a new server.
    pub(super) fn hand_over_keys(&self, issuer: &str, found: &mut JwtVerifier) {
        if let Some(previous) = self.verifiers.get(issuer) {
            found.take_over_keys(&previous.verifier);
        }
    }

    /// Caches the outcome of a lookup.
    pub(super) fn end(&mut self, issuer: &str, outcome: LookupOutcome, now: BothClocks) {
        self.in_progress.remove(issuer);
        match outcome {
            LookupOutcome::Found(verifier) => {
                self.negative.remove(issuer);
                if self.verifiers.len() >= MAX_VERIFIERS && !self.verifiers.contains_key(issuer) {
                    self.evict();
                }
                let cached = CachedVerifier {
                    verifier,
                    found_at: now,
                    used_at: now.monotonic,
                    renewal: None,
                };
                self.verifiers.insert(issuer.into(), cached);
            }
            LookupOutcome::NotFound => {
                self.verifiers.remove(issuer);
                self.negative
                    .insert(issuer.into(), outcome, now.monotonic + NOT_FOUND_TTL);
            }
            LookupOutcome::Failed => match self.verifiers.get_mut(issuer) {
                Some(known) if known.is_usable(now) => {
                    known.renewal = Some(Renewal::Failed(now.monotonic));
                }
                _ => {
                    self.negative
                        .insert(issuer.into(), outcome, now.monotonic + FAILURE_TTL);
                }
            },
        }
    }

    /// Removes the least recently used verifier.
    fn evict(&mut self) {
        let oldest = self
            .verifiers
            .iter()
            .min_by_key(|(_, cached)| cached.used_at);
        if let Some(oldest) = oldest.map(|(issuer, _)| issuer.clone()) {
            self.verifiers.remove(&oldest);
        }
    }
}

impl CachedVerifier {
    fn is_usable(&self, now: BothClocks) -> bool {
        self.found_at.age(now) < VERIFIER_TTL + OUTAGE_LIMIT
    }

    /// Returns whether a request uses this verifier instead of waiting for a lookup: it is fresh, or the lookup has
    /// failed or hangs.
    fn needs_no_waiting(&self, now: BothClocks) -> bool {
        let is_fresh = self.found_at.age(now) < VERIFIER_TTL;
        is_fresh
            || match self.renewal {
                Some(Renewal::InProgress(since)) => {
                    now.monotonic.saturating_sub(since) >= WAIT_TIMEOUT
                }
                Some(Renewal::Failed(at)) => {
                    now.monotonic.saturating_sub(at) < FAILURE_TTL_WITH_FALLBACK
                }
                None => false,
            }
    }
}
