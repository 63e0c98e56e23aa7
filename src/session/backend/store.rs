//! Sessions in a store: each is a sealed record under the digest of its secret, which is in the cookie.

use futures_util::future::join;

use crate::clock::{MAX_CLOCK_SKEW, time_until};
use crate::crypto::seal::Purpose;
use crate::random::RandomError;
use crate::record::{SessionId, SessionRecord};
use crate::session::clock_rollback::SessionTime;
use crate::session::error::{CreateSessionError, UnsealError};
use crate::session::events;
use crate::session::loaded::{LoadedSession, OpenedSession, SessionSecret};
use crate::session::manager::SessionManager;
use crate::store::{Expect, Key, Removed, SharedStore, StoreError};

/// Opens the session of a secret, also if only this process has ended it. A record that cannot be opened is kept:
/// a process that lacks a cookie key or runs an older release must not end sessions of other processes.
pub(super) async fn open(
    manager: &SessionManager,
    store: &SharedStore,
    secret: &SessionSecret,
    now: &SessionTime,
) -> Result<OpenedSession, StoreError> {
    let id = secret.id(manager.binding());
    let Some(found) = store.get(&key(&id)).await? else {
        return Ok(OpenedSession::SIGNED_OUT);
    };
    let version = found.version();
    let sealed = found.into_value().to_vec();
    let opened = manager.unseal(Purpose::Stored, Some(secret.as_bytes()), &id, sealed);
    Ok(match opened {
        Ok(record) => {
            // The secret is not forged.
            manager.local.pending_ends.record_opened(&record);
            match manager.has_ended(&record, now) {
                true => OpenedSession::EXPIRED,
                false => OpenedSession::Session(
                    LoadedSession::in_store(record, secret.clone()).with_version(Some(version)),
                ),
            }
        }
        Err(reason) => {
            events::record_unreadable("session", reason);
            match reason {
                UnsealError::Foreign => OpenedSession::SIGNED_OUT,
                UnsealError::Unreadable => OpenedSession::Unreadable,
            }
        }
    })
}

/// Returns a session with a new secret, whose ID is that of the secret.
pub(super) fn new_session(
    manager: &SessionManager,
    record: SessionRecord,
) -> Result<LoadedSession, RandomError> {
    let secret = SessionSecret::random(manager.random())?;
    let id = secret.id(manager.binding());
    Ok(LoadedSession::in_store(record.with_id(id), secret))
}

pub(super) async fn create(
    manager: &SessionManager,
    store: &SharedStore,
    new: LoadedSession,
    now: &SessionTime,
) -> Result<LoadedSession, CreateSessionError> {
    manager.index_add(store, new.record(), now).await?;
    let Some(created) = save(manager, store, new, now).await? else {
        return Err(StoreError::unavailable("the ID of a new session is taken").into());
    };
    // A bulk logout either found the session in the index or stored a watermark before. A login that
    // makes room for itself may have removed this session from the index before it was stored.
    let record = created.record();
    let (logged_out, indexed) = join(
        manager.is_logged_out(store, record),
        manager.is_indexed(store, record, now),
    )
    .await;
    if logged_out? || !indexed? {
        return Err(CreateSessionError::LoggedOut);
    }
    manager.local.pending_ends.record_opened(record);
    Ok(created)
}

pub(super) async fn save(
    manager: &SessionManager,
    store: &SharedStore,
    newer: LoadedSession,
    now: &SessionTime,
) -> Result<Option<LoadedSession>, StoreError> {
    let record = newer.record();
    let secret = newer.secret().map(SessionSecret::as_bytes);
    let sealed = manager.seal(Purpose::Stored, secret, record);
    let sealed = sealed.map_err(StoreError::unavailable)?;
    // An unused session expires before its absolute limit.
    let ttl = time_until(manager.expires_at(record, now), now.wall()) + MAX_CLOCK_SKEW;
    let key = key(record.id());
    newer.put(store, &key, sealed.into(), ttl).await
}

/// Updates the time of the last use in the store.
pub(super) async fn touch(
    manager: &SessionManager,
    loaded: LoadedSession,
    now: &SessionTime,
) -> LoadedSession {
    let Some(touched) = manager.touched(loaded.record(), now) else {
        return loaded;
    };
    match manager.save(&loaded, touched, now).await {
        Ok(Some(newer)) => newer,
        // A concurrent request has updated it too.
        Ok(None) => loaded,
        Err(error) => {
            events::touch_failed(&error);
            loaded
        }
    }
}

/// Removes a session. Returns `false` if the store has another version than expected.
pub(super) async fn end(
    store: &SharedStore,
    id: &SessionId,
    expect: Expect,
) -> Result<bool, StoreError> {
    Ok(store.remove(&key(id), expect).await? != Removed::Conflict)
}

pub(super) async fn is_live(store: &SharedStore, id: &SessionId) -> Result<bool, StoreError> {
    Ok(store.get(&key(id)).await?.is_some())
}

fn key(id: &SessionId) -> Key {
    Key::new("session", &id.to_string())
}

/// The maximum size of app data.
pub(super) const MAX_APP_DATA: usize = 64 * 1024;
