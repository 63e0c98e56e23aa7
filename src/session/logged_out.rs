//! What the authorization server ended: a session there (`sid`), or all of a person (`sub`), up to a moment.
//!
//! It is written before the sessions are looked for, and read after a session was begun: so no login slips
//! through between the two (`L66`).

use bytes::Bytes;

use super::index::List;
use super::keeper::Keeper;
use super::shared::both;
use crate::flow::SessionRecord;
use crate::store::{Expect, Key, Record, SharedStore, StoreError};

impl Keeper {
    /// Notes that everything on this list that was issued up to `moment` has ended, in seconds since 1970.
    pub(super) async fn note_logout(
        &self,
        store: &SharedStore,
        list: &List,
        moment: i64,
    ) -> Result<(), StoreError> {
        let value = Bytes::copy_from_slice(&moment.to_be_bytes());
        let ttl = self.absolute;
        store.put(&key(list), value, ttl, Expect::Anything).await?;
        Ok(())
    }

    /// Whether the authorization server has ended this session.
    pub(super) async fn is_logged_out(
        &self,
        store: &SharedStore,
        record: &SessionRecord,
    ) -> Result<bool, StoreError> {
        let issued_at = record.claims().registered().issued_at;
        let issued_at = issued_at.unwrap_or(i64::MIN);
        let covers = |noted: Option<Record>| {
            let noted = noted.and_then(|noted| noted.value().as_ref().try_into().ok());
            noted.is_some_and(|moment| issued_at <= i64::from_be_bytes(moment))
        };
        let user = key(&List::user(record.issuer(), record.subject()));
        let Some(sid) = record.sid() else {
            return Ok(covers(store.get(&user).await?));
        };
        let sid = key(&List::sid(record.issuer(), sid));
        let (user, sid) = both(store.get(&user), store.get(&sid)).await;
        Ok(covers(user?) || covers(sid?))
    }
}

fn key(list: &List) -> Key {
    Key::new(list.logout_purpose(), list.id())
}
