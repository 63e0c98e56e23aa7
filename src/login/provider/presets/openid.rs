//! Providers that are discovered from their issuer and differ little from the specifications.

use std::time::Duration;

use super::Provider;
use crate::config_error::ConfigError;
use crate::issuer::{Client, CredentialSource};

/// Slack sends no `expires_in` unless tokens are rotated: they do not expire.
const SLACK_TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Provider {
    /// Creates the provider of an Auth0 tenant, named `auth0`, from "Domain", "Client ID" and "Client Secret" of a regular
    /// web application. `domain` is `shop.eu.auth0.com`, or the custom domain.
    ///
    /// Requests `openid profile email`; add `offline_access` for refresh tokens. For an API of the tenant add the parameter
    /// `audience` ([`with_authorization_parameter`](Self::with_authorization_parameter)). The secret is sent in the body,
    /// as Auth0 registers applications.
    ///
    /// Logout is that of `/v2/logout` with `returnTo`, which every tenant has: add the
    /// [post-logout redirect URI](crate::LoginLayer::with_post_logout_redirect_uri) to "Allowed Logout URLs".
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `domain` is not a host name.
    pub fn auth0(
        domain: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let origin = https(domain)?;
        let client = Client::confidential_post(client_id, secret);
        // The issuer of Auth0 ends with a slash.
        Self::discovered("auth0", "Auth0", &format!("{origin}/"), client)?
            .with_end_session_endpoint(&format!("{origin}/v2/logout"), "returnTo")
    }

    /// Creates the provider of an Okta authorization server, named `okta`. `issuer` is "Issuer URI" of the authorization
    /// server, such as `https://shop.okta.com/oauth2/default`, or the URL of the organization.
    ///
    /// Requests `openid profile email`; add `offline_access` for refresh tokens. With a custom authorization server the
    /// access token is for the API, and user information is at the userinfo endpoint.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `issuer` is not an https URL.
    pub fn okta(
        issuer: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential(client_id, secret);
        Self::discovered("okta", "Okta", issuer, client)
    }

    /// Creates the provider of a Keycloak realm, named `keycloak`. `issuer` is `https://id.example.com/realms/shop`.
    ///
    /// Requests `openid profile email`. Roles of the realm are in the access token, and in the ID token only with a mapper
    /// of the client.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `issuer` is not an https URL.
    pub fn keycloak(
        issuer: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential(client_id, secret);
        Self::discovered("keycloak", "Keycloak", issuer, client)
    }

    /// Creates the provider "Sign in with GitLab", named `gitlab`, from ID and secret of an application at gitlab.com.
    ///
    /// Requests `openid profile email`; the application must have these scopes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the secret is empty.
    pub fn gitlab(
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        Self::gitlab_at("https://gitlab.com", client_id, secret)
    }

    /// Does the same as [`gitlab`](Self::gitlab) for another instance: `https://gitlab.example.com`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `url` is not an https URL.
    pub fn gitlab_at(
        url: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential_post(client_id, secret);
        Self::discovered("gitlab", "GitLab", url, client)
    }

    /// Creates the provider "Sign in with Slack", named `slack`, from client ID and secret of a Slack app.
    ///
    /// Requests `openid profile email`. The claim `https://slack.com/team_id` says which workspace the user signed in to:
    /// check it in [`with_on_login`](crate::LoginLayer::with_on_login) if only one may.
    ///
    /// It cannot be the first of several providers, since Slack accepts redirect URIs below the registered one
    /// ([`with_redirect_uris_below_accepted`](Self::with_redirect_uris_below_accepted)): add it with
    /// [`add_provider`](crate::LoginLayer::add_provider).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the secret is empty.
    pub fn slack(
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential_post(client_id, secret);
        let slack = Self::discovered("slack", "Slack", "https://slack.com", client)?;
        Ok(slack
            .with_default_token_lifetime(SLACK_TOKEN_LIFETIME)
            .with_redirect_uris_below_accepted())
    }

    /// Creates the provider of an Amazon Cognito user pool, named `cognito`. `issuer` is
    /// `https://cognito-idp.{region}.amazonaws.com/{user pool ID}`, and `domain` that of the sign-in pages, such as
    /// `shop.auth.eu-central-1.amazoncognito.com`, or the custom domain.
    ///
    /// Requests `openid profile email`; the app client must have these scopes. Logout is that of `/logout` with
    /// `logout_uri`: add the [post-logout redirect URI](crate::LoginLayer::with_post_logout_redirect_uri) to "Allowed
    /// sign-out URLs", else Cognito shows an error.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `issuer` is not an https URL or `domain` is not a host name.
    pub fn cognito(
        issuer: &str,
        domain: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential(client_id, secret);
        Self::discovered("cognito", "Cognito", issuer, client)?
            .with_end_session_endpoint(&format!("{}/logout", https(domain)?), "logout_uri")
    }

    /// Creates the provider of a ZITADEL instance, named `zitadel`. `issuer` is the URL of the instance, such as
    /// `https://shop-abc123.eu1.zitadel.cloud`, and `project_id` the "Resource Id" of the project of the application.
    ///
    /// Requests `openid profile email`; add `offline_access` for refresh tokens. Name and e-mail address are in the ID
    /// token only with "User Info inside ID Token" of the application, and else at the userinfo endpoint.
    ///
    /// ID tokens name the project as a further audience, which is trusted so. They also name all other applications of
    /// the project: if there are some, trust them too with
    /// [`with_trusted_audiences`](Self::with_trusted_audiences), with the project.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `issuer` is not an https URL, [`ConfigError::Setting`] if `project_id` is empty.
    pub fn zitadel(
        issuer: &str,
        project_id: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential(client_id, secret);
        Self::discovered("zitadel", "ZITADEL", issuer, client)?.with_trusted_audiences([project_id])
    }

    /// Creates the provider of an authentik application, named `authentik`. `issuer` is "OpenID Configuration Issuer" of
    /// the provider page: `https://id.example.com/application/o/shop/`, with the slash at its end.
    ///
    /// Requests `openid profile email`; add `offline_access` for refresh tokens. authentik sends `email_verified` with the
    /// value of its scope mapping, which is `false` by default in new versions.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if `issuer` is not an https URL.
    pub fn authentik(
        issuer: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential(client_id, secret);
        Self::discovered("authentik", "authentik", issuer, client)
    }
}

/// Returns the https origin of a host name as consoles show it.
fn https(domain: &str) -> Result<String, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if domain.is_empty() || !domain.bytes().all(is_plain) {
        return Err(ConfigError::Issuer {
            value: domain.to_owned(),
            reason: "the domain must be a host name, without a scheme and a path",
        });
    }
    Ok(format!("https://{domain}"))
}
