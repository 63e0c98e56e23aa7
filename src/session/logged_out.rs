//! What the authorization server ended: a session there (`sid`), or all of a person (`sub`), up to a moment.
//!
//! It is written before the sessions are looked for, and read after a session was begun: so no login slips
//! through between the two (`L66`).

use std::time::Duration;

use bytes::Bytes;

use super::events;
use super::index::{List, Tag};
use super::keeper::{Keeper, NotOpened};
use super::shared::both;
use crate::flow::SessionRecord;
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};

/// What has ended of the sessions of one list.
#[derive(Default)]
struct Note {
    /// All that were issued up to then.
    all: Option<i64>,
    /// In the note of a user: those of a `sid`.
    by_sid: Vec<(Tag, i64)>,
}

impl Keeper {
    /// Notes that everything on this list that was issued up to `moment` has ended, in seconds since 1970: with
    /// `sid`, the sessions of it. One that comes late takes nothing back that was noted since.
    pub(super) async fn note_logout(
        &self,
        store: &SharedStore,
        list: &List,
        sid: Option<Tag>,
        moment: i64,
    ) -> Result<(), StoreError> {
        let key = key(list);
        // A login that was under way may end that much later than what it is held against.
        let ttl = self.absolute.saturating_add(UNDER_WAY);
        for _ in 0..ATTEMPTS {
            let noted = store.get(&key).await?;
            let mut note = match &noted {
                Some(noted) => Note::read(noted).ok_or_else(unreadable)?,
                None => Note::default(),
            };
            note.add(sid, moment);
            let expect = noted.map_or(Expect::Absent, |noted| Expect::Version(noted.version()));
            if let Put::Stored(_) = store.put(&key, note.to_bytes(), ttl, expect).await? {
                return Ok(());
            }
        }
        Err(StoreError::unavailable(
            "a note of a logout changes too fast",
        ))
    }

    /// Whether the authorization server has ended this session; `None` if what is noted cannot be read here.
    pub(super) async fn is_logged_out(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<Option<bool>, StoreError> {
        let issued_at = record.issued_at();
        let covers = |noted: Option<Record>, sid: Option<Tag>| {
            let Some(noted) = noted else {
                return Some(false);
            };
            let note = Note::read(&noted);
            if note.is_none() {
                events::unreadable("ended", NotOpened::Unreadable);
            }
            Some(note?.covers(issued_at, sid))
        };
        let user = key(&self.list_of_user(record.subject()));
        let Some(sid) = record.sid().map(|sid| self.list_of_sid(sid)) else {
            return Ok(covers(store.get(&user).await?, None));
        };
        let tag = sid.tag();
        let sid = key(&sid);
        let (user, sid) = both(store.get(&user), store.get(&sid)).await;
        Ok(match (covers(user?, Some(tag)), covers(sid?, None)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        })
    }
}

impl Note {
    /// Returns `None` for what is no note of this release. Taken for an empty one it would be overwritten, and what
    /// it says had ended would be alive again.
    fn read(noted: &Record) -> Option<Self> {
        let (all, rest) = noted.value().split_first_chunk::<8>()?;
        if rest.len() % PAIR != 0 {
            return None;
        }
        let pair = |pair: &[u8]| {
            let (tag, moment) = pair.split_first_chunk::<16>()?;
            Some((
                Tag::from_bytes(*tag),
                i64::from_be_bytes(moment.try_into().ok()?),
            ))
        };
        Some(Self {
            all: Some(i64::from_be_bytes(*all)).filter(|moment| *moment != NEVER),
            by_sid: rest.chunks_exact(PAIR).filter_map(pair).collect(),
        })
    }

    fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(8 + self.by_sid.len() * PAIR);
        bytes.extend_from_slice(&self.all.unwrap_or(NEVER).to_be_bytes());
        for (tag, moment) in &self.by_sid {
            bytes.extend_from_slice(tag.as_bytes());
            bytes.extend_from_slice(&moment.to_be_bytes());
        }
        bytes.into()
    }

    fn add(&mut self, sid: Option<Tag>, moment: i64) {
        let Some(sid) = sid else {
            self.all = self.all.max(Some(moment));
            return;
        };
        match self.by_sid.iter_mut().find(|(tag, _)| *tag == sid) {
            Some((_, noted)) => *noted = moment.max(*noted),
            None => self.by_sid.push((sid, moment)),
        }
        if self.by_sid.len() > MOST_SIDS {
            // Of this user alone, all sessions that are older than the oldest of these have ended then.
            self.by_sid.sort_by_key(|(_, moment)| *moment);
            let (_, oldest) = self.by_sid.remove(0);
            self.all = self.all.max(Some(oldest));
        }
    }

    fn covers(&self, issued_at: i64, sid: Option<Tag>) -> bool {
        let of_sid = |(tag, moment): &(Tag, i64)| Some(*tag) == sid && issued_at <= *moment;
        self.all.is_some_and(|moment| issued_at <= moment) || self.by_sid.iter().any(of_sid)
    }
}

pub(super) fn unreadable() -> StoreError {
    StoreError::unavailable(
        "what is noted of logouts is in a format that this release does not know: it is left as it is",
    )
}

fn key(list: &List) -> Key {
    Key::new(list.logout_purpose(), list.id())
}

const UNDER_WAY: Duration = Duration::from_secs(600);
const ATTEMPTS: usize = 8;

/// No moment was noted.
const NEVER: i64 = i64::MIN;

/// The bytes of a `sid` and its moment.
const PAIR: usize = 16 + 8;

/// Ended sessions at the authorization server that are noted for one user.
const MOST_SIDS: usize = 64;
