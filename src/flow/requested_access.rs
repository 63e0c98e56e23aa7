//! What every login requests beside scopes: resources (RFC 8707), authorization details (RFC 9396) and claims (OpenID
//! Connect Core §5.5).

use std::sync::Arc;

use serde_json::Value;

use super::error::{FlowError, FlowErrorKind};
use crate::config_error::ConfigError;
use crate::protocol::authorization_details::{AuthorizationDetails, MEMBER as DETAILS};
use crate::protocol::authorization_request::AuthorizationRequest;
use crate::protocol::requested_claims::RequestedClaims;
use crate::protocol::sanitize::{listed, log_safe};
use crate::protocol::{Metadata, authorization_details, requested_claims};

#[derive(Clone, Debug, Default)]
pub(super) struct RequestedAccess {
    /// The first is that of the session's access token.
    pub(super) resources: Vec<Arc<str>>,
    pub(super) authorization_details: AuthorizationDetails,
    pub(super) claims: RequestedClaims,
}

impl RequestedAccess {
    /// Adds the parameters of every login and of this one.
    pub(super) fn add_to(
        &self,
        details: Option<&AuthorizationDetails>,
        claims: Option<&RequestedClaims>,
        authorization: &mut AuthorizationRequest,
    ) {
        for resource in &self.resources {
            authorization.add("resource", resource);
        }
        let details = self.details_with(details);
        if !details.is_empty() {
            authorization.add(DETAILS, &details.to_json());
        }
        let claims = match claims {
            Some(claims) => self.claims.and(claims),
            None => self.claims.clone(),
        };
        if !claims.is_empty() {
            authorization.add("claims", &claims.to_json());
        }
    }

    /// Rejects authorization details whose type the server does not list (RFC 9396 §10). A server without a list may
    /// support any.
    pub(super) fn check(
        &self,
        details: Option<&AuthorizationDetails>,
        metadata: &Metadata,
    ) -> Result<(), FlowError> {
        let Some(supported) = metadata.authorization_details_types_supported() else {
            return Ok(());
        };
        let details = self.details_with(details);
        let is_supported = |name: &str| supported.iter().any(|one| one == name);
        let mut types = details.iter().map(|detail| detail.detail_type());
        match types.find(|name| !is_supported(name)) {
            None => Ok(()),
            Some(name) => Err(FlowError::new(
                FlowErrorKind::Configuration,
                "authorization_details_unsupported",
                format!(
                    "the metadata lists authorization_details_types_supported {} without {}, which \
                     LoginLayer::with_authorization_details requests",
                    listed(supported.iter().map(String::as_str)),
                    log_safe(name)
                ),
            )),
        }
    }

    fn details_with(&self, details: Option<&AuthorizationDetails>) -> AuthorizationDetails {
        match details {
            Some(details) => self.authorization_details.and(details),
            None => self.authorization_details.clone(),
        }
    }
}

/// Checks the authorization details of a request.
pub(crate) fn requested_details(details: Value) -> Result<AuthorizationDetails, ConfigError> {
    AuthorizationDetails::for_request(details).map_err(
        |authorization_details::InvalidAuthorizationDetails(reason)| ConfigError::Setting {
            setting: "authorization details",
            value: "[..]".to_owned(),
            reason,
        },
    )
}

/// Checks the claims of a request.
pub(crate) fn requested_claims(claims: Value) -> Result<RequestedClaims, ConfigError> {
    RequestedClaims::parse(claims).map_err(|requested_claims::InvalidRequestedClaims(reason)| {
        ConfigError::Setting {
            setting: "requested claims",
            value: "{..}".to_owned(),
            reason,
        }
    })
}
