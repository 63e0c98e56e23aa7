//! The FAPI 2.0 profiles for relying parties.

use http::StatusCode;
use http::header::HeaderMap;

use super::layer::LoginLayer;
use super::navigation::{self, FieldValue, SEC_FETCH_SITE};
use super::pages;
use super::provider::{Provider, provider_settings};
use super::response::{self, LayerResponse};
use super::settings::{Settings, with_query};
use crate::ConfigError;
use crate::crypto::SigningKey;

provider_settings! {
    /// Signs users in only as the [FAPI 2.0 Security Profile] of the OpenID Foundation requires of clients, §5.2 to §5.4:
    ///
    /// | rule | here |
    /// | --- | --- |
    /// | the client is confidential | [`Client::private_key_jwt`](crate::Client::private_key_jwt) with typed assertions for the issuer, or [`Client::mutual_tls`](crate::Client::mutual_tls) |
    /// | authorization requests are pushed | [`PushedRequests::Required`](super::PushedRequests::Required) is set |
    /// | access tokens are sender-constrained | [`with_dpop`](Self::with_dpop) is set, unless the client has a certificate |
    /// | every JWT has the algorithm PS256, ES256 or EdDSA | ID tokens, logout tokens, userinfo, signed responses, assertions, signed requests and proofs; of a list that was configured, the others are removed |
    /// | authorization responses have `iss`, or are signed | the metadata must say so |
    /// | PKCE with S256, which the metadata lists | always used |
    /// | `nonce` has at most 64 characters | always so |
    /// | metadata, endpoints and keys are discovered, over https | the [`AuthorizationServer`](crate::AuthorizationServer) and the redirect URI are checked |
    /// | `iat` and `nbf` are at most 60 seconds in the future | [`with_leeway`](Self::with_leeway) is limited |
    /// | logins are started by the application, not by other sites | a user who comes from another site is asked before the login starts, unless a session [authenticates again](crate::LoginLayer::step_up); such a navigation starts no [silent login](crate::LoginLayer::silent_login); [`with_third_party_login`](crate::LoginLayer::with_third_party_login) is excluded |
    ///
    /// Settings apply in any order. One that contradicts the profile and follows it is an error of its own method, or
    /// else of [`ready`](crate::LoginLayer::ready) and of each login, which is then 500.
    ///
    /// [`ready`](crate::LoginLayer::ready) and logins also fail if the metadata does not fit. The error names the member,
    /// its value and what is required.
    ///
    /// ```
    /// use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, SigningKey};
    ///
    /// let pem = "-----BEGIN PRIVATE KEY-----
    /// MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
    /// -----END PRIVATE KEY-----";
    /// let server = AuthorizationServer::new("https://bank.example.com")?;
    /// let client = Client::private_key_jwt("shop", SigningKey::from_pem(pem)?);
    /// let redirect_uri = "https://shop.example.com/auth/callback";
    /// let login = LoginLayer::new(&server, client, redirect_uri, CookieKey::generate()?)?
    ///     .with_fapi2_security_profile()?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the client, the authorization server or a setting contradicts the profile.
    ///
    /// # Not checked
    ///
    /// What is up to the authorization server, such as the lifetime of codes and the registration of the client.
    ///
    /// [FAPI 2.0 Security Profile]: https://openid.net/specs/fapi-security-profile-2_0-final.html
    pub fn with_fapi2_security_profile(self) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_fapi2_security_profile())
    }

    /// Adds [FAPI 2.0 Message Signing] to the [Security Profile](Self::with_fapi2_security_profile): authorization requests
    /// are [signed](Self::with_signed_requests) with `key`, and responses are [signed JWTs](super::ResponseMode::Jwt)
    /// (JARM).
    ///
    /// Request objects are valid for five minutes and have `nbf`, the issuer as `aud` and the type
    /// `oauth-authz-req+jwt`. `authorization_response_iss_parameter_supported` is not required then, since signed responses
    /// have `iss`.
    ///
    /// # Errors
    ///
    /// As for [`with_fapi2_security_profile`](Self::with_fapi2_security_profile), and if `key` does not sign with PS256,
    /// ES256 or EdDSA.
    ///
    /// [FAPI 2.0 Message Signing]: https://openid.net/specs/fapi-message-signing-2_0-final.html
    pub fn with_fapi2_message_signing(self, key: SigningKey) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_fapi2_message_signing(key))
    }
}

impl Settings {
    /// Returns whether this request may start a login. With a FAPI 2.0 profile, it must come from a page of this
    /// application or from the user, as the browser says: the start of a login is protected against cross-site request
    /// forgery (FAPI 2.0 §5.3.3.1). A browser without fetch metadata names the page in `Referer`.
    pub(super) fn may_start_login(&self, headers: &HeaderMap) -> bool {
        !self.flow().is_fapi2()
            || match navigation::single(headers, &SEC_FETCH_SITE) {
                FieldValue::One("same-origin" | "none") => true,
                FieldValue::Absent => self.referring_path(headers).is_some(),
                FieldValue::One(_) | FieldValue::Ambiguous => false,
            }
    }

    /// Returns the page whose link starts the login.
    pub(super) fn confirm_login(&self, provider: &str, query: Option<&str>) -> LayerResponse {
        let url = with_query(self.paths.login_of(provider), query);
        response::html(StatusCode::OK, pages::confirm_login(&url), pages::policy())
    }
}
