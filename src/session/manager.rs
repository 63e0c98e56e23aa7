//! The keeper of all sessions of a login layer: what it is set up with, and what it remembers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::backend::SessionBackend;
use super::claim::RefusedClaims;
use super::clock_rollback::RollbackGuard;
use super::denylist::Denylist;
use super::hooks::Hooks;
use super::latest::LatestRecords;
use super::lists::MOST_ON_A_LIST;
use super::pending_ends::PendingEnds;
use super::refresh::Refreshes;
use crate::clock::Clock;
use crate::crypto::CookieKey;
use crate::crypto::seal::{self, Purpose};
use crate::flow::{Flow, SessionId, SessionRecord};
use crate::random::{Random, RandomError};
use crate::store::SharedStore;

/// Knows where sessions are and how they begin, change and end. Layers, services and sessions share it.
#[derive(Clone, Debug)]
pub(crate) struct SessionManager {
    pub(super) flow: Arc<Flow>,
    pub(super) place: SessionBackend,
    pub(super) absolute: Duration,
    pub(super) idle: Duration,
    /// How many sessions a person may have at a time, where that was said.
    pub(super) most_per_user: Option<usize>,
    key: CookieKey,
    pub(super) hooks: Hooks,
    pub(super) memory: Arc<Memory>,
}

/// Why a record in a store does not open. Neither is a reason to remove or replace it: other processes share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotOpened {
    /// Sealed under a key that this process does not have, or of a format that it does not know.
    Unreadable,
    /// Not sealed for this session, ticket, issuer and client: nobody is signed in by it.
    Foreign,
}

/// What is kept in this process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) denylist: Denylist,
    pub(super) pending_ends: PendingEnds,
    pub(super) shared_sids: LogLimit,
    pub(super) pending_ends_logged: LogLimit,
    pub(super) successors: LatestRecords,
    pub(super) steady: RollbackGuard,
    pub(super) refreshes: Refreshes,
    pub(super) refused_claims: RefusedClaims,
}

/// Limits how often a warning is logged that a caller can cause.
#[derive(Debug, Default)]
pub(super) struct LogLimit(AtomicU64);

impl LogLimit {
    /// Whether the warning is due, which is at most once a minute.
    pub(super) fn is_due(&self, clock: &dyn Clock) -> bool {
        let now = clock.monotonic().as_secs().saturating_add(1);
        let due = |last: u64| (last == 0 || now >= last.saturating_add(60)).then_some(now);
        let order = Ordering::Relaxed;
        self.0.fetch_update(order, order, due).is_ok()
    }
}

impl SessionManager {
    pub(crate) fn new(flow: Arc<Flow>, key: CookieKey) -> Self {
        Self {
            flow,
            place: SessionBackend::Cookie,
            absolute: ABSOLUTE,
            idle: IDLE,
            most_per_user: None,
            key,
            hooks: Hooks::default(),
            memory: Arc::default(),
        }
    }

    pub(crate) fn with_flow(self, flow: Arc<Flow>) -> Self {
        Self { flow, ..self }
    }

    pub(crate) fn with_session_store(self, store: SharedStore) -> Self {
        let place = SessionBackend::Store(self.timed(store));
        Self { place, ..self }
    }

    pub(crate) fn with_shared_store(self, store: SharedStore) -> Self {
        let place = SessionBackend::CookieWith(self.timed(store));
        Self { place, ..self }
    }

    pub(crate) fn with_limits(self, absolute: Duration, idle: Duration) -> Self {
        Self {
            absolute,
            idle,
            ..self
        }
    }

