//! The settings of a login layer, shared by its services.

use std::fmt;
use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::cookie_cipher::CookieCipher;
use super::csrf::{self, CsrfCheck};
use super::navigation::{self, RequestKind};
use super::pages::{self, ErrorPage};
use super::redemptions::RedemptionCache;
use super::refusal::{self, LoginRefusal};
use super::response::{self, LayerResponse};
use super::routes::{Route, Routes};
use super::{Csrf, SameSite, events};
use crate::flow::Flow;
use crate::protocol::form;
use crate::protocol::return_to::check_return_to;
use crate::session::SessionManager;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Identifies the layer, unchanged by later settings.
    pub(super) layer: u64,
    pub(super) manager: Arc<SessionManager>,
    pub(super) cipher: CookieCipher,
    pub(super) routes: Routes,
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

    pub(super) fn flow(&self) -> &Arc<Flow> {
        self.manager.flow()
    }

    pub(super) fn now(&self) -> i64 {
        self.manager.time().wall()
    }

    /// Returns the time to compare a timestamp with. A wall clock that was set back does not make
    /// the timestamp younger.
    pub(super) fn now_for(&self, moment: i64) -> i64 {
        let now = self.manager.time();
        now.wall().saturating_add(now.rolled_back_since(moment))
    }

    /// Returns `value` if it is a path of this origin that may be redirected to. Every target from
    /// a request is checked here: open redirects are attacks (RFC 9700 §4.11).
    pub(super) fn return_to<'a>(&self, value: &'a str) -> Option<&'a str> {
        check_return_to(
            value,
            self.flow().redirect_uri(),
            &self.routes.forbidden_targets(),
        )
    }

    /// Returns the `return_to` of a query or form if it is present once and acceptable. A repeated
    /// parameter could be read differently by another parser.
    pub(super) fn one_return_to<'a>(&self, pairs: &'a [(String, String)]) -> Option<&'a str> {
        let mut values = pairs.iter().filter(|(name, _)| name == RETURN_TO);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => self.return_to(value),
            _ => None,
        }
    }

    pub(super) fn login_url(&self, return_to: Option<&str>) -> String {
        match return_to {
            Some(target) => {
                let target = form::encode_component(target);
                format!("{}?{RETURN_TO}={target}", self.routes.login)
            }
            None => self.routes.login.clone(),
        }
    }

    /// Returns the response to a request that needs a session and has none. Only a navigation is
    /// redirected: a script that follows a redirect to the authorization server gets an opaque CORS
    /// failure.
    pub(super) fn login_required(
        &self,
        kind: RequestKind,
        headers: &HeaderMap,
        original: Option<&str>,
    ) -> LayerResponse {
        let target = match kind {
            RequestKind::Navigation => original,
            // The page that the user is on, not the fragment that was requested.
            RequestKind::Htmx => self.current_htmx_page(headers),
            RequestKind::Form | RequestKind::Program => None,
        };
        let login_url = self.login_url(target.and_then(|target| self.return_to(target)));
        if kind == RequestKind::Navigation {
            return response::redirect(&login_url);
        }
        if kind == RequestKind::Form {
            let mut response = self.reject(headers, &refusal::SIGNED_OUT, None);
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            return response;
        }
        let correlation_id = self.correlation_id();
        events::login_required(&correlation_id);
        let problem = json!({
            "type": "about:blank",
            "title": "Sign-in required",
            "status": 401,
            "code": "login_required",
            "correlation_id": correlation_id,
            "login_url": login_url,
        });
        let mut response = response::problem(StatusCode::UNAUTHORIZED, &problem);
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        if kind == RequestKind::Htmx
            && let Ok(location) = HeaderValue::try_from(login_url)
        {
            headers.insert(HX_REDIRECT, location);
        }
        response
    }

    /// Returns an error response: a page for browsers, a problem document (RFC 9457) for all
    /// others. Every rejection of this layer is sent and logged here.
    pub(super) fn reject(
        &self,
        headers: &HeaderMap,
        refusal: &LoginRefusal,
        return_to: Option<&str>,
    ) -> LayerResponse {
        self.error_response(headers, refusal, return_to, None)
    }

    fn error_response(
        &self,
        headers: &HeaderMap,
        refusal: &LoginRefusal,
        return_to: Option<&str>,
        continue_url: Option<&str>,
    ) -> LayerResponse {
        let correlation_id = self.correlation_id();
        events::rejected(refusal, &correlation_id);
        let login_url = self.login_url(return_to);
        let mut response = if navigation::wants_html(headers) {
            let page = ErrorPage {
                refusal,
                correlation_id: &correlation_id,
                login_url: &login_url,
                accept_language: headers
                    .get(ACCEPT_LANGUAGE)
                    .and_then(|value| value.to_str().ok()),
                continue_url,
            };
            match &self.error_page {
                Some(renderer) => {
                    response::html(refusal.status, renderer.0(&page), pages::CUSTOM_PAGE_POLICY)
                }
                None => response::html(refusal.status, page.to_string(), pages::policy()),
            }
        } else {
            let mut problem = json!({
                "type": "about:blank",
                "title": refusal.message,
                "status": refusal.status.as_u16(),
                "code": refusal.code,
                "correlation_id": correlation_id,
            });
            if refusal.can_restart {
                problem["login_url"] = login_url.into();
            }
            if let Some(location) = continue_url {
                problem["location"] = location.into();
            }
            response::problem(refusal.status, &problem)
        };
        if let Some(wait) = refusal.retry_after {
            response::retry_after(response.headers_mut(), wait);
        }
        response
    }

    /// Returns an error response with a link: on the page, or as `location` in the problem
    /// document.
    pub(super) fn reject_with_link(
        &self,
        headers: &HeaderMap,
        refusal: &LoginRefusal,
        location: &str,
    ) -> LayerResponse {
        self.error_response(headers, refusal, None, Some(location))
    }

    /// Rejects a request that did not come from this application.
    pub(super) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        let refusal = csrf::CROSS_SITE.because(self.csrf_check().describe(headers));
        self.reject(headers, &refusal, None)
    }

    pub(super) fn clear(&self, rest: &str) -> Option<HeaderValue> {
        let names = &self.cipher.names;
        names.clear(&names.full(rest))
    }

    /// Returns the route of this layer at `path`. Back-channel logout is a route only if an ended
    /// session is known to all replicas; otherwise the 200 response would promise too much.
    pub(super) fn route(&self, path: &str) -> Option<Route> {
        let is_enabled = |route: &Route| {
            *route != Route::BackchannelLogout || self.manager.accepts_logout_tokens()
        };
        self.routes.find(path).filter(is_enabled)
    }

    /// Returns whether this is the path of the post-logout redirect URI.
    pub(super) fn is_post_logout_path(&self, path: &str) -> bool {
        self.post_logout_path.as_deref() == Some(path)
    }

    fn current_htmx_page<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let url = headers.get(HX_CURRENT_URL)?.to_str().ok()?;
        url.strip_prefix(self.origin.as_str())
    }

    fn correlation_id(&self) -> String {
        let bytes = self.cipher.random.bytes::<8>().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(bytes))
    }
}

impl fmt::Debug for ErrorPageRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorPageRenderer(..)")
    }
}

const RETURN_TO: &str = "return_to";

/// A 401 needs a challenge (RFC 9110 §15.5.2). Browsers show no password prompt for an unknown
/// scheme.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Cookie realm=\"login\"");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const HX_CURRENT_URL: HeaderName = HeaderName::from_static("hx-current-url");
