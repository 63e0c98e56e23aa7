//! Settings from a configuration file: layers from values that serde reads.
//!
//! [`LoginSettings`] and [`BearerSettings`] can be fields of the application's own configuration, in any format that serde
//! reads (TOML, YAML, JSON). `build` calls the methods of the layers, so checks, defaults and documentation are the same.
//! What a text cannot express is set on the layer that `build` returns: a session store, hooks, pages.
//!
//! A setting that does not exist is an error when the text is read. One with an invalid value, or that the preset of its
//! provider does not use, is a [`ConfigError`](crate::ConfigError) of `build` that names it: `provider.client.secret_file`.
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
//! `preset = "google"` takes the place of `issuer` for a provider that this crate knows; some presets need `issuer` or another
//! setting beside it ([`Preset`]). Further providers of a layer are tables by name, with the same settings as
//! `[login.provider]`: `[login.further_providers.github]`.
//!
//! # Values
//!
//! Durations are a number and a unit: `"90s"`, `"15m"`, `"8h"`, `"30d"`. Algorithms have their registered names (`"ES256"`).
//!
//! Secrets and keys are in files of their own (`secret_file`, `private_key_file`, `cookie_key_file`) or in the value of the
//! setting itself (`secret`, `private_key`, `cookie_key`). The value is a [`SecretText`], which is not printed. Errors of this
//! module contain no secret. Those of the format may quote the line that they reject: log `message()` of an error of `toml`,
//! since its `Display` has the line.
//!
//! # Environment variables
//!
//! A library such as figment or config merges them with the file. With figment and the `Config` above:
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
