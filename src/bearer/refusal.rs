//! What we know of a refusal, and what we say of it.

use std::time::Duration;

use http::StatusCode;

use super::challenge_params::ChallengeParams;
use crate::protocol::challenge::Challenge;
use crate::protocol::credentials::Scheme;
use crate::protocol::{BearerErrorCode, ScopeSet};
use crate::token::{ProofError, VerifyError, VerifyErrorKind};

/// Why a request was refused, for outer layers and logs.
///
/// [`BearerLayer`](crate::BearerLayer) and [`ScopeLayer`](crate::ScopeLayer) put it into the extensions
/// of the response they refuse with. Printed, it says more than the caller was told: do not send it on.
/// [`status`](Self::status), [`error`](Self::error) and [`message`](Self::message) are what was said.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No credentials, or of a scheme that is not ours: 401.
    #[error("no credentials")]
    NoCredentials,
    /// An access token presented in a way that this layer does not accept, such as the scheme `DPoP` without
    /// [`with_dpop`](crate::BearerLayer::with_dpop); or a DPoP proof without a token: 401.
    #[error("credentials that this layer does not accept: {found}")]
    UnsupportedCredentials {
        /// What was presented, and the setting that accepts it; none of the caller's text.
        found: &'static str,
    },
    /// Credentials that cannot be read, or more than one: 400.
    #[error("the credentials cannot be read, or there is more than one")]
    InvalidRequest,
    /// `Trailer` or `TE` names a header field that the layer removes from what callers send: 400.
    #[error(
        "`Trailer` or `TE` names a header field that this layer removes; a StripTrailersLayer outside of it would remove \
         such trailers"
    )]
    ForbiddenTrailer,
    /// The token was judged, or could not be: 401, or 503 during an outage.
    #[error("the token was refused")]
    Token(#[source] VerifyError),
    /// The token is good and grants too little: 403.
    #[error("the scope {needed:?} was needed")]
    InsufficientScope {
        /// What would have been enough.
        needed: String,
    },
    /// The token is good, and its claims do not meet a condition of a [`Policy`](super::Policy): 403.
    #[error("a policy is not met: {sentence}")]
    Policy {
        /// What the caller is told.
        sentence: &'static str,
    },
    /// The token is good, and its user signed in too long ago or not strongly enough
    /// ([`StepUpLayer`](super::StepUpLayer)): 401.
    #[error("the user must sign in again, or more strongly")]
    InsufficientUserAuthentication,
    /// [`MethodScopesLayer`](super::MethodScopesLayer) do not list the method: 403 for everybody.
    #[error("the method is not listed")]
    UnlistedMethod,
    /// A `ScopeLayer` or an extractor stands where no `BearerLayer` has been: 500.
    #[error("{0}")]
    MissingLayer(&'static str),
}

impl Refusal {
    /// The status it is answered with. A gRPC caller gets the code that stands for it as well, and only that behind
    /// [`BearerLayer::with_grpc`](crate::BearerLayer::with_grpc).
    pub fn status(&self) -> StatusCode {
        answer(self).status
    }

    /// The code in the challenge, where credentials were judged.
    pub fn error(&self) -> Option<BearerErrorCode> {
        answer(self).error
    }

    /// The sentence for the caller: one of a few that never change.
    pub fn message(&self) -> &'static str {
        answer(self).message
    }
}

/// What a challenge asks for beyond a token.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChallengeHints<'a> {
    pub(crate) scope: Option<&'a ScopeSet>,
    pub(crate) acr_values: Option<&'a str>,
    /// In seconds.
    pub(crate) max_age: Option<u64>,
}

/// What leaves the process: a status, and what may be said beside it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Whether the credentials were judged, or are missing: then there are challenges.
    pub(super) challenged: bool,
    pub(super) error: Option<BearerErrorCode>,
    pub(super) retry_after: Option<Duration>,
    /// For the challenge, for gRPC callers and for a person who reads a log.
    pub(super) message: &'static str,
}

impl Answer {
    /// A challenge for each scheme that is offered; the error stands on the one that was used (`C8`).
    pub(super) fn challenges<'a>(
        &self,
        protection: &'a ChallengeParams,
        used: Option<Scheme>,
        demand: ChallengeHints<'a>,
    ) -> impl Iterator<Item = Challenge<'a>> {
        let error = self.error.map(|code| (code, self.message));
        let offers = protection.schemes.iter().filter(|_| self.challenged);
        offers.map(move |offer| {
            let tells = used.is_none_or(|used| used == offer.scheme);
            let mut demand = if tells {
                demand
            } else {
                ChallengeHints::default()
            };
            if tells && self.status == StatusCode::UNAUTHORIZED {
                demand.scope = demand.scope.or(protection.scope_hint.as_ref());
            }
            Challenge {
                scheme: offer.scheme,
                realm: &protection.realm,
                error: error.filter(|_| tells),
                scope: demand.scope,
                acr_values: demand.acr_values,
                max_age: demand.max_age,
                algorithms: offer.algorithms.as_deref(),
                resource_metadata: protection.resource_metadata.as_deref(),
            }
        })
    }
}

