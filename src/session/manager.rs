//! All session operations of a login layer: configuration and the state of this process.

use std::sync::Arc;
use std::time::Duration;

use super::backend::SessionBackend;
use super::hooks::Hooks;
use super::lists::MAX_PER_USER;
use super::local_state::LocalState;
use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::crypto::CookieKey;
use crate::crypto::seal::{self, Purpose};
use crate::flow::Flow;
use crate::random::{Random, RandomError};
use crate::record::{SessionId, SessionRecord};
use crate::store::SharedStore;

/// Creates, loads, changes and ends sessions. Layers, services and sessions share it.
#[derive(Clone, Debug)]
pub(crate) struct SessionManager {
    pub(super) flow: Arc<Flow>,
    pub(super) backend: SessionBackend,
    pub(super) absolute: Duration,
    pub(super) idle: Duration,
    /// The maximum number of sessions of one user, if it is limited.
    pub(super) max_per_user: Option<usize>,
    key: CookieKey,
    pub(super) hooks: Hooks,
    pub(super) local: Arc<LocalState>,
}

/// The reason why a stored record cannot be opened. The record is neither removed nor replaced for it: other
/// processes share the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnsealError {
    /// The record is sealed with a key that this process does not have, or has an unknown format.
    Unreadable,
    /// The record was not sealed for this session, secret, issuer and client, so it authenticates no user.
    Foreign,
}

impl SessionManager {
    pub(crate) fn new(flow: Arc<Flow>, key: CookieKey) -> Self {
        Self {
            flow,
            backend: SessionBackend::Cookie,
            absolute: DEFAULT_ABSOLUTE_LIMIT,
            idle: DEFAULT_IDLE_LIMIT,
            max_per_user: None,
            key,
            hooks: Hooks::default(),
            local: Arc::default(),
        }
    }

    pub(crate) fn with_flow(self, flow: Arc<Flow>) -> Self {
        Self { flow, ..self }
    }

    pub(crate) fn with_session_store(self, store: SharedStore) -> Self {
        let backend = SessionBackend::Store(self.timed(store));
        Self { backend, ..self }
    }

    pub(crate) fn with_shared_store(self, store: SharedStore) -> Self {
        let backend = SessionBackend::SharedCookie(self.timed(store));
        Self { backend, ..self }
    }

    pub(crate) fn with_limits(self, absolute: Duration, idle: Duration) -> Self {
        Self {
            absolute,
            idle,
            ..self
        }
    }

    /// Limits the sessions of one user. Returns `None` without a store, where sessions cannot be counted, and
    /// if the limit is zero or larger than the index.
    pub(crate) fn with_max_sessions_per_user(self, max: usize) -> Option<Self> {
        let possible = self.store().is_some() && (1..=MAX_PER_USER).contains(&max);
        possible.then_some(Self {
            max_per_user: Some(max),
            ..self
        })
    }

    pub(crate) fn with_hooks(mut self, change: impl FnOnce(&mut Hooks)) -> Self {
        change(&mut self.hooks);
        self
    }

    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Reports whether cookies have a session secret instead of a sealed session.
    pub(crate) fn keeps_sessions_in_store(&self) -> bool {
        matches!(self.backend, SessionBackend::Store(_))
    }

    /// Reports whether the browser has the only durable copy of a session.
    pub(super) fn is_cookie_only(&self) -> bool {
        matches!(self.backend, SessionBackend::Cookie)
    }

    /// Returns the seconds since 1970 by the wall clock, and updates the rollback guard.
    pub(crate) fn now(&self) -> i64 {
        self.local.rollback_guard.now(self.flow.clock().as_ref())
    }

    /// Like [`now`](Self::now), adjusted for a wall clock that was set back since `time`.
    pub(crate) fn now_for(&self, time: i64) -> i64 {
        self.now().saturating_add(self.rolled_back_since(time))
    }

