//! What the FAPI 2.0 Security Profile requires of the handle of an authorization server.

use super::server::AuthorizationServer;
use crate::ConfigError;

impl AuthorizationServer {
    /// Checks that metadata and keys are those that discovery finds (§5.3.3.1) and that all requests use TLS (§5.2.1).
    pub(crate) fn check_fapi2(&self) -> Result<(), ConfigError> {
        let settings = &self.settings;
        let by_hand = [
            (
                settings.static_metadata.is_some(),
                "no `with_metadata` and no `from_metadata`",
            ),
            (settings.metadata_url.is_some(), "no `with_metadata_url`"),
            (
                settings.revocation_endpoint.is_some(),
                "no `with_revocation_endpoint`",
            ),
            (settings.static_keys.is_some(), "no `with_keys`"),
        ];
        let by_hand = by_hand.iter().find(|(is_set, _)| *is_set);
        let reason = match by_hand {
            Some((_, reason)) => reason,
            None if !self.issuer().starts_with("https://") => "the issuer must be https",
            None => return Ok(()),
        };
        Err(ConfigError::Setting {
            setting: "authorization server of the FAPI 2.0 Security Profile",
            value: self.issuer().to_owned(),
            reason,
        })
    }
}
