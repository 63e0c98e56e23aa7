//! How an authorization request is sent: in the URL that the browser is redirected to, as a signed object there (RFC
//! 9101), or over the back channel (RFC 9126), signed or not.

use url::Url;

use super::error::{FlowError, FlowErrorKind};
use super::request_settings::{PushedRequests, ResponseMode};
use super::settings::Flow;
use super::token_endpoint::{endpoint_error, well_formed};
use super::transaction::LoginPurpose;
use crate::crypto::{Algorithm, SigningKey};
use crate::protocol::Metadata;
use crate::protocol::authorization_request::{AuthorizationRequest, authorization_url};
use crate::protocol::endpoint::{PUSHED_REQUEST_ENDPOINT, ServerEndpoint};
use crate::protocol::metadata::{REQUEST_OBJECT_ALGORITHMS, RESPONSE_MODES};
use crate::protocol::sanitize::listed;

impl<R> Flow<R> {
    pub(crate) fn with_pushed_requests(mut self, pushed: PushedRequests) -> Self {
        self.requests.pushed = pushed;
        self
    }

    pub(crate) fn with_signed_requests(mut self, key: SigningKey) -> Self {
        self.requests.key = Some(key);
        self
    }

    pub(crate) fn with_response_mode(mut self, mode: ResponseMode) -> Self {
        self.requests.response_mode = mode;
        self
    }

    pub(crate) fn response_mode(&self) -> ResponseMode {
        self.requests.response_mode
    }
}

impl Flow {
    /// Returns an error unless an authorization request can be sent to this server as configured.
    pub(super) fn check_sendable(&self, metadata: &Metadata) -> Result<(), FlowError> {
        authorization_endpoint(metadata)?;
        self.push_endpoint(metadata)?;
        self.check_signing(metadata)?;
        self.check_response_mode(metadata)
    }

    /// Returns the origin of the authorization endpoint, as browsers serialize it.
    pub(crate) async fn authorization_origin(&self) -> Result<String, FlowError> {
        let metadata = self.server.metadata().await?;
        let endpoint = authorization_endpoint(&metadata)?;
        Ok(endpoint.origin().ascii_serialization())
    }

    /// Sends the request, as far as it does not go with the browser, and returns the URL to redirect the browser to.
    pub(super) async fn send_request(
        &self,
        metadata: &Metadata,
        request: &AuthorizationRequest,
        purpose: LoginPurpose,
    ) -> Result<String, FlowError> {
        let endpoint = authorization_endpoint(metadata)?;
        let client_id = ("client_id", self.client.id());
        let object = match &self.requests.key {
            Some(key) => Some(self.request_object(key, request)?),
            None => None,
        };
        if let Some(push_endpoint) = self.push_endpoint(metadata)? {
            // RFC 9126 §3: beside a request object, the form has only what authenticates the client.
            let parameters: Vec<_> = match &object {
                Some(object) => vec![("request", object.as_str())],
                None => request.parameters().collect(),
            };
            let request_uri = self.push(push_endpoint, &parameters, purpose).await?;
            // FAPI 2.0 §5.3.3.2: nothing else goes with the browser.
            let parameters = [client_id, ("request_uri", request_uri.as_str())];
            return Ok(authorization_url(&endpoint, &parameters));
        }
        let Some(object) = object else {
            return Ok(request.url(&endpoint));
        };
        // OpenID Connect Core §6.1: a request is one of OAuth 2.0 and of OpenID Connect without its object as well. RFC
        // 9101 §5 permits the copies, of which a server uses none (§6.3).
        let mut parameters = vec![client_id, ("request", object.as_str())];
        let copied = |(name, _): &(&str, &str)| ["response_type", "scope"].contains(name);
        parameters.extend(request.parameters().filter(copied));
        Ok(authorization_url(&endpoint, &parameters))
    }

