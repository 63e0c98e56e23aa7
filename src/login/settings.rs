//! What a login layer is set up with, shared by its services.

use std::fmt;
use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::cookie_cipher::CookieCipher;
use super::csrf::{self, Evidence};
use super::navigation::{self, Kind};
use super::pages::{self, ErrorPage};
use super::redemptions::RedemptionCache;
use super::refusal::{self, Refusal};
use super::response::{self, Answer};
use super::routes::{Route, Routes};
use super::{Csrf, SameSite, events};
use crate::flow::Flow;
use crate::protocol::form;
use crate::protocol::return_to::check_return_to;
use crate::session::SessionManager;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Which layer's settings these are, whatever was set since.
    pub(super) layer: u64,
    pub(super) keeper: Arc<SessionManager>,
    pub(super) sealer: CookieCipher,
    pub(super) routes: Routes,
    /// The origin of the redirect URI, as browsers write it.
    pub(super) origin: String,
    pub(super) default_return_to: String,
    /// The path of the post-logout redirect URI.
    pub(super) after_sign_out: Option<String>,
    /// Whether a sign-out has the browser forget what it kept of this origin.
    pub(super) clears_site_data: bool,
    pub(super) csrf: Csrf,
    /// The static header of our own scripts.
    pub(super) csrf_header: HeaderName,
    pub(super) same_site: SameSite,
    pub(super) error_page: Option<OwnErrorPage>,
    pub(super) callbacks: Arc<RedemptionCache>,
}

/// An error page of the application's own making.
#[derive(Clone)]
pub(super) struct OwnErrorPage(pub(super) Arc<dyn Fn(&ErrorPage<'_>) -> String + Send + Sync>);

impl Settings {
    /// `L59`: whether a request with a session may go on.
    pub(super) fn admits(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.csrf.admits(self.evidence(), method, headers)
    }

    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            origin: &self.origin,
            header: &self.csrf_header,
        }
    }

    pub(super) fn flow(&self) -> &Arc<Flow> {
        self.keeper.flow()
    }

    pub(super) fn now(&self) -> i64 {
        self.keeper.now()
    }

    /// Returns the time at which something of this second is to be judged: a wall clock that was set back since
    /// does not make it younger.
    pub(super) fn now_for(&self, moment: i64) -> i64 {
        self.keeper.now_for(moment)
    }

    /// `L31`: everything that becomes a `Location` of ours on this origin has passed here.
    pub(super) fn return_to<'a>(&self, value: &'a str) -> Option<&'a str> {
        check_return_to(value, self.flow().redirect_uri(), &self.routes.no_targets())
    }

    /// The `return_to` of a query or a form, if it is there once (`H40`) and acceptable.
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

    /// What a request that needs a login is told, by what it is: only a navigation is redirected.
    pub(super) fn ask_to_log_in(
        &self,
        kind: Kind,
        headers: &HeaderMap,
        original: Option<&str>,
    ) -> Answer {
        let target = match kind {
            Kind::Navigation => original,
            // The page the person is looking at, not the part of it that was asked for.
            Kind::Htmx => self.page_of_htmx(headers),
            Kind::Form | Kind::Program => None,
        };
        let login_url = self.login_url(target.and_then(|target| self.return_to(target)));
        if kind == Kind::Navigation {
            return response::redirect(&login_url);
        }
        if kind == Kind::Form {
            let mut answer = self.refuse(headers, &refusal::SIGNED_OUT, None);
            answer.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            return answer;
        }
        let correlation_id = self.correlation_id();
        events::login_required(&correlation_id);
        let problem = json!({
            "type": "about:blank",
            "title": "Signing in is required",
            "status": 401,
            "code": "login_required",
            "correlation_id": correlation_id,
            "login_url": login_url,
        });
        let mut answer = response::problem(StatusCode::UNAUTHORIZED, &problem);
        let headers = answer.headers_mut();
        headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        if kind == Kind::Htmx
            && let Ok(location) = HeaderValue::try_from(login_url)
        {
            headers.insert(HX_REDIRECT, location);
        }
        answer
    }

    /// The one way a refusal leaves: a page for a person, a problem for a program (`L73`).
    pub(super) fn refuse(
        &self,
        headers: &HeaderMap,
        refusal: &Refusal,
        return_to: Option<&str>,
    ) -> Answer {
        self.answer(headers, refusal, return_to, None)
    }

    fn answer(
        &self,
        headers: &HeaderMap,
        refusal: &Refusal,
        return_to: Option<&str>,
        go_on: Option<&str>,
    ) -> Answer {
        let correlation_id = self.correlation_id();
        events::refused(refusal, &correlation_id);
        let login_url = self.login_url(return_to);
        let mut answer = if navigation::wants_html(headers) {
            let page = ErrorPage {
                refusal,
                correlation_id: &correlation_id,
                login_url: &login_url,
                accept_language: headers
                    .get(ACCEPT_LANGUAGE)
                    .and_then(|value| value.to_str().ok()),
                go_on,
            };
            match &self.error_page {
                Some(own) => response::html(refusal.status, own.0(&page), pages::OWN_PAGE_POLICY),
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
            if refusal.start_again {
                problem["login_url"] = login_url.into();
            }
            if let Some(location) = go_on {
                problem["location"] = location.into();
            }
            response::problem(refusal.status, &problem)
        };
        if let Some(wait) = refusal.retry_after {
            response::retry_after(answer.headers_mut(), wait);
        }
        answer
    }

    /// The same with a link: on the page, or as `location` for a program.
    pub(super) fn refuse_and_link(
        &self,
        headers: &HeaderMap,
        refusal: &Refusal,
        location: &str,
    ) -> Answer {
        self.answer(headers, refusal, None, Some(location))
    }

    /// Refuses a request that does not come from this application, as far as it shows.
    pub(super) fn refuse_foreign(&self, headers: &HeaderMap) -> Answer {
        let refusal = csrf::FOREIGN.because(self.evidence().describe(headers));
        self.refuse(headers, &refusal, None)
    }

    pub(super) fn clear(&self, rest: &str) -> Option<HeaderValue> {
        let names = &self.sealer.names;
        names.clear(&names.full(rest))
    }

    /// Which of our routes a path is: a logout token is only taken where what it says reaches every process.
    pub(super) fn route(&self, path: &str) -> Option<Route> {
        let there = |route: &Route| {
            *route != Route::BackchannelLogout || self.keeper.accepts_logout_tokens()
        };
        self.routes.find(path).filter(there)
    }

    /// Whether the authorization server sends the browser to this path after a sign-out.
    pub(super) fn is_after_sign_out(&self, path: &str) -> bool {
        self.after_sign_out.as_deref() == Some(path)
    }

    fn page_of_htmx<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let url = headers.get(HX_CURRENT_URL)?.to_str().ok()?;
        url.strip_prefix(self.origin.as_str())
    }

    fn correlation_id(&self) -> String {
        let bytes = self.sealer.random.bytes::<8>().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(bytes))
    }
}

impl fmt::Debug for OwnErrorPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnErrorPage(..)")
    }
}

const RETURN_TO: &str = "return_to";

/// A scheme of the cookie kind: no browser opens a password window for it.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Cookie realm=\"login\"");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const HX_CURRENT_URL: HeaderName = HeaderName::from_static("hx-current-url");
