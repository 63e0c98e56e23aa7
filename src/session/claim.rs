//! Claims of `state` values: with a store each login is redeemed once, whichever replica its callback comes to.
//!
//! Callers without credentials create these entries: whoever starts a login can send a callback with a made-up
//! code. So a claim stays for as long as its transaction could be presented only if the code may have been redeemed.
//! Once the authorization server has refused the code, nothing is left to protect: the claim ends soon, and a
//! process keeps few of these at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::manager::SessionManager;
use crate::crypto::base64url;
use crate::crypto::digest::sha256;
use crate::flow::Transaction;
use crate::protocol::State;
use crate::store::{Expect, Key, Put, StoreError};

/// The claim of one state, held by the process that redeems its code. Dropping it changes nothing in the store.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Key and version of the entry; `None` without a store, where no other process is asked.
    entry: Option<(Key, u64)>,
}

/// Claims whose codes were refused and that have not expired yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RefusedClaims(Mutex<VecDeque<RefusedClaim>>);

#[derive(Debug)]
struct RefusedClaim {
    key: Key,
    version: u64,
    /// Monotonic.
    ends_at: Duration,
}

impl SessionManager {
    /// Claims the state of a login. Returns `None` if it was claimed before.
    pub(crate) async fn claim(&self, state: &State) -> Result<Option<Claim>, StoreError> {
        let Some(store) = self.store() else {
            return Ok(Some(Claim { entry: None }));
        };
        let digest = base64url::encode(&sha256(state.expose().as_bytes()));
        let key = Key::new("state", &digest);
        match store
            .put(&key, Bytes::new(), CLAIM_TTL, Expect::Absent)
            .await?
        {
            Put::Stored(version) => Ok(Some(Claim {
                entry: Some((key, version)),
            })),
            Put::Conflict => Ok(None),
        }
    }

    /// Shortens a claim whose code was definitively refused. If the store fails, the claim stays as it was.
    pub(crate) async fn shorten_claim(&self, claim: Claim) {
        let (Some(store), Some((key, version))) = (self.store(), claim.entry) else {
            return;
        };
        let now = self.flow.clock().monotonic();
        let expect = Expect::Version(version);
        let put = store.put(&key, Bytes::new(), REFUSED_TTL, expect).await;
        let Ok(Put::Stored(version)) = put else {
            return;
        };
        let refused = RefusedClaim {
            key,
            version,
            ends_at: now.saturating_add(REFUSED_TTL),
        };
        if let Some(oldest) = self.memory.refused_claims.add(refused, now) {
            let expect = Expect::Version(oldest.version);
            let _ = store.remove(&oldest.key, expect).await;
        }
    }
}

impl RefusedClaims {
    /// Returns the claim that has to go for this one, if there are too many.
    fn add(&self, claim: RefusedClaim, now: Duration) -> Option<RefusedClaim> {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while claims.front().is_some_and(|oldest| oldest.ends_at <= now) {
            claims.pop_front();
        }
        claims.push_back(claim);
        match claims.len() > MAX_REFUSED {
            true => claims.pop_front(),
            false => None,
        }
    }
}

/// How long some replica could still accept the transaction of a claim. Its age is not subtracted: it is known by the
/// wall clock alone, and one that is ahead would end the claim while the transaction can still be presented.
const CLAIM_TTL: Duration = Transaction::LIFETIME.saturating_add(CLOCK_SKEW);

/// The clocks of two replicas may be a minute apart; the other minute is for the request itself.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Long enough that a double click which reaches another replica sends no second token request.
const REFUSED_TTL: Duration = Duration::from_secs(30);

/// Claims of refused codes that one process keeps at a time: beyond that the oldest ends early, so that made-up codes
/// occupy a fixed part of the store however fast they are refused.
const MAX_REFUSED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_a_bounded_number_of_refused_claims_and_drops_the_oldest() {
        let claims = RefusedClaims::default();
        let claim = |n: usize, now: u64| RefusedClaim {
            key: Key::new("state", &n.to_string()),
            version: 1,
            ends_at: Duration::from_secs(now) + REFUSED_TTL,
        };
        for n in 0..MAX_REFUSED {
            assert!(claims.add(claim(n, 0), Duration::ZERO).is_none());
        }
        let oldest = claims.add(claim(MAX_REFUSED, 1), Duration::from_secs(1));
        assert_eq!(oldest.map(|one| one.key), Some(Key::new("state", "0")));
        // Those that have expired make room by themselves.
        assert!(claims.add(claim(7, 30), Duration::from_secs(30)).is_none());
    }
}
