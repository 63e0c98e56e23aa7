//! What the log hears of sessions, under the target `tower_oauth::session`: stable names, no secret (`L75`).
//! A caller can cause most of them, so each kind is bounded.

use std::fmt::Display;

use super::denylist::Raised;
use super::manager::NotOpened;
use crate::flow::FlowError;
use crate::telemetry::may_log;

const TARGET: &str = "tower_oauth::session";

/// An entry in the store that this process cannot read. It is left as it is.
pub(super) fn unreadable(purpose: &'static str, reason: NotOpened) {
    let reason = match reason {
        NotOpened::Unreadable => {
            "written with a key or in a format that this process does not know"
        }
        NotOpened::Foreign => "not written for this session, issuer and client, or changed since",
    };
    if may_log("session_unreadable", purpose) {
        tracing::warn!(
            target: TARGET, event = "session_unreadable", purpose, reason,
            "left an entry of the store unread: give all replicas the same key ring and the same release"
        );
    }
}

/// A hook of the application gave no answer, or one that could not be carried out.
pub(super) fn hook_failed(hook: &'static str, reason: &dyn Display) {
    if may_log("hook_failed", hook) {
        tracing::error!(target: TARGET, event = "hook_failed", hook, %reason);
    }
}

pub(super) fn not_touched(reason: &dyn Display) {
    if may_log("session_not_touched", "") {
        tracing::warn!(target: TARGET, event = "session_not_touched", %reason);
    }
}

pub(super) fn refreshed() {
    tracing::debug!(target: TARGET, event = "session_refreshed");
}

/// The authorization server does not take the refresh token: the session has ended.
pub(super) fn refresh_refused(error: &FlowError) {
    if may_log("refresh_refused", error.code()) {
        tracing::info!(target: TARGET, event = "refresh_refused", code = error.code(), reason = %error);
    }
}

/// The same where sessions are in cookies alone: it may have been used by another replica, or by a thief.
pub(super) fn refresh_reuse_suspected(error: &FlowError) {
    if may_log("refresh_reuse_suspected", error.code()) {
        tracing::warn!(
            target: TARGET, event = "refresh_reuse_suspected", code = error.code(), reason = %error,
            "a refresh token was refused: if several replicas serve these sessions, give them a shared memory"
        );
    }
}

/// The tokens of a refresh are not of whom they were asked for: the session has ended.
pub(super) fn other_person(error: &FlowError) {
    if may_log("refresh_other_person", error.code()) {
        tracing::error!(target: TARGET, event = "refresh_other_person", code = error.code(), reason = %error);
    }
}

/// Nobody's session can be renewed until this is put right; all of them stay.
pub(super) fn refresh_misconfigured(error: &FlowError) {
    if may_log("refresh_misconfigured", error.code()) {
        tracing::error!(target: TARGET, event = "refresh_misconfigured", code = error.code(), reason = %error);
    }
}

pub(super) fn refresh_failed(error: &FlowError) {
    if may_log("refresh_failed", error.code()) {
        tracing::warn!(target: TARGET, event = "refresh_failed", code = error.code(), reason = %error);
    }
}

/// New tokens wait for the store.
pub(super) fn tokens_not_kept(reason: &dyn Display) {
    if may_log("refresh_not_kept", "") {
        tracing::warn!(target: TARGET, event = "refresh_not_kept", %reason);
    }
}

/// The next refresh ends it.
pub(super) fn not_ended(reason: &dyn Display) {
    if may_log("session_not_ended", "") {
        tracing::warn!(target: TARGET, event = "session_not_ended", %reason);
    }
}

pub(super) fn rotation_without_store() {
    if may_log("rotation_without_store", "") {
        tracing::warn!(
            target: TARGET, event = "rotation_without_store",
            "the authorization server rotates refresh tokens, and sessions are in cookies alone: several replicas \
             would use a refresh token twice, unless they share a memory"
        );
    }
}

/// Entries of the revocation list gave way to a watermark.
pub(super) fn watermark_raised(raised: Raised) {
    match raised {
        Raised::OneUser => tracing::warn!(
            target: TARGET, event = "denylist_watermark_raised", scope = "user",
            "a user signed out so often that older sessions of this user are refused; with_session_store keeps \
             sign-outs in a store"
        ),
        Raised::AllUsers => tracing::warn!(
            target: TARGET, event = "denylist_watermark_raised", scope = "all",
            "more users signed out than this process can remember: older sessions of all users are refused; \
             with_session_store keeps sign-outs in a store"
        ),
    }
}

/// The store did not accept the end of a session.
pub(super) fn end_pending(reason: &dyn Display, retried: bool) {
    tracing::warn!(
        target: TARGET, event = "session_end_pending", %reason, retried,
        "a session ended in this process only: other processes may accept it until the store has accepted its end"
    );
}

/// The store accepted ends of sessions that were pending.
pub(super) fn pending_ends_written(count: usize) {
    tracing::info!(target: TARGET, event = "pending_session_ends_written", count);
}

/// The list of a `sid` is full.
pub(super) fn sid_is_shared() {
    tracing::warn!(
        target: TARGET, event = "sid_is_shared",
        "the authorization server gives thousands of sessions one `sid`: a logout token that names only this `sid` \
         does not end all of them"
    );
}
