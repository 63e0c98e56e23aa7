//! A browser for tests: the rules that decide what a server gets to see, without a window.

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
use url::{Origin, Url};

pub use cookie::{Cookie, SameSite};
pub use form::Form;
pub use page::Page;
pub(super) use site::origin;
pub(super) use transport::{Transport, send_over_tcp};

use self::cookie_jar::{CookieJar, Reach};
use self::outgoing::{Outgoing, Source};
use super::clock::ManualClock;
use crate::ConfigError;
use crate::clock::Clock as _;

/// A browser with a cookie jar, that follows links, redirects and forms.
///
/// It keeps to the rules that matter to a server: cookies by RFC 6265bis with `SameSite`, `Secure`,
/// `HttpOnly`, `Path`, `Domain` and the name prefixes; `Sec-Fetch-*`, `Origin` and `Referer` as a page
/// would send them, over redirects too; a script's requests within the limits of CORS. It runs no
/// scripts. Origins are services of this process, or `http` on loopback over TCP.
///
/// Two differences from browsers at large, both on the strict side: a cookie with `Secure` needs https
/// even on loopback, and one without `SameSite` is `Lax` from its first second. The site of a host is
/// its last two labels.
///
/// Clones are windows of the same browser: they share the jar.
#[derive(Clone, Debug)]
pub struct Browser {
    origins: Vec<(Origin, Transport)>,
    clock: ManualClock,
    fetch_metadata: bool,
    jar: Arc<Mutex<CookieJar>>,
}

/// Why the browser has no page to show.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// A URL that cannot be read.
    #[error("{0:?} is not a URL that can be opened")]
    Url(String),
    /// Nobody answered.
    #[error("no answer from {url}")]
    Connection {
        /// Who was asked.
        url: String,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// More than 20 redirects.
    #[error("more redirects than a browser follows, at last to {0}")]
    TooManyRedirects(String),
    /// The page has no such link, form, field or button.
    #[error("no {0} on the page {1}")]
    NotOnPage(String, String),
    /// A script may not read the answer, or not send the request (Fetch, CORS protocol).
    #[error("the origin does not allow scripts of other origins: {0}")]
    Cors(String),
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// A browser without cookies that knows no origin but those on loopback, by the system's time.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origins: Vec::new(),
            clock: ManualClock::ticking(),
            fetch_metadata: true,
            jar: Arc::default(),
        }
    }

    /// Sends requests for this origin, say `https://shop.example.test`, into this service: an axum
    /// router, for instance.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] where it is more or less than an origin.
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
        Ok(self.with_service(site::origin(origin)?, service))
    }

    pub(super) fn with_service<S, B>(mut self, origin: Origin, service: S) -> Self
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
        self.origins.retain(|(other, _)| *other != origin);
        self.origins.push((origin, Transport::new(service)));
        self
    }

    /// Lets cookies grow old by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: ManualClock) -> Self {
        self.clock = clock;
        self
    }

    /// Sends no `Sec-Fetch-*`, as browsers from before 2023 do.
    #[must_use]
    pub fn without_fetch_metadata(mut self) -> Self {
        self.fetch_metadata = false;
        self
    }

    /// Opens a URL as if it were typed into the address bar.
    ///
    /// # Errors
    ///
    /// [`BrowserError`] where no page comes of it. A page with an error status is a page.
    pub async fn navigate(&self, url: &str) -> Result<Page, BrowserError> {
        let parsed = Url::parse(url).map_err(|_| BrowserError::Url(url.to_owned()))?;
        self.open(Outgoing::navigation(parsed, Source::AddressBar))
            .await
    }

    /// A page that was never fetched: one of an attacker's, whose links and forms are then used.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Url`] where the URL cannot be read.
    pub fn document(&self, url: &str, html: &str) -> Result<Page, BrowserError> {
        let parsed = Url::parse(url).map_err(|_| BrowserError::Url(url.to_owned()))?;
        let response = Response::new(Bytes::copy_from_slice(html.as_bytes()));
        Ok(Page::new(self.clone(), parsed, response, Vec::new()))
    }

    /// All cookies that a request to this URL takes along from its own site.
    pub fn cookies(&self, url: &str) -> Vec<Cookie> {
        let now = self.clock.now();
        Url::parse(url)
            .map(|url| self.jar().matching(&url, Reach::SameSite, now))
            .unwrap_or_default()
    }

    /// The cookie of this name among them.
    pub fn cookie(&self, url: &str, name: &str) -> Option<Cookie> {
        self.cookies(url)
            .into_iter()
            .find(|cookie| cookie.name() == name)
    }

    /// What `document.cookie` shows to a script of this page.
    pub fn script_cookies(&self, url: &str) -> String {
        let visible: Vec<String> = self
            .cookies(url)
            .iter()
            .filter(|cookie| !cookie.is_http_only())
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
            .collect();
        visible.join("; ")
    }

    /// Puts a cookie into the jar as if this URL had answered with it in `Set-Cookie`; whether it was
    /// taken shows in [`cookie`](Self::cookie).
    pub fn set_cookie(&self, url: &str, set_cookie: &str) {
        let now = self.clock.now();
        if let Ok(url) = Url::parse(url) {
            self.jar().store(&url, set_cookie, Reach::SameSite, now);
        }
    }

    /// Empties the jar.
    pub fn clear_cookies(&self) {
        self.jar().clear();
    }

    fn jar(&self) -> MutexGuard<'_, CookieJar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self, outgoing: Outgoing) -> Result<Page, BrowserError> {
        let arrived = self.send(outgoing).await?;
        Ok(Page::new(
            self.clone(),
            arrived.url,
            arrived.response,
            arrived.redirects,
        ))
    }
}
