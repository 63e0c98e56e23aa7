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
use self::flights::RefreshFlights;
pub(super) use self::flights::RefreshWaiter;
pub(super) use self::outcome::RefreshError;
use super::bounded_map::BoundedMap;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::clock::within;
use crate::flow::SessionRecord;

/// Nobody waits longer for fresh tokens; the attempt goes on.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// What is remembered of refreshes in this process.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    flights: RefreshFlights,
    backoff: Backoff,
    rejected: RejectedTokens,
    /// Whether it was said what sealed cookies alone cannot promise.
    warned: AtomicBool,
}

/// Cookies whose refresh token is no longer taken, by the generation of their tokens. A cookie of the
/// same session with newer tokens is another matter.
#[derive(Debug, Default)]
struct RejectedTokens(Mutex<BoundedMap<u64>>);

impl RejectedTokens {
    fn insert(&self, record: &SessionRecord) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.put(*record.id(), record.generation());
    }

    fn contains(&self, record: &SessionRecord) -> bool {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.get(record.id()) == Some(&record.generation())
    }
}

impl Refreshes {
    /// Whether it is the first time that it has to be said.
    fn is_first_warning(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }
}

impl SessionManager {
    /// The session with an access token that is good, refreshed if it has to be.
    pub(super) async fn fresh(
        &self,
        loaded: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.refreshed(loaded, RefreshMode::IfExpired).await
    }

    /// The session with other tokens than these.
    pub(super) async fn newer(
        &self,
        loaded: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.refreshed(loaded, RefreshMode::Forced).await
    }

    /// Starts a refresh if it is time for one, and does not wait for it: the access token is good for a
    /// little longer. The seat is for those who have a reason to wait all the same.
    pub(super) fn refresh_proactively(&self, loaded: &LoadedSession) -> Option<RefreshWaiter> {
        let record = loaded.record();
        let refreshes = &self.local.refreshes;
        let now = self.flow.clock().monotonic();
        if !self.needs_refresh(record, record.generation(), RefreshMode::Proactive)
            || refreshes.rejected.contains(record)
            || refreshes.backoff.pause(record.id(), now).is_some()
        {
            return None;
        }
        self.join(loaded, RefreshMode::Proactive)
    }

    /// Whether the session is over, because its access token is, and its refresh token was refused here
    /// (`L53` for sealed cookies).
    pub(super) fn is_refused(&self, record: &SessionRecord) -> bool {
        self.local.refreshes.rejected.contains(record) && !self.has_valid_token(record)
    }

    /// Waits until no refresh is under way in this process, but no longer than `limit`. Whether that came
    /// about.
    pub(crate) async fn wait_for_refreshes(&self, limit: Duration) -> bool {
        let wait_for_refreshes = self.local.refreshes.flights.wait_for_refreshes();
        within(&**self.flow.clock(), limit, wait_for_refreshes)
            .await
            .is_some()
    }

    async fn refreshed(
        &self,
        loaded: &LoadedSession,
        mode: RefreshMode,
    ) -> Result<LoadedSession, RefreshError> {
        loop {
            let waiter = self.join(loaded, mode).ok_or(RefreshError::TOO_MANY)?;
            let first = waiter.first;
            let outcome = within(&**self.flow.clock(), REFRESH_TIMEOUT, waiter.outcome()).await;
            let newest = outcome
                .ok_or(RefreshError::TIMED_OUT)?
                .unwrap_or(Err(RefreshError::ABORTED))?;
            // An attempt that others began may have found that there was nothing to do for them.
            if first || !self.needs_refresh(newest.record(), loaded.record().generation(), mode) {
                return Ok(newest);
            }
        }
    }

    fn join(&self, loaded: &LoadedSession, mode: RefreshMode) -> Option<RefreshWaiter> {
        let flights = &self.local.refreshes.flights;
        flights.join(*loaded.record().id(), || {
            let (manager, loaded) = (self.clone(), loaded.clone());
            async move { manager.attempt(loaded, mode).await }
        })
    }
}
