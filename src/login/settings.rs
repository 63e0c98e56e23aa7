//! The settings of a login layer, shared by its services, and the paths of its routes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::Method;
use http::header::{HeaderMap, HeaderName, REFERER};
use url::Url;

use super::chooser_page::ChooserPage;
use super::client_metadata::ClientMetadata;
use super::cookies::{Cookies, MAX_RESPONSE_BYTES, SameSite};
use super::csrf::{Csrf, CsrfCheck};
use super::login_route_watch::LoginRouteWatch;
use super::navigation::{self, FieldValue};
use super::pages::ErrorPage;
use super::redemptions::RedemptionCache;
use super::route::Route;
use super::route_paths::{RouteNames, RoutePaths};
use super::sealed_request::SealedRequest;
use super::{events, form};
use crate::config_error::ConfigError;
use crate::flow::{Flow, FlowError};
use crate::protocol::form::encode_component;
use crate::protocol::return_to::check_return_to;
use crate::random::RandomError;
use crate::session::SessionManager;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Identifies the layer, unchanged by later settings.
    pub(super) layer: u64,
    pub(super) manager: Arc<SessionManager>,
    pub(super) cookies: Cookies,
    pub(super) route_names: RouteNames,
    pub(super) paths: RoutePaths,
    /// The origin of the redirect URI, as serialized by browsers.
    pub(super) origin: String,
    /// As browsers see it, like all return targets.
    pub(super) default_return_to: Option<String>,
    /// The path of the post-logout redirect URI as browsers see it, if it is set.
    pub(super) post_logout_path: Option<String>,
    /// Whether a sign-out response has `Clear-Site-Data`.
    pub(super) clears_site_data: bool,
    /// Whether a frame without `iss` and `sid` ends the session of its browser.
    pub(super) ends_unnamed_sessions: bool,
    pub(super) csrf: Csrf,
    /// The static header that scripts of this application send.
    pub(super) csrf_header: HeaderName,
    pub(super) same_site: SameSite,
    /// Whether the session cookie has no `Max-Age`.
    pub(super) ends_with_browser: bool,
    pub(super) error_page: Option<ErrorPageRenderer>,
    pub(super) chooser_page: Option<ChooserPageRenderer>,
    pub(super) redemptions: Arc<RedemptionCache>,
    pub(super) login_route: Arc<LoginRouteWatch>,
    /// Whether another party may start logins (OpenID Connect Core §4).
    pub(super) third_party_login: bool,
    /// The metadata of the client, if the layer serves them.
    pub(super) client_metadata: Option<ClientMetadata>,
    /// Whether silent logins are in use, so that a sign-out must prevent the next one.
    pub(super) silent_logins: Arc<AtomicBool>,
}

