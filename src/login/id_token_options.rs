//! The settings of a provider for the tokens that the authorization server issues to this client.

use std::time::Duration;

use super::layer::LoginLayer;
use super::provider::{Provider, provider_settings};
use crate::config_error::ConfigError;
use crate::crypto::Algorithm;

provider_settings! {
    /// Sets the signature algorithms of ID tokens, logout tokens and signed userinfo responses
    /// (`id_token_signed_response_alg` of the client's registration, [OpenID Connect Registration §2]).
    ///
    /// Default: those that the metadata lists in `id_token_signing_alg_values_supported`, or all
    /// asymmetric algorithms of [`Algorithm`] if it lists none. If the client is registered for one
    /// algorithm, set it, so that other keys of the authorization server are not accepted.
    ///
    /// ```
    /// # use tower_oauth::{Algorithm, AuthorizationServer, Client, CookieKey, LoginLayer};
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let client = Client::public("shop");
    /// # let key = CookieKey::generate()?;
    /// let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?
    ///     .with_id_token_algorithms([Algorithm::Es256])?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty.
    ///
    /// [OpenID Connect Registration §2]: https://openid.net/specs/openid-connect-registration-1_0.html#ClientMetadata
    pub fn with_id_token_algorithms(
        self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms = algorithms.into_iter().collect();
        self.with_flow(|flow| flow.with_id_tokens(|all| all.with_algorithms(algorithms)))
    }

    /// Accepts ID tokens and logout tokens that are also for these audiences ([OpenID Connect Core
    /// §3.1.3.7]). Default: none.
    ///
    /// Zitadel, Oracle and mappers of Keycloak add further values to `aud`. The ID token must still
    /// have this client in `aud` and, beside other values, in `azp`. A logout token has no `azp`.
    ///
    /// List only identifiers of the same operator: each of them receives ID tokens that this layer
    /// accepts.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if a value is empty.
    ///
    /// [OpenID Connect Core §3.1.3.7]: https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
    pub fn with_trusted_audiences<S: Into<String>>(
        self,
        audiences: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let audiences = audiences.into_iter().map(Into::into).collect();
        self.with_flow(|flow| flow.with_id_tokens(|all| all.with_trusted_audiences(audiences)))
    }

    /// Sets the allowed clock skew between this server and the authorization server for ID tokens,
    /// logout tokens and signed userinfo responses. Default: 30 seconds; maximum: 5 minutes.
    /// Fractions of a second are truncated.
    ///
    /// The log line of a rejected login says by how many seconds a time is wrong.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is longer than 5 minutes.
    pub fn with_leeway(self, leeway: Duration) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_id_tokens(|all| all.with_leeway(leeway)))
    }
}
