//! The cache of issuer lookups: verifiers, negative results and lookups in flight, with their TTLs and limits.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::WAIT_TIMEOUT;
use crate::issuer::{SingleFlight, Waiter};
use crate::token::jwt::JwtVerifier;

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

/// A lookup that takes longer will never complete: it panicked, or its runtime has shut down.
const LOOKUP_LOST_AFTER: Duration = Duration::from_secs(30);

const MAX_VERIFIERS: usize = 1000;
/// In addition to the issuers of cached verifiers.
const MAX_PENDING: usize = 256;

/// The result of a lookup.
#[derive(Clone, Debug)]
pub(super) enum LookupOutcome {
    Found(JwtVerifier),
    /// There is no such issuer.
    NotFound,
    Failed,
}

/// The result of [`LookupCache::get_or_join`].
pub(super) enum LookupJoin {
    Cached(LookupOutcome),
    Waiting {
        waiter: Waiter<LookupOutcome>,
        /// A stale verifier, to use if the lookup fails.
        fallback: Option<JwtVerifier>,
    },
    /// Too many lookups are in flight.
    Full,
}

/// Two maps, so that invented issuers cannot evict an issuer that was found.
#[derive(Debug, Default)]
pub(super) struct LookupCache {
    verifiers: HashMap<Box<str>, CachedVerifier>,
    pending: HashMap<Box<str>, PendingLookup>,
}

#[derive(Debug)]
struct CachedVerifier {
    verifier: JwtVerifier,
    found_at: Duration,
    used_at: Duration,
}

/// A lookup in flight, or one that found no verifier.
#[derive(Debug)]
struct PendingLookup {
    flight: Arc<SingleFlight<LookupOutcome>>,
    /// When it started, or ended.
    at: Duration,
    /// `None` while it is in flight.
    outcome: Option<LookupOutcome>,
}

impl LookupCache {
    /// Returns the outcome for an issuer if it can be given without waiting.
    pub(super) fn get(&mut self, issuer: &str, now: Duration) -> Option<LookupOutcome> {
        if let Some(cached) = self.verifiers.get_mut(issuer) {
            cached.used_at = now;
            if now.saturating_sub(cached.found_at) < VERIFIER_TTL {
                return Some(LookupOutcome::Found(cached.verifier.clone()));
            }
        }
        let pending = self.pending.get(issuer)?;
        let age = now.saturating_sub(pending.at);
        match (&pending.outcome, self.fallback(issuer, now)) {
            (Some(LookupOutcome::NotFound), _) if age < NOT_FOUND_TTL => {
                Some(LookupOutcome::NotFound)
            }
            (Some(LookupOutcome::Failed), None) if age < FAILURE_TTL => Some(LookupOutcome::Failed),
            // A request does not wait for a lookup that failed or hangs if there is a stale verifier.
            (Some(LookupOutcome::Failed), Some(verifier)) if age < FAILURE_TTL_WITH_FALLBACK => {
                Some(LookupOutcome::Found(verifier))
            }
            (None, Some(verifier)) if (WAIT_TIMEOUT..LOOKUP_LOST_AFTER).contains(&age) => {
                Some(LookupOutcome::Found(verifier))
            }
            _ => None,
        }
    }

    /// Returns the cached outcome, or joins the lookup of this issuer, which begins with `start` if none is in
    /// flight.
    pub(super) fn get_or_join<F>(
        &mut self,
        issuer: &str,
        now: Duration,
        start: impl FnOnce() -> F,
    ) -> LookupJoin
    where
        F: Future<Output = LookupOutcome> + Send + 'static,
    {
        // The lookup may have completed since the caller's first call of `get`.
        if let Some(outcome) = self.get(issuer, now) {
            return LookupJoin::Cached(outcome);
        }
        let fallback = self.fallback(issuer, now);
        // Invented issuers must not prevent a known issuer from being looked up again.
        if fallback.is_none() && !self.pending.contains_key(issuer) && !self.make_room(now) {
            return LookupJoin::Full;
        }
        let pending = self
            .pending
            .entry(issuer.into())
            .or_insert_with(|| PendingLookup {
                flight: Arc::default(),
                at: now,
                outcome: None,
            });
        let flight = Arc::clone(&pending.flight);
        let waiter = flight.join_or(|| {
            (pending.at, pending.outcome) = (now, None);
            Some(start())
        });
        match waiter {
            Some(waiter) => LookupJoin::Waiting { waiter, fallback },
            None => LookupJoin::Full,
        }
    }

    /// Caches the outcome of a lookup.
    pub(super) fn insert(&mut self, issuer: &str, outcome: LookupOutcome, now: Duration) {
        match outcome {
            LookupOutcome::Found(verifier) => {
                self.pending.remove(issuer);
                if self.verifiers.len() >= MAX_VERIFIERS && !self.verifiers.contains_key(issuer) {
                    let oldest = self
                        .verifiers
                        .iter()
                        .min_by_key(|(_, cached)| cached.used_at);
                    if let Some(oldest) = oldest.map(|(issuer, _)| issuer.clone()) {
                        self.verifiers.remove(&oldest);
                    }
                }
                let cached = CachedVerifier {
                    verifier,
                    found_at: now,
                    used_at: now,
                };
                self.verifiers.insert(issuer.into(), cached);
            }
            outcome => {
                if matches!(outcome, LookupOutcome::NotFound) {
                    self.verifiers.remove(issuer);
                }
                if let Some(pending) = self.pending.get_mut(issuer) {
                    (pending.at, pending.outcome) = (now, Some(outcome));
                }
            }
        }
    }

    fn fallback(&self, issuer: &str, now: Duration) -> Option<JwtVerifier> {
        let cached = self.verifiers.get(issuer)?;
        let age = now.saturating_sub(cached.found_at);
        (age < VERIFIER_TTL + OUTAGE_LIMIT).then(|| cached.verifier.clone())
    }

    /// Returns whether one more lookup may begin, after removing an older entry if necessary.
    fn make_room(&mut self, now: Duration) -> bool {
        if self.pending.len() < MAX_PENDING {
            return true;
        }
        // No request waits longer than the timeout, so a lookup that hangs can be removed. It continues, and a
        // verifier that it finds is cached.
        let is_removable = |pending: &PendingLookup| {
            pending.outcome.is_some() || now.saturating_sub(pending.at) >= WAIT_TIMEOUT
        };
        let oldest = self
            .pending
            .iter()
            .filter(|(_, pending)| is_removable(pending))
            .min_by_key(|(_, pending)| pending.at)
            .map(|(issuer, _)| issuer.clone());
        oldest.is_some_and(|issuer| self.pending.remove(&issuer).is_some())
    }
}
