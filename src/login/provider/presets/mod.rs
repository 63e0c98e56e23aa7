//! Providers with what their consoles show: issuer, endpoints, scopes and the ways in which each differs from the
//! specifications. Presets are data; the flow knows none of them.

mod apple;
mod discord;
mod github;
mod google;
mod microsoft;
mod openid;

use super::Provider;
use crate::config_error::ConfigError;
use crate::issuer::{AuthorizationServer, Client};

/// The scopes that have name and e-mail address in the claims (OpenID Connect Core §5.4).
const OPENID_SCOPES: &str = "openid profile email";

impl Provider {
    /// Creates a provider that is discovered from its issuer.
    fn discovered(
        name: &str,
        display_name: &str,
        issuer: &str,
        client: Client,
    ) -> Result<Self, ConfigError> {
        let server = AuthorizationServer::new(issuer)?;
        let provider = Self::new(name, &server, client)?.with_display_name(display_name);
        provider.with_scopes(OPENID_SCOPES)
    }
}
