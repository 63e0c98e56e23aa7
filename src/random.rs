//! Random bytes from the operating system.

/// The random number generator of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(());

/// The random number generator of the operating system failed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the random number generator of the operating system failed")]
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

    /// Returns a factor between 0 and 1 for jitter; 0.5 if the generator fails.
    pub(crate) fn fraction(self) -> f64 {
        self.bytes()
            .map_or(0.5, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65535.0)
    }
}
