//! The settings of what every login requests beside scopes.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::requested_access::{requested_claims, requested_details};
use super::settings::Flow;
use crate::config_error::ConfigError;
use crate::token::id_token::ClaimRequirements;

/// Limits on the resources of a login, and on the length of each.
const MAX_RESOURCES: usize = 8;
const MAX_RESOURCE: usize = 512;

impl<R> Flow<R> {
    /// Adds a resource that every login requests access to (RFC 8707 §2).
    pub(crate) fn add_resource(mut self, uri: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Url {
            setting: "resource",
            value: uri.to_owned(),
            reason,
        };
        let is_absolute = Url::parse(uri).is_ok() && !uri.contains(char::is_whitespace);
        if !is_absolute || uri.contains('#') || uri.len() > MAX_RESOURCE {
            return Err(invalid(
                "it must be an absolute URI without a fragment, of at most 512 bytes (RFC 8707 §2)",
            ));
        }
        let resources = &mut self.access.resources;
        if resources.iter().any(|one| **one == *uri) || resources.len() == MAX_RESOURCES {
            return Err(invalid("there may be at most 8, each of them once"));
        }
        resources.push(uri.into());
        Ok(self)
    }

    /// Sets the authorization details that every login requests.
    pub(crate) fn with_authorization_details(
        mut self,
        details: Value,
    ) -> Result<Self, ConfigError> {
        self.access.authorization_details = requested_details(details)?;
        Ok(self)
    }

    /// Sets the claims that every login requests by name.
    pub(crate) fn with_requested_claims(mut self, claims: Value) -> Result<Self, ConfigError> {
        self.access.claims = requested_claims(claims)?;
        Ok(self)
    }

    /// Returns what the ID token of every login is checked for.
    pub(super) fn claim_requirements(&self) -> ClaimRequirements {
        ClaimRequirements::of(&self.access.claims)
    }

    pub(crate) fn resources(&self) -> &[Arc<str>] {
        &self.access.resources
    }

    /// Returns the configured resource that equals `uri`, compared byte for byte.
    pub(crate) fn find_resource(&self, uri: &str) -> Option<&Arc<str>> {
        self.resources().iter().find(|resource| ***resource == *uri)
    }

    /// Returns the resource that the access token of a session is requested for.
    pub(crate) fn main_resource(&self) -> Option<&Arc<str>> {
        self.resources().first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::{AuthorizationServer, Client};

    #[test]
    fn a_resource_is_an_absolute_uri_without_a_fragment_and_configured_once() {
        let server = AuthorizationServer::new("https://id.example.com").unwrap();
        let callback = "https://shop.example.com/auth/callback";
        let flow = Flow::new(&server, Client::public("shop"), callback).unwrap();
        let flow = flow.add_resource("https://api.example.com/orders").unwrap();
        for (uri, accepted) in [
            ("https://api.example.com/payments?tenant=1", true),
            ("urn:example:api", true),
            ("https://api.example.com/orders/", true),
            ("https://api.example.com/orders", false),
            ("https://api.example.com/#", false),
            ("https://api.example.com/a#b", false),
            ("https://api.example.com/ a", false),
            (" https://api.example.com", false),
            ("/orders", false),
            ("api", false),
            ("", false),
            (
                &format!("https://api.example.com/{}", "x".repeat(512)),
                false,
            ),
        ] {
            assert_eq!(flow.clone().add_resource(uri).is_ok(), accepted, "{uri}");
        }
        let many = (0..7).try_fold(flow, |flow, n| flow.add_resource(&format!("urn:x:{n}")));
        assert!(many.unwrap().add_resource("urn:x:7").is_err());
    }
}
