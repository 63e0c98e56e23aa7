//! How an authorization request is sent: the URL that the browser is redirected to.

use url::Url;

use super::error::{FlowError, FlowErrorKind};
use crate::protocol::Metadata;
use crate::protocol::authorization_request::AuthorizationRequest;

/// Returns an error unless an authorization request can be sent to this server.
pub(super) fn check_sendable(metadata: &Metadata) -> Result<(), FlowError> {
    authorization_endpoint(metadata).map(|_| ())
}

/// Returns the URL to redirect the browser to.
pub(super) fn authorization_location(
    metadata: &Metadata,
    request: &AuthorizationRequest,
) -> Result<String, FlowError> {
    let endpoint = authorization_endpoint(metadata)?;
    Ok(request.url(&endpoint))
}

fn authorization_endpoint(metadata: &Metadata) -> Result<Url, FlowError> {
    metadata
        .authorization_endpoint()
        .and_then(|endpoint| Url::parse(endpoint).ok())
        .ok_or_else(|| {
            FlowError::new(
                FlowErrorKind::Configuration,
                "no_authorization_endpoint",
                metadata.why_unusable("authorization_endpoint"),
            )
        })
}
