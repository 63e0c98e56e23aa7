//! The settings of an authorization server.

use std::sync::Arc;
use std::time::Duration;

use super::back_channel::{BackChannelClient, BackChannelService, HttpPolicy};
use super::static_keys::StaticKeys;
use crate::clock::{SharedClock, system_clock};
use crate::protocol::Metadata;

/// How long keys are used beyond their lifetime while the server is unreachable.
const DEFAULT_OUTAGE_LIMIT: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) issuer: String,
    pub(super) clock: SharedClock,
    pub(super) channel: BackChannelClient,
    pub(super) static_metadata: Option<Metadata>,
    /// The only address that is asked for the metadata.
    pub(super) metadata_url: Option<String>,
    /// Replaces that of the metadata.
    pub(super) revocation_endpoint: Option<String>,
    pub(super) static_keys: Option<StaticKeys>,
    pub(super) outage_limit: Duration,
}

impl Settings {
    /// Creates the default settings for an issuer that was checked.
    pub(super) fn new(issuer: &str, http: HttpPolicy) -> Self {
        let clock = system_clock();
        Self {
            issuer: issuer.to_owned(),
            channel: BackChannelClient::new(default_service(), Arc::clone(&clock), http),
            clock,
            static_metadata: None,
            metadata_url: None,
            revocation_endpoint: None,
            static_keys: None,
            outage_limit: DEFAULT_OUTAGE_LIMIT,
        }
    }

    /// Returns whether metadata and keys are fetched in the same way.
    pub(super) fn fetches_as(&self, other: &Self) -> bool {
        let is_fetched = |one: &Self| one.static_metadata.is_none() && one.static_keys.is_none();
        is_fetched(self)
            && is_fetched(other)
            && self.issuer == other.issuer
            && self.metadata_url == other.metadata_url
            && self.revocation_endpoint == other.revocation_endpoint
            && self.outage_limit == other.outage_limit
            && self.channel.is_same(&other.channel)
    }
}

#[cfg(feature = "reqwest")]
fn default_service() -> Option<BackChannelService> {
    Some(super::reqwest::service())
}

#[cfg(not(feature = "reqwest"))]
fn default_service() -> Option<BackChannelService> {
    None
}
