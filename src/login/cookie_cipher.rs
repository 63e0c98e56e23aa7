//! Cookie encryption of one login layer.

use zeroize::Zeroizing;

use super::cookies::CookieNames;
use crate::crypto::CookieKey;
use crate::crypto::binding::Binding;
use crate::crypto::seal::{Purpose, SealContext};
use crate::random::{Random, RandomError};

/// Encrypts and decrypts the cookies of a layer.
#[derive(Clone, Debug)]
pub(super) struct CookieCipher {
    pub(super) key: CookieKey,
    pub(super) random: Random,
    pub(super) names: CookieNames,
    /// Binds cookies to this layer: cookies of another layer do not open.
    pub(super) binding: Binding,
}

impl CookieCipher {
    /// Encrypts the value of a cookie; `suffix` is its name without the prefix of this layer.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        suffix: &str,
        plain: &[u8],
    ) -> Result<String, RandomError> {
        let name = self.names.full(suffix);
        let context = self.context(purpose, &name);
        self.key.seal(&self.random, context, plain)
    }

    pub(super) fn open(
        &self,
        purpose: Purpose,
        suffix: &str,
        text: &str,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let name = self.names.full(suffix);
        self.key.open(self.context(purpose, &name), text)
    }

    fn context<'a>(&'a self, purpose: Purpose, name: &'a str) -> SealContext<'a> {
        SealContext {
            purpose,
            name,
            binding: self.binding,
            session_secret: None,
        }
    }
}
