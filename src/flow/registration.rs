//! What a client must be registered with for this flow (RFC 7591 §2, OpenID Connect Registration §2).

use serde_json::{Map, Value, json};

use super::error::{FlowError, FlowErrorKind};
use super::request_settings::PushedRequests;
use super::settings::Flow;
use crate::config_error::ConfigError;
use crate::crypto::Algorithm;
use crate::issuer::AssertionPublicKey;

/// The registration of the client of a flow.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Members of the client metadata that follow from the settings of the flow.
    pub(crate) members: Map<String, Value>,
    /// Whether the client authenticates with a secret that both sides know.
    pub(crate) is_symmetric: bool,
    /// The key that signs client assertions.
    pub(crate) assertion_key: AssertionPublicKey,
    /// The key that signs authorization requests.
    pub(crate) request_key: Option<Value>,
}

impl Flow {
    pub(crate) fn registration(&self) -> Registration {
        let authentication = self.client().registered_authentication();
        let request_key = self.requests.key.as_ref();
        let mut members = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        // RFC 7591 §2: a client without `refresh_token` may not use the refresh tokens that it gets.
        let grant_types = json!(["authorization_code", "refresh_token"]);
        set("redirect_uris", Some(json!([self.redirect.as_str()])));
        set("grant_types", Some(grant_types));
        set("response_types", Some(json!(["code"])));
        set("scope", Some(self.scopes.to_string().into()));
        set(
            "token_endpoint_auth_method",
            authentication.method.map(Value::from),
        );
        set(
            "token_endpoint_auth_signing_alg",
            authentication.algorithm.map(Value::from),
        );
        let post_logout = self.post_logout_redirect_uri.as_ref();
        set(
            "post_logout_redirect_uris",
            post_logout.map(|uri| json!([uri])),
        );
        let flag = |is_set: bool| is_set.then_some(Value::Bool(true));
        set("dpop_bound_access_tokens", flag(self.dpop));
        set(
            "tls_client_certificate_bound_access_tokens",
            flag(self.client().has_certificate()),
        );
        set(
            "require_pushed_authorization_requests",
            flag(self.requests.pushed == PushedRequests::Required),
        );
        set("require_signed_request_object", flag(request_key.is_some()));
        set(
            "request_object_signing_alg",
            request_key.map(|key| key.algorithm().name().into()),
        );
        let algorithm = self.signing_algorithm();
        set("id_token_signed_response_alg", algorithm.clone());
        let is_signed = self.response_mode().is_signed();
        set(
            "authorization_signed_response_alg",
            algorithm.filter(|_| is_signed),
        );
        Registration {
            members,
            is_symmetric: authentication.is_symmetric,
            assertion_key: authentication.key,
            request_key: request_key.map(|key| key.public_jwk()),
        }
    }

    /// Returns the algorithm that the authorization server has to sign with, unless the default of registrations is
    /// accepted, which is RS256 (OpenID Connect Registration §2, JARM §3).
    fn signing_algorithm(&self) -> Option<Value> {
        let permitted = self.id_tokens().permitted();
        match permitted.contains(&Algorithm::Rs256) {
            true => None,
            false => permitted.first().map(|one| one.name().into()),
        }
    }
}

impl FlowError {
    /// The metadata of the client cannot be published.
    pub(crate) fn invalid_registration(error: &ConfigError) -> Self {
        let reason = error.to_string();
        Self::new(FlowErrorKind::Configuration, "client_metadata", reason)
    }
}
