//! [`ClientMetadata`]: what the application adds to the metadata document of its client.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use crate::config_error::ConfigError;
use crate::crypto::{PublishedKey, is_private_jwk};
use crate::issuer::is_loopback;

/// The metadata of the client that a [`LoginLayer`](crate::LoginLayer) serves: a [Client ID Metadata Document], and the key set of the client.
///
/// An authorization server that supports such documents
/// (`client_id_metadata_document_supported`) needs no registration: the client id is the URL of the document, and the
/// server fetches it. The document follows the settings of the layer, so this value only adds what they do not contain.
///
/// | member | from |
/// | --- | --- |
/// | `client_id` | the client, if its id is the URL of the document |
/// | `redirect_uris`, `post_logout_redirect_uris`, `scope` | the layer |
/// | `grant_types`, `response_types` | `authorization_code` and `refresh_token`, `code` |
/// | `token_endpoint_auth_method`, `token_endpoint_auth_signing_alg` | the [`Client`](crate::Client) |
/// | `jwks_uri` | the route of the key set, if there are keys |
/// | `backchannel_logout_uri` | the route, if there is [one](crate::LoginLayer::backchannel_logout_path); `backchannel_logout_session_required` is `true` |
/// | `frontchannel_logout_uri` | the route; `frontchannel_logout_session_required` is `true` unless frames without `iss` and `sid` [end sessions](crate::LoginLayer::with_unnamed_frontchannel_logout) |
/// | `dpop_bound_access_tokens`, `tls_client_certificate_bound_access_tokens`, `require_pushed_authorization_requests` | `true` if so |
/// | `require_signed_request_object`, `request_object_signing_alg` | [`with_signed_requests`](crate::LoginLayer::with_signed_requests) |
/// | `id_token_signed_response_alg`, `authorization_signed_response_alg` | the first of the permitted algorithms, unless RS256, the default of servers, is permitted |
///
/// The key set has the public keys of client assertions and of signed requests, and the [added](Self::add_key) ones.
///
/// Both are served with `ETag`, and caches may store them for an hour. Pages of any origin may read them. No cookie is read.
///
/// ```
/// use tower_oauth::login::ClientMetadata;
/// use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, SigningKey};
///
/// let pem = "-----BEGIN PRIVATE KEY-----
/// MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
/// -----END PRIVATE KEY-----";
/// let key = SigningKey::from_pem(pem)?.with_key_id("2027-01");
/// let client = Client::private_key_jwt("https://shop.example.com/auth/client-metadata.json", key);
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let redirect_uri = "https://shop.example.com/auth/callback";
/// let login = LoginLayer::new(&server, client, redirect_uri, CookieKey::generate()?)?
///     .with_client_metadata(ClientMetadata::new().with_client_name("Shop"))?;
/// assert_eq!(login.client_metadata_path(), Some("/auth/client-metadata.json"));
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Key rotation
///
/// Servers cache key sets. [Add](Self::add_key) the next key, wait until caches have expired, sign with it and add the
/// previous one, and remove that after another such period. Each key needs a `kid`.
///
/// [Client ID Metadata Document]: https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/
#[derive(Clone, Debug)]
pub struct ClientMetadata {
    pub(super) members: Map<String, Value>,
    pub(super) keys: Vec<PublishedKey>,
    pub(super) max_age: Duration,
}

impl ClientMetadata {
    /// Creates metadata without members of the application.
    #[must_use]
    pub fn new() -> Self {
        Self {
            members: Map::new(),
            keys: Vec::new(),
            max_age: Duration::from_secs(3600),
        }
    }

    /// Sets the name of the application, which authorization servers show to users (`client_name`).
    #[must_use]
    pub fn with_client_name(self, name: &str) -> Self {
        self.with("client_name", name.into())
    }

    /// Sets the URL of the home page of the application (`client_uri`).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is an https URL, or http on loopback.
    pub fn with_client_uri(self, url: &str) -> Result<Self, ConfigError> {
        self.with_url("client_uri", url)
    }

    /// Sets the URL of the logo of the application (`logo_uri`).
    ///
    /// # Errors
    ///
    /// As for [`with_client_uri`](Self::with_client_uri).
    pub fn with_logo_uri(self, url: &str) -> Result<Self, ConfigError> {
        self.with_url("logo_uri", url)
    }

    /// Sets the URL of the terms of service (`tos_uri`).
    ///
    /// # Errors
    ///
    /// As for [`with_client_uri`](Self::with_client_uri).
    pub fn with_tos_uri(self, url: &str) -> Result<Self, ConfigError> {
        self.with_url("tos_uri", url)
    }

