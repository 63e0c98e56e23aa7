//! Configuration of the code flow.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::dpop::NonceCache;
use super::error::FlowError;
use super::identity::SharedIdentitySource;
use super::redirect_uri::{RedirectUri, redirect_target};
use super::request_settings::RequestSettings;
use super::requested_access::RequestedAccess;
use crate::clock::SharedClock;
use crate::config_error::ConfigError;
use crate::crypto::base64url;
use crate::crypto::binding::Binding;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::authorization_request::is_reserved_parameter;
use crate::protocol::sanitize::is_printable_ascii;
use crate::protocol::{ScopeSet, State};
use crate::random::Random;
use crate::record::EntryId;
use crate::request_permits::RequestPermits;
use crate::telemetry::LogOnce;
use crate::token::id_token::{AcrValues, IdTokenSettings};

/// Values of `prompt` that every login may request (OpenID Connect Core §3.1.2.1). `offline_access` requires
/// `consent` (§11).
const PROMPTS: [&str; 3] = ["login", "consent", "select_account"];

pub(super) const CLIENT_ID: &str = "client_id";

const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(300);
const DEFAULT_LOGIN_TIME_LIMIT: Duration = Duration::from_secs(600);

/// The authorization code flow of a client at an authorization server.
///
/// A layer gives the flow its redirect URI. Without one (`Flow<()>`), it has settings only.
#[derive(Clone, Debug)]
pub(crate) struct Flow<R = RedirectUri> {
    pub(super) server: AuthorizationServer,
    pub(super) client: Client,
    pub(super) redirect: R,
    pub(super) scopes: ScopeSet,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) requests: RequestSettings,
    pub(super) push_permits: RequestPermits,
    pub(super) access: RequestedAccess,
    /// What every login requests, and the ID token is checked against.
    pub(super) max_age: Option<u32>,
    pub(super) acr_values: Option<String>,
    pub(super) post_logout_redirect_uri: Option<String>,
    pub(super) end_session: Option<CustomEndSession>,
    pub(super) default_token_lifetime: Duration,
    pub(super) login_time_limit: Duration,
    pub(super) missing_revocation_warning: LogOnce,
    /// Whether logins request access tokens that are bound to a key (RFC 9449).
    pub(super) dpop: bool,
    pub(super) nonces: Arc<NonceCache>,
    pub(super) fapi2: Fapi2,
    /// Who the user is, at an authorization server without ID tokens.
    pub(super) identity: Option<SharedIdentitySource>,
    /// Whether the scopes of a token response are separated by commas.
    pub(super) has_comma_scopes: bool,
    /// Whether refresh tokens are kept and used.
    pub(super) keeps_refresh_tokens: bool,
    id_tokens: IdTokenSettings,
    random: Random,
}

/// Which of the profiles applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fapi2 {
    #[default]
    Off,
    Security,
    /// With signed authorization requests and responses.
    MessageSigning,
}

/// A configured logout endpoint, for an authorization server whose metadata has no usable one.
#[derive(Clone, Debug)]
pub(super) struct CustomEndSession {
    pub(super) endpoint: Url,
    /// The name of the parameter that corresponds to `post_logout_redirect_uri`.
    pub(super) redirect_parameter: String,
}

impl Flow {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new(
        server: &AuthorizationServer,
        client: Client,
        redirect_uri: &str,
    ) -> Result<Self, ConfigError> {
        Flow::without_redirect_uri(server, client)?.with_redirect_uri(redirect_uri)
    }

    pub(crate) fn redirect_uri(&self) -> &Url {
        self.redirect.url()
    }

    /// Returns the binding of sessions and transactions: issuer, client, origin and path prefix of the routes.
    pub(crate) fn binding(&self) -> Binding {
        self.redirect.binding()
    }

    /// Identifies the flow among those of a layer.
    pub(crate) fn entry(&self) -> EntryId {
        self.redirect.entry()
    }
}

impl Flow<()> {
    /// Creates a flow that has no redirect URI yet. Performs no I/O.
    pub(crate) fn without_redirect_uri(
        server: &AuthorizationServer,
        client: Client,
    ) -> Result<Self, ConfigError> {
        check_client(&client)?;
        let mut scopes = ScopeSet::default();
        scopes.insert("openid");
        Ok(Self {
            server: server.clone(),
            client,
            redirect: (),
            scopes,
            parameters: Vec::new(),
            requests: RequestSettings::default(),
            push_permits: RequestPermits::default(),
            access: RequestedAccess::default(),
            max_age: None,
            acr_values: None,
            post_logout_redirect_uri: None,
            end_session: None,
            default_token_lifetime: DEFAULT_TOKEN_LIFETIME,
            login_time_limit: DEFAULT_LOGIN_TIME_LIMIT,
            missing_revocation_warning: LogOnce::default(),
            dpop: false,
            nonces: Arc::default(),
            fapi2: Fapi2::default(),
            identity: None,
            has_comma_scopes: false,
            keeps_refresh_tokens: true,
            id_tokens: IdTokenSettings::default(),
            random: Random::system(),
        })
    }

