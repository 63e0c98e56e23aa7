//! Why a store did not do what it was asked.

use std::error::Error;
use std::sync::Arc;

/// A verb that could not be carried out. Not the caller's fault: layers answer 503.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room for another entry of this class, and none that lives is given up for it. Entries of
    /// another [class](super::Key::class) may still have room.
    #[error("the store is full")]
    Full,
    /// The store could not be asked, or it is not known what came of it.
    #[error("the store is unavailable")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

impl StoreError {
    /// The store could not be asked, because of this.
    pub fn unavailable(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(reason.into().into())
    }
}
