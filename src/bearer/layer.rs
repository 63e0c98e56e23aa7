//! [`BearerLayer`] and its settings.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use serde::de::DeserializeOwned;
use tower_layer::Layer;

use super::challenge_params::ChallengeParams;
use super::hook::{RefusalHook, RefusedRequest};
use super::metadata::LayerOrder;
use super::service::Bearer;
use super::token_source::TokenSource;
use crate::ConfigError;
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::Claims;
use crate::protocol::challenge::Realm;
use crate::token::{
    Audience, Bindings, Dpop, IntrospectionVerifier, JwtVerifier, TokenInfo, Verifier,
    VerifyErrorKind,
};

/// Validates access tokens and rejects requests without a valid one; see the [module documentation](super).
///
/// `C` is the type of the claims that handlers receive: [`Claims`] unless changed by [`with_claims`](Self::with_claims).
pub struct BearerLayer<C = Claims> {
    pub(super) settings: Arc<Settings<C>>,
}

pub(super) struct Settings<C> {
    pub(super) verifier: Verifier,
    pub(super) bindings: Bindings,
    pub(super) challenge: Arc<ChallengeParams>,
    pub(super) optional: bool,
    pub(super) private: bool,
    /// Sources of tokens beside `Authorization`.
    pub(super) token_sources: Vec<TokenSource>,
    /// Whether credentials are removed before the request reaches the inner service.
    pub(super) strip: bool,
    /// The members of `Vary` for the sources.
    pub(super) vary: Arc<[HeaderValue]>,
    /// Whether responses to tokens of the sources are kept out of shared caches.
    pub(super) protects_caches: bool,
    pub(super) layer_order: Option<LayerOrder>,
    pub(super) convert: Convert<C>,
}

/// Converts the claims to the type that handlers receive.
type Convert<C> = fn(&Arc<TokenInfo>) -> Result<Arc<C>, VerifyErrorKind>;

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
        let verifier = verifier.into();
        let challenge = ChallengeParams {
            clock: Arc::clone(verifier.clock()),
            ..ChallengeParams::default()
        };
        let settings = Settings {
            verifier,
            bindings: Bindings::default(),
            challenge: Arc::new(challenge),
            optional: false,
            private: false,
            token_sources: Vec::new(),
            strip: false,
            vary: Arc::new([]),
            protects_caches: true,
            layer_order: None,
            convert: |token_info| Ok(Arc::clone(&token_info.claims)),
        };
        Self {
            settings: Arc::new(settings),
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
        let settings = Settings {
            verifier: self
                .settings
                .verifier
                .clone()
                .with_claims_size(size_of::<T>()),
            bindings: self.settings.bindings.clone(),
            challenge: Arc::clone(&self.settings.challenge),
            optional: self.settings.optional,
            private: self.settings.private,
            token_sources: self.settings.token_sources.clone(),
            strip: self.settings.strip,
            vary: Arc::clone(&self.settings.vary),
            protects_caches: self.settings.protects_caches,
            layer_order: self.settings.layer_order.clone(),
            convert: |token_info| {
                token_info
                    .cache
                    .converted(|| read_as::<T>(&token_info.claims))
            },
        };
        BearerLayer {
            settings: Arc::new(settings),
        }
    }

    /// Changes a copy of the settings, because services that were already created share the current ones.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Settings<C>) -> T) -> T {
        change(Arc::make_mut(&mut self.settings))
    }
}

fn read_as<T: DeserializeOwned>(claims: &Claims) -> Result<T, VerifyErrorKind> {
    claims.deserialize().map_err(|error| {
        // The text of the error would contain personal data from the claim.
        let column = error.column();
        tracing::debug!(
            name: "claims_not_deserialized",
            target: "tower_oauth::bearer",
            column,
            "the claims cannot be deserialized as the application's type"
        );
        VerifyErrorKind::CustomClaims
    })
}

impl<C, S> Layer<S> for BearerLayer<C> {
    type Service = Bearer<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Bearer::new(inner, Arc::clone(&self.settings))
    }
}

impl<C> Clone for BearerLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<C> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            bindings: self.bindings.clone(),
            challenge: Arc::clone(&self.challenge),
            optional: self.optional,
            private: self.private,
            token_sources: self.token_sources.clone(),
            strip: self.strip,
            vary: Arc::clone(&self.vary),
            protects_caches: self.protects_caches,
            layer_order: self.layer_order.clone(),
            convert: self.convert,
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
