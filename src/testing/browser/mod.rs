//! A browser for tests: cookies, redirects, forms and the headers that browsers send.

mod cookie;
mod cookie_jar;
mod fetch;
mod form;
mod html;
mod outgoing;
mod page;
mod site;
mod subresource;
mod transport;

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower_service::Service;
use url::Url;

pub use cookie::{Cookie, CookieSameSite};
pub use form::Form;
pub(super) use outgoing::origin;
pub use page::Page;
pub(super) use site::Site;
pub(super) use transport::{Transport, send_over_tcp};

use self::cookie_jar::{CookieJar, SameSiteContext};
use self::outgoing::{Initiator, OutgoingRequest};
use super::clock::ManualClock;
use crate::ConfigError;
use crate::clock::Clock as _;

/// A browser with a cookie jar that follows links, redirects and forms.
///
/// It implements what a server can observe: cookies (RFC 6265bis) with `SameSite`, `Secure`, `HttpOnly`,
/// `Path`, `Domain` and the name prefixes; `Sec-Fetch-*`, `Origin` and `Referer`, also across
/// redirects; CORS for the requests of scripts. It does not run scripts. Origins are services in this
/// process, or `http` on loopback over TCP.
///
/// It is stricter than real browsers in two ways: a `Secure` cookie requires https even on loopback,
/// and a cookie without `SameSite` is `Lax` from the start. The site of a host is its last two
/// labels.
///
/// Clones share the cookie jar, like windows of one browser.
#[derive(Clone, Debug)]
pub struct Browser {
    sites: Vec<Site>,
    clock: ManualClock,
    fetch_metadata: bool,
    jar: Arc<Mutex<CookieJar>>,
}

/// An error that kept the browser from loading a page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// The URL cannot be parsed.
    #[error("{0:?} is not a valid URL")]
    Url(String),
    /// The request failed.
    #[error("no response from {url}")]
    Connection {
        /// The URL of the request.
        url: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There were more than 20 redirects.
    #[error("too many redirects, the last one to {0}")]
    TooManyRedirects(String),
    /// The page has no such link, form, field or button.
    #[error("no {0} on the page {1}")]
    NotOnPage(String, String),
    /// CORS does not allow the script to send the request or to read the response (Fetch §3.3).
    #[error("blocked by CORS: {0}")]
    Cors(String),
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// Creates a browser without cookies. It uses the system clock and can reach `http` on loopback.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sites: Vec::new(),
            clock: ManualClock::ticking(),
            fetch_metadata: true,
            jar: Arc::default(),
        }
    }

    /// Connects an origin, for example `https://shop.example.test`, to a service in this process, for
    /// example an axum router.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if `origin` is not an origin.
    pub fn with_origin<S, B>(self, origin: &str, service: S) -> Result<Self, ConfigError>
    where
        S: Service<http::Request<Full<Bytes>>, Response = Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let origin = outgoing::origin(origin)?;
        Ok(self.with_site(Site::new(origin, "", Transport::new(service))))
    }

    /// Connects a service. Replaces the one at the same origin and path.
    pub(super) fn with_site(mut self, site: Site) -> Self {
        self.sites.retain(|other| !other.is_same(&site));
        self.sites.push(site);
        self
    }

    /// Sets the clock by which cookies expire.
    #[must_use]
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = clock;
        self
    }

    /// Sends no `Sec-Fetch-*` headers, as browsers before 2023.
    #[must_use]
    pub fn without_fetch_metadata(mut self) -> Self {
        self.fetch_metadata = false;
        self
    }

    /// Opens a URL as if typed into the address bar.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] if no response was received. A response with an error status is a page.
    pub async fn navigate(&self, url: &str) -> Result<Page, BrowserError> {
        let parsed = Url::parse(url).map_err(|_| BrowserError::Url(url.to_owned()))?;
        self.open(OutgoingRequest::navigation(parsed, Initiator::AddressBar))
            .await
    }

    /// Creates a page with this HTML without a request, for example the page of an attacker.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Url`] if the URL cannot be parsed.
    pub fn document(&self, url: &str, html: &str) -> Result<Page, BrowserError> {
        let parsed = Url::parse(url).map_err(|_| BrowserError::Url(url.to_owned()))?;
        let response = Response::new(Bytes::copy_from_slice(html.as_bytes()));
        Ok(Page::new(self.clone(), parsed, response, Vec::new()))
    }

    /// Returns the cookies that a same-site request to this URL sends.
    pub fn cookies(&self, url: &str) -> Vec<Cookie> {
        let now = self.clock.now();
        Url::parse(url)
            .map(|url| {
                self.jar()
                    .matching(&url, SameSiteContext::CookieSameSite, now)
            })
            .unwrap_or_default()
    }

    /// Returns the cookie of this name that a same-site request to this URL sends.
    pub fn cookie(&self, url: &str, name: &str) -> Option<Cookie> {
        self.cookies(url)
            .into_iter()
            .find(|cookie| cookie.name() == name)
    }

    /// Returns `document.cookie` of a page at this URL.
    pub fn script_cookies(&self, url: &str) -> String {
        let visible: Vec<String> = self
            .cookies(url)
            .iter()
            .filter(|cookie| !cookie.is_http_only())
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
            .collect();
        visible.join("; ")
    }

    /// Stores a cookie as if received in `Set-Cookie` from this URL. The cookie is ignored if the rules
    /// reject it; check with [`cookie`](Self::cookie).
    pub fn set_cookie(&self, url: &str, set_cookie: &str) {
        let now = self.clock.now();
        if let Ok(url) = Url::parse(url) {
            self.jar()
                .store(&url, set_cookie, SameSiteContext::CookieSameSite, now);
        }
    }

    /// Removes all cookies.
    pub fn clear_cookies(&self) {
        self.jar().clear();
    }

    fn jar(&self) -> MutexGuard<'_, CookieJar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, outgoing: OutgoingRequest) -> Result<Page, BrowserError> {
        let last = self.send(outgoing).await?;
        Ok(Page::new(
            self.clone(),
            last.url,
            last.response,
            last.redirects,
        ))
    }
}
