//! What a page asks for besides itself: by its scripts, its elements and its frames.

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use super::html::Html;
use super::outgoing::{Mode, Outgoing};
use super::{BrowserError, Page};

impl Page {
    /// What a script's `fetch()` brings, with cookies to the page's own origin only; the URL may be
    /// relative. Redirects are followed.
    ///
    /// Across origins only simple requests are sent (Fetch, CORS-safelisted): there is no preflight.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Cors`] where the script may not send it or not read the answer, and as
    /// [`Browser::navigate`](super::Browser::navigate).
    pub async fn fetch<B: Into<Bytes>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Bytes>, BrowserError> {
        let outgoing = self.of_script(request.map(Into::into), Mode::Cors)?;
        Ok(self.browser.send(outgoing).await?.response)
    }

    /// What a script sends by `fetch(.., { mode: "no-cors", credentials: "include" })`: a simple
    /// request with the cookies that `SameSite` lets go, to any origin. The script itself would not
    /// see the answer.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Cors`] where the request is not simple, and as [`Browser::navigate`](super::Browser::navigate).
    pub async fn fetch_no_cors<B: Into<Bytes>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Bytes>, BrowserError> {
        let request = request.map(Into::into);
        if !is_simple(request.method(), request.headers()) {
            return Err(BrowserError::Cors(request.uri().to_string()));
        }
        let outgoing = self.of_script(request, Mode::NoCors)?;
        Ok(self.browser.send(outgoing).await?.response)
    }

    /// The answer to the handshake of a script's `new WebSocket(url)` (RFC 6455 §4.1): with `Origin`,
    /// and with the cookies that `SameSite` lets go, to any origin. Nothing is spoken after it.
    ///
    /// It sends fetch metadata, which not every browser does here; see
    /// [`Browser::without_fetch_metadata`](super::Browser::without_fetch_metadata).
    ///
    /// # Errors
    ///
    /// As [`Browser::navigate`](super::Browser::navigate).
    pub async fn open_web_socket(&self, url: &str) -> Result<Response<Bytes>, BrowserError> {
        let mut target = self.join(url)?;
        let scheme = match target.scheme() {
            "wss" | "https" => "https",
            _ => "http",
        };
        target
            .set_scheme(scheme)
            .map_err(|()| BrowserError::Url(url.to_owned()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (CONNECTION, "Upgrade"),
            (UPGRADE, "websocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let outgoing = Outgoing {
            headers,
            mode: Mode::WebSocket,
            destination: HeaderValue::from_static("websocket"),
            top_level: false,
            ..Outgoing::navigation(target, self.source())
        };
        // A handshake follows no redirect.
        self.browser.hop(&outgoing, &[], false).await
    }

    /// What the page gets that embeds this URL, by its destination: `image`, `script`, `iframe`.
    ///
    /// # Errors
    ///
    /// As [`Browser::navigate`](super::Browser::navigate).
    pub async fn load(
        &self,
        url: &str,
        destination: &'static str,
    ) -> Result<Response<Bytes>, BrowserError> {
        let outgoing = Outgoing {
            mode: if destination == "iframe" {
                Mode::Navigate
            } else {
                Mode::NoCors
            },
            destination: HeaderValue::from_static(destination),
            top_level: false,
            by_person: false,
            ..Outgoing::navigation(self.join(url)?, self.source())
        };
        Ok(self.browser.send(outgoing).await?.response)
    }

    /// What all its frames show, in order.
    ///
    /// # Errors
    ///
    /// As [`Browser::navigate`](super::Browser::navigate).
    pub async fn load_frames(&self) -> Result<Vec<Response<Bytes>>, BrowserError> {
        let sources: Vec<String> = Html::parse(&self.html())
            .all("iframe")
            .filter_map(|frame| frame.attribute("src").map(str::to_owned))
            .collect();
        let mut loaded = Vec::with_capacity(sources.len());
        for source in sources {
            loaded.push(self.load(&source, "iframe").await?);
        }
        Ok(loaded)
    }

    fn of_script(&self, request: Request<Bytes>, mode: Mode) -> Result<Outgoing, BrowserError> {
        let (parts, body) = request.into_parts();
        let url = self.join(&parts.uri.to_string())?;
        if url.origin() != self.url.origin() && !is_simple(&parts.method, &parts.headers) {
            return Err(BrowserError::Cors(url.into()));
        }
        Ok(Outgoing {
            method: parts.method,
            headers: parts.headers,
            body,
            mode,
            destination: HeaderValue::from_static("empty"),
            top_level: false,
            ..Outgoing::navigation(url, self.source())
        })
    }
}

/// What a script may send to another origin without asking first.
fn is_simple(method: &Method, headers: &HeaderMap) -> bool {
    const TYPES: [&str; 3] = [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
    ];
    let plain_type = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| TYPES.iter().any(|plain| value.starts_with(plain)))
    };
    [Method::GET, Method::HEAD, Method::POST].contains(method)
        && headers.iter().all(|(name, value)| match name.as_str() {
            "accept" | "accept-language" | "content-language" => true,
            "content-type" => plain_type(value),
            _ => false,
        })
}
