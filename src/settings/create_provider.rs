//! Creates the provider of a [`ProviderSettings`], by its issuer or from a preset.

use super::apply::set;
use super::client::{ClientSettings, Credential};
use super::error::{At as _, combination};
use super::preset::Preset;
use super::provider::ProviderSettings;
use super::server::ChangeServer;
use crate::config_error::ConfigError;
use crate::issuer::CredentialSource;
use crate::login::Provider;

impl Preset {
    fn build(self, settings: &ProviderSettings) -> Result<Provider, ConfigError> {
        self.check_unused(settings)?;
        let client = &settings.client;
        let id = client.id.as_str();
        let issuer = || needed(settings.issuer.as_deref(), "the preset needs `issuer`");
        let domain = || needed(settings.domain.as_deref(), "the preset needs `domain`");
        let secret = client.secret_of_preset().at("client")?;
        let (secret, replaces_client) = match secret {
            Some(secret) => (secret, false),
            // The preset has another client below.
            None => (CredentialSource::from("replaced"), true),
        };
        let provider = match self {
            Self::Google => Provider::google(id, secret),
            Self::Github => Provider::github(id, secret),
            Self::Discord => Provider::discord(id, secret),
            Self::Slack => Provider::slack(id, secret),
            Self::Microsoft => match settings.tenants.as_deref().unwrap_or_default() {
                [] => combination("`preset = \"microsoft\"` needs `tenants`"),
                [tenant] => Provider::microsoft(tenant, id, secret),
                tenants => {
                    Provider::microsoft_tenants(tenants.iter().map(String::as_str), id, secret)
                }
            },
            Self::Auth0 => Provider::auth0(domain()?, id, secret),
            Self::Okta => Provider::okta(issuer()?, id, secret),
            Self::Keycloak => Provider::keycloak(issuer()?, id, secret),
            Self::Authentik => Provider::authentik(issuer()?, id, secret),
            Self::Gitlab => match settings.issuer.as_deref() {
                Some(url) => Provider::gitlab_at(url, id, secret),
                None => Provider::gitlab(id, secret),
            },
            Self::Cognito => Provider::cognito(issuer()?, domain()?, id, secret),
            Self::Zitadel => {
                let project_id = settings.project_id.as_deref();
                let project_id = needed(project_id, "`preset = \"zitadel\"` needs `project_id`")?;
                Provider::zitadel(issuer()?, project_id, id, secret)
            }
            Self::Apple => return apple(settings),
        }?;
        match replaces_client {
            true => provider.with_client(client.build().at("client")?),
            false => Ok(provider),
        }
    }

    /// Rejects settings that the preset does not use.
    fn check_unused(self, settings: &ProviderSettings) -> Result<(), ConfigError> {
        let uses_issuer = matches!(
            self,
            Self::Okta
                | Self::Keycloak
                | Self::Authentik
                | Self::Gitlab
                | Self::Cognito
                | Self::Zitadel
        );
        let uses_domain = matches!(self, Self::Auth0 | Self::Cognito);
        for (name, is_set, is_used) in [
            ("issuer", settings.issuer.is_some(), uses_issuer),
            ("domain", settings.domain.is_some(), uses_domain),
            (
                "tenants",
                settings.tenants.is_some(),
                self == Self::Microsoft,
            ),
            ("team_id", settings.team_id.is_some(), self == Self::Apple),
            (
                "project_id",
                settings.project_id.is_some(),
                self == Self::Zitadel,
            ),
        ] {
            if is_set && !is_used {
                return combination(UNUSED).at(name);
            }
        }
        match self {
            Self::Github | Self::Discord => check_without_id_token(settings),
            _ => Ok(()),
        }
    }
}

