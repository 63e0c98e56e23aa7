//! Configuration of the code flow.

use std::time::Duration;

use url::Url;

use super::error::{FlowError, FlowErrorKind};
use super::logout::CustomEndSession;
use crate::clock::SharedClock;
use crate::config_error::ConfigError;
use crate::crypto::base64url;
use crate::crypto::binding::Binding;
use crate::issuer::{AuthorizationServer, Client, is_loopback};
use crate::protocol::authorization_request::is_reserved_parameter;
use crate::protocol::{Metadata, ScopeSet, State};
use crate::random::Random;

const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// The authorization code flow of a client at an authorization server.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(super) server: AuthorizationServer,
    pub(super) client: Client,
    /// The string as configured: the authorization server compares it byte for byte (RFC 9700 §2.1).
    pub(super) redirect_uri: String,
    redirect_url: Url,
    binding: Binding,
    pub(super) scopes: ScopeSet,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) post_logout_redirect_uri: Option<String>,
    pub(super) end_session: Option<CustomEndSession>,
    pub(super) default_token_lifetime: Duration,
    random: Random,
}

impl Flow {
    /// Creates a flow. Performs no I/O.
    pub(crate) fn new(
        server: &AuthorizationServer,
        client: Client,
        redirect_uri: &str,
    ) -> Result<Self, ConfigError> {
        client.check()?;
        let mut scopes = ScopeSet::default();
        scopes.insert("openid");
        let redirect_url = redirect_target("redirect URI", redirect_uri)?;
        Ok(Self {
            server: server.clone(),
            binding: binding(server.issuer(), client.id(), &redirect_url),
            client,
            redirect_url,
            redirect_uri: redirect_uri.to_owned(),
            scopes,
            parameters: Vec::new(),
            post_logout_redirect_uri: None,
            end_session: None,
            default_token_lifetime: DEFAULT_TOKEN_LIFETIME,
            random: Random::system(),
        })
    }

    /// Sets the scopes to request. `openid` is required: only an ID token authenticates the user, an access token
    /// does not (RFC 6749 §10.16).
    pub(crate) fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Scope {
            value: scopes.to_owned(),
            reason,
        };
        self.scopes = ScopeSet::parse(scopes)
            .map_err(|_| invalid("a scope has a character that RFC 6749 §3.3 does not allow"))?;
        if !self.scopes.contains("openid") {
            return Err(invalid("`openid` is missing: a login requires an ID token"));
        }
        Ok(self)
    }

    /// Adds a parameter to all authorization requests, such as `audience`. Parameters of the flow cannot be set.
    pub(crate) fn with_authorization_parameter(
        mut self,
        name: &str,
        value: &str,
    ) -> Result<Self, ConfigError> {
        let invalid = |reason| {
            Err(ConfigError::Setting {
                setting: "authorization parameter",
                value: name.to_owned(),
                reason,
            })
        };
        if name.is_empty() || value.is_empty() {
            return invalid("name and value must not be empty");
        }
        if is_reserved_parameter(name) {
            return invalid("the login flow sets this parameter itself");
        }
        // The ID token is checked against `max_age` and `acr_values` of the login that requested it, and `prompt`
        // can change the response. Only `consent` and `select_account` need no check; `offline_access` requires
        // `consent` (OpenID Connect Core §11).
        let is_unchecked = name == "prompt" && ["consent", "select_account"].contains(&value);
        if ["prompt", "max_age", "acr_values"].contains(&name) && !is_unchecked {
            return invalid("this parameter can only be set for a single login");
        }
        if self.parameters.iter().any(|(other, _)| other == name) {
            return invalid("this parameter is already set");
        }
        self.parameters.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Sets the URI that the authorization server redirects to after logout. It must be registered there.
    pub(crate) fn with_post_logout_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        redirect_target("post-logout redirect URI", uri)?;
        self.post_logout_redirect_uri = Some(uri.to_owned());
        Ok(self)
    }

    /// Sets the lifetime of access tokens whose response has no `expires_in` (RFC 6749 §5.1).
    pub(crate) fn with_default_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_token_lifetime = lifetime;
        self
    }

    pub(crate) fn server(&self) -> &AuthorizationServer {
        &self.server
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.server.clock()
    }

    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn redirect_uri(&self) -> &Url {
        &self.redirect_url
    }

    /// Returns the binding of sessions and transactions: issuer, client, origin and path prefix of the routes.
    pub(crate) fn binding(&self) -> Binding {
        self.binding
    }

    /// Generates a `state` with 256 random bits.
    pub(crate) fn new_state(&self) -> Result<State, FlowError> {
        self.random_string().map(State::new)
    }

    pub(super) fn random_string(&self) -> Result<String, FlowError> {
        Ok(base64url::encode(&self.random.bytes::<32>()?))
    }

    /// Returns an error unless a login could be started now.
    pub(crate) async fn ready(&self) -> Result<(), FlowError> {
        let metadata = self.server.metadata().await?;
        check_pkce(&metadata)?;
        authorization_endpoint(&metadata)?;
        token_endpoint(&metadata).map(|_| ())
    }
}

/// Returns the binding of a login layer.
///
/// The URL parser has normalized the URL: scheme and host in lower case, no default port, no dot segments. The
/// percent-encoding of the path is kept, since routes are compared byte for byte.
pub(crate) fn binding(issuer: &str, client_id: &str, redirect_uri: &Url) -> Binding {
    let origin = redirect_uri.origin().ascii_serialization();
    Binding::new(&[issuer, client_id, &origin, route_folder(redirect_uri)])
}

