//! Logout watermarks: the time up to which all sessions of a `sub` or a `sid` have ended ([OpenID Connect
//! Back-Channel Logout §2.6]).
//!
//! The watermark is written before the index is read, and it is checked after a session was created. A login
//! that is concurrent with a logout is therefore found in the index or finds the watermark.
//!
//! [OpenID Connect Back-Channel Logout §2.6]: https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;

use super::index::{IndexTag, SessionIndex};
use super::manager::SessionManager;
use crate::record::SessionRecord;
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};

/// The ended sessions of one index.
#[derive(Default)]
struct LogoutWatermark {
    /// Sessions issued up to this time have ended.
    all: Option<i64>,
    /// In the watermark of a user: the same by `sid`.
    by_sid: Vec<(IndexTag, i64)>,
}

impl SessionManager {
    /// Records that the sessions of `list` issued up to `time` (seconds since 1970) have ended; with `sid`,
    /// only those with this `sid`. A late logout never lowers a watermark.
    pub(super) async fn record_logout(
        &self,
        store: &SharedStore,
        list: &SessionIndex,
        sid: Option<IndexTag>,
        time: i64,
    ) -> Result<(), StoreError> {
        let key = key(list);
        // A login in progress may complete this much later.
        let ttl = self.absolute.saturating_add(LOGIN_TIMEOUT);
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
        let user = key(&self.user_index(record.subject()));
        let Some(sid) = record.sid().map(|sid| self.sid_index(sid)) else {
            return covers(store.get(&user).await?, None);
        };
        let tag = sid.tag();
        let sid = key(&sid);
        let (user, sid) = join(store.get(&user), store.get(&sid)).await;
        Ok(covers(user?, Some(tag))? || covers(sid?, None)?)
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

fn key(list: &SessionIndex) -> Key {
    Key::new(list.logout_purpose(), list.id())
}

const LOGIN_TIMEOUT: Duration = Duration::from_secs(600);
const MAX_ATTEMPTS: usize = 8;

/// Encodes that no time is set.
const NEVER: i64 = i64::MIN;

/// The maximum number of `sid`s in the watermark of one user.
const MAX_SIDS: usize = 64;
