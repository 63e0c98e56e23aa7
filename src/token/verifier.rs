//! [`Verifier`]: what a layer verifies the tokens of its requests with.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use super::error::VerifyError;
use super::introspection::IntrospectionVerifier;
use super::issuers::Issuers;
use super::jwt::JwtVerifier;
use super::lookup::IssuerLookup;
use super::verified::Verdict;
use crate::ConfigError;
use crate::clock::SharedClock;
use crate::crypto::base64url;

/// What a layer verifies tokens with: one issuer's JWTs, or a combination.
///
/// Made from the verifiers it combines; [`BearerLayer::new`](crate::BearerLayer::new) takes whatever
/// turns into one.
#[derive(Clone, Debug)]
pub struct Verifier {
    way: Way,
}

/// How a token finds who judges it.
#[derive(Clone, Debug)]
enum Way {
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
            way: Way::Introspection(verifier),
        }
    }
}

impl From<JwtVerifier> for Verifier {
    fn from(verifier: JwtVerifier) -> Self {
        Self {
            way: Way::Jwt(verifier),
        }
    }
}

impl From<IssuerLookup> for Verifier {
    fn from(lookup: IssuerLookup) -> Self {
        Self {
            way: Way::Lookup(lookup),
        }
    }
}

impl Verifier {
    /// JWTs and opaque tokens side by side: who judges a token is decided by its shape alone.
    ///
    /// Three segments of which the first is the base64url of a JSON object go to `jwt`, everything else is
    /// asked about. There is no second opinion: a JWT that is refused here is never introspected, and
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
        let jwt = jwt.into();
        Self {
            way: Way::ByShape(Arc::new(ByShape { jwt, opaque })),
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
        Ok(Self {
            way: Way::Issuers(Issuers::new(verifiers)?),
        })
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
            Way::Jwt(verifier) => Arc::clone(verifier.server().clock()),
            Way::Issuers(issuers) => Arc::clone(issuers.clock()),
            Way::Lookup(lookup) => Arc::clone(lookup.clock()),
            Way::Introspection(verifier) => Arc::clone(verifier.clock()),
            Way::ByShape(both) => both.jwt.clock(),
        }
    }

    /// The verdict, where it can be given without waiting.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Result<Arc<Verdict>, VerifyError>> {
        match &self.way {
            Way::Jwt(verifier) => verifier.at_hand(token),
            Way::Introspection(verifier) => verifier.at_hand(token),
            Way::ByShape(both) if is_jwt(token) => both.jwt.at_hand(token),
            Way::ByShape(both) => both.opaque.at_hand(token),
            Way::Issuers(issuers) => match issuers.judge_of(token) {
                Ok(verifier) => verifier.at_hand(token),
                Err(error) => Some(Err(error)),
            },
            Way::Lookup(lookup) => match lookup.judge_at_hand(token)? {
                Ok(verifier) => verifier.at_hand(token),
                Err(error) => Some(Err(error)),
            },
        }
    }

    /// Whether tokens for this resource are taken, as far as that is known (`P2`).
    pub(crate) fn serves(&self, resource: &str) -> bool {
        match &self.way {
            Way::Jwt(verifier) => verifier.audience().may_be(resource),
            Way::Introspection(verifier) => verifier.audience().may_be(resource),
            Way::ByShape(both) => {
                both.jwt.serves(resource) && both.opaque.audience().may_be(resource)
            }
            Way::Issuers(issuers) => issuers.serve(resource),
            // Who they are is not known yet.
            Way::Lookup(_) => true,
        }
    }

    /// The verdict, after whatever has to be asked of the authorization server.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Verdict>, VerifyError> {
        match &self.way {
            Way::Jwt(verifier) => verifier.verify(token).await,
            Way::Introspection(verifier) => verifier.verify(token).await,
            // A verifier may hold another, so its future cannot hold that one's in itself.
            Way::ByShape(both) if is_jwt(token) => Box::pin(both.jwt.verify(token)).await,
            Way::ByShape(both) => both.opaque.verify(token).await,
            Way::Issuers(issuers) => issuers.judge_of(token)?.verify(token).await,
            Way::Lookup(lookup) => lookup.judge_of(token).await?.verify(token).await,
        }
    }
}

/// Whether a token means to be a JWT, a good one or not (`I14`): a header that is only nearly right must
/// not send it the other way.
fn is_jwt(token: &str) -> bool {
    let mut segments = token.split('.');
    let header = segments.next().and_then(base64url::decode);
    let opens = |header: Vec<u8>| header.trim_ascii_start().first() == Some(&b'{');
    segments.count() == 2 && header.is_some_and(opens)
}
