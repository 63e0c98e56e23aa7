//! Rejections: error pages, problem documents, and the way to the login.

use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::events;
use super::navigation::{self, RequestKind};
use super::pages::{self, ErrorPage};
use super::refusal::{CROSS_SITE, LoginRefusal, SIGNED_OUT};
use super::response::{self, HX_REDIRECT, LayerResponse};
use super::settings::Settings;
use crate::telemetry::count_login;

impl Settings {
    /// Returns the response to a request that needs a session and has none. Only a navigation is
    /// redirected: a script that follows a redirect to the authorization server gets an opaque CORS
    /// failure.
    pub(super) fn login_required(
        &self,
        kind: RequestKind,
        headers: &HeaderMap,
        original: Option<&str>,
    ) -> LayerResponse {
        let target = self.target_after_login(kind, headers, original);
        self.require_login(kind, headers, &self.login_url(target), &SIGNED_OUT)
    }

    /// Returns where the user continues after a login that this request leads to.
    pub(super) fn target_after_login<'a>(
        &self,
        kind: RequestKind,
        headers: &'a HeaderMap,
        original: Option<&'a str>,
    ) -> Option<&'a str> {
        let target = match kind {
            RequestKind::Navigation => original,
            // The page that the user is on, not the fragment that was requested.
            RequestKind::Htmx => self.current_htmx_page(headers),
            RequestKind::Form | RequestKind::Program => None,
        };
        target.and_then(|target| self.return_to(target))
    }

    /// Returns the response to a request that can proceed after a login, which starts at `login_url`. `refusal` is for
    /// requests that are not redirected.
    pub(super) fn require_login(
        &self,
        kind: RequestKind,
        headers: &HeaderMap,
        login_url: &str,
        refusal: &LoginRefusal,
    ) -> LayerResponse {
        if kind == RequestKind::Navigation {
            let now = self.flow().clock().monotonic();
            if navigation::has_fetch_metadata(headers) && self.login_route.note_redirect(now) {
                events::login_route_unreached(&self.paths);
            }
            return response::redirect(login_url);
        }
        if kind == RequestKind::Form {
            let mut response = self.error_response(headers, refusal, login_url, None);
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            return response;
        }
        let correlation_id = self.correlation_id();
        let title = if refusal.code == SIGNED_OUT.code {
            events::login_required(&correlation_id);
            "Sign-in required"
        } else {
            events::rejected(refusal, &correlation_id);
            "Stronger or more recent sign-in required"
        };
        let problem = json!({
            "type": "about:blank",
            "title": title,
            "status": 401,
            "code": refusal.code,
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
        self.error_response(headers, refusal, &self.login_url(return_to), None)
    }

    /// Like [`reject`](Self::reject), and counts the end of a login.
    pub(super) fn reject_login(
        &self,
        headers: &HeaderMap,
        refusal: &LoginRefusal,
        return_to: Option<&str>,
    ) -> LayerResponse {
        count_login(refusal.code);
        self.reject(headers, refusal, return_to)
    }

    fn error_response(
        &self,
        headers: &HeaderMap,
        refusal: &LoginRefusal,
        login_url: &str,
        continue_url: Option<&str>,
    ) -> LayerResponse {
        let correlation_id = self.correlation_id();
        events::rejected(refusal, &correlation_id);
        let mut response = if navigation::wants_html(headers) {
            let page = ErrorPage {
                refusal,
                correlation_id: &correlation_id,
                login_url,
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
            response::set_retry_after(response.headers_mut(), wait);
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
        let login_url = self.login_url(None);
        self.error_response(headers, refusal, &login_url, Some(location))
    }

    /// Returns the response at the end of a silent login that failed: the page is open to all.
    pub(super) fn continue_anonymously(
        &self,
        refusal: &LoginRefusal,
        target: Option<&str>,
    ) -> LayerResponse {
        count_login(refusal.code);
        events::optional_login_failed(refusal);
        response::redirect(target.unwrap_or_else(|| self.default_return_to()))
    }

    /// Rejects a request that did not come from this application.
    pub(super) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        let refusal = CROSS_SITE.because(self.csrf_check().describe(headers));
        self.reject(headers, &refusal, None)
    }

    /// Returns the page of this application that has the link which was followed, if it can be returned to.
    #[cfg(feature = "relay")]
    pub(super) fn referring_page<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.return_to(self.referring_path(headers)?)
    }

    fn current_htmx_page<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let url = headers.get(HX_CURRENT_URL)?.to_str().ok()?;
        url.strip_prefix(self.origin.as_str())
    }

    fn correlation_id(&self) -> String {
        let bytes = self.flow().random().bytes::<8>().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(bytes))
    }
}

/// A 401 needs a challenge (RFC 9110 §15.5.2). Browsers show no password prompt for an unknown
/// scheme.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Cookie realm=\"login\"");
const HX_CURRENT_URL: HeaderName = HeaderName::from_static("hx-current-url");
