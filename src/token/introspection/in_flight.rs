//! Introspection requests in flight: concurrent requests with one token share one, which runs in its own task.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::cache_key::CacheKey;
use super::settings::Settings;
use crate::token::TokenInfo;
use crate::token::error::VerifyError;

/// The number of tokens whose introspection may wait for a permit. Each costs memory. Previously active tokens
/// are counted separately.
const MAX_WAITING: usize = 1024;

pub(super) type IntrospectionResult = Result<Arc<TokenInfo>, VerifyError>;

type IntrospectionReceiver = watch::Receiver<Option<IntrospectionResult>>;

#[derive(Debug)]
pub(super) struct InFlight {
    table: Mutex<InFlightTable>,
    limit: usize,
}

#[derive(Debug, Default)]
struct InFlightTable {
    by_key: HashMap<CacheKey, InFlightRequest>,
    /// The number of requests about previously active tokens.
    previously_active: usize,
    /// Counts requests, to distinguish a request from a later one with the same token.
    last_id: u64,
}

#[derive(Debug)]
struct InFlightRequest {
    id: u64,
    was_active: bool,
    receiver: IntrospectionReceiver,
}

/// The result of [`InFlight::join`].
pub(super) enum Joined {
    /// The result was cached in the meantime.
    Completed(IntrospectionResult),
    /// A request is in flight; it may have been started by this call.
    Waiting(IntrospectionReceiver),
    /// Too many requests are in flight.
    Full,
}

/// A request in flight. Dropping it removes the request from the table, so a panic leaves no entry behind.
pub(super) struct InFlightGuard {
    in_flight: Arc<InFlight>,
    key: CacheKey,
    id: u64,
    sender: watch::Sender<Option<IntrospectionResult>>,
}

impl InFlight {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            table: Mutex::default(),
            limit: MAX_WAITING + settings.concurrency,
        }
    }

    /// Joins the request in flight for this token, or begins one with `start`.
    ///
    /// `cached` is called under the lock: a request that has just completed left its result in the cache.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &CacheKey,
        was_active: bool,
        cached: impl FnOnce() -> Option<IntrospectionResult>,
        start: impl FnOnce(InFlightGuard),
    ) -> Joined {
        let mut table = self.table();
        if let Some(result) = cached() {
            return Joined::Completed(result);
        }
        if let Some(request) = table.by_key.get(key) {
            return Joined::Waiting(request.receiver.clone());
        }
        if table.count(was_active) >= self.limit {
            return Joined::Full;
        }
        let (sender, receiver) = watch::channel(None);
        table.last_id += 1;
        let id = table.last_id;
        let request = InFlightRequest {
            id,
            was_active,
            receiver: receiver.clone(),
        };
        table.insert(*key, request);
        drop(table);
        start(InFlightGuard {
            in_flight: Arc::clone(self),
            key: *key,
            id,
            sender,
        });
        Joined::Waiting(receiver)
    }

    /// Detaches the request in flight for this token: it cannot be joined any more, and its result is not
    /// cached. `then` runs before a new request can begin.
    pub(super) fn detach(&self, key: &CacheKey, then: impl FnOnce()) {
        let mut table = self.table();
        table.remove(key);
        then();
    }

    fn table(&self) -> MutexGuard<'_, InFlightTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightGuard {
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Completes the request: calls `store` unless the request was detached, then sends the result to all
    /// waiters.
    pub(super) fn complete(
        self,
        result: IntrospectionResult,
        store: impl FnOnce(&IntrospectionResult),
    ) {
        {
            let mut table = self.in_flight.table();
            if table.is_current(&self.key, self.id) {
                store(&result);
                table.remove(&self.key);
            }
        }
        self.sender.send_replace(Some(result));
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut table = self.in_flight.table();
        if table.is_current(&self.key, self.id) {
            table.remove(&self.key);
        }
    }
}

impl InFlightTable {
    /// Returns the number of requests about tokens that were, or were not, active before.
    fn count(&self, was_active: bool) -> usize {
        match was_active {
            true => self.previously_active,
            false => self.by_key.len().saturating_sub(self.previously_active),
        }
    }

    fn insert(&mut self, key: CacheKey, request: InFlightRequest) {
        self.previously_active += usize::from(request.was_active);
        self.by_key.insert(key, request);
    }

    fn remove(&mut self, key: &CacheKey) {
        if let Some(request) = self.by_key.remove(key) {
            self.previously_active -= usize::from(request.was_active);
        }
    }

    fn is_current(&self, key: &CacheKey, id: u64) -> bool {
        self.by_key.get(key).is_some_and(|request| request.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AuthorizationServer, Client};
    use crate::token::error::VerifyErrorKind;

    #[test]
    fn a_caller_that_joins_just_after_completion_starts_no_second_request() {
        let server = AuthorizationServer::new("https://id.example.test").unwrap();
        let client = Client::confidential("api", "secret");
        let settings = Settings::new(&server, client, "api".into()).unwrap();
        let in_flight = Arc::new(InFlight::new(&settings));
        let cached = || Some(Err(VerifyErrorKind::Inactive.into()));
        let joined = in_flight.join(&[0; 32], false, cached, |_| panic!("a second request"));
        assert!(matches!(joined, Joined::Completed(Err(_))));

        // A request that is dropped before it completes does not block the next one.
        let mut started = 0;
        for _ in 0..2 {
            let joined = in_flight.join(&[0; 32], false, || None, |_| started += 1);
            assert!(matches!(joined, Joined::Waiting(_)));
        }
        assert_eq!(started, 2);
    }
}
