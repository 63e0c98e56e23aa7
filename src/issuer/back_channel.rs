//! The back channel: direct requests to the authorization server, with a timeout and a size limit.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use tower::util::{BoxCloneSyncService, ServiceExt as _};
use tower_service::Service;

use super::error::{BackChannelError, FetchError};
use crate::clock::{SharedClock, within};

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
    clock: SharedClock,
    allows_http: bool,
}

impl BackChannelClient {
    /// Creates a back channel. `allows_http` is for an issuer on loopback.
    pub(super) fn new(
        service: Option<BackChannelService>,
        clock: SharedClock,
        allows_http: bool,
    ) -> Self {
        Self {
            service,
            clock,
            allows_http,
        }
    }

    pub(super) fn with_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<tower::BoxError>,
        S::Future: Send,
    {
        self.service = Some(BoxCloneSyncService::new(service.map_err(Into::into)));
        self
    }

    pub(super) fn with_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns whether requests may be sent to `url`: https, or http if the issuer is on loopback, and without a
    /// user name. URLs come from the metadata, which must not redirect credentials to an insecure endpoint.
    pub(super) fn allows(&self, url: &str) -> bool {
        let Ok(url) = url::Url::parse(url) else {
            return false;
        };
        let is_scheme_allowed = match url.scheme() {
            "https" => true,
            "http" => self.allows_http && is_loopback(&url),
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
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BackChannelError> {
        if !self.allows(&request.uri().to_string()) {
            return Err(BackChannelError::Insecure);
        }
        let service = self.service.clone().ok_or(BackChannelError::Missing)?;
        let response = within(&*self.clock, TOTAL_TIMEOUT, service.oneshot(request))
            .await
            .ok_or(BackChannelError::Timeout)?
            .map_err(BackChannelError::classify)?;
        if response.body().len() > MAX_BODY {
            return Err(BackChannelError::TooLarge);
        }
        Ok(response)
    }

    /// Fetches a JSON document. Any status but 200 is a failure. Redirects are not followed: the target would not be
    /// a URL of the trusted metadata.
    pub(super) async fn fetch_json(&self, url: &str) -> Result<Response<Bytes>, FetchError> {
        let request = Request::get(url)
            .header(http::header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| BackChannelError::Insecure)?;
        let response = self.send(request).await?;
        match response.status() {
            http::StatusCode::OK => Ok(response),
            status => Err(FetchError::Status(status)),
        }
    }
}

impl fmt::Debug for BackChannelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannelClient")
            .field("allows_http", &self.allows_http)
            .finish_non_exhaustive()
    }
}

/// Checks an issuer identifier, and returns whether it allows requests over http.
pub(super) fn check_issuer(issuer: &str) -> Result<bool, &'static str> {
    let url = url::Url::parse(issuer).map_err(|_| "it is not a URL")?;
    let allows_http = match url.scheme() {
        "https" => false,
        "http" if is_loopback(&url) => true,
        _ => return Err("it must be https, or http on a loopback host"),
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
    Ok(allows_http)
}

/// Reads `Retry-After` in seconds (RFC 9110 §10.2.3). The form with a date is ignored.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns whether the host of a URL is a loopback address or `localhost`.
pub(crate) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
