//! The `acr_values` of a login (OpenID Connect Core §3.1.2.1), as its transaction keeps them.

use crate::crypto::sha256_start;

/// Digests of the requested `acr_values`. Their length is limited, so that they fit into the cookie of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcrValues(Vec<[u8; DIGEST]>);

/// 64 bits: the `acr` is compared after the signature was verified, so only the authorization server chooses it.
const DIGEST: usize = 8;

impl AcrValues {
    /// Limit on the values of a login.
    pub(crate) const MAX: usize = 8;

    /// Parses the space-separated values. Returns `None` if there are more than [`MAX`](Self::MAX).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digests: Vec<_> = text
            .split(' ')
            .map(|acr| sha256_start(acr.as_bytes()))
            .collect();
        (digests.len() <= Self::MAX).then_some(Self(digests))
    }

    pub(super) fn contain(&self, acr: &str) -> bool {
        self.0.contains(&sha256_start(acr.as_bytes()))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digests, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(digests.to_vec()))
    }
}
