//! [`ProviderSettings`]: where users sign in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::apply::set;
use super::client::ClientSettings;
use super::error::{At as _, combination};
use super::preset::Preset;
use super::server::ServerSettings;
use super::text::{SecretText, algorithms, duration, signing_key, signing_key_file};
use crate::config_error::ConfigError;
use crate::crypto::SigningKey;
use crate::flow::{PushedRequests, ResponseMode};
use crate::login::Provider;

/// Where users sign in: an authorization server, the client there, and what its logins request.
///
/// Each setting is the method of [`Provider`] that it names, with the same checks and defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProviderSettings {
    /// The name of the provider, for the [`provider`](super::LoginSettings::provider) of a layer. Default: that of the preset, or `default`. That of a
    /// [further provider](super::LoginSettings::further_providers) is its key.
    pub name: Option<String>,
    /// [`with_display_name`](Provider::with_display_name).
    pub display_name: Option<String>,
    /// A provider that this crate knows. This or `issuer` is required, or both; see [`Preset`].
    pub preset: Option<Preset>,
    /// The issuer identifier; see [`AuthorizationServer::new`](crate::AuthorizationServer::new).
    pub issuer: Option<String>,
    /// The domain at the provider, of presets that need it.
    pub domain: Option<String>,
    /// The tenants of [`Preset::Microsoft`].
    pub tenants: Option<Vec<String>>,
    /// The team of [`Preset::Apple`].
    pub team_id: Option<String>,
    /// The project of [`Preset::Zitadel`].
    pub project_id: Option<String>,
    /// Further settings of the authorization server.
    #[serde(default)]
    pub server: ServerSettings,
    /// The client.
    pub client: ClientSettings,
    /// [`with_scopes`](Provider::with_scopes): separated by spaces.
    pub scopes: Option<String>,
    /// [`with_authorization_parameter`](Provider::with_authorization_parameter), by name.
    #[serde(default)]
    pub authorization_parameters: BTreeMap<String, String>,
    /// [`add_resource`](Provider::add_resource).
    #[serde(default)]
    pub resources: Vec<String>,
    /// [`with_authorization_details`](Provider::with_authorization_details).
    pub authorization_details: Option<Value>,
    /// [`with_requested_claims`](Provider::with_requested_claims).
    pub requested_claims: Option<Value>,
    /// [`with_pushed_requests`](Provider::with_pushed_requests): `"required"`, `"when_available"` or `"never"`.
    pub pushed_requests: Option<PushedRequests>,
    /// [`with_response_mode`](Provider::with_response_mode): `"query"`, `"form_post"`, `"jwt"` or `"form_post.jwt"`.
    pub response_mode: Option<ResponseMode>,
    /// The private key of [`with_signed_requests`](Provider::with_signed_requests): PEM, or a JWK.
    pub request_key: Option<SecretText>,
    /// A file with that key.
    pub request_key_file: Option<PathBuf>,
    /// The key id (`kid`) of that key. Default: that of the JWK.
    pub request_key_id: Option<String>,
    /// [`with_dpop`](Provider::with_dpop).
    #[serde(default)]
    pub dpop: bool,
    /// The FAPI 2.0 profile. `"message_signing"` needs `request_key_file` or `request_key`.
    pub fapi2: Option<Fapi2Profile>,
    /// [`with_id_token_algorithms`](Provider::with_id_token_algorithms).
    pub id_token_algorithms: Option<Vec<String>>,
    /// [`with_trusted_audiences`](Provider::with_trusted_audiences).
    pub trusted_audiences: Option<Vec<String>>,
    /// [`with_leeway`](Provider::with_leeway): such as `"30s"`.
    #[serde(default, deserialize_with = "duration")]
    pub leeway: Option<Duration>,
    /// [`with_default_token_lifetime`](Provider::with_default_token_lifetime): such as `"5m"`.
    #[serde(default, deserialize_with = "duration")]
    pub default_token_lifetime: Option<Duration>,
    /// [`with_end_session_endpoint`](Provider::with_end_session_endpoint).
    pub end_session: Option<EndSessionSettings>,
}

