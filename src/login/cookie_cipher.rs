//! Sealing for one login: its key, its randomness, and whose cookies they are.

use zeroize::Zeroizing;

use super::cookies::CookieNames;
use crate::crypto::CookieKey;
use crate::crypto::binding::Binding;
use crate::crypto::seal::{Purpose, SealContext};
use crate::random::{Random, RandomError};

/// Seals and opens what stands in our cookies.
#[derive(Clone, Debug)]
pub(super) struct CookieCipher {
    pub(super) key: CookieKey,
    pub(super) random: Random,
    pub(super) names: CookieNames,
    /// The layer that its cookies belong to: those of another layer do not open.
    pub(super) binding: Binding,
}

impl CookieCipher {
    /// `rest` is the name of the cookie without our prefix.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        rest: &str,
        plain: &[u8],
    ) -> Result<String, RandomError> {
        let name = self.names.full(rest);
        let place = self.place(purpose, &name);
        self.key.seal(&self.random, place, plain)
    }

    pub(super) fn open(
        &self,
        purpose: Purpose,
        rest: &str,
        text: &str,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let name = self.names.full(rest);
        self.key.open(self.place(purpose, &name), text)
    }

    fn place<'a>(&'a self, purpose: Purpose, name: &'a str) -> SealContext<'a> {
        SealContext {
            purpose,
            name,
            binding: self.binding,
            session_secret: None,
        }
    }
}
