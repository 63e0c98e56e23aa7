//! Sessions in cookies, and what their replicas must know together: which were ended, and what those have
//! become whose cookie is older than their last refresh.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::backend::{Found, Saved};
use super::events;
use super::loaded::{LoadedSession, Seat};
use super::manager::{NotOpened, SessionManager};
use crate::crypto::seal::Purpose;
use crate::flow::SessionId;
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};

impl SessionManager {
    /// What the store knows of the session of a cookie: that it has ended, a newer record, or nothing.
    pub(super) async fn newest_shared(
        &self,
        store: &SharedStore,
        held: LoadedSession,
    ) -> Result<Found, StoreError> {
        let record = held.record();
        let key = key(record.id());
        let (known, logged_out) = both(store.get(&key), self.is_logged_out(store, record)).await;
        if logged_out? {
            return Ok(Found::Ended);
        }
        Ok(match known? {
            Some(known) => self.read_shared(&held, &known),
            None => Found::Session(held.with_seat(Seat::Cookie(None))),
        })
    }

    /// A newer record that does not open is not passed over: with the older one of the cookie this process would
    /// send a refresh token that was used, and overwrite the newer tokens.
    fn read_shared(&self, held: &LoadedSession, known: &Record) -> Found {
        let seat = Seat::Cookie(Some(known.version()));
        let sealed = match known.value().split_first() {
            Some((&ENDED, _)) => return Found::Ended,
            Some((&SUCCESSOR, sealed)) => sealed,
            _ => {
                events::unreadable("cookie", NotOpened::Unreadable);
                return Found::Unreadable;
            }
        };
        let record = held.record();
        match self.unseal(Purpose::Successor, None, record.id(), sealed.to_vec()) {
            Ok(newer) if newer.is_ahead_of(record) => {
                Found::Session(held.with_record(record.merged(&newer)).with_seat(seat))
            }
            Ok(_) => Found::Session(held.clone().with_seat(seat)),
            Err(reason) => {
                events::unreadable("cookie", reason);
                Found::Unreadable
            }
        }
    }

    pub(super) async fn save_successor(
        &self,
        store: &SharedStore,
        newer: LoadedSession,
    ) -> Result<Saved, StoreError> {
        let expect = match newer.seat() {
            Seat::Cookie(Some(version)) => Expect::Version(*version),
            _ => Expect::Absent,
        };
        let record = newer.record();
        let sealed = self.seal(Purpose::Successor, None, record);
        let sealed = sealed.map_err(StoreError::unavailable)?;
        let value = [&[SUCCESSOR], &sealed[..]].concat();
        let ttl = self.time_left(record);
        match store
            .put(&key(record.id()), value.into(), ttl, expect)
            .await?
        {
            Put::Stored(version) => Ok(Saved::Stored(newer.with_seat(Seat::Cookie(Some(version))))),
            Put::Conflict => Ok(Saved::Conflict),
        }
    }

    /// For as long as a copy of its cookie could be alive.
    pub(super) async fn end_shared(
        &self,
        store: &SharedStore,
        id: &SessionId,
    ) -> Result<(), StoreError> {
        store
            .put(&key(id), ended(), self.longest_life(), Expect::Anything)
            .await?;
        Ok(())
    }
}

/// Both at once: two questions in the time of one.
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
            (waiting, for_it) => {
                (one, other) = (waiting, for_it);
                Poll::Pending
            }
        }
    })
    .await
}

/// What is noted of a session that has ended.
pub(super) fn ended() -> Bytes {
    Bytes::from_static(&[ENDED])
}

pub(super) fn says_ended(known: &Record) -> bool {
    known.value().first() == Some(&ENDED)
}

/// Under which the store knows the session of a cookie.
pub(super) fn key(id: &SessionId) -> Key {
    Key::new("cookie", &id.to_string())
}

const ENDED: u8 = 0;
const SUCCESSOR: u8 = 1;
