//! [`BearerLayer`] and its settings.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_layer::Layer;

use super::challenge::{RefusalHook, RefusedRequest};
use super::claims_type::ClaimsType;
use super::refusal::Refusal;
use super::service::Bearer;
use super::settings::Settings;
use crate::ConfigError;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::Claims;
use crate::protocol::challenge::Realm;
use crate::token::{Audience, Dpop, IntrospectionVerifier, JwtVerifier, Verifier};

/// Validates access tokens and rejects requests without a valid one; see the [module documentation](super).
///
/// `C` is the type of the claims that handlers receive: [`Claims`] unless changed by [`with_claims`](Self::with_claims).
pub struct BearerLayer<C = Claims> {
    settings: Arc<Settings>,
    claims: PhantomData<fn() -> C>,
}

impl BearerLayer {
    /// Creates a layer that validates JWT access tokens issued by `server` for `audience`.
    ///
    /// Equivalent to [`new`](Self::new) with a [`JwtVerifier`], which documents the defaults and has further settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] if the audience is empty.
    pub fn jwt(
        server: &AuthorizationServer,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        JwtVerifier::new(server, audience).map(Self::new)
    }

    /// Creates a layer that validates access tokens, opaque or not, at the introspection endpoint of `server`
    /// ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
    ///
    /// Equivalent to [`new`](Self::new) with an [`IntrospectionVerifier`], which documents the defaults and has further
    /// settings. `client` authenticates this resource server to the endpoint.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Audience`] if the audience is empty.
    /// - [`ConfigError::Setting`] or [`ConfigError::Secret`] if the client is invalid or has no credentials.
    pub fn introspect(
        server: &AuthorizationServer,
        client: Client,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        IntrospectionVerifier::new(server, client, audience).map(Self::new)
    }

    /// Creates a layer that validates access tokens with a [`JwtVerifier`], an [`IntrospectionVerifier`] or a
    /// [`Verifier`] that combines several.
    ///
    /// By default the realm is `api`, and a token is required.
    pub fn new(verifier: impl Into<Verifier>) -> Self {
        Self {
            settings: Arc::new(Settings::new(verifier.into())),
            claims: PhantomData,
        }
    }
}

impl<C> BearerLayer<C> {
    /// Sets the `realm` of the challenges ([RFC 9110 §11.5]). The default is `api`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is empty, or contains a quote, a backslash or a character that is not printable
    /// ASCII.
    ///
    /// [RFC 9110 §11.5]: https://www.rfc-editor.org/rfc/rfc9110#section-11.5
    pub fn with_realm(mut self, realm: &str) -> Result<Self, ConfigError> {
        let realm = Realm::new(realm).ok_or_else(|| ConfigError::Setting {
            setting: "realm",
            value: realm.to_owned(),
            reason: "it must not be empty, and must be printable ASCII without quotes and backslashes",
        })?;
        self.change(|settings| Arc::make_mut(&mut settings.challenge).realm = realm);
        Ok(self)
    }

