//! Sessions in encrypted cookies alone. This process keeps the ended sessions, and the latest records of sessions
//! whose browsers do not have them yet.

use std::sync::Arc;

use crate::crypto::seal::sealed_len;
use crate::record::{SessionId, SessionRecord, SessionRef};
use crate::session::clock_rollback::SessionTime;
use crate::session::loaded::{LoadedSession, OpenedSession};
use crate::session::manager::SessionManager;

pub(super) fn open(
    manager: &SessionManager,
    record: Arc<SessionRecord>,
    now: &SessionTime,
) -> OpenedSession {
    if manager.is_denied(&record) {
        return OpenedSession::SIGNED_OUT;
    }
    if manager.flow_of(&record).is_none() {
        return OpenedSession::OTHER_PROVIDER;
    }
    let loaded = with_latest(manager, LoadedSession::in_cookie(record));
    if manager.has_ended(loaded.record(), now) {
        return OpenedSession::EXPIRED;
    }
    if manager.is_refresh_rejected(loaded.record(), now) {
        return OpenedSession::REFRESH_REJECTED;
    }
    OpenedSession::Session(loaded)
}

pub(super) fn load(
    manager: &SessionManager,
    loaded: LoadedSession,
    now: &SessionTime,
) -> OpenedSession {
    match newest(manager, loaded) {
        Some(newest) => unless_ended(manager, newest, now),
        None => OpenedSession::SIGNED_OUT,
    }
}

/// Returns the newest state of a session, or `None` if this process has ended it.
pub(super) fn newest(manager: &SessionManager, loaded: LoadedSession) -> Option<LoadedSession> {
    let is_denied = manager.is_denied(loaded.record());
    (!is_denied).then(|| with_latest(manager, loaded))
}

/// Returns a loaded session as of its last use, unless it has expired.
pub(super) fn unless_ended(
    manager: &SessionManager,
    mut loaded: LoadedSession,
    now: &SessionTime,
) -> OpenedSession {
    if let Some(last_use) = manager.local.last_uses.later_than(loaded.record()) {
        let record = SessionRecord::clone(loaded.record()).touched(last_use);
        loaded = loaded.with_record(record);
    }
    match manager.has_ended(loaded.record(), now) {
        true => OpenedSession::EXPIRED,
        false => OpenedSession::Session(loaded),
    }
}

pub(super) fn save(
    manager: &SessionManager,
    before: &SessionRecord,
    newer: LoadedSession,
    now: &SessionTime,
) -> Option<LoadedSession> {
    let record = newer.record();
    let latest = &manager.local.latest;
    let lifetime = manager.time_left(record, now);
    if !latest.replace(before, record, now.monotonic(), lifetime) {
        return None;
    }
    // The session may have been ended between the two checks. That request has not seen these tokens and
    // revokes older ones.
    if manager.is_denied(record) {
        latest.take(record.id());
        return None;
    }
    Some(newer)
}

/// Updates the time of the last use, which is in the cookie.
pub(super) fn touch(
    manager: &SessionManager,
    loaded: LoadedSession,
    now: &SessionTime,
) -> LoadedSession {
    let loaded = match manager.touched(loaded.record(), now) {
        Some(touched) => loaded.with_record(touched),
        None => loaded,
    };
    manager.local.last_uses.record(loaded.record());
    loaded
}

pub(super) fn end(manager: &SessionManager, session: &SessionRef) {
    manager.deny(session);
    manager.local.latest.take(&session.id);
}

pub(super) fn end_by_id(manager: &SessionManager, id: &SessionId) {
    manager.deny_id(id);
    manager.local.latest.take(id);
}

/// Ends a session and returns its newest record.
pub(super) fn end_newest(manager: &SessionManager, loaded: &LoadedSession) -> Arc<SessionRecord> {
    let record = loaded.record();
    // Denied first, so that no newer record is kept afterwards.
    manager.deny(&SessionRef::from(&**record));
    match manager.local.latest.take(record.id()) {
        Some(newer) if newer.generation() > record.generation() => newer,
        _ => Arc::clone(record),
    }
}

/// Reports whether this process has room for the refreshed record of a session.
pub(super) fn has_room_for(manager: &SessionManager, record: &SessionRecord) -> bool {
    let now = manager.clock().monotonic();
    manager.local.latest.has_room(record.id(), now)
}

/// Returns the maximum size of the app data in this record, which contains app data of `bytes`.
pub(super) fn max_app_data(record: &SessionRecord, bytes: usize) -> usize {
    if bytes > MAX_APP_DATA {
        return MAX_APP_DATA;
    }
    // If the cookie is too large, the tokens for further resources and the raw ID token are dropped first.
    let short = record.clone().without_resource_tokens().without_id_token();
    let length = short.to_bytes().len();
    let surplus = sealed_len(1 + length).saturating_sub(MAX_COOKIE_BYTES - NAMES_ALLOWANCE);
    match surplus {
        0 => MAX_APP_DATA,
        _ => bytes.saturating_sub(surplus).min(MAX_APP_DATA),
    }
}

fn with_latest(manager: &SessionManager, loaded: LoadedSession) -> LoadedSession {
    let latest = &manager.local.latest;
    // Such a record lacks no tokens.
    if let Some(newer) = latest.of(loaded.record()) {
        return loaded.with_record(newer);
    }
    let flow = manager.flow_of(loaded.record());
    if flow.is_none_or(|flow| flow.resources().is_empty()) {
        return loaded;
    }
    // The cookie may have been too small for the tokens of further resources.
    match latest.completing(loaded.record()) {
        Some(complete) => loaded.completed(complete),
        None => loaded,
    }
}

/// Limit on all session cookies together, names included, as a request carries them. With the cookies of pending
/// logins they stay below 8 KiB, at which proxies reject header fields.
pub(crate) const MAX_COOKIE_BYTES: usize = 5 * 1024 - 64;

/// The longest names of two cookies.
const NAMES_ALLOWANCE: usize = 2 * 64;

const MAX_APP_DATA: usize = 1024;