    /// Sets the URL of the privacy policy (`policy_uri`).
    ///
    /// # Errors
    ///
    /// As for [`with_client_uri`](Self::with_client_uri).
    pub fn with_policy_uri(self, url: &str) -> Result<Self, ConfigError> {
        self.with_url("policy_uri", url)
    }

    /// Sets any other member, such as `contacts`, `client_name#de`, `software_id` or `tls_client_auth_subject_dn`.
    ///
    /// A client with [mutual TLS](crate::Client::mutual_tls) needs `token_endpoint_auth_method`: `tls_client_auth` or
    /// `self_signed_tls_client_auth`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a member that follows from the settings of the layer, that contains a secret
    /// (`client_secret`, or a private JWK at any depth), or that contains keys (`jwks`; use [`add_key`](Self::add_key)).
    /// The case of the name does not matter.
    pub fn with_member(self, name: &str, value: impl Into<Value>) -> Result<Self, ConfigError> {
        let value = value.into();
        let invalid = |reason| ConfigError::Setting {
            setting: "member of the client metadata",
            value: name.to_owned(),
            reason,
        };
        let is_tls_method = || value == "tls_client_auth" || value == "self_signed_tls_client_auth";
        if name == "token_endpoint_auth_method" && is_tls_method() {
            return Ok(self.with(name, value));
        }
        // In another case or with a language tag (RFC 7591 §2.2) it would be a mistake, too.
        let base = name.split('#').next().unwrap_or_default().trim();
        let base = base.to_ascii_lowercase();
        match base.as_str() {
            "" => Err(invalid("it must have a name")),
            _ if is_secret(&base) || contains_secret(&value) => Err(invalid(
                "the document is public and must not contain a secret or a private key",
            )),
            "jwks" => Err(invalid("use `ClientMetadata::add_key`")),
            _ if FROM_SETTINGS.contains(&base.as_str()) => {
                Err(invalid("it follows from the settings of the layer"))
            }
            _ => Ok(self.with(name, value)),
        }
    }

    /// Adds a public key to the key set: the next or the previous key while keys are rotated, or the key of a
    /// [`RemoteSigner`](crate::issuer::RemoteSigner) that does not return it.
    ///
    /// It is published with the members of its type, `kid`, `alg` and `use`.
    /// [`SigningKey::public_jwk`](crate::SigningKey::public_jwk) returns one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] unless it is a public JWK: RSA of at least 2048 bits, P-256, P-384 or Ed25519. The error
    /// does not contain the key, which may be a private one.
    pub fn add_key(mut self, jwk: &Value) -> Result<Self, ConfigError> {
        let key = PublishedKey::read(jwk).map_err(|reason| ConfigError::Secret {
            setting: "key of the client metadata",
            reason,
        })?;
        key.add_to(&mut self.keys);
        Ok(self)
    }

    /// Sets how long caches may use document and key set (`max-age`), in whole seconds. Default: an hour.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    fn with_url(self, member: &'static str, url: &str) -> Result<Self, ConfigError> {
        let parsed = Url::parse(url).ok();
        let is_web_page = |parsed: &Url| {
            parsed.scheme() == "https" || parsed.scheme() == "http" && is_loopback(parsed)
        };
        match parsed.as_ref().is_some_and(is_web_page) {
            true => Ok(self.with(member, url.into())),
            false => Err(ConfigError::Url {
                setting: member,
                value: url.to_owned(),
                reason: "it must be an https URL, or http on a loopback host",
            }),
        }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }
}

impl Default for ClientMetadata {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns whether a member of this name, in lowercase, is a secret (RFC 7591 §3.2.1, RFC 7592 §3).
fn is_secret(name: &str) -> bool {
    name.starts_with("client_secret") || name == "registration_access_token"
}

/// Returns whether an object has a secret member or is a private JWK, at any depth.
fn contains_secret(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            is_private_jwk(members)
                || members.iter().any(|(name, value)| {
                    is_secret(&name.to_ascii_lowercase()) || contains_secret(value)
                })
        }
        Value::Array(items) => items.iter().any(contains_secret),
        _ => false,
    }
}

/// The members that a layer derives from its settings.
const FROM_SETTINGS: [&str; 20] = [
    "client_id",
    "redirect_uris",
    "post_logout_redirect_uris",
    "grant_types",
    "response_types",
    "scope",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "jwks_uri",
    "backchannel_logout_uri",
    "backchannel_logout_session_required",
    "frontchannel_logout_uri",
    "frontchannel_logout_session_required",
    "dpop_bound_access_tokens",
    "tls_client_certificate_bound_access_tokens",
    "require_pushed_authorization_requests",
    "require_signed_request_object",
    "request_object_signing_alg",
    "id_token_signed_response_alg",
    "authorization_signed_response_alg",
];
