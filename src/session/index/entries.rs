//! Session indexes: the sessions of a user and of a `sid`.
//!
//! An entry is stored before its session is. An index may have entries of ended sessions, but never misses a
//! live one. It has IDs and times, and nothing of the session records.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::crypto::base64url;
use crate::crypto::binding::join;
use crate::crypto::digest::sha256;
use crate::flow::Flow;
use crate::record::{SessionId, UserKey};
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

/// The index of one user or of one `sid`.
#[derive(Clone, Debug)]
pub(in crate::session) struct SessionIndex {
    by: IndexedBy,
    id: String,
}

#[derive(Clone, Copy, Debug)]
enum IndexedBy {
    User,
    Sid,
}

/// Identifies an index: the first 96 bits of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct IndexTag([u8; 16]);

/// One session of an index. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct IndexEntry {
    pub(in crate::session) id: SessionId,
    /// When the ID token was issued, by the clock of the authorization server.
    pub(in crate::session) issued_at: i64,
    pub(in crate::session) created_at: i64,
    pub(in crate::session) ends_at: i64,
    /// In the index of a user, the `sid` of the session. In the index of a `sid`, its user.
    pub(in crate::session) other: IndexTag,
}

impl SessionIndex {
    /// Returns the index of a user: `issuer` is that of the session.
    pub(in crate::session) fn of_user(flow: &Flow, user: UserKey<'_>) -> Self {
        Self {
            by: IndexedBy::User,
            id: digest(flow, user.issuer, user.subject),
        }
    }

    /// Returns the index of a session at the authorization server (`sid`), which is unique within its issuer.
    pub(in crate::session) fn of_sid(flow: &Flow, issuer: &str, sid: &str) -> Self {
        Self {
            by: IndexedBy::Sid,
            id: digest(flow, issuer, sid),
        }
    }

    pub(in crate::session) fn id(&self) -> &str {
        &self.id
    }

    pub(in crate::session) fn tag(&self) -> IndexTag {
        let mut tag = IndexTag::NONE;
        for (byte, digit) in tag.0.iter_mut().zip(self.id.bytes()) {
            *byte = digit;
        }
        tag
    }

    fn is_of_a_user(&self) -> bool {
        matches!(self.by, IndexedBy::User)
    }

    /// Returns the purpose under which the watermark of this index is stored.
    pub(in crate::session) fn logout_purpose(&self) -> &'static str {
        match self.by {
            IndexedBy::User => "ended-user",
            IndexedBy::Sid => "ended-sid",
        }
    }

    fn key(&self) -> Key {
        let purpose = match self.by {
            IndexedBy::User => "user",
            IndexedBy::Sid => "sid",
        };
        Key::new(purpose, &self.id)
    }
}

impl IndexTag {
    pub(in crate::session) const NONE: Self = Self([0; 16]);

    pub(in crate::session) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(in crate::session) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Returns a digest of `id`, issuer and client. Not `id` itself, since a subject may be an e-mail address. All layers of
/// a client share it, since a logout token that arrives at one of them is for the sessions of all. The issuer is that of
/// the users and not that of the server, which several tenants share.
pub(in crate::session) fn digest(flow: &Flow, issuer: &str, id: &str) -> String {
    let parts = [issuer, flow.client().id(), id];
    base64url::encode(&sha256(&join(&parts.map(str::as_bytes))))
}

/// The result of adding a session.
#[derive(Default)]
pub(super) struct IndexInsertion {
    /// Sessions of the same user that were removed from the index. They must be ended.
    pub(super) surplus: Vec<SessionId>,
    /// The number of sessions of this user in the index.
    pub(super) length: usize,
    /// The index of a `sid` is full with sessions of other users. The session was not added.
    pub(super) is_full: bool,
}

impl SessionIndex {
    /// Returns the unexpired entries, the oldest first.
    pub(in crate::session) async fn read(
        &self,
        store: &SharedStore,
        now: i64,
    ) -> Result<Vec<IndexEntry>, StoreError> {
        match store.get(&self.key()).await? {
            Some(found) => decode(found.value(), now).ok_or_else(unreadable),
            None => Ok(Vec::new()),
        }
    }

    /// Reports whether the index exists, which is the case for a while after its last session has ended.
    pub(in crate::session) async fn exists(&self, store: &SharedStore) -> Result<bool, StoreError> {
        Ok(store.get(&self.key()).await?.is_some())
    }

