//! Lists of sessions, by person and by session at the authorization server (`L49`).
//!
//! A list stands in the store before its session does, and may lead to some that have ended; it never misses
//! one that lives. It holds names and times, and nothing of what a session is.

use std::time::Duration;

use bytes::Bytes;

use super::manager::SessionManager;
use crate::crypto::base64url;
use crate::crypto::binding::join;
use crate::crypto::digest::sha256;
use crate::flow::{Flow, SessionId, SessionRecord};
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

/// Whose sessions a list is of.
#[derive(Clone, Debug)]
pub(super) struct List {
    by: By,
    id: String,
}

#[derive(Clone, Copy, Debug)]
enum By {
    User,
    Sid,
}

/// Tells lists apart: 96 bits of the digest of a user, or of a `sid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag([u8; 16]);

/// One session of a list. Times in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: SessionId,
    /// When the authorization server issued the ID token of the login, by its clock.
    pub(super) issued_at: i64,
    pub(super) created_at: i64,
    pub(super) ends_at: i64,
    /// In the list of a user, the `sid` of the session; in the list of a `sid`, its user.
    pub(super) other: Tag,
}

impl List {
    /// A subject may be an address or a name: what is stored shows a digest. Another client of the same
    /// server may share the store, and its sessions are no matter of ours (`L40`).
    fn new(by: By, flow: &Flow, id: &str) -> Self {
        let id = digest(flow, id);
        Self { by, id }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn tag(&self) -> Tag {
        let mut tag = Tag::NONE;
        for (byte, digit) in tag.0.iter_mut().zip(self.id.bytes()) {
            *byte = digit;
        }
        tag
    }

    pub(super) fn is_of_a_user(&self) -> bool {
        matches!(self.by, By::User)
    }

    /// What a logout of all on this list is stored as.
    pub(super) fn logout_purpose(&self) -> &'static str {
        match self.by {
            By::User => "ended-user",
            By::Sid => "ended-sid",
        }
    }

    fn key(&self) -> Key {
        let purpose = match self.by {
            By::User => "user",
            By::Sid => "sid",
        };
        Key::new(purpose, &self.id)
    }
}