    /// Returns the flow with the redirect URI of a layer.
    pub(crate) fn with_redirect_uri(self, redirect_uri: &str) -> Result<Flow, ConfigError> {
        let redirect = RedirectUri::new(self.server.issuer(), self.client.id(), redirect_uri)?;
        Ok(self.placed(redirect))
    }

    /// Returns the flow as that of a further provider of the layer of `first`: its redirect URI is below that of `first`,
    /// and the settings of all logins of the layer apply.
    pub(crate) fn beside(self, first: &Flow, name: &str) -> Result<Flow, ConfigError> {
        let (issuer, client_id) = (self.server.issuer(), self.client.id());
        let redirect = first.redirect.below(issuer, client_id, name)?;
        Ok(Flow {
            login_time_limit: first.login_time_limit,
            post_logout_redirect_uri: first.post_logout_redirect_uri.clone(),
            ..self.placed(redirect)
        })
    }

    fn placed(self, redirect: RedirectUri) -> Flow {
        Flow {
            server: self.server,
            client: self.client,
            redirect,
            scopes: self.scopes,
            parameters: self.parameters,
            requests: self.requests,
            push_permits: self.push_permits,
            access: self.access,
            max_age: self.max_age,
            acr_values: self.acr_values,
            post_logout_redirect_uri: self.post_logout_redirect_uri,
            end_session: self.end_session,
            default_token_lifetime: self.default_token_lifetime,
            login_time_limit: self.login_time_limit,
            missing_revocation_warning: self.missing_revocation_warning,
            dpop: self.dpop,
            nonces: self.nonces,
            fapi2: self.fapi2,
            identity: self.identity,
            has_comma_scopes: self.has_comma_scopes,
            keeps_refresh_tokens: self.keeps_refresh_tokens,
            id_tokens: self.id_tokens,
            random: self.random,
        }
    }
}

impl<R> Flow<R> {
    /// Sets the scopes to request. `openid` is required: only an ID token authenticates the user, an access token
    /// does not (RFC 6749 §10.16).
    pub(crate) fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Scope {
            value: scopes.to_owned(),
            reason,
        };
        self.scopes = ScopeSet::parse(scopes)
            .map_err(|_| invalid("a scope has a character that RFC 6749 §3.3 does not allow"))?;
        match (self.scopes.contains("openid"), &self.identity) {
            (false, None) => Err(invalid("`openid` is missing: a login requires an ID token")),
            (true, Some(_)) => Err(invalid(
                "the provider issues no ID tokens, which `openid` requests",
            )),
            _ => Ok(self),
        }
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
        match name {
            "resource" => return invalid("use `add_resource`"),
            "authorization_details" => return invalid("use `with_authorization_details`"),
            "claims" => return invalid("use `with_requested_claims`"),
            _ => {}
        }
        if self.identity.is_some() && matches!(name, "max_age" | "acr_values") {
            return invalid("only an ID token confirms it, and the provider issues none");
        }
        match name {
            // `none` can be requested for a single login only: every login would fail without a session there.
            "prompt" if !value.split(' ').all(|one| PROMPTS.contains(&one)) => {
                return invalid("`prompt` must be `login`, `consent` or `select_account`");
            }
            "max_age" if self.max_age.is_none() => {
                let Ok(seconds) = value.parse() else {
                    return invalid("`max_age` must be a number of seconds");
                };
                self.max_age = Some(seconds);
                return Ok(self);
            }
            "acr_values" if self.acr_values.is_none() => {
                let is_list = !value.split(' ').any(str::is_empty) && is_printable_ascii(value);
                if !is_list || AcrValues::parse(value).is_none() {
                    return invalid(
                        "`acr_values` must be at most 8 words separated by single spaces",
                    );
                }
                self.acr_values = Some(value.to_owned());
                return Ok(self);
            }
            "max_age" | "acr_values" => return invalid("this parameter is already set"),
            _ => {}
        }
        if self.parameters.iter().any(|(other, _)| other == name) {
            return invalid("this parameter is already set");
        }
        self.parameters.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Returns whether every login asks the user to authenticate.
    pub(crate) fn always_prompts(&self) -> bool {
        self.max_age == Some(0) || self.prompts_for_login()
    }

