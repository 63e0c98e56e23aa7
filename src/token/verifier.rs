//! [`Verifier`]: how a layer validates access tokens.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use super::cache::{CacheLookup, DEFAULT_BYTES, TokenCache};
use super::error::VerifyError;
use super::introspection::IntrospectionVerifier;
use super::issuers::Issuers;
use super::jwt::JwtVerifier;
use super::jwt::settings::JwtSettings;
use super::lookup::IssuerLookup;
use super::token_info::TokenInfo;
use super::verified::VerifiedToken;
use crate::ConfigError;
use crate::clock::{Now, SharedClock};
use crate::crypto::{CacheTag, base64url};
use crate::protocol::json::parse_object;
use crate::verification::Verification;

/// Validates the access tokens of a layer: JWTs of one issuer, opaque tokens, or a combination.
///
/// A [`JwtVerifier`], an [`IntrospectionVerifier`] and an [`IssuerLookup`] each convert into a `Verifier`,
/// so [`BearerLayer::new`](crate::BearerLayer::new) accepts them directly.
#[derive(Clone, Debug)]
pub struct Verifier {
    strategy: Strategy,
    cache: Option<Arc<TokenCache>>,
    /// The size of the application's claims type, if it has one.
    claims_size: Option<usize>,
}

/// Which verifier validates a token.
#[derive(Clone, Debug)]
enum Strategy {
    Jwt(JwtVerifier),
    Introspection(IntrospectionVerifier),
    ByShape(Arc<ByShape>),
    Issuers(Issuers),
    Lookup(IssuerLookup),
}

/// Validates JWTs with one verifier and introspects all other tokens.
#[derive(Clone, Debug)]
struct ByShape {
    jwt: Verifier,
    opaque: IntrospectionVerifier,
}

impl From<IntrospectionVerifier> for Verifier {
    fn from(verifier: IntrospectionVerifier) -> Self {
        Self {
            strategy: Strategy::Introspection(verifier),
            // The introspection verifier has its own cache, with the lifetimes of introspection responses.
            cache: None,
            claims_size: None,
        }
    }
}

impl From<JwtVerifier> for Verifier {
    fn from(verifier: JwtVerifier) -> Self {
        Self::with_cache(Strategy::Jwt(verifier))
    }
}

impl From<IssuerLookup> for Verifier {
    fn from(lookup: IssuerLookup) -> Self {
        Self::with_cache(Strategy::Lookup(lookup))
    }
}

impl Verifier {
    fn with_cache(strategy: Strategy) -> Self {
        Self {
            strategy,
            cache: TokenCache::new(DEFAULT_BYTES, None).map(Arc::new),
            claims_size: None,
        }
    }

    /// Replaces the cache with an empty one of this size.
    pub(crate) fn set_cache_size(&mut self, max_bytes: usize) {
        self.cache = TokenCache::new(max_bytes, self.claims_size).map(Arc::new);
    }

    /// Replaces the cache with an empty one that also stores claims of a type of this size.
    pub(crate) fn with_claims_size(mut self, size: usize) -> Self {
        self.claims_size = Some(size);
        let max_bytes = self.cache.as_ref().map_or(0, |cache| cache.max_bytes());
        self.set_cache_size(max_bytes);
        self
    }

    /// Creates a verifier that validates JWTs with `jwt` and introspects all other tokens with `opaque`.
    ///
    /// The shape of the token alone decides: a token of at least three segments whose first is the base64url
    /// of a JSON object goes to `jwt`. Every other token is introspected, including an encrypted JWT (five
    /// segments, `enc` in the header). There is no fallback: a JWT that `jwt` rejects is not introspected, and
    /// a token that the authorization server does not know is not read as a JWT.
    ///
    /// ```
    /// use tower_oauth::token::{IntrospectionVerifier, JwtVerifier, Verifier};
    /// use tower_oauth::{AuthorizationServer, BearerLayer, Client};
    ///
    /// let server = AuthorizationServer::new("https://id.example.com")?;
    /// let client = Client::confidential("orders-api", "a secret from the environment");
    /// let audience = "https://api.example.com";
    /// let layer = BearerLayer::new(Verifier::jwt_or_opaque(
    ///     JwtVerifier::new(&server, audience)?,
    ///     IntrospectionVerifier::new(&server, client, audience)?,
    /// ));
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    pub fn jwt_or_opaque(jwt: impl Into<Self>, opaque: IntrospectionVerifier) -> Self {
        let mut jwt = jwt.into();
        // The combination looks tokens up before it dispatches them, so the cache moves to it.
        let cache = jwt.cache.take();
        Self {
            strategy: Strategy::ByShape(Arc::new(ByShape { jwt, opaque })),
            cache,
            claims_size: None,
        }
    }

