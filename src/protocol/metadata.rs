//! Authorization server metadata, RFC 8414 §2 and OpenID Connect Discovery §3.

use super::json::{InvalidJson, Json, Object, parse_object};

/// What an authorization server says of itself.
///
/// Read from its discovery document, or put together by hand for a server without one:
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
/// Members this crate has no use for are not kept. URLs are not checked here; the
/// [`AuthorizationServer`](crate::AuthorizationServer) that takes the metadata does that.
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
    authorization_response_iss_parameter_supported: bool,
}

/// Text that is not a metadata document; the JSON is not strict, or a member has the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a metadata document")]
pub struct InvalidMetadata(());

impl From<InvalidJson> for InvalidMetadata {
    fn from(_: InvalidJson) -> Self {
        Self(())
    }
}

impl Metadata {
    /// Metadata of this issuer with no endpoint yet.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            ..Self::default()
        }
    }

    /// Reads a discovery document. The issuer in it is not compared with anything here.
    ///
    /// # Errors
    ///
    /// [`InvalidMetadata`] where it is no strict JSON object, has no `issuer`, or where a member that
    /// is understood has the wrong type.
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
            authorization_response_iss_parameter_supported: matches!(
                object.member("authorization_response_iss_parameter_supported"),
                Some(Json::Bool(true))
            ),
        })
    }

    /// Sets where browsers are sent to sign in.
    #[must_use]
    pub fn with_authorization_endpoint(mut self, url: impl Into<String>) -> Self {
        self.authorization_endpoint = Some(url.into());
        self
    }

    /// Sets where codes are redeemed.
    #[must_use]
    pub fn with_token_endpoint(mut self, url: impl Into<String>) -> Self {
        self.token_endpoint = Some(url.into());
        self
    }

    /// Sets where the key set is fetched.
    #[must_use]
    pub fn with_jwks_uri(mut self, url: impl Into<String>) -> Self {
        self.jwks_uri = Some(url.into());
        self
    }

    /// Sets where claims of a signed-in user are fetched.
    #[must_use]
    pub fn with_userinfo_endpoint(mut self, url: impl Into<String>) -> Self {
        self.userinfo_endpoint = Some(url.into());
        self
    }

    /// Sets where browsers are sent to sign out.
    #[must_use]
    pub fn with_end_session_endpoint(mut self, url: impl Into<String>) -> Self {
        self.end_session_endpoint = Some(url.into());
        self
    }

    /// Sets where a resource server asks about tokens (RFC 7662 §2).
    #[must_use]
    pub fn with_introspection_endpoint(mut self, url: impl Into<String>) -> Self {
        self.introspection_endpoint = Some(url.into());
        self
    }

    /// Sets where a client says that it needs a token no more (RFC 7009 §2).
    #[must_use]
    pub fn with_revocation_endpoint(mut self, url: impl Into<String>) -> Self {
        self.revocation_endpoint = Some(url.into());
        self
    }

    /// Says which PKCE methods the server is known to support, such as `S256`.
    #[must_use]
    pub fn with_code_challenge_methods<'a>(
        mut self,
        methods: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.code_challenge_methods_supported =
            Some(methods.into_iter().map(str::to_owned).collect());
        self
    }

    /// Says that every authorization response names its issuer (RFC 9207 §3).
    #[must_use]
    pub fn with_issuer_in_authorization_response(mut self) -> Self {
        self.authorization_response_iss_parameter_supported = true;
        self
    }

    /// `issuer`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `authorization_endpoint`.
    pub fn authorization_endpoint(&self) -> Option<&str> {
        self.authorization_endpoint.as_deref()
    }

    /// `token_endpoint`.
    pub fn token_endpoint(&self) -> Option<&str> {
        self.token_endpoint.as_deref()
    }

    /// `jwks_uri`.
    pub fn jwks_uri(&self) -> Option<&str> {
        self.jwks_uri.as_deref()
    }

    /// `userinfo_endpoint`.
    pub fn userinfo_endpoint(&self) -> Option<&str> {
        self.userinfo_endpoint.as_deref()
    }

    /// `end_session_endpoint`.
    pub fn end_session_endpoint(&self) -> Option<&str> {
        self.end_session_endpoint.as_deref()
    }

    /// `introspection_endpoint`.
    pub fn introspection_endpoint(&self) -> Option<&str> {
        self.introspection_endpoint.as_deref()
    }

    /// `revocation_endpoint`.
    pub fn revocation_endpoint(&self) -> Option<&str> {
        self.revocation_endpoint.as_deref()
    }

    /// `code_challenge_methods_supported`; `None` where the server lists none.
    pub fn code_challenge_methods_supported(&self) -> Option<&[String]> {
        self.code_challenge_methods_supported.as_deref()
    }

    /// `prompt_values_supported`.
    pub fn prompt_values_supported(&self) -> Option<&[String]> {
        self.prompt_values_supported.as_deref()
    }

    /// `token_endpoint_auth_methods_supported`.
    pub fn token_endpoint_auth_methods_supported(&self) -> Option<&[String]> {
        self.token_endpoint_auth_methods_supported.as_deref()
    }

    /// `authorization_response_iss_parameter_supported`; false where absent.
    pub fn authorization_response_iss_parameter_supported(&self) -> bool {
        self.authorization_response_iss_parameter_supported
    }

    /// Every endpoint that is set, by its name, for the checks of whoever uses it.
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
