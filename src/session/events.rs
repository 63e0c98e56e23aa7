//! What the log hears of sessions, under the target `tower_oauth::session`: stable names, no secret (`L75`).

use std::fmt::Display;

use super::denylist::Raised;
use crate::flow::FlowError;

const TARGET: &str = "tower_oauth::session";

/// A record in the store that is no session of this release, or that somebody else wrote.
pub(super) fn unreadable() {
    tracing::warn!(target: TARGET, event = "session_unreadable");
}

/// A hook of the application gave no answer, or one that could not be carried out.
pub(super) fn hook_failed(hook: &'static str, reason: &dyn Display) {
    tracing::error!(target: TARGET, event = "hook_failed", hook, %reason);
}

pub(super) fn not_touched(reason: &dyn Display) {
    tracing::warn!(target: TARGET, event = "session_not_touched", %reason);
}

pub(super) fn refreshed() {
    tracing::debug!(target: TARGET, event = "session_refreshed");
}

/// The authorization server does not take the refresh token: the session has ended.
pub(super) fn refresh_refused(error: &FlowError) {
    tracing::info!(target: TARGET, event = "refresh_refused", code = error.code(), reason = %error);
}

/// The same where sessions are in cookies alone: it may have been used by another replica, or by a thief.
pub(super) fn refresh_reuse_suspected(error: &FlowError) {
    tracing::warn!(
        target: TARGET, event = "refresh_reuse_suspected", code = error.code(), reason = %error,
        "a refresh token was refused: if several replicas serve these sessions, give them a shared memory"
    );
}

/// The tokens of a refresh are not of whom they were asked for: the session has ended.
pub(super) fn other_person(error: &FlowError) {
    tracing::error!(target: TARGET, event = "refresh_other_person", code = error.code(), reason = %error);
}

/// Nobody's session can be renewed until this is put right; all of them stay.
pub(super) fn refresh_misconfigured(error: &FlowError) {
    tracing::error!(target: TARGET, event = "refresh_misconfigured", code = error.code(), reason = %error);
}

pub(super) fn refresh_failed(error: &FlowError) {
    tracing::warn!(target: TARGET, event = "refresh_failed", code = error.code(), reason = %error);
}

/// New tokens wait for the store.
pub(super) fn tokens_not_kept(reason: &dyn Display) {
    tracing::warn!(target: TARGET, event = "refresh_not_kept", %reason);
}

/// The next refresh ends it.
pub(super) fn not_ended(reason: &dyn Display) {
    tracing::warn!(target: TARGET, event = "session_not_ended", %reason);
}

pub(super) fn rotation_without_store() {
    tracing::warn!(
        target: TARGET, event = "rotation_without_store",
        "the authorization server rotates refresh tokens, and sessions are in cookies alone: several replicas \
         would use a refresh token twice, unless they share a memory"
    );
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
