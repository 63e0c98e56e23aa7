//! The settings of a provider for how authorization requests are sent, and how the responses come back.

use super::layer::LoginLayer;
use super::provider::{Provider, provider_settings};
use crate::crypto::SigningKey;
use crate::flow::{PushedRequests, ResponseMode};

provider_settings! {
    /// Sets when authorization requests are sent over the back channel, with client authentication
    /// ([RFC 9126]). Default: [`PushedRequests::WhenAvailable`].
    ///
    /// The URL that the browser opens then has only the client id and a reference. The reference is valid
    /// for one login, so each login causes a request to the authorization server: at most 64 at a time for
    /// all clones of a layer; others wait up to 30 seconds, then get 503 with `Retry-After`.
    ///
    /// A login whose request is not accepted ends with an error page, 503 for an outage and 500 if the
    /// authorization server rejects the request. The log has its error code and description. The
    /// parameters are never sent with the browser instead.
    ///
    /// A setting that contradicts the metadata is an error of the configuration in
    /// [`ready`](crate::LoginLayer::ready) and at each login: [`Never`](PushedRequests::Never) with
    /// `require_pushed_authorization_requests`, [`Required`](PushedRequests::Required) without an endpoint.
    ///
    /// ```
    /// use tower_oauth::login::PushedRequests;
    /// # use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let (client, key) = (Client::confidential("shop", "secret"), CookieKey::generate()?);
    ///
    /// let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?
    ///     .with_pushed_requests(PushedRequests::Required);
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// [RFC 9126]: https://www.rfc-editor.org/rfc/rfc9126
    #[must_use]
    pub fn with_pushed_requests(self, pushed: PushedRequests) -> Self {
        self.map_flow(|flow| flow.with_pushed_requests(pushed))
    }

    /// Signs authorization requests with `key` ([RFC 9101]): the user cannot change them, and the
    /// authorization server knows who sent them. Register the [public key](SigningKey::public_jwk) there.
    ///
    /// All parameters are claims of a JWT, which is valid for five minutes and for this authorization
    /// server. It is pushed, if requests are [pushed](Self::with_pushed_requests). Otherwise the URL has it
    /// beside the client id, `response_type` and `scope`, which OpenID Connect Core §6.1 requires there.
    /// Such a URL is 1 to 2 KB long.
    ///
    /// Requests are signed and not encrypted: the browser can read what is in the URL.
    ///
    /// A key whose algorithm is not in `request_object_signing_alg_values_supported` of the metadata, and
    /// no key with `require_signed_request_object`, are errors of the configuration in
    /// [`ready`](crate::LoginLayer::ready) and at each login. So is an
    /// [authorization parameter](Self::with_authorization_parameter) with the name of a claim of JWTs, such as
    /// `aud`.
    ///
    /// [RFC 9101]: https://www.rfc-editor.org/rfc/rfc9101
    #[must_use]
    pub fn with_signed_requests(self, key: SigningKey) -> Self {
        self.map_flow(|flow| flow.with_signed_requests(key))
    }

    /// Sets how the authorization response is returned to the callback. Default: [`ResponseMode::Query`].
    ///
    /// A response in another mode is rejected, and the login can still complete with the right one. A mode
    /// that `response_modes_supported` of the metadata does not list is an error of the configuration in
    /// [`ready`](crate::LoginLayer::ready) and at each login; without that list it is requested anyway.
    ///
    /// - [`FormPost`](ResponseMode::FormPost): a page of the authorization server posts the code to the
    ///   callback, so that it is in no URL of the authorization server and in no `Referer`. The callback
    ///   accepts URL-encoded forms of at most about 5900 bytes within 10 seconds, without a query, and with
    ///   the `Origin` of the authorization endpoint, `null` or none. Browsers send no `SameSite=Lax` cookies
    ///   with that form, so the layer redirects to the callback with the response encrypted in the URL (of at
    ///   most 8000 bytes), valid for a minute, and completes the login there.
    /// - [`Jwt`](ResponseMode::Jwt): the authorization server signs the response. Its issuer, audience and
    ///   expiry are checked, and its signature with the keys and the
    ///   [algorithms](Self::with_id_token_algorithms) of ID tokens, before it completes or ends a login.
    ///   Encrypted responses are not supported.
    /// - [`FormPostJwt`](ResponseMode::FormPostJwt): both.
    #[must_use]
    pub fn with_response_mode(self, mode: ResponseMode) -> Self {
        self.map_flow(|flow| flow.with_response_mode(mode))
    }
}
