//! A client whose pool of connections is replaced after one of them failed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::flight::lock;

/// A broken connection replaces no pool that is younger, so that a caller whose tokens make the server
/// close connections does not cost every other request a handshake.
const MIN_AGE: Duration = Duration::from_millis(250);

/// One client at a time. Clones share it.
///
/// Connections that died silently fail one by one, each after a timeout. After the first failure a new
/// client takes over, whose connections are all new. Requests under way keep the client they have.
#[derive(Clone, Debug)]
pub(crate) struct Renewable<C>(Arc<Mutex<State<C>>>);

#[derive(Debug)]
struct State<C> {
    client: Option<(C, Instant)>,
    generation: u64,
}

impl<C> Default for Renewable<C> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            client: None,
            generation: 0,
        })))
    }
}

impl<C: Clone> Renewable<C> {
    /// Returns the client and its generation. `make` creates the client if there is none.
    pub(crate) fn get<E>(&self, make: impl FnOnce() -> Result<C, E>) -> Result<(C, u64), E> {
        let mut state = lock(&self.0);
        if let Some((client, _)) = &state.client {
            return Ok((client.clone(), state.generation));
        }
        let client = make()?;
        state.generation += 1;
        state.client = Some((client.clone(), Instant::now()));
        Ok((client, state.generation))
    }

    /// Drops the client of this generation: a connection of it did not answer.
    pub(crate) fn fell_silent(&self, generation: u64) {
        self.renew(generation, Duration::ZERO);
    }

    /// Drops the client of this generation: a connection of it broke.
    pub(crate) fn broke(&self, generation: u64) {
        self.renew(generation, MIN_AGE);
    }

    fn renew(&self, generation: u64, min_age: Duration) {
        let mut state = lock(&self.0);
        if state.generation == generation {
            state
                .client
                .take_if(|(_, made_at)| made_at.elapsed() >= min_age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generation_that_failed_is_replaced() {
        let clients = Renewable::default();
        let mut made = 0;
        let mut get = || {
            let make = || {
                made += 1;
                Ok::<_, ()>(made)
            };
            clients.get(make).unwrap()
        };
        let (first, generation) = get();
        assert_eq!(get(), (first, generation));
        clients.broke(generation);
        assert_eq!(get(), (first, generation), "too young");
        clients.fell_silent(generation);
        let (second, newer) = get();
        assert_ne!(first, second);
        clients.fell_silent(generation);
        assert_eq!(get(), (second, newer), "the failure of an older generation");
    }
}
