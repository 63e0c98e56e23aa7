//! GitHub, which does not support OpenID Connect for users.

use std::time::Duration;

use serde_json::Value;

use super::Provider;
use crate::config_error::ConfigError;
use crate::flow::{Identity, IdentityError, IdentitySource, UserApi};
use crate::issuer::{AuthorizationServer, Client, CredentialSource};
use crate::protocol::Metadata;

/// The issuer of GitHub's own metadata for user authorization. No token has it; it identifies the provider of a user.
const ISSUER: &str = "https://github.com/login/oauth";

/// Tokens of OAuth apps do not expire, and have no `expires_in`; unused ones are revoked after a year
/// (<https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/token-expiration-and-revocation>).
const TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Provider {
    /// Creates the provider "Sign in with GitHub", named `github`, from client ID and secret of an OAuth app or a GitHub
    /// App.
    ///
    /// Requests `read:user user:email`. Users are identified by the number of their account: the user name (`login`) can
    /// be changed, and then be taken by another person. The issuer of sessions is `https://github.com/login/oauth`.
    ///
    /// Claims: `name`, `preferred_username` (the user name), `picture`, `profile`, and `email` if the token has the scope
    /// `user:email`: the primary address, if it is verified, and none otherwise.
    ///
    /// - **GitHub Apps** have permissions instead of scopes: add the account permission "Email addresses" (read-only), or
    ///   request `read:user` alone ([`with_scopes`](Self::with_scopes)) for no e-mail address.
    /// - **Not an ID token**: see [`without_id_token`](Self::without_id_token) for what is not possible.
    /// - **Not the first of several providers**: an OAuth app accepts redirect URIs below the registered one
    ///   ([`with_redirect_uris_below_accepted`](Self::with_redirect_uris_below_accepted)). Add it with
    ///   [`add_provider`](crate::LoginLayer::add_provider).
    /// - **Logout**: GitHub has no logout endpoint and no revocation endpoint of [RFC 7009], so users are signed out here
    ///   only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the secret is empty.
    ///
    /// [RFC 7009]: https://www.rfc-editor.org/rfc/rfc7009
    pub fn github(
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let metadata = Metadata::new(ISSUER)
            .with_authorization_endpoint("https://github.com/login/oauth/authorize")
            .with_token_endpoint("https://github.com/login/oauth/access_token");
        let server = AuthorizationServer::from_metadata(metadata)?;
        let client = Client::confidential_post(client_id, secret);
        let github = Self::without_id_token("github", &server, client, GitHub)?;
        Ok(github
            .with_display_name("GitHub")
            .with_scopes("read:user user:email")?
            .with_comma_separated_scopes()
            .with_redirect_uris_below_accepted()
            .with_default_token_lifetime(TOKEN_LIFETIME))
    }
}

struct GitHub;

impl IdentitySource for GitHub {
    async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
        const USER: &str = "https://api.github.com/user";
        let user = api.get(USER).await?;
        // A text would be a name, which can be given to another user.
        let id = user.get("id").and_then(Value::as_u64);
        // 0 is the default of a number, and the account of no user.
        let id = id.filter(|id| *id != 0).ok_or_else(|| {
            IdentityError::invalid_response(format!("GET {USER}: id is not a positive integer"))
        })?;
        let claim = |name| user.get(name).cloned().unwrap_or_default();
        let identity = Identity::new(id.to_string())
            .with_claim("preferred_username", claim("login"))
            .with_claim("name", claim("name"))
            .with_claim("picture", claim("avatar_url"))
            .with_claim("profile", claim("html_url"));
        // Without the scope the API responds with 404, and a user need not grant it.
        if !["user", "user:email"]
            .iter()
            .any(|scope| api.scopes().contains(scope))
        {
            return Ok(identity);
        }
        let emails = api.get("https://api.github.com/user/emails").await?;
        Ok(match verified_email(&emails) {
            Some(email) => identity
                .with_claim("email", email)
                .with_claim("email_verified", true),
            None => identity,
        })
    }
}

/// Returns the primary address, if GitHub has verified it. `email` of the user is what the user chose to publish.
fn verified_email(emails: &Value) -> Option<&str> {
    let is_true = |email: &Value, name| email.get(name) == Some(&Value::Bool(true));
    let mut all = emails.as_array()?.iter();
    let primary = all.find(|email| is_true(email, "primary") && is_true(email, "verified"));
    primary?.get("email")?.as_str()
}
