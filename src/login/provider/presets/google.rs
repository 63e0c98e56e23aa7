//! Google.

use super::Provider;
use crate::config_error::ConfigError;
use crate::issuer::{Client, CredentialSource};

const ISSUER: &str = "https://accounts.google.com";

/// The issuer of older ID tokens (<https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload>).
const OLD_ISSUER: &str = "accounts.google.com";

impl Provider {
    /// Creates the provider "Sign in with Google", named `google`, from the OAuth client of the Google Cloud console.
    ///
    /// Requests `openid profile email`. Users are identified by `sub`; the issuer is always `https://accounts.google.com`,
    /// also for ID tokens with the older `accounts.google.com`.
    ///
    /// - **Refresh tokens** are issued only with `access_type=offline`, and only at the first consent: add
    ///   `.with_authorization_parameter("access_type", "offline")?.with_authorization_parameter("prompt", "consent")?`.
    ///   Without, sessions last as long, but have no access token after an hour.
    /// - **Workspace domains**: the parameter `hd` is a hint that the user can remove. Check the claim `hd` in
    ///   [`with_on_login`](crate::LoginLayer::with_on_login).
    /// - **Logout**: Google has no logout endpoint, so users are signed out here only.
    ///
    /// ```
    /// use tower_oauth::{CookieKey, CredentialSource, LoginLayer, Provider};
    ///
    /// let secret = CredentialSource::file("/run/secrets/google");
    /// let google = Provider::google("1234.apps.googleusercontent.com", secret)?;
    /// let redirect_uri = "https://shop.example.com/auth/callback";
    /// let login = LoginLayer::for_provider(google, redirect_uri, CookieKey::generate()?)?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the secret is empty.
    pub fn google(
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential_post(client_id, secret);
        let google = Self::discovered("google", "Google", ISSUER, client)?;
        google.with_flow(|flow| flow.with_issuer_aliases(&[OLD_ISSUER]))
    }
}
