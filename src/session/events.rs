//! Log events of sessions, target `tower_oauth::session`. Callers can cause most of them, so each kind is limited.

use std::fmt::Display;

use super::denylist::WatermarkScope;
use super::error::UnsealError;
use crate::flow::FlowError;
use crate::record::SessionId;
use crate::telemetry::may_log;

const TARGET: &str = "tower_oauth::session";

pub(super) fn record_unreadable(purpose: &'static str, reason: UnsealError) {
    let reason = match reason {
        UnsealError::Unreadable => "its key or format is unknown to this process",
        UnsealError::Foreign => {
            "it belongs to another session, or to a provider that this layer does not have, or was changed"
        }
    };
    if may_log("session_record_unreadable", purpose) {
        tracing::warn!(
            name: "session_record_unreadable", target: TARGET, purpose, reason,
            "kept a session record that cannot be opened: all replicas need the same cookie keys and the same release"
        );
    }
}

pub(super) fn hook_failed(hook: &'static str, reason: &dyn Display) {
    if may_log("hook_failed", hook) {
        tracing::error!(
            name: "hook_failed", target: TARGET, hook, %reason,
            "a hook of the application failed"
        );
    }
}

pub(super) fn touch_failed(reason: &dyn Display) {
    if may_log("session_touch_failed", "") {
        tracing::warn!(
            name: "session_touch_failed", target: TARGET, %reason,
            "failed to save the time of the last use of a session"
        );
    }
}

pub(super) fn refreshed(id: &SessionId) {
    tracing::debug!(
        name: "session_refreshed", target: TARGET, session = id.log_prefix(),
        "refreshed the tokens of a session"
    );
}

/// The refresh token is invalid (RFC 6749 §5.2), so the session has ended.
pub(super) fn refresh_token_rejected(error: &FlowError) {
    if may_log("refresh_token_rejected", error.code()) {
        tracing::info!(
            name: "refresh_token_rejected", target: TARGET, code = error.code(), reason = %error.for_log(),
            "the authorization server rejected a refresh token: the session has ended"
        );
    }
}

/// Like [`refresh_token_rejected`], for sessions in cookies alone.
pub(super) fn refresh_reuse_suspected(error: &FlowError) {
    if may_log("refresh_reuse_suspected", error.code()) {
        tracing::warn!(
            name: "refresh_reuse_suspected", target: TARGET, code = error.code(), reason = %error.for_log(),
            "the authorization server rejected a refresh token: another replica or a thief may have used it; replicas \
             need a shared store"
        );
    }
}

pub(super) fn refresh_tokens_rejected(error: &FlowError) {
    if may_log("refresh_tokens_rejected", error.code()) {
        tracing::error!(
            name: "refresh_tokens_rejected", target: TARGET, code = error.code(), reason = %error.for_log(),
            "a refresh returned tokens that are not for this session: the session has ended"
        );
    }
}

pub(super) fn refresh_misconfigured(error: &FlowError) {
    if may_log("refresh_misconfigured", error.code()) {
        tracing::error!(
            name: "refresh_misconfigured", target: TARGET, code = error.code(), reason = %error.for_log(),
            "the authorization server rejected the client: no session can be refreshed until the configuration is \
             corrected"
        );
    }
}

pub(super) fn resource_refused(error: &FlowError) {
    if may_log("resource_refused", error.code()) {
        tracing::error!(
            name: "resource_refused", target: TARGET, code = error.code(), reason = %error.for_log(),
            "the authorization server issues no access token for a resource: sessions are kept"
        );
    }
}

pub(super) fn refresh_failed(error: &FlowError) {
    if may_log("refresh_failed", error.code()) {
        tracing::warn!(
            name: "refresh_failed", target: TARGET, code = error.code(), reason = %error.for_log(),
            "failed to refresh a session: the refresh is retried later"
        );
    }
}

pub(super) fn tokens_not_saved(reason: &dyn Display) {
    if may_log("refreshed_tokens_not_saved", "") {
        tracing::warn!(
            name: "refreshed_tokens_not_saved", target: TARGET, %reason,
            "failed to save refreshed tokens: the store is retried"
        );
    }
}

pub(super) fn end_failed(reason: &dyn Display) {
    if may_log("session_end_failed", "") {
        tracing::warn!(
            name: "session_end_failed", target: TARGET, %reason,
            "failed to end a session in the store"
        );
    }
}

pub(super) fn rotation_without_store() {
    if may_log("rotation_without_store", "") {
        tracing::warn!(
            name: "rotation_without_store", target: TARGET,
            "the authorization server rotates refresh tokens, and sessions are in cookies alone: several replicas \
             would send a refresh token twice, unless they share a store"
        );
    }
}

pub(super) fn watermark_raised(raised: WatermarkScope) {
    match raised {
        WatermarkScope::OneUser => tracing::warn!(
            name: "denylist_watermark_raised", target: TARGET, scope = "user",
            "a user signed out very often: older sessions of this user are rejected; with_session_store keeps \
             sign-outs in a store"
        ),
        WatermarkScope::AllUsers => tracing::warn!(
            name: "denylist_watermark_raised", target: TARGET, scope = "all",
            "the denylist is full: older sessions of all users are rejected; with_session_store keeps sign-outs in a \
             store"
        ),
    }
}

pub(super) fn end_pending(reason: &dyn Display, retried: bool) {
    tracing::warn!(
        name: "session_end_pending", target: TARGET, %reason, retried,
        "a session ended in this process only: other processes may accept it until the store has recorded its end"
    );
}

pub(super) fn pending_ends_written(count: usize) {
    tracing::info!(
        name: "pending_session_ends_written", target: TARGET, count,
        "the store recorded the pending ends of sessions"
    );
}

pub(super) fn sid_is_shared() {
    tracing::warn!(
        name: "sid_is_shared", target: TARGET,
        "the authorization server uses one `sid` for thousands of sessions: a logout token that names only this `sid` \
         does not end all of them"
    );
}
