//! The back channel: direct requests to the authorization server, with a timeout and a size limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tower::util::{BoxCloneSyncService, ServiceExt as _};
use tower_service::Service;

use super::error::BackChannelError;
use super::fetch_error::FetchError;
use crate::clock::{SharedClock, within};
use crate::protocol::sanitize::log_safe;

/// The time limit of one request, including its response.
pub(super) const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum length of a response body.
pub(super) const MAX_BODY: usize = 1 << 20;

/// The service that sends requests.
pub(super) type BackChannelService =
    BoxCloneSyncService<Request<Bytes>, Response<Bytes>, tower::BoxError>;

/// The back channel of one authorization server.
#[derive(Clone)]
pub(super) struct BackChannelClient {
    service: Option<BackChannelService>,
    /// Of a configured service, which cannot be compared.
    identity: Option<Arc<()>>,
    clock: SharedClock,
    http: HttpPolicy,
}

/// Which hosts requests may be sent to over http.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpPolicy {
    Never,
    /// For an issuer on loopback.
    Loopback,
    /// For an http issuer that was explicitly permitted.
    AnyHost,
}

impl BackChannelClient {
    /// Creates a back channel.
    pub(super) fn new(
        service: Option<BackChannelService>,
        clock: SharedClock,
        http: HttpPolicy,
    ) -> Self {
        Self {
            service,
            identity: None,
            clock,
            http,
        }
    }

    pub(super) fn with_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<tower::BoxError>,
        S::Future: Send,
    {
        self.service = Some(BoxCloneSyncService::new(service.map_err(Into::into)));
        self.with_identity(Arc::default())
    }

    pub(super) fn with_identity(mut self, identity: Arc<()>) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(super) fn with_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns whether both send requests in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same_service = match (&self.identity, &other.identity) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same_service && self.http == other.http
    }

    /// Returns whether requests may be sent to `url`: https, or http if the issuer permits it, and without a user name. URLs come from the metadata, which must not redirect credentials to an insecure endpoint.
    pub(super) fn allows(&self, url: &str) -> bool {
        let Ok(url) = url::Url::parse(url) else {
            return false;
        };
        let is_scheme_allowed = match url.scheme() {
            "https" => true,
            "http" => match self.http {
                HttpPolicy::Never => false,
                HttpPolicy::Loopback => is_loopback(&url),
                HttpPolicy::AnyHost => url.has_host(),
            },
            _ => false,
        };
        is_scheme_allowed
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    }

    /// Sends a request and returns the response, whatever its status.
    pub(super) async fn send(
        &self,
        mut request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BackChannelError> {
        if !self.allows(&request.uri().to_string()) {
            return Err(BackChannelError::Insecure);
        }
        // A service may decompress responses only if it asked for it itself.
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let service = self.service.clone().ok_or(BackChannelError::Missing)?;
        let mut response = within(&*self.clock, TOTAL_TIMEOUT, service.oneshot(request))
            .await
            .ok_or(BackChannelError::Timeout)?
            .map_err(BackChannelError::classify)?;
        if response.body().len() > MAX_BODY {
            return Err(BackChannelError::TooLarge);
        }
        if let Some(encoding) = encoding(response.headers()) {
            return Err(BackChannelError::Encoded(encoding.into()));
        }
        strip_byte_order_mark(response.body_mut());
        Ok(response)
    }

    /// Fetches a JSON document. Any status but 200 is a failure. Redirects are not followed: the target would not be
    /// a URL of the trusted metadata.
    pub(super) async fn fetch_json(
        &self,
        url: &str,
        accept: &'static str,
    ) -> Result<Response<Bytes>, FetchError> {
        let request = Request::get(url)
            .header(ACCEPT, accept)
            .body(Bytes::new())
            .map_err(|_| BackChannelError::Insecure);
        let response = match request {
            Ok(request) => self.send(request).await,
            Err(error) => Err(error),
        };
        let response = response.map_err(|error| FetchError::no_response(url, &error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(FetchError::status(url, status)),
        }
    }
}

/// Returns the `Content-Encoding` of a response, for the log, unless it is `identity`.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(CONTENT_ENCODING).iter();
    let is_identity = |text: &[u8]| text.is_empty() || text.eq_ignore_ascii_case(b"identity");
    let found = fields.find(|field| !is_identity(field.as_bytes().trim_ascii()))?;
    Some(log_safe(&String::from_utf8_lossy(found.as_bytes())))
}

/// Removes a byte order mark in front of a JSON object: RFC 8259 §8.1 permits to ignore it.
fn strip_byte_order_mark(body: &mut Bytes) {
    let rest = body.strip_prefix(b"\xef\xbb\xbf");
    if rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"{")) {
        *body = body.slice(3..);
    }
}

impl fmt::Debug for BackChannelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannelClient")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

/// Checks an issuer identifier, and returns which requests it permits over http.
pub(super) fn check_issuer(issuer: &str, any_host: bool) -> Result<HttpPolicy, &'static str> {
    let url = url::Url::parse(issuer).map_err(|_| "it is not a URL")?;
    let http = match url.scheme() {
        "https" => HttpPolicy::Never,
        "http" if any_host => HttpPolicy::AnyHost,
        "http" if is_loopback(&url) => HttpPolicy::Loopback,
        _ => {
            return Err("it must be https, or http on a loopback host; \
                        see also `new_with_insecure_http` and `from_metadata`");
        }
    };
    if issuer.contains(['?', '#']) || !url.username().is_empty() || url.password().is_some() {
        return Err("it must not have a query, a fragment or a user name");
    }
    // The URL parser normalizes missing slashes, backslashes, spaces and non-ASCII characters. The issuer must
    // be the same text in `iss` and in requests, so these are rejected.
    let is_absolute = issuer.parse::<http::Uri>().is_ok_and(|uri| {
        let host = uri.authority().map_or("@", |one| one.as_str());
        uri.scheme().is_some() && !host.contains('@')
    });
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if !is_absolute || !issuer.bytes().all(is_allowed) {
        return Err("it must be an absolute URL in ASCII without backslashes");
    }
    Ok(http)
}

/// Reads `Retry-After` in seconds (RFC 9110 §10.2.3). The form with a date is ignored.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns whether the host of a URL is a loopback address or exactly `localhost`: a resolver may ask the network for
/// names below it.
pub(crate) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
