//! Step-up: the user of a session authenticates again, since a page requires a more recent or a stronger
//! authentication (RFC 9470 §4, OpenID Connect Core §3.1.2.1 `acr_values` and `max_age`).
//!
//! The answer of the authorization server is checked like that of every login, so a weaker one creates no session. After
//! a login for a page, a cookie marks that page for half a minute: if its policy is still not met, the response is 403,
//! so that no browser is redirected without end.

use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderValue, Method};

use super::context::LoginContext;
#[cfg(feature = "relay")]
use super::context::reason_of;
use super::cookies::{CookieLifetime, SameSite};
use super::events;
use super::jar::{Jar, STEPPED_UP};
use super::login_request::LoginRequest;
use super::navigation::{self, RequestKind};
use super::refusal::{LoginRefusal, STEP_UP, WEAK_AUTHENTICATION};
use super::response::LayerResponse;
use super::sealed_request::SealedRequest;
use super::settings::Settings;
use crate::bearer::RequiredAuthentication;
use crate::flow::{LoginPurpose, PageDigest, Transaction};
use crate::protocol::sanitize::log_safe;
use crate::record::SessionRef;
use crate::session::Session;
use crate::token::id_token::AcrValues;

impl LoginRequest {
    /// Returns the request of a login that meets all of these requirements, or `None` if no authentication does.
    pub(super) fn for_all<'a>(
        required: impl IntoIterator<Item = &'a RequiredAuthentication>,
    ) -> Option<Self> {
        let mut accepted: Option<Vec<&str>> = None;
        let mut max_age: Option<u64> = None;
        for one in required {
            if let Some(values) = one.acr_values() {
                let values: Vec<&str> = values.collect();
                accepted = Some(match accepted {
                    None => values,
                    Some(before) => before
                        .into_iter()
                        .filter(|acr| values.contains(acr))
                        .collect(),
                });
            }
            max_age = match (max_age, one.max_age()) {
                (Some(before), Some(age)) => Some(before.min(age)),
                (before, age) => before.or(age),
            };
        }
        let acr_values = match accepted {
            None => None,
            Some(values) if values.is_empty() => return None,
            // In order of preference; a login has a limited number.
            Some(values) => Some(values[..values.len().min(AcrValues::MAX)].join(" ")),
        };
        Some(Self {
            acr_values,
            max_age: max_age.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
            ..Self::default()
        })
    }

    /// Returns whether only an ID token confirms what the login requests.
    fn needs_id_token(&self) -> bool {
        self.max_age.is_some() || self.acr_values.is_some() || self.claims.is_some()
    }
}

impl LoginContext {
    /// Returns the response to a request whose session needs another authentication, which a login with `request`
    /// brings: 303 for a navigation, 401 with the URL of the login for all others, and 403 if the user has just
    /// authenticated again for this page.
    pub(super) fn step_up(
        &self,
        session: &Session,
        request: LoginRequest,
        method: &Method,
        headers: &HeaderMap,
        reason: String,
    ) -> LayerResponse {
        let kind = navigation::request_kind(method, headers, &self.settings().origin);
        let original = self.outer_path();
        self.step_up_as(kind, session, request, headers, original.as_deref(), reason)
    }

    /// The same for a relay, whose upstream requires the authentication. `navigation` are the header fields of a request
    /// whose response the browser shows; all others come from scripts.
    #[cfg(feature = "relay")]
    pub(crate) fn step_up_for_upstream(
        &self,
        session: &Session,
        request: LoginRequest,
        navigation: Option<&HeaderMap>,
    ) -> LayerResponse {
        let kind = match navigation {
            Some(_) => RequestKind::Navigation,
            None => RequestKind::Program,
        };
        let headers = navigation.cloned().unwrap_or_default();
        let reason = reason_of(session, &"the upstream requires it");
        // A navigation to the download itself would not come from a page of this application.
        let page = self.settings().referring_page(&headers);
        self.step_up_as(kind, session, request, &headers, page, reason)
    }

