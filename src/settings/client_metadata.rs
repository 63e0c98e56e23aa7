//! [`ClientMetadataSettings`]: the metadata document of the client.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::apply::set_texts;
use super::error::At as _;
use super::text::duration;
use crate::config_error::ConfigError;
use crate::login::ClientMetadata;

/// What the application adds to the metadata document of its client; see [`ClientMetadata`].
///
/// `Debug` shows the names of `members` and the number of `keys`: a private key may be among them by mistake.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientMetadataSettings {
    /// See [`ClientMetadata::with_client_name`].
    pub client_name: Option<String>,
    /// See [`ClientMetadata::with_client_uri`].
    pub client_uri: Option<String>,
    /// See [`ClientMetadata::with_logo_uri`].
    pub logo_uri: Option<String>,
    /// See [`ClientMetadata::with_tos_uri`].
    pub tos_uri: Option<String>,
    /// See [`ClientMetadata::with_policy_uri`].
    pub policy_uri: Option<String>,
    /// See [`ClientMetadata::with_member`], by name.
    #[serde(default)]
    pub members: BTreeMap<String, Value>,
    /// See [`ClientMetadata::add_key`]: public keys.
    #[serde(default)]
    pub keys: Vec<Value>,
    /// See [`ClientMetadata::with_max_age`], such as `"1h"`.
    #[serde(default, deserialize_with = "duration")]
    pub max_age: Option<Duration>,
}

impl ClientMetadataSettings {
    pub(super) fn build(&self) -> Result<ClientMetadata, ConfigError> {
        let mut metadata = ClientMetadata::new();
        if let Some(name) = &self.client_name {
            metadata = metadata.with_client_name(name);
        }
        if let Some(max_age) = self.max_age {
            metadata = metadata.with_max_age(max_age);
        }
        metadata = set_texts(
            metadata,
            [
                (
                    "client_uri",
                    &self.client_uri,
                    ClientMetadata::with_client_uri,
                ),
                ("logo_uri", &self.logo_uri, ClientMetadata::with_logo_uri),
                ("tos_uri", &self.tos_uri, ClientMetadata::with_tos_uri),
                (
                    "policy_uri",
                    &self.policy_uri,
                    ClientMetadata::with_policy_uri,
                ),
            ],
        )?;
        for (name, value) in &self.members {
            metadata = metadata.with_member(name, value.clone()).at("members")?;
        }
        for key in &self.keys {
            metadata = metadata.add_key(key).at("keys")?;
        }
        Ok(metadata)
    }
}

impl fmt::Debug for ClientMetadataSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMetadataSettings")
            .field("client_name", &self.client_name)
            .field("client_uri", &self.client_uri)
            .field("logo_uri", &self.logo_uri)
            .field("tos_uri", &self.tos_uri)
            .field("policy_uri", &self.policy_uri)
            .field("members", &self.members.keys())
            .field("keys", &self.keys.len())
            .field("max_age", &self.max_age)
            .finish()
    }
}