    /// `None` without a store, where nobody can count, and for what no list holds.
    pub(crate) fn with_max_sessions_per_user(self, most: usize) -> Option<Self> {
        let possible = self.store().is_some() && (1..=MOST_ON_A_LIST).contains(&most);
        possible.then_some(Self {
            most_per_user: Some(most),
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

    /// Whether a browser shows a ticket, and no sealed session.
    pub(crate) fn keeps_sessions_in_store(&self) -> bool {
        matches!(self.place, SessionBackend::Store(_))
    }

    /// Whether the browser has the only lasting copy of a session.
    pub(super) fn keeps_in_cookies_alone(&self) -> bool {
        matches!(self.place, SessionBackend::Cookie)
    }

    /// Seconds since 1970, as the wall clock shows them; it is watched for being set back.
    pub(crate) fn now(&self) -> i64 {
        self.memory.steady.now(self.flow.clock().as_ref())
    }

    /// When the session ends if nothing happens any more.
    pub(crate) fn expires_at(&self, record: &SessionRecord) -> i64 {
        record.expires_at(self.absolute, self.idle, |moment| self.lost_since(moment))
    }

    /// When it ends whatever happens.
    pub(crate) fn ends_at(&self, record: &SessionRecord) -> i64 {
        record.ends_at(self.absolute, |moment| self.lost_since(moment))
    }

    /// The last moment at which any state of it could be alive: what leads to it, or speaks of its end, is
    /// kept until then. A refresh may bring a refresh token that lives longer than the one before.
    pub(crate) fn last_moment(&self, record: &SessionRecord) -> i64 {
        record.last_moment(self.absolute, |moment| self.lost_since(moment))
    }

    /// `L44`: the limits are kept here, whatever `Max-Age` the browser was told.
    pub(super) fn has_ended(&self, record: &SessionRecord) -> bool {
        let now = self.now();
        now >= self.expires_at(record) || record.is_from_the_future(now)
    }

    /// How long it is remembered what this session has become.
    pub(super) fn time_left(&self, record: &SessionRecord) -> Duration {
        let left = self.last_moment(record).saturating_sub(self.now());
        Duration::from_secs(u64::try_from(left).unwrap_or_default()).saturating_add(SLACK)
    }

    /// How long it is remembered that a session has ended, which may have begun a moment ago (`L47`).
    pub(super) fn longest_life(&self) -> Duration {
        self.absolute.saturating_add(SLACK)
    }

    pub(super) fn random(&self) -> Random {
        *self.flow.random()
    }

    /// Seals a record for a store, in the name of its session.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        ticket: Option<&[u8; 32]>,
        record: &SessionRecord,
    ) -> Result<Vec<u8>, RandomError> {
        let name = record.id().to_string();
        let place = self.seal_place(purpose, &name, ticket);
        self.key
            .seal_bytes(&self.random(), place, &record.to_bytes())
    }

    /// The record that was sealed in the name of this session, and of no other (`H59`).
    pub(super) fn unseal(
        &self,
        purpose: Purpose,
        ticket: Option<&[u8; 32]>,
        id: &SessionId,
        sealed: Vec<u8>,
    ) -> Result<SessionRecord, NotOpened> {
        let name = id.to_string();
        let place = self.seal_place(purpose, &name, ticket);
        let own_key = self.key.names_own_key(&sealed);
        let Some(plain) = self.key.open_bytes(place, sealed) else {
            return Err(match own_key {
                true => NotOpened::Foreign,
                false => NotOpened::Unreadable,
            });
        };
        let record = SessionRecord::from_bytes(&plain).ok_or(NotOpened::Unreadable)?;
        match record.id() == id {
            true => Ok(record),
            false => Err(NotOpened::Foreign),
        }
    }

    fn seal_place<'a>(
        &'a self,
        purpose: Purpose,
        name: &'a str,
        ticket: Option<&'a [u8; 32]>,
    ) -> seal::SealContext<'a> {
        seal::SealContext {
            purpose,
            name,
            binding: self.flow.binding(),
            session_secret: ticket,
        }
    }

    pub(super) fn lost_since(&self, moment: i64) -> i64 {
        self.memory.steady.lost_since(moment)
    }

    fn timed(&self, store: SharedStore) -> SharedStore {
        store.with_clock(Arc::clone(self.flow.clock()))
    }
}

const ABSOLUTE: Duration = Duration::from_secs(8 * 60 * 60);
const IDLE: Duration = Duration::from_secs(60 * 60);

/// Clocks differ: a session may be that much younger than the clock tells which it is held against.
const SLACK: Duration = Duration::from_secs(60);