/// Returns the path of a redirect URI without its last segment and the slash before it.
pub(crate) fn route_folder(redirect_uri: &Url) -> &str {
    let path = redirect_uri.path();
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Rejects a server that lists PKCE methods without `S256`, since it would not check the challenge (RFC 9700
/// §2.1.1). A server that lists no methods receives the challenge; `state` and `nonce` protect the login as well.
pub(super) fn check_pkce(metadata: &Metadata) -> Result<(), FlowError> {
    match metadata.code_challenge_methods_supported() {
        Some(methods) if !methods.iter().any(|method| method == "S256") => Err(FlowError::new(
            FlowErrorKind::Configuration,
            "pkce_unsupported",
            "the authorization server does not support the code challenge method S256",
        )),
        _ => Ok(()),
    }
}

pub(super) fn authorization_endpoint(metadata: &Metadata) -> Result<Url, FlowError> {
    metadata
        .authorization_endpoint()
        .and_then(|endpoint| Url::parse(endpoint).ok())
        .ok_or_else(|| {
            FlowError::new(
                FlowErrorKind::Configuration,
                "no_authorization_endpoint",
                "the metadata of the authorization server has no authorization endpoint",
            )
        })
}

pub(super) fn token_endpoint(metadata: &Metadata) -> Result<&str, FlowError> {
    metadata.token_endpoint().ok_or_else(|| {
        FlowError::new(
            FlowErrorKind::Configuration,
            "no_token_endpoint",
            "the metadata of the authorization server has no token endpoint",
        )
    })
}

/// Parses a redirect URI (RFC 6749 §3.1.2, RFC 9700 §2.6): `https`, or `http` on a loopback host, and without
/// parts that browsers and servers interpret differently.
pub(super) fn redirect_target(setting: &'static str, value: &str) -> Result<Url, ConfigError> {
    let invalid = |reason| {
        Err(ConfigError::Url {
            setting,
            value: value.to_owned(),
            reason,
        })
    };
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) || value.contains('\\') {
        return invalid("it must be printable ASCII without spaces and backslashes");
    }
    let Ok(url) = Url::parse(value) else {
        return invalid("it is not an absolute URL");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return invalid("it must use https, or http on a loopback host"),
    }
    if value.contains('#') {
        return invalid("it must not have a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid("it must not have a user name or password");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let server = AuthorizationServer::new("https://id.example.com").unwrap();
        Flow::new(
            &server,
            Client::public("shop"),
            "https://shop.example.com/auth/callback",
        )
        .unwrap()
    }

    #[test]
    fn invalid_redirect_uris_are_rejected_and_named_in_the_error() {
        let server = AuthorizationServer::new("https://id.example.com").unwrap();
        for (value, accepted) in [
            ("https://shop.example.com/auth/callback", true),
            ("https://shop.example.com/auth/callback?tenant=1", true),
            ("http://127.0.0.1:3000/auth/callback", true),
            ("http://[::1]:3000/auth/callback", true),
            ("http://localhost:3000/auth/callback", true),
            ("http://shop.example.com/auth/callback", false),
            ("http://localhost.example.com/auth/callback", false),
            ("https://shop.example.com/auth/callback#top", false),
            ("https://shop.example.com/auth/callback#", false),
            ("https://user@shop.example.com/auth/callback", false),
            ("https://:pass@shop.example.com/auth/callback", false),
            ("https://shop.example.com/auth callback", false),
            ("https://shop.example.com\\auth", false),
            ("https://shöp.example.com/auth/callback", false),
            ("shop://callback", false),
            ("javascript:alert(1)", false),
            ("/auth/callback", false),
            ("", false),
        ] {
            match Flow::new(&server, Client::public("shop"), value) {
                Ok(flow) => assert!(accepted && flow.redirect_uri == value, "{value}"),
                Err(error) => {
                    assert!(
                        !accepted && error.to_string().contains(&format!("{value:?}")),
                        "{value}"
                    );
                }
            }
            assert_eq!(
                flow().with_post_logout_redirect_uri(value).is_ok(),
                accepted,
                "{value}"
            );
        }
    }

    #[test]
    fn scopes_require_openid_and_valid_characters() {
        for (scopes, accepted) in [
            ("openid", true),
            ("profile openid email", true),
            ("", false),
            ("profile", false),
            ("openid a\"b", false),
        ] {
            assert_eq!(flow().with_scopes(scopes).is_ok(), accepted, "{scopes}");
        }
    }

    #[test]
    fn parameters_of_the_flow_cannot_be_set() {
        let flow = flow()
            .with_authorization_parameter("audience", "x")
            .unwrap();
        for name in [
            "state",
            "redirect_uri",
            "request",
            "response_mode",
            "audience",
            "max_age",
            "",
        ] {
            assert!(
                flow.clone()
                    .with_authorization_parameter(name, "x")
                    .is_err(),
                "{name}"
            );
        }
        assert!(flow.with_authorization_parameter("resource", "").is_err());
    }

    #[test]
    fn a_client_without_an_id_or_a_secret_is_rejected() {
        let server = AuthorizationServer::new("https://id.example.com").unwrap();
        let uri = "https://shop.example.com/auth/callback";
        assert!(Flow::new(&server, Client::confidential("", "s"), uri).is_err());
        assert!(Flow::new(&server, Client::confidential("shop", ""), uri).is_err());
    }
}
