//! [`Provider`]: where users of a layer sign in.

mod identity;
mod of_layer;
mod paths;
mod presets;

use std::fmt;
use std::sync::Arc;

pub(super) use self::paths::ProviderPaths;
use crate::config_error::ConfigError;
use crate::flow::Flow;
use crate::issuer::{AuthorizationServer, Client};

/// A provider that users sign in at: an authorization server, this application's client there, and what its logins
/// request.
///
/// [`LoginLayer::for_provider`](crate::LoginLayer::for_provider) creates a layer from one, and
/// [`LoginLayer::add_provider`](crate::LoginLayer::add_provider) adds more of them. Its settings are those of the layer for
/// the provider that the layer was created with; each provider has its own. Settings apply in any order.
///
/// ```
/// use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Provider};
///
/// let staff = AuthorizationServer::new("https://id.example.com")?;
/// let customers = AuthorizationServer::new("https://customers.example.com")?;
/// let staff = Provider::new("staff", &staff, Client::confidential("shop", "a secret"))?
///     .with_display_name("Example Inc.")
///     .with_scopes("openid email")?;
/// let customers = Provider::new("customers", &customers, Client::confidential("shop", "another secret"))?;
///
/// let redirect_uri = "https://shop.example.com/auth/callback";
/// let login = LoginLayer::for_provider(staff, redirect_uri, CookieKey::generate()?)?
///     .add_provider(customers)?;
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Provider {
    pub(super) name: Arc<str>,
    display_name: Option<Arc<str>>,
    /// Whether the server accepts redirect URIs below the registered one.
    pub(super) accepts_uris_below: bool,
    pub(super) flow: Flow<()>,
}

impl Provider {
    /// Creates a provider: users sign in at `server`, where this application is `client`. This performs no I/O.
    ///
    /// `name` is a part of the paths of the provider: `/auth/login/{name}`, and `/auth/callback/{name}` if it was added to
    /// a layer. [`Session::provider`](crate::Session::provider) returns it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless `name` is 1 to 32 lowercase letters, digits and `-`, or another variant if `client`
    /// cannot be used.
    pub fn new(
        name: &str,
        server: &AuthorizationServer,
        client: Client,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            name: checked_name(name)?,
            display_name: None,
            accepts_uris_below: false,
            flow: Flow::without_redirect_uri(server, client)?,
        })
    }

    /// Returns the only provider of a layer that does not distinguish providers.
    pub(super) fn unnamed(
        server: &AuthorizationServer,
        client: Client,
    ) -> Result<Self, ConfigError> {
        Self::new(DEFAULT_NAME, server, client)
    }

    /// Sets the name, for example of a preset that a layer has twice.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_name(self, name: &str) -> Result<Self, ConfigError> {
        let name = checked_name(name)?;
        Ok(Self { name, ..self })
    }

    /// Sets the name that users see: "Sign in with …". Default: the name of the provider.
    #[must_use]
    pub fn with_display_name(self, name: &str) -> Self {
        let display_name = Some(name.into());
        Self {
            display_name,
            ..self
        }
    }

    pub(super) fn display_name(&self) -> &Arc<str> {
        self.display_name.as_ref().unwrap_or(&self.name)
    }

    pub(super) fn with_flow(
        self,
        change: impl FnOnce(Flow<()>) -> Result<Flow<()>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let flow = change(self.flow)?;
        // Another setting may have to comply with the profile, too.
        flow.check_fapi2_settings()?;
        Ok(Self { flow, ..self })
    }

    pub(super) fn map_flow(self, change: impl FnOnce(Flow<()>) -> Flow<()>) -> Self {
        let flow = change(self.flow);
        Self { flow, ..self }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("issuer", &self.flow.server().issuer())
            .finish_non_exhaustive()
    }
}

/// Defines settings of providers: as methods of [`Provider`], and of [`LoginLayer`](crate::LoginLayer) for the provider
/// that the layer was created with.
macro_rules! provider_settings {
    ($($methods:tt)*) => {
        impl LoginLayer { $($methods)* }

        impl Provider { $($methods)* }
    };
}
pub(super) use provider_settings;

/// Returns the name, if it is a path segment that every service reads alike.
fn checked_name(name: &str) -> Result<Arc<str>, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(name.into());
    }
    Err(invalid_name(
        name,
        "it must be 1 to 32 lowercase letters, digits and `-`",
    ))
}

fn invalid_name(name: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting: "provider name",
        value: name.chars().take(MAX_IN_ERROR).collect(),
        reason,
    }
}

/// The name of the provider of a layer that was created without one.
pub(super) const DEFAULT_NAME: &str = "default";

const MAX_NAME: usize = 32;
const MAX_IN_ERROR: usize = 64;
