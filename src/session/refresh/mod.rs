//! Fresh tokens for sessions ([RFC 6749 §6]): when it is time, by whom, and what a failure means.
//!
//! One request for all who want it: in this process they share one attempt, and among processes that
//! share a store one of them has the turn. The attempt is a task of its own, and nobody is given a token
//! that is not yet kept where the session is.
//!
//! [RFC 6749 §6]: https://www.rfc-editor.org/rfc/rfc6749#section-6

mod attempt;
mod backoff;
mod due;
mod flights;
mod lease;
mod outcome;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::backoff::Backoff;
use self::due::RefreshMode;
use self::flights::Flights;
pub(super) use self::flights::Seat;
pub(super) use self::outcome::RefreshError;
use super::bounded_map::BoundedMap;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::clock::within;
use crate::flow::SessionRecord;

/// Nobody waits longer for fresh tokens; the attempt goes on.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is remembered of refreshes in this process.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    flights: Flights,
    backoff: Backoff,
    refused: Refused,
    /// Whether it was said what sealed cookies alone cannot promise.
    warned: AtomicBool,
}

/// Cookies whose refresh token is no longer taken, by the generation of their tokens. A cookie of the
/// same session with newer tokens is another matter.
#[derive(Debug, Default)]
struct Refused(Mutex<BoundedMap<u64>>);

impl Refused {
    fn note(&self, record: &SessionRecord) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.put(*record.id(), record.generation());
    }

    fn holds(&self, record: &SessionRecord) -> bool {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.get(record.id()) == Some(&record.generation())
    }
}

impl Refreshes {
    /// Whether it is the first time that it has to be said.
    fn warns(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }
}

impl SessionManager {
    /// The session with an access token that is good, refreshed if it has to be.
    pub(super) async fn fresh(&self, held: &LoadedSession) -> Result<LoadedSession, RefreshError> {
        self.refreshed(held, RefreshMode::Good).await
    }

    /// The session with other tokens than these.
    pub(super) async fn newer(&self, held: &LoadedSession) -> Result<LoadedSession, RefreshError> {
        self.refreshed(held, RefreshMode::Newer).await
    }

    /// Starts a refresh if it is time for one, and does not wait for it: the access token is good for a
    /// little longer. The seat is for those who have a reason to wait all the same.
    pub(super) fn refresh_ahead(&self, held: &LoadedSession) -> Option<Seat> {
        let record = held.record();
        let memory = &self.memory.refreshes;
        let now = self.flow.clock().monotonic();
        if !self.is_wanted(record, record.generation(), RefreshMode::Ahead)
            || memory.refused.holds(record)
            || memory.backoff.pause(record.id(), now).is_some()
        {
            return None;
        }
        self.board(held, RefreshMode::Ahead)
    }

    /// Whether the session is over, because its access token is, and its refresh token was refused here
    /// (`L53` for sealed cookies).
    pub(super) fn is_refused(&self, record: &SessionRecord) -> bool {
        self.memory.refreshes.refused.holds(record) && !self.has_good_token(record)
    }

    /// Waits until no refresh is under way in this process, but no longer than `limit`. Whether that came
    /// about.
    pub(crate) async fn wait_for_refreshes(&self, limit: Duration) -> bool {
        let wait_for_refreshes = self.memory.refreshes.flights.wait_for_refreshes();
        within(&**self.flow.clock(), limit, wait_for_refreshes)
            .await
            .is_some()
    }

    async fn refreshed(
        &self,
        held: &LoadedSession,
        want: RefreshMode,
    ) -> Result<LoadedSession, RefreshError> {
        loop {
            let seat = self.board(held, want).ok_or(RefreshError::CROWDED)?;
            let first = seat.first;
            let outcome = within(&**self.flow.clock(), PATIENCE, seat.outcome()).await;
            let newest = outcome
                .ok_or(RefreshError::SLOW)?
                .unwrap_or(Err(RefreshError::TORN_DOWN))?;
            // An attempt that others began may have found that there was nothing to do for them.
            if first || !self.is_wanted(newest.record(), held.record().generation(), want) {
                return Ok(newest);
            }
        }
    }

    fn board(&self, held: &LoadedSession, want: RefreshMode) -> Option<Seat> {
        let flights = &self.memory.refreshes.flights;
        flights.join(*held.record().id(), || {
            let (keeper, held) = (self.clone(), held.clone());
            async move { keeper.attempt(held, want).await }
        })
    }
}
