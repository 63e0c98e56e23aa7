//! [`Verifier`]: what a layer verifies the tokens of its requests with.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use super::error::VerifyError;
use super::issuers::Issuers;
use super::jwt::JwtVerifier;
use super::lookup::IssuerLookup;
use super::verified::Verdict;
use crate::ConfigError;
use crate::clock::SharedClock;

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
    Issuers(Issuers),
    Lookup(IssuerLookup),
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
        }
    }

    /// The verdict, where it can be given without waiting.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Result<Arc<Verdict>, VerifyError>> {
        match &self.way {
            Way::Jwt(verifier) => verifier.at_hand(token),
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

    /// The verdict, after whatever has to be asked of the authorization server.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Verdict>, VerifyError> {
        match &self.way {
            Way::Jwt(verifier) => verifier.verify(token).await,
            Way::Issuers(issuers) => issuers.judge_of(token)?.verify(token).await,
            Way::Lookup(lookup) => lookup.judge_of(token).await?.verify(token).await,
        }
    }
}