impl ProviderSettings {
    /// Creates the provider. Its name is `name`, or that of the preset.
    pub(super) fn build(
        &self,
        name: Option<&str>,
        change: &ChangeServer<'_>,
    ) -> Result<Provider, ConfigError> {
        let mut provider = match (self.preset, &self.issuer) {
            (Some(preset), _) => {
                let provider = preset.build(self)?;
                let provider = provider
                    .with_authorization_server(|server| self.server.apply(change(server)?))?;
                match name {
                    Some(name) => provider.with_name(name)?,
                    None => provider,
                }
            }
            (None, Some(issuer)) => {
                self.check_no_preset()?;
                let server = self.server.build(issuer, change)?;
                let client = self.client.build().at("client")?;
                Provider::new(name.unwrap_or(DEFAULT_NAME), &server, client)?
            }
            (None, None) => return combination("set `issuer` or `preset`"),
        };
        if let Some(name) = &self.display_name {
            provider = provider.with_display_name(name);
        }
        let provider = self.apply_requests(provider)?;
        let provider = self.apply_tokens(provider)?;
        let provider = set(
            provider,
            "end_session",
            self.end_session.as_ref(),
            |provider, one| {
                provider.with_end_session_endpoint(&one.endpoint, &one.redirect_parameter)
            },
        )?;
        self.apply_profile(provider)
    }

    /// Rejects settings of presets.
    fn check_no_preset(&self) -> Result<(), ConfigError> {
        for (name, is_set) in [
            ("domain", self.domain.is_some()),
            ("tenants", self.tenants.is_some()),
            ("team_id", self.team_id.is_some()),
            ("project_id", self.project_id.is_some()),
        ] {
            if is_set {
                return combination("it has an effect with a `preset` only").at(name);
            }
        }
        Ok(())
    }
}

impl ClientSettings {
    /// Returns which settings there are of how the client authenticates.
    fn options(&self) -> [(&'static str, bool); 6] {
        [
            ("authentication", self.authentication.is_some()),
            ("assertion_audience", self.assertion_audience.is_some()),
            ("untyped_assertions", self.untyped_assertions),
            ("spiffe_assertions", self.spiffe_assertions),
            ("certificate_bound_tokens", self.certificate_bound_tokens),
            ("unlisted_method", self.unlisted_method),
        ]
    }

    /// Returns the secret, unless the method of authentication is set, too.
    fn secret_of_preset(&self) -> Result<Option<CredentialSource>, ConfigError> {
        let has_options = self.options().iter().any(|(_, is_set)| *is_set);
        match self.credential()? {
            Some(Credential::Secret(secret)) if self.authentication.is_none() => {
                match has_options {
                    false => Ok(Some(secret)),
                    true => combination(
                        "with further settings of the client, a preset needs `authentication`",
                    ),
                }
            }
            _ => Ok(None),
        }
    }
}

/// Apple has a key instead of a secret, and a client whose authentication cannot be set.
fn apple(settings: &ProviderSettings) -> Result<Provider, ConfigError> {
    let team_id = settings.team_id.as_deref();
    let team_id = needed(team_id, "`preset = \"apple\"` needs `team_id`")?;
    for (name, is_set) in settings.client.options() {
        if is_set {
            return combination(UNUSED).at(name).at("client");
        }
    }
    match settings.client.credential().at("client")? {
        Some(Credential::Key(key)) => Provider::apple(&settings.client.id, team_id, *key),
        _ => combination("`preset = \"apple\"` needs `private_key_file` and `key_id`").at("client"),
    }
}

fn needed<'a>(value: Option<&'a str>, reason: &'static str) -> Result<&'a str, ConfigError> {
    value.map_or_else(|| combination(reason), Ok)
}

/// Rejects settings of ID tokens and of discovery, for a preset whose provider has neither.
fn check_without_id_token(settings: &ProviderSettings) -> Result<(), ConfigError> {
    let server = &settings.server;
    for (name, is_set) in [
        (
            "id_token_algorithms",
            settings.id_token_algorithms.is_some(),
        ),
        ("trusted_audiences", settings.trusted_audiences.is_some()),
        ("leeway", settings.leeway.is_some()),
        ("requested_claims", settings.requested_claims.is_some()),
        ("server.metadata_url", server.metadata_url.is_some()),
        ("server.outage_limit", server.outage_limit.is_some()),
    ] {
        if is_set {
            return combination(
                "it has no effect with this preset: its provider has neither metadata nor ID tokens",
            )
            .at(name);
        }
    }
    Ok(())
}

const UNUSED: &str = "it has no effect with this preset";
const DEFAULT_NAME: &str = "default";
