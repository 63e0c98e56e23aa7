//! Questions under way: one for all who bring the same token, in a task of its own (`I9`, `I11`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::cache_key::Key;
use super::settings::Settings;
use crate::token::TokenInfo;
use crate::token::error::VerifyError;

/// More than this many tokens do not wait; each costs memory. Tokens that were active before are counted
/// apart.
const MAX_WAITING: usize = 1024;

pub(super) type Outcome = Result<Arc<TokenInfo>, VerifyError>;

#[derive(Debug)]
pub(super) struct Calls {
    flights: Mutex<Flights>,
    most: usize,
}

#[derive(Debug, Default)]
struct Flights {
    by_key: HashMap<Key, Flight>,
    /// How many of them are about tokens that were active before.
    were_active: usize,
    /// Tells a flight from a later one of the same token.
    started: u64,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    was_active: bool,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What whoever asks finds.
pub(super) enum Boarding {
    /// It was decided a moment ago.
    Decided(Outcome),
    /// A question under way, perhaps begun just now.
    Waits(watch::Receiver<Option<Outcome>>),
    /// Too many wait already.
    Full,
}

/// A flight on its way, which ends when this is dropped, however that comes.
pub(super) struct Ticket {
    calls: Arc<Calls>,
    key: Key,
    number: u64,
    sender: watch::Sender<Option<Outcome>>,
}

impl Calls {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            flights: Mutex::default(),
            most: MAX_WAITING + settings.concurrency,
        }
    }

    /// A seat in the flight of this token, or a new flight for `start`. `decided` is asked once more
    /// under the lock: a flight that has just landed left its outcome there.
    pub(super) fn board(
        self: &Arc<Self>,
        key: &Key,
        was_active: bool,
        decided: impl FnOnce() -> Option<Outcome>,
        start: impl FnOnce(Ticket),
    ) -> Boarding {
        let mut flights = self.flights();
        if let Some(outcome) = decided() {
            return Boarding::Decided(outcome);
        }
        if let Some(flight) = flights.by_key.get(key) {
            return Boarding::Waits(flight.outcome.clone());
        }
        if flights.alike(was_active) >= self.most {
            return Boarding::Full;
        }
        let (sender, outcome) = watch::channel(None);
        flights.started += 1;
        let number = flights.started;
        let flight = Flight {
            number,
            was_active,
            outcome: outcome.clone(),
        };
        flights.insert(*key, flight);
        drop(flights);
        start(Ticket {
            calls: Arc::clone(self),
            key: *key,
            number,
            sender,
        });
        Boarding::Waits(outcome)
    }

    /// Lets nobody more into the flight of this token, and has its outcome not kept; `then` runs before
    /// a new one can begin.
    pub(super) fn cut_off(&self, key: &Key, then: impl FnOnce()) {
        let mut flights = self.flights();
        flights.remove(key);
        then();
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Ends the flight: what is to be kept is kept by `keep`, unless the flight was cut off, and all who
    /// wait get the outcome.
    pub(super) fn land(self, outcome: Outcome, keep: impl FnOnce(&Outcome)) {
        {
            let mut flights = self.calls.flights();
            if flights.is_current(&self.key, self.number) {
                keep(&outcome);
                flights.remove(&self.key);
            }
        }
        self.sender.send_replace(Some(outcome));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut flights = self.calls.flights();
        if flights.is_current(&self.key, self.number) {
            flights.remove(&self.key);
        }
    }
}

impl Flights {
    /// How many questions are of this kind.
    fn alike(&self, was_active: bool) -> usize {
        match was_active {
            true => self.were_active,
            false => self.by_key.len().saturating_sub(self.were_active),
        }
    }

    fn insert(&mut self, key: Key, flight: Flight) {
        self.were_active += usize::from(flight.was_active);
        self.by_key.insert(key, flight);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(flight) = self.by_key.remove(key) {
            self.were_active -= usize::from(flight.was_active);
        }
    }

    fn is_current(&self, key: &Key, number: u64) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|flight| flight.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AuthorizationServer, Client};
    use crate::token::error::VerifyErrorKind;

    #[test]
    fn whoever_comes_just_after_a_landing_begins_no_second_flight() {
        let server = AuthorizationServer::new("https://id.example.test").unwrap();
        let client = Client::confidential("api", "secret");
        let settings = Settings::new(&server, client, "api".into()).unwrap();
        let calls = Arc::new(Calls::new(&settings));
        let landed = || Some(Err(VerifyErrorKind::Inactive.into()));
        let boarding = calls.board(&[0; 32], false, landed, |_| panic!("a second flight"));
        assert!(matches!(boarding, Boarding::Decided(Err(_))));

        // A flight that is dropped on its way keeps nobody from the next.
        let mut started = 0;
        for _ in 0..2 {
            let boarding = calls.board(&[0; 32], false, || None, |_| started += 1);
            assert!(matches!(boarding, Boarding::Waits(_)));
        }
        assert_eq!(started, 2);
    }
}
