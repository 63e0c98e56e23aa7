//! Settings of a client that its authentication method does not imply. [`Client::check`] rejects those that have no effect
//! with the method.

use super::client::Client;
use crate::crypto::HmacAlgorithm;

impl Client {
    /// Sends the credentials even if the metadata of the server lists other authentication methods or algorithms only,
    /// such as `token_endpoint_auth_methods_supported` without `client_secret_basic`.
    ///
    /// By default such a request fails as an error of the configuration before the credential is sent.
    #[must_use]
    pub fn with_unlisted_method(mut self) -> Self {
        self.may_be_unlisted = true;
        self
    }

    /// Sets the algorithm of [`client_secret_jwt`](Self::client_secret_jwt). Default: HS256.
    ///
    /// ```
    /// use tower_oauth::Client;
    /// use tower_oauth::issuer::HmacAlgorithm;
    ///
    /// let secret = "a secret from the environment, of at least 64 bytes for HS512";
    /// let client = Client::client_secret_jwt("shop", secret).with_hmac_algorithm(HmacAlgorithm::Hs512);
    /// ```
    #[must_use]
    pub fn with_hmac_algorithm(mut self, algorithm: HmacAlgorithm) -> Self {
        self.hmac_algorithm = Some(algorithm);
        self
    }

    /// Sets `aud` of the assertions of [`private_key_jwt`](Self::private_key_jwt) and
    /// [`client_secret_jwt`](Self::client_secret_jwt), for a server that requires the URL of its token endpoint. Default:
    /// the issuer identifier, as [RFC 10070 §4] requires.
    ///
    /// Do not use it for a key that is registered at several servers: one of them could publish the endpoint of
    /// another as its own, and replay the assertion there. Login layers for different servers around one service
    /// are therefore an error of the configuration if both use `private_key_jwt` and one has this setting: pages that
    /// require a session respond with 500.
    ///
    /// # Not checked
    ///
    /// Whether the same key is used for other servers elsewhere: in login layers of other services, for
    /// introspection, or in other processes.
    ///
    /// [RFC 10070 §4]: https://www.rfc-editor.org/rfc/rfc10070#section-4
    #[must_use]
    pub fn with_assertion_audience(mut self, audience: impl Into<String>) -> Self {
        self.assertion_audience = Some(audience.into());
        self
    }

    /// Sets `typ` of the assertions of [`private_key_jwt`](Self::private_key_jwt) and
    /// [`client_secret_jwt`](Self::client_secret_jwt) to `JWT`, for a server that rejects `client-authentication+jwt`.
    ///
    /// [RFC 10070 §4] requires the explicit type; servers that are older than it may accept nothing else than `JWT`.
    ///
    /// [RFC 10070 §4]: https://www.rfc-editor.org/rfc/rfc10070#section-4
    #[must_use]
    pub fn with_untyped_assertions(mut self) -> Self {
        self.has_typed_assertions = false;
        self
    }

    /// Sends the assertion of [`federated_assertion`](Self::federated_assertion) as a JWT-SVID of SPIFFE:
    /// `client_assertion_type` is `urn:ietf:params:oauth:client-assertion-type:jwt-spiffe` and the method is `spiffe_jwt`
    /// (draft-ietf-oauth-spiffe-client-auth). Default: `jwt-bearer` of RFC 7523 §2.2.
    #[must_use]
    pub fn with_spiffe_assertions(mut self) -> Self {
        self.is_spiffe = true;
        self
    }

    /// Declares that connections to the authorization server present a TLS certificate to which it binds access tokens
    /// ([RFC 8705 §3]), for a client that authenticates by another method.
    ///
    /// All requests then use `mtls_endpoint_aliases` of the metadata, if present ([RFC 8705 §5]). Configure a back
    /// channel with the certificate, as for [`mutual_tls`](Self::mutual_tls). Calls to an API must present it too.
    ///
    /// [RFC 8705 §3]: https://www.rfc-editor.org/rfc/rfc8705#section-3
    /// [RFC 8705 §5]: https://www.rfc-editor.org/rfc/rfc8705#section-5
    #[must_use]
    pub fn with_certificate_bound_tokens(mut self) -> Self {
        self.presents_certificate = true;
        self
    }
}
