//! Log events of the target `tower_oauth::login`; `docs/observability.md` lists them.
//!
//! No event contains a secret. Events that callers can cause without a session or a completed login
//! are rate-limited per kind.

use super::refusal::{CROSS_SITE, FORBIDDEN, LoginRefusal, SIGNED_OUT, WEAK_AUTHENTICATION};
use super::route_paths::RoutePaths;
use crate::config_error::ConfigError;
use crate::record::SessionId;
use crate::telemetry::{RefusedSession, count_login, may_log};

const TARGET: &str = "tower_oauth::login";

/// `evicted` is whether a pending login of the browser was evicted.
pub(super) fn login_started(provider: &str, by_person: bool, evicted: bool) {
    tracing::debug!(
        name: "login_started", target: TARGET, provider, by_person, evicted,
        "redirected a browser to the authorization server"
    );
}

pub(super) fn step_up_started(session: &SessionId, reason: &str) {
    tracing::debug!(
        name: "step_up_started", target: TARGET, session = session.log_prefix(), reason,
        "redirected a user to authenticate again"
    );
}

/// The user sees the page anonymously.
pub(super) fn optional_login_failed(refusal: &LoginRefusal) {
    let (code, reason) = (refusal.code, refusal.reason.as_deref().unwrap_or_default());
    if may_log("optional_login_failed", code) {
        tracing::info!(
            name: "optional_login_failed", target: TARGET, code, reason,
            "a silent login failed, and the page is shown without it"
        );
    }
}

/// The user returns to the default target instead.
pub(super) fn return_target_dropped(
    bytes: Option<usize>,
    limit: Option<usize>,
    reason: &'static str,
) {
    if may_log("return_target_dropped", reason) {
        tracing::info!(
            name: "return_target_dropped", target: TARGET, bytes, limit, reason,
            "a return target was replaced by the default"
        );
    }
}

pub(super) fn login_succeeded(session: &SessionId, provider: &str, issuer: &str, client_id: &str) {
    count_login("success");
    tracing::info!(
        name: "login_succeeded", target: TARGET,
        session = session.log_prefix(), provider, issuer, client_id, "user signed in"
    );
}

pub(super) fn silent_login_failed() {
    tracing::debug!(
        name: "silent_login_failed", target: TARGET,
        "a login with prompt=none found no session at the authorization server"
    );
}

pub(super) fn login_required(correlation_id: &str) {
    RefusedSession::LoginRequired.count();
    tracing::debug!(
        name: "login_required", target: TARGET, correlation_id,
        "a program requested a route that requires a session"
    );
}

/// Logs the reason of an error response. The response has the code and the correlation id only.
pub(super) fn rejected(refusal: &LoginRefusal, correlation_id: &str) {
    let (code, reason) = (refusal.code, refusal.reason.as_deref().unwrap_or_default());
    let status = refusal.status.as_u16();
    match code {
        _ if code == CROSS_SITE.code => RefusedSession::CrossSite.count(),
        _ if code == SIGNED_OUT.code => RefusedSession::LoginRequired.count(),
        _ if code == FORBIDDEN.code => RefusedSession::Forbidden.count(),
        _ if code == WEAK_AUTHENTICATION.code => RefusedSession::AuthenticationTooWeak.count(),
        _ => {}
    }
    if !may_log("login_failed", code) {
        return;
    }
    if code == CROSS_SITE.code {
        tracing::info!(
            name: "cross_site_request_rejected", target: TARGET,
            code, status, reason, correlation_id, "rejected a request from another site"
        );
    } else if code == FORBIDDEN.code || code == WEAK_AUTHENTICATION.code {
        tracing::info!(
            name: "session_forbidden", target: TARGET,
            code, status, reason, correlation_id, "rejected a session that does not meet a policy"
        );
    } else if refusal.status.is_server_error() {
        tracing::error!(
            name: "login_failed", target: TARGET,
            code, status, reason, correlation_id, "login failed"
        );
    } else {
        tracing::info!(
            name: "login_failed", target: TARGET,
            code, status, reason, correlation_id, "login failed"
        );
    }
}

