//! [`LoginSettings`]: a login layer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::apply::{Switch, set, set_flags, set_texts};
use super::client_metadata::ClientMetadataSettings;
use super::error::{At as _, combination};
use super::provider::ProviderSettings;
use super::routes::RouteNamesSettings;
use super::text::{SecretText, duration};
use crate::config_error::ConfigError;
use crate::crypto::CookieKey;
use crate::issuer::AuthorizationServer;
use crate::login::{Csrf, LoginLayer, SameSite};

/// A [`LoginLayer`].
///
/// Each setting is the method of [`LoginLayer`] that it names, with the same checks and defaults. Only `redirect_uri`,
/// `cookie_key_file` or `cookie_key`, and `provider` are required.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LoginSettings {
    /// The redirect URI; see [`LoginLayer::new`].
    pub redirect_uri: String,
    /// The keys that encrypt cookies; see [`CookieKey::from_text`].
    pub cookie_key: Option<SecretText>,
    /// A file with these keys; see [`CookieKey::from_file`].
    pub cookie_key_file: Option<PathBuf>,
    /// Where users sign in; with several providers, the one that the layer is created with
    /// ([`for_provider`](LoginLayer::for_provider)), which GitHub and Slack cannot be
    /// ([`add_provider`](LoginLayer::add_provider)).
    pub provider: ProviderSettings,
    /// [`add_provider`](LoginLayer::add_provider), by name, in alphabetical order.
    #[serde(default)]
    pub further_providers: BTreeMap<String, ProviderSettings>,
    /// [`with_post_logout_redirect_uri`](LoginLayer::with_post_logout_redirect_uri).
    pub post_logout_redirect_uri: Option<String>,
    /// [`with_default_return_to`](LoginLayer::with_default_return_to).
    pub default_return_to: Option<String>,
    /// [`with_path_prefix`](LoginLayer::with_path_prefix).
    pub path_prefix: Option<String>,
    /// [`with_route_names`](LoginLayer::with_route_names).
    pub route_names: Option<RouteNamesSettings>,
    /// [`with_cookie_name`](LoginLayer::with_cookie_name).
    pub cookie_name: Option<String>,
    /// [`with_same_site`](LoginLayer::with_same_site): `"lax"` or `"strict"`.
    pub same_site: Option<SameSite>,
    /// [`with_browser_session_cookie`](LoginLayer::with_browser_session_cookie).
    #[serde(default)]
    pub browser_session_cookie: bool,
    /// [`with_csrf`](LoginLayer::with_csrf): `"same_origin"` or `"static_header"`.
    pub csrf: Option<Csrf>,
    /// [`with_csrf_header`](LoginLayer::with_csrf_header).
    pub csrf_header: Option<String>,
    /// The absolute limit of [`with_session_limits`](LoginLayer::with_session_limits), such as `"8h"`. It needs
    /// `idle_limit`.
    #[serde(default, deserialize_with = "duration")]
    pub session_limit: Option<Duration>,
    /// The idle limit of [`with_session_limits`](LoginLayer::with_session_limits), such as `"1h"`. It needs
    /// `session_limit`.
    #[serde(default, deserialize_with = "duration")]
    pub idle_limit: Option<Duration>,
    /// [`with_max_sessions_per_user`](LoginLayer::with_max_sessions_per_user).
    pub max_sessions_per_user: Option<usize>,
    /// [`with_login_time_limit`](LoginLayer::with_login_time_limit), such as `"10m"`.
    #[serde(default, deserialize_with = "duration")]
    pub login_time_limit: Option<Duration>,
    /// [`with_clear_site_data`](LoginLayer::with_clear_site_data).
    #[serde(default)]
    pub clear_site_data: bool,
    /// [`with_third_party_login`](LoginLayer::with_third_party_login).
    #[serde(default)]
    pub third_party_login: bool,
    /// [`with_unnamed_frontchannel_logout`](LoginLayer::with_unnamed_frontchannel_logout).
    #[serde(default)]
    pub unnamed_frontchannel_logout: bool,
    /// [`with_client_metadata`](LoginLayer::with_client_metadata); an empty table suffices.
    pub client_metadata: Option<ClientMetadataSettings>,
}

impl LoginSettings {
    /// Creates the layer. Further methods of [`LoginLayer`] can be called on it, such as
    /// [`with_session_store`](LoginLayer::with_session_store) or [`with_on_login`](LoginLayer::with_on_login).
    ///
    /// Keys are read from their files with blocking I/O; otherwise this performs no I/O.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`], which names the setting, if a value is not possible or a file cannot be read;
    /// [`ConfigError::Combination`] (alone or in a `Key`) if settings contradict each other or one is missing.
    pub fn build(&self) -> Result<LoginLayer, ConfigError> {
        self.build_with(Ok)
    }