/// A FAPI 2.0 profile.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fapi2Profile {
    /// [`Provider::with_fapi2_security_profile`].
    SecurityProfile,
    /// [`Provider::with_fapi2_message_signing`].
    MessageSigning,
}

/// The sign-out endpoint of an authorization server without `end_session_endpoint`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EndSessionSettings {
    /// The endpoint.
    pub endpoint: String,
    /// The name of the parameter with the URL to return to.
    pub redirect_parameter: String,
}

impl ProviderSettings {
    pub(super) fn apply_requests(&self, provider: Provider) -> Result<Provider, ConfigError> {
        let scopes = self.scopes.as_deref();
        let mut provider = set(provider, "scopes", scopes, Provider::with_scopes)?;
        for (name, value) in &self.authorization_parameters {
            let changed = provider.with_authorization_parameter(name, value);
            provider = changed.at("authorization_parameters")?;
        }
        for resource in &self.resources {
            provider = provider.add_resource(resource).at("resources")?;
        }
        let details = self.authorization_details.as_ref();
        let provider = set(
            provider,
            "authorization_details",
            details,
            |provider, details| provider.with_authorization_details(details.clone()),
        )?;
        let claims = self.requested_claims.as_ref();
        let mut provider = set(provider, "requested_claims", claims, |provider, claims| {
            provider.with_requested_claims(claims.clone())
        })?;
        if let Some(pushed) = self.pushed_requests {
            provider = provider.with_pushed_requests(pushed);
        }
        if let Some(mode) = self.response_mode {
            provider = provider.with_response_mode(mode);
        }
        if self.dpop {
            provider = provider.with_dpop();
        }
        Ok(provider)
    }

    pub(super) fn apply_tokens(&self, provider: Provider) -> Result<Provider, ConfigError> {
        let names = self.id_token_algorithms.as_ref();
        let provider = set(provider, "id_token_algorithms", names, |provider, names| {
            provider.with_id_token_algorithms(algorithms(names)?)
        })?;
        let audiences = self.trusted_audiences.as_ref();
        let provider = set(
            provider,
            "trusted_audiences",
            audiences,
            |provider, audiences| provider.with_trusted_audiences(audiences),
        )?;
        let mut provider = set(provider, "leeway", self.leeway, Provider::with_leeway)?;
        if let Some(lifetime) = self.default_token_lifetime {
            provider = provider.with_default_token_lifetime(lifetime);
        }
        Ok(provider)
    }

    /// Last, so that a setting that the profile excludes is an error.
    pub(super) fn apply_profile(&self, provider: Provider) -> Result<Provider, ConfigError> {
        match (self.fapi2, self.signing_key()?) {
            (None, None) => Ok(provider),
            (None, Some(key)) => Ok(provider.with_signed_requests(key)),
            (Some(Fapi2Profile::SecurityProfile), key) => {
                let provider = match key {
                    Some(key) => provider.with_signed_requests(key),
                    None => provider,
                };
                provider.with_fapi2_security_profile().at("fapi2")
            }
            (Some(Fapi2Profile::MessageSigning), Some(key)) => {
                provider.with_fapi2_message_signing(key).at("fapi2")
            }
            (Some(Fapi2Profile::MessageSigning), None) => combination(
                "`fapi2 = \"message_signing\"` needs `request_key_file` or `request_key`",
            ),
        }
    }

    fn signing_key(&self) -> Result<Option<SigningKey>, ConfigError> {
        let key = match (&self.request_key, &self.request_key_file) {
            (Some(_), Some(_)) => {
                return combination("set `request_key` or `request_key_file`, not both");
            }
            (Some(text), None) => signing_key(text.expose()).at("request_key")?,
            (None, Some(path)) => signing_key_file(path).at("request_key_file")?,
            (None, None) if self.request_key_id.is_some() => {
                return combination("`request_key_id` needs `request_key_file` or `request_key`");
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(match &self.request_key_id {
            Some(id) => key.with_key_id(id),
            None => key,
        }))
    }
}
