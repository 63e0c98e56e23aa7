//! What the authorization server ended: a session there (`sid`), or all of a person (`sub`), up to a moment.
//!
//! It is written before the sessions are looked for, and read after a session was begun: so no login slips
//! through between the two (`L66`).

use std::time::Duration;

use bytes::Bytes;

use super::index::{List, Tag};
use super::manager::SessionManager;
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

impl SessionManager {
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
                Some(noted) => Note::read(noted)?,
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

    /// Whether the authorization server has ended this session.
    pub(super) async fn is_logged_out(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<bool, StoreError> {
        let issued_at = record.issued_at();
        let covers = |noted: Option<Record>, sid: Option<Tag>| match noted {
            Some(noted) => Ok(Note::read(&noted)?.covers(issued_at, sid)),
            None => Ok(false),
        };
        let user = key(&self.list_of_user(record.subject()));
        let Some(sid) = record.sid().map(|sid| self.list_of_sid(sid)) else {
            return covers(store.get(&user).await?, None);
        };
        let tag = sid.tag();
        let sid = key(&sid);
        let (user, sid) = both(store.get(&user), store.get(&sid)).await;
        Ok(covers(user?, Some(tag))? || covers(sid?, None)?)
    }
}

impl Note {
    /// Fails for a note of another format, such as one of a newer release: taken for an empty one it would let
    /// sessions go on that have ended, and be overwritten.
    fn read(noted: &Record) -> Result<Self, StoreError> {
        let unreadable = || {
            StoreError::unavailable(
                "a note of a logout is in a format that this release does not know: it is left as it is",
            )
        };
        let (all, rest) = noted
            .value()
            .split_first_chunk::<8>()
            .filter(|(_, rest)| rest.len() % (16 + 8) == 0)
            .ok_or_else(unreadable)?;
        let mut note = Self {
            all: Some(i64::from_be_bytes(*all)).filter(|moment| *moment != NEVER),
            by_sid: Vec::new(),
        };
        for pair in rest.chunks_exact(16 + 8) {
            if let Some((tag, moment)) = pair.split_first_chunk::<16>()
                && let Ok(moment) = moment.try_into()
            {
                let tag = Tag::from_bytes(*tag);
                note.by_sid.push((tag, i64::from_be_bytes(moment)));
            }
        }
        Ok(note)
    }

    fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(8 + self.by_sid.len() * (16 + 8));
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

fn key(list: &List) -> Key {
    Key::new(list.logout_purpose(), list.id())
}

const UNDER_WAY: Duration = Duration::from_secs(600);
const ATTEMPTS: usize = 8;

/// No moment was noted.
const NEVER: i64 = i64::MIN;

/// Ended sessions at the authorization server that are noted for one user.
const MOST_SIDS: usize = 64;
