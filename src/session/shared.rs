//! Sessions in cookies with a shared store, which has the ended sessions and the latest records of sessions
//! whose cookie is older than their last refresh.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::backend::{LoadResult, SaveResult};
use super::events;
use super::loaded::{LoadedSession, Revision};
use super::manager::{SessionManager, UnsealError};
use crate::crypto::seal::Purpose;
use crate::record::SessionId;
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};

impl SessionManager {
    /// Loads what the store has about the session of a cookie: an end marker, a newer record, or nothing.
    pub(super) async fn newest_shared(
        &self,
        store: &SharedStore,
        loaded: LoadedSession,
    ) -> Result<LoadResult, StoreError> {
        let record = loaded.record();
        let key = key(record.id());
        let (entry, logged_out) = both(store.get(&key), self.is_logged_out(store, record)).await;
        if logged_out? {
            return Ok(LoadResult::Ended);
        }
        Ok(match entry? {
            Some(entry) => self.read_shared(&loaded, &entry),
            None => LoadResult::Session(loaded.with_revision(Revision::Cookie(None))),
        })
    }

    /// A newer record that cannot be opened is not ignored. With the older one in the cookie, this process
    /// would send a used refresh token and overwrite the newer tokens.
    fn read_shared(&self, loaded: &LoadedSession, entry: &Record) -> LoadResult {
        let revision = Revision::Cookie(Some(entry.version()));
        let sealed = match entry.value().split_first() {
            Some((&ENDED, _)) => return LoadResult::Ended,
            Some((&NEWER_RECORD, sealed)) => sealed,
            _ => {
                events::record_unreadable("cookie", UnsealError::Unreadable);
                return LoadResult::Unreadable;
            }
        };
        let record = loaded.record();
        match self.unseal(Purpose::Successor, None, record.id(), sealed.to_vec()) {
            Ok(newer) if newer.is_ahead_of(record) => LoadResult::Session(
                loaded
                    .with_record(record.merged(&newer))
                    .with_revision(revision),
            ),
            Ok(_) => LoadResult::Session(loaded.clone().with_revision(revision)),
            Err(reason) => {
                events::record_unreadable("cookie", reason);
                LoadResult::Unreadable
            }
        }
    }

    pub(super) async fn save_shared(
        &self,
        store: &SharedStore,
        newer: LoadedSession,
    ) -> Result<SaveResult, StoreError> {
        let expect = match newer.revision() {
            Revision::Cookie(Some(version)) => Expect::Version(*version),
            _ => Expect::Absent,
        };
        let record = newer.record();
        let sealed = self.seal(Purpose::Successor, None, record);
        let sealed = sealed.map_err(StoreError::unavailable)?;
        let value = [&[NEWER_RECORD], &sealed[..]].concat();
        let ttl = self.time_left(record);
        match store
            .put(&key(record.id()), value.into(), ttl, expect)
            .await?
        {
            Put::Stored(version) => Ok(SaveResult::Stored(
                newer.with_revision(Revision::Cookie(Some(version))),
            )),
            Put::Conflict => Ok(SaveResult::Conflict),
        }
    }

    /// Stores an end marker for as long as a copy of the cookie could be live.
    pub(super) async fn end_shared(
        &self,
        store: &SharedStore,
        id: &SessionId,
    ) -> Result<(), StoreError> {
        store
            .put(
                &key(id),
                end_marker(),
                self.max_lifetime(),
                Expect::Anything,
            )
            .await?;
        Ok(())
    }
}

/// Awaits two store operations concurrently.
pub(super) async fn both<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut one, mut other) = (None, None);
    poll_fn(move |cx| {
        if one.is_none()
            && let Poll::Ready(value) = first.as_mut().poll(cx)
        {
            one = Some(value);
        }
        if other.is_none()
            && let Poll::Ready(value) = second.as_mut().poll(cx)
        {
            other = Some(value);
        }
        match (one.take(), other.take()) {
            (Some(one), Some(other)) => Poll::Ready((one, other)),
            (first_result, second_result) => {
                (one, other) = (first_result, second_result);
                Poll::Pending
            }
        }
    })
    .await
}

/// Returns the value that marks a session as ended.
pub(super) fn end_marker() -> Bytes {
    Bytes::from_static(&[ENDED])
}

pub(super) fn is_end_marker(entry: &Record) -> bool {
    entry.value().first() == Some(&ENDED)
}

/// Returns the store key of the session of a cookie.
pub(super) fn key(id: &SessionId) -> Key {
    Key::new("cookie", &id.to_string())
}

const ENDED: u8 = 0;
const NEWER_RECORD: u8 = 1;
