//! Authorization server metadata (RFC 8414 §2, OpenID Connect Discovery §3).

mod malformed;

use self::malformed::{MemberReader, REQUIRE_PUSHED_REQUESTS, REQUIRE_SIGNED_REQUESTS};
use super::endpoint::{MtlsAliases, PUSHED_REQUEST_ENDPOINT, ServerEndpoint};
use super::json::{InvalidJson, parse_object};

pub(crate) use self::malformed::{
    CHALLENGE_METHODS, DPOP_ALGORITHMS, ISS_PARAMETER, MalformedMember, PROTECTION_OF_LOGINS,
};

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
/// Members that this crate does not use are dropped. A member that is `null`, `""` or `[]` counts as absent, and so does
/// a malformed one that a use does not need.
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
    pushed_authorization_request_endpoint: Option<String>,
    code_challenge_methods_supported: Option<Vec<String>>,
    prompt_values_supported: Option<Vec<String>>,
    authorization_details_types_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    introspection_endpoint_auth_methods_supported: Option<Vec<String>>,
    revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    introspection_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    revocation_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    mtls_endpoint_aliases: MtlsAliases,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: bool,
    require_pushed_authorization_requests: bool,
    require_signed_request_object: bool,
    request_object_signing_alg_values_supported: Option<Vec<String>>,
    response_modes_supported: Option<Vec<String>>,
    dpop_signing_alg_values_supported: Option<Vec<String>>,
    authorization_signing_alg_values_supported: Option<Vec<String>>,
    tls_client_certificate_bound_access_tokens: bool,
    malformed: Vec<MalformedMember>,
}

pub(crate) const REQUEST_OBJECT_ALGORITHMS: &str = "request_object_signing_alg_values_supported";
pub(crate) const ID_TOKEN_ALGORITHMS: &str = "id_token_signing_alg_values_supported";
pub(crate) const RESPONSE_ALGORITHMS: &str = "authorization_signing_alg_values_supported";
pub(crate) const CERTIFICATE_BOUND_TOKENS: &str = "tls_client_certificate_bound_access_tokens";
pub(crate) const RESPONSE_MODES: &str = "response_modes_supported";

