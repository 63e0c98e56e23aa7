//! What the log hears of sessions, under the target `tower_oauth::session`: stable names, no secret (`L75`).

use std::fmt::Display;

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