/// Renders the error pages of the application.
#[derive(Clone)]
pub(super) struct ErrorPageRenderer(pub(super) Arc<dyn Fn(&ErrorPage<'_>) -> String + Send + Sync>);

/// Renders the page of the application where users choose a provider.
#[derive(Clone)]
pub(super) struct ChooserPageRenderer(
    pub(super) Arc<dyn Fn(&ChooserPage<'_>) -> String + Send + Sync>,
);

impl Settings {
    /// Returns the flow of the first provider, for what is the same for all of them.
    pub(super) fn flow(&self) -> &Arc<Flow> {
        self.manager.layer_flow()
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

    /// Returns path and query of the page of this origin in `Referer`.
    pub(super) fn referring_path<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let FieldValue::One(page) = navigation::single(headers, &REFERER) else {
            return None;
        };
        let path = page.strip_prefix(self.origin.as_str())?;
        path.starts_with('/').then_some(path)
    }

    /// Returns the route of this layer at `path`. Back-channel logout is a route only if an ended
    /// session is known to all replicas; otherwise the 200 response would promise too much.
    pub(super) fn route(&self, path: &str) -> Option<Route> {
        let is_enabled = |route: &Route| match route {
            Route::BackchannelLogout => self.manager.accepts_logout_tokens(),
            Route::ClientMetadata | Route::Jwks => self.client_metadata.is_some(),
            _ => true,
        };
        self.paths.find(path).filter(is_enabled)
    }

    /// Returns the paths of the routes as requests ask for them.
    #[cfg(feature = "axum")]
    pub(super) fn route_paths(&self) -> impl Iterator<Item = &str> {
        let paths = self.paths.all_requested().into_iter();
        paths.filter(|path| self.route(path).is_some())
    }

    /// Returns why users of another layer around the same service cannot sign in, for the developer:
    /// the outer layer answers for both, each clears the cookies of the other, or an authorization
    /// server could replay assertions at another one.
    pub(super) fn conflict(&self, other: &Self) -> Option<&'static str> {
        let redirect_uris = [self, other].map(|one| one.flow().redirect_uri());
        let [host, other_host] = redirect_uris.map(Url::host_str);
        if self.paths.overlap(&other.paths) {
            return Some(SAME_ROUTES);
        }
        let same_cookies = self.cookies.prefix() == other.cookies.prefix();
        if host == other_host && same_cookies {
            return Some(SAME_COOKIES);
        }
        let mut providers = self.manager.providers().all();
        let may_replay = providers.any(|provider| {
            let mut others = other.manager.providers().all();
            others.any(|other| provider.may_replay_assertions_of(other))
        });
        may_replay.then_some(ENDPOINT_AUDIENCE)
    }

    /// Returns whether a request for this path may be a return from the authorization server.
    pub(super) fn is_post_logout_path(&self, requested: &str) -> bool {
        let path = self.post_logout_path.as_deref();
        path.is_some_and(|path| self.paths.inner(path) == Some(requested))
    }

    /// Returns `value` if it is a path of this origin that may be redirected to. Every target from
    /// a request is checked here: open redirects are attacks (RFC 9700 §4.11). It is checked as
    /// browsers see it and, below the prefix, as the application does, which may redirect too.
    pub(super) fn return_to<'a>(&self, value: &'a str) -> Option<&'a str> {
        let (own_routes, base) = (self.paths.forbidden_targets(), self.flow().redirect_uri());
        if let Some(inner) = self.paths.inner(value) {
            check_return_to(inner, base, &own_routes)?;
        }
        // A proxy may see the prefix in another spelling of the path.
        if !self.paths.prefix().is_empty() && has_other_spellings(value) {
            return None;
        }
        check_return_to(value, base, &own_routes)
    }

    /// Returns the path that users return to if no other is known.
    pub(super) fn default_return_to(&self) -> &str {
        let configured = self.default_return_to.as_deref();
        configured.unwrap_or(&self.paths.home)
    }

    /// Checks the settings that depend on each other, in whatever order they were made.
    pub(super) fn check(&self) -> Result<(), FlowError> {
        self.manager.check_settings()?;
        let is_fapi2 = self.flow().is_fapi2();
        let mut providers = self.manager.providers().all();
        if providers.any(|provider| provider.flow.is_fapi2() != is_fapi2) {
            return Err(FlowError::excluded_by_fapi2(
                "only some providers of the layer have the FAPI 2.0 Security Profile: set \
                 `with_fapi2_security_profile` for each of them",
            ));
        }
        if self.third_party_login && is_fapi2 {
            // FAPI 2.0 §5.3.3.1: the start of a login is protected against cross-site request forgery.
            return Err(FlowError::excluded_by_fapi2(
                "the FAPI 2.0 Security Profile excludes logins that other sites start: remove \
                 `LoginLayer::with_third_party_login`",
            ));
        }
        Ok(())
    }

    /// Checks settings that concern the same paths; each of them calls this, so that their order
    /// does not matter.
    pub(super) fn check_paths(&self) -> Result<(), ConfigError> {
        let invalid = |setting, value: &str, reason| ConfigError::Url {
            setting,
            value: value.to_owned(),
            reason,
        };
        if let Some(path) = &self.post_logout_path
            && let Some(route) = self.paths.find_outer(path)
            && route != Route::Logout
        {
            return Err(invalid(
                "post-logout redirect URI",
                path,
                "it must not be another route of this layer",
            ));
        }
        match &self.default_return_to {
            Some(path) if path.len() > MAX_LOGOUT_TARGET || self.return_to(path).is_none() => {
                Err(invalid(
                    "default return target",
                    path,
                    "it must be a path of this origin of at most 512 bytes, and not a route of this layer",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Returns the `return_to` of a query or form, unless it is missing, repeated (another parser
    /// could read it differently), not acceptable or longer than `max`.
    pub(super) fn requested_target<'a>(
        &self,
        pairs: &'a [(String, String)],
        max: usize,
    ) -> Option<&'a str> {
        self.checked_target(form::single(pairs, RETURN_TO)?, max, FOREIGN_TARGET)
    }

    /// Returns `path` if it may be [redirected to](Self::return_to) and has at most `max` bytes. Logs otherwise why not;
    /// `foreign` is the reason for other paths.
    pub(super) fn checked_target<'a>(
        &self,
        path: &'a str,
        max: usize,
        foreign: &'static str,
    ) -> Option<&'a str> {
        let target = self.return_to(path).filter(|target| target.len() <= max);
        if target.is_none() {
            let (limit, reason) = match path.len() > max {
                true => (Some(max), "it is longer than `limit`"),
                false => (None, foreign),
            };
            events::return_target_dropped(Some(path.len()), limit, reason);
        }
        target
    }

    /// Returns the target of a sign-out. It is kept in the cookie of the sign-out.
    pub(super) fn logout_target<'a>(&'a self, pairs: &'a [(String, String)]) -> &'a str {
        let requested = self.requested_target(pairs, MAX_LOGOUT_TARGET);
        requested.unwrap_or_else(|| self.default_return_to())
    }

    pub(super) fn login_url(&self, return_to: Option<&str>) -> String {
        with_target(&self.paths.login, return_to)
    }

    /// Like [`login_url_of`](Self::login_url_of). The return target is that of the request, or else `computed`.
    pub(super) fn sealed_login_url(
        &self,
        provider: Option<&str>,
        mut sealed: SealedRequest,
        computed: Option<&str>,
    ) -> Result<String, RandomError> {
        let explicit = sealed.request.return_to.take();
        let explicit = explicit.as_deref().and_then(|path| self.return_to(path));
        self.login_url_of(provider, &sealed, explicit.or(computed))
    }

    /// Returns the URL of a login at this provider, or at the one that the user chooses, with the parameters in a sealed
    /// request. A return target with which it does not fit
    /// into the default buffers of proxies is left out.
    pub(super) fn login_url_of(
        &self,
        provider: Option<&str>,
        request: &SealedRequest,
        return_to: Option<&str>,
    ) -> Result<String, RandomError> {
        let now = self.manager.time().wall();
        let sealed = request.seal(&self.cookies, now)?;
        let path = provider.map_or(&*self.paths.login, |name| self.paths.login_of(name));
        let url = format!("{path}?{LOGIN_REQUEST}={sealed}");
        let Some(target) = return_to else {
            return Ok(url);
        };
        let with_target = format!("{url}&{RETURN_TO}={}", encode_component(target));
        if with_target.len() > MAX_RESPONSE_BYTES {
            events::return_target_dropped(Some(target.len()), None, NO_ROOM);
            return Ok(url);
        }
        Ok(with_target)
    }
}

/// Returns the URL with the parameters of a request, as they were sent.
pub(super) fn with_query(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Returns the URL of a login that continues at `return_to`.
pub(super) fn with_target(path: &str, return_to: Option<&str>) -> String {
    match return_to {
        Some(target) => format!("{path}?{RETURN_TO}={}", encode_component(target)),
        None => path.to_owned(),
    }
}

impl fmt::Debug for ChooserPageRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChooserPageRenderer(..)")
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
const ENDPOINT_AUDIENCE: &str = "two LoginLayers for different authorization servers sign assertions, and one with an endpoint as audience, which the \
     other server could replay: remove `Client::with_assertion_audience`";

const RETURN_TO: &str = "return_to";

/// The parameter of the login route with a [`SealedRequest`].
pub(super) const LOGIN_REQUEST: &str = "login_request";

const FOREIGN_TARGET: &str = "it is not a path of this origin, or it is a route of this layer";
const NO_ROOM: &str =
    "with it, the URL of the login would not fit into the default buffers of proxies (4 KiB)";

/// Limit on the default return target and on the return target of a sign-out.
pub(super) const MAX_LOGOUT_TARGET: usize = 512;

/// Returns whether the path has dot segments, or escapes in its first segment.
fn has_other_spellings(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = path.to_ascii_lowercase().replace("%2e", ".");
    let mut segments = path.split('/').skip(1);
    let is_dotted = segments.clone().any(|one| one == "." || one == "..");
    is_dotted || segments.next().is_some_and(|first| first.contains('%'))
}
