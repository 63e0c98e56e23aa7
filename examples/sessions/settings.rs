//! Settings from environment variables.

use std::env;
use std::error::Error;

use tower_oauth::CookieKey;

/// Where sessions are stored.
pub(crate) enum Mode {
    Cookie,
    Shared,
    Store,
}

pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// The port of this process, on 127.0.0.1.
    pub(crate) port: u16,
    /// The public origin: of this process, or of the proxy in front of several.
    pub(crate) base: String,
    /// The issuer; `None` for the demo authorization server.
    pub(crate) issuer: Option<String>,
    /// The address of the demo authorization server.
    pub(crate) issuer_addr: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) cookie_key: CookieKey,
    pub(crate) redis_url: String,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, Box<dyn Error>> {
        let port = var_or("PORT", "3000").parse()?;
        Ok(Self {
            mode: match &*var_or("MODE", "cookie") {
                "cookie" => Mode::Cookie,
                "shared" => Mode::Shared,
                "store" => Mode::Store,
                other => {
                    return Err(
                        format!("MODE must be cookie, shared or store, not {other:?}").into(),
                    );
                }
            },
            port,
            base: var_or("BASE", &format!("http://127.0.0.1:{port}")),
            issuer: env::var("ISSUER").ok(),
            issuer_addr: var_or("ISSUER_ADDR", "127.0.0.1:9000"),
            client_id: var_or("CLIENT_ID", "sessions"),
            client_secret: var_or("CLIENT_SECRET", "sessions-secret"),
            // All processes need the same key. A generated key ends all sessions at a restart.
            cookie_key: match env::var_os("COOKIE_KEY") {
                Some(_) => CookieKey::from_env("COOKIE_KEY")?,
                None => CookieKey::generate()?,
            },
            redis_url: var_or("REDIS_URL", "redis://127.0.0.1:6379"),
        })
    }

    pub(crate) fn issuer(&self) -> String {
        let demo = || format!("http://{}", self.issuer_addr);
        self.issuer.clone().unwrap_or_else(demo)
    }
}

fn var_or(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
