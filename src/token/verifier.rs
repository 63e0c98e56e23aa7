//! [`Verifier`]: what a layer verifies the tokens of its requests with.

use std::sync::Arc;

use super::error::VerifyError;
use super::introspection::IntrospectionVerifier;
use super::jwt::JwtVerifier;
use super::verified::Verdict;
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

    /// The verdict, where it can be given without waiting.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Result<Arc<Verdict>, VerifyError>> {
        match &self.way {
            Way::Jwt(verifier) => verifier.at_hand(token),
            Way::Introspection(verifier) => verifier.at_hand(token),
            Way::ByShape(both) if is_jwt(token) => both.jwt.at_hand(token),
            Way::ByShape(both) => both.opaque.at_hand(token),
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
