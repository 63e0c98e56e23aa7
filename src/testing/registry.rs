//! Registered clients of a test server.

use std::time::Duration;

use serde_json::Value;

use super::refresh::RefreshRules;
use crate::ConfigError;
use crate::protocol::{ClientSecret, ScopeSet};

/// A client registration (RFC 6749 §2).
///
/// By default the client can use the authorization code flow and refresh tokens with the scopes
/// `openid profile email`. It has no redirect URI until one is added.
///
/// ```
/// use tower_oauth::testing::TestClient;
///
/// let shop = TestClient::confidential("shop", "shop-secret")
///     .add_redirect_uri("https://shop.example.test/auth/callback")?
///     .add_post_logout_redirect_uri("https://shop.example.test/")?
///     .with_scopes("openid profile notes:read")?
///     .with_audience("https://api.example.test");
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TestClient {
    pub(super) id: String,
    /// All are accepted.
    pub(super) secrets: Vec<ClientSecret>,
    pub(super) authentication: ClientAuthentication,
    /// Public keys of client assertions.
    pub(super) keys: Vec<Value>,
    /// Further public keys, for signed authorization requests.
    pub(super) request_keys: Vec<Value>,
    pub(super) requires_pushed_requests: bool,
    /// Required `aud` of client assertions; `None` for the issuer.
    pub(super) assertion_audience: Option<String>,
    /// Required `client_assertion_type`; `None` for that of RFC 7523.
    pub(super) assertion_type: Option<String>,
    /// Required `alg` of client assertions; `None` for any.
    pub(super) assertion_algorithm: Option<String>,
    pub(super) has_untyped_assertions: bool,
    /// Who issues the client's federated assertions.
    pub(super) federated: Option<FederatedIdentity>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) post_logout_redirect_uris: Vec<String>,
    pub(super) scopes: ScopeSet,
    pub(super) grants: Vec<GrantType>,
    pub(super) audience: Option<String>,
    pub(super) resources: Vec<String>,
    pub(super) consent: bool,
    pub(super) access_token_lifetime: Duration,
    pub(super) refresh: RefreshRules,
    /// Whether ID tokens have the claims that scopes grant.
    pub(super) has_claims_in_id_token: bool,
    pub(super) backchannel_logout_uri: Option<String>,
    pub(super) frontchannel_logout_uri: Option<String>,
    pub(super) requires_dpop: bool,
}

/// The issuer and subject of federated assertions.
#[derive(Clone, Debug)]
pub(super) struct FederatedIdentity {
    pub(super) issuer: String,
    pub(super) subject: String,
}

/// A grant type (RFC 6749 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantType {
    /// `authorization_code`, which includes the authorization endpoint.
    AuthorizationCode,
    /// `refresh_token`. Clients with this grant type receive a refresh token at every sign-in, with or
    /// without the scope `offline_access`.
    RefreshToken,
    /// `client_credentials`.
    ClientCredentials,
}

/// The client authentication method (RFC 6749 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// `client_secret_basic` or `client_secret_post`.
    BasicOrPost,
    /// `client_secret_basic` only.
    Basic,
    /// `client_secret_post` only.
    Post,
    /// `private_key_jwt` (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// `client_secret_jwt` (OpenID Connect Core §9).
    ClientSecretJwt,
    /// An assertion of another issuer (RFC 7521 §4.2).
    FederatedAssertion,
    /// `tls_client_auth` (RFC 8705 §2.1). The in-process server receives no certificate and checks the
    /// client id only.
    MutualTls,
}

impl GrantType {
    /// Parses the value of `grant_type`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "authorization_code" => Self::AuthorizationCode,
            "refresh_token" => Self::RefreshToken,
            "client_credentials" => Self::ClientCredentials,
            _ => return None,
        })
    }
}

impl TestClient {
    /// Registers a client with a secret.
    pub fn confidential(id: &str, secret: &str) -> Self {
        Self::new(id, Some(ClientSecret::new(secret)))
    }

    /// Registers a public client, which has no credentials (RFC 6749 §2.1).
    pub fn public(id: &str) -> Self {
        Self::new(id, None)
    }

    /// Registers a client that authenticates with `private_key_jwt` and this public key (RFC 7523 §2.2).
    pub fn private_key_jwt(id: &str, public_jwk: Value) -> Self {
        let mut client = Self::new(id, None);
        client.authentication = ClientAuthentication::PrivateKeyJwt;
        client.keys.push(public_jwk);
        client
    }

    /// Registers a client that authenticates with `client_secret_jwt` (OpenID Connect Core §9).
    pub fn client_secret_jwt(id: &str, secret: &str) -> Self {
        let client = Self::new(id, Some(ClientSecret::new(secret)));
        client.with_authentication(ClientAuthentication::ClientSecretJwt)
    }

    /// Registers a client that authenticates with assertions about `subject` that another `issuer` signs with this key
    /// (RFC 7521 §4.2), such as the service account tokens of Kubernetes. Their audience is the issuer of the server, and
    /// they can be used again until they expire.
    pub fn federated_assertion(id: &str, issuer: &str, subject: &str, public_jwk: Value) -> Self {
        let mut client = Self::new(id, None);
        client.authentication = ClientAuthentication::FederatedAssertion;
        client.keys.push(public_jwk);
        client.federated = Some(FederatedIdentity {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        });
        client
    }

