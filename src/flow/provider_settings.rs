//! The settings of a flow for what differs among providers: who identifies its users, and which issuers they
//! belong to.

use super::identity::{IdentitySource, SharedIdentitySource};
use super::settings::{Flow, check_client};
use crate::config_error::ConfigError;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::ScopeSet;
use crate::token::expected_issuer::ExpectedIssuer;

impl Flow<()> {
    /// Creates a flow for a server without ID tokens, which requests no scopes yet.
    pub(crate) fn without_id_token(
        server: &AuthorizationServer,
        client: Client,
        source: impl IdentitySource,
    ) -> Result<Self, ConfigError> {
        let mut flow = Self::without_redirect_uri(server, client)?;
        flow.scopes = ScopeSet::default();
        flow.identity = Some(SharedIdentitySource::new(source));
        Ok(flow)
    }

    /// Replaces the client.
    pub(crate) fn with_client(mut self, client: Client) -> Result<Self, ConfigError> {
        check_client(&client)?;
        self.client = client;
        Ok(self)
    }

    /// Changes the handle of the authorization server, which stays the same server.
    pub(crate) fn with_server(
        mut self,
        change: impl FnOnce(AuthorizationServer) -> Result<AuthorizationServer, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let server = change(self.server.clone())?;
        if server.issuer() != self.server.issuer() {
            return Err(ConfigError::Issuer {
                value: server.issuer().to_owned(),
                reason: "it must be the handle of the same authorization server",
            });
        }
        self.server = server;
        Ok(self)
    }
}

impl<R> Flow<R> {
    /// Reads the scopes of token responses as separated by commas.
    pub(crate) fn with_comma_separated_scopes(mut self) -> Self {
        self.has_comma_scopes = true;
        self
    }

    /// Leaves out the refresh tokens of logins.
    pub(crate) fn without_refresh_tokens(mut self) -> Self {
        self.keeps_refresh_tokens = false;
        self
    }

    /// Returns the scopes of a token response.
    pub(super) fn granted_scopes(&self, scopes: ScopeSet) -> ScopeSet {
        if !self.has_comma_scopes {
            return scopes;
        }
        let mut separated = ScopeSet::default();
        for scope in scopes.to_string().split([',', ' ']) {
            if !scope.is_empty() {
                separated.insert(scope);
            }
        }
        separated
    }

    /// Accepts these texts for the issuer of the server in ID tokens.
    pub(crate) fn with_issuer_aliases(self, aliases: &[&str]) -> Result<Self, ConfigError> {
        let aliases = aliases.iter().map(|one| (*one).to_owned()).collect();
        self.with_id_tokens(|settings| Ok(settings.with_issuer(ExpectedIssuer::Aliases(aliases))))
    }

    /// Accepts ID tokens of these tenants. The issuer of the server is a template of theirs.
    pub(crate) fn with_tenants<'a>(
        self,
        tenants: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let issuers = ExpectedIssuer::tenants(self.server.issuer(), tenants)?;
        self.with_id_tokens(|settings| Ok(settings.with_issuer(issuers)))
    }

    /// Returns the issuer that users of a token with this `iss` belong to. `None` if no user of this provider does.
    pub(crate) fn issuer_of<'a>(&'a self, iss: &'a str) -> Option<&'a str> {
        self.id_tokens()
            .issuer()
            .canonical(self.server.issuer(), iss)
    }

    /// Returns every issuer that users of this provider can belong to.
    pub(crate) fn issuers(&self) -> Vec<&str> {
        self.id_tokens().issuer().all(self.server.issuer())
    }
}