impl Tag {
    pub(super) const NONE: Self = Self([0; 16]);

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SessionManager {
    /// The sessions of a person, as the authorization server knows them (`sub`).
    pub(super) fn list_of_user(&self, subject: &str) -> List {
        List::new(By::User, &self.flow, subject)
    }

    /// The sessions of a session at the authorization server (`sid`).
    pub(super) fn list_of_sid(&self, sid: &str) -> List {
        List::new(By::Sid, &self.flow, sid)
    }

    /// The lists that a session stands in.
    pub(super) fn lists_of(&self, record: &SessionRecord) -> impl Iterator<Item = List> + use<> {
        let user = self.list_of_user(record.subject());
        let sid = record.sid().map(|sid| self.list_of_sid(sid));
        [Some(user), sid].into_iter().flatten()
    }
}

/// Returns the name in a store of what concerns a client at its issuer, whichever layer of that client
/// it is: a logout token that reaches one of them is for the sessions of all.
pub(super) fn digest(flow: &Flow, id: &str) -> String {
    let parts = [flow.server().issuer(), flow.client().id(), id];
    base64url::encode(&sha256(&join(&parts.map(str::as_bytes))))
}

/// Those on the list whose time is not over, the oldest first.
pub(super) async fn read(
    store: &SharedStore,
    list: &List,
    now: i64,
) -> Result<Vec<Entry>, StoreError> {
    let found = store.get(&list.key()).await?;
    match found {
        Some(found) => decode(found.value(), now).ok_or_else(unreadable),
        None => Ok(Vec::new()),
    }
}

/// Whether sessions of this list have been here, for a while after the last has ended too.
pub(super) async fn is_known(store: &SharedStore, list: &List) -> Result<bool, StoreError> {
    Ok(store.get(&list.key()).await?.is_some())
}

/// What came of adding a session.
#[derive(Default)]
pub(super) struct Added {
    /// Sessions of the same user that had to leave the list for it: they are to be ended.
    pub(super) surplus: Vec<SessionId>,
    /// How many sessions of this user are on the list now.
    pub(super) length: usize,
    /// The list of a `sid` is full of sessions of other users; the session is not on it.
    pub(super) is_full: bool,
}

/// Adds a session. Of one user, the list keeps the `most` that were created last.
pub(super) async fn add(
    store: &SharedStore,
    list: &List,
    entry: Entry,
    most: usize,
    now: i64,
) -> Result<Added, StoreError> {
    let of_a_user = list.is_of_a_user();
    change(store, list, now, |entries| {
        let of_this_user = |one: &Entry| of_a_user || one.other == entry.other;
        let mine = entries.iter().filter(|one| of_this_user(one)).count();
        if !of_a_user && mine < most && entries.len() >= MOST_BY_SID {
            return Added {
                is_full: true,
                ..Added::default()
            };
        }
        entries.push(entry);
        entries.sort_by_key(|entry| entry.created_at);
        let mut left = (mine + 1).saturating_sub(most);
        let mut surplus = Vec::new();
        entries.retain(|one| {
            let goes = left > 0 && of_this_user(one);
            if goes {
                left -= 1;
                surplus.push(one.id);
            }
            !goes
        });
        Added {
            length: mine + 1 - surplus.len(),
            surplus,
            is_full: false,
        }
    })
    .await
}

/// Takes sessions off a list.
pub(super) async fn remove(
    store: &SharedStore,
    list: &List,
    ids: &[SessionId],
    now: i64,
) -> Result<(), StoreError> {
    change(store, list, now, |entries| {
        entries.retain(|entry| !ids.contains(&entry.id));
    })
    .await
}

/// Compares and swaps until it took effect, in the order in which those come who change it at once.
async fn change<T>(
    store: &SharedStore,
    list: &List,
    now: i64,
    change: impl Fn(&mut Vec<Entry>) -> T,
) -> Result<T, StoreError> {
    let key = list.key();
    for _ in 0..ATTEMPTS {
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
        let left = longest.unwrap_or(now).saturating_sub(now);
        let least = match list.is_of_a_user() {
            true => USER_KNOWN,
            false => SLACK,
        };
        let ttl = Duration::from_secs(u64::try_from(left).unwrap_or_default()) + SLACK;
        let ttl = ttl.max(least);
        if let Put::Stored(_) = store.put(&key, encode(&entries), ttl, expect).await? {
            return Ok(outcome);
        }
    }
    Err(StoreError::unavailable(
        "a list of sessions changes too fast",
    ))
}

fn encode(entries: &[Entry]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + entries.len() * ENTRY);
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

/// Returns `None` for a list of another schema, such as one of a newer release, and for what is no list. Taken for an
/// empty one it would be overwritten, and the sessions on it could not be ended from outside any more.
fn decode(bytes: &[u8], now: i64) -> Option<Vec<Entry>> {
    let (&SCHEMA, entries) = bytes.split_first()? else {
        return None;
    };
    if entries.len() % ENTRY != 0 {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let (id, times) = bytes.split_first_chunk::<32>()?;
        let (issued_at, times) = times.split_first_chunk::<8>()?;
        let (created_at, times) = times.split_first_chunk::<8>()?;
        let (ends_at, other) = times.split_first_chunk::<8>()?;
        Some(Entry {
            id: SessionId::new(*id),
            issued_at: i64::from_be_bytes(*issued_at),
            created_at: i64::from_be_bytes(*created_at),
            ends_at: i64::from_be_bytes(*ends_at),
            other: Tag(other.try_into().ok()?),
        })
    };
    let entries = entries.chunks_exact(ENTRY).filter_map(entry);
    Some(entries.filter(|entry| entry.ends_at > now).collect())
}

fn unreadable() -> StoreError {
    StoreError::unavailable(
        "a list of sessions is in a format that this release does not know: it is left as it is",
    )
}

const SCHEMA: u8 = 2;
const ENTRY: usize = 32 + 3 * 8 + 16;

/// Sessions of all users in the list of one `sid`: some 150 KB. Authorization servers give each sign-in its own.
const MOST_BY_SID: usize = 2048;
const SLACK: Duration = Duration::from_secs(60);

/// How long the list of a user stays without sessions: a logout token that names the user may come after their own
/// sign-out, which it is the consequence of.
const USER_KNOWN: Duration = Duration::from_secs(3600);

/// Of those who change one list at once, each round lets one through.
const ATTEMPTS: usize = 64;
