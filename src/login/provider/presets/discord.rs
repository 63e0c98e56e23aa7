//! Discord, whose documentation has no OpenID Connect.

use serde_json::Value;

use super::Provider;
use crate::config_error::ConfigError;
use crate::flow::{Identity, IdentityError, IdentitySource, UserApi};
use crate::issuer::{AuthorizationServer, Client, CredentialSource};
use crate::protocol::Metadata;

const ISSUER: &str = "https://discord.com";

impl Provider {
    /// Creates the provider "Sign in with Discord", named `discord`, from client ID and secret of an application of the
    /// developer portal.
    ///
    /// Requests `identify email`. Users are identified by the ID of their account; user names can be changed. The issuer of
    /// sessions is `https://discord.com`. Claims: `preferred_username`, `name` (the display name), `email` and
    /// `email_verified`.
    ///
    /// **Not an ID token**: see [`without_id_token`](Self::without_id_token) for what is not possible.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the secret is empty.
    pub fn discord(
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let metadata = Metadata::new(ISSUER)
            .with_authorization_endpoint("https://discord.com/oauth2/authorize")
            .with_token_endpoint("https://discord.com/api/oauth2/token")
            .with_revocation_endpoint("https://discord.com/api/oauth2/token/revoke");
        let server = AuthorizationServer::from_metadata(metadata)?;
        let client = Client::confidential_post(client_id, secret);
        let discord = Self::without_id_token("discord", &server, client, Discord)?;
        let discord = discord.with_display_name("Discord");
        discord.with_scopes("identify email")
    }
}

struct Discord;

impl IdentitySource for Discord {
    async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
        const USER: &str = "https://discord.com/api/users/@me";
        let user = api.get(USER).await?;
        // A snowflake: a number with more digits than JSON numbers keep, so it is sent as a text.
        let id = user.get("id").and_then(Value::as_str);
        let is_snowflake = |id: &&str| {
            id.bytes().all(|byte| byte.is_ascii_digit()) && id.bytes().any(|byte| byte != b'0')
        };
        let id = id.filter(is_snowflake).ok_or_else(|| {
            IdentityError::invalid_response(format!(
                "GET {USER}: id is not a text with the digits of a positive integer"
            ))
        })?;
        let claim = |name| user.get(name).cloned().unwrap_or_default();
        Ok(Identity::new(id)
            .with_claim("preferred_username", claim("username"))
            .with_claim("name", claim("global_name"))
            .with_claim("email", claim("email"))
            .with_claim("email_verified", claim("verified")))
    }
}
