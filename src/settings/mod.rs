//! Settings from a configuration file: layers from values that serde reads.
//!
//! [`LoginSettings`] and [`BearerSettings`] can be fields of the application's own configuration, in any format of serde
//! (TOML, YAML, JSON). `build` calls the methods of the layers, so checks, defaults and documentation are the same, and an
//! invalid value is a [`ConfigError`](crate::ConfigError) that names the setting. A setting that does not exist is an error
//! of the reader. What a text cannot express is set on the layer afterwards: a session store, hooks, pages.
//!
//! ```
//! use serde::Deserialize;
//! use tower_oauth::settings::{BearerSettings, LoginSettings};
//! use tower_oauth::store::MemoryStore;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     login: LoginSettings,
//!     api: BearerSettings,
//! }
//!
//! # let folder = std::env::temp_dir().join(format!("settings-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let key = folder.join("cookie.key");
//! # std::fs::write(&key, tower_oauth::CookieKey::generate_text()?.as_bytes())?;
//! let text = r#"
//!     [login]
//!     redirect_uri = "https://shop.example.com/auth/callback"
//!     post_logout_redirect_uri = "https://shop.example.com/auth/logout"
//!     cookie_key_file = "/run/secrets/cookie-key"
//!     session_limit = "12h"
//!     idle_limit = "30m"
//!
//!     [login.provider]
//!     issuer = "https://id.example.com"
//!     scopes = "openid email"
//!
//!     [login.provider.client]
//!     id = "shop"
//!     secret_file = "/run/secrets/client-secret"
//!
//!     [[api.issuers]]
//!     issuer = "https://id.example.com"
//!     audience = ["https://api.example.com"]
//! "#;
//! # let text = &text.replace("/run/secrets/cookie-key", key.to_str().unwrap_or_default());
//! let config: Config = toml::from_str(text)?;
//! let login = config.login.build()?.with_session_store(MemoryStore::new());
//! let api = config.api.build()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A provider that this crate knows needs no issuer: `preset = "google"` ([`Preset`]). Further providers are tables by name:
//! `[login.further_providers.github]`.
//!
//! # Values
//!
//! Durations are a number and a unit: `"90s"`, `"15m"`, `"8h"`, `"30d"`. Algorithms have their registered names (`"ES256"`).
//!
//! Secrets and keys are in files of their own (`secret_file`, `private_key_file`, `cookie_key_file`) or in the value of the
//! setting itself (`secret`, `private_key`, `cookie_key`). The value is a [`SecretText`], which is not printed. Errors of this
//! module contain no secret, but readers may quote the line that they reject: `toml` does in `Display` of its error, and not
//! in `message()`.
//!
//! # Environment variables
//!
//! A library such as figment or config merges them into the file, and needs no support here:
//!
//! ```ignore
//! let config: Config = Figment::new()
//!     .merge(Toml::file("shop.toml"))
//!     .merge(Env::prefixed("SHOP_").split("__"))
//!     .extract()?;
//! // SHOP_LOGIN__PROVIDER__CLIENT__SECRET=… sets login.provider.client.secret
//! ```

mod apply;
mod bearer;
mod client;
mod client_metadata;
mod create_provider;
mod dpop;
mod error;
mod login;
mod preset;
mod provider;
mod routes;
mod server;
mod text;

pub use bearer::{BearerSettings, IntrospectionSettings, IssuerSettings};
pub use client::{AuthenticationMethod, ClientSettings};
pub use client_metadata::ClientMetadataSettings;
pub use dpop::DpopSettings;
pub use login::LoginSettings;
pub use preset::Preset;
pub use provider::{EndSessionSettings, Fapi2Profile, ProviderSettings};
pub use routes::RouteNamesSettings;
pub use server::ServerSettings;
pub use text::SecretText;
