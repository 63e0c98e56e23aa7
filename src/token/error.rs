//! Why a token was not accepted, with all that is known: for the log, never for the caller.

use super::dpop::ProofError;
use crate::crypto::JwsError;
use crate::issuer::Unavailable;
use crate::store::StoreError;

/// Why a token was not accepted.
///
/// It is for logs and for tests: the caller gets one of a few fixed sentences. A layer puts it into
/// the extensions of the refusal it answers with.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct VerifyError {
    kind: VerifyErrorKind,
    #[source]
    outage: Option<Outage>,
}

/// Who could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
enum Outage {
    #[error(transparent)]
    Server(Unavailable),
    #[error(transparent)]
    Store(StoreError),
}

/// The kind of a [`VerifyError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// Longer than a token may be.
    #[error("the token is longer than the limit")]
    TooLong,
    /// Not a JWS in compact serialization, or its JSON is not strict.
    #[error("the token is malformed")]
    Malformed,
    /// `alg` is missing, unknown or not allowed here.
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// The header has `crit`, `b64`, `zip`, or says that the content is itself a JWT.
    #[error("the header has an extension that is not understood")]
    Extension,
    /// `typ` is not one that the profile takes.
    #[error("the token is of another type")]
    Type,
    /// `iss` is missing or of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// The key set has no key of this id.
    #[error("the key is unknown")]
    UnknownKey,
    /// The key of this id may not verify this algorithm.
    #[error("the key is not for this algorithm")]
    UnfitKey,
    /// No key id, or one that several keys have, and more than one key would do.
    #[error("several keys would do")]
    AmbiguousKey,
    /// The signature is not one of the key.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing or has the wrong type.
    #[error("a claim is missing or of the wrong type")]
    Claims,
    /// The time in `exp` has come.
    #[error("the token has expired")]
    Expired,
    /// `iat` is longer ago than the layer allows.
    #[error("the token was issued too long ago")]
    TooOld,
    /// The time in `nbf` or `iat` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` is missing or names others only.
    #[error("the token is for another audience")]
    Audience,
    /// It is an ID token, or lacks what marks an access token in this profile.
    #[error("the token is not marked as an access token")]
    NotAnAccessToken,
    /// It is bound to a key (`cnf`), and the proof cannot be checked here.
    #[error("the token is bound to a key")]
    Bound,
    /// It is bound to nothing and has to be: it came by the scheme `DPoP`, or the layer takes only tokens
    /// that are bound to a certificate.
    #[error("the token is not bound to a key")]
    NotBound,
    /// The proof of possession beside the token is not good.
    #[error("the DPoP proof is not accepted: {0}")]
    DpopProof(ProofError),
    /// The proof is good, and of another key than the one the token is bound to.
    #[error("the DPoP proof is of another key")]
    DpopKey,
    /// The proof has no nonce of ours, or one that is too old.
    #[error("the DPoP proof has no fresh nonce of ours")]
    DpopNonce,
    /// A proof came beside a token by the scheme `Bearer`.
    #[error("a DPoP proof came beside a bearer token")]
    StrayDpopProof,
    /// It came by the scheme `Bearer` where only `DPoP` is taken.
    #[error("only tokens by the scheme DPoP are taken")]
    DpopRequired,
    /// The claims do not fit the application's own type.
    #[error("the claims do not fit the application's type")]
    CustomClaims,
    /// The authorization server says that the token is not active: expired, revoked, or not one of its
    /// own.
    #[error("the token is not active")]
    Inactive,
    /// The keys could not be had, or the authorization server could not be asked. Not the caller's fault.
    #[error("the authorization server is unavailable")]
    Unavailable,
    /// The store of seen proofs is full or could not be asked. Not the caller's fault.
    #[error("the store of seen proofs is unavailable")]
    StoreUnavailable,
}

impl VerifyError {
    /// What went wrong.
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// The outage behind [`VerifyErrorKind::Unavailable`].
    pub(crate) fn unavailable(&self) -> Option<&Unavailable> {
        match &self.outage {
            Some(Outage::Server(unavailable)) => Some(unavailable),
            _ => None,
        }
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self { kind, outage: None }
    }
}

impl From<Unavailable> for VerifyError {
    fn from(unavailable: Unavailable) -> Self {
        Self {
            kind: VerifyErrorKind::Unavailable,
            outage: Some(Outage::Server(unavailable)),
        }
    }
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> Self {
        Self {
            kind: VerifyErrorKind::StoreUnavailable,
            outage: Some(Outage::Store(error)),
        }
    }
}

impl From<JwsError> for VerifyError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Malformed => VerifyErrorKind::Malformed,
            JwsError::Algorithm => VerifyErrorKind::Algorithm,
            JwsError::Extension => VerifyErrorKind::Extension,
        }
        .into()
    }
}
