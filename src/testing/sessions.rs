//! Browsers at the server: who is signed in there, and which pages wait for an answer.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HeaderName, ORIGIN};

use super::endpoint::AuthorizationRequest;
use super::respond::random_text;
use crate::protocol::cookie::{Match, pairs};

/// How long a page may stay open before its form is refused.
const PAGE_LIFETIME: Duration = Duration::from_secs(600);

/// One sign-in of one person in one browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignIn {
    pub(super) subject: String,
    /// Seconds since 1970 (`auth_time`).
    pub(super) at: i64,
    pub(super) sid: String,
}

/// What a page of ours is waiting for.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Authorization(Box<Interaction>),
    /// Confirmation of a logout, and where it leads.
    Logout(Option<String>),
}

/// An authorization request on its way through the pages.
#[derive(Clone, Debug)]
pub(super) struct Interaction {
    pub(super) request: AuthorizationRequest,
    /// Whether somebody signed in for this very request.
    pub(super) signed_in: bool,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// By cookie value; nobody is signed in where it is `None`.
    browsers: HashMap<String, Option<SignIn>>,
    /// By the hidden field of a form.
    pages: HashMap<String, Page>,
}

#[derive(Debug)]
struct Page {
    browser: String,
    pending: Pending,
    expires_at: Duration,
}

impl Sessions {
    /// The browser of a request, where its cookie is one of ours.
    pub(super) fn browser(&self, cookie_name: &str, request: &Request<Bytes>) -> Option<String> {
        let mut values = pairs(request.headers())
            .filter(|pair| pair.compare(cookie_name.as_bytes()) == Match::Exact)
            .filter_map(|pair| std::str::from_utf8(pair.value()).ok());
        let value = values.next()?;
        // Two of them mean that somebody else planted one.
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

    /// Signs somebody in under a new cookie value, so that one planted before is worth nothing.
    pub(super) fn signed_in(&mut self, browser: &str, sign_in: SignIn) -> String {
        self.browsers.remove(browser);
        let id = random_text();
        self.browsers.insert(id.clone(), Some(sign_in));
        self.pages
            .values_mut()
            .filter(|page| page.browser == browser)
            .for_each(|page| page.browser.clone_from(&id));
        id
    }

    /// Ends what a browser has, and says which sign-in that was.
    pub(super) fn sign_out(&mut self, browser: &str) -> Option<SignIn> {
        self.pages.retain(|_, page| page.browser != browser);
        self.browsers.remove(browser).flatten()
    }

    /// Ends the sign-ins of a person in all browsers.
    pub(super) fn sign_out_subject(&mut self, subject: &str) -> Vec<SignIn> {
        let is_of = |sign_in: &SignIn| sign_in.subject == subject;
        self.browsers
            .values_mut()
            .filter_map(|sign_in| sign_in.take_if(|sign_in| is_of(sign_in)))
            .collect()
    }

    pub(super) fn session_ids(&self, subject: &str) -> Vec<String> {
        let sign_ins = self.browsers.values().flatten();
        let of_them = sign_ins.filter(|sign_in| sign_in.subject == subject);
        of_them.map(|sign_in| sign_in.sid.clone()).collect()
    }

    /// The value of the hidden field that will bring the answer.
    pub(super) fn add_page(&mut self, browser: &str, pending: Pending, now: Duration) -> String {
        self.pages.retain(|_, page| page.expires_at > now);
        let id = random_text();
        let expires_at = now.saturating_add(PAGE_LIFETIME);
        self.pages.insert(
            id.clone(),
            Page {
                browser: browser.to_owned(),
                pending,
                expires_at,
            },
        );
        id
    }

    /// What the page was about, where it was shown to this very browser.
    pub(super) fn page(&mut self, id: &str, browser: &str, now: Duration) -> Option<&mut Pending> {
        let page = self.pages.get_mut(id)?;
        (page.browser == browser && page.expires_at > now).then_some(&mut page.pending)
    }

    pub(super) fn close_page(&mut self, id: &str) {
        self.pages.remove(id);
    }
}

/// Whether a form was sent from a page of ours, as far as the browser says: `Sec-Fetch-Site` decides
/// alone where it is sent, else `Origin`. The hidden field is the proof where neither is.
pub(super) fn is_foreign(origin: &str, request: &Request<Bytes>) -> bool {
    let field = |name: HeaderName| request.headers().get(name).map(|value| value.as_bytes());
    match field(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site != b"same-origin",
        None => field(ORIGIN).is_some_and(|value| value != origin.as_bytes()),
    }
}
