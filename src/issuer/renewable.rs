//! An HTTP client whose connection pool is replaced after a connection failed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::single_flight::lock;

/// A connection error does not replace a pool that is younger: otherwise a caller whose tokens make the server close
/// connections could force a TLS handshake on every other request.
const MIN_POOL_AGE: Duration = Duration::from_millis(250);

/// Holds one client. Clones share it.
///
/// Connections that were dropped silently fail one by one, each after a timeout. After the first failure a new
/// client with new connections replaces the old one. Requests in flight keep theirs.
#[derive(Clone, Debug)]
pub(crate) struct Renewable<C>(Arc<Mutex<RenewableState<C>>>);

#[derive(Debug)]
struct RenewableState<C> {
    client: Option<(C, Instant)>,
    generation: u64,
}

impl<C> Default for Renewable<C> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(RenewableState {
            client: None,
            generation: 0,
        })))
    }
}

impl<C: Clone> Renewable<C> {
    /// Returns the client and its generation. Calls `create` if there is no client.
    pub(crate) fn get<E>(&self, create: impl FnOnce() -> Result<C, E>) -> Result<(C, u64), E> {
        let mut state = lock(&self.0);
        if let Some((client, _)) = &state.client {
            return Ok((client.clone(), state.generation));
        }
        let client = create()?;
        state.generation += 1;
        state.client = Some((client.clone(), Instant::now()));
        Ok((client, state.generation))
    }

    /// Drops the client of this generation after a request timed out.
    pub(crate) fn replace_after_timeout(&self, generation: u64) {
        self.replace(generation, Duration::ZERO);
    }

    /// Drops the client of this generation after a connection error.
    pub(crate) fn replace_after_error(&self, generation: u64) {
        self.replace(generation, MIN_POOL_AGE);
    }

    fn replace(&self, generation: u64, min_age: Duration) {
        let mut state = lock(&self.0);
        if state.generation == generation {
            state
                .client
                .take_if(|(_, created_at)| created_at.elapsed() >= min_age);
        }
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
        clients.replace_after_error(generation);
        assert_eq!(get(), (first, generation), "too young");
        clients.replace_after_timeout(generation);
        let (second, newer) = get();
        assert_ne!(first, second);
        clients.replace_after_timeout(generation);
        assert_eq!(get(), (second, newer), "the failure of an older generation");
    }
}
