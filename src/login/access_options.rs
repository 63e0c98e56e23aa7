//! The settings of a provider for what its logins request, and for its tokens and its logout.

use std::time::Duration;

use super::layer::LoginLayer;
use super::provider::{Provider, provider_settings};
use crate::config_error::ConfigError;

provider_settings! {
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
    /// [`ready`](crate::LoginLayer::ready) and logins fail if the metadata lists algorithms for proofs without ES256
    /// (`dpop_signing_alg_values_supported`); a server that lists none is used.
    ///
    /// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
    #[must_use]
    pub fn with_dpop(self) -> Self {
        self.map_flow(|flow| flow.with_dpop())
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
    /// [`ready`](crate::LoginLayer::ready) fails and logins are rejected with 500.
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

    /// Sets the lifetime of access tokens for which the authorization server sends no `expires_in`.
    /// Default: 5 minutes.
    #[must_use]
    pub fn with_default_token_lifetime(self, lifetime: Duration) -> Self {
        self.map_flow(|flow| flow.with_default_token_lifetime(lifetime))
    }

    /// Sets the endpoint and the parameter name for an authorization server that has a sign-out
    /// endpoint of another kind. Default: `end_session_endpoint` of its metadata.
    ///
    /// | server | endpoint | parameter |
    /// | --- | --- | --- |
    /// | Auth0 | `https://TENANT.auth0.com/v2/logout` | `returnTo` |
    /// | Cognito | `https://DOMAIN.auth.REGION.amazoncognito.com/logout` | `logout_uri` |
    ///
    /// The request has `client_id` and, if
    /// [`with_post_logout_redirect_uri`](crate::LoginLayer::with_post_logout_redirect_uri) was called, that
    /// parameter. Such servers do not return `state`, so users end on the default return target and
    /// not on the `return_to` of their sign-out.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for a URL that is not https (or http on loopback),
    /// [`ConfigError::Setting`] for a parameter that is empty, is `client_id`, or has other
    /// characters than letters, digits, `_`, `-` and `.`.
    pub fn with_end_session_endpoint(
        self,
        url: &str,
        redirect_parameter: &str,
    ) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_end_session_endpoint(url, redirect_parameter))
    }
}
