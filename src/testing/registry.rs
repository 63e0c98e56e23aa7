//! Who is known to the server: clients, with exactly what each may do, and people.

use std::time::Duration;

use serde_json::{Map, Value};

use super::refresh::RefreshRules;
use crate::ConfigError;
use crate::protocol::{ClientSecret, ScopeSet};

/// A client as it was registered (RFC 6749 §2).
///
/// It may use the code flow and refresh tokens, with the scopes `openid profile email`, unless told
/// otherwise; redirect URIs have to be added.
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
    pub(super) secret: Option<ClientSecret>,
    pub(super) authentication: ClientAuthentication,
    /// Public keys for `private_key_jwt`.
    pub(super) keys: Vec<Value>,
    /// `aud` of its assertions; the issuer where not said.
    pub(super) assertion_audience: Option<String>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) post_logout_redirect_uris: Vec<String>,
    pub(super) scopes: ScopeSet,
    pub(super) grants: Vec<Grant>,
    pub(super) audience: Option<String>,
    pub(super) consent: bool,
    pub(super) access_token_lifetime: Duration,
    pub(super) refresh: RefreshRules,
    pub(super) backchannel_logout_uri: Option<String>,
    pub(super) frontchannel_logout_uri: Option<String>,
}

/// A grant type a client may use (RFC 6749 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grant {
    /// `authorization_code`, and with it the authorization endpoint.
    AuthorizationCode,
    /// `refresh_token`; with it every sign-in of a person brings a refresh token, whether or not
    /// `offline_access` was asked for, and without it none does.
    RefreshToken,
    /// `client_credentials`.
    ClientCredentials,
}

/// How a confidential client proves who it is (RFC 6749 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// `client_secret_basic` or `client_secret_post`.
    BasicOrPost,
    /// `client_secret_basic` alone.
    Basic,
    /// `client_secret_post` alone.
    Post,
    /// `private_key_jwt` (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// `tls_client_auth` (RFC 8705 §2.1); a server in the same process cannot see the certificate and
    /// looks at the client id alone.
    MutualTls,
}

impl Grant {
    /// As `grant_type` names it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "authorization_code" => Self::AuthorizationCode,
            "refresh_token" => Self::RefreshToken,
            "client_credentials" => Self::ClientCredentials,
            _ => return None,
        })
    }
}

impl TestClient {
    /// A client with a secret.
    pub fn confidential(id: &str, secret: &str) -> Self {
        Self::new(id, Some(ClientSecret::new(secret)))
    }

    /// A client without one (RFC 6749 §2.1).
    pub fn public(id: &str) -> Self {
        Self::new(id, None)
    }

    /// A client that signs its way in with the private half of this JWK (RFC 7523 §2.2).
    pub fn private_key_jwt(id: &str, public_jwk: Value) -> Self {
        let mut client = Self::new(id, None);
        client.authentication = ClientAuthentication::PrivateKeyJwt;
        client.keys.push(public_jwk);
        client
    }

    /// A client that shows a certificate (RFC 8705 §2.1), see [`ClientAuthentication::MutualTls`].
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
            secret,
            authentication: ClientAuthentication::BasicOrPost,
            keys: Vec::new(),
            assertion_audience: None,
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            scopes,
            grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
            audience: None,
            consent: true,
            access_token_lifetime: Duration::from_secs(300),
            refresh: RefreshRules::default(),
            backchannel_logout_uri: None,
            frontchannel_logout_uri: None,
        }
    }

    /// Registers a redirect URI, compared byte for byte with the one in a request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] where it is not absolute or has a fragment (RFC 6749 §3.1.2).
    pub fn add_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.redirect_uris.push(absolute("redirect URI", uri)?);
        Ok(self)
    }

    /// Registers a place to go after logout, compared byte for byte (RP-Initiated Logout §3).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] where it is not absolute or has a fragment.
    pub fn add_post_logout_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        self.post_logout_redirect_uris
            .push(absolute("post-logout redirect URI", uri)?);
        Ok(self)
    }

    /// The scopes it may ask for, separated by spaces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for a value that RFC 6749 §3.3 does not allow.
    pub fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        self.scopes = self::scopes(scopes)?;
        Ok(self)
    }

    /// The grant types it may use.
    pub fn with_grants(mut self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.grants = grants.into_iter().collect();
        self
    }

    /// The audience of its access tokens; the issuer by default.
    pub fn with_audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.to_owned());
        self
    }

    /// The authentication it was registered for; without a secret this means nothing.
    pub fn with_authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// The `aud` that its assertions must have, where it is not the issuer: older servers want the URL
    /// of their token endpoint.
    pub fn with_assertion_audience(mut self, audience: &str) -> Self {
        self.assertion_audience = Some(audience.to_owned());
        self
    }

    /// Asks nobody for consent: a client of the house.
    pub fn without_consent(mut self) -> Self {
        self.consent = false;
        self
    }

    /// How long its access tokens are good; five minutes by default.
    pub fn with_access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = lifetime;
        self
    }

    /// Whether it can prove nothing.
    pub(super) fn is_public(&self) -> bool {
        let by_key = matches!(
            self.authentication,
            ClientAuthentication::PrivateKeyJwt | ClientAuthentication::MutualTls
        );
        self.secret.is_none() && !by_key
    }
}

/// A person who can sign in.
///
/// ```
/// use tower_oauth::testing::TestUser;
///
/// let alice = TestUser::new("alice", "wonderland").with_claim("email", "alice@example.test");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TestUser {
    pub(super) name: String,
    pub(super) password: ClientSecret,
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
}

impl TestUser {
    /// Somebody whose subject and `preferred_username` are this name.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: ClientSecret::new(password),
            subject: name.to_owned(),
            claims: Map::new(),
        }
        .with_claim("preferred_username", name)
    }

    /// The `sub` by which clients know this person.
    pub fn with_subject(mut self, subject: &str) -> Self {
        self.subject = subject.to_owned();
        self
    }

    /// A claim of the userinfo endpoint, given out with the scope it belongs to (OpenID Connect Core
    /// §5.4), or with `openid` where it belongs to none.
    pub fn with_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }
}

pub(super) fn scopes(list: &str) -> Result<ScopeSet, ConfigError> {
    ScopeSet::parse(list).map_err(|invalid| ConfigError::Scope {
        value: invalid.value().to_owned(),
        reason: "not a scope by RFC 6749 §3.3",
    })
}

pub(super) fn absolute(setting: &'static str, uri: &str) -> Result<String, ConfigError> {
    let refused = |reason| ConfigError::Url {
        setting,
        value: uri.to_owned(),
        reason,
    };
    let url = url::Url::parse(uri).map_err(|_| refused("not an absolute URL"))?;
    if url.fragment().is_some() {
        return Err(refused("has a fragment"));
    }
    Ok(uri.to_owned())
}
