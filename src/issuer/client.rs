//! The client registration of this application and its client authentication (RFC 6749 §2).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::client_assertion::{self, ASSERTION_TYPE, AuthenticationContext};
use crate::config_error::ConfigError;
use crate::crypto::SigningKey;
use crate::protocol::ClientSecret;
use crate::protocol::form::encode_component;
use crate::random::RandomError;

/// The form parameters of a request to the authorization server. They contain secrets.
pub(crate) type FormParameters<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// The client as registered at the authorization server ([RFC 6749 §2]), with its credentials.
///
/// The constructors validate nothing. The layer or verifier that takes the client rejects an empty id or secret.
///
/// ```
/// use tower_oauth::Client;
///
/// let shop = Client::confidential("shop", "a secret from the environment");
/// assert_eq!(shop.id(), "shop");
/// assert!(!format!("{shop:?}").contains("secret from"));
/// ```
///
/// [RFC 6749 §2]: https://www.rfc-editor.org/rfc/rfc6749#section-2
#[derive(Clone, Debug)]
pub struct Client {
    id: String,
    authentication: Authentication,
    assertion_audience: Option<String>,
    has_typed_assertions: bool,
}

#[derive(Clone, Debug)]
enum Authentication {
    Basic(ClientSecret),
    Post(ClientSecret),
    PrivateKeyJwt(SigningKey),
    MutualTls,
    None,
}

