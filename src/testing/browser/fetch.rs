//! Sends a request and follows redirects (Fetch §4).

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_LENGTH,
    CONTENT_TYPE, COOKIE, HOST, HeaderName, LOCATION, ORIGIN, REFERER, SET_COOKIE, USER_AGENT,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use url::Url;

use super::outgoing::is_trustworthy;
use super::outgoing::{Initiator, Mode, OutgoingRequest, ReferrerPolicy};
use super::{Browser, BrowserError, site, transport};
use crate::clock::Clock as _;

/// The last response after all redirects.
pub(super) struct FinalResponse {
    pub(super) url: Url,
    pub(super) response: Response<Bytes>,
    pub(super) redirects: Vec<String>,
}

const MAX_REDIRECTS: usize = 20;
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

impl Browser {
    pub(super) async fn send(
        &self,
        mut outgoing: OutgoingRequest,
    ) -> Result<FinalResponse, BrowserError> {
        let mut chain: Vec<Url> = Vec::new();
        let mut tainted = false;
        loop {
            let response = self.send_once(&outgoing, &chain, tainted).await?;
            let Some(next) = location(&outgoing.url, &response) else {
                let redirects = chain.into_iter().map(String::from).collect();
                return Ok(FinalResponse {
                    url: outgoing.url,
                    response,
                    redirects,
                });
            };
            if chain.len() == MAX_REDIRECTS {
                return Err(BrowserError::TooManyRedirects(next.into()));
            }
            tainted |= !outgoing.is_same_origin() && next.origin() != outgoing.url.origin();
            if becomes_get(response.status(), &outgoing.method) {
                outgoing.method = Method::GET;
                outgoing.body = Bytes::new();
                outgoing.headers.remove(CONTENT_TYPE);
            }
            if let (
                Initiator::Page {
                    referrer_policy, ..
                },
                Some(policy),
            ) = (
                &mut outgoing.initiator,
                ReferrerPolicy::of(response.headers()),
            ) {
                *referrer_policy = policy;
            }
            chain.push(std::mem::replace(&mut outgoing.url, next));
        }
    }

    /// Sends one request without following redirects.
    pub(super) async fn send_once(
        &self,
        outgoing: &OutgoingRequest,
        chain: &[Url],
        tainted: bool,
    ) -> Result<Response<Bytes>, BrowserError> {
        let url = &outgoing.url;
        let request = self.request(outgoing, chain, tainted)?;
        let sent_origin = request.headers().get(ORIGIN).cloned();
        let result = match site::serving(&self.sites, url) {
            Some(site) => site.transport().send(request).await,
            None => transport::send_over_tcp(url, request).await,
        };
        let response = result.map_err(|source| BrowserError::Connection {
            url: url.to_string(),
            source,
        })?;
        if outgoing.has_credentials() {
            let now = self.clock.now();
            for field in response.headers().get_all(SET_COOKIE) {
                let field = String::from_utf8_lossy(field.as_bytes());
                self.jar()
                    .store(url, &field, outgoing.same_site_context(), now);
            }
        }
        if outgoing.mode == Mode::Cors && !outgoing.is_same_origin() {
            check_cors(url, &response, sent_origin.as_ref())?;
        }
        Ok(response)
    }

    fn request(
        &self,
        outgoing: &OutgoingRequest,
        chain: &[Url],
        tainted: bool,
    ) -> Result<Request<Bytes>, BrowserError> {
        let url = &outgoing.url;
        let path = url.query().map_or_else(
            || url.path().to_owned(),
            |query| format!("{}?{query}", url.path()),
        );
        let mut request = Request::builder()
            .method(&outgoing.method)
            .uri(path)
            .body(outgoing.body.clone())
            .map_err(|_| BrowserError::Url(url.to_string()))?;
        let headers = request.headers_mut();
        headers.extend(outgoing.headers.clone());
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        let port = url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        set(
            HOST,
            &format!("{}{port}", url.host_str().unwrap_or_default()),
        );
        set(USER_AGENT, "tower-oauth-test-browser");
        if !outgoing.body.is_empty() {
            set(CONTENT_LENGTH, &outgoing.body.len().to_string());
        }
        if let Some(origin) = outgoing.origin_field(tainted) {
            set(ORIGIN, &origin);
        }
        if let Some(referrer) = outgoing.referrer() {
            set(REFERER, &referrer);
        }
        if outgoing.has_credentials() {
            let cookies = self
                .jar()
                .matching(url, outgoing.same_site_context(), self.clock.now());
            let pairs: Vec<String> = cookies
                .iter()
                .map(|cookie| format!("{}={}", cookie.name, cookie.value))
                .collect();
            if !pairs.is_empty() {
                set(COOKIE, &pairs.join("; "));
            }
        }
        if self.fetch_metadata && is_trustworthy(url) {
            set(
                HeaderName::from_static("sec-fetch-site"),
                outgoing.fetch_site(chain),
            );
            set(
                HeaderName::from_static("sec-fetch-mode"),
                outgoing.mode.name(),
            );
            if outgoing.mode == Mode::Navigate && outgoing.user_activated {
                set(HeaderName::from_static("sec-fetch-user"), "?1");
            }
            headers.insert("sec-fetch-dest", outgoing.destination.clone());
        }
        let accept = if outgoing.mode == Mode::Navigate {
            HTML
        } else {
            "*/*"
        };
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static(accept));
        Ok(request)
    }
}

/// Returns the target of a redirect. It inherits the fragment if it has none (Fetch §4.4).
fn location(url: &Url, response: &Response<Bytes>) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let mut next = url
        .join(response.headers().get(LOCATION)?.to_str().ok()?)
        .ok()?;
    if next.fragment().is_none() {
        next.set_fragment(url.fragment());
    }
    Some(next)
}

fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::SEE_OTHER => *method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    }
}

/// Checks whether a script can read a cross-origin response to a request without credentials.
fn check_cors(
    url: &Url,
    response: &Response<Bytes>,
    origin: Option<&HeaderValue>,
) -> Result<(), BrowserError> {
    let allowed = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN);
    let credentials = response
        .headers()
        .contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    if allowed.is_some_and(|allowed| Some(allowed) == origin || (allowed == "*" && !credentials)) {
        return Ok(());
    }
    Err(BrowserError::Cors(url.to_string()))
}