/// Error of [`Metadata::parse`]: the text is not strict JSON, or `issuer` is missing.
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
    /// Returns [`InvalidMetadata`] if the document is not a JSON object, or has duplicate members or no `issuer`. A
    /// malformed optional member counts as absent.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidMetadata> {
        let object = parse_object(document)?;
        let issuer = object.identifier("issuer").ok().flatten();
        let issuer = issuer.ok_or(InvalidMetadata(()))?.to_owned();
        let mut reader = MemberReader {
            object: &object,
            malformed: Vec::new(),
        };
        Ok(Self {
            issuer,
            authorization_endpoint: reader.text("authorization_endpoint"),
            token_endpoint: reader.text("token_endpoint"),
            jwks_uri: reader.text("jwks_uri"),
            userinfo_endpoint: reader.text("userinfo_endpoint"),
            end_session_endpoint: reader.text("end_session_endpoint"),
            introspection_endpoint: reader.text("introspection_endpoint"),
            revocation_endpoint: reader.text("revocation_endpoint"),
            pushed_authorization_request_endpoint: reader.text(PUSHED_REQUEST_ENDPOINT),
            code_challenge_methods_supported: reader.list(CHALLENGE_METHODS),
            prompt_values_supported: reader.list("prompt_values_supported"),
            authorization_details_types_supported: reader
                .list("authorization_details_types_supported"),
            token_endpoint_auth_methods_supported: reader
                .list(ServerEndpoint::Token.auth_methods_name()),
            introspection_endpoint_auth_methods_supported: reader
                .list(ServerEndpoint::Introspection.auth_methods_name()),
            revocation_endpoint_auth_methods_supported: reader
                .list(ServerEndpoint::Revocation.auth_methods_name()),
            token_endpoint_auth_signing_alg_values_supported: reader
                .list(ServerEndpoint::Token.auth_algorithms_name()),
            introspection_endpoint_auth_signing_alg_values_supported: reader
                .list(ServerEndpoint::Introspection.auth_algorithms_name()),
            revocation_endpoint_auth_signing_alg_values_supported: reader
                .list(ServerEndpoint::Revocation.auth_algorithms_name()),
            mtls_endpoint_aliases: MtlsAliases::read(&object),
            id_token_signing_alg_values_supported: reader.list(ID_TOKEN_ALGORITHMS),
            authorization_response_iss_parameter_supported: reader.flag(ISS_PARAMETER),
            require_pushed_authorization_requests: reader.flag(REQUIRE_PUSHED_REQUESTS),
            require_signed_request_object: reader.flag(REQUIRE_SIGNED_REQUESTS),
            request_object_signing_alg_values_supported: reader.list(REQUEST_OBJECT_ALGORITHMS),
            response_modes_supported: reader.list(RESPONSE_MODES),
            dpop_signing_alg_values_supported: reader.list(DPOP_ALGORITHMS),
            authorization_signing_alg_values_supported: reader.list(RESPONSE_ALGORITHMS),
            tls_client_certificate_bound_access_tokens: reader.flag(CERTIFICATE_BOUND_TOKENS),
            malformed: reader.malformed,
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
        self.mtls_endpoint_aliases.remove(ServerEndpoint::Token);
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
        self.mtls_endpoint_aliases.remove(ServerEndpoint::UserInfo);
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
        self.mtls_endpoint_aliases
            .remove(ServerEndpoint::Introspection);
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

    /// Sets `pushed_authorization_request_endpoint`: the URL of pushed authorization requests (RFC 9126 §5).
    #[must_use]
    pub fn with_pushed_authorization_request_endpoint(mut self, url: impl Into<String>) -> Self {
        self.pushed_authorization_request_endpoint = Some(url.into());
        self.mtls_endpoint_aliases
            .remove(ServerEndpoint::PushedAuthorizationRequest);
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

    /// Returns `pushed_authorization_request_endpoint`.
    pub fn pushed_authorization_request_endpoint(&self) -> Option<&str> {
        self.pushed_authorization_request_endpoint.as_deref()
    }

    /// Returns `code_challenge_methods_supported`, or `None` if it is absent.
    pub fn code_challenge_methods_supported(&self) -> Option<&[String]> {
        self.code_challenge_methods_supported.as_deref()
    }

    /// Returns `id_token_signing_alg_values_supported`, or `None` if it is absent or malformed.
    pub fn id_token_signing_alg_values_supported(&self) -> Option<&[String]> {
        self.id_token_signing_alg_values_supported.as_deref()
    }

    /// Returns `authorization_details_types_supported` (RFC 9396 §10), or `None` if it is absent.
    pub fn authorization_details_types_supported(&self) -> Option<&[String]> {
        self.authorization_details_types_supported.as_deref()
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

    /// Returns whether the server accepts pushed authorization requests only (RFC 9126 §5).
    pub(crate) fn requires_pushed_requests(&self) -> bool {
        self.require_pushed_authorization_requests
    }

    /// Returns whether the server accepts signed request objects only (RFC 9101 §10.5).
    pub(crate) fn requires_signed_requests(&self) -> bool {
        self.require_signed_request_object
    }

    /// Returns `request_object_signing_alg_values_supported` (OpenID Connect Discovery §3).
    pub(crate) fn request_object_algorithms(&self) -> Option<&[String]> {
        self.request_object_signing_alg_values_supported.as_deref()
    }

    /// Returns `response_modes_supported` (RFC 8414 §2).
    pub(crate) fn response_modes(&self) -> Option<&[String]> {
        self.response_modes_supported.as_deref()
    }

    /// Returns `dpop_signing_alg_values_supported`, or `None` if it is absent (RFC 9449 §5.1).
    pub fn dpop_signing_alg_values_supported(&self) -> Option<&[String]> {
        self.dpop_signing_alg_values_supported.as_deref()
    }

    /// Returns `authorization_signing_alg_values_supported` (JARM §4).
    pub(crate) fn response_algorithms(&self) -> Option<&[String]> {
        self.authorization_signing_alg_values_supported.as_deref()
    }

    /// Returns whether access tokens are bound to the certificate of the client (RFC 8705 §3.3).
    pub(crate) fn binds_tokens_to_certificates(&self) -> bool {
        self.tls_client_certificate_bound_access_tokens
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
                ServerEndpoint::PushedAuthorizationRequest => {
                    self.pushed_authorization_request_endpoint()
                }
            })
    }

    /// Returns the authentication methods that the server lists for an endpoint.
    pub(crate) fn auth_methods(&self, endpoint: ServerEndpoint) -> Option<&[String]> {
        let listed = match endpoint {
            ServerEndpoint::Token | ServerEndpoint::PushedAuthorizationRequest => {
                self.token_endpoint_auth_methods_supported()
            }
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

    /// Returns the algorithms of client assertions that the server lists for an endpoint.
    pub(crate) fn auth_algorithms(&self, endpoint: ServerEndpoint) -> Option<&[String]> {
        let listed = match endpoint {
            ServerEndpoint::Token | ServerEndpoint::PushedAuthorizationRequest => {
                &self.token_endpoint_auth_signing_alg_values_supported
            }
            ServerEndpoint::Introspection => {
                &self.introspection_endpoint_auth_signing_alg_values_supported
            }
            ServerEndpoint::Revocation => {
                &self.revocation_endpoint_auth_signing_alg_values_supported
            }
            ServerEndpoint::UserInfo => &None,
        };
        listed.as_deref().filter(|listed| !listed.is_empty())
    }

    /// Returns the URLs that are set, with their names.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        // `endpoints_mut` must list the same ones.
        [
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("jwks_uri", &self.jwks_uri),
            ("userinfo_endpoint", &self.userinfo_endpoint),
            ("end_session_endpoint", &self.end_session_endpoint),
            ("introspection_endpoint", &self.introspection_endpoint),
            ("revocation_endpoint", &self.revocation_endpoint),
            (
                PUSHED_REQUEST_ENDPOINT,
                &self.pushed_authorization_request_endpoint,
            ),
        ]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url.as_deref()?)))
    }

    fn endpoints_mut(&mut self) -> [(&'static str, &mut Option<String>); 8] {
        [
            ("authorization_endpoint", &mut self.authorization_endpoint),
            ("token_endpoint", &mut self.token_endpoint),
            ("jwks_uri", &mut self.jwks_uri),
            ("userinfo_endpoint", &mut self.userinfo_endpoint),
            ("end_session_endpoint", &mut self.end_session_endpoint),
            ("introspection_endpoint", &mut self.introspection_endpoint),
            ("revocation_endpoint", &mut self.revocation_endpoint),
            (
                PUSHED_REQUEST_ENDPOINT,
                &mut self.pushed_authorization_request_endpoint,
            ),
        ]
    }

    /// Removes the endpoints that requests must not be sent to, so that each fails only the use that needs it.
    pub(crate) fn retain_endpoints(&mut self, is_allowed: impl Fn(&str) -> bool) {
        let mut malformed = std::mem::take(&mut self.malformed);
        for (name, endpoint) in self.endpoints_mut() {
            if let Some(url) = endpoint.take_if(|url| !is_allowed(url)) {
                malformed.push(MalformedMember::endpoint(name, &url));
            }
        }
        self.malformed = malformed;
    }

    /// Returns the members that are not used because of their values.
    pub(crate) fn malformed(&self) -> &[MalformedMember] {
        &self.malformed
    }

    /// Returns an error if one of these members is malformed.
    pub(crate) fn require_well_formed(&self, names: &[&str]) -> Result<(), MalformedMember> {
        let mut malformed = self.malformed.iter();
        match malformed.find(|member| names.contains(&member.name)) {
            Some(member) => Err(member.clone()),
            None => Ok(()),
        }
    }

    /// Says why an endpoint cannot be used: it is malformed, or the metadata has none.
    pub(crate) fn why_unusable(&self, name: &'static str) -> String {
        match self.require_well_formed(&[name]) {
            Err(malformed) => malformed.to_string(),
            Ok(()) => format!("the metadata has no {name}"),
        }
    }
}
