//! The back channel: direct requests to the authorization server, with a timeout and a size limit.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response};
use tower_service::Service;

use crate::clock::{SharedClock, within};

/// The time limit of one request, including its response.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// If a request is dropped after this time without a response, its connections are replaced.
const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(1);

/// The maximum length of a response body.
pub(crate) const MAX_BODY: usize = 1 << 20;

type ServiceError = Box<dyn Error + Send + Sync>;
pub(super) type BackChannelFuture =
    Pin<Box<dyn Future<Output = Result<Response<Bytes>, ServiceError>> + Send>>;

/// The error of a request to the authorization server that got no usable response.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackChannelError {
    /// No response arrived within 5 seconds.
    #[error("no response within the time limit")]
    Timeout,
    /// The response body is longer than 1 MiB.
    #[error("the response is longer than the limit")]
    TooLarge,
    /// The URL is not https, nor http for an issuer on loopback.
    #[error("the URL is not https")]
    Insecure,
    /// There is no back channel: feature `reqwest` is disabled and none was configured.
    #[error("there is no back channel: enable feature `reqwest` or call `with_back_channel`")]
    Missing,
    /// Nothing of the request was sent: name resolution, the connection or the TLS handshake failed.
    ///
    /// A service of [`with_back_channel`](super::AuthorizationServer::with_back_channel) should return this error,
    /// or an error that has it as a source, if it knows that nothing was sent. Introspection pauses only after
    /// this error, and a refresh token that was not sent is known to be unused.
    #[error("the request was not sent: {0}")]
    NotSent(Arc<str>),
    /// The service that sends the requests failed. The server may have received the request.
    #[error("the request failed: {0}")]
    Transport(Arc<str>),
}

/// The type-erased service that sends requests.
pub(super) trait BackChannelTransport: Send + Sync {
    fn send(&self, request: Request<Bytes>) -> SentRequest;

    /// Discards the connections of this generation.
    fn discard_connections(&self, _generation: u64) {}
}

/// A request in flight, and the generation of the connections that it uses.
pub(super) struct SentRequest {
    pub(super) response: BackChannelFuture,
    pub(super) generation: u64,
}

struct ServiceTransport<S>(S);

impl<S> BackChannelTransport for ServiceTransport<S>
where
    S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
    S::Error: Into<ServiceError>,
    S::Future: Send,
{
    fn send(&self, request: Request<Bytes>) -> SentRequest {
        let mut service = self.0.clone();
        let response = Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        });
        SentRequest {
            response,
            generation: 0,
        }
    }
}

/// Discards the connections of a request that is dropped after it got no response for some time: a pooled
/// connection whose peer has disappeared never reports an error.
struct UnansweredRequest<'a> {
    channel: &'a BackChannelClient,
    transport: &'a dyn BackChannelTransport,
    generation: u64,
    sent_at: Duration,
    is_answered: bool,
}

impl Drop for UnansweredRequest<'_> {
    fn drop(&mut self) {
        let elapsed = self.channel.clock.monotonic().saturating_sub(self.sent_at);
        if !self.is_answered && elapsed >= UNRESPONSIVE_AFTER {
            self.transport.discard_connections(self.generation);
        }
    }
}

/// The back channel of one authorization server.
#[derive(Clone)]
pub(crate) struct BackChannelClient {
    transport: Option<Arc<dyn BackChannelTransport>>,
    clock: SharedClock,
    allows_http: bool,
}

impl BackChannelClient {
    /// Creates a back channel. `allows_http` is for an issuer on loopback.
    pub(crate) fn new(clock: SharedClock, allows_http: bool) -> Self {
        #[cfg(feature = "reqwest")]
        let transport: Option<Arc<dyn BackChannelTransport>> =
            Some(Arc::new(super::reqwest::ReqwestTransport::default()));
        #[cfg(not(feature = "reqwest"))]
        let transport = None;
        Self {
            transport,
            clock,
            allows_http,
        }
    }

    pub(crate) fn with_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<ServiceError>,
        S::Future: Send,
    {
        self.transport = Some(Arc::new(ServiceTransport(service)));
        self
    }

    pub(crate) fn with_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns whether requests may be sent to `url`: https, or http if the issuer is on loopback, and without a
    /// user name. URLs come from the metadata, which must not redirect credentials to an insecure endpoint.
    pub(crate) fn allows(&self, url: &str) -> bool {
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
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BackChannelError> {
        if !self.allows(&request.uri().to_string()) {
            return Err(BackChannelError::Insecure);
        }
        let transport = self.transport.as_ref().ok_or(BackChannelError::Missing)?;
        let SentRequest {
            response,
            generation,
        } = transport.send(request);
        let mut unanswered = UnansweredRequest {
            channel: self,
            transport: &**transport,
            generation,
            sent_at: self.clock.monotonic(),
            is_answered: false,
        };
        let response = within(&*self.clock, TOTAL_TIMEOUT, response)
            .await
            .ok_or(BackChannelError::Timeout)?;
        unanswered.is_answered = true;
        let response = response.map_err(classify)?;
        if response.body().len() > MAX_BODY {
            return Err(BackChannelError::TooLarge);
        }
        Ok(response)
    }

    /// Fetches a JSON document. Any status but 200 is a failure. Redirects are not followed: the target would not be
    /// a URL of the trusted metadata.
    pub(crate) async fn fetch_json(&self, url: &str) -> Result<Response<Bytes>, FetchError> {
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

/// Classifies the error of a service. It is `NotSent` only if the request certainly failed before it was sent.
fn classify(error: ServiceError) -> BackChannelError {
    let error = match error.downcast::<BackChannelError>() {
        Ok(error) => return *error,
        Err(error) => error,
    };
    let mut source: Option<&(dyn Error + 'static)> = Some(&*error);
    let mut not_sent = false;
    while let Some(cause) = source {
        not_sent |= is_not_sent(cause);
        source = cause.source();
    }
    let text = with_sources(&*error).into();
    match not_sent {
        true => BackChannelError::NotSent(text),
        false => BackChannelError::Transport(text),
    }
}

fn is_not_sent(cause: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
        return error.is_connect() || error.is_builder();
    }
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        // A connection is refused only when it is established.
        return error.kind() == std::io::ErrorKind::ConnectionRefused;
    }
    matches!(
        cause.downcast_ref(),
        Some(BackChannelError::NotSent(_) | BackChannelError::Insecure | BackChannelError::Missing)
    )
}

/// Formats an error and its sources: the cause, such as "connection refused", is the last source.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Debug for BackChannelClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannelClient")
            .field("allows_http", &self.allows_http)
            .finish_non_exhaustive()
    }
}

/// The error of fetching a document from the authorization server.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    BackChannel(#[from] BackChannelError),
    #[error("the status was {0}")]
    Status(http::StatusCode),
    #[error("{0}")]
    Document(&'static str),
}

impl FetchError {
    /// Returns the kind, by which log events are rate limited.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::BackChannel(BackChannelError::NotSent(_)) => "not_sent",
            Self::BackChannel(_) => "no_response",
            Self::Status(_) => "status",
            Self::Document(text) => text,
        }
    }
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
