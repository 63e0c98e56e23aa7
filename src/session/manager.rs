//! The settings of sessions, and the state of this process.

use std::sync::Arc;
use std::time::Duration;

use super::clock_rollback::{RollbackGuard, SessionTime};
use super::denylist::{Denylist, WatermarkScope};
use super::error::UnsealError;
use super::events;
use super::hooks::{EndReason, EndedSession, Hooks};
use super::latest::{LastUses, LatestRecords};
use super::pending_ends::PendingEnds;
#[cfg(test)]
use super::providers::ProviderEntry;
use super::providers::Providers;
use super::refresh::state::Refreshes;
use crate::clock::{BothClocks, MAX_CLOCK_SKEW, SharedClock, time_until};
use crate::crypto::CookieKey;
use crate::crypto::binding::Binding;
use crate::crypto::seal::{Purpose, SealContext};
use crate::expiring_map::ExpiringMap;
use crate::flow::Flow;
use crate::random::{Random, RandomError};
use crate::record::{SessionId, SessionRecord, SessionRef, UserKey};
use crate::store::{Key, SharedStore};
use crate::sync::Mutex;
use crate::telemetry::LogLimits;

/// Creates, loads, changes and ends sessions. Layers, services and sessions share it.
#[derive(Clone, Debug)]
pub(crate) struct SessionManager {
    providers: Providers,
    pub(super) backend: SessionBackend,
    pub(super) absolute: Duration,
    pub(super) idle: Duration,
    /// The maximum number of sessions of one user, if it is limited.
    pub(super) max_per_user: Option<usize>,
    key: CookieKey,
    pub(super) hooks: Hooks,
    pub(super) local: Arc<LocalState>,
}

/// Where sessions are kept. `backend` has the operations that differ by it.
#[derive(Clone, Debug)]
pub(super) enum SessionBackend {
    /// In cookies alone. This process keeps the ended sessions and the latest records.
    Cookie,
    /// In cookies. Ended sessions and the latest records are in a store.
    SharedCookie(SharedStore),
    /// In a store. The cookie has a [`SessionSecret`](super::loaded::SessionSecret).
    Store(SharedStore),
}

/// What this process knows about sessions beyond their cookies and the store. All clones of a login layer share it. A
/// request that changes nothing only reads: it takes no exclusive lock.
#[derive(Debug)]
pub(super) struct LocalState {
    pub(super) denylist: Denylist,
    pub(super) pending_ends: PendingEnds,
    pub(super) latest: LatestRecords,
    pub(super) last_uses: LastUses,
    /// The unexpired entries of consumed states whose codes were rejected, with their versions in the store.
    pub(super) rejected_states: Mutex<ExpiringMap<Key, u64>>,
    pub(super) refreshes: Refreshes,
    pub(super) rollback_guard: RollbackGuard,
    /// Limits warnings about lasting conditions.
    pub(super) log_limits: LogLimits,
}

impl SessionManager {
    pub(crate) fn new(providers: Providers, key: CookieKey) -> Self {
        Self {
            providers,
            backend: SessionBackend::Cookie,
            absolute: DEFAULT_ABSOLUTE_LIMIT,
            idle: DEFAULT_IDLE_LIMIT,
            max_per_user: None,
            key,
            hooks: Hooks::default(),
            local: Arc::default(),
        }
    }

    /// Creates the manager of a layer with one provider.
    #[cfg(test)]
    pub(crate) fn of_flow(flow: Flow, key: CookieKey) -> Self {
        let first = ProviderEntry {
            name: "default".into(),
            display_name: "default".into(),
            accepts_uris_below: false,
            flow: Arc::new(flow),
        };
        Self::new(Providers::new(first), key)
    }

