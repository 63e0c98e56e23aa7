//! The kinds of reasons why tokens are rejected.

use super::dpop::ProofError;
use crate::telemetry::RejectedToken;

/// The kind of a [`VerifyError`](super::VerifyError).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// The token exceeds the length limit of 16 KiB.
    #[error("the token exceeds the length limit")]
    TooLong,
    /// The token is not a JWS in compact serialization, or its JSON is not strict.
    #[error("the token is malformed")]
    Malformed,
    /// `alg` is missing, unknown or not allowed.
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// The header has `crit`, `b64` or `zip`, or states that the payload is a nested JWT.
    #[error("the header has an unsupported extension")]
    Extension,
    /// The profile does not accept the `typ`.
    #[error("the token has another type")]
    Type,
    /// `iss` is missing or does not match.
    #[error("the issuer does not match")]
    Issuer,
    /// The key set has no key with this `kid`.
    #[error("the key is not in the key set")]
    UnknownKey,
    /// The key with this `kid` cannot be used with the algorithm.
    #[error("the key cannot be used with the algorithm")]
    UnfitKey,
    /// The token has no `kid`, or one that several keys share, and more than one key is suitable.
    #[error("more than one key is suitable")]
    AmbiguousKey,
    /// The signature does not verify with the key.
    #[error("the signature is invalid")]
    Signature,
    /// A claim is missing or has the wrong type.
    #[error("a claim is missing or has the wrong type")]
    Claims,
    /// The current time is at or after `exp` plus the leeway.
    #[error("the token has expired")]
    Expired,
    /// `iat` is older than the configured maximum age.
    #[error("the token was issued too long ago")]
    TooOld,
    /// The current time plus the leeway is before `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` is missing or does not match.
    #[error("the audience does not match")]
    Audience,
    /// The token is an ID token, or lacks the mark of an access token in this profile.
    #[error("the token is not marked as an access token")]
    NotAnAccessToken,
    /// The token is bound to a key or a certificate (`cnf`), and the request does not prove possession of it, or the
    /// proof cannot be checked.
    #[error("proof of possession is missing")]
    Bound,
    /// The token is not sender-constrained, although the `DPoP` scheme or the configuration requires it.
    #[error("the token is not sender-constrained")]
    NotBound,
    /// The DPoP proof is not valid.
    #[error("the DPoP proof was rejected: {0}")]
    DpopProof(ProofError),
    /// The DPoP proof is valid, but its key is not the one that the token is bound to.
    #[error("the DPoP proof has another key than the token")]
    DpopKey,
    /// The DPoP proof has no nonce of this server, or an expired one.
    #[error("the DPoP proof has no current nonce")]
    DpopNonce,
    /// The request has a DPoP proof and a token with the `Bearer` scheme.
    #[error("a DPoP proof was sent with a bearer token")]
    StrayDpopProof,
    /// The request has the `Bearer` scheme, and only `DPoP` is accepted.
    #[error("the DPoP scheme is required")]
    DpopRequired,
    /// The claims cannot be deserialized into the application's type.
    #[error("the claims do not match the application's type")]
    CustomClaims,
    /// The authorization server states that the token is not active: expired, revoked, or issued by another server.
    #[error("the token is not active")]
    Inactive,
    /// The keys could not be fetched, or the token could not be introspected. Not the client's fault.
    #[error("the authorization server is unavailable")]
    Unavailable,
    /// As `Unavailable`, but a retry cannot succeed: this application is not configured as the authorization server
    /// requires. Not the client's fault.
    #[error("the authorization server and this application are not configured for each other")]
    Configuration,
    /// The replay store is full or unavailable. Not the client's fault.
    #[error("the replay store is unavailable")]
    StoreUnavailable,
}

impl VerifyErrorKind {
    /// Returns the label of this kind in metrics and log events.
    pub(crate) fn counter(self) -> RejectedToken {
        match self {
            Self::TooLong => RejectedToken::TooLong,
            Self::Malformed => RejectedToken::Malformed,
            Self::Algorithm => RejectedToken::Algorithm,
            Self::Extension => RejectedToken::Extension,
            Self::Type => RejectedToken::Type,
            Self::Issuer => RejectedToken::Issuer,
            Self::UnknownKey => RejectedToken::UnknownKey,
            Self::UnfitKey => RejectedToken::UnfitKey,
            Self::AmbiguousKey => RejectedToken::AmbiguousKey,
            Self::Signature => RejectedToken::Signature,
            Self::Claims => RejectedToken::Claims,
            Self::Expired => RejectedToken::Expired,
            Self::TooOld => RejectedToken::TooOld,
            Self::NotYetValid => RejectedToken::NotYetValid,
            Self::Audience => RejectedToken::Audience,
            Self::NotAnAccessToken => RejectedToken::NotAnAccessToken,
            Self::Bound => RejectedToken::Bound,
            Self::NotBound => RejectedToken::NotBound,
            Self::DpopProof(_) => RejectedToken::DpopProof,
            Self::DpopKey => RejectedToken::DpopKey,
            Self::DpopNonce => RejectedToken::DpopNonce,
            Self::StrayDpopProof => RejectedToken::StrayDpopProof,
            Self::DpopRequired => RejectedToken::DpopRequired,
            Self::CustomClaims => RejectedToken::CustomClaims,
            Self::Inactive => RejectedToken::Inactive,
            Self::Unavailable => RejectedToken::Unavailable,
            Self::Configuration => RejectedToken::Configuration,
            Self::StoreUnavailable => RejectedToken::StoreUnavailable,
        }
    }
}
