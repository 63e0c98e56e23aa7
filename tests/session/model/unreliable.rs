//! The store of one node: all nodes share the entries, and each has its own faults.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tower_oauth::clock::Clock as _;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::ManualClock;

use super::gates::Gates;
use super::steps::Fate;

#[derive(Clone)]
pub struct Unreliable {
    pub entries: MemoryStore,
    pub gates: Gates,
    pub clock: ManualClock,
    pub troubles: Arc<Troubles>,
    pub contract_violation: Option<ContractViolation>,
}

/// A violation of the store contract, to check that the model detects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContractViolation {
    /// Every write or removal of a session succeeds, whatever was written since it was read.
    IgnoresExpect,
    /// Every lease is granted.
    GrantsEveryLease,
    /// The end of a session is acknowledged and not stored.
    ForgetsEnds,
}

/// The fates of the next operations, and the time of the last fault.
#[derive(Debug, Default)]
pub struct Troubles {
    pub fates: Mutex<VecDeque<Fate>>,
    last: Mutex<Option<Duration>>,
    /// The node has crashed.
    dead: AtomicBool,
}

impl Troubles {
    /// Reports whether there was a fault since then.
    pub fn since(&self, moment: Duration) -> bool {
        self.last.lock().unwrap().is_some_and(|last| last >= moment)
    }

    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    fn note(&self, now: Duration) {
        *self.last.lock().unwrap() = Some(now);
    }
}

/// Records the fault again when it ends or the caller gives up.
struct Noting<'a>(&'a Unreliable);

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        self.0.troubles.note(self.0.clock.monotonic());
    }
}

impl Unreliable {
    async fn verb<T>(
        &self,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fate = self.troubles.fates.lock().unwrap().pop_front();
        let fate = fate.unwrap_or(Fate::Passes);
        if fate == Fate::Passes {
            return verb.await;
        }
        self.troubles.note(self.clock.monotonic());
        let _noting = Noting(self);
        match fate {
            Fate::HeldBefore => {
                self.gates.pass().await;
                verb.await
            }
            Fate::HeldAfter => {
                let done = verb.await;
                self.gates.pass().await;
                done
            }
            Fate::LostAfter => {
                verb.await?;
                Err(StoreError::unavailable("the answer was lost"))
            }
            _ => Err(StoreError::unavailable("it is away")),
        }
    }

    fn expect(&self, key: &Key, expect: Expect) -> Expect {
        let turn = key.as_str().starts_with("lease:");
        match self.contract_violation {
            Some(ContractViolation::IgnoresExpect) if !turn => Expect::Anything,
            Some(ContractViolation::GrantsEveryLease) if turn => Expect::Anything,
            _ => expect,
        }
    }

    fn forgets(&self, key: &Key) -> bool {
        self.contract_violation == Some(ContractViolation::ForgetsEnds)
            && (key.as_str().starts_with("cookie:") || key.as_str().starts_with("session:"))
    }
}

impl Store for Unreliable {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.verb(self.entries.get(key)).await
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        // The end marker of a session in a cookie is one byte.
        if value.len() == 1 && self.forgets(key) {
            return Ok(Put::Stored(1));
        }
        let expect = self.expect(key, expect);
        self.verb(self.entries.put(key, value, ttl, expect)).await
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        if self.forgets(key) {
            return Ok(Removed::Removed);
        }
        let expect = self.expect(key, expect);
        self.verb(self.entries.remove(key, expect)).await
    }
}
