//! An HTTP client whose connection pool is replaced after a connection failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::Mutex;

/// A connection error does not replace a pool that is younger: otherwise a caller whose tokens make the server close
/// connections could force a TLS handshake on every other request.
const MIN_POOL_AGE: Duration = Duration::from_millis(250);

/// If a request is dropped after this time without a response, its connections are replaced.
pub(crate) const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);

/// Holds one client. Clones share it.
///
/// Connections that were dropped silently fail one by one, each after a timeout. After the first failure a new
/// client with new connections replaces the old one. Requests in flight keep theirs.
#[derive(Debug)]
pub(crate) struct Renewable<C>(Arc<Mutex<RenewableState<C>>>);

#[derive(Debug)]
struct RenewableState<C> {
    client: Option<(C, Instant)>,
    generation: u64,
}

/// What the error of a request says about the connections of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    Usable,
    /// A connection was closed or reset.
    Failed,
    /// A connection stayed silent.
    Unresponsive,
}

impl<C: Clone> Renewable<C> {
    /// Sends a request with the client, which `create` creates if there is none.
    pub(crate) async fn run<F, T, E>(
        self,
        create: impl FnOnce() -> Result<C, E>,
        send: impl FnOnce(C) -> F,
        connections_after: impl FnOnce(&E) -> Connections,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let (client, generation) = self.get(create)?;
        let mut unanswered = UnansweredRequest {
            clients: self,
            generation,
            sent_at: Instant::now(),
            is_answered: false,
        };
        let result = send(client).await;
        unanswered.is_answered = true;
        result.inspect_err(|error| {
            unanswered
                .clients
                .replace(generation, connections_after(error));
        })
    }

    /// Returns the client and its generation.
    fn get<E>(&self, create: impl FnOnce() -> Result<C, E>) -> Result<(C, u64), E> {
        let mut state = self.0.lock();
        if let Some((client, _)) = &state.client {
            return Ok((client.clone(), state.generation));
        }
        let client = create()?;
        state.generation += 1;
        state.client = Some((client.clone(), Instant::now()));
        Ok((client, state.generation))
    }
}

impl<C> Renewable<C> {
    /// Drops the client of this generation unless its connections are usable.
    fn replace(&self, generation: u64, connections: Connections) {
        let min_age = match connections {
            Connections::Usable => return,
            Connections::Failed => MIN_POOL_AGE,
            Connections::Unresponsive => Duration::ZERO,
        };
        let mut state = self.0.lock();
        if state.generation == generation {
            state
                .client
                .take_if(|(_, created_at)| created_at.elapsed() >= min_age);
        }
    }
}

/// Discards the connections of a request that is dropped after it got no response for some time: a pooled
/// connection whose peer has disappeared never reports an error.
struct UnansweredRequest<C> {
    clients: Renewable<C>,
    generation: u64,
    sent_at: Instant,
    is_answered: bool,
}

impl<C> Drop for UnansweredRequest<C> {
    fn drop(&mut self) {
        if !self.is_answered && self.sent_at.elapsed() >= UNRESPONSIVE_AFTER {
            self.clients
                .replace(self.generation, Connections::Unresponsive);
        }
    }
}

impl<C> Clone for Renewable<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Default for Renewable<C> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(RenewableState {
            client: None,
            generation: 0,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generation_that_failed_is_replaced() {
        let clients = Renewable::default();
        let mut created = 0;
        let mut get = || {
            let create = || {
                created += 1;
                Ok::<_, ()>(created)
            };
            clients.get(create).unwrap()
        };
        let (first, generation) = get();
        assert_eq!(get(), (first, generation));
        clients.replace(generation, Connections::Usable);
        clients.replace(generation, Connections::Failed);
        assert_eq!(get(), (first, generation), "too young");
        clients.replace(generation, Connections::Unresponsive);
        let (second, newer) = get();
        assert_ne!(first, second);
        clients.replace(generation, Connections::Unresponsive);
        assert_eq!(get(), (second, newer), "the failure of an older generation");
    }
}
