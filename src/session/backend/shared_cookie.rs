//! Sessions in encrypted cookies with a shared store, which has the ended sessions and the latest records of sessions
//! whose cookie is older than their last refresh.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;

use super::cookie;
use crate::crypto::seal::Purpose;
use crate::record::{SessionId, SessionRecord};
use crate::session::clock_rollback::SessionTime;
use crate::session::error::{CreateSessionError, UnsealError};
use crate::session::events;
use crate::session::loaded::{LoadedSession, OpenedSession};
use crate::session::manager::SessionManager;
use crate::store::{Expect, Key, Put, Record, SharedStore, StoreError};

/// Opens the session of a cookie, also if only this process has ended it.
pub(super) async fn open(
    manager: &SessionManager,
    store: &SharedStore,
    record: Arc<SessionRecord>,
    now: &SessionTime,
) -> Result<OpenedSession, StoreError> {
    if manager.flow_of(&record).is_none() {
        return Ok(OpenedSession::OTHER_PROVIDER);
    }
    let newest = newest(manager, store, LoadedSession::in_cookie(record)).await?;
    Ok(match newest {
        OpenedSession::Session(loaded) if manager.has_ended(loaded.record(), now) => {
            OpenedSession::EXPIRED
        }
        newest => newest,
    })
}

pub(super) async fn load(
    manager: &SessionManager,
    store: &SharedStore,
    loaded: LoadedSession,
    now: &SessionTime,
) -> Result<OpenedSession, StoreError> {
    Ok(match newest(manager, store, loaded).await? {
        OpenedSession::Session(newest) => cookie::unless_ended(manager, newest, now),
        ended => ended,
    })
}

/// Loads what the store has about the session of a cookie: an end marker, a newer record, or nothing.
async fn newest(
    manager: &SessionManager,
    store: &SharedStore,
    loaded: LoadedSession,
) -> Result<OpenedSession, StoreError> {
    let record = loaded.record();
    let key = key(record.id());
    let logged_out = manager.is_logged_out(store, record);
    let (entry, logged_out) = join(store.get(&key), logged_out).await;
    if logged_out? {
        return Ok(OpenedSession::SIGNED_OUT);
    }
    Ok(match entry? {
        Some(entry) => read(manager, &loaded, &entry),
        None => OpenedSession::Session(loaded.with_version(None)),
    })
}

/// A newer record that cannot be opened is not ignored. With the older one in the cookie, this process
/// would send a used refresh token and overwrite the newer tokens.
fn read(manager: &SessionManager, loaded: &LoadedSession, entry: &Record) -> OpenedSession {
    let sealed = match entry.value().split_first() {
        Some((&ENDED, _)) => return OpenedSession::SIGNED_OUT,
        Some((&NEWER_RECORD, sealed)) => sealed,
        _ => {
            events::record_unreadable("cookie", UnsealError::Unreadable);
            return OpenedSession::Unreadable;
        }
    };
    let record = loaded.record();
    let newest = match manager.unseal(Purpose::Successor, None, record.id(), sealed.to_vec()) {
        Ok(newer) if newer.is_ahead_of(record) => loaded.with_record(record.merged(&newer)),
        // The cookie may have been too small for the tokens of further resources.
        Ok(same) => match record.completed_by(&same) {
            Some(complete) => loaded.completed(complete),
            None => loaded.clone(),
        },
        Err(reason) => {
            events::record_unreadable("cookie", reason);
            return OpenedSession::Unreadable;
        }
    };
    OpenedSession::Session(newest.with_version(Some(entry.version())))
}

pub(super) async fn create(
    manager: &SessionManager,
    store: &SharedStore,
    new: LoadedSession,
    now: &SessionTime,
) -> Result<LoadedSession, CreateSessionError> {
    let record = new.record();
    manager.index_add(store, record, now).await?;
    // Each request checks this again. Here the login can still be rejected with an error page.
    match manager.is_logged_out(store, record).await? {
        true => Err(CreateSessionError::LoggedOut),
        false => Ok(new),
    }
}

pub(super) async fn save(
    manager: &SessionManager,
    store: &SharedStore,
    newer: LoadedSession,
    now: &SessionTime,
) -> Result<Option<LoadedSession>, StoreError> {
    let record = newer.record();
    let sealed = manager.seal(Purpose::Successor, None, record);
    let sealed = sealed.map_err(StoreError::unavailable)?;
    let value = [&[NEWER_RECORD], &sealed[..]].concat();
    let ttl = manager.time_left(record, now);
    let key = key(record.id());
    newer.put(store, &key, value.into(), ttl).await
}

/// Stores an end marker for as long as a copy of the cookie could be live. Returns `false` if the store has
/// another entry than expected.
pub(super) async fn end(
    manager: &SessionManager,
    store: &SharedStore,
    id: &SessionId,
    expect: Expect,
) -> Result<bool, StoreError> {
    let (end, ttl) = (Bytes::from_static(&[ENDED]), manager.max_lifetime());
    Ok(store.put(&key(id), end, ttl, expect).await? != Put::Conflict)
}

pub(super) async fn is_live(store: &SharedStore, id: &SessionId) -> Result<bool, StoreError> {
    let entry = store.get(&key(id)).await?;
    Ok(entry.is_none_or(|entry| entry.value().first() != Some(&ENDED)))
}

fn key(id: &SessionId) -> Key {
    Key::new("cookie", &id.to_string())
}

const ENDED: u8 = 0;
const NEWER_RECORD: u8 = 1;
