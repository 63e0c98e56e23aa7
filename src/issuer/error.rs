//! Errors of requests to the authorization server, and of what is fetched from it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::random::RandomError;

/// The error of a request to the authorization server that got no usable response.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackChannelError {
    /// No response arrived within 5 seconds.
    #[error("no response within the time limit of 5 seconds")]
    Timeout,
    /// The response body is longer than 1 MiB.
    #[error("the response is longer than the limit of 1 MiB")]
    TooLarge,
    /// The response has a `Content-Encoding`, although the request accepts none.
    #[error("the response has Content-Encoding {0}, expected none")]
    Encoded(Arc<str>),
    /// The URL is not https, nor http for an issuer that permits it.
    #[error("the URL is not https, or has a user name or a fragment")]
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

impl BackChannelError {
    /// Returns whether nothing of the request was sent.
    pub(crate) fn is_not_sent(&self) -> bool {
        matches!(self, Self::Insecure | Self::Missing | Self::NotSent(_))
    }

    /// Classifies the error of a service. It is `NotSent` only if the request certainly failed before it was sent.
    pub(super) fn classify(error: Box<dyn Error + Send + Sync>) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        let is_not_sent = sources(&*error).any(is_not_sent);
        // The cause, such as "connection refused", is the last source.
        let texts: Vec<_> = sources(&*error).map(ToString::to_string).collect();
        let text = texts.join(": ").into();
        match is_not_sent {
            true => Self::NotSent(text),
            false => Self::Transport(text),
        }
    }
}

/// Why a request cannot be authenticated. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AuthenticationError {
    /// Only an operator can correct it.
    #[error("{0}")]
    Configuration(String),
    /// The credential is not available at the moment.
    #[error("{0}")]
    Unavailable(String),
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Iterates over an error and its sources.
fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
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

/// The error if metadata or keys could not be fetched. No token was validated.
///
/// The text is the one that the log shows: the address, what was found there and what was expected.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    reason: Arc<str>,
    retry_after: Duration,
    is_configuration: bool,
}

impl Unavailable {
    pub(crate) fn new(reason: &str, retry_after: Duration) -> Self {
        Self {
            reason: reason.into(),
            retry_after,
            is_configuration: false,
        }
    }

    /// Creates an error that only an operator can correct.
    pub(crate) fn configuration(reason: &str) -> Self {
        Self {
            is_configuration: true,
            ..Self::new(reason, Duration::ZERO)
        }
    }

    /// Returns the time after which a new attempt is worthwhile.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// Returns whether this is an error of the configuration, such as an issuer that the authorization server does not
    /// have, and not an outage. Layers then respond 500 instead of 503.
    pub fn is_configuration_error(&self) -> bool {
        self.is_configuration
    }
}

/// The error of selecting the key for a token.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key set has no such key")]
    Unknown,
    #[error("the key is not for this algorithm")]
    Unfit,
    #[error("several keys match")]
    Ambiguous,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
