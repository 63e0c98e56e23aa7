//! What the FAPI 2.0 Security Profile requires of the handle of an authorization server, and of a client.

use super::client::{Authentication, Client};
use super::server::AuthorizationServer;
use crate::ConfigError;
use crate::crypto::FAPI2_ALGORITHMS;

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

impl Client {
    /// Checks that the client is confidential, and that its assertions are for the issuer (§5.3.3.1) and are signed with a
    /// permitted algorithm (§5.4.1).
    pub(crate) fn check_fapi2(&self) -> Result<(), ConfigError> {
        let reason = match &self.authentication {
            Authentication::MutualTls => return Ok(()),
            Authentication::PrivateKeyJwt(key) if !FAPI2_ALGORITHMS.contains(&key.algorithm()) => {
                "its key must sign with PS256, ES256 or EdDSA: see `SigningKey::with_algorithm`"
            }
            Authentication::PrivateKeyJwt(_) if self.assertion_audience.is_some() => {
                "its assertions must be for the issuer: remove `Client::with_assertion_audience`"
            }
            Authentication::PrivateKeyJwt(_) if !self.has_typed_assertions => {
                "its assertions must have a type: remove `Client::with_untyped_assertions`"
            }
            Authentication::PrivateKeyJwt(_) => return Ok(()),
            _ => "it must authenticate with `Client::private_key_jwt` or `Client::mutual_tls`",
        };
        Err(ConfigError::Setting {
            setting: "client of the FAPI 2.0 Security Profile",
            value: self.id.clone(),
            reason,
        })
    }

    /// Returns the names of the authentication method in the metadata; the server must list one.
    pub(crate) fn fapi2_methods(&self) -> &'static [&'static str] {
        match &self.authentication {
            Authentication::MutualTls => &["tls_client_auth", "self_signed_tls_client_auth"],
            _ => &["private_key_jwt"],
        }
    }
}