    fn step_up_as(
        &self,
        kind: RequestKind,
        session: &Session,
        mut request: LoginRequest,
        headers: &HeaderMap,
        continue_at: Option<&str>,
        reason: String,
    ) -> LayerResponse {
        self.note_session_dependence();
        let settings = self.settings();
        if let Some(response) = self.conflict_response(kind) {
            return response;
        }
        let page = self.outer_path().map(|page| PageDigest::of(&page));
        let page = page.filter(|_| kind == RequestKind::Navigation);
        let has_stepped_up = page.is_some_and(|page| {
            let (jar, mark) = (Jar::read(headers, &settings.cookies), page.to_text());
            let marks = jar.values(STEPPED_UP);
            marks
                .iter()
                .any(|value| value.split('.').any(|one| one == mark))
        });
        if has_stepped_up {
            let refusal = WEAK_AUTHENTICATION.because(format!(
                "{reason}; the user has just authenticated again for this page, and the ID token still does not meet it"
            ));
            return settings.reject(headers, &refusal, None);
        }
        // The requirement of every login still counts.
        let flow = session.flow().unwrap_or_else(|_| settings.flow());
        request.max_age = flow.max_age_of(request.max_age);
        request.acr_values = match flow.acr_values_of(request.acr_values) {
            Ok(acr_values) => acr_values,
            Err(configured) => {
                let refusal = WEAK_AUTHENTICATION.because(format!(
                    "{reason}; it has no `acr` of the `acr_values` {} that every login requests with \
                     `with_authorization_parameter`",
                    log_safe(configured)
                ));
                return settings.reject(headers, &refusal, None);
            }
        };
        if flow.has_identity_source() && request.needs_id_token() {
            let refusal = WEAK_AUTHENTICATION.because(format!(
                "{reason}; only an ID token confirms it, and the provider {} of the session issues none",
                session.provider()
            ));
            return settings.reject(headers, &refusal, None);
        }
        let computed = settings.target_after_login(kind, headers, continue_at);
        let sealed = SealedRequest {
            request,
            purpose: LoginPurpose::StepUp,
            session: Some(*session.id()),
            page,
        };
        match settings.sealed_login_url(Some(session.provider()), sealed, computed) {
            Ok(login_url) => {
                if kind == RequestKind::Navigation {
                    events::step_up_started(session.id(), &reason);
                }
                settings.require_login(kind, headers, &login_url, &STEP_UP.because(reason))
            }
            Err(error) => settings.reject(headers, &LoginRefusal::from(error), None),
        }
    }
}

impl Settings {
    /// Adjusts a login to the session that the browser has when its user has authenticated again. Without a session it is
    /// an ordinary login. Another session since then can be replaced by its own user only. A Strict cookie is not sent
    /// with a callback, and a store may be unavailable, which shows nothing.
    pub(super) async fn bind_step_up(&self, headers: &HeaderMap, transaction: &mut Transaction) {
        if self.same_site != SameSite::Lax {
            return;
        }
        let Ok(cookie) = self.session(headers, false).await else {
            return;
        };
        match cookie.session {
            None => transaction.purpose = LoginPurpose::SignIn,
            Some((loaded, _)) => transaction.replaces = Some(SessionRef::from(&**loaded.record())),
        }
    }

    /// Returns the cookie that marks that the user has just authenticated again for `page`, and returns to `target`.
    pub(super) fn mark_step_up(
        &self,
        target: &str,
        page: Option<PageDigest>,
    ) -> Option<HeaderValue> {
        let target = PageDigest::of(target);
        let page = page.filter(|page| *page != target);
        let marks: Vec<String> = std::iter::once(target)
            .chain(page)
            .map(PageDigest::to_text)
            .collect();
        let lifetime = CookieLifetime::Of(RECENT);
        self.cookies
            .set(STEPPED_UP, &marks.join("."), lifetime, SameSite::Lax)
    }
}

/// How long a step-up is recent: longer than the redirect to the page takes.
const RECENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::Policy;

    #[test]
    fn a_login_for_several_policies_meets_all_of_them() {
        let acr = |values: &[&str]| Policy::acr(values.iter().copied()).unwrap();
        let age = |seconds| Policy::max_age(Duration::from_secs(seconds)).unwrap();
        let both = acr(&["gold", "silver"]).and_max_age(Duration::from_secs(300));
        for (name, policies, expected) in [
            (
                "one",
                vec![acr(&["gold", "silver"])],
                Some((Some("gold silver"), None)),
            ),
            ("ages", vec![age(300), age(60)], Some((None, Some(60)))),
            (
                "acr and age",
                vec![both.unwrap(), acr(&["silver"])],
                Some((Some("silver"), Some(300))),
            ),
            (
                "no common acr",
                vec![acr(&["gold"]), acr(&["silver"])],
                None,
            ),
            (
                "an age beyond the limit",
                vec![age(1 << 40)],
                Some((None, Some(u32::MAX))),
            ),
            (
                "more values than a login can have",
                vec![acr(&["1", "2", "3", "4", "5", "6", "7", "8", "9"])],
                Some((Some("1 2 3 4 5 6 7 8"), None)),
            ),
        ] {
            let required = policies.iter().filter_map(Policy::authentication);
            let request = LoginRequest::for_all(required);
            let found = request
                .as_ref()
                .map(|request| (request.acr_values.as_deref(), request.max_age));
            assert_eq!(found, expected, "{name}");
        }
    }
}
