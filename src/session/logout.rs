//! Ends all sessions of a user or a `sid`: by a logout token ([OpenID Connect Back-Channel Logout]), or by an
//! administrator.
//!
//! A watermark is the time up to which all sessions of a `sub` or a `sid` have ended. It is written before the index is
//! read, and it is checked after a session was created: a login that is concurrent with a logout is found in the index
//! or finds the watermark.
//!
//! [OpenID Connect Back-Channel Logout]: https://openid.net/specs/openid-connect-backchannel-1_0.html

use bytes::Bytes;
use futures_util::future::join;

use super::hooks::EndReason;
use super::index::{self, IndexEntry, IndexTag, SessionIndex};
use super::manager::SessionManager;
use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::flow::Flow;
use crate::record::{SessionRecord, UserKey};
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};
use crate::token::logout_token::LogoutToken;

/// The reason why a logout token ended no session.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EndSessionError {
    #[error("the logout token was used before")]
    Replayed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which sessions are ended, and what the hook is told.
pub(super) struct BulkLogout<'a> {
    pub(super) list: SessionIndex,
    /// Limits a logout of a user to the sessions of this `sid`.
    pub(super) sid: Option<IndexTag>,
    /// If known.
    pub(super) user: Option<UserKey<'a>>,
    /// Logins in progress end too if their ID token was issued at this time or before.
    pub(super) issued_until: i64,
    /// Whether that also holds for indexed sessions, so that a late logout ends no later login. Otherwise all
    /// of them end, since the clock of the authorization server may be ahead.
    pub(super) only_before: bool,
    pub(super) reason: EndReason,
}

/// The ended sessions of one index.
#[derive(Default)]
struct LogoutWatermark {
    /// Sessions issued up to this time have ended.
    all: Option<i64>,
    /// In the watermark of a user: the same by `sid`.
    by_sid: Vec<(IndexTag, i64)>,
}

impl SessionManager {
    /// Reports whether a back-channel logout at this process reaches every process of the application.
    pub(crate) fn accepts_logout_tokens(&self) -> bool {
        self.store().is_some_and(SharedStore::is_shared)
    }

    /// Ends the sessions that a logout token of the provider with this flow names: those of its `sid`, all of its `sub`, or those of `sub`
    /// with this `sid`. Returns the number of listed sessions; copies in cookies may be more.
    ///
    /// The `jti` is recorded after all sessions have ended. A delivery that failed half-way can be repeated,
    /// and ending a session twice has no effect.
    pub(crate) async fn end_by_token(
        &self,
        flow: &Flow,
        token: &LogoutToken,
    ) -> Result<usize, EndSessionError> {
        let Some(store) = self.store() else {
            return Err(StoreError::unavailable("there is no store").into());
        };
        let issuer = token.issuer.as_str();
        let used_jti = used_jti(flow, token);
        if store.get(&used_jti).await?.is_some() {
            return Err(EndSessionError::Replayed);
        }
        let user = token.subject.as_deref();
        let user = user.map(|subject| UserKey::new(issuer, subject));
        let user_list = user.map(|user| SessionIndex::of_user(flow, user));
        let sid_list = token.session_id.as_deref();
        let sid_list = sid_list.map(|sid| SessionIndex::of_sid(flow, issuer, sid));
        let (list, sid) = match (user_list, sid_list) {
            (Some(list), None) | (None, Some(list)) => (list, None),
            // The token means neither other sessions of this user nor other users with this `sid`. Some
            // servers use another `sub` in logout tokens than in ID tokens, though: a `sub` that is unknown
            // here, with a `sid` whose sessions are of a single user, is unambiguous.
            (Some(user), Some(sid)) => match self.is_of_one_other_user(store, &sid, &user).await? {
                true => (sid, None),
                false => (user, Some(sid.tag())),
            },
            (None, None) => return Ok(0),
        };
        let all = BulkLogout {
            list,
            sid,
            user,
            issued_until: token.issued_at,
            only_before: true,
            reason: EndReason::BackChannel,
        };
        let ended = self.end_all(store, &all).await?;
        let ttl = time_until(token.valid_until, self.time().wall()) + MAX_CLOCK_SKEW;
        // Exactly one of two concurrent deliveries succeeds.
        match store
            .put(&used_jti, Bytes::new(), ttl, Expect::Absent)
            .await?
        {
            Put::Stored(_) => Ok(ended),
            Put::Conflict => Err(EndSessionError::Replayed),
        }
    }

    async fn is_of_one_other_user(
        &self,
        store: &SharedStore,
        sid: &SessionIndex,
        user: &SessionIndex,
    ) -> Result<bool, StoreError> {
        let entries = sid.read(store, self.time().wall()).await?;
        let first = entries.first().map(|entry| entry.other);
        let is_first = |entry: &IndexEntry| Some(entry.other) == first;
        let is_of_one = first.is_some_and(|first| first != user.tag());
        Ok(is_of_one && entries.iter().all(is_first) && !user.exists(store).await?)
    }

    /// Ends every live session of `all`, and returns how many were live.
    pub(super) async fn end_all(
        &self,
        store: &SharedStore,
        all: &BulkLogout<'_>,
    ) -> Result<usize, StoreError> {
        let (list, now) = (&all.list, self.time().wall());
        self.record_logout(store, list, all.sid, all.issued_until)
            .await?;
        let entries = list.read(store, now).await?;
        let (mut ended, mut found) = (0, Vec::new());
        for entry in entries.iter().filter(|one| all.covers(one)) {
            if self.is_live(&entry.id).await? {
                self.end_at_all_layers(&entry.id).await?;
                self.notify_ended_unopened(Some(entry.id), all.user, all.reason);
                ended += 1;
            }
            found.push(entry.id);
        }
        if !found.is_empty() {
            list.remove(store, &found, now).await?;
        }
        Ok(ended)
    }