pub(super) fn logout_completed(session: Option<&SessionId>, at_the_server: bool) {
    if may_log("logout_completed", "") {
        tracing::info!(
            name: "logout_completed", target: TARGET,
            session = session.map(SessionId::log_prefix), at_the_server,
            "user signed out"
        );
    }
}

/// `sessions` is the number of sessions that the index listed.
pub(super) fn backchannel_logout(by: &'static str, sessions: usize) {
    tracing::info!(
        name: "backchannel_logout", target: TARGET, by, sessions,
        "the authorization server ended sessions"
    );
}

pub(super) fn frontchannel_logout() {
    if may_log("frontchannel_logout", "") {
        tracing::info!(
            name: "frontchannel_logout", target: TARGET,
            "the authorization server ended a session in a frame"
        );
    }
}

pub(super) fn frontchannel_logout_rejected(reason: &'static str) {
    if may_log("frontchannel_logout_rejected", reason) {
        tracing::info!(
            name: "frontchannel_logout_rejected", target: TARGET, status = 400_u16, reason,
            "rejected a front-channel logout"
        );
    }
}

pub(super) fn logout_token_rejected(code: &'static str) {
    if may_log("logout_token_rejected", code) {
        tracing::info!(
            name: "logout_token_rejected", target: TARGET, code, "rejected a logout token"
        );
    }
}

pub(super) fn session_cookie_rejected(reason: &'static str) {
    tracing::debug!(
        name: "session_cookie_rejected", target: TARGET, reason,
        "a session cookie names no live session"
    );
}

/// Once per layer: users with more roles or groups may have sessions that do not fit.
pub(super) fn session_is_large(bytes: usize, limit: usize) {
    tracing::warn!(
        name: "session_is_large", target: TARGET, bytes, limit,
        "a session in cookies exceeds 3 KiB and may be too large for other users: keep sessions in a store \
         with `LoginLayer::with_session_store`, or let the authorization server issue smaller tokens"
    );
}

pub(super) fn session_cookie_not_renewed(reason: &dyn std::fmt::Display) {
    if may_log("session_cookie_not_renewed", "") {
        tracing::warn!(
            name: "session_cookie_not_renewed", target: TARGET, %reason,
            "failed to renew a session cookie"
        );
    }
}

/// Logged once for each layer.
pub(super) fn login_route_unreached(paths: &RoutePaths) {
    tracing::warn!(
        name: "login_route_unreached", target: TARGET, login = paths.login,
        "browsers were redirected to the login route, and this process has received no request for a route of the \
         layer. Is the layer added last, without a later `fallback`, `merge` or `nest` (otherwise merge \
         `LoginLayer::routes`)? Does a proxy remove a path prefix (`LoginLayer::with_path_prefix`)?"
    );
}

/// A session that was created within the last 30 seconds, here or at another replica.
pub(super) fn new_session_rejected(reason: &'static str) {
    if may_log("new_session_rejected", reason) {
        tracing::warn!(
            name: "new_session_rejected", target: TARGET, reason,
            "a browser signed in less than 30 seconds ago, and its session is rejected: `invalid` means that the \
             cookie does not decrypt with the cookie keys of this process; `expired` that it has ended, or that the \
             clocks of the replicas differ by more than a minute"
        );
    }
}

/// Each construction of a layer is logged.
pub(super) fn routes_in_the_root(paths: &RoutePaths) {
    tracing::warn!(
        name: "login_routes_in_the_root", target: TARGET,
        callback = paths.callback, login = paths.login, logout = paths.logout, session = paths.session,
        "the routes of a login layer are in the root, before routes of the application with the same \
         paths: use a redirect URI in a folder, such as `/auth/callback`, or `LoginLayer::with_route_names`"
    );
}

pub(super) fn client_metadata_invalid(error: &ConfigError) {
    if may_log("client_metadata_invalid", "") {
        tracing::error!(
            name: "client_metadata_invalid", target: TARGET, %error,
            "the metadata document of the client cannot be served"
        );
    }
}

pub(super) fn misconfigured(reason: &'static str) {
    if may_log("login_misconfigured", reason) {
        tracing::error!(
            name: "login_misconfigured", target: TARGET, reason,
            "a layer is missing or in the wrong place"
        );
    }
}
