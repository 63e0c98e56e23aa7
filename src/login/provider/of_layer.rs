//! The providers of a [`LoginLayer`].

use std::sync::Arc;

use super::{Provider, checked_name, invalid_name};
use crate::config_error::ConfigError;
use crate::flow::Flow;
use crate::login::LoginLayer;
use crate::login::settings::with_target;
use crate::session::{ProviderEntry, Providers};

impl LoginLayer {
    /// Adds a provider: users choose where to sign in.
    ///
    /// Its redirect URI, to register with the authorization server, is that of the layer and the name of the provider:
    /// `https://shop.example.com/auth/callback/github` for the provider `github`. One redirect URI for each provider shows
    /// which of them a response belongs to (RFC 9700 §4.4.2.2). The provider that the layer was created with keeps the
    /// redirect URI of the layer, so adding one changes neither its registration nor its sessions.
    ///
    /// A provider whose server
    /// [accepts redirect URIs below the registered one](Provider::with_redirect_uris_below_accepted), such as
    /// [GitHub](Provider::github) or [Slack](Provider::slack), cannot be the one that the layer was created with.
    ///
    /// Sessions belong to their provider. If it is removed, or gets another name, its sessions end.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the layer has a provider with this name or has 16 of them, if the server
    /// of the first one accepts redirect URIs below the registered one, if only some of them have the
    /// [FAPI 2.0 profile](Self::with_fapi2_security_profile), or if one of their clients signs assertions for an endpoint,
    /// which another authorization server could replay, or if a provider
    /// [without ID tokens](Provider::without_id_token) has an issuer whose ID tokens another one accepts; as for [`with_client_metadata`](Self::with_client_metadata), if the
    /// document cannot describe the client of the provider, too.
    pub fn add_provider(self, provider: Provider) -> Result<Self, ConfigError> {
        let providers = self.settings.manager.providers();
        if providers.named(&provider.name).is_some() {
            let reason = "another provider of the layer has this name";
            return Err(invalid_name(&provider.name, reason));
        }
        if providers.all().count() == MAX_PROVIDERS {
            let reason = "a layer may have at most 16 providers";
            return Err(invalid_name(&provider.name, reason));
        }
        if providers.first().accepts_uris_below {
            return Err(ConfigError::Setting {
                setting: "first provider",
                value: providers.first().name.to_string(),
                reason: CALLBACKS_BELOW,
            });
        }
        let display_name = Arc::clone(provider.display_name());
        let flow = provider
            .flow
            .beside(&providers.first().flow, &provider.name)?;
        flow.check_fapi2()?;
        let entry = ProviderEntry {
            name: provider.name,
            display_name,
            accepts_uris_below: provider.accepts_uris_below,
            flow: Arc::new(flow),
        };
        for other in providers.all() {
            if entry.may_replay_assertions_of(other) {
                return Err(invalid_name(&entry.name, ENDPOINT_AUDIENCE));
            }
            if entry.shares_users_by_other_evidence(other) {
                return Err(invalid_name(&entry.name, OTHER_EVIDENCE));
            }
            if other.flow.is_fapi2() && !entry.flow.is_fapi2() {
                return Err(invalid_name(&entry.name, NOT_FAPI2));
            }
        }
        let login = self.with_providers(|all| all.add(entry))?;
        login.settings.check_client_metadata()?;
        Ok(login)
    }

    /// Sets the name of the provider that the layer was [created](Self::new) with, and the one that users see. Default:
    /// `default` for both.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] as for [`Provider::new`] and [`add_provider`](Self::add_provider).
    pub fn with_provider_name(self, name: &str, display_name: &str) -> Result<Self, ConfigError> {
        let name = checked_name(name)?;
        let providers = self.settings.manager.providers();
        if providers.all().skip(1).any(|entry| entry.name == name) {
            let reason = "another provider of the layer has this name";
            return Err(invalid_name(&name, reason));
        }
        self.with_providers(|all| {
            let first = all.first_mut();
            (first.name, first.display_name) = (name, display_name.into());
        })
    }

    /// Returns the URL for a link that signs users in at this provider and then sends them to `return_to`, as
    /// [`login_url`](Self::login_url) does. `None` if the layer has no provider with this name.
    pub fn login_url_at(&self, provider: &str, return_to: &str) -> Option<String> {
        let settings = &self.settings;
        let provider = settings.manager.providers().named(provider)?;
        let path = settings.paths.login_of(&provider.name);
        Some(with_target(path, settings.return_to(return_to)))
    }

    /// Returns the redirect URI of this provider, to register with its authorization server. `None` if the layer has no
    /// provider with this name.
    pub fn redirect_uri_of(&self, provider: &str) -> Option<&str> {
        let provider = self.settings.manager.providers().named(provider)?;
        Some(provider.flow.redirect_uri().as_str())
    }

    fn with_providers(self, change: impl FnOnce(&mut Providers)) -> Result<Self, ConfigError> {
        let login = self.with_session_manager(|manager| manager.with_providers(change));
        let paths = login.settings.paths.clone();
        let paths = paths.with_providers(login.settings.manager.providers());
        login.with_paths(|settings| settings.paths = paths)
    }

    /// Changes the flow of the provider that the layer was created with.
    pub(in crate::login) fn with_flow(
        self,
        change: impl FnOnce(Flow) -> Result<Flow, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let flow = change(Flow::clone(self.settings.flow()))?;
        // Another setting may have to comply with the profile, too.
        flow.check_fapi2()?;
        let is_fapi2 = flow.is_fapi2();
        let login = self.map_flow(|_| flow);
        let other = {
            let mut providers = login.settings.manager.providers().all();
            providers.find(|other| is_fapi2 && !other.flow.is_fapi2())
        };
        match other {
            Some(other) => Err(invalid_name(&other.name, NOT_FAPI2)),
            None => Ok(login),
        }
    }

    /// Like [`with_flow`](Self::with_flow), for settings that are possible with every other one.
    pub(in crate::login) fn map_flow(self, change: impl FnOnce(Flow) -> Flow) -> Self {
        let flow = Arc::new(change(Flow::clone(self.settings.flow())));
        self.with_session_manager(|manager| {
            manager.with_providers(|all| all.first_mut().flow = flow)
        })
    }

    /// Changes the flows of all providers. What is set so applies to providers that are added later, too.
    pub(in crate::login) fn with_each_flow(
        self,
        change: impl Fn(Flow) -> Result<Flow, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let mut providers = self.settings.manager.providers().clone();
        for entry in providers.all_mut() {
            entry.flow = Arc::new(change(Flow::clone(&entry.flow))?);
        }
        Ok(self.with_session_manager(|manager| manager.with_providers(|all| *all = providers)))
    }
}

const MAX_PROVIDERS: usize = 16;

const CALLBACKS_BELOW: &str = "its authorization server accepts redirect URIs below the registered one, and those of further providers are below \
     that of the first one: create the layer with another provider and add this one with `add_provider`, since there \
     is nothing below `/auth/callback/{name}`";

const ENDPOINT_AUDIENCE: &str = "clients of different authorization servers sign assertions, and one with an endpoint as audience, which another \
     server could replay: remove `Client::with_assertion_audience`";
const OTHER_EVIDENCE: &str = "a provider without ID tokens has an issuer whose ID tokens another provider of the layer accepts, and a user of \
     one would be a user of the other: choose another issuer in `Metadata::new`";
const NOT_FAPI2: &str = "each provider of a layer with the FAPI 2.0 Security Profile must have it: see \
                         `Provider::with_fapi2_security_profile`";