    /// Creates a verifier for the tokens of several issuers.
    ///
    /// Each issuer has its own verifier, with its own keys, audience, algorithms, profile and scope mapping
    /// ([RFC 8725 §3.8]). The `iss` of a token only selects the verifier, which validates it again. Tokens of
    /// other issuers are rejected without a fetch.
    ///
    /// ```
    /// use tower_oauth::token::{JwtVerifier, ScopeClaim, TokenProfile, Verifier};
    /// use tower_oauth::{AuthorizationServer, BearerLayer};
    ///
    /// let staff = AuthorizationServer::new("https://sso.example.com/realms/staff")?;
    /// let partners = AuthorizationServer::new("https://partners.example.com")?;
    /// let layer = BearerLayer::new(Verifier::issuers([
    ///     JwtVerifier::new(&staff, "orders")?
    ///         .with_profile(TokenProfile::Keycloak)
    ///         .with_scopes_from([ScopeClaim::nested(["realm_access", "roles"])])?,
    ///     JwtVerifier::new(&partners, "https://api.example.com")?,
    /// ])?);
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// Identify users by issuer and subject together: two issuers may use the same `sub`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty, and [`ConfigError::Issuer`] if two verifiers have the
    /// same issuer. One verifier can accept several audiences.
    ///
    /// [RFC 8725 §3.8]: https://www.rfc-editor.org/rfc/rfc8725#section-3.8
    pub fn issuers(verifiers: impl IntoIterator<Item = JwtVerifier>) -> Result<Self, ConfigError> {
        Issuers::new(verifiers)
            .map(Strategy::Issuers)
            .map(Self::with_cache)
    }

    /// Creates a verifier that looks issuers up when their first token arrives.
    ///
    /// Short for an [`IssuerLookup`], which documents caching and the requirements on both functions.
    pub fn lookup<F, E>(
        allow: impl Fn(&str) -> bool + Send + Sync + 'static,
        lookup: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Option<JwtVerifier>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        IssuerLookup::new(allow, lookup).into()
    }

