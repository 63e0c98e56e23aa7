//! What a flow is set up with.

use std::time::Duration;

use url::Url;

use super::error::{FlowError, FlowErrorKind};
use super::logout::OwnEndSession;
use crate::clock::SharedClock;
use crate::config_error::ConfigError;
use crate::crypto::base64url;
use crate::crypto::binding::Binding;
use crate::issuer::{AuthorizationServer, Client, is_loopback};
use crate::protocol::authorization_request::is_own_parameter;
use crate::protocol::{Metadata, ScopeSet, State};
use crate::random::Random;

const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// The code flow of one client at one authorization server.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(super) server: AuthorizationServer,
    pub(super) client: Client,
    /// As it was given: the server compares it byte for byte.
    pub(super) redirect_uri: String,
    redirect_url: Url,
    binding: Binding,
    pub(super) scopes: ScopeSet,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) post_logout_redirect_uri: Option<String>,
    pub(super) end_session: Option<OwnEndSession>,
    pub(super) default_token_lifetime: Duration,
    random: Random,
}

impl Flow {
    /// Nothing is fetched here.
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

    /// `openid` must be among them: without an ID token nobody says who signed in, and an access
    /// token is no such word (RFC 6749 §10.16).
    pub(crate) fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let refuse = |reason| ConfigError::Scope {
            value: scopes.to_owned(),
            reason,
        };
        self.scopes = ScopeSet::parse(scopes)
            .map_err(|_| refuse("a scope holds a character that RFC 6749 §3.3 does not allow"))?;
        if !self.scopes.contains("openid") {
            return Err(refuse("`openid` is missing: a login needs an ID token"));
        }
        Ok(self)
    }

    /// A parameter of every authorization request, such as `audience`; those of the flow itself cannot
    /// be set (`L5`).
    pub(crate) fn with_authorization_parameter(
        mut self,
        name: &str,
        value: &str,
    ) -> Result<Self, ConfigError> {
        let refuse = |reason| {
            Err(ConfigError::Setting {
                setting: "authorization parameter",
                value: name.to_owned(),
                reason,
            })
        };
        if name.is_empty() || value.is_empty() {
            return refuse("its name or its value is empty");
        }
        if is_own_parameter(name) {
            return refuse("the flow sets it itself");
        }
        // Their answers are checked against the login that asked (`L27`). To a question that every login
        // puts there is none: `offline_access` needs `consent` (OpenID Connect Core §11).
        let asks_always = name == "prompt" && ["consent", "select_account"].contains(&value);
        if ["prompt", "max_age", "acr_values"].contains(&name) && !asks_always {
            return refuse("it belongs to a single login");
        }
        if self.parameters.iter().any(|(other, _)| other == name) {
            return refuse("it is set already");
        }
        self.parameters.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Where the server sends the browser after it signed out there; registered there, and compared
    /// byte for byte.
    pub(crate) fn with_post_logout_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        redirect_target("post-logout redirect URI", uri)?;
        self.post_logout_redirect_uri = Some(uri.to_owned());
        Ok(self)
    }

    /// How long an access token is used whose life the server does not tell (`L54`).
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

    /// Returns what sessions and logins in progress are bound to: issuer, client, origin and the folder of
    /// the routes.
    pub(crate) fn binding(&self) -> Binding {
        self.binding
    }

    /// A fresh `state` of 256 bits.
    pub(crate) fn new_state(&self) -> Result<State, FlowError> {
        self.new_word().map(State::new)
    }

    pub(super) fn new_word(&self) -> Result<String, FlowError> {
        Ok(base64url::encode(&self.random.bytes::<32>()?))
    }

    /// Whether a login could be started now.
    pub(crate) async fn ready(&self) -> Result<(), FlowError> {
        let metadata = self.server.metadata().await?;
        check_pkce(&metadata)?;
        authorization_endpoint(&metadata)?;
        token_endpoint(&metadata).map(|_| ())
    }
}

/// Returns the binding of a login layer.
///
/// The URL parser has already normalized the spelling: scheme and host in lowercase, no default port, no
/// dot segments. Percent-encoding of the path stays, as routes are compared byte for byte.
pub(crate) fn binding(issuer: &str, client_id: &str, redirect_uri: &Url) -> Binding {
    let origin = redirect_uri.origin().ascii_serialization();
    Binding::new(&[issuer, client_id, &origin, route_folder(redirect_uri)])
}

/// Returns the path of a redirect URI without its last segment and the slash before it.
pub(crate) fn route_folder(redirect_uri: &Url) -> &str {
    let path = redirect_uri.path();
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// RFC 9700 §2.1.1 (`L10`, `H71`): a server that lists its methods and not `S256` would have us send
/// what it does not check. One that lists none is sent the challenge all the same; state and nonce
/// do not rely on it.
pub(super) fn check_pkce(metadata: &Metadata) -> Result<(), FlowError> {
    match metadata.code_challenge_methods_supported() {
        Some(methods) if !methods.iter().any(|method| method == "S256") => Err(FlowError::new(
            FlowErrorKind::Configuration,
            "pkce_unsupported",
            "the authorization server lists code challenge methods, and S256 is not among them",
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
                "the metadata of the authorization server names no authorization endpoint",
            )
        })
}

pub(super) fn token_endpoint(metadata: &Metadata) -> Result<&str, FlowError> {
    metadata.token_endpoint().ok_or_else(|| {
        FlowError::new(
            FlowErrorKind::Configuration,
            "no_token_endpoint",
            "the metadata of the authorization server names no token endpoint",
        )
    })
}

/// RFC 6749 §3.1.2, RFC 9700 §2.6: https, or http on this very machine, and nothing that a browser
/// or a server would read differently.
pub(super) fn redirect_target(setting: &'static str, value: &str) -> Result<Url, ConfigError> {
    let refuse = |reason| {
        Err(ConfigError::Url {
            setting,
            value: value.to_owned(),
            reason,
        })
    };
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) || value.contains('\\') {
        return refuse("it must be printable ASCII without spaces and backslashes");
    }
    let Ok(url) = Url::parse(value) else {
        return refuse("it is not a URL");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return refuse("it must be https, or http on a loopback host"),
    }
    if value.contains('#') {
        return refuse("it must have no fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it must have no user name");
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
    fn redirect_uris_that_cannot_be_are_refused_with_their_value() {
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
    fn scopes_need_openid_and_the_alphabet_of_the_rfc() {
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
    fn parameters_of_the_flow_cannot_be_set_by_hand() {
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
    fn a_client_without_an_id_is_refused() {
        let server = AuthorizationServer::new("https://id.example.com").unwrap();
        let uri = "https://shop.example.com/auth/callback";
        assert!(Flow::new(&server, Client::confidential("", "s"), uri).is_err());
        assert!(Flow::new(&server, Client::confidential("shop", ""), uri).is_err());
    }
}