    pub(crate) fn with_providers(mut self, change: impl FnOnce(&mut Providers)) -> Self {
        change(&mut self.providers);
        self
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

    /// Limits the sessions of one user to `max`, at most [`MAX_PER_USER`]. Has an effect with a store only.
    pub(crate) fn with_max_sessions_per_user(self, max: usize) -> Self {
        Self {
            max_per_user: Some(max),
            ..self
        }
    }

    pub(crate) fn with_hooks(mut self, change: impl FnOnce(&mut Hooks)) -> Self {
        change(&mut self.hooks);
        self
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    /// Returns the flow of the first provider, for what is the same for all: clock, randomness, the binding of sealed
    /// records and the time limit of logins.
    pub(crate) fn layer_flow(&self) -> &Arc<Flow> {
        &self.providers.first().flow
    }

    /// Returns the flow of the provider that issued the tokens of this record. They are sent nowhere else.
    pub(crate) fn flow_of(&self, record: &SessionRecord) -> Option<&Arc<Flow>> {
        self.providers.of(record).map(|entry| &entry.flow)
    }

    /// Reports whether the application decides on logins.
    pub(crate) fn has_login_hook(&self) -> bool {
        self.hooks.on_login.is_set()
    }

    /// Revokes the tokens of a session that has ended, at the provider that issued them.
    pub(crate) async fn revoke(&self, record: &SessionRecord) {
        if let Some(flow) = self.flow_of(record) {
            flow.revoke(record).await;
        }
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.layer_flow().clock()
    }

    pub(super) fn binding(&self) -> Binding {
        self.layer_flow().binding()
    }

    /// Reads the clocks, once for each request.
    pub(crate) fn time(&self) -> SessionTime {
        self.local.rollback_guard.read(&**self.clock())
    }

    /// Returns when the session ends unless it is used again.
    pub(crate) fn expires_at(&self, record: &SessionRecord, now: &SessionTime) -> i64 {
        record.expires_at(self.absolute, self.idle, |time| now.rolled_back_since(time))
    }

    /// Returns when the session ends even if it is used.
    pub(crate) fn ends_at(&self, record: &SessionRecord, now: &SessionTime) -> i64 {
        record.ends_at(self.absolute, |time| now.rolled_back_since(time))
    }

    /// Returns the latest time at which any state of the session could be live: a refresh may return a
    /// refresh token that is valid for longer. Index entries and end markers are kept until then.
    pub(crate) fn latest_expiry(&self, record: &SessionRecord, now: &SessionTime) -> i64 {
        record.latest_expiry(self.absolute, |time| now.rolled_back_since(time))
    }

    /// Reports whether the session is past its limits. The server enforces them, since `Max-Age` only binds
    /// the browser.
    pub(super) fn has_ended(&self, record: &SessionRecord, now: &SessionTime) -> bool {
        now.wall() >= self.expires_at(record, now) || record.is_from_the_future(now.wall())
    }

    /// Returns how long the latest record of a session is kept.
    pub(super) fn time_left(&self, record: &SessionRecord, now: &SessionTime) -> Duration {
        time_until(self.latest_expiry(record, now), now.wall()).saturating_add(MAX_CLOCK_SKEW)
    }

    /// Returns how long an end marker is kept: the session may have been created just before.
    pub(super) fn max_lifetime(&self) -> Duration {
        self.absolute.saturating_add(MAX_CLOCK_SKEW)
    }

    /// Reports whether this process has ended the session. The store is not asked.
    pub(crate) fn is_denied(&self, record: &SessionRecord) -> bool {
        self.local.denylist.contains(record) || self.local.pending_ends.contains(record.id())
    }

    /// Rejects the session in this process from now on.
    pub(super) fn deny(&self, session: &SessionRef) {
        let now = BothClocks::now(&**self.clock());
        let denylist = &self.local.denylist;
        self.warn_about_watermark(denylist.insert(session, now, self.max_lifetime()));
    }

    /// Like [`deny`](Self::deny), for a session whose user is not known.
    pub(super) fn deny_id(&self, id: &SessionId) {
        let now = BothClocks::now(&**self.clock());
        let denylist = &self.local.denylist;
        self.warn_about_watermark(denylist.insert_id(id, now, self.max_lifetime()));
    }

    fn warn_about_watermark(&self, raised: Option<WatermarkScope>) {
        if let Some(raised) = raised
            && self.warning_is_due("denylist_watermark_raised", "")
        {
            events::watermark_raised(raised);
        }
    }

    /// Returns the record with the time of this use, if the time in the record is old enough.
    pub(super) fn touched(
        &self,
        record: &SessionRecord,
        now: &SessionTime,
    ) -> Option<SessionRecord> {
        let is_due = record.needs_touch(now.wall(), self.idle);
        is_due.then(|| record.clone().touched(now.wall()))
    }

    /// Calls the hook for a session that has just ended, without waiting for it.
    pub(crate) fn notify_ended(&self, record: &SessionRecord, reason: EndReason) {
        let ended = EndedSession::new(record, reason);
        self.hooks.notify_ended(self.clock(), ended);
    }

    /// Calls the hook for a session whose record cannot be read. `user` is issuer and subject, if known.
    pub(crate) fn notify_ended_unopened(
        &self,
        id: Option<SessionId>,
        user: Option<UserKey<'_>>,
        reason: EndReason,
    ) {
        let ended = EndedSession::unopened(id, user, reason);
        self.hooks.notify_ended(self.clock(), ended);
    }

    /// Reports whether a warning about a lasting condition is due, which is at most once a minute.
    pub(super) fn warning_is_due(&self, event: &'static str, detail: &'static str) -> bool {
        let now = self.clock().monotonic();
        self.local.log_limits.allows(event, detail, now)
    }

    pub(super) fn random(&self) -> Random {
        *self.layer_flow().random()
    }

    /// Seals a record for the store, bound to the ID of its session.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        secret: Option<&[u8; 32]>,
        record: &SessionRecord,
    ) -> Result<Vec<u8>, RandomError> {
        let name = record.id().to_string();
        let context = self.seal_context(purpose, &name, secret);
        self.key
            .seal_bytes(&self.random(), context, &record.to_bytes())
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
        let context = self.seal_context(purpose, &name, secret);
        let own_key = self.key.names_own_key(&sealed);
        let Some(plain) = self.key.open_bytes(context, sealed) else {
            return Err(match own_key {
                true => UnsealError::Foreign,
                false => UnsealError::Unreadable,
            });
        };
        let record = SessionRecord::from_bytes(&plain).ok_or(UnsealError::Unreadable)?;
        match record.id() == id && self.providers.of(&record).is_some() {
            true => Ok(record),
            false => Err(UnsealError::Foreign),
        }
    }

    fn seal_context<'a>(
        &'a self,
        purpose: Purpose,
        name: &'a str,
        secret: Option<&'a [u8; 32]>,
    ) -> SealContext<'a> {
        SealContext {
            purpose,
            name,
            binding: self.binding(),
            session_secret: secret,
        }
    }

    fn timed(&self, store: SharedStore) -> SharedStore {
        store.with_clock(Arc::clone(self.clock()))
    }
}

impl Default for LocalState {
    fn default() -> Self {
        Self {
            denylist: Denylist::default(),
            pending_ends: PendingEnds::default(),
            latest: LatestRecords::default(),
            last_uses: LastUses::default(),
            rejected_states: Mutex::new(ExpiringMap::new(MAX_REJECTED)),
            refreshes: Refreshes::default(),
            rollback_guard: RollbackGuard::default(),
            log_limits: LogLimits::per_minute(),
        }
    }
}

const DEFAULT_ABSOLUTE_LIMIT: Duration = Duration::from_secs(8 * 60 * 60);
const DEFAULT_IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);

/// The maximum number of sessions of one user.
pub(crate) const MAX_PER_USER: usize = 256;

/// The maximum number of consumed states with rejected codes of one process. Beyond it the oldest is removed, so that
/// forged codes occupy a fixed part of the store.
pub(super) const MAX_REJECTED: usize = 256;
