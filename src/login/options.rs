//! The settings of a login layer, which apply in any order.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::cookies::{SameSite, is_app_name};
use super::csrf::Csrf;
use super::layer::LoginLayer;
use super::pages::ErrorPage;
use super::settings::{ErrorPageRenderer, Settings};
use crate::config_error::ConfigError;
use crate::flow::Flow;
use crate::session::{MAX_PER_USER, SessionManager};
use crate::store::{SharedStore, Store};

impl LoginLayer {
    /// Sets the scopes to request, separated by spaces. Default: `openid`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a word is not a scope (RFC 6749 §3.3) or `openid` is missing.
    pub fn with_scopes(self, scopes: &str) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_scopes(scopes))
    }

    /// Requests access tokens that are bound to a key of each session (DPoP, [RFC 9449]), so that a stolen token is of no
    /// use without the key. The algorithm is ES256.
    ///
    /// The key is created at each login and kept in the session, encrypted as its tokens are. Token requests, userinfo
    /// requests and [relays](crate::relay) send proofs of it, with the nonces that the servers require. Applications that
    /// call an API themselves use [`Session::authorize`](crate::Session::authorize), since the token of
    /// [`Session::access_token`](crate::Session::access_token) cannot be used as a bearer token. Codes are bound to the key
    /// too (`dpop_jkt`), and so are refresh tokens of public clients.
    ///
    /// The authorization server must support DPoP for this client: a login whose token has another type than `DPoP`
    /// fails. Sessions that exist when DPoP is switched on or off keep the tokens that they have.
    ///
    /// [`ready`](Self::ready) and logins fail if the metadata lists algorithms for proofs without ES256
    /// (`dpop_signing_alg_values_supported`); a server that lists none is used.
    ///
    /// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
    #[must_use]
    pub fn with_dpop(self) -> Self {
        self.change_flow(Flow::with_dpop)
    }

    /// Adds a parameter to every authorization request, such as `audience` or `access_type`.
    ///
    /// Three parameters are requirements of every login. A link to the login route can raise them for
    /// its login, and never lower them:
    ///
    /// | parameter | value | checked |
    /// | --- | --- | --- |
    /// | `max_age` | seconds since the user authenticated; the smaller one counts | `auth_time` of the ID token must be there and fit |
    /// | `acr_values` | values separated by spaces; a link or a step-up can select some of them | `acr` of the ID token must be one of them |
    /// | `prompt` | `login`, `consent` or `select_account`; a link can add to them | no: the user could remove the parameter. `max_age` of 0 is `login` with a check |
    ///
    /// Many authorization servers require `consent` before they issue a refresh token (OpenID Connect
    /// Core §11). A login with `prompt=none` sends no configured `prompt`; it is rejected if that
    /// contains `login`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a parameter that the flow sets itself, that has a method of its own or that is set
    /// already, and for other values of these three.
    pub fn with_authorization_parameter(
        self,
        name: &str,
        value: &str,
    ) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_authorization_parameter(name, value))
    }

    /// Adds a resource, such as an API, that every login requests access to ([RFC 8707]): an absolute URI without a
    /// fragment, at most 8.
    ///
    /// The access token of a session is for the resource that was added first, and
    /// [`Session::access_token_for`](crate::Session::access_token_for) returns tokens for the others. So each API can be
    /// sent a token that no other API accepts. The tokens for the others need a refresh token.
    ///
    /// Many authorization servers know another parameter instead, such as `audience`, or derive the audience from scopes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for another URI, or one that was added before.
    ///
    /// [RFC 8707]: https://www.rfc-editor.org/rfc/rfc8707
    pub fn add_resource(self, uri: &str) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.add_resource(uri))
    }

    /// Sets the authorization details that every login requests ([RFC 9396]): an array of objects, each with a `type`.
    ///
    /// [`Session::authorization_details`](crate::Session::authorization_details) returns what the user granted, which can
    /// be less. If the metadata of the authorization server lists supported types without one of these,
    /// [`ready`](Self::ready) fails and logins are rejected with 500.
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_oauth::{ConfigError, LoginLayer};
    ///
    /// fn with_accounts(login: LoginLayer) -> Result<LoginLayer, ConfigError> {
    ///     login.with_authorization_details(json!([{ "type": "account_information", "actions": ["list_accounts"] }]))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is not such an array, is empty or has more than 4 KiB of JSON. The error does not
    /// contain the details.
    ///
    /// [RFC 9396]: https://www.rfc-editor.org/rfc/rfc9396
    pub fn with_authorization_details(
        self,
        details: serde_json::Value,
    ) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_authorization_details(details))
    }

    /// Sets the claims that every login requests by name, the parameter `claims` ([OpenID Connect Core §5.5]): an object
    /// with `id_token`, `userinfo` or both.
    ///
    /// Of the claims of the ID token, the login fails unless
    ///
    /// | requested | the ID token has |
    /// | --- | --- |
    /// | a claim with `value` or `values`, such as `sub` | one of the values, or not the claim |
    /// | the same, and `essential` | one of the values |
    /// | `acr` with `value` or `values`, not `essential` | anything (§5.5.1.1) |
    /// | `auth_time`, `essential` | the claim |
    ///
    /// **Not checked**: other `essential` claims, which the user may not have or not release, and those of the userinfo
    /// endpoint. Authorization servers that do not support the parameter ignore it.
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_oauth::{ConfigError, LoginLayer};
    ///
    /// fn with_strong_authentication(login: LoginLayer) -> Result<LoginLayer, ConfigError> {
    ///     login.with_requested_claims(json!({ "id_token": { "acr": { "essential": true, "values": ["phr", "phrh"] } } }))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for other members, more than 4 KiB of JSON, and more than 4 claims of the ID token that
    /// would have to be checked, or more than 6 values of them. The error does not contain the claims.
    ///
    /// [OpenID Connect Core §5.5]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter
    pub fn with_requested_claims(self, claims: serde_json::Value) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_requested_claims(claims))
    }

    /// Sets the application name in cookie names.
    ///
    /// The default is the client id. If the routes are not in the folder `/auth`, a digest of the
    /// issuer, client, origin and folder is appended, so that two layers of one application use
    /// different cookies.
    ///
    /// Cookies do not distinguish ports: two applications on one host need different names. Two
    /// layers with the same name clear each other's cookies.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is 1 to 32 ASCII letters, digits, `-` and `_`.
    pub fn with_cookie_name(self, name: &str) -> Result<Self, ConfigError> {
        if !is_app_name(name) {
            return Err(ConfigError::Setting {
                setting: "cookie name",
                value: name.to_owned(),
                reason: "it must be 1 to 32 ASCII letters, digits, `-` and `_`",
            });
        }
        let cookies = self.settings.cookies.clone().with_app(name);
        Ok(self.with(|settings| settings.cookies = cookies))
    }

    /// Sets the maximum duration of a session, and the maximum time without a request. Default: 8
    /// hours and 1 hour.
    ///
    /// The time of the last request is updated at most once per tenth of the idle limit.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a limit of less than a minute or more than 400 days (the
    /// maximum lifetime of a cookie in browsers), and for an idle limit above the absolute limit.
    pub fn with_session_limits(
        self,
        absolute: Duration,
        idle: Duration,
    ) -> Result<Self, ConfigError> {
        let invalid = |value: Duration, reason| ConfigError::Setting {
            setting: "session limit",
            value: format!("{value:?}"),
            reason,
        };
        for limit in [absolute, idle] {
            if !(MIN_SESSION_LIMIT..=MAX_SESSION_LIMIT).contains(&limit) {
                return Err(invalid(limit, "it must be between a minute and 400 days"));
            }
        }
        if idle > absolute {
            return Err(invalid(
                idle,
                "the idle limit must not exceed the absolute limit",
            ));
        }
        Ok(self.with_session_manager(|manager| manager.with_limits(absolute, idle)))
    }

    /// Keeps sessions in `store`; the cookie then has a random secret only.
    ///
    /// Sessions can then have any size, end on all replicas immediately, can be listed, and refresh
    /// tokens rotate safely across replicas. [`session`](crate::session) compares the ways to keep
    /// sessions. While the store is unavailable, requests with a session get 503.
    #[must_use]
    pub fn with_session_store(self, store: impl Store) -> Self {
        let store = SharedStore::new(store);
        self.with_session_manager(|manager| manager.with_session_store(store))
    }

    /// Keeps sessions in encrypted cookies, and shared state in `store`: completed logins, ended
    /// sessions, and the latest tokens of refreshed sessions.
    ///
    /// Every request with a session then reads the store; while it is unavailable, these requests
    /// get 503.
    #[must_use]
    pub fn with_shared_store(self, store: impl Store) -> Self {
        let store = SharedStore::new(store);
        self.with_session_manager(|manager| manager.with_shared_store(store))
    }

    /// Sets the maximum number of concurrent sessions per user. A login beyond it ends the oldest
    /// session. Default: 256.
    ///
    /// Needs [`with_session_store`](Self::with_session_store) or
    /// [`with_shared_store`](Self::with_shared_store), in any order: without a store, sessions
    /// cannot be counted, so [`ready`](Self::ready) fails and logins are rejected with 500.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for 0 or more than 256.
    pub fn with_max_sessions_per_user(self, max: usize) -> Result<Self, ConfigError> {
        if !(1..=MAX_PER_USER).contains(&max) {
            return Err(ConfigError::Setting {
                setting: "max sessions per user",
                value: max.to_string(),
                reason: "it must be 1 to 256",
            });
        }
        Ok(self.with_session_manager(|manager| manager.with_max_sessions_per_user(max)))
    }

    /// Clears the browser's cache and script storage for this origin on sign-out (`Clear-Site-Data:
    /// "cache", "storage"`). Off by default: it affects the whole origin, and takes some browsers
    /// seconds.
    #[must_use]
    pub fn with_clear_site_data(self) -> Self {
        self.with(|settings| settings.clears_site_data = true)
    }

    /// Sets the lifetime of access tokens for which the authorization server sends no `expires_in`.
    /// Default: 5 minutes.
    #[must_use]
    pub fn with_default_token_lifetime(self, lifetime: Duration) -> Self {
        self.change_flow(|flow| flow.with_default_token_lifetime(lifetime))
    }

    /// Sets the maximum time between the start of a login and its callback. Default: 10 minutes.
    ///
    /// A login that takes longer gets a page that says so, with a link to start again and the same
    /// return target. A longer limit gives users more time to authenticate or to register; a login
    /// in progress is bound to its browser for that long.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for less than a minute or more than an hour.
    pub fn with_login_time_limit(self, limit: Duration) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_login_time_limit(limit))
    }

    /// Sets the `SameSite` attribute of the session cookie. Default: [`SameSite::Lax`].
    #[must_use]
    pub fn with_same_site(self, same_site: SameSite) -> Self {
        let cookies = self.settings.cookies.clone().with_same_site(same_site);
        self.with(|settings| {
            settings.same_site = same_site;
            settings.cookies = cookies;
        })
    }

    /// Makes the session cookie last until the browser is closed, by leaving out `Max-Age`. By default
    /// it lasts as long as the session can.
    ///
    /// This is a request to the browser and no limit of the session: a browser that restores its tabs
    /// at the next start keeps such cookies, and mobile browsers may never be closed. The
    /// [limits of sessions](Self::with_session_limits) apply in any case.
    #[must_use]
    pub fn with_browser_session_cookie(self) -> Self {
        self.with(|settings| settings.ends_with_browser = true)
    }

    /// Sets the protection against cross-site request forgery. Default: [`Csrf::SameOrigin`].
    #[must_use]
    pub fn with_csrf(self, csrf: Csrf) -> Self {
        self.with(|settings| settings.csrf = csrf)
    }

    /// Sets the name of the static header that scripts of this application send with the value `1`.
    /// Default: `X-CSRF`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a header name that begins with `x-`. Other headers may
    /// be set by browsers themselves, or be sent by any site without a preflight.
    pub fn with_csrf_header(self, name: &str) -> Result<Self, ConfigError> {
        let header = HeaderName::try_from(name).ok();
        let header =
            header.filter(|header| header.as_str().len() > 2 && header.as_str().starts_with("x-"));
        let Some(header) = header else {
            return Err(ConfigError::Setting {
                setting: "CSRF header",
                value: name.to_owned(),
                reason: "it must be the name of a header that begins with `x-`",
            });
        };
        Ok(self.with(|settings| settings.csrf_header = header))
    }

    /// Sets the function that renders error pages as HTML. The texts of [`ErrorPage`] are not
    /// escaped.
    #[must_use]
    pub fn with_error_page(
        self,
        render: impl Fn(&ErrorPage<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.error_page = Some(ErrorPageRenderer(Arc::new(render))))
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    pub(super) fn with_session_manager(
        self,
        change: impl FnOnce(SessionManager) -> SessionManager,
    ) -> Self {
        let manager = Arc::new(change(SessionManager::clone(&self.settings.manager)));
        self.sessions.set_manager(Arc::clone(&manager));
        self.with(|settings| settings.manager = manager)
    }

    pub(super) fn with_flow(
        self,
        change: impl FnOnce(Flow) -> Result<Flow, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let flow = change(Flow::clone(self.settings.flow()))?;
        // Another setting may have to comply with the profile, too.
        flow.check_fapi2()?;
        Ok(self.change_flow(|_| flow))
    }

    /// For settings that every flow can have. Those that contradict the FAPI 2.0 profile are errors of
    /// [`ready`](Self::ready).
    pub(super) fn change_flow(self, change: impl FnOnce(Flow) -> Flow) -> Self {
        let flow = Arc::new(change(Flow::clone(self.settings.flow())));
        self.with_session_manager(|manager| manager.with_flow(flow))
    }
}

const MIN_SESSION_LIMIT: Duration = Duration::from_secs(60);
const MAX_SESSION_LIMIT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
