//! [`Verifier`]: what a layer verifies the tokens of its requests with.

use std::sync::Arc;

use super::error::VerifyError;
use super::jwt::JwtVerifier;
use super::remembered::{DEFAULT_BYTES, Remembered};
use super::verified::Verdict;

/// What a layer verifies tokens with: one issuer's JWTs, or a combination.
///
/// Made from the verifiers it combines; [`BearerLayer::new`](crate::BearerLayer::new) takes whatever
/// turns into one.
#[derive(Clone, Debug)]
pub struct Verifier {
    way: Way,
    remembered: Option<Arc<Remembered>>,
    /// The size of the application's own type for claims, where it has one.
    claims_size: Option<usize>,
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
            remembered: Remembered::new(DEFAULT_BYTES, None).map(Arc::new),
            claims_size: None,
        }
    }
}

impl Verifier {
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

    /// The verdict, where it can be given without waiting.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Result<Arc<Verdict>, VerifyError>> {
        let Some(remembered) = &self.remembered else {
            return self.judge_at_hand(token);
        };
        let name = remembered.name(token);
        if let Some(verdict) = name.as_ref().and_then(|name| remembered.recall(name)) {
            return Some(Ok(verdict));
        }
        let judged = self.judge_at_hand(token)?;
        if let (Some(name), Ok(verdict)) = (name, &judged) {
            remembered.keep(name, verdict);
        }
        Some(judged)
    }

    /// The verdict, after whatever has to be asked of the authorization server.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Verdict>, VerifyError> {
        let verdict = self.judge(token).await?;
        if let Some(remembered) = &self.remembered
            && let Some(name) = remembered.name(token)
        {
            remembered.keep(name, &verdict);
        }
        Ok(verdict)
    }

    fn judge_at_hand(&self, token: &str) -> Option<Result<Arc<Verdict>, VerifyError>> {
        match &self.way {
            Way::Jwt(verifier) => verifier.at_hand(token),
        }
    }

    async fn judge(&self, token: &str) -> Result<Arc<Verdict>, VerifyError> {
        match &self.way {
            Way::Jwt(verifier) => verifier.verify(token).await,
        }
    }
}
