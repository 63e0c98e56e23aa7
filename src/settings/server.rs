//! [`ServerSettings`]: how an authorization server is reached.

use std::time::Duration;

use serde::Deserialize;

use super::apply::{set, set_texts};
use super::error::{At as _, combination};
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
    /// See [`AuthorizationServer::with_revocation_endpoint`], for a login layer.
    pub revocation_endpoint: Option<String>,
    /// See [`AuthorizationServer::with_outage_limit`]: such as `"2h"`.
    #[serde(default, deserialize_with = "duration")]
    pub outage_limit: Option<Duration>,
}

/// Changes the handle of an authorization server: what the application sets in code.
pub(super) type ChangeServer<'a> =
    dyn Fn(AuthorizationServer) -> Result<AuthorizationServer, ConfigError> + 'a;

impl ServerSettings {
    pub(super) fn build(
        &self,
        issuer: &str,
        change: &ChangeServer<'_>,
    ) -> Result<AuthorizationServer, ConfigError> {
        let server = AuthorizationServer::new(issuer).at("issuer")?;
        self.apply(change(server)?)
    }

    /// As [`build`](Self::build), for an API, which revokes no tokens.
    pub(super) fn build_for_api(
        &self,
        issuer: &str,
        change: &ChangeServer<'_>,
    ) -> Result<AuthorizationServer, ConfigError> {
        if self.revocation_endpoint.is_some() {
            return combination("it has an effect with a login layer only")
                .at("revocation_endpoint")
                .at("server");
        }
        self.build(issuer, change)
    }

    pub(super) fn apply(
        &self,
        server: AuthorizationServer,
    ) -> Result<AuthorizationServer, ConfigError> {
        self.apply_all(server).at("server")
    }

    fn apply_all(&self, server: AuthorizationServer) -> Result<AuthorizationServer, ConfigError> {
        let server = set_texts(
            server,
            [
                (
                    "metadata_url",
                    &self.metadata_url,
                    AuthorizationServer::with_metadata_url,
                ),
                (
                    "revocation_endpoint",
                    &self.revocation_endpoint,
                    AuthorizationServer::with_revocation_endpoint,
                ),
            ],
        )?;
        set(
            server,
            "outage_limit",
            self.outage_limit,
            AuthorizationServer::with_outage_limit,
        )
    }
}