    /// Returns the endpoint to push requests to, or `None` if they go with the browser. A server that requires pushed
    /// requests, or whose endpoint cannot be used, is an error: nothing falls back to the browser.
    fn push_endpoint<'m>(&self, metadata: &'m Metadata) -> Result<Option<&'m str>, FlowError> {
        if self.requests.pushed == PushedRequests::Never {
            if metadata.requires_pushed_requests() {
                return Err(configuration(
                    "pushed_requests_required",
                    "require_pushed_authorization_requests of the metadata is true, and \
                     `LoginLayer::with_pushed_requests` is `Never`",
                ));
            }
            return Ok(None);
        }
        let endpoint = ServerEndpoint::PushedAuthorizationRequest;
        if metadata
            .endpoint(endpoint, self.client.has_certificate())
            .is_none()
        {
            well_formed(metadata, &[PUSHED_REQUEST_ENDPOINT])?;
            let why = metadata.why_unusable(PUSHED_REQUEST_ENDPOINT);
            if self.requests.pushed == PushedRequests::Required {
                let message =
                    format!("{why}, and `LoginLayer::with_pushed_requests` is `Required`");
                return Err(configuration("no_pushed_request_endpoint", message));
            }
            if metadata.requires_pushed_requests() {
                let message = format!(
                    "{why}, although its require_pushed_authorization_requests is true; set it with \
                     `AuthorizationServer::with_metadata`"
                );
                return Err(configuration("no_pushed_request_endpoint", message));
            }
            return Ok(None);
        }
        let endpoint = self.client.endpoint(metadata, endpoint);
        endpoint
            .map(Some)
            .map_err(|error| endpoint_error(&error, "no_pushed_request_endpoint"))
    }

    /// Checks that the server accepts the requests as they are signed, or not signed (RFC 9101 §10.5).
    fn check_signing(&self, metadata: &Metadata) -> Result<(), FlowError> {
        let Some(key) = &self.requests.key else {
            if metadata.requires_signed_requests() {
                return Err(configuration(
                    "signed_requests_required",
                    "require_signed_request_object of the metadata is true; set a key with \
                     `LoginLayer::with_signed_requests`",
                ));
            }
            return Ok(());
        };
        self.check_claim_names()?;
        well_formed(metadata, &[REQUEST_OBJECT_ALGORITHMS])?;
        let algorithm = key.algorithm();
        match metadata.request_object_algorithms() {
            Some(names) if !is_listed(algorithm, names) => {
                let listed = listed(names.iter().map(String::as_str));
                let message = format!(
                    "{REQUEST_OBJECT_ALGORITHMS} of the metadata is {listed}, and the key of \
                     `LoginLayer::with_signed_requests` signs with {}; see `SigningKey::with_algorithm`",
                    algorithm.name(),
                );
                Err(configuration("request_object_algorithm", message))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the server supports the response mode. The mode `query` is not sent and not checked: it is the default
    /// of the code flow, which not every list has.
    fn check_response_mode(&self, metadata: &Metadata) -> Result<(), FlowError> {
        let Some(mode) = self.requests.response_mode.name() else {
            return Ok(());
        };
        well_formed(metadata, &[RESPONSE_MODES])?;
        match metadata.response_modes() {
            Some(modes) if !modes.iter().any(|one| one == mode) => {
                let listed = listed(modes.iter().map(String::as_str));
                let message = format!(
                    "{RESPONSE_MODES} of the metadata is {listed}, and `LoginLayer::with_response_mode` is {mode:?}"
                );
                Err(configuration("response_mode_unsupported", message))
            }
            _ => Ok(()),
        }
    }
}

fn is_listed(algorithm: Algorithm, names: &[String]) -> bool {
    names
        .iter()
        .any(|name| Algorithm::from_name(name) == Some(algorithm))
}

fn configuration(
    code: &'static str,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> FlowError {
    FlowError::new(FlowErrorKind::Configuration, code, message)
}

fn authorization_endpoint(metadata: &Metadata) -> Result<Url, FlowError> {
    metadata
        .authorization_endpoint()
        .and_then(|endpoint| Url::parse(endpoint).ok())
        .ok_or_else(|| {
            configuration(
                "no_authorization_endpoint",
                metadata.why_unusable("authorization_endpoint"),
            )
        })
}