    /// Forwards requests without credentials as anonymous. A token that *is* presented is still validated: an invalid
    /// token is rejected, never ignored.
    ///
    /// The layer also rejects, with 401 and its challenges, an access token with an unsupported scheme (`DPoP` without
    /// [`with_dpop`](Self::with_dpop), `GNAP`, `PoP`, `MAC`, `OAuth`, a misspelt `Bearer`), a token without a scheme, and
    /// a `DPoP` proof without an access token. An access token after other credentials in one field
    /// (`Basic YTpi, Bearer …`) is rejected with 400, like two fields. `Basic`, `Negotiate` and every other scheme may
    /// belong to another layer, so such a request is forwarded as anonymous.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.change(|settings| settings.optional = true);
        self
    }

    /// Adds `Cache-Control: private` to responses to authenticated requests, unless the handler sets `Cache-Control`.
    #[must_use]
    pub fn with_private_responses(mut self) -> Self {
        self.change(|settings| settings.private = true);
        self
    }

    /// Limits the memory of the cache of verified JWTs, in bytes. The default is 32 MiB; 0 disables the cache.
    ///
    /// The signature of a cached token is not verified again, which makes requests many times cheaper. An entry holds
    /// the claims, keyed by a MAC of the token, and takes about 1 kB; the token itself is not stored. Expiry and key
    /// validity are re-checked on every request: an entry becomes invalid when the key that verified the token leaves
    /// the key set. Scopes, proofs of possession and other properties of the request are always checked. The limit is
    /// exact, except that claims of an application type are counted by the size of the type and of their JSON text.
    ///
    /// The `Debug` output of the layer shows the current usage. Clones of the layer share the cache; this call gives
    /// the layer a new one.
    #[must_use]
    pub fn with_token_cache(mut self, max_bytes: usize) -> Self {
        self.change(|settings| settings.verifier.set_cache_size(max_bytes));
        self
    }

    /// Disables the cache: the layer verifies the signature of the token on every request.
    #[must_use]
    pub fn without_token_cache(mut self) -> Self {
        self.change(|settings| settings.verifier.set_cache_size(0));
        self
    }

    /// Calls `hook` for every rejection by this layer and by the scope layers and extractors inside of it, for audit
    /// logs and custom metrics. It runs before the response is sent and must not block.
    ///
    /// ```
    /// # use tower_oauth::{AuthorizationServer, BearerLayer};
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// let layer = BearerLayer::jwt(&server, "https://api.example.com")?.on_refusal(|request| {
    ///     let (status, path) = (request.status(), request.path());
    ///     eprintln!("{status} {} {path:?}: {}", request.method(), request.refusal());
    /// });
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    #[must_use]
    pub fn on_refusal(
        mut self,
        hook: impl Fn(&RefusedRequest<'_>) + Send + Sync + 'static,
    ) -> Self {
        let hook = RefusalHook::new(hook);
        self.change(|settings| Arc::make_mut(&mut settings.challenge).on_refusal = hook);
        self
    }

    /// Accepts DPoP-bound access tokens, with the scheme `DPoP` and a proof of possession ([RFC 9449]); see [`Dpop`].
    /// By default they are rejected.
    ///
    /// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
    #[must_use]
    pub fn with_dpop(mut self, dpop: Dpop) -> Self {
        self.change(|settings| {
            Arc::make_mut(&mut settings.challenge)
                .offer_dpop(dpop.algorithms(), dpop.is_required());
            settings.bindings.dpop = Some(dpop);
        });
        self
    }

    /// Deserializes the claims as `T`, for handlers that take `VerifiedToken<T>`.
    ///
    /// A token whose claims cannot be deserialized is rejected with 401. Scopes, subject and times do not depend on the
    /// type.
    #[must_use]
    pub fn with_claims<T>(self) -> BearerLayer<T>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let mut settings = Settings::clone(&self.settings);
        settings.verifier = settings.verifier.with_claims_size(size_of::<T>());
        settings.claims_type = ClaimsType::of::<T>();
        BearerLayer {
            settings: Arc::new(settings),
            claims: PhantomData,
        }
    }

    /// Returns an error if two settings contradict each other, in whatever order they were made: if the document of
    /// [`with_resource_metadata`](Self::with_resource_metadata) announces what the layer does not accept, or if the layer
    /// accepts what the [FAPI 2.0 Security Profile](Self::with_fapi2_security_profile) excludes.
    ///
    /// The layer rejects every request with 500 in this case, and logs the reason as an error. Call this to fail at the
    /// start of the application instead.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] with the setting to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Some(contradiction) = self.settings.contradiction else {
            return Ok(());
        };
        let metadata = self.settings.metadata.as_ref();
        let metadata = metadata.filter(|_| contradiction.is_of_metadata);
        Err(ConfigError::Setting {
            setting: contradiction.setting,
            value: metadata.map_or_else(String::new, |one| one.resource().to_owned()),
            reason: contradiction.reason,
        })
    }

    /// Creates the response to a request that a service rejects itself, with the challenges of this layer: for a service
    /// that validates tokens with a [`Verifier`] and has no layer around it. Inside of a layer, use
    /// [`Refusal::respond_to`].
    ///
    /// The body is `R::default()`. The hook of [`on_refusal`](Self::on_refusal) is called, and the refusal is logged,
    /// counted, and inserted into the extensions of the response.
    pub fn refuse<B, R: Default>(&self, refusal: Refusal, request: &Request<B>) -> Response<R> {
        let response = self.settings.challenge.refuse(refusal, None, request);
        response.map(|()| R::default())
    }

    /// Changes a copy of the settings, because services that were already created share the current ones.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let settings = Arc::make_mut(&mut self.settings);
        change(settings);
        settings.apply_fapi2();
        settings.contradiction = settings.find_contradiction();
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl<C, S> Layer<S> for BearerLayer<C> {
    type Service = Bearer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Bearer::new(inner, Arc::clone(&self.settings))
    }
}

impl<C> Clone for BearerLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            claims: PhantomData,
        }
    }
}

impl<C> fmt::Debug for BearerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerLayer")
            .field("verifier", &self.settings.verifier)
            .field("optional", &self.settings.optional)
            .finish_non_exhaustive()
    }
}