    /// Creates the layer, with authorization servers that `change` changes: for an HTTP client of the application, such as
    /// one that presents a certificate, or for a test server instead. Settings of `server` are applied afterwards.
    ///
    /// # Errors
    ///
    /// As for [`build`](Self::build), and those of `change`.
    pub fn build_with(
        &self,
        change: impl Fn(AuthorizationServer) -> Result<AuthorizationServer, ConfigError>,
    ) -> Result<LoginLayer, ConfigError> {
        let key = self.key()?;
        let name = self.provider.name.as_deref();
        let provider = self.provider.build(name, &change).at("provider")?;
        let mut login = LoginLayer::for_provider(provider, &self.redirect_uri, key)?;
        for (name, settings) in &self.further_providers {
            let key = format!("further_providers.{name}");
            if settings.name.is_some() {
                return combination("the name of a further provider is its key: remove `name`")
                    .at(&key);
            }
            let provider = settings.build(Some(name), &change).at(&key)?;
            login = login.add_provider(provider).at(&key)?;
        }
        let login = self.apply_routes(login)?;
        let login = self.apply_sessions(login)?;
        let metadata = self.client_metadata.as_ref();
        set(login, "client_metadata", metadata, |login, metadata| {
            login.with_client_metadata(metadata.build()?)
        })
    }

    fn key(&self) -> Result<CookieKey, ConfigError> {
        match (&self.cookie_key, &self.cookie_key_file) {
            (Some(text), None) => CookieKey::from_text(text.expose()).at("cookie_key"),
            (None, Some(path)) => CookieKey::from_file(path).at("cookie_key_file"),
            (Some(_), Some(_)) => combination("set `cookie_key` or `cookie_key_file`, not both"),
            (None, None) => combination("set `cookie_key_file` or `cookie_key`"),
        }
    }

    fn apply_routes(&self, login: LoginLayer) -> Result<LoginLayer, ConfigError> {
        let names = self.route_names.as_ref();
        let login = set(login, "route_names", names, |login, names| {
            login.with_route_names(names.build())
        })?;
        let mut login = set_texts(
            login,
            [
                (
                    "path_prefix",
                    &self.path_prefix,
                    LoginLayer::with_path_prefix,
                ),
                (
                    "post_logout_redirect_uri",
                    &self.post_logout_redirect_uri,
                    LoginLayer::with_post_logout_redirect_uri,
                ),
                (
                    "default_return_to",
                    &self.default_return_to,
                    LoginLayer::with_default_return_to,
                ),
                (
                    "cookie_name",
                    &self.cookie_name,
                    LoginLayer::with_cookie_name,
                ),
                (
                    "csrf_header",
                    &self.csrf_header,
                    LoginLayer::with_csrf_header,
                ),
            ],
        )?;
        if let Some(csrf) = self.csrf {
            login = login.with_csrf(csrf);
        }
        if let Some(same_site) = self.same_site {
            login = login.with_same_site(same_site);
        }
        Ok(login)
    }

    fn apply_sessions(&self, login: LoginLayer) -> Result<LoginLayer, ConfigError> {
        let login = match (self.session_limit, self.idle_limit) {
            (Some(absolute), Some(idle)) => {
                let limited = login.with_session_limits(absolute, idle);
                limited.at("session_limit, idle_limit")?
            }
            (None, None) => login,
            _ => return combination("set `session_limit` and `idle_limit`, or neither"),
        };
        let login = set(
            login,
            "max_sessions_per_user",
            self.max_sessions_per_user,
            LoginLayer::with_max_sessions_per_user,
        )?;
        let login = set(
            login,
            "login_time_limit",
            self.login_time_limit,
            LoginLayer::with_login_time_limit,
        )?;
        let flags: [(bool, Switch<LoginLayer>); 4] = [
            (
                self.browser_session_cookie,
                LoginLayer::with_browser_session_cookie,
            ),
            (self.clear_site_data, LoginLayer::with_clear_site_data),
            (self.third_party_login, LoginLayer::with_third_party_login),
            (
                self.unnamed_frontchannel_logout,
                LoginLayer::with_unnamed_frontchannel_logout,
            ),
        ];
        Ok(set_flags(login, flags))
    }
}
