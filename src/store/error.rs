//! Errors of store operations.

use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

use crate::protocol::sanitize::{log_safe, without_secrets};
use crate::telemetry::StoreFailure;

/// A store operation failed. Layers respond 503, since the caller is not at fault.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The capacity for new entries of this class is exhausted. The store may still accept entries of another
    /// [class](super::Key::class).
    #[error("the store is full")]
    Full,
    /// The store cannot be reached, or it is unknown whether the operation took effect.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Creates [`StoreError::Unavailable`] with the given cause, such as the error of a database driver.
    ///
    /// The cause and its sources are logged, without the user information of URLs and without values of `password=`. A
    /// [`std::io::Error`] among them is counted by its kind.
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(reason.into().into())
    }
}

impl StoreError {
    /// Returns the category of the failure, for metrics and logs.
    pub(super) fn failure(&self) -> StoreFailure {
        if matches!(self, Self::Full) {
            return StoreFailure::Full;
        }
        let known = causes(self).find_map(|cause| {
            let known = cause
                .downcast_ref()
                .map(|known: &KnownFailure| known.failure);
            known.or_else(|| cause.downcast_ref().map(io_failure))
        });
        known.unwrap_or(StoreFailure::Unavailable)
    }

    /// Returns the error and its causes as one line, quoted for the log.
    pub(super) fn describe(&self) -> String {
        let causes: Vec<String> = causes(self).map(ToString::to_string).collect();
        log_safe(&without_secrets(&causes.join(": ")))
    }
}

/// Returns the cause of an error, its cause, and so on; for [`StoreError::Full`] the error itself.
fn causes(error: &StoreError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = match error {
        StoreError::Full => error,
        StoreError::Unavailable(cause) => &**cause,
    };
    // Errors can be their own source.
    std::iter::successors(Some(first), |error| (*error).source()).take(MAX_CAUSES)
}

const MAX_CAUSES: usize = 8;

pub(super) fn io_failure(error: &io::Error) -> StoreFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => StoreFailure::Refused,
        io::ErrorKind::TimedOut => StoreFailure::TimedOut,
        _ => StoreFailure::Unavailable,
    }
}

/// An error whose category the store knows.
#[derive(Debug)]
pub(super) struct KnownFailure {
    pub(super) failure: StoreFailure,
    pub(super) message: String,
}

impl fmt::Display for KnownFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for KnownFailure {}
