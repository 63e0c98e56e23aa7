//! What the authorization server ended: a session there (`sid`), or all of a person (`sub`), up to a moment.
//!
//! It is written before the sessions are looked for, and read after a session was begun: so no login slips
//! through between the two (`L66`).

use std::time::Duration;

use bytes::Bytes;

use super::index::List;
use super::keeper::Keeper;
use super::shared::both;
use crate::flow::SessionRecord;
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};

impl Keeper {
    /// Notes that everything on this list that was issued up to `moment` has ended, in seconds since 1970.
    /// One that comes late takes nothing back that was noted since.
    pub(super) async fn note_logout(
        &self,
        store: &SharedStore,
        list: &List,
        moment: i64,
    ) -> Result<(), StoreError> {
        let key = key(list);
        // A login that was under way may end that much later than what it is held against.
        let ttl = self.absolute.saturating_add(UNDER_WAY);
        for _ in 0..ATTEMPTS {
            let noted = store.get(&key).await?;
            let before = noted.as_ref().and_then(moment_of);
            let expect = noted.map_or(Expect::Absent, |noted| Expect::Version(noted.version()));
            let latest = before.map_or(moment, |before| before.max(moment));
            let value = Bytes::copy_from_slice(&latest.to_be_bytes());
            if let Put::Stored(_) = store.put(&key, value, ttl, expect).await? {
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
        let covers = |noted: Option<Record>| {
            let moment = noted.as_ref().and_then(moment_of);
            moment.is_some_and(|moment| issued_at <= moment)
        };
        let user = key(&self.list_of_user(record.subject()));
        let Some(sid) = record.sid() else {
            return Ok(covers(store.get(&user).await?));
        };
        let sid = key(&self.list_of_sid(sid));
        let (user, sid) = both(store.get(&user), store.get(&sid)).await;
        Ok(covers(user?) || covers(sid?))
    }
}

fn moment_of(noted: &Record) -> Option<i64> {
    let bytes = noted.value().as_ref().try_into().ok()?;
    Some(i64::from_be_bytes(bytes))
}

fn key(list: &List) -> Key {
    Key::new(list.logout_purpose(), list.id())
}

const UNDER_WAY: Duration = Duration::from_secs(600);
const ATTEMPTS: usize = 8;
