//! Which endpoint a client uses, and which authentication methods it may use there.

use super::client::{Authentication, Client};
use crate::crypto::Algorithm;
use crate::protocol::Metadata;
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::form::encode_component;
use crate::protocol::metadata::MalformedMember;
use crate::protocol::sanitize::listed;

/// Why a client cannot use an endpoint of the metadata.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("{reason}{}", setting_of(*.endpoint))]
    Missing {
        endpoint: ServerEndpoint,
        reason: String,
    },
    #[error("{0}; `Client::with_unlisted_method` ignores the list")]
    MalformedList(MalformedMember),
    #[error(
        "{list} of the metadata is {listed}, expected {method:?}; use another constructor of `Client`, or \
         `Client::with_unlisted_method` if the list is wrong"
    )]
    Method {
        list: &'static str,
        listed: String,
        method: &'static str,
    },
    #[error(
        "{list} of the metadata is {listed}, expected {algorithm:?}; use another algorithm (a key of another type, \
         `SigningKey::with_algorithm` or `Client::with_hmac_algorithm`), or `Client::with_unlisted_method` if the list \
         is wrong"
    )]
    Algorithm {
        list: &'static str,
        listed: String,
        algorithm: &'static str,
    },
}

/// Names the setting that replaces a missing member.
fn setting_of(endpoint: ServerEndpoint) -> &'static str {
    match endpoint {
        ServerEndpoint::Introspection => "; set it with `IntrospectionVerifier::with_endpoint`",
        ServerEndpoint::Revocation => {
            "; set it with `AuthorizationServer::with_revocation_endpoint`"
        }
        ServerEndpoint::Token
        | ServerEndpoint::UserInfo
        | ServerEndpoint::PushedAuthorizationRequest => {
            "; set it with `AuthorizationServer::with_metadata`"
        }
    }
}

impl Client {
    /// Returns the address of an endpoint of the metadata, unless the endpoint does not support the authentication
    /// method of the client: the credential must not be sent then.
    pub(crate) fn endpoint<'m>(
        &self,
        metadata: &'m Metadata,
        endpoint: ServerEndpoint,
    ) -> Result<&'m str, EndpointError> {
        let url = metadata.endpoint(endpoint, self.has_certificate());
        let url = url.ok_or_else(|| EndpointError::Missing {
            endpoint,
            reason: metadata.why_unusable(endpoint.name()),
        })?;
        if !self.may_be_unlisted {
            self.check_method(metadata, endpoint)?;
            self.check_algorithm(metadata, endpoint)?;
        }
        Ok(url)
    }

    /// Returns the registered name of the method, if it has one name and credentials that the client sends.
    pub(super) fn method_name(&self) -> Option<&'static str> {
        match &self.authentication {
            Authentication::Basic(_) => Some("client_secret_basic"),
            Authentication::Post(_) => Some("client_secret_post"),
            Authentication::SecretJwt(_) => Some("client_secret_jwt"),
            Authentication::FederatedAssertion(_) if self.is_spiffe => Some("spiffe_jwt"),
            Authentication::PrivateKeyJwt(_) | Authentication::FederatedAssertion(_) => {
                Some("private_key_jwt")
            }
            Authentication::MutualTls | Authentication::BearerToken(_) | Authentication::None => {
                None
            }
        }
    }

    /// A server without a list, a client without credentials and one with a certificate are always accepted: servers
    /// do not list these methods reliably.
    fn check_method(
        &self,
        metadata: &Metadata,
        endpoint: ServerEndpoint,
    ) -> Result<(), EndpointError> {
        let Some(method) = self.method_name() else {
            return Ok(());
        };
        let list = endpoint.auth_methods_name();
        let checked = metadata.require_well_formed(&[list]);
        checked.map_err(EndpointError::MalformedList)?;
        match metadata.auth_methods(endpoint) {
            Some(all) if !all.iter().any(|one| one == method) => Err(EndpointError::Method {
                list,
                listed: listed(all.iter().map(String::as_str)),
                method,
            }),
            _ => Ok(()),
        }
    }

    /// The algorithm of a federated assertion is that of another system, so it is not checked.
    fn check_algorithm(
        &self,
        metadata: &Metadata,
        endpoint: ServerEndpoint,
    ) -> Result<(), EndpointError> {
        let algorithm = match &self.authentication {
            Authentication::SecretJwt(_) => self.hmac_algorithm().name(),
            Authentication::PrivateKeyJwt(key) => key.algorithm().name(),
            _ => return Ok(()),
        };
        let list = endpoint.auth_algorithms_name();
        let checked = metadata.require_well_formed(&[list]);
        checked.map_err(EndpointError::MalformedList)?;
        // `Ed25519` and `EdDSA` are two names of one algorithm here (RFC 9864).
        let is_ours = |one: &String| {
            one == algorithm || Algorithm::from_name(one).is_some_and(|one| one.name() == algorithm)
        };
        match metadata.auth_algorithms(endpoint) {
            Some(all) if !all.iter().any(is_ours) => Err(EndpointError::Algorithm {
                list,
                listed: listed(all.iter().map(String::as_str)),
                algorithm,
            }),
            _ => Ok(()),
        }
    }

    /// Returns what an operator can try if the server rejected the credentials.
    pub(crate) fn rejection_advice(&self) -> &'static str {
        match &self.authentication {
            Authentication::Basic(secret)
                if encode_component(&self.id) != self.id
                    || secret
                        .fixed()
                        .is_some_and(|text| encode_component(text.expose()) != text.expose()) =>
            {
                "; check the client id and secret. Form-encoding changes them, and some servers do not decode \
                 them: try `Client::confidential_post`"
            }
            Authentication::Basic(_) => {
                "; check the client id and secret, and whether the client is registered for client_secret_basic \
                 (else `Client::confidential_post`)"
            }
            Authentication::Post(_) => {
                "; check the client id and secret, and whether the client is registered for client_secret_post \
                 (else `Client::confidential`)"
            }
            Authentication::SecretJwt(_) => {
                "; check the client id and secret, and whether the client is registered for client_secret_jwt with \
                 this algorithm (`Client::with_hmac_algorithm`); older servers may need \
                 `Client::with_untyped_assertions` or `Client::with_assertion_audience`"
            }
            Authentication::PrivateKeyJwt(_) => {
                "; check the client id, the registered key, its `kid` and its algorithm; older servers may need \
                 `Client::with_untyped_assertions` or `Client::with_assertion_audience`"
            }
            Authentication::FederatedAssertion(_) => {
                "; check the client id, and compare issuer, subject, audience and expiry of the assertion with the \
                 federated credential of the registration; `Client::with_spiffe_assertions` is for JWT-SVIDs"
            }
            Authentication::MutualTls => {
                "; check the client id, and that the client of `with_http_client` presents the certificate"
            }
            Authentication::BearerToken(_) => "; check the bearer token and its expiry",
            Authentication::None => {
                "; check the client id, and whether the client is registered as public"
            }
        }
    }
}
