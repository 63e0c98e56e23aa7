//! A page: what came back, and what can be done with it.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::html::{Element, Html};
use super::outgoing::{Outgoing, ReferrerPolicy, Source};
use super::{Browser, BrowserError, Form};

/// An answer that the browser shows, and the place from which it goes on.
#[derive(Clone, Debug)]
pub struct Page {
    pub(super) browser: Browser,
    pub(super) url: Url,
    response: Response<Bytes>,
    redirects: Vec<String>,
}

impl Page {
    pub(super) fn new(
        browser: Browser,
        url: Url,
        response: Response<Bytes>,
        redirects: Vec<String>,
    ) -> Self {
        Self {
            browser,
            url,
            response,
            redirects,
        }
    }

    /// Where it is, after all redirects.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The URLs that redirected here, in order.
    pub fn redirects(&self) -> &[String] {
        &self.redirects
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its header fields.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header field as text; `None` where it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Its body.
    pub fn body(&self) -> &Bytes {
        self.response.body()
    }

    /// Its body as text.
    pub fn html(&self) -> String {
        String::from_utf8_lossy(self.body()).into_owned()
    }

    /// What a person reads: without tags, runs of white space as one space.
    pub fn text(&self) -> String {
        Html::parse(&self.html()).text()
    }

    /// The text of its `title`.
    pub fn title(&self) -> String {
        Html::parse(&self.html())
            .first("title")
            .map(|title| title.text)
            .unwrap_or_default()
    }

    /// Follows the link with this text or this `href`.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] where there is none, and as [`Browser::navigate`].
    pub async fn click(&self, link: &str) -> Result<Self, BrowserError> {
        let href = Html::parse(&self.html())
            .all("a")
            .find(|a| a.text == link || a.attribute("href") == Some(link))
            .and_then(|a| a.attribute("href").map(str::to_owned))
            .ok_or_else(|| self.missing("link", link))?;
        self.browser
            .open(Outgoing::navigation(self.join(&href)?, self.source()))
            .await
    }

    /// Goes where a script of the page sends the window, without a person's act.
    ///
    /// # Errors
    ///
    /// As [`Browser::navigate`].
    pub async fn follow(&self, url: &str) -> Result<Self, BrowserError> {
        let outgoing = Outgoing::navigation(self.join(url)?, self.source());
        self.browser
            .open(Outgoing {
                by_person: false,
                ..outgoing
            })
            .await
    }

    /// The form with this `#id` or this path in its `action`; with an empty selector, the first.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] where there is none.
    pub fn form(&self, selector: &str) -> Result<Form, BrowserError> {
        let html = Html::parse(&self.html());
        let fits = |form: &Element| match selector.strip_prefix('#') {
            Some(id) => form.attribute("id") == Some(id),
            None if selector.is_empty() => true,
            None => {
                let action = form.attribute("action").unwrap_or_default();
                action == selector || self.join(action).is_ok_and(|url| url.path() == selector)
            }
        };
        let form = html
            .all("form")
            .find(fits)
            .ok_or_else(|| self.missing("form", selector))?;
        Form::read(self, &html, &form)
    }

    /// On the sign-in page of a [`TestServer`](crate::testing::TestServer): signs in, allows what is
    /// asked for if it is, and goes where that leads.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] where this is no sign-in page, and as [`Browser::navigate`].
    pub async fn sign_in(&self, username: &str, password: &str) -> Result<Self, BrowserError> {
        let form = self
            .form("#sign-in")?
            .fill("username", username)?
            .fill("password", password)?;
        let next = form.submit().await?;
        match next.form("#consent") {
            Ok(form) => form.press("allow").await,
            Err(_) => Ok(next),
        }
    }

    /// Sends a filled form.
    pub(super) async fn send_form(
        &self,
        method: &str,
        action: &str,
        pairs: &[(String, String)],
    ) -> Result<Self, BrowserError> {
        let mut url = self.join(action)?;
        // A temporary, since a serializer held across an await is not Send.
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        if !method.eq_ignore_ascii_case("post") {
            url.set_query(Some(&encoded));
            return self
                .browser
                .open(Outgoing::navigation(url, self.source()))
                .await;
        }
        let mut outgoing = Outgoing::navigation(url, self.source());
        outgoing.method = Method::POST;
        outgoing.body = encoded.into();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        outgoing.headers.insert(CONTENT_TYPE, form);
        self.browser.open(outgoing).await
    }

    pub(super) fn missing(&self, what: &str, which: &str) -> BrowserError {
        BrowserError::NotOnPage(format!("{what} {which:?}"), self.url.to_string())
    }

    pub(super) fn source(&self) -> Source {
        let referrer_policy = ReferrerPolicy::of(self.headers()).unwrap_or(ReferrerPolicy::Default);
        Source::Page {
            url: self.url.clone(),
            referrer_policy,
        }
    }

    pub(super) fn join(&self, url: &str) -> Result<Url, BrowserError> {
        self.url
            .join(url)
            .map_err(|_| BrowserError::Url(url.to_owned()))
    }
}
