//! The one source of randomness.

use std::fmt;
use std::sync::Arc;

/// Fills buffers with random bytes: the operating system's, or a fixed sequence in a test.
#[derive(Clone)]
pub(crate) struct Random(Arc<dyn Fn(&mut [u8]) -> Result<(), RandomError> + Send + Sync>);

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub(crate) struct RandomError;

impl Random {
    pub(crate) fn system() -> Self {
        Self(Arc::new(|buffer| {
            getrandom::fill(buffer).map_err(|_| RandomError)
        }))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> Result<[u8; N], RandomError> {
        let mut buffer = [0; N];
        (self.0)(&mut buffer)?;
        Ok(buffer)
    }

    /// A factor between 0 and 1 for jitter; without randomness, the middle.
    pub(crate) fn fraction(&self) -> f64 {
        self.bytes::<2>()
            .map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65535.0)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}
