//! Authorization server metadata (RFC 8414 §2, OpenID Connect Discovery §3).

use super::endpoint::{MtlsAliases, ServerEndpoint};
use super::json::{InvalidJson, Json, Object, parse_object};

/// The metadata of an authorization server (RFC 8414 §2, OpenID Connect Discovery §3).
///
/// Parse it from a discovery document, or construct it for a server that has none:
///
/// ```
/// use tower_oauth::protocol::Metadata;
///
/// let metadata = Metadata::new("https://id.example.com")
///     .with_jwks_uri("https://id.example.com/keys")
///     .with_token_endpoint("https://id.example.com/token");
/// assert_eq!(metadata.jwks_uri(), Some("https://id.example.com/keys"));
/// ```
///
/// Members that this crate does not use are dropped.
///
/// # Not checked
///
/// Whether URLs are valid and use `https`, and whether the issuer is the expected one. The
/// [`AuthorizationServer`](crate::AuthorizationServer) that the metadata is passed to checks that.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    introspection_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    prompt_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    introspection_endpoint_auth_methods_supported: Option<Vec<String>>,
    revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
    mtls_endpoint_aliases: MtlsAliases,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: bool,
}

/// Error of [`Metadata::parse`]: the text is not strict JSON, `issuer` is missing, or a member has the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a metadata document")]
pub struct InvalidMetadata(());

impl From<InvalidJson> for InvalidMetadata {
    fn from(_: InvalidJson) -> Self {
        Self(())
    }
}

