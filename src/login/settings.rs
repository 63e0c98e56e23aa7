//! The settings of a login layer, shared by its services, and the paths of its routes.

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::{HeaderMap, HeaderName};
use url::Url;

use super::cookies::{Cookies, SameSite};
use super::csrf::{Csrf, CsrfCheck};
use super::pages::ErrorPage;
use super::redemptions::RedemptionCache;
use super::{events, form};
use crate::config_error::ConfigError;
use crate::flow::{Flow, route_folder};
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
    /// Whether the session cookie has no `Max-Age`.
    pub(super) ends_with_browser: bool,
    pub(super) error_page: Option<ErrorPageRenderer>,
    pub(super) redemptions: Arc<RedemptionCache>,
}

/// Renders the error pages of the application.
#[derive(Clone)]
pub(super) struct ErrorPageRenderer(pub(super) Arc<dyn Fn(&ErrorPage<'_>) -> String + Send + Sync>);

/// A route of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Login,
    Callback,
    Logout,
    Session,
    BackchannelLogout,
    FrontchannelLogout,
}

/// The paths of the routes.
#[derive(Clone, Debug)]
pub(super) struct RoutePaths {
    pub(super) login: String,
    pub(super) callback: String,
    pub(super) logout: String,
    pub(super) session: String,
    pub(super) backchannel_logout: String,
    pub(super) frontchannel_logout: String,
}

impl RoutePaths {
    pub(super) fn beside(redirect_uri: &Url) -> Result<Self, ConfigError> {
        let callback = redirect_uri.path();
        let invalid = |reason| ConfigError::Url {
            setting: "redirect URI",
            value: redirect_uri.to_string(),
            reason,
        };
        // A browser would read a redirect to such a path as a URL of another host.
        if callback.starts_with("//") {
            return Err(invalid("its path must not begin with two slashes"));
        }
        let folder = route_folder(redirect_uri);
        let name = callback
            .strip_prefix(folder)
            .and_then(|name| name.strip_prefix('/'))
            .filter(|name| !name.is_empty())
            .ok_or_else(|| invalid("its path must not end in a slash"))?;
        if OTHER_ROUTES.contains(&name) {
            return Err(invalid(
                "its last segment must not be `login`, `logout`, `session`, `backchannel-logout` or \
                 `frontchannel-logout`: these are other routes of this layer",
            ));
        }
        Ok(Self {
            login: format!("{folder}/{LOGIN}"),
            callback: callback.to_owned(),
            logout: format!("{folder}/{LOGOUT}"),
            session: format!("{folder}/{SESSION}"),
            backchannel_logout: format!("{folder}/{BACKCHANNEL_LOGOUT}"),
            frontchannel_logout: format!("{folder}/{FRONTCHANNEL_LOGOUT}"),
        })
    }

    pub(super) fn find(&self, path: &str) -> Option<Route> {
        [
            (&self.callback, Route::Callback),
            (&self.login, Route::Login),
            (&self.logout, Route::Logout),
            (&self.session, Route::Session),
            (&self.backchannel_logout, Route::BackchannelLogout),
            (&self.frontchannel_logout, Route::FrontchannelLogout),
        ]
        .into_iter()
        .find_map(|(own, route)| (path == own).then_some(route))
    }

    fn overlap(&self, other: &Self) -> bool {
        let paths = self.forbidden_targets().into_iter().chain([&*self.session]);
        paths.into_iter().any(|path| other.find(path).is_some())
    }

    /// The routes that are not allowed as return targets: they would cause redirect loops, or sign
    /// out.
    pub(super) fn forbidden_targets(&self) -> [&str; 5] {
        [
            &self.login,
            &self.callback,
            &self.logout,
            &self.backchannel_logout,
            &self.frontchannel_logout,
        ]
    }
}

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

    /// Returns why another layer cannot be around the same service as this one, for the developer.
    /// The outer layer would answer for both, or each would clear the cookies of the other.
    pub(super) fn conflict(&self, other: &Self) -> Option<&'static str> {
        let redirect_uris = [self, other].map(|one| one.flow().redirect_uri());
        let [host, other_host] = redirect_uris.map(Url::host_str);
        if self.paths.overlap(&other.paths) {
            return Some(SAME_ROUTES);
        }
        let same_cookies = self.cookies.prefix() == other.cookies.prefix();
        (host == other_host && same_cookies).then_some(SAME_COOKIES)
    }

    /// Returns `value` if it is a path of this origin that may be redirected to. Every target from
    /// a request is checked here: open redirects are attacks (RFC 9700 §4.11).
    pub(super) fn return_to<'a>(&self, value: &'a str) -> Option<&'a str> {
        let own_routes = self.paths.forbidden_targets();
        check_return_to(value, self.flow().redirect_uri(), &own_routes)
    }

    /// Returns the `return_to` of a query or form, unless it is missing, repeated (another parser
    /// could read it differently), not acceptable or longer than `max`.
    pub(super) fn requested_target<'a>(
        &self,
        pairs: &'a [(String, String)],
        max: usize,
    ) -> Option<&'a str> {
        let value = form::single(pairs, RETURN_TO)?;
        let target = self.return_to(value).filter(|target| target.len() <= max);
        if target.is_none() {
            events::return_target_dropped(
                Some(value.len()),
                match value.len() > max {
                    true => "it is longer than the limit: 2048 bytes at a login, 512 at a sign-out",
                    false => "it is not a path of this origin, or it is a route of this layer",
                },
            );
        }
        target
    }

    /// Returns the target of a sign-out. It is kept in the cookie of the sign-out.
    pub(super) fn logout_target<'a>(&'a self, pairs: &'a [(String, String)]) -> &'a str {
        let requested = self.requested_target(pairs, MAX_LOGOUT_TARGET);
        requested.unwrap_or(&self.default_return_to)
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

const SAME_ROUTES: &str =
    "two LoginLayers have a route in common: use redirect URIs in different folders";
const SAME_COOKIES: &str =
    "two LoginLayers have the same cookie names: set others with `LoginLayer::with_cookie_name`";

const RETURN_TO: &str = "return_to";

/// Limit on the default return target and on the return target of a sign-out.
pub(super) const MAX_LOGOUT_TARGET: usize = 512;

const LOGIN: &str = "login";
const LOGOUT: &str = "logout";
const SESSION: &str = "session";
const BACKCHANNEL_LOGOUT: &str = "backchannel-logout";
const FRONTCHANNEL_LOGOUT: &str = "frontchannel-logout";
const OTHER_ROUTES: [&str; 5] = [
    LOGIN,
    LOGOUT,
    SESSION,
    BACKCHANNEL_LOGOUT,
    FRONTCHANNEL_LOGOUT,
];
