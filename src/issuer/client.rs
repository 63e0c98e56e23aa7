//! The client registration of this application and its authentication method (RFC 6749 §2).

use super::assertion_key::AssertionKey;
use super::credential_source::CredentialSource;
use crate::crypto::HmacAlgorithm;

/// The client as registered at the authorization server ([RFC 6749 §2]), with its credentials.
///
/// The constructors validate nothing. The layer or verifier that takes the client rejects an empty id or secret. Secrets
/// can be read from a file or from a function: see [`CredentialSource`].
///
/// ```
/// use tower_oauth::Client;
///
/// let shop = Client::confidential("shop", "a secret from the environment");
/// assert_eq!(shop.id(), "shop");
/// assert!(!format!("{shop:?}").contains("secret from"));
/// ```
///
/// # Which method
///
/// The registration at the authorization server decides. If the metadata lists the supported methods
/// (`token_endpoint_auth_methods_supported`, `token_endpoint_auth_signing_alg_values_supported`) and the method or
/// algorithm of the client is not among them, requests fail as an error of the configuration before a credential is
/// sent; see [`with_unlisted_method`](Self::with_unlisted_method).
///
/// | The authorization server asks for | Set |
/// | --- | --- |
/// | `client_secret_basic`, or only "a client secret" | [`confidential`](Self::confidential) |
/// | `client_secret_post` | [`confidential_post`](Self::confidential_post) |
/// | `client_secret_jwt` | [`client_secret_jwt`](Self::client_secret_jwt); HS384, HS512: [`with_hmac_algorithm`](Self::with_hmac_algorithm) |
/// | `private_key_jwt` with RS, PS, ES256, ES384 or EdDSA | [`private_key_jwt`](Self::private_key_jwt) with a [`SigningKey`](crate::SigningKey); PS256 instead of RS256: [`SigningKey::with_algorithm`](crate::SigningKey::with_algorithm) |
/// | `private_key_jwt` with a key in a KMS or HSM | [`private_key_jwt`](Self::private_key_jwt) with a [`RemoteSigner`](super::RemoteSigner) |
/// | assertions with `typ: JWT`, or that reject `client-authentication+jwt` | the above and [`with_untyped_assertions`](Self::with_untyped_assertions) |
/// | assertions with the URL of the token endpoint as `aud` | the above and [`with_assertion_audience`](Self::with_assertion_audience) |
/// | a federated credential: a service account token of Kubernetes, an Entra workload identity, a token of a CI system | [`federated_assertion`](Self::federated_assertion) |
/// | `spiffe_jwt` | [`federated_assertion`](Self::federated_assertion) and [`with_spiffe_assertions`](Self::with_spiffe_assertions) |
/// | `tls_client_auth`, `self_signed_tls_client_auth` | [`mutual_tls`](Self::mutual_tls), and a back channel with the certificate |
/// | `none` (public client with PKCE) | [`public`](Self::public) |
/// | certificate-bound access tokens and another method | that method and [`with_certificate_bound_tokens`](Self::with_certificate_bound_tokens), and a back channel with the certificate |
/// | an access token at the introspection endpoint | [`bearer_token`](Self::bearer_token) |
///
/// [RFC 6749 §2]: https://www.rfc-editor.org/rfc/rfc6749#section-2
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) id: String,
    pub(super) authentication: Authentication,
    pub(super) assertion_audience: Option<String>,
    pub(super) has_typed_assertions: bool,
    /// Of `client_secret_jwt`.
    pub(super) hmac_algorithm: Option<HmacAlgorithm>,
    /// Whether federated assertions are sent as JWT-SVIDs.
    pub(super) is_spiffe: bool,
    /// Whether credentials are sent although the metadata does not list their method.
    pub(super) may_be_unlisted: bool,
    /// Whether connections present a TLS certificate although the authentication method is another one.
    pub(super) presents_certificate: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Authentication {
    Basic(CredentialSource),
    Post(CredentialSource),
    SecretJwt(CredentialSource),
    PrivateKeyJwt(AssertionKey),
    /// An assertion that another system issued.
    FederatedAssertion(CredentialSource),
    MutualTls,
    /// Only at an introspection endpoint.
    BearerToken(CredentialSource),
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
    pub fn confidential(id: impl Into<String>, secret: impl Into<CredentialSource>) -> Self {
        Self::new(id.into(), Authentication::Basic(secret.into()))
    }

    /// Creates a client that sends its secret in the request body: `client_secret_post`
    /// ([RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)). Use it if the client is
    /// registered with that method.
    pub fn confidential_post(id: impl Into<String>, secret: impl Into<CredentialSource>) -> Self {
        Self::new(id.into(), Authentication::Post(secret.into()))
    }

    /// Creates a client that authenticates with assertions that are signed with its secret: `client_secret_jwt`
    /// ([RFC 7523 §2.2], OpenID Connect Core §9). The secret is never sent.
    ///
    /// The algorithm is HS256 unless [set](Self::with_hmac_algorithm). The secret must have at least as many bytes as the
    /// hash ([RFC 7518 §3.2]): 32 for HS256, 48 for HS384, 64 for HS512. A shorter text is rejected by the layer or
    /// verifier that takes the client; one that a file or function returns is an error of the configuration (500) when it
    /// is read.
    ///
    /// The assertions are those of [`private_key_jwt`](Self::private_key_jwt), with the same settings.
    ///
    /// ```
    /// use tower_oauth::{Client, CredentialSource};
    ///
    /// let secret = CredentialSource::file("/run/secrets/shop");
    /// let client = Client::client_secret_jwt("shop", secret);
    /// ```
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    /// [RFC 7518 §3.2]: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
    pub fn client_secret_jwt(id: impl Into<String>, secret: impl Into<CredentialSource>) -> Self {
        Self::new(id.into(), Authentication::SecretJwt(secret.into()))
    }

    /// Creates a public client, which has no credentials: `none` ([RFC 6749 §2.1]). The authorization code is
    /// protected by PKCE ([RFC 7636]).
    ///
    /// [RFC 6749 §2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.1
    /// [RFC 7636]: https://www.rfc-editor.org/rfc/rfc7636
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id.into(), Authentication::None)
    }

    /// Creates a client that authenticates with assertions that are signed with a private key: `private_key_jwt`
    /// ([RFC 7523 §2.2], OpenID Connect Core §9).
    ///
    /// Each request contains a new assertion: issued by the client for the authorization server, valid for 60 seconds and
    /// once. As [RFC 10070] requires, its `aud` is the issuer identifier alone and its `typ` is
    /// `client-authentication+jwt`; [`with_assertion_audience`](Self::with_assertion_audience) and
    /// [`with_untyped_assertions`](Self::with_untyped_assertions) are for older servers.
    ///
    /// `key` is a [`SigningKey`](crate::SigningKey), which never leaves the process, or a
    /// [`RemoteSigner`](super::RemoteSigner).
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
    /// [RFC 10070]: https://www.rfc-editor.org/rfc/rfc10070
    pub fn private_key_jwt(id: impl Into<String>, key: impl Into<AssertionKey>) -> Self {
        Self::new(id.into(), Authentication::PrivateKeyJwt(key.into()))
    }

    /// Creates a client that authenticates with assertions that another system issues to this workload and that the
    /// authorization server trusts ([RFC 7521 §4.2]): a service account token of Kubernetes, an Entra workload identity,
    /// a token of a CI system, a JWT-SVID of SPIFFE.
    ///
    /// The assertion is sent as it is, together with `id`. Its audience must be the authorization server, and it must be
    /// renewed before it expires: both are settings of the system that issues it, and not checked here. Kubernetes
    /// renews the file itself.
    ///
    /// ```
    /// use tower_oauth::{Client, CredentialSource};
    ///
    /// // Kubernetes: a projected volume with `serviceAccountToken: { audience: https://id.example.com }`.
    /// let token = CredentialSource::file("/var/run/secrets/tokens/id.example.com");
    /// let client = Client::federated_assertion("shop", token);
    /// ```
    ///
    /// [RFC 7521 §4.2]: https://www.rfc-editor.org/rfc/rfc7521#section-4.2
    pub fn federated_assertion(
        id: impl Into<String>,
        assertion: impl Into<CredentialSource>,
    ) -> Self {
        Self::new(
            id.into(),
            Authentication::FederatedAssertion(assertion.into()),
        )
    }

    /// Creates a client that authenticates with a TLS certificate: `tls_client_auth` or
    /// `self_signed_tls_client_auth` ([RFC 8705 §2]).
    ///
    /// Requests contain only the client id. The certificate is presented by the connection, so configure a back
    /// channel with that certificate:
    /// [`AuthorizationServer::with_back_channel`](super::AuthorizationServer::with_back_channel) takes any service, and
    /// `with_http_client` (feature `reqwest`) a client of reqwest with an `Identity`. This is not checked; without the
    /// certificate the server rejects the client.
    ///
    /// All requests of the client use `mtls_endpoint_aliases` of the metadata, if present ([RFC 8705 §5]): token,
    /// pushed authorization request, introspection, revocation and userinfo.
    ///
    /// [RFC 8705 §2]: https://www.rfc-editor.org/rfc/rfc8705#section-2
    /// [RFC 8705 §5]: https://www.rfc-editor.org/rfc/rfc8705#section-5
    pub fn mutual_tls(id: impl Into<String>) -> Self {
        Self::new(id.into(), Authentication::MutualTls)
    }

    /// Creates a client that authenticates at the introspection endpoint with an access token of its own
    /// ([RFC 7662 §2.1]). It cannot be used for logins.
    ///
    /// The token is sent as it is. One that expires comes from a file or a function ([`CredentialSource`]). `id` is the
    /// client that the token was issued to: it is compared with `aud` of signed responses.
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
    pub fn bearer_token(id: impl Into<String>, token: impl Into<CredentialSource>) -> Self {
        Self::new(id.into(), Authentication::BearerToken(token.into()))
    }

    fn new(id: String, authentication: Authentication) -> Self {
        Self {
            id,
            authentication,
            assertion_audience: None,
            has_typed_assertions: true,
            hmac_algorithm: None,
            is_spiffe: false,
            may_be_unlisted: false,
            presents_certificate: false,
        }
    }

    /// Returns the client id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns whether the client can authenticate at the token endpoint.
    pub(crate) fn is_for_logins(&self) -> bool {
        !matches!(self.authentication, Authentication::BearerToken(_))
    }

    /// Returns whether the connections of the client present a TLS certificate.
    pub(crate) fn has_certificate(&self) -> bool {
        self.presents_certificate || matches!(self.authentication, Authentication::MutualTls)
    }

    /// Returns whether the client has no credentials.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.authentication, Authentication::None)
    }
}