impl Metadata {
    /// Creates metadata for `issuer` without endpoints.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            ..Self::default()
        }
    }

    /// Parses a metadata document.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidMetadata`] if the document is not a JSON object, has duplicate members or no `issuer`, or
    /// if a member that this crate uses has the wrong type.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidMetadata> {
        let object = parse_object(document)?;
        let text = |name| object.string(name).map(|value| value.map(str::to_owned));
        Ok(Self {
            issuer: text("issuer")?.ok_or(InvalidMetadata(()))?,
            authorization_endpoint: text("authorization_endpoint")?,
            token_endpoint: text("token_endpoint")?,
            jwks_uri: text("jwks_uri")?,
            userinfo_endpoint: text("userinfo_endpoint")?,
            end_session_endpoint: text("end_session_endpoint")?,
            introspection_endpoint: text("introspection_endpoint")?,
            revocation_endpoint: text("revocation_endpoint")?,
            code_challenge_methods_supported: list(&object, "code_challenge_methods_supported")?,
            prompt_values_supported: list(&object, "prompt_values_supported")?,
            token_endpoint_auth_methods_supported: list(
                &object,
                "token_endpoint_auth_methods_supported",
            )?,
            introspection_endpoint_auth_methods_supported: methods(
                &object,
                ServerEndpoint::Introspection,
            ),
            revocation_endpoint_auth_methods_supported: methods(
                &object,
                ServerEndpoint::Revocation,
            ),
            mtls_endpoint_aliases: MtlsAliases::read(&object),
            id_token_signing_alg_values_supported: list(
                &object,
                "id_token_signing_alg_values_supported",
            )
            .unwrap_or_default(),
            authorization_response_iss_parameter_supported: matches!(
                object.member("authorization_response_iss_parameter_supported"),
                Some(Json::Bool(true))
            ),
        })
    }

    /// Sets `authorization_endpoint`: the URL that browsers are redirected to for login (RFC 6749 §3.1).
    #[must_use]
    pub fn with_authorization_endpoint(mut self, url: impl Into<String>) -> Self {
        self.authorization_endpoint = Some(url.into());
        self
    }

    /// Sets `token_endpoint`: the URL of token requests (RFC 6749 §3.2).
    #[must_use]
    pub fn with_token_endpoint(mut self, url: impl Into<String>) -> Self {
        self.token_endpoint = Some(url.into());
        self
    }

    /// Sets `jwks_uri`: the URL of the key set (RFC 7517 §5).
    #[must_use]
    pub fn with_jwks_uri(mut self, url: impl Into<String>) -> Self {
        self.jwks_uri = Some(url.into());
        self
    }

    /// Sets `userinfo_endpoint`: the URL of userinfo requests (OpenID Connect Core §5.3).
    #[must_use]
    pub fn with_userinfo_endpoint(mut self, url: impl Into<String>) -> Self {
        self.userinfo_endpoint = Some(url.into());
        self
    }

    /// Sets `end_session_endpoint`: the URL that browsers are redirected to for logout (OpenID Connect
    /// RP-Initiated Logout §2.1).
    #[must_use]
    pub fn with_end_session_endpoint(mut self, url: impl Into<String>) -> Self {
        self.end_session_endpoint = Some(url.into());
        self
    }

    /// Sets `introspection_endpoint`: the URL of introspection requests (RFC 7662 §2).
    #[must_use]
    pub fn with_introspection_endpoint(mut self, url: impl Into<String>) -> Self {
        self.introspection_endpoint = Some(url.into());
        self
    }

    /// Sets `revocation_endpoint`: the URL of revocation requests (RFC 7009 §2).
    #[must_use]
    pub fn with_revocation_endpoint(mut self, url: impl Into<String>) -> Self {
        self.revocation_endpoint = Some(url.into());
        self.mtls_endpoint_aliases
            .remove(ServerEndpoint::Revocation);
        self
    }

    /// Sets `code_challenge_methods_supported`: the PKCE methods that the server supports, such as `S256`
    /// (RFC 7636 §4.2).
    #[must_use]
    pub fn with_code_challenge_methods<'a>(
        mut self,
        methods: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.code_challenge_methods_supported =
            Some(methods.into_iter().map(str::to_owned).collect());
        self
    }

    /// Declares that all authorization responses have the parameter `iss`; responses without it are then rejected
    /// (RFC 9207 §2.4).
    #[must_use]
    pub fn with_issuer_in_authorization_response(mut self) -> Self {
        self.authorization_response_iss_parameter_supported = true;
        self
    }

    /// Returns `issuer`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns `authorization_endpoint`.
    pub fn authorization_endpoint(&self) -> Option<&str> {
        self.authorization_endpoint.as_deref()
    }

    /// Returns `token_endpoint`.
    pub fn token_endpoint(&self) -> Option<&str> {
        self.token_endpoint.as_deref()
    }

    /// Returns `jwks_uri`.
    pub fn jwks_uri(&self) -> Option<&str> {
        self.jwks_uri.as_deref()
    }

    /// Returns `userinfo_endpoint`.
    pub fn userinfo_endpoint(&self) -> Option<&str> {
        self.userinfo_endpoint.as_deref()
    }

    /// Returns `end_session_endpoint`.
    pub fn end_session_endpoint(&self) -> Option<&str> {
        self.end_session_endpoint.as_deref()
    }

    /// Returns `introspection_endpoint`.
    pub fn introspection_endpoint(&self) -> Option<&str> {
        self.introspection_endpoint.as_deref()
    }

    /// Returns `revocation_endpoint`.
    pub fn revocation_endpoint(&self) -> Option<&str> {
        self.revocation_endpoint.as_deref()
    }

    /// Returns `code_challenge_methods_supported`, or `None` if it is absent.
    pub fn code_challenge_methods_supported(&self) -> Option<&[String]> {
        self.code_challenge_methods_supported.as_deref()
    }

    /// Returns `id_token_signing_alg_values_supported`, or `None` if it is absent or no list of strings.
    pub fn id_token_signing_alg_values_supported(&self) -> Option<&[String]> {
        self.id_token_signing_alg_values_supported.as_deref()
    }

    /// Returns `prompt_values_supported`, or `None` if it is absent.
    pub fn prompt_values_supported(&self) -> Option<&[String]> {
        self.prompt_values_supported.as_deref()
    }

    /// Returns `token_endpoint_auth_methods_supported`, or `None` if it is absent.
    pub fn token_endpoint_auth_methods_supported(&self) -> Option<&[String]> {
        self.token_endpoint_auth_methods_supported.as_deref()
    }

    /// Returns `authorization_response_iss_parameter_supported`, or `false` if it is absent.
    pub fn authorization_response_iss_parameter_supported(&self) -> bool {
        self.authorization_response_iss_parameter_supported
    }

    /// Returns the address of an endpoint. A client with a certificate must use the alias, if there is one (RFC 8705
    /// §5): at the other address the server does not ask for the certificate.
    pub(crate) fn endpoint(&self, endpoint: ServerEndpoint, has_certificate: bool) -> Option<&str> {
        let alias = self.mtls_endpoint_aliases.get(endpoint);
        alias
            .filter(|_| has_certificate)
            .or_else(|| match endpoint {
                ServerEndpoint::Token => self.token_endpoint(),
                ServerEndpoint::Introspection => self.introspection_endpoint(),
                ServerEndpoint::Revocation => self.revocation_endpoint(),
                ServerEndpoint::UserInfo => self.userinfo_endpoint(),
            })
    }

    /// Returns the authentication methods that the server lists for an endpoint.
    pub(crate) fn auth_methods(&self, endpoint: ServerEndpoint) -> Option<&[String]> {
        let listed = match endpoint {
            ServerEndpoint::Token => self.token_endpoint_auth_methods_supported(),
            ServerEndpoint::Introspection => self
                .introspection_endpoint_auth_methods_supported
                .as_deref(),
            ServerEndpoint::Revocation => {
                self.revocation_endpoint_auth_methods_supported.as_deref()
            }
            ServerEndpoint::UserInfo => None,
        };
        listed.filter(|listed| !listed.is_empty())
    }

    /// Returns the URLs that are set, with their names.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("jwks_uri", &self.jwks_uri),
            ("userinfo_endpoint", &self.userinfo_endpoint),
            ("end_session_endpoint", &self.end_session_endpoint),
            ("introspection_endpoint", &self.introspection_endpoint),
            ("revocation_endpoint", &self.revocation_endpoint),
        ]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url.as_deref()?)))
    }
}

fn list(object: &Object<'_>, name: &str) -> Result<Option<Vec<String>>, InvalidJson> {
    Ok(object
        .strings(name)?
        .map(|values| values.into_iter().map(str::to_owned).collect()))
}

/// Reads the authentication methods of an endpoint. A malformed list has no known method, so that no secret is sent
/// there; it does not affect uses of the metadata that do not need the endpoint.
fn methods(object: &Object<'_>, endpoint: ServerEndpoint) -> Option<Vec<String>> {
    let name = endpoint.auth_methods_name();
    match object.member(name)? {
        Json::Null => None,
        Json::String(text) if text.is_empty() => None,
        _ => list(object, name).unwrap_or_else(|_| Some(vec!["not a list of strings".to_owned()])),
    }
}
