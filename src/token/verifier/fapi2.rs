//! What the FAPI 2.0 Security Profile requires of the verifiers of access tokens.

use std::sync::Arc;

use super::{Strategy, Verifier};
use crate::ConfigError;

impl Verifier {
    /// Accepts only what the profile permits: its algorithms, metadata that are discovered, an audience, and a clock skew
    /// of at most a minute.
    pub(crate) fn restricted_to_fapi2(mut self) -> Result<Self, ConfigError> {
        self.strategy = match self.strategy {
            Strategy::Jwt(verifier) => Strategy::Jwt(verifier.restricted_to_fapi2()?),
            Strategy::Introspection(verifier) => {
                Strategy::Introspection(verifier.restricted_to_fapi2()?)
            }
            Strategy::ByShape(both) => {
                let mut both = Arc::unwrap_or_clone(both);
                both.jwt = both.jwt.restricted_to_fapi2()?;
                both.opaque = both.opaque.restricted_to_fapi2()?;
                Strategy::ByShape(Arc::new(both))
            }
            Strategy::Issuers(issuers) => Strategy::Issuers(issuers.restricted_to_fapi2()?),
            Strategy::Lookup(lookup) => Strategy::Lookup(lookup.restricted_to_fapi2()),
        };
        // Tokens in the cache were verified with other rules.
        if let Some(max_bytes) = self.cache.as_ref().map(|cache| cache.max_bytes()) {
            self.set_cache_size(max_bytes);
        }
        Ok(self)
    }
}
