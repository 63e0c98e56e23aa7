//! The client registration of this application and its client authentication (RFC 6749 §2).

use crate::config_error::ConfigError;
use crate::crypto::SigningKey;
use crate::protocol::ClientSecret;
use crate::protocol::credentials::is_token68;

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
    pub(super) id: String,
    pub(super) authentication: Authentication,
    pub(super) assertion_audience: Option<String>,
    pub(super) has_typed_assertions: bool,
    /// Whether credentials are sent although the metadata does not list their method.
    pub(super) may_be_unlisted: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Authentication {
    Basic(ClientSecret),
    Post(ClientSecret),
    PrivateKeyJwt(SigningKey),
    MutualTls,
    /// Only at an introspection endpoint.
    BearerToken(ClientSecret),
    None,
}

impl Client {
    /// Creates a client that sends its secret in the `Authorization` header: `client_secret_basic`
    /// ([RFC 6749 §2.3.1]), the default of most servers.
    ///
    /// Id and secret are form-encoded first, as the RFC requires. Some servers do not decode them and reject a secret
    /// with characters such as `+`, `/`, `=` and `%`; use [`confidential_post`](Self::confidential_post) for these.
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

    /// Creates a client that authenticates at the introspection endpoint with an access token of its own
    /// ([RFC 7662 §2.1]). It cannot be used for logins.
    ///
    /// The token is sent as it is and never renewed. `id` is the client that the token was issued to: it is compared
    /// with `aud` of signed responses.
    ///
    /// ```
    /// use tower_oauth::{AuthorizationServer, BearerLayer, Client};
    ///
    /// let server = AuthorizationServer::new("https://id.example.com")?;
    /// let client = Client::bearer_token("api", "a token from the environment");
    /// # let client = Client::bearer_token("api", "23410913-abewfq.123483");
    /// let layer = BearerLayer::introspect(&server, client, "https://api.example.com")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// [RFC 7662 §2.1]: https://www.rfc-editor.org/rfc/rfc7662#section-2.1
    pub fn bearer_token(id: impl Into<String>, token: impl Into<ClientSecret>) -> Self {
        Self::new(id.into(), Authentication::BearerToken(token.into()))
    }

    fn new(id: String, authentication: Authentication) -> Self {
        Self {
            id,
            authentication,
            assertion_audience: None,
            has_typed_assertions: false,
            may_be_unlisted: false,
        }
    }

    /// Sends the credentials even if the metadata of the server lists other authentication methods only, such as
    /// `token_endpoint_auth_methods_supported` without `client_secret_basic`.
    ///
    /// By default such a request fails as an error of the configuration before the secret is sent.
    #[must_use]
    pub fn with_unlisted_method(mut self) -> Self {
        self.may_be_unlisted = true;
        self
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
            Authentication::BearerToken(token) if !is_token68(token.expose().as_bytes()) => {
                Err(ConfigError::Secret {
                    setting: "bearer token",
                    reason: "it must consist of letters, digits and `-._~+/`, with `=` only at its end",
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

    /// Returns whether the client can authenticate at the token endpoint.
    pub(crate) fn is_for_logins(&self) -> bool {
        !matches!(self.authentication, Authentication::BearerToken(_))
    }

    /// Returns whether the client authenticates with a TLS certificate.
    pub(crate) fn has_certificate(&self) -> bool {
        matches!(self.authentication, Authentication::MutualTls)
    }

    /// Returns whether the client has no credentials.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.authentication, Authentication::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for token in ["", "a b", "a=b", "a\n", "ä"] {
            assert!(Client::bearer_token("a", token).check().is_err(), "{token}");
        }
        assert!(Client::bearer_token("a", "a-._~+/1==").check().is_ok());
    }
}
