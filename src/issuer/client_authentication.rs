//! Client authentication: the credentials of a request (RFC 6749 §2.3), and the methods that a server supports.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::client::{Authentication, Client};
use super::client_assertion::{self, ASSERTION_TYPE, AuthenticationContext};
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::form::encode_component;
use crate::protocol::metadata::MalformedMember;
use crate::protocol::sanitize::listed;
use crate::protocol::{ClientSecret, Metadata};
use crate::random::RandomError;

/// The form parameters of a request to the authorization server. They contain secrets.
pub(crate) type FormParameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

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
}

/// Why a request cannot be authenticated. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AuthenticationError {
    /// Only an operator can correct it.
    #[error("{0}")]
    #[allow(dead_code, reason = "credentials that are read at use")]
    Configuration(String),
    /// The credential is not available at the moment.
    #[error("{0}")]
    #[allow(dead_code, reason = "credentials that are read at use")]
    Unavailable(String),
    #[error(transparent)]
    Random(#[from] RandomError),
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
    /// Adds the client id and the credentials to a request: to `parameters`, or to the `Authorization` header, whose
    /// value it returns. A request has credentials in one of the two (RFC 6749 §2.3), never in the URL.
    ///
    /// Call it for every request, also when a request is retried: an assertion is valid once (RFC 7523 §3).
    pub(crate) async fn authenticate<'a>(
        &'a self,
        context: &AuthenticationContext<'_>,
        parameters: &mut FormParameters<'a>,
    ) -> Result<Option<HeaderValue>, AuthenticationError> {
        match &self.authentication {
            // Without `client_id` in the body: the header has it, and servers reject a request that authenticates
            // twice (RFC 6749 §2.3).
            Authentication::Basic(secret) => return Ok(Some(self.basic(secret))),
            Authentication::BearerToken(token) => return Ok(Some(field("Bearer", token.expose()))),
            _ => parameters.push(("client_id", Cow::Borrowed(&self.id))),
        }
        match &self.authentication {
            Authentication::Post(secret) => {
                parameters.push(("client_secret", Cow::Borrowed(secret.expose())));
            }
            Authentication::PrivateKeyJwt(key) => {
                let audience = self.assertion_audience.as_deref();
                let assertion = client_assertion::create(
                    &self.id,
                    key,
                    audience.unwrap_or(context.issuer),
                    self.has_typed_assertions,
                    context,
                )?;
                parameters.push(("client_assertion_type", Cow::Borrowed(ASSERTION_TYPE)));
                parameters.push(("client_assertion", Cow::Owned(assertion)));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Returns whether requests have the client id in the `Authorization` header and not in the body.
    pub(crate) fn has_id_in_header(&self) -> bool {
        matches!(
            self.authentication,
            Authentication::Basic(_) | Authentication::BearerToken(_)
        )
    }

    /// Returns the value of the `Authorization` header. Id and secret are form-encoded first (RFC 6749 §2.3.1), so
    /// that a colon in the id does not end it.
    fn basic(&self, secret: &ClientSecret) -> HeaderValue {
        let user_pass = Zeroizing::new(format!(
            "{}:{}",
            encode_component(&self.id),
            encode_component(secret.expose())
        ));
        field("Basic", &STANDARD.encode(user_pass.as_bytes()))
    }

    /// Returns the address of an endpoint of the metadata, unless the endpoint does not support the authentication
    /// method of the client: the secret must not be sent then.
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
        self.check_method(metadata, endpoint)?;
        Ok(url)
    }

    /// A server without a list, a client without credentials and one with a certificate are always accepted: servers
    /// do not list these methods reliably.
    fn check_method(
        &self,
        metadata: &Metadata,
        endpoint: ServerEndpoint,
    ) -> Result<(), EndpointError> {
        let method = match &self.authentication {
            Authentication::Basic(_) => "client_secret_basic",
            Authentication::Post(_) => "client_secret_post",
            Authentication::PrivateKeyJwt(_) => "private_key_jwt",
            _ => return Ok(()),
        };
        if self.may_be_unlisted {
            return Ok(());
        }
        let checked = metadata.require_well_formed(&[endpoint.auth_methods_name()]);
        checked.map_err(EndpointError::MalformedList)?;
        match metadata.auth_methods(endpoint) {
            Some(all) if !all.iter().any(|one| one == method) => Err(EndpointError::Method {
                list: endpoint.auth_methods_name(),
                listed: listed(all.iter().map(String::as_str)),
                method,
            }),
            _ => Ok(()),
        }
    }

    /// Returns what an operator can try if the server rejected the credentials.
    pub(crate) fn rejection_advice(&self) -> &'static str {
        match &self.authentication {
            Authentication::Basic(secret)
                if encode_component(secret.expose()) != secret.expose()
                    || encode_component(&self.id) != self.id =>
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
            Authentication::PrivateKeyJwt(_) => {
                "; check the client id, the registered key and its `kid`, and `Client::with_assertion_audience`"
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

/// Returns the value of a sensitive `Authorization` field. Base64 and tokens have only characters that it allows.
fn field(scheme: &'static str, credentials: &str) -> HeaderValue {
    let credentials = Zeroizing::new(format!("{scheme} {credentials}"));
    let value = HeaderValue::from_str(&credentials);
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(scheme));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[tokio::test]
    async fn each_method_sends_credentials_in_exactly_one_place() {
        let secret = " %&+£€:";
        for (client, header, body) in [
            (
                Client::confidential("a:b", secret),
                Some("a%3Ab:+%25%26%2B%C2%A3%E2%82%AC%3A"),
                &[][..],
            ),
            (
                Client::confidential_post("a:b", secret),
                None,
                &[("client_id", "a:b"), ("client_secret", secret)],
            ),
            (Client::public("a:b"), None, &[("client_id", "a:b")]),
            (Client::mutual_tls("a:b"), None, &[("client_id", "a:b")]),
        ] {
            let mut parameters = Vec::new();
            let context = AuthenticationContext {
                issuer: "https://id.example.test",
                now: 0,
                random: Random::system(),
            };
            let value = client
                .authenticate(&context, &mut parameters)
                .await
                .unwrap();
            let sent: Vec<_> = parameters
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            assert_eq!(sent, body, "{client:?}");
            assert!(value.as_ref().is_none_or(HeaderValue::is_sensitive));
            let decoded = value.map(|value| {
                let encoded = value
                    .to_str()
                    .unwrap()
                    .strip_prefix("Basic ")
                    .unwrap()
                    .to_owned();
                String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
            });
            assert_eq!(decoded.as_deref(), header, "{client:?}");
        }
    }
}
