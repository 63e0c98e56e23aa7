//! Pages and the navigation from them.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::html::{Element, Html};
use super::outgoing::{Initiator, OutgoingRequest, ReferrerPolicy};
use super::{Browser, BrowserError, Form};

/// A response that the browser shows. Links, forms and requests of scripts start from it.
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

    /// Returns the URL after all redirects.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Returns the URLs that redirected to this page, in order.
    pub fn redirects(&self) -> &[String] {
        &self.redirects
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns a header as text, or `None` if it is absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        self.response.body()
    }

    /// Returns the body as text.
    pub fn html(&self) -> String {
        String::from_utf8_lossy(self.body()).into_owned()
    }

    /// Returns the visible text, without tags and with white space collapsed.
    pub fn text(&self) -> String {
        Html::parse(&self.html()).text()
    }

    /// Returns the text of the `title` element.
    pub fn title(&self) -> String {
        Html::parse(&self.html())
            .first("title")
            .map(|title| title.text)
            .unwrap_or_default()
    }

    /// Follows the link with this text or `href`.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] if there is none, and those of [`Browser::navigate`].
    pub async fn click(&self, link: &str) -> Result<Self, BrowserError> {
        let href = Html::parse(&self.html())
            .all("a")
            .find(|a| a.text == link || a.attribute("href") == Some(link))
            .and_then(|a| a.attribute("href").map(str::to_owned))
            .ok_or_else(|| self.missing("link", link))?;
        self.browser
            .open(OutgoingRequest::navigation(
                self.join(&href)?,
                self.initiator(),
            ))
            .await
    }

    /// Navigates as a script of the page does, without user activation.
    ///
    /// # Errors
    ///
    /// Those of [`Browser::navigate`].
    pub async fn follow(&self, url: &str) -> Result<Self, BrowserError> {
        let outgoing = OutgoingRequest::navigation(self.join(url)?, self.initiator());
        self.browser
            .open(OutgoingRequest {
                user_activated: false,
                ..outgoing
            })
            .await
    }

    /// Returns the form with this `#id` or this path as its `action`. An empty selector matches the
    /// first form.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] if there is none.
    pub fn form(&self, selector: &str) -> Result<Form, BrowserError> {
        let html = Html::parse(&self.html());
        let matches = |form: &Element| match selector.strip_prefix('#') {
            Some(id) => form.attribute("id") == Some(id),
            None if selector.is_empty() => true,
            None => {
                let action = form.attribute("action").unwrap_or_default();
                action == selector || self.join(action).is_ok_and(|url| url.path() == selector)
            }
        };
        let form = html
            .all("form")
            .find(matches)
            .ok_or_else(|| self.missing("form", selector))?;
        Form::parse(self, &html, &form)
    }

    /// Signs in on the sign-in page of a [`TestServer`](crate::testing::TestServer), gives consent if
    /// asked, submits the response as the script of that page does in the response mode `form_post`, and
    /// follows the redirects.
    ///
    /// # Errors
    ///
    /// [`BrowserError::NotOnPage`] if this is not a sign-in page, and those of [`Browser::navigate`].
    pub async fn sign_in(&self, username: &str, password: &str) -> Result<Self, BrowserError> {
        let form = self
            .form("#sign-in")?
            .fill("username", username)?
            .fill("password", password)?;
        let next = form.submit().await?;
        let next = match next.form("#consent") {
            Ok(form) => form.press("allow").await?,
            Err(_) => next,
        };
        match next.form("#form-post") {
            Ok(form) => form.submit().await,
            Err(_) => Ok(next),
        }
    }

    /// Submits a form with these fields.
    pub(super) async fn send_form(
        &self,
        method: &str,
        action: &str,
        pairs: &[(String, String)],
    ) -> Result<Self, BrowserError> {
        let mut url = self.join(action)?;
        // Not kept across an await: the serializer is not Send.
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        if !method.eq_ignore_ascii_case("post") {
            url.set_query(Some(&encoded));
            return self
                .browser
                .open(OutgoingRequest::navigation(url, self.initiator()))
                .await;
        }
        let mut outgoing = OutgoingRequest::navigation(url, self.initiator());
        outgoing.method = Method::POST;
        outgoing.body = encoded.into();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        outgoing.headers.insert(CONTENT_TYPE, form);
        self.browser.open(outgoing).await
    }

    pub(super) fn missing(&self, what: &str, which: &str) -> BrowserError {
        BrowserError::NotOnPage(format!("{what} {which:?}"), self.url.to_string())
    }

    pub(super) fn initiator(&self) -> Initiator {
        let referrer_policy = ReferrerPolicy::of(self.headers()).unwrap_or(ReferrerPolicy::Default);
        Initiator::Page {
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
