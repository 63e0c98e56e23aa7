//! Consumed `state` values: with a store, each login is redeemed once, at whichever replica its callback
//! arrives.
//!
//! Unauthenticated callers create these entries: they can start a login and send a callback with a forged
//! code. An entry therefore lasts as long as its transaction only if the code may have been redeemed. If the
//! authorization server has rejected the code, there is nothing left to protect: the entry expires soon, and
//! each process keeps few of these.

use std::time::Duration;

use bytes::Bytes;

use super::manager::SessionManager;
use crate::crypto::base64url;
use crate::crypto::digest::sha256;
use crate::flow::Transaction;
use crate::protocol::State;
use crate::store::{Expect, Key, Put, StoreError};

/// A consumed state, owned by the process that redeems its code. Dropping it does not change the store.
#[derive(Debug)]
pub(crate) struct ConsumedState {
    /// Key and version of the entry. `None` without a store.
    entry: Option<(Key, u64)>,
}

impl SessionManager {
    /// Consumes the state of a login. Returns `None` if it was consumed before.
    pub(crate) async fn consume_state(
        &self,
        state: &State,
    ) -> Result<Option<ConsumedState>, StoreError> {
        let Some(store) = self.store() else {
            return Ok(Some(ConsumedState { entry: None }));
        };
        let digest = base64url::encode(&sha256(state.expose().as_bytes()));
        let key = Key::new("state", &digest);
        match store
            .put(&key, Bytes::new(), CONSUMED_TTL, Expect::Absent)
            .await?
        {
            Put::Stored(version) => Ok(Some(ConsumedState {
                entry: Some((key, version)),
            })),
            Put::Conflict => Ok(None),
        }
    }

    /// Shortens the lifetime of an entry whose code was rejected. If the store fails, the entry keeps its
    /// lifetime.
    pub(crate) async fn shorten_consumed_state(&self, consumed: ConsumedState) {
        let (Some(store), Some((key, version))) = (self.store(), consumed.entry) else {
            return;
        };
        let now = self.flow.clock().monotonic();
        let expect = Expect::Version(version);
        let put = store.put(&key, Bytes::new(), REJECTED_TTL, expect).await;
        let Ok(Put::Stored(version)) = put else {
            return;
        };
        let rejected = &self.local.rejected_states;
        if let Some((oldest, version)) = rejected.add(key, version, now, REJECTED_TTL) {
            let _ = store.remove(&oldest, Expect::Version(version)).await;
        }
    }
}

/// How long a replica could accept the transaction. Its age is not subtracted, since only the wall clock measures it: if
/// that is ahead, the entry would expire while the transaction can still be presented.
const CONSUMED_TTL: Duration = Transaction::LIFETIME.saturating_add(CLOCK_SKEW);

/// A minute of clock skew between two replicas, and a minute for the request itself.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Prevents a second token request if a double click arrives at another replica.
const REJECTED_TTL: Duration = Duration::from_secs(30);
