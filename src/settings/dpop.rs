//! [`DpopSettings`]: proofs of possession.

use std::time::Duration;

use serde::Deserialize;

use super::apply::set;
use super::error::At as _;
use super::text::{SecretText, algorithms, duration};
use crate::config_error::ConfigError;
use crate::token::{Dpop, DpopNonceKey};

/// How proofs of possession are checked, a [`Dpop`]. A store for several processes is set with
/// [`Dpop::with_store`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DpopSettings {
    /// The URL at which clients reach this server; see [`Dpop::new`].
    pub base_url: String,
    /// See [`Dpop::add_base_url`].
    #[serde(default)]
    pub further_base_urls: Vec<String>,
    /// See [`Dpop::required`].
    #[serde(default)]
    pub required: bool,
    /// See [`Dpop::with_nonces`]: the text of [`DpopNonceKey::from_text`].
    pub nonce_key: Option<SecretText>,
    /// See [`Dpop::with_algorithms`].
    pub algorithms: Option<Vec<String>>,
    /// See [`Dpop::with_max_age`], such as `"60s"`.
    #[serde(default, deserialize_with = "duration")]
    pub max_age: Option<Duration>,
    /// See [`Dpop::with_leeway`], such as `"10s"`.
    #[serde(default, deserialize_with = "duration")]
    pub leeway: Option<Duration>,
}

impl DpopSettings {
    pub(super) fn build(&self) -> Result<Dpop, ConfigError> {
        let mut dpop = Dpop::new(&self.base_url).at("base_url")?;
        for url in &self.further_base_urls {
            dpop = dpop.add_base_url(url).at("further_base_urls")?;
        }
        if self.required {
            dpop = dpop.required();
        }
        let dpop = set(dpop, "nonce_key", self.nonce_key.as_ref(), |dpop, key| {
            DpopNonceKey::from_text(key.expose()).map(|key| dpop.with_nonces(key))
        })?;
        let dpop = set(
            dpop,
            "algorithms",
            self.algorithms.as_ref(),
            |dpop, names| dpop.with_algorithms(algorithms(names)?),
        )?;
        let dpop = set(dpop, "max_age", self.max_age, Dpop::with_max_age)?;
        set(dpop, "leeway", self.leeway, Dpop::with_leeway)
    }
}
