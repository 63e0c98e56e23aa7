//! Browser sessions at the test server: sign-ins by cookie, and forms that were not submitted yet.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HeaderName, ORIGIN};

use super::endpoint::ValidatedRequest;
use super::respond::random_text;
use crate::protocol::cookie::{Match, pairs};

/// How long a form can be submitted after its page was shown.
const PAGE_LIFETIME: Duration = Duration::from_secs(600);

/// One sign-in of one user in one browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignIn {
    pub(super) subject: String,
    /// `auth_time`, in seconds since 1970.
    pub(super) at: i64,
    pub(super) acr: Option<String>,
    pub(super) sid: String,
}

/// The request that the form of a page continues.
#[derive(Clone, Debug)]
pub(super) enum PendingInteraction {
    Authorization(Box<Interaction>),
    /// A logout to confirm, and the post-logout redirect URI.
    Logout(Option<String>),
}

/// An authorization request during sign-in and consent.
#[derive(Clone, Debug)]
pub(super) struct Interaction {
    pub(super) request: ValidatedRequest,
    /// Whether the user signed in during this request.
    pub(super) signed_in: bool,
}

#[derive(Debug, Default)]
pub(super) struct BrowserSessions {
    /// By cookie value; `None` if no user is signed in.
    browsers: HashMap<String, Option<SignIn>>,
    /// By the value of the form's hidden field.
    pages: HashMap<String, OpenPage>,
}

#[derive(Debug)]
struct OpenPage {
    browser: String,
    pending: PendingInteraction,
    expires_at: Duration,
}

impl BrowserSessions {
    /// Returns the cookie value of a request if this server issued it.
    pub(super) fn browser(&self, cookie_name: &str, request: &Request<Bytes>) -> Option<String> {
        let mut values = pairs(request.headers())
            .filter(|pair| pair.compare(cookie_name.as_bytes()) == Match::Exact)
            .filter_map(|pair| std::str::from_utf8(pair.value()).ok());
        let value = values.next()?;
        // Two cookies of this name mean that another host or path set one: neither is trusted.
        (values.next().is_none() && self.browsers.contains_key(value)).then(|| value.to_owned())
    }

    pub(super) fn add_browser(&mut self) -> String {
        let id = random_text();
        self.browsers.insert(id.clone(), None);
        id
    }

    pub(super) fn sign_in(&self, browser: Option<&str>) -> Option<&SignIn> {
        self.browsers.get(browser?)?.as_ref()
    }

    /// Signs a user in under a new cookie value, which prevents session fixation.
    pub(super) fn add_sign_in(&mut self, browser: &str, sign_in: SignIn) -> String {
        self.browsers.remove(browser);
        let id = random_text();
        self.browsers.insert(id.clone(), Some(sign_in));
        self.pages
            .values_mut()
            .filter(|page| page.browser == browser)
            .for_each(|page| page.browser.clone_from(&id));
        id
    }

    /// Ends the session of a browser and returns its sign-in.
    pub(super) fn sign_out(&mut self, browser: &str) -> Option<SignIn> {
        self.pages.retain(|_, page| page.browser != browser);
        self.browsers.remove(browser).flatten()
    }

    /// Ends the sign-ins of a user in all browsers.
    pub(super) fn sign_out_subject(&mut self, subject: &str) -> Vec<SignIn> {
        let is_of = |sign_in: &SignIn| sign_in.subject == subject;
        self.browsers
            .values_mut()
            .filter_map(|sign_in| sign_in.take_if(|sign_in| is_of(sign_in)))
            .collect()
    }

    pub(super) fn session_ids(&self, subject: &str) -> Vec<String> {
        let sign_ins = self.browsers.values().flatten();
        let of_subject = sign_ins.filter(|sign_in| sign_in.subject == subject);
        of_subject.map(|sign_in| sign_in.sid.clone()).collect()
    }

    /// Registers a form and returns the value of its hidden field.
    pub(super) fn add_page(
        &mut self,
        browser: &str,
        pending: PendingInteraction,
        now: Duration,
    ) -> String {
        self.pages.retain(|_, page| page.expires_at > now);
        let id = random_text();
        let expires_at = now.saturating_add(PAGE_LIFETIME);
        self.pages.insert(
            id.clone(),
            OpenPage {
                browser: browser.to_owned(),
                pending,
                expires_at,
            },
        );
        id
    }

    /// Returns the pending request of a form if it was shown to this browser and has not expired.
    pub(super) fn pending(
        &mut self,
        id: &str,
        browser: &str,
        now: Duration,
    ) -> Option<&mut PendingInteraction> {
        let page = self.pages.get_mut(id)?;
        (page.browser == browser && page.expires_at > now).then_some(&mut page.pending)
    }

    pub(super) fn close_page(&mut self, id: &str) {
        self.pages.remove(id);
    }
}

/// Returns whether a form was submitted from another origin. `Sec-Fetch-Site` decides if present,
/// otherwise `Origin`. A request with neither depends on the hidden field alone.
pub(super) fn is_cross_origin(origin: &str, request: &Request<Bytes>) -> bool {
    let field = |name: HeaderName| request.headers().get(name).map(|value| value.as_bytes());
    match field(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site != b"same-origin",
        None => field(ORIGIN).is_some_and(|value| value != origin.as_bytes()),
    }
}
