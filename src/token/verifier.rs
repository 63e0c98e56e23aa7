//! [`Verifier`]: what a layer verifies the tokens of its requests with.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use super::cache::{DEFAULT_BYTES, Remembered};
use super::error::VerifyError;
use super::introspection::IntrospectionVerifier;
use super::issuers::Issuers;
use super::jwt::JwtVerifier;
use super::lookup::IssuerLookup;
use super::verified::TokenInfo;
use crate::ConfigError;
use crate::clock::SharedClock;
use crate::crypto::{CacheTag, base64url};
use crate::protocol::json::parse_object;

/// What a layer verifies tokens with: one issuer's JWTs, or a combination.
///
/// Made from the verifiers it combines; [`BearerLayer::new`](crate::BearerLayer::new) takes whatever
/// turns into one.
#[derive(Clone, Debug)]
pub struct Verifier {
    way: Strategy,
    remembered: Option<Arc<Remembered>>,
    /// The size of the application's own type for claims, where it has one.
    claims_size: Option<usize>,
}

/// How a token finds who judges it.
#[derive(Clone, Debug)]
enum Strategy {
    Jwt(JwtVerifier),
    Introspection(IntrospectionVerifier),
    ByShape(Arc<ByShape>),
    Issuers(Issuers),
    Lookup(IssuerLookup),
}

/// JWTs to one, everything else to the other.
#[derive(Debug)]
struct ByShape {
    jwt: Verifier,
    opaque: IntrospectionVerifier,
}

impl From<IntrospectionVerifier> for Verifier {
    fn from(verifier: IntrospectionVerifier) -> Self {
        Self {
            way: Strategy::Introspection(verifier),
            // What was introspected is remembered with its answer, for as long as that may be.
            remembered: None,
            claims_size: None,
        }
    }
}

/// What the memory has of a token.
pub(crate) enum CacheLookup {
    Good(Arc<TokenInfo>),
    /// Nothing; the name is what it may be kept under.
    Nothing(Option<CacheTag>),
}

impl From<JwtVerifier> for Verifier {
    fn from(verifier: JwtVerifier) -> Self {
        Self::with_memory(Strategy::Jwt(verifier))
    }
}

impl From<IssuerLookup> for Verifier {
    fn from(lookup: IssuerLookup) -> Self {
        Self::with_memory(Strategy::Lookup(lookup))
    }
}

impl Verifier {
    fn with_memory(way: Strategy) -> Self {
        Self {
            way,
            remembered: Remembered::new(DEFAULT_BYTES, None).map(Arc::new),
            claims_size: None,
        }
    }

    /// Begins a new memory of verdicts, of this size.
    pub(crate) fn remember_up_to(&mut self, max_bytes: usize) {
        self.remembered = Remembered::new(max_bytes, self.claims_size).map(Arc::new);
    }

    /// Begins a new memory, of the same size, in which claims are kept as a type of this size.
    pub(crate) fn for_claims_of(mut self, size: usize) -> Self {
        self.claims_size = Some(size);
        let max_bytes = self.remembered.as_ref().map_or(0, |one| one.max_bytes());
        self.remember_up_to(max_bytes);
        self
    }

