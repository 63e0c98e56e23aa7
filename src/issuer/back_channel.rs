//! Direct requests to the authorization server, whoever carries them, within fixed limits.

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

/// How long one request may take in all.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that is given up after this time without an answer gives its connections up as well.
const SILENCE: Duration = Duration::from_secs(1);

/// How long an answer may be.
pub(crate) const MAX_BODY: usize = 1 << 20;

type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response<Bytes>, BoxError>> + Send>>;

/// A request to the authorization server that brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackChannelError {
    /// No answer within 5 seconds.
    #[error("no answer within the time limit")]
    Timeout,
    /// The answer is longer than 1 MiB.
    #[error("the answer is longer than the limit")]
    TooLarge,
    /// The URL is neither https nor http of an issuer that is itself on loopback.
    #[error("the URL is not https")]
    Insecure,
    /// There is no back channel: feature `reqwest` is off and none was handed in.
    #[error("there is no back channel: enable feature `reqwest` or call `with_back_channel`")]
    Missing,
    /// Nothing of the request was sent: name resolution, the connection or the TLS handshake failed.
    ///
    /// A service of [`with_back_channel`](super::AuthorizationServer::with_back_channel) that knows this
    /// returns it as its error, boxed or as a source of its error. Introspection pauses after failures of
    /// this kind only, and a refresh token that was not sent is known to be unused.
    #[error("the request was not sent: {0}")]
    NotSent(Arc<str>),
    /// The service that carries the requests failed. The request may have been received.
    #[error("the request failed: {0}")]
    Transport(Arc<str>),
}

/// The service that carries requests, without its type.
pub(super) trait Carrier: Send + Sync {
    fn carry(&self, request: Request<Bytes>) -> Carried;

    /// Uses no connection of this generation for further requests.
    fn give_up(&self, _generation: u64) {}
}

/// A request on its way, and the generation of the connections that carry it.
pub(super) struct Carried {
    pub(super) answer: Answer,
    pub(super) generation: u64,
}

struct Erased<S>(S);

impl<S> Carrier for Erased<S>
where
    S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn carry(&self, request: Request<Bytes>) -> Carried {
        let mut service = self.0.clone();
        let answer = Box::pin(async move {
            std::future::poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            service.call(request).await.map_err(Into::into)
        });
        Carried {
            answer,
            generation: 0,
        }
    }
}

/// Gives up the connections of a request that is dropped after it went unanswered for some time:
/// a pooled connection whose other end has disappeared stays silent.
struct Unanswered<'a> {
    channel: &'a BackChannel,
    carrier: &'a dyn Carrier,
    generation: u64,
    since: Duration,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let silent = self.channel.clock.monotonic().saturating_sub(self.since);
        if !self.answered && silent >= SILENCE {
            self.carrier.give_up(self.generation);
        }
    }
}

/// The back channel of one authorization server.
#[derive(Clone)]
pub(crate) struct BackChannel {
    carrier: Option<Arc<dyn Carrier>>,
    clock: SharedClock,
    plain_http: bool,
}

impl BackChannel {
    /// `plain_http` says that the issuer itself is on loopback, where http is all there is.
    pub(crate) fn new(clock: SharedClock, plain_http: bool) -> Self {
        #[cfg(feature = "reqwest")]
        let carrier: Option<Arc<dyn Carrier>> = Some(Arc::new(super::reqwest::Reqwest::default()));
        #[cfg(not(feature = "reqwest"))]
        let carrier = None;
        Self {
            carrier,
            clock,
            plain_http,
        }
    }

    pub(crate) fn with_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        self.carrier = Some(Arc::new(Erased(service)));
        self
    }

    pub(crate) fn with_clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Whether a URL may be asked at all: https, or http where the issuer itself is on loopback, and
    /// no user name in it (`J15`, `J20`).
    pub(crate) fn allows(&self, url: &str) -> bool {
        let Ok(url) = url::Url::parse(url) else {
            return false;
        };
        let scheme = match url.scheme() {
            "https" => true,
            "http" => self.plain_http && is_loopback(&url),
            _ => false,
        };
        scheme && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    }

    /// Sends a request and returns the answer with whatever status it has.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BackChannelError> {
        if !self.allows(&request.uri().to_string()) {
            return Err(BackChannelError::Insecure);
        }
        let carrier = self.carrier.as_ref().ok_or(BackChannelError::Missing)?;
        let Carried { answer, generation } = carrier.carry(request);
        let mut unanswered = Unanswered {
            channel: self,
            carrier: &**carrier,
            generation,
            since: self.clock.monotonic(),
            answered: false,
        };
        let answer = within(&*self.clock, TOTAL_TIMEOUT, answer)
            .await
            .ok_or(BackChannelError::Timeout)?;
        unanswered.answered = true;
        let answer = answer.map_err(classify)?;
        if answer.body().len() > MAX_BODY {
            return Err(BackChannelError::TooLarge);
        }
        Ok(answer)
    }

    /// Fetches a JSON document; any status but 200 is a failure, a redirect as well (`J15`).
    pub(crate) async fn fetch_json(&self, url: &str) -> Result<Response<Bytes>, FetchError> {
        let request = Request::get(url)
            .header(http::header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| BackChannelError::Insecure)?;
        let answer = self.send(request).await?;
        match answer.status() {
            http::StatusCode::OK => Ok(answer),
            status => Err(FetchError::Status(status)),
        }
    }
}

/// What the error of a carrier says. Only what certainly failed before anything was sent is `NotSent`.
fn classify(error: BoxError) -> BackChannelError {
    let error = match error.downcast::<BackChannelError>() {
        Ok(known) => return *known,
        Err(other) => other,
    };
    let mut source: Option<&(dyn Error + 'static)> = Some(&*error);
    let mut not_sent = false;
    while let Some(cause) = source {
        not_sent |= is_not_sent(cause);
        source = cause.source();
    }
    let text = with_causes(&*error).into();
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
        // Only an attempt to connect can be refused.
        return error.kind() == std::io::ErrorKind::ConnectionRefused;
    }
    matches!(
        cause.downcast_ref(),
        Some(BackChannelError::NotSent(_) | BackChannelError::Insecure | BackChannelError::Missing)
    )
}

/// The text of an error and of what lies behind it: "connection refused" stands at the very end.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Debug for BackChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannel")
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}

/// Why a document of the authorization server could not be had.
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
    /// What is logged apart from other failures.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::BackChannel(BackChannelError::NotSent(_)) => "not_sent",
            Self::BackChannel(_) => "no_answer",
            Self::Status(_) => "status",
            Self::Document(text) => text,
        }
    }
}

/// When an answer asks to be asked again, in seconds (RFC 9110 §10.2.3). A date is not worth the trouble
/// here.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether a URL names this very machine.
pub(crate) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
