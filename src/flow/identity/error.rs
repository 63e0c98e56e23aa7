//! Why a user could not be identified, by what the browser gets.

use std::fmt;
use std::time::Duration;

use crate::flow::error::{FlowError, FlowErrorKind, RETRY_AFTER};
use crate::issuer::BackChannelError;
use crate::protocol::sanitize::is_invisible;

/// Why an [`IdentitySource`](super::IdentitySource) did not identify a user. The message is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct IdentityError {
    kind: Kind,
    message: String,
    retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Configuration,
    Response,
    Refused,
}

impl IdentityError {
    /// Creates an error for an API that cannot be reached at the moment: 503 with `Retry-After`.
    ///
    /// [`UserApi`](super::UserApi) returns it for a timeout, a failed connection, and the statuses 429 and 5xx.
    pub fn unavailable(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Unavailable, message.as_ref())
    }

    /// Creates an error that only an operator can correct, such as a missing scope: 500.
    ///
    /// [`UserApi`](super::UserApi) returns it for the statuses 403 and 404, and for a URL that is not https.
    pub fn configuration(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Configuration, message.as_ref())
    }

    /// Creates an error for a response that cannot be used: 502.
    ///
    /// [`UserApi`](super::UserApi) returns it for every other status, redirects included, and for a body that is not strict
    /// JSON or is longer than 1 MiB.
    pub fn invalid_response(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Response, message.as_ref())
    }

    /// Creates an error for a user who may not sign in, such as one of another organization: 400, with a page that says
    /// that the login was rejected.
    pub fn refused(message: impl AsRef<str>) -> Self {
        Self::new(Kind::Refused, message.as_ref())
    }

    fn new(kind: Kind, message: &str) -> Self {
        Self {
            kind,
            message: printable(message),
            retry_after: RETRY_AFTER,
        }
    }

    pub(super) fn with_retry_after(self, field: Option<Duration>) -> Self {
        let retry_after = field.unwrap_or(self.retry_after);
        Self {
            retry_after,
            ..self
        }
    }

    /// Names the last request before the error.
    pub(in crate::flow) fn after(mut self, url: Option<String>) -> Self {
        if let Some(url) = url {
            self.message = printable(&format!("{}; its last request was GET {url}", self.message));
        }
        self
    }

    /// Converts an error of the back channel, with the request that it is about.
    pub(in crate::flow) fn of_back_channel(
        url: impl fmt::Display,
        error: &BackChannelError,
    ) -> Self {
        let message = format!("GET {url}: {error}");
        match error {
            BackChannelError::Insecure | BackChannelError::Missing => Self::configuration(message),
            BackChannelError::TooLarge | BackChannelError::Encoded(_) => {
                Self::invalid_response(message)
            }
            BackChannelError::Timeout
            | BackChannelError::NotSent(_)
            | BackChannelError::Transport(_) => Self::unavailable(message),
        }
    }
}

const MAX_MESSAGE: usize = 400;

/// Truncates a message, which may contain parts of a response, and replaces invisible characters.
fn printable(message: &str) -> String {
    let visible = |one: char| if is_invisible(one) { ' ' } else { one };
    message.chars().take(MAX_MESSAGE).map(visible).collect()
}

impl From<IdentityError> for FlowError {
    fn from(error: IdentityError) -> Self {
        let message = error.message;
        match error.kind {
            Kind::Unavailable => {
                Self::unavailable("identity_unavailable", message, error.retry_after)
            }
            Kind::Configuration => Self::new(
                FlowErrorKind::Configuration,
                "identity_configuration",
                message,
            ),
            Kind::Response => Self::new(FlowErrorKind::Server, "identity_response", message),
            Kind::Refused => Self::new(FlowErrorKind::Refused, "identity_refused", message),
        }
    }
}
