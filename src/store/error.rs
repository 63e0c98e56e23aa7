//! Errors of store operations.

use std::error::Error;
use std::sync::Arc;

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
    /// Creates [`StoreError::Unavailable`] with the given cause.
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(reason.into().into())
    }
}