    /// Returns whether the `prompt` of every login has `login`.
    pub(super) fn prompts_for_login(&self) -> bool {
        let prompt = self.configured_prompt().unwrap_or_default();
        prompt.split(' ').any(|one| one == "login")
    }

    /// Returns the `prompt` that every login requests.
    pub(super) fn configured_prompt(&self) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let prompt = parameters.find(|(name, _)| name == "prompt");
        prompt.map(|(_, value)| value.as_str())
    }

    /// Sets the URI that the authorization server redirects to after logout. It must be registered there.
    pub(crate) fn with_post_logout_redirect_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        redirect_target("post-logout redirect URI", uri)?;
        self.post_logout_redirect_uri = Some(uri.to_owned());
        Ok(self)
    }

    /// Sets a logout endpoint that does not follow the specification.
    pub(crate) fn with_end_session_endpoint(
        mut self,
        url: &str,
        redirect_parameter: &str,
    ) -> Result<Self, ConfigError> {
        let endpoint = redirect_target("end session endpoint", url)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let usable = !redirect_parameter.is_empty()
            && redirect_parameter != CLIENT_ID
            && redirect_parameter.bytes().all(plain);
        if !usable {
            return Err(ConfigError::Setting {
                setting: "redirect parameter",
                value: redirect_parameter.to_owned(),
                reason: "it must consist of letters, digits, `_`, `-` and `.`, and must not be `client_id`",
            });
        }
        self.end_session = Some(CustomEndSession {
            endpoint,
            redirect_parameter: redirect_parameter.to_owned(),
        });
        Ok(self)
    }

    /// Requests access tokens that are bound to a key of each login (RFC 9449).
    pub(crate) fn with_dpop(self) -> Self {
        Self { dpop: true, ..self }
    }

    /// Sets the lifetime of access tokens whose response has no `expires_in` (RFC 6749 §5.1).
    pub(crate) fn with_default_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_token_lifetime = lifetime;
        self
    }

    /// Sets the maximum time between the authorization request and the callback.
    pub(crate) fn with_login_time_limit(mut self, limit: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration(
            "login time limit",
            limit,
            Duration::from_secs(60)..=Duration::from_secs(3600),
            "it must be between a minute and an hour",
        )?;
        self.login_time_limit = limit;
        Ok(self)
    }

    pub(crate) fn login_time_limit(&self) -> Duration {
        self.login_time_limit
    }

    /// Changes how the tokens that the authorization server issues to the client are verified.
    pub(crate) fn with_id_tokens(
        mut self,
        change: impl FnOnce(IdTokenSettings) -> Result<IdTokenSettings, ConfigError>,
    ) -> Result<Self, ConfigError> {
        self.id_tokens = change(self.id_tokens)?;
        Ok(self)
    }

    pub(crate) fn id_tokens(&self) -> &IdTokenSettings {
        &self.id_tokens
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

    /// Generates a `state` with 256 random bits.
    pub(crate) fn new_state(&self) -> Result<State, FlowError> {
        self.random_string().map(State::new)
    }

    pub(super) fn random_string(&self) -> Result<String, FlowError> {
        Ok(base64url::encode(&self.random.bytes::<32>()?))
    }
}

pub(super) fn check_client(client: &Client) -> Result<(), ConfigError> {
    client.check()?;
    match client.is_for_logins() {
        true => Ok(()),
        false => Err(ConfigError::Setting {
            setting: "client",
            value: client.id().to_owned(),
            reason: "a bearer token authenticates a client only at the introspection endpoint",
        }),
    }
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
            "dpop_jkt",
            "resource",
            "authorization_details",
            "claims",
            "",
        ] {
            assert!(
                flow.clone()
                    .with_authorization_parameter(name, "x")
                    .is_err(),
                "{name}"
            );
        }
        assert!(flow.with_authorization_parameter("tenant", "").is_err());
    }

    #[test]
    fn a_client_without_an_id_or_a_secret_and_a_plain_redirect_uri_are_rejected() {
        let server = AuthorizationServer::new("https://id.example.com").unwrap();
        let uri = "https://shop.example.com/auth/callback";
        let plain = "http://shop.example.com/auth/callback";
        assert!(Flow::new(&server, Client::public("shop"), plain).is_err());
        assert!(flow().with_post_logout_redirect_uri(plain).is_err());
        assert!(Flow::new(&server, Client::confidential("", "s"), uri).is_err());
        assert!(Flow::new(&server, Client::confidential("shop", ""), uri).is_err());
    }
}
