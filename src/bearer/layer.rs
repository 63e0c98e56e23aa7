//! [`BearerLayer`] and its settings.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use serde::de::DeserializeOwned;
use tower_layer::Layer;

use super::challenge_params::ChallengeParams;
use super::hook::{Hook, RefusedRequest};
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

/// Lets requests with a good access token through; see the [module](super).
///
/// `C` is the type that handlers get the claims as: [`Claims`] unless
/// [`with_claims`](Self::with_claims) says otherwise.
pub struct BearerLayer<C = Claims> {
    pub(super) settings: Arc<Settings<C>>,
}

pub(super) struct Settings<C> {
    pub(super) verifier: Verifier,
    pub(super) bindings: Bindings,
    pub(super) protection: Arc<ChallengeParams>,
    pub(super) optional: bool,
    pub(super) private: bool,
    /// Where else a token may be.
    pub(super) sources: Vec<TokenSource>,
    /// Whether the credentials go away before the inner service sees the request.
    pub(super) strip: bool,
    /// The names that `Vary` has for the sources.
    pub(super) vary: Arc<[HeaderValue]>,
    /// Whether responses to tokens of the sources are kept out of shared caches.
    pub(super) protects_caches: bool,
    pub(super) layer_order: Option<LayerOrder>,
    pub(super) convert: Convert<C>,
}

/// How the claims become what handlers get.
type Convert<C> = fn(&Arc<TokenInfo>) -> Result<Arc<C>, VerifyErrorKind>;

impl BearerLayer {
    /// Verifies access tokens that are JWTs, here: of this issuer, for this audience.
    ///
    /// Short for [`new`](Self::new) with a [`JwtVerifier`], which says what the defaults are and has
    /// the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] where the audience is empty.
    pub fn jwt(
        server: &AuthorizationServer,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        JwtVerifier::new(server, audience).map(Self::new)
    }

    /// Verifies access tokens, opaque ones and any other, by asking this server about them as this client
    /// (RFC 7662).
    ///
    /// Short for [`new`](Self::new) with an [`IntrospectionVerifier`], which says what the defaults are
    /// and has the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] where the audience is empty; [`ConfigError::Setting`] or
    /// [`ConfigError::Secret`] where the client cannot be one, or can prove nothing.
    pub fn introspect(
        server: &AuthorizationServer,
        client: Client,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        IntrospectionVerifier::new(server, client, audience).map(Self::new)
    }

    /// Verifies access tokens with this [`JwtVerifier`], or with a [`Verifier`] that combines several.
    ///
    /// Unless set otherwise the realm is `api`, and a token is required.
    pub fn new(verifier: impl Into<Verifier>) -> Self {
        let verifier = verifier.into();
        let protection = ChallengeParams {
            clock: verifier.clock(),
            ..ChallengeParams::default()
        };
        let settings = Settings {
            verifier,
            bindings: Bindings::default(),
            protection: Arc::new(protection),
            optional: false,
            private: false,
            sources: Vec::new(),
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
    /// The `realm` of the challenge, a name for people ([RFC 9110 §11.5]).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] where it is empty or holds a quote, a backslash, or anything that is
    /// not printable ASCII.
    ///
    /// [RFC 9110 §11.5]: https://www.rfc-editor.org/rfc/rfc9110#section-11.5
    pub fn with_realm(mut self, realm: &str) -> Result<Self, ConfigError> {
        let realm = Realm::new(realm).ok_or_else(|| ConfigError::Setting {
            setting: "realm",
            value: realm.to_owned(),
            reason: "it must be printable ASCII without quote and backslash, and not empty",
        })?;
        self.change(|settings| Arc::make_mut(&mut settings.protection).realm = realm);
        Ok(self)
    }

    /// Lets requests without credentials through, as anonymous. What *is* presented is validated all the
    /// same: a bad token is refused, never ignored.
    ///
    /// Refused as well, with 401 and the challenges of this layer: a token presented by a scheme that this layer does
    /// not accept (`DPoP` without [`with_dpop`](Self::with_dpop), `GNAP`, `PoP`, `MAC`, `OAuth`, a misspelt `Bearer`), a
    /// token without a scheme, and a `DPoP` proof without an access token. An access token behind other credentials in
    /// one field (`Basic YTpi, Bearer …`) gets 400, as two fields do. `Basic`, `Negotiate` and every other scheme
    /// may belong to another layer: such a request is anonymous here.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.change(|settings| settings.optional = true);
        self
    }

    /// Adds `Cache-Control: private` to answers to authenticated requests that have no
    /// `Cache-Control` of their own.
    #[must_use]
    pub fn with_private_responses(mut self) -> Self {
        self.change(|settings| settings.private = true);
        self
    }

    /// How much memory verdicts on JWTs may take: 32 MiB unless said otherwise.
    ///
    /// A token that was found good is not verified again while it is remembered, which makes a
    /// request many times cheaper. What is kept is its claims under a keyed digest, about 1 kB, never
    /// the token itself. At every request its times are read again, and it is forgotten when the key
    /// that verified it leaves the key set; scopes, proofs of possession and whatever else a request
    /// brings are judged every time. The bound is a hard one, but for claims of a type of one's own,
    /// which count with their size and that of their text.
    ///
    /// The `Debug` of the layer tells how much is remembered at the moment. Clones of the layer
    /// remember together; after this call it remembers apart from those made before.
    #[must_use]
    pub fn with_token_cache(mut self, max_bytes: usize) -> Self {
        self.change(|settings| settings.verifier.set_cache_size(max_bytes));
        self
    }

    /// Verifies the signature of every token at every request.
    #[must_use]
    pub fn without_token_cache(mut self) -> Self {
        self.change(|settings| settings.verifier.set_cache_size(0));
        self
    }

    /// Calls this for every refusal, of this layer and of the scope layers and extractors further in: for
    /// audit logs and counts of one's own. It runs in the request, before the answer: let it be quick.
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
        let hook = Hook::new(hook);
        self.change(|settings| Arc::make_mut(&mut settings.protection).on_refusal = hook);
        self
    }

    /// Takes access tokens that are bound to a key, by the scheme `DPoP` with a proof that the caller holds
    /// it ([RFC 9449]); see [`Dpop`]. Without it they are refused.
    ///
    /// [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
    #[must_use]
    pub fn with_dpop(mut self, dpop: Dpop) -> Self {
        self.change(|settings| {
            Arc::make_mut(&mut settings.protection)
                .offer_dpop(dpop.algorithms(), dpop.is_required());
            settings.bindings.dpop = Some(dpop);
        });
        self
    }

    /// Reads the claims as this type, for handlers that ask for `VerifiedToken<T>`.
    ///
    /// A token whose claims do not fit is refused with 401. Scopes, subject and times do not depend
    /// on the type.
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
            protection: Arc::clone(&self.settings.protection),
            optional: self.settings.optional,
            private: self.settings.private,
            sources: self.settings.sources.clone(),
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

    /// Settings are shared by the services made from them, so a change makes its own copy.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Settings<C>) -> T) -> T {
        change(Arc::make_mut(&mut self.settings))
    }
}

fn read_as<T: DeserializeOwned>(claims: &Claims) -> Result<T, VerifyErrorKind> {
    claims.deserialize().map_err(|error| {
        // The error's own text would show what the claim says of a person.
        let column = error.column();
        tracing::debug!(
            name: "claims_misfit",
            target: "tower_oauth::bearer",
            column,
            "the claims do not fit the application's type"
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
            protection: Arc::clone(&self.protection),
            optional: self.optional,
            private: self.private,
            sources: self.sources.clone(),
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
