//! The one source of randomness: the operating system's.

/// Fills buffers with random bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(());

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub(crate) struct RandomError;

impl Random {
    pub(crate) fn system() -> Self {
        Self(())
    }

    pub(crate) fn bytes<const N: usize>(self) -> Result<[u8; N], RandomError> {
        let mut buffer = [0; N];
        getrandom::fill(&mut buffer).map_err(|_| RandomError)?;
        Ok(buffer)
    }

    /// A factor between 0 and 1 for jitter; without randomness, the middle.
    pub(crate) fn fraction(self) -> f64 {
        self.bytes()
            .map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65535.0)
    }
}
