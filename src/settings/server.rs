//! [`ServerSettings`]: how an authorization server is reached.

use std::time::Duration;

use serde::Deserialize;

use super::apply::set;
use super::error::At as _;
use super::text::duration;
use crate::config_error::ConfigError;
use crate::issuer::AuthorizationServer;

/// What the metadata of an authorization server does not say, or says wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerSettings {
    /// See [`AuthorizationServer::with_metadata_url`].
    pub metadata_url: Option<String>,
    /// See [`AuthorizationServer::with_revocation_endpoint`].
    pub revocation_endpoint: Option<String>,
    /// See [`AuthorizationServer::with_outage_limit`]: such as `"2h"`.
    #[serde(default, deserialize_with = "duration")]
    pub outage_limit: Option<Duration>,
}

/// Creates the handle of an authorization server: [`AuthorizationServer::new`], or a function of the application.
pub(super) type CreateServer<'a> = dyn Fn(&str) -> Result<AuthorizationServer, ConfigError> + 'a;

impl ServerSettings {
    pub(super) fn build(
        &self,
        issuer: &str,
        create: &CreateServer<'_>,
    ) -> Result<AuthorizationServer, ConfigError> {
        let server = create(issuer).at("issuer")?;
        let in_server = |result: Result<AuthorizationServer, ConfigError>| result.at("server");
        let url = self.metadata_url.as_deref();
        let server = in_server(set(server, "metadata_url", url, |server, url| {
            server.with_metadata_url(url)
        }))?;
        let url = self.revocation_endpoint.as_deref();
        let server = in_server(set(server, "revocation_endpoint", url, |server, url| {
            server.with_revocation_endpoint(url)
        }))?;
        let limit = self.outage_limit.as_ref();
        in_server(set(server, "outage_limit", limit, |server, limit| {
            server.with_outage_limit(*limit)
        }))
    }
}
