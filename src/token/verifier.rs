//! [`Verifier`]: what a layer verifies the tokens of its requests with.

use std::sync::Arc;

use super::error::VerifyError;
use super::jwt::JwtVerifier;
use super::verified::Verdict;

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
}

impl From<JwtVerifier> for Verifier {
    fn from(verifier: JwtVerifier) -> Self {
        Self {
            way: Way::Jwt(verifier),
        }
    }
}

impl Verifier {
    /// The verdict, where it can be given without waiting.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Result<Arc<Verdict>, VerifyError>> {
        match &self.way {
            Way::Jwt(verifier) => verifier.at_hand(token),
        }
    }

    /// The verdict, after whatever has to be asked of the authorization server.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Verdict>, VerifyError> {
        match &self.way {
            Way::Jwt(verifier) => verifier.verify(token).await,
        }
    }
}
