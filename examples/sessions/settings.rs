//! What a process is told by its environment.

use std::env;
use std::error::Error;

use tower_oauth::CookieKey;

/// Where the sessions are.
pub(crate) enum Mode {
    Cookie,
    Shared,
    Store,
}

pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// Where this process listens, on 127.0.0.1.
    pub(crate) port: u16,
    /// The origin that people see: of this process, or of the proxy in front of several.
    pub(crate) base: String,
    /// The authorization server, if it is not the one that this process brings along.
    pub(crate) issuer: Option<String>,
    /// Where that one listens.
    pub(crate) issuer_addr: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) cookie_key: CookieKey,
    pub(crate) redis_url: String,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, Box<dyn Error>> {
        let port = or("PORT", "3000").parse()?;
        Ok(Self {
            mode: match &*or("MODE", "cookie") {
                "cookie" => Mode::Cookie,
                "shared" => Mode::Shared,
                "store" => Mode::Store,
                other => {
                    return Err(format!("MODE is cookie, shared or store, not {other:?}").into());
                }
            },
            port,
            base: or("BASE", &format!("http://127.0.0.1:{port}")),
            issuer: env::var("ISSUER").ok(),
            issuer_addr: or("ISSUER_ADDR", "127.0.0.1:9000"),
            client_id: or("CLIENT_ID", "sessions"),
            client_secret: or("CLIENT_SECRET", "sessions-secret"),
            // Every process needs the same. Without one, a restart signs everybody out.
            cookie_key: match env::var_os("COOKIE_KEY") {
                Some(_) => CookieKey::from_env("COOKIE_KEY")?,
                None => CookieKey::generate()?,
            },
            redis_url: or("REDIS_URL", "redis://127.0.0.1:6379"),
        })
    }

    pub(crate) fn issuer(&self) -> String {
        let own = || format!("http://{}", self.issuer_addr);
        self.issuer.clone().unwrap_or_else(own)
    }
}

fn or(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