    /// Registers a client that authenticates with a certificate (RFC 8705 §2.1). See
    /// [`ClientAuthentication::MutualTls`].
    pub fn mutual_tls(id: &str) -> Self {
        Self::new(id, None).with_authentication(ClientAuthentication::MutualTls)
    }

    fn new(id: &str, secret: Option<ClientSecret>) -> Self {
        let mut scopes = ScopeSet::default();
        ["openid", "profile", "email"]
            .into_iter()
            .for_each(|scope| scopes.insert(scope));
        Self {
            id: id.to_owned(),
            secrets: secret.into_iter().collect(),
            authentication: ClientAuthentication::BasicOrPost,
            keys: Vec::new(),
            request_keys: Vec::new(),
            requires_pushed_requests: false,
            assertion_audience: None,
            assertion_type: None,
            assertion_algorithm: None,
            has_untyped_assertions: false,
            federated: None,
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            scopes,
            grants: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            audience: None,
            resources: Vec::new(),
            consent: true,
            access_token_lifetime: Duration::from_secs(300),
            refresh: RefreshRules::default(),
            has_claims_in_id_token: true,
            backchannel_logout_uri: None,
            frontchannel_logout_uri: None,
            requires_dpop: false,
        }
    }

    /// Adds a redirect URI. Requests are compared with it byte for byte.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if the URI is not absolute or has a fragment (RFC 6749 §3.1.2).
    pub fn add_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.redirect_uris.push(absolute("redirect URI", uri)?);
        Ok(self)
    }

    /// Adds a post-logout redirect URI. Requests are compared with it byte for byte (RP-Initiated
    /// Logout §3).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if the URI is not absolute or has a fragment.
    pub fn add_post_logout_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.post_logout_redirect_uris
            .push(absolute("post-logout redirect URI", uri)?);
        Ok(self)
    }

    /// Sets the scopes that the client can request (space-separated).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a value is not a scope (RFC 6749 §3.3).
    pub fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        self.scopes = self::scopes(scopes)?;
        Ok(self)
    }

    /// Sets the grant types that the client can use.
    pub fn with_grant_types(mut self, grants: impl IntoIterator<Item = GrantType>) -> Self {
        self.grants = grants.into_iter().collect();
        self
    }

    /// Sets the audience of the client's access tokens. Default: the issuer.
    pub fn with_audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.to_owned());
        self
    }

    /// Sets the authentication method. Has no effect on a client without a secret, except
    /// [`ClientAuthentication::MutualTls`].
    pub fn with_authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Adds a secret, which is accepted beside the others, as while an application changes to a new one. To end that
    /// time, [add](super::TestServer::add_client) a client of the same id with the new secret alone.
    pub fn add_secret(mut self, secret: &str) -> Self {
        self.secrets.push(ClientSecret::new(secret));
        self
    }

    /// Rejects token requests of the client without a DPoP proof (`dpop_bound_access_tokens`, RFC 9449 §5.2). The tokens
    /// of requests with a proof are bound to its key for every client.
    pub fn with_required_dpop(mut self) -> Self {
        self.requires_dpop = true;
        self
    }

    /// Skips the consent page, as for a first-party client.
    pub fn without_consent(mut self) -> Self {
        self.consent = false;
        self
    }

    /// Sets the lifetime of the client's access tokens. Default: five minutes.
    pub fn with_access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = lifetime;
        self
    }

    /// Releases the claims of the scopes `profile`, `email`, `address` and `phone` from the userinfo endpoint alone, as
    /// OpenID Connect Core §5.4 says for the code flow.
    ///
    /// By default ID tokens have them too, as those of Keycloak, Entra ID, Google, Auth0 and authentik. Those of Duende
    /// IdentityServer, node-oidc-provider, Authelia and ZITADEL do not unless that is configured. Claims that a login
    /// [requests by name](crate::LoginLayer::with_requested_claims) for the ID token, and those of
    /// [`with_id_token_claim`](super::TestUser::with_id_token_claim), stay in it.
    pub fn without_claims_in_id_token(mut self) -> Self {
        self.has_claims_in_id_token = false;
        self
    }

    /// Returns whether the client has no credentials (RFC 6749 §2.1).
    pub(super) fn is_public(&self) -> bool {
        let by_key = matches!(
            self.authentication,
            ClientAuthentication::PrivateKeyJwt
                | ClientAuthentication::FederatedAssertion
                | ClientAuthentication::MutualTls
        );
        self.secrets.is_empty() && !by_key
    }
}

pub(super) fn scopes(list: &str) -> Result<ScopeSet, ConfigError> {
    ScopeSet::parse(list).map_err(|invalid| ConfigError::Scope {
        value: invalid.value().to_owned(),
        reason: "not a scope by RFC 6749 §3.3",
    })
}

pub(super) fn absolute(setting: &'static str, uri: &str) -> Result<String, ConfigError> {
    let error = |reason| ConfigError::Url {
        setting,
        value: uri.to_owned(),
        reason,
    };
    let url = url::Url::parse(uri).map_err(|_| error("not an absolute URL"))?;
    if url.fragment().is_some() {
        return Err(error("has a fragment"));
    }
    Ok(uri.to_owned())
}