    /// Validates a token that did not arrive in a request, such as one in a message of a queue or a WebSocket.
    ///
    /// Uses the cache of this verifier, which its clones share. Waits for keys, an issuer lookup or an introspection
    /// request if one is required, at most 5 seconds for each.
    ///
    /// ```
    /// use tower_oauth::AuthorizationServer;
    /// use tower_oauth::token::{JwtVerifier, Verifier};
    ///
    /// let server = AuthorizationServer::new("https://id.example.com")?;
    /// let verifier = Verifier::from(JwtVerifier::new(&server, "https://api.example.com")?);
    ///
    /// /// Returns whether the sender of a message may place orders.
    /// async fn may_order(verifier: &Verifier, token: &str) -> bool {
    ///     let token = verifier.verify(token).await;
    ///     token.is_ok_and(|token| token.scopes().contains("orders:write"))
    /// }
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Not checked
    ///
    /// As for [`JwtVerifier::verify`].
    ///
    /// # Errors
    ///
    /// As for [`JwtVerifier::verify`].
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let verification = self.cached_or_verify(token);
        VerifiedToken::without_request(verification.outcome().await?, token, &**self.clock())
    }

    fn cached_or_verify(&self, token: &str) -> Verification<Result<Arc<TokenInfo>, VerifyError>> {
        let now = Now::new(self.clock());
        match self.lookup_cached(token.as_bytes(), &now) {
            CacheLookup::Hit(token_info) => Verification::Ready(Ok(token_info)),
            CacheLookup::Miss(tag) => self.verify_at(token, tag, &now),
        }
    }

    /// Returns the clock that the times of tokens are compared with.
    pub(crate) fn clock(&self) -> &SharedClock {
        match &self.strategy {
            Strategy::Jwt(verifier) => verifier.server().clock(),
            Strategy::Issuers(issuers) => issuers.clock(),
            Strategy::Lookup(lookup) => lookup.clock(),
            Strategy::Introspection(verifier) => verifier.clock(),
            Strategy::ByShape(both) => both.jwt.clock(),
        }
    }

    /// Looks up a credential in the cache. The bytes need not be checked before.
    pub(crate) fn lookup_cached(&self, token: &[u8], now: &Now<'_>) -> CacheLookup {
        let Some(cache) = &self.cache else {
            return CacheLookup::Miss(None);
        };
        let mut strategy = &self.strategy;
        while let Strategy::ByShape(both) = strategy {
            strategy = &both.jwt.strategy;
        }
        let is_current = |verifier: &Arc<JwtSettings>| match strategy {
            Strategy::Lookup(lookup) => lookup.is_current(verifier, now),
            // Other verifiers are fixed by the configuration.
            _ => true,
        };
        cache.lookup(token, is_current, now)
    }

    /// Validates a token that is not cached, and caches it under `tag`: immediately unless it requires a fetch of keys,
    /// an issuer lookup or an introspection request.
    pub(crate) fn verify_at(
        &self,
        token: &str,
        tag: Option<CacheTag>,
        now: &Now<'_>,
    ) -> Verification<Result<Arc<TokenInfo>, VerifyError>> {
        let verification = self.validate(token, now);
        let (Some(cache), Some(tag)) = (&self.cache, tag) else {
            return verification;
        };
        let cache = Arc::clone(cache);
        verification.map(move |result| result.inspect(|token_info| cache.insert(tag, token_info)))
    }

    fn validate(
        &self,
        token: &str,
        now: &Now<'_>,
    ) -> Verification<Result<Arc<TokenInfo>, VerifyError>> {
        match &self.strategy {
            Strategy::Jwt(verifier) => verifier.verify_at(token, now),
            Strategy::Introspection(verifier) => verifier.verify_at(token, now),
            Strategy::ByShape(both) if is_jwt(token) => both.jwt.validate(token, now),
            Strategy::ByShape(both) => both.opaque.verify_at(token, now),
            Strategy::Issuers(issuers) => match issuers.verifier_for(token) {
                Ok(verifier) => verifier.verify_at(token, now),
                Err(error) => Verification::Ready(Err(error)),
            },
            Strategy::Lookup(lookup) => match lookup.verifier_for(token, now) {
                Verification::Ready(Ok(verifier)) => verifier.verify_at(token, now),
                Verification::Ready(Err(error)) => Verification::Ready(Err(error)),
                Verification::Pending(verifier) => {
                    let token = token.to_owned();
                    Verification::pending(async move {
                        let verifier = verifier.await?;
                        let now = Now::new(verifier.server().clock());
                        let verification = verifier.verify_at(&token, &now);
                        verification.outcome().await
                    })
                }
            },
        }
    }

    /// Returns whether tokens for this resource can be accepted. Returns `true` if this is not known before a
    /// token arrives.
    pub(crate) fn accepts_resource(&self, resource: &str) -> bool {
        match &self.strategy {
            Strategy::Jwt(verifier) => verifier.audience().accepts_resource(resource),
            Strategy::Introspection(verifier) => verifier.audience().accepts_resource(resource),
            Strategy::ByShape(both) => {
                both.jwt.accepts_resource(resource)
                    && both.opaque.audience().accepts_resource(resource)
            }
            Strategy::Issuers(issuers) => issuers.accepts_resource(resource),
            Strategy::Lookup(_) => true,
        }
    }
}

/// Returns whether a token has the shape of a JWT, valid or not.
///
/// A malformed JWT must not be introspected: authorization servers parse more leniently, and some ignore
/// segments after the third.
fn is_jwt(token: &str) -> bool {
    let mut segments = token.split('.');
    let header = segments.next().and_then(base64url::decode);
    let is_object = |header: &Vec<u8>| header.trim_ascii_start().first() == Some(&b'{');
    let (Some(header), others) = (header.filter(is_object), segments.count()) else {
        return false;
    };
    // RFC 7516 §9: a JWE, which this crate does not decrypt.
    let is_encrypted = || parse_object(&header).is_ok_and(|header| header.member("enc").is_some());
    others >= 2 && !(others == 4 && is_encrypted())
}

mod fapi2;
#[cfg(feature = "testing")]
#[cfg(test)]
mod tests;
