//! Requests of a page's scripts, elements and frames.

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use super::html::Html;
use super::outgoing::{Mode, OutgoingRequest};
use super::{BrowserError, Page};

impl Page {
    /// Sends a request as a script's `fetch()` does and follows redirects. Cookies are sent to the
    /// page's own origin only. The URL may be relative.
    ///
    /// There is no preflight: cross-origin requests must be simple (Fetch, CORS-safelisted).
    ///
    /// # Errors
    ///
    /// [`BrowserError::Cors`] if CORS does not allow the request or reading the response, and those of
    /// [`Browser::navigate`](super::Browser::navigate).
    pub async fn fetch<B: Into<Bytes>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Bytes>, BrowserError> {
        let outgoing = self.script_request(request.map(Into::into), Mode::Cors)?;
        Ok(self.browser.send(outgoing).await?.response)
    }

    /// Sends a request as `fetch(.., { mode: "no-cors", credentials: "include" })` does: a simple
    /// request to any origin, with the cookies that `SameSite` allows. A real script could not read
    /// the response.
    ///
    /// # Errors
    ///
    /// [`BrowserError::Cors`] if the request is not simple, and those of
    /// [`Browser::navigate`](super::Browser::navigate).
    pub async fn fetch_no_cors<B: Into<Bytes>>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Bytes>, BrowserError> {
        let request = request.map(Into::into);
        if !is_simple(request.method(), request.headers()) {
            return Err(BrowserError::Cors(request.uri().to_string()));
        }
        let outgoing = self.script_request(request, Mode::NoCors)?;
        Ok(self.browser.send(outgoing).await?.response)
    }

    /// Sends the opening handshake of a script's `new WebSocket(url)` (RFC 6455 §4.1) to any origin, with
    /// `Origin` and the cookies that `SameSite` allows, and returns the response. No frames follow.
    ///
    /// The handshake has fetch metadata, which some browsers omit; see
    /// [`Browser::without_fetch_metadata`](super::Browser::without_fetch_metadata).
    ///
    /// # Errors
    ///
    /// Those of [`Browser::navigate`](super::Browser::navigate).
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
        let outgoing = OutgoingRequest {
            headers,
            mode: Mode::WebSocket,
            destination: HeaderValue::from_static("websocket"),
            top_level: false,
            ..OutgoingRequest::navigation(target, self.initiator())
        };
        // Browsers do not follow redirects of a handshake.
        self.browser.send_once(&outgoing, &[], false).await
    }

    /// Loads a URL as an embedded resource with this destination: `image`, `script`, `iframe`.
    ///
    /// # Errors
    ///
    /// Those of [`Browser::navigate`](super::Browser::navigate).
    pub async fn load(
        &self,
        url: &str,
        destination: &'static str,
    ) -> Result<Response<Bytes>, BrowserError> {
        let outgoing = OutgoingRequest {
            mode: if destination == "iframe" {
                Mode::Navigate
            } else {
                Mode::NoCors
            },
            destination: HeaderValue::from_static(destination),
            top_level: false,
            user_activated: false,
            ..OutgoingRequest::navigation(self.join(url)?, self.initiator())
        };
        Ok(self.browser.send(outgoing).await?.response)
    }

    /// Loads all frames of the page, in order.
    ///
    /// # Errors
    ///
    /// Those of [`Browser::navigate`](super::Browser::navigate).
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

    fn script_request(
        &self,
        request: Request<Bytes>,
        mode: Mode,
    ) -> Result<OutgoingRequest, BrowserError> {
        let (parts, body) = request.into_parts();
        let url = self.join(&parts.uri.to_string())?;
        if url.origin() != self.url.origin() && !is_simple(&parts.method, &parts.headers) {
            return Err(BrowserError::Cors(url.into()));
        }
        Ok(OutgoingRequest {
            method: parts.method,
            headers: parts.headers,
            body,
            mode,
            destination: HeaderValue::from_static("empty"),
            top_level: false,
            ..OutgoingRequest::navigation(url, self.initiator())
        })
    }
}

/// Returns whether a cross-origin request needs no preflight.
fn is_simple(method: &Method, headers: &HeaderMap) -> bool {
    const TYPES: [&str; 3] = [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
    ];
    let is_simple_type = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| TYPES.iter().any(|simple| value.starts_with(simple)))
    };
    [Method::GET, Method::HEAD, Method::POST].contains(method)
        && headers.iter().all(|(name, value)| match name.as_str() {
            "accept" | "accept-language" | "content-language" => true,
            "content-type" => is_simple_type(value),
            _ => false,
        })
}
