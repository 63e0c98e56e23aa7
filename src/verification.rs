//! [`Verification`]: a result that is known immediately or after I/O.
//!
//! Each check has one function that returns it, so that a check does not exist in a synchronous and an asynchronous
//! version, and nothing is allocated for a cached token or a cached key.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// The result of a verification step.
pub(crate) enum Verification<T> {
    /// The result did not require I/O.
    Ready(T),
    /// The result requires I/O, which begins when the future is polled.
    Pending(PendingVerification<T>),
}

/// The future of a [`Verification`].
pub(crate) type PendingVerification<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T> Verification<T> {
    pub(crate) fn pending(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }

    /// Waits for the result.
    pub(crate) async fn outcome(self) -> T {
        match self {
            Self::Ready(result) => result,
            Self::Pending(future) => future.await,
        }
    }

    /// Applies `change` to the result.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Verification<U>
    where
        T: 'static,
    {
        match self {
            Self::Ready(result) => Verification::Ready(change(result)),
            Self::Pending(future) => Verification::pending(async move { change(future.await) }),
        }
    }
}

impl<T> fmt::Debug for Verification<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready(..)",
            Self::Pending(_) => "Pending(..)",
        })
    }
}
