//! Providers without OpenID Connect, and changes of what a preset has created.

use super::{Provider, checked_name};
use crate::config_error::ConfigError;
use crate::flow::{Flow, IdentitySource};
use crate::issuer::{AuthorizationServer, Client};

impl Provider {
    /// Creates a provider that does not support OpenID Connect: it issues no ID tokens, and `source` asks an API of the
    /// provider who the user is.
    ///
    /// The issuer of `server` identifies the provider and, with the subject, the user. It is reserved for this provider:
    /// choose an https URL of the provider, which no ID token has as `iss`, and never change it. Metadata are configured:
    /// [`AuthorizationServer::from_metadata`]. Logins request no scopes unless they are [set](Self::with_scopes).
    ///
    /// ```
    /// use tower_oauth::login::{Identity, IdentityError, IdentitySource, UserApi};
    /// use tower_oauth::protocol::Metadata;
    /// use tower_oauth::{AuthorizationServer, Client, Provider};
    ///
    /// struct Forge;
    ///
    /// impl IdentitySource for Forge {
    ///     async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
    ///         let user = api.get("https://api.forge.example/user").await?;
    ///         let id = user["id"].as_u64();
    ///         let id = id.ok_or_else(|| IdentityError::invalid_response("id is not a number"))?;
    ///         Ok(Identity::new(id.to_string()))
    ///     }
    /// }
    ///
    /// let metadata = Metadata::new("https://forge.example")
    ///     .with_authorization_endpoint("https://forge.example/oauth/authorize")
    ///     .with_token_endpoint("https://forge.example/oauth/token");
    /// let server = AuthorizationServer::from_metadata(metadata)?;
    /// let client = Client::confidential_post("shop", "a secret");
    /// let forge = Provider::without_id_token("forge", &server, client, Forge)?.with_scopes("user:read")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Security
    ///
    /// The access token is the response to a code of the same login, which `state` and PKCE bind to the browser. It is
    /// never taken from anywhere else, since a token of another client would sign in its user here ([RFC 6749 §10.16]).
    ///
    /// Nothing is signed, so these are rejected: `max_age`, `acr_values`, requested claims, step-up, and logins with
    /// `prompt=none`. [`Session::subject_source`](crate::Session::subject_source) tells such sessions from others.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    ///
    /// [RFC 6749 §10.16]: https://www.rfc-editor.org/rfc/rfc6749#section-10.16
    pub fn without_id_token(
        name: &str,
        server: &AuthorizationServer,
        client: Client,
        source: impl IdentitySource,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            name: checked_name(name)?,
            display_name: None,
            accepts_uris_below: false,
            flow: Flow::without_id_token(server, client, source)?,
        })
    }

    /// Reads the scopes in token responses as separated by commas, as GitHub and Strava send them, and not by spaces
    /// ([RFC 6749 §3.3]).
    ///
    /// [RFC 6749 §3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
    #[must_use]
    pub fn with_comma_separated_scopes(self) -> Self {
        self.map_flow(Flow::with_comma_separated_scopes)
    }

    /// States that the authorization server accepts redirect URIs below the registered one, and not only that one byte for
    /// byte ([RFC 9700 §2.1]), as OAuth apps of GitHub do.
    ///
    /// The redirect URIs of further providers are below that of the first one, so such a provider cannot be the first of
    /// several: another provider could have the code of a user sent to its own redirect URI, and get it with the code
    /// verifier. It can be alone, and [added](crate::LoginLayer::add_provider) to a layer.
    ///
    /// [RFC 9700 §2.1]: https://www.rfc-editor.org/rfc/rfc9700#section-2.1
    #[must_use]
    pub fn with_redirect_uris_below_accepted(self) -> Self {
        Self {
            accepts_uris_below: true,
            ..self
        }
    }

    /// Replaces the client, to authenticate with another method than a secret.
    ///
    /// ```
    /// use tower_oauth::{Client, Provider, SigningKey};
    ///
    /// # let pem = "-----BEGIN PRIVATE KEY-----
    /// # MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
    /// # -----END PRIVATE KEY-----";
    /// let key = SigningKey::from_pem(pem)?;
    /// let provider = Provider::keycloak("https://id.example.com/realms/shop", "shop", "unused")?
    ///     .with_client(Client::private_key_jwt("shop", key))?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_client(self, client: Client) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_client(client))
    }

    /// Changes the handle of the authorization server, for example to set the HTTP client of a preset or another address
    /// of its metadata.
    ///
    /// ```
    /// use tower_oauth::Provider;
    ///
    /// let metadata = "https://keycloak.internal/realms/shop/.well-known/openid-configuration";
    /// let keycloak = Provider::keycloak("https://id.example.com/realms/shop", "shop", "secret")?
    ///     .with_authorization_server(|server| server.with_metadata_url(metadata))?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of `change`, and [`ConfigError::Issuer`] if it returns another server.
    pub fn with_authorization_server(
        self,
        change: impl FnOnce(AuthorizationServer) -> Result<AuthorizationServer, ConfigError>,
    ) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_server(change))
    }
}