    /// Adds a session. The index keeps the `most` newest sessions of one user.
    pub(super) async fn add(
        &self,
        store: &SharedStore,
        entry: IndexEntry,
        most: usize,
        now: i64,
    ) -> Result<IndexInsertion, StoreError> {
        let of_a_user = self.is_of_a_user();
        self.change(store, now, |entries| {
            let of_this_user = |one: &IndexEntry| of_a_user || one.other == entry.other;
            let of_user = entries.iter().filter(|one| of_this_user(one)).count();
            if !of_a_user && of_user < most && entries.len() >= MAX_PER_SID {
                return IndexInsertion {
                    is_full: true,
                    ..IndexInsertion::default()
                };
            }
            entries.push(entry);
            entries.sort_by_key(|entry| entry.created_at);
            let mut left = (of_user + 1).saturating_sub(most);
            let mut surplus = Vec::new();
            entries.retain(|one| {
                let is_surplus = left > 0 && of_this_user(one);
                if is_surplus {
                    left -= 1;
                    surplus.push(one.id);
                }
                !is_surplus
            });
            IndexInsertion {
                length: of_user + 1 - surplus.len(),
                surplus,
                is_full: false,
            }
        })
        .await
    }

    pub(in crate::session) async fn remove(
        &self,
        store: &SharedStore,
        ids: &[SessionId],
        now: i64,
    ) -> Result<(), StoreError> {
        self.change(store, now, |entries| {
            entries.retain(|entry| !ids.contains(&entry.id));
        })
        .await
    }

    /// Compares and swaps until it succeeds.
    async fn change<T>(
        &self,
        store: &SharedStore,
        now: i64,
        change: impl Fn(&mut Vec<IndexEntry>) -> T,
    ) -> Result<T, StoreError> {
        let key = self.key();
        for _ in 0..MAX_ATTEMPTS {
            let found = store.get(&key).await?;
            let (mut entries, expect) = match &found {
                Some(found) => {
                    let entries = decode(found.value(), now).ok_or_else(unreadable)?;
                    (entries, Expect::Version(found.version()))
                }
                None => (Vec::new(), Expect::Absent),
            };
            let outcome = change(&mut entries);
            let longest = entries.iter().map(|entry| entry.ends_at).max();
            let left = time_until(longest.unwrap_or(now), now);
            let min_ttl = match self.is_of_a_user() {
                true => MIN_USER_TTL,
                false => MAX_CLOCK_SKEW,
            };
            let ttl = (left + MAX_CLOCK_SKEW).max(min_ttl);
            if let Put::Stored(_) = store.put(&key, encode(&entries), ttl, expect).await? {
                return Ok(outcome);
            }
        }
        Err(StoreError::unavailable(
            "the session index changes too fast",
        ))
    }
}

fn encode(entries: &[IndexEntry]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + entries.len() * ENTRY_LEN);
    bytes.push(SCHEMA);
    for entry in entries {
        bytes.extend_from_slice(entry.id.as_bytes());
        bytes.extend_from_slice(&entry.issued_at.to_be_bytes());
        bytes.extend_from_slice(&entry.created_at.to_be_bytes());
        bytes.extend_from_slice(&entry.ends_at.to_be_bytes());
        bytes.extend_from_slice(&entry.other.0);
    }
    bytes.into()
}

/// Decodes an index. Returns `None` for an unknown schema, for example of a newer release: treated as empty,
/// the index would be overwritten and a bulk logout would miss its sessions.
fn decode(bytes: &[u8], now: i64) -> Option<Vec<IndexEntry>> {
    let (&SCHEMA, entries) = bytes.split_first()? else {
        return None;
    };
    if entries.len() % ENTRY_LEN != 0 {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let (id, times) = bytes.split_first_chunk::<32>()?;
        let (issued_at, times) = times.split_first_chunk::<8>()?;
        let (created_at, times) = times.split_first_chunk::<8>()?;
        let (ends_at, other) = times.split_first_chunk::<8>()?;
        Some(IndexEntry {
            id: SessionId::new(*id),
            issued_at: i64::from_be_bytes(*issued_at),
            created_at: i64::from_be_bytes(*created_at),
            ends_at: i64::from_be_bytes(*ends_at),
            other: IndexTag(other.try_into().ok()?),
        })
    };
    let entries = entries.chunks_exact(ENTRY_LEN).filter_map(entry);
    Some(entries.filter(|entry| entry.ends_at > now).collect())
}

fn unreadable() -> StoreError {
    StoreError::unavailable("the session index has an unknown format: it was kept")
}

const SCHEMA: u8 = 2;
const ENTRY_LEN: usize = 32 + 3 * 8 + 16;

/// The maximum number of entries of one `sid`, for all users: some 150 KB. Most authorization servers use a
/// new `sid` for each sign-in.
const MAX_PER_SID: usize = 2048;

/// How long the index of a user exists without sessions: the logout token that a sign-out causes arrives after the
/// sign-out.
const MIN_USER_TTL: Duration = Duration::from_secs(3600);

/// Of concurrent writers, at least one succeeds in each round.
const MAX_ATTEMPTS: usize = 64;
