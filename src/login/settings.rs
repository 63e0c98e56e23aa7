//! The settings of a login layer, shared by its services.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::{HeaderMap, HeaderName};

use super::cookies::{Cookies, SameSite};
use super::csrf::{Csrf, CsrfCheck};
use super::form;
use super::pages::ErrorPage;
use super::paths::{Route, RoutePaths};
use super::redemptions::RedemptionCache;
use crate::flow::Flow;
use crate::protocol::form::encode_component;
use crate::protocol::return_to::check_return_to;
use crate::session::SessionManager;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Identifies the layer, unchanged by later settings.
    pub(super) layer: u64,
    pub(super) manager: Arc<SessionManager>,
    pub(super) cookies: Cookies,
    pub(super) paths: RoutePaths,
    /// The origin of the redirect URI, as serialized by browsers.
    pub(super) origin: String,
    pub(super) default_return_to: String,
    /// The path of the post-logout redirect URI, if it is set.
    pub(super) post_logout_path: Option<String>,
    /// Whether a sign-out response has `Clear-Site-Data`.
    pub(super) clears_site_data: bool,
    pub(super) csrf: Csrf,
    /// The static header that scripts of this application send.
    pub(super) csrf_header: HeaderName,
    pub(super) same_site: SameSite,
    pub(super) error_page: Option<ErrorPageRenderer>,
    pub(super) redemptions: Arc<RedemptionCache>,
}

/// Renders the error pages of the application.
#[derive(Clone)]
pub(super) struct ErrorPageRenderer(pub(super) Arc<dyn Fn(&ErrorPage<'_>) -> String + Send + Sync>);

impl Settings {
    pub(super) fn flow(&self) -> &Arc<Flow> {
        self.manager.flow()
    }

    /// Returns whether a request with a session passes the CSRF check.
    pub(super) fn allows(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.csrf.allows(self.csrf_check(), method, headers)
    }

    pub(super) fn csrf_check(&self) -> CsrfCheck<'_> {
        CsrfCheck {
            origin: &self.origin,
            header: &self.csrf_header,
        }
    }

    /// Returns the route of this layer at `path`. Back-channel logout is a route only if an ended
    /// session is known to all replicas; otherwise the 200 response would promise too much.
    pub(super) fn route(&self, path: &str) -> Option<Route> {
        let is_enabled = |route: &Route| {
            *route != Route::BackchannelLogout || self.manager.accepts_logout_tokens()
        };
        self.paths.find(path).filter(is_enabled)
    }

    /// Returns `value` if it is a path of this origin that may be redirected to. Every target from
    /// a request is checked here: open redirects are attacks (RFC 9700 §4.11).
    pub(super) fn return_to<'a>(&self, value: &'a str) -> Option<&'a str> {
        let own_routes = self.paths.forbidden_targets();
        check_return_to(value, self.flow().redirect_uri(), &own_routes)
    }

    /// Returns the `return_to` of a query or form. A target that is missing, repeated (another
    /// parser could read it differently), not acceptable or too long to store is the default.
    pub(super) fn target<'a>(&'a self, pairs: &'a [(String, String)]) -> &'a str {
        form::single(pairs, RETURN_TO)
            .and_then(|value| self.stored_target(value))
            .unwrap_or(&self.default_return_to)
    }

    /// Returns `value` if it is acceptable and fits into the cookie of a login or sign-out.
    pub(super) fn stored_target<'a>(&self, value: &'a str) -> Option<&'a str> {
        let target = self.return_to(value)?;
        (target.len() <= MAX_RETURN_TO).then_some(target)
    }

    pub(super) fn login_url(&self, return_to: Option<&str>) -> String {
        let path = &self.paths.login;
        match return_to {
            Some(target) => format!("{path}?{RETURN_TO}={}", encode_component(target)),
            None => path.clone(),
        }
    }
}

impl fmt::Debug for ErrorPageRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorPageRenderer(..)")
    }
}

const RETURN_TO: &str = "return_to";

/// Limit on stored return targets; a longer one is replaced by the default.
const MAX_RETURN_TO: usize = 512;