    /// Returns when the session ends unless it is used again.
    pub(crate) fn expires_at(&self, record: &SessionRecord) -> i64 {
        record.expires_at(self.absolute, self.idle, |time| {
            self.rolled_back_since(time)
        })
    }

    /// Returns when the session ends even if it is used.
    pub(crate) fn ends_at(&self, record: &SessionRecord) -> i64 {
        record.ends_at(self.absolute, |time| self.rolled_back_since(time))
    }

    /// Returns the latest time at which any state of the session could be live: a refresh may return a
    /// refresh token that is valid for longer. Index entries and end markers are kept until then.
    pub(crate) fn latest_expiry(&self, record: &SessionRecord) -> i64 {
        record.latest_expiry(self.absolute, |time| self.rolled_back_since(time))
    }

    /// Reports whether the session is past its limits. The server enforces them, since `Max-Age` only binds
    /// the browser.
    pub(super) fn has_ended(&self, record: &SessionRecord) -> bool {
        let now = self.now();
        now >= self.expires_at(record) || record.is_from_the_future(now)
    }

    /// Returns how long the latest record of a session is kept.
    pub(super) fn time_left(&self, record: &SessionRecord) -> Duration {
        time_until(self.latest_expiry(record), self.now()).saturating_add(MAX_CLOCK_SKEW)
    }

    /// Returns how long an end marker is kept: the session may have been created just before.
    pub(super) fn max_lifetime(&self) -> Duration {
        self.absolute.saturating_add(MAX_CLOCK_SKEW)
    }

    /// Reports whether a warning about a lasting condition is due, which is at most once a minute.
    pub(super) fn warning_is_due(&self, event: &'static str, detail: &'static str) -> bool {
        let now = self.flow.clock().monotonic();
        self.local.log_limits.allows(event, detail, now)
    }

    pub(super) fn random(&self) -> Random {
        *self.flow.random()
    }

    /// Seals a record for the store, bound to the ID of its session.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        secret: Option<&[u8; 32]>,
        record: &SessionRecord,
    ) -> Result<Vec<u8>, RandomError> {
        let name = record.id().to_string();
        let backend = self.seal_context(purpose, &name, secret);
        self.key
            .seal_bytes(&self.random(), backend, &record.to_bytes())
    }

    /// Opens a record that was sealed for this session and no other. The binding prevents a writer of the
    /// store from swapping the records of two sessions.
    pub(super) fn unseal(
        &self,
        purpose: Purpose,
        secret: Option<&[u8; 32]>,
        id: &SessionId,
        sealed: Vec<u8>,
    ) -> Result<SessionRecord, UnsealError> {
        let name = id.to_string();
        let backend = self.seal_context(purpose, &name, secret);
        let own_key = self.key.names_own_key(&sealed);
        let Some(plain) = self.key.open_bytes(backend, sealed) else {
            return Err(match own_key {
                true => UnsealError::Foreign,
                false => UnsealError::Unreadable,
            });
        };
        let record = SessionRecord::from_bytes(&plain).ok_or(UnsealError::Unreadable)?;
        match record.id() == id {
            true => Ok(record),
            false => Err(UnsealError::Foreign),
        }
    }

    fn seal_context<'a>(
        &'a self,
        purpose: Purpose,
        name: &'a str,
        secret: Option<&'a [u8; 32]>,
    ) -> seal::SealContext<'a> {
        seal::SealContext {
            purpose,
            name,
            binding: self.flow.binding(),
            session_secret: secret,
        }
    }

    pub(super) fn rolled_back_since(&self, time: i64) -> i64 {
        self.local.rollback_guard.rolled_back_since(time)
    }

    fn timed(&self, store: SharedStore) -> SharedStore {
        store.with_clock(Arc::clone(self.flow.clock()))
    }
}

const DEFAULT_ABSOLUTE_LIMIT: Duration = Duration::from_secs(8 * 60 * 60);
const DEFAULT_IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);
