//! What the log hears, under the target `tower_oauth::login`: stable names, few values, no secret (`L75`).
//! What a caller can cause without a session or a finished login is bounded for each kind.

use super::refusal::Refusal;
use crate::telemetry::may_log;

const TARGET: &str = "tower_oauth::login";

pub(super) fn started(by_person: bool, evicted: usize) {
    tracing::debug!(target: TARGET, event = "login_started", by_person, evicted);
}

pub(super) fn succeeded() {
    tracing::info!(target: TARGET, event = "login_succeeded");
}

/// A silent login that found nobody signed in at the authorization server.
pub(super) fn not_signed_in() {
    tracing::debug!(target: TARGET, event = "login_not_signed_in");
}

/// A program asked for something that needs a session, and has none.
pub(super) fn login_required(correlation_id: &str) {
    tracing::debug!(target: TARGET, event = "login_required", correlation_id);
}

/// What a refusal knows; the browser is told its code and the correlation id.
pub(super) fn refused(refusal: &Refusal, correlation_id: &str) {
    let (code, reason) = (refusal.code, refusal.reason.as_deref().unwrap_or_default());
    let status = refusal.status.as_u16();
    if !may_log("login_refused", code) {
        return;
    }
    if refusal.status.is_server_error() {
        tracing::error!(target: TARGET, event = "login_refused", code, status, reason, correlation_id);
    } else {
        tracing::info!(target: TARGET, event = "login_refused", code, status, reason, correlation_id);
    }
}

pub(super) fn signed_out(at_the_server: bool) {
    if may_log("signed_out", "") {
        tracing::info!(target: TARGET, event = "signed_out", at_the_server);
    }
}

/// Told on the back channel; how many sessions were on the list that it ended.
pub(super) fn signed_out_by_the_server(by: &'static str, sessions: usize) {
    tracing::info!(target: TARGET, event = "signed_out_by_the_server", by, sessions);
}

pub(super) fn logout_token_refused(code: &'static str) {
    if may_log("logout_token_refused", code) {
        tracing::info!(target: TARGET, event = "logout_token_refused", code);
    }
}

/// Told on the front channel.
pub(super) fn signed_out_in_a_frame() {
    if may_log("signed_out_in_a_frame", "") {
        tracing::info!(target: TARGET, event = "signed_out_in_a_frame");
    }
}

/// A session cookie that is nobody's any more, or never was anybody's.
pub(super) fn session_ended(reason: &'static str) {
    tracing::debug!(target: TARGET, event = "session_ended", reason);
}

pub(super) fn session_not_renewed(reason: &dyn std::fmt::Display) {
    if may_log("session_not_renewed", "") {
        tracing::warn!(target: TARGET, event = "session_not_renewed", %reason);
    }
}

pub(super) fn misconfigured(reason: &'static str) {
    if may_log("login_misconfigured", reason) {
        tracing::error!(target: TARGET, event = "misconfigured", reason);
    }
}
