//! Refreshes the tokens of sessions ([RFC 6749 §6]).
//!
//! One request serves all callers: in this process they share a single flight, and processes that share a
//! store take turns with a lease. The attempt runs in its own task, and callers receive new tokens only after
//! they have been saved.
//!
//! [RFC 6749 §6]: https://www.rfc-editor.org/rfc/rfc6749#section-6

mod attempt;
mod backoff;
mod due;
mod error;
mod flights;
mod lease;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::backoff::Backoff;
use self::due::RefreshMode;
pub(super) use self::error::RefreshError;
use self::flights::RefreshFlights;
pub(super) use self::flights::RefreshWaiter;
use super::bounded_map::BoundedMap;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::clock::within;
use crate::record::SessionRecord;

/// How long a caller waits for a refresh. The attempt continues after that.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// The state of refreshes in this process.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    flights: RefreshFlights,
    backoff: Backoff,
    rejected: RejectedTokens,
    /// Whether the warning about rotation without a store has been logged.
    warned: AtomicBool,
}

/// Sessions whose refresh token was rejected, with the generation of their tokens. A cookie of the same
/// session with newer tokens is not affected.
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
    /// Reports whether the warning has not been logged yet.
    fn is_first_warning(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }
}

impl SessionManager {
    /// Returns the session with a valid access token, refreshing it if it has expired.
    pub(super) async fn refresh_if_expired(
        &self,
        loaded: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.join_refresh(loaded, RefreshMode::IfExpired).await
    }

    /// Returns the session with other tokens than those of `loaded`.
    pub(super) async fn force_refresh(
        &self,
        loaded: &LoadedSession,
    ) -> Result<LoadedSession, RefreshError> {
        self.join_refresh(loaded, RefreshMode::Forced).await
    }

    /// Starts a refresh if one is due, without waiting for it, since the access token is still valid. Returns
    /// a waiter for callers that need the result.
    pub(super) fn refresh_proactively(&self, loaded: &LoadedSession) -> Option<RefreshWaiter> {
        let record = loaded.record();
        let refreshes = &self.local.refreshes;
        let now = self.flow.clock().monotonic();
        if !self.needs_refresh(record, record.generation(), RefreshMode::Proactive)
            || refreshes.rejected.contains(record)
            || refreshes.backoff.active_failure(record.id(), now).is_some()
        {
            return None;
        }
        self.join(loaded, RefreshMode::Proactive)
    }

    /// Reports whether a session in a cookie has ended because its access token has expired and its refresh
    /// token was rejected.
    pub(super) fn is_refresh_rejected(&self, record: &SessionRecord) -> bool {
        self.local.refreshes.rejected.contains(record) && !self.has_valid_token(record)
    }

    /// Waits for at most `limit` until no refresh is in progress in this process. Reports whether that was
    /// reached.
    pub(crate) async fn wait_for_refreshes(&self, limit: Duration) -> bool {
        let wait_for_refreshes = self.local.refreshes.flights.wait_for_refreshes();
        within(&**self.flow.clock(), limit, wait_for_refreshes)
            .await
            .is_some()
    }

    async fn join_refresh(
        &self,
        loaded: &LoadedSession,
        mode: RefreshMode,
    ) -> Result<LoadedSession, RefreshError> {
        loop {
            let waiter = self.join(loaded, mode).ok_or(RefreshError::TOO_MANY)?;
            let is_first = waiter.is_first;
            let outcome = within(&**self.flow.clock(), REFRESH_TIMEOUT, waiter.wait()).await;
            let newest = outcome
                .ok_or(RefreshError::TIMED_OUT)?
                .unwrap_or(Err(RefreshError::ABORTED))?;
            // An attempt that another caller started may have required no refresh for its mode.
            if is_first || !self.needs_refresh(newest.record(), loaded.record().generation(), mode)
            {
                return Ok(newest);
            }
        }
    }

    fn join(&self, loaded: &LoadedSession, mode: RefreshMode) -> Option<RefreshWaiter> {
        let flights = &self.local.refreshes.flights;
        flights.join(*loaded.record().id(), || {
            let (manager, loaded) = (self.clone(), loaded.clone());
            async move { manager.run_refresh(loaded, mode).await }
        })
    }
}