impl Client {
    /// Creates a client that sends its secret in the `Authorization` header: `client_secret_basic`
    /// ([RFC 6749 §2.3.1]), the default of most servers.
    ///
    /// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn confidential(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self::new(id.into(), Authentication::Basic(secret.into()))
    }

    /// Creates a client that sends its secret in the request body: `client_secret_post`
    /// ([RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)). Use it if the client is
    /// registered with that method.
    pub fn confidential_post(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self::new(id.into(), Authentication::Post(secret.into()))
    }

    /// Creates a public client, which has no credentials: `none` ([RFC 6749 §2.1]). The authorization code is
    /// protected by PKCE ([RFC 7636]).
    ///
    /// [RFC 6749 §2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.1
    /// [RFC 7636]: https://www.rfc-editor.org/rfc/rfc7636
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id.into(), Authentication::None)
    }

    /// Creates a client that authenticates with signed assertions: `private_key_jwt` ([RFC 7523 §2.2], OpenID
    /// Connect Core §9).
    ///
    /// Each request contains a new assertion, signed with `key`: issued by the client for the authorization server,
    /// valid for 60 seconds and once. The key never leaves the process.
    ///
    /// ```
    /// use tower_oauth::{Client, SigningKey};
    ///
    /// # let pem = "-----BEGIN PRIVATE KEY-----
    /// # MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
    /// # -----END PRIVATE KEY-----";
    /// let key = SigningKey::from_pem(pem)?.with_key_id("2027-01");
    /// let client = Client::private_key_jwt("api", key);
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    pub fn private_key_jwt(id: impl Into<String>, key: SigningKey) -> Self {
        Self::new(id.into(), Authentication::PrivateKeyJwt(key))
    }

    /// Creates a client that authenticates with a TLS certificate: `tls_client_auth` or
    /// `self_signed_tls_client_auth` ([RFC 8705 §2]).
    ///
    /// Requests contain only the client id. The certificate is presented by the connection, so configure a back
    /// channel with that certificate:
    /// [`AuthorizationServer::with_back_channel`](super::AuthorizationServer::with_back_channel). This is not
    /// checked; without the certificate the server rejects the client.
    ///
    /// [RFC 8705 §2]: https://www.rfc-editor.org/rfc/rfc8705#section-2
    pub fn mutual_tls(id: impl Into<String>) -> Self {
        Self::new(id.into(), Authentication::MutualTls)
    }

    fn new(id: String, authentication: Authentication) -> Self {
        Self {
            id,
            authentication,
            assertion_audience: None,
            has_typed_assertions: false,
        }
    }

    /// Sets `aud` of the assertions of [`private_key_jwt`](Self::private_key_jwt), for a server that requires the
    /// URL of its token endpoint. Default: the issuer identifier.
    ///
    /// Do not use it for a key that is registered at several servers: one of them could publish the endpoint of
    /// another as its own, and replay the assertion there.
    #[must_use]
    pub fn with_assertion_audience(mut self, audience: impl Into<String>) -> Self {
        self.assertion_audience = Some(audience.into());
        self
    }

    /// Sets the `typ` of assertions to `client-authentication+jwt`, as the draft that updates RFC 7523 requires.
    /// Default: `JWT`, because many servers accept nothing else.
    #[must_use]
    pub fn with_typed_assertions(mut self) -> Self {
        self.has_typed_assertions = true;
        self
    }

    /// Returns the client id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Rejects an id or secret that cannot be registered (RFC 6749 §A.1, §A.2).
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.id.is_empty() || self.id.chars().any(char::is_control) {
            return Err(ConfigError::Setting {
                setting: "client id",
                value: self.id.clone(),
                reason: "it must not be empty or contain control characters",
            });
        }
        match &self.authentication {
            Authentication::Basic(secret) | Authentication::Post(secret)
                if secret.expose().is_empty() || secret.expose().chars().any(char::is_control) =>
            {
                Err(ConfigError::Secret {
                    setting: "client secret",
                    reason: "it must not be empty or contain control characters, such as a line break",
                })
            }
            Authentication::PrivateKeyJwt(_)
                if self
                    .assertion_audience
                    .as_ref()
                    .is_some_and(String::is_empty) =>
            {
                Err(ConfigError::Setting {
                    setting: "assertion audience",
                    value: String::new(),
                    reason: "it must not be empty",
                })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the client has no credentials.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.authentication, Authentication::None)
    }

    /// Adds the client id and the credentials to a request: to `parameters`, or to the `Authorization` header, whose
    /// value it returns. A request has credentials in one of the two (RFC 6749 §2.3), never in the URL.
    ///
    /// Call it for every request, also when a request is retried: an assertion is valid once (RFC 7523 §3).
    pub(crate) fn authenticate<'a>(
        &'a self,
        context: &AuthenticationContext<'_>,
        parameters: &mut FormParameters<'a>,
    ) -> Result<Option<HeaderValue>, RandomError> {
        parameters.push(("client_id", Cow::Borrowed(&self.id)));
        match &self.authentication {
            Authentication::Basic(secret) => return Ok(Some(self.basic(secret))),
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
            Authentication::MutualTls | Authentication::None => {}
        }
        Ok(None)
    }

    /// Returns the value of the `Authorization` header. Id and secret are form-encoded first (RFC 6749 §2.3.1), so
    /// that a colon in the id does not end it.
    fn basic(&self, secret: &ClientSecret) -> HeaderValue {
        let user_pass = Zeroizing::new(format!(
            "{}:{}",
            encode_component(&self.id),
            encode_component(secret.expose())
        ));
        let credentials =
            Zeroizing::new(format!("Basic {}", STANDARD.encode(user_pass.as_bytes())));
        // Base64 has only characters that are allowed in a field value.
        let mut value = HeaderValue::from_str(&credentials)
            .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn each_method_sends_credentials_in_exactly_one_place() {
        let secret = " %&+£€:";
        for (client, header, body) in [
            (
                Client::confidential("a:b", secret),
                Some("a%3Ab:+%25%26%2B%C2%A3%E2%82%AC%3A"),
                &[("client_id", "a:b")][..],
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
            let value = client.authenticate(&context, &mut parameters).unwrap();
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

    #[test]
    fn invalid_ids_and_secrets_are_rejected_and_the_secret_is_not_in_the_error() {
        assert!(Client::public("").check().is_err());
        assert!(Client::public("a\n").check().is_err());
        assert!(Client::confidential("a", "").check().is_err());
        let error = Client::confidential_post("a", "hush\n")
            .check()
            .unwrap_err();
        assert!(!error.to_string().contains("hush"));
        assert!(Client::confidential("a", "b £").check().is_ok());
    }
}