/// The one place that turns what we know into what we say.
pub(super) fn answer(refusal: &Refusal) -> Answer {
    let judged = |status, code, message| Answer {
        status,
        challenged: true,
        error: Some(code),
        retry_after: None,
        message,
    };
    match refusal {
        // RFC 6750 §3.1: without credentials no error code (`C4`).
        Refusal::NoCredentials => Answer {
            status: StatusCode::UNAUTHORIZED,
            challenged: true,
            error: None,
            retry_after: None,
            message: "an access token is needed",
        },
        // RFC 6750 §3.1: no error code after "an unsupported authentication method" either.
        Refusal::UnsupportedCredentials { .. } => Answer {
            status: StatusCode::UNAUTHORIZED,
            challenged: true,
            error: None,
            retry_after: None,
            message: "credentials of this kind are not accepted",
        },
        Refusal::InvalidRequest => judged(
            StatusCode::BAD_REQUEST,
            BearerErrorCode::InvalidRequest,
            "the credentials cannot be read, or there is more than one",
        ),
        Refusal::ForbiddenTrailer => judged(
            StatusCode::BAD_REQUEST,
            BearerErrorCode::InvalidRequest,
            "a trailer field of this name is not accepted",
        ),
        // Not judged: no error code, or clients would throw good tokens away (`C7`).
        Refusal::Token(error) if error.kind() == VerifyErrorKind::Unavailable => Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            challenged: false,
            error: None,
            retry_after: error
                .unavailable()
                .map(crate::issuer::Unavailable::retry_after),
            message: "access tokens cannot be verified at the moment",
        },
        // Whether the proof was shown before is not known: no error code either (`D21`).
        Refusal::Token(error) if error.kind() == VerifyErrorKind::StoreUnavailable => Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            challenged: false,
            error: None,
            retry_after: Some(Duration::from_secs(1)),
            message: "proofs of possession cannot be checked at the moment",
        },
        Refusal::Token(error) => judged(
            StatusCode::UNAUTHORIZED,
            code(error.kind()),
            description(error.kind()),
        ),
        Refusal::InsufficientScope { .. } => judged(
            StatusCode::FORBIDDEN,
            BearerErrorCode::InsufficientScope,
            "the access token does not grant the scope that is needed",
        ),
        Refusal::Policy { sentence } => judged(
            StatusCode::FORBIDDEN,
            BearerErrorCode::InsufficientScope,
            sentence,
        ),
        // RFC 9470 §3: 401, since the way out is to sign in again (`C11`).
        Refusal::InsufficientUserAuthentication => judged(
            StatusCode::UNAUTHORIZED,
            BearerErrorCode::InsufficientUserAuthentication,
            "the user must sign in again, or more strongly",
        ),
        // No scope would do, and a client that was told so would go and ask for one.
        Refusal::UnlistedMethod => Answer {
            status: StatusCode::FORBIDDEN,
            challenged: false,
            error: None,
            retry_after: None,
            message: "nobody may call this method",
        },
        Refusal::MissingLayer(message) => Answer {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            challenged: false,
            error: None,
            retry_after: None,
            message,
        },
    }
}

/// RFC 9449 §7.1, §9: what is wrong with the proof is told apart from what is wrong with the token
/// (`D22`).
fn code(kind: VerifyErrorKind) -> BearerErrorCode {
    match kind {
        VerifyErrorKind::DpopProof(_) => BearerErrorCode::InvalidDpopProof,
        VerifyErrorKind::DpopNonce => BearerErrorCode::UseDpopNonce,
        _ => BearerErrorCode::InvalidToken,
    }
}

/// The fixed sentences of a refused token (`A18`).
fn description(kind: VerifyErrorKind) -> &'static str {
    match kind {
        VerifyErrorKind::Expired | VerifyErrorKind::TooOld => "the access token has expired",
        VerifyErrorKind::Inactive => "the access token is not active",
        VerifyErrorKind::NotYetValid => "the access token is not valid yet",
        VerifyErrorKind::Audience => "the access token is for another audience",
        VerifyErrorKind::Issuer => "the access token is of another issuer",
        VerifyErrorKind::UnknownKey
        | VerifyErrorKind::UnfitKey
        | VerifyErrorKind::AmbiguousKey
        | VerifyErrorKind::Signature => "the signature of the access token cannot be verified",
        VerifyErrorKind::Type | VerifyErrorKind::NotAnAccessToken => {
            "the token is not an access token"
        }
        VerifyErrorKind::Bound => "the access token is bound to a key that was not shown",
        VerifyErrorKind::NotBound => "the access token is not bound to a key",
        VerifyErrorKind::DpopKey => "the access token is bound to another key",
        VerifyErrorKind::StrayDpopProof => "a DPoP proof does not go with the scheme Bearer",
        VerifyErrorKind::DpopRequired => "the access token must come by the scheme DPoP",
        VerifyErrorKind::DpopNonce => "the DPoP proof must hold the nonce of this answer",
        VerifyErrorKind::DpopProof(flaw) => match flaw {
            ProofError::Missing => "a DPoP proof is needed",
            ProofError::Repeated => "there is more than one DPoP proof",
            ProofError::Method | ProofError::Target | ProofError::AmbiguousTarget(_) => {
                "the DPoP proof is for another request"
            }
            ProofError::Time => "the DPoP proof is not of this moment",
            ProofError::Token => "the DPoP proof is for another access token",
            ProofError::Replayed => "the DPoP proof was used before",
            _ => "the DPoP proof is malformed or unsupported",
        },
        VerifyErrorKind::TooLong
        | VerifyErrorKind::Malformed
        | VerifyErrorKind::Algorithm
        | VerifyErrorKind::Extension
        | VerifyErrorKind::Claims
        | VerifyErrorKind::CustomClaims
        | VerifyErrorKind::Unavailable
        | VerifyErrorKind::StoreUnavailable => "the access token is malformed or unsupported",
    }
}
