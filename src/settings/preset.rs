//! [`Preset`]: a provider with settings that this crate knows.

use serde::Deserialize;

/// A provider whose endpoints, scopes and deviations this crate knows.
///
/// Settings of the provider apply on top of it. The client has a `secret` or `secret_file`, and the preset chooses how it is
/// sent. With `authentication`, or with a key instead of a secret, the client is that of
/// [`ClientSettings`](super::ClientSettings) instead. A setting that the preset does not use is an error.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// [`Provider::google`](crate::Provider::google).
    Google,
    /// [`Provider::github`](crate::Provider::github).
    Github,
    /// [`Provider::discord`](crate::Provider::discord).
    Discord,
    /// [`Provider::microsoft`](crate::Provider::microsoft), or [`Provider::microsoft_tenants`](crate::Provider::microsoft_tenants); needs `tenants`.
    Microsoft,
    /// [`Provider::apple`](crate::Provider::apple); needs `team_id`, and `private_key_file` and `key_id` of the client, whose
    /// authentication cannot be changed.
    Apple,
    /// [`Provider::auth0`](crate::Provider::auth0); needs `domain`.
    Auth0,
    /// [`Provider::okta`](crate::Provider::okta); needs `issuer`.
    Okta,
    /// [`Provider::keycloak`](crate::Provider::keycloak); needs `issuer`.
    Keycloak,
    /// [`Provider::authentik`](crate::Provider::authentik); needs `issuer`.
    Authentik,
    /// [`Provider::gitlab`](crate::Provider::gitlab), or with an `issuer` [`Provider::gitlab_at`](crate::Provider::gitlab_at).
    Gitlab,
    /// [`Provider::slack`](crate::Provider::slack).
    Slack,
    /// [`Provider::cognito`](crate::Provider::cognito); needs `issuer` and `domain`.
    Cognito,
    /// [`Provider::zitadel`](crate::Provider::zitadel); needs `issuer` and `project_id`.
    Zitadel,
}