    /// Records that the sessions of `list` issued up to `time` (seconds since 1970) have ended; with `sid`,
    /// only those with this `sid`. A late logout never lowers a watermark.
    async fn record_logout(
        &self,
        store: &SharedStore,
        list: &SessionIndex,
        sid: Option<IndexTag>,
        time: i64,
    ) -> Result<(), StoreError> {
        let key = watermark_key(list);
        // A login in progress may complete this much later.
        let ttl = self.absolute;
        let ttl = ttl.saturating_add(self.layer_flow().login_time_limit());
        for _ in 0..MAX_ATTEMPTS {
            let stored = store.get(&key).await?;
            let mut watermark = match &stored {
                Some(stored) => LogoutWatermark::read(stored)?,
                None => LogoutWatermark::default(),
            };
            watermark.add(sid, time);
            let expect = stored.map_or(Expect::Absent, |stored| Expect::Version(stored.version()));
            if let Put::Stored(_) = store.put(&key, watermark.to_bytes(), ttl, expect).await? {
                return Ok(());
            }
        }
        Err(StoreError::unavailable(
            "the logout watermark changes too fast",
        ))
    }

    /// Reports whether the authorization server has ended this session.
    pub(super) async fn is_logged_out(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<bool, StoreError> {
        let issued_at = record.issued_at();
        let covers = |stored: Option<Record>, sid: Option<IndexTag>| match stored {
            Some(stored) => Ok(LogoutWatermark::read(&stored)?.covers(issued_at, sid)),
            None => Ok(false),
        };
        let Some((by_user, by_sid)) = self.indexes_of(record) else {
            return Ok(true);
        };
        let user = watermark_key(&by_user);
        let Some(sid) = by_sid else {
            return covers(store.get(&user).await?, None);
        };
        let tag = sid.tag();
        let sid = watermark_key(&sid);
        let (user, sid) = join(store.get(&user), store.get(&sid)).await;
        Ok(covers(user?, Some(tag))? || covers(sid?, None)?)
    }
}

impl BulkLogout<'_> {
    fn covers(&self, entry: &IndexEntry) -> bool {
        let of_sid = self.sid.is_none_or(|sid| entry.other == sid);
        of_sid && (!self.only_before || entry.issued_at <= self.issued_until)
    }
}

impl LogoutWatermark {
    /// Fails for an unknown format, for example of a newer release: treated as empty, it would let ended
    /// sessions continue and would be overwritten.
    fn read(stored: &Record) -> Result<Self, StoreError> {
        let unreadable =
            || StoreError::unavailable("the logout watermark has an unknown format: it was kept");
        let (all, rest) = stored
            .value()
            .split_first_chunk::<8>()
            .filter(|(_, rest)| rest.len() % (16 + 8) == 0)
            .ok_or_else(unreadable)?;
        let mut watermark = Self {
            all: Some(i64::from_be_bytes(*all)).filter(|time| *time != NEVER),
            by_sid: Vec::new(),
        };
        for pair in rest.chunks_exact(16 + 8) {
            if let Some((tag, time)) = pair.split_first_chunk::<16>()
                && let Ok(time) = time.try_into()
            {
                let tag = IndexTag::from_bytes(*tag);
                watermark.by_sid.push((tag, i64::from_be_bytes(time)));
            }
        }
        Ok(watermark)
    }

    fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(8 + self.by_sid.len() * (16 + 8));
        bytes.extend_from_slice(&self.all.unwrap_or(NEVER).to_be_bytes());
        for (tag, time) in &self.by_sid {
            bytes.extend_from_slice(tag.as_bytes());
            bytes.extend_from_slice(&time.to_be_bytes());
        }
        bytes.into()
    }

    fn add(&mut self, sid: Option<IndexTag>, time: i64) {
        let Some(sid) = sid else {
            self.all = self.all.max(Some(time));
            return;
        };
        match self.by_sid.iter_mut().find(|(tag, _)| *tag == sid) {
            Some((_, stored)) => *stored = time.max(*stored),
            None => self.by_sid.push((sid, time)),
        }
        if self.by_sid.len() > MAX_SIDS {
            // All sessions of this user that are older than the dropped entry count as ended.
            self.by_sid.sort_by_key(|(_, time)| *time);
            let (_, oldest) = self.by_sid.remove(0);
            self.all = self.all.max(Some(oldest));
        }
    }

    fn covers(&self, issued_at: i64, sid: Option<IndexTag>) -> bool {
        let of_sid = |(tag, time): &(IndexTag, i64)| Some(*tag) == sid && issued_at <= *time;
        self.all.is_some_and(|time| issued_at <= time) || self.by_sid.iter().any(of_sid)
    }
}

/// Returns the store key of a used `jti`, which is unique within its issuer (RFC 7519 §4.1.7).
fn used_jti(flow: &Flow, token: &LogoutToken) -> Key {
    Key::new("logout", &index::digest(flow, &token.issuer, &token.jwt_id))
}

/// Returns the store key of the watermark of an index.
fn watermark_key(list: &SessionIndex) -> Key {
    Key::new(list.logout_purpose(), list.id())
}

const MAX_ATTEMPTS: usize = 8;

/// Encodes that no time is set.
const NEVER: i64 = i64::MIN;

/// The maximum number of `sid`s in the watermark of one user.
const MAX_SIDS: usize = 64;