    /// JWTs and opaque tokens side by side: who judges a token is decided by its shape alone.
    ///
    /// Three segments or more, of which the first is the base64url of a JSON object, go to `jwt`; everything
    /// else is asked about, an encrypted JWT (five segments, `enc` in the header) too. There is no second opinion: a JWT that is refused here is never introspected, and
    /// what the authorization server does not know is never read as a JWT.
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
        // One memory for both, at the front.
        let remembered = jwt.remembered.take();
        Self {
            way: Strategy::ByShape(Arc::new(ByShape { jwt, opaque })),
            remembered,
            claims_size: None,
        }
    }

    /// Tokens of several issuers, each judged by its own verifier: its keys, audience, algorithms,
    /// profile and scope mapping, and nobody else's (RFC 8725 §3.8). What a token says of its issuer
    /// only chooses the verifier; one of any other issuer is refused without a fetch.
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
    /// A user is known by issuer and subject together: two issuers may use the same `sub`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty list, and [`ConfigError::Issuer`] for two verifiers of one
    /// issuer: several audiences go into one of them.
    pub fn issuers(verifiers: impl IntoIterator<Item = JwtVerifier>) -> Result<Self, ConfigError> {
        Issuers::new(verifiers)
            .map(Strategy::Issuers)
            .map(Self::with_memory)
    }

    /// Tokens of issuers that are looked up when they are needed; short for an [`IssuerLookup`], which
    /// says what is remembered and what the two functions owe.
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

    /// The clock that tokens are judged by.
    pub(crate) fn clock(&self) -> SharedClock {
        match &self.way {
            Strategy::Jwt(verifier) => Arc::clone(verifier.server().clock()),
            Strategy::Issuers(issuers) => Arc::clone(issuers.clock()),
            Strategy::Lookup(lookup) => Arc::clone(lookup.clock()),
            Strategy::Introspection(verifier) => Arc::clone(verifier.clock()),
            Strategy::ByShape(both) => both.jwt.clock(),
        }
    }

    /// What is remembered of a token, if it is one at all: nobody has to have looked.
    pub(crate) fn recall(&self, token: &[u8]) -> CacheLookup {
        let Some(remembered) = &self.remembered else {
            return CacheLookup::Nothing(None);
        };
        let name = remembered.name(token);
        let known = name
            .as_ref()
            .and_then(|name| remembered.recall(name, |judge| self.is_current(judge)));
        known.map_or(CacheLookup::Nothing(name), CacheLookup::Good)
    }

    /// The token_info on a token that was not remembered, where it can be given without waiting.
    pub(crate) fn at_hand(
        &self,
        token: &str,
        name: Option<CacheTag>,
    ) -> Option<Result<Arc<TokenInfo>, VerifyError>> {
        let judged = self.judge_at_hand(token)?;
        if let (Some(remembered), Some(name), Ok(token_info)) = (&self.remembered, name, &judged) {
            remembered.keep(name, token_info);
        }
        Some(judged)
    }

    /// The token_info, after whatever has to be asked of the authorization server.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<TokenInfo>, VerifyError> {
        let token_info = self.judge(token).await?;
        if let Some(remembered) = &self.remembered
            && let Some(name) = remembered.name(token.as_bytes())
        {
            remembered.keep(name, &token_info);
        }
        Ok(token_info)
    }

    /// Whether a token of its issuer would still come before this verifier.
    fn is_current(&self, judge: &JwtVerifier) -> bool {
        match &self.way {
            Strategy::Lookup(lookup) => lookup.is_current(judge),
            Strategy::ByShape(both) => both.jwt.is_current(judge),
            // Who they are was said at the start.
            Strategy::Jwt(_) | Strategy::Issuers(_) | Strategy::Introspection(_) => true,
        }
    }

    fn judge_at_hand(&self, token: &str) -> Option<Result<Arc<TokenInfo>, VerifyError>> {
        match &self.way {
            Strategy::Jwt(verifier) => verifier.at_hand(token),
            Strategy::Introspection(verifier) => verifier.verify_now(token),
            Strategy::ByShape(both) if is_jwt(token) => both.jwt.judge_at_hand(token),
            Strategy::ByShape(both) => both.opaque.verify_now(token),
            Strategy::Issuers(issuers) => match issuers.verifier_for(token) {
                Ok(verifier) => verifier.at_hand(token),
                Err(error) => Some(Err(error)),
            },
            Strategy::Lookup(lookup) => match lookup.cached_verifier_for(token)? {
                Ok(verifier) => verifier.at_hand(token),
                Err(error) => Some(Err(error)),
            },
        }
    }

    /// Whether tokens for this resource are taken, as far as that is known (`P2`).
    pub(crate) fn accepts_resource(&self, resource: &str) -> bool {
        match &self.way {
            Strategy::Jwt(verifier) => verifier.audience().may_be(resource),
            Strategy::Introspection(verifier) => verifier.audience().may_be(resource),
            Strategy::ByShape(both) => {
                both.jwt.accepts_resource(resource) && both.opaque.audience().may_be(resource)
            }
            Strategy::Issuers(issuers) => issuers.serve(resource),
            // Who they are is not known yet.
            Strategy::Lookup(_) => true,
        }
    }

    async fn judge(&self, token: &str) -> Result<Arc<TokenInfo>, VerifyError> {
        match &self.way {
            Strategy::Jwt(verifier) => verifier.verify(token).await,
            Strategy::Introspection(verifier) => verifier.verify(token).await,
            // A verifier may hold another, so its future cannot hold that one's in itself.
            Strategy::ByShape(both) if is_jwt(token) => Box::pin(both.jwt.judge(token)).await,
            Strategy::ByShape(both) => both.opaque.verify(token).await,
            Strategy::Issuers(issuers) => issuers.verifier_for(token)?.verify(token).await,
            Strategy::Lookup(lookup) => lookup.verifier_for(token).await?.verify(token).await,
        }
    }
}

/// Whether a token means to be a JWT, a good one or not (`I14`). One that is only nearly right must not go
/// the other way: servers read more freely, and some pass over segments behind the third.
fn is_jwt(token: &str) -> bool {
    let mut segments = token.split('.');
    let header = segments.next().and_then(base64url::decode);
    let opens = |header: &Vec<u8>| header.trim_ascii_start().first() == Some(&b'{');
    let (Some(header), others) = (header.filter(opens), segments.count()) else {
        return false;
    };
    // RFC 7516 §9: a JWE, which is nothing that can be read here.
    let is_encrypted = || parse_object(&header).is_ok_and(|header| header.member("enc").is_some());
    others >= 2 && !(others == 4 && is_encrypted())
}
