//! [`Refusal`], the reason of a rejection, and its conversion to what is sent.

use std::time::Duration;

use http::StatusCode;

use crate::protocol::BearerErrorCode;
use crate::protocol::challenge::is_plain;
use crate::token::{ProofError, VerifyError, VerifyErrorKind};

/// States why a request was rejected; the layers leave it in the extensions of the response.
///
/// [`BearerLayer`](crate::BearerLayer), [`ScopeLayer`](crate::ScopeLayer) and the other layers of this module insert it
/// into the extensions of the response. Its `Display` and `Debug` output is more detailed than the response: do not send
/// it to callers. [`status`](Self::status), [`error`](Self::error) and [`message`](Self::message) return what was sent.
///
/// A service that rejects requests itself creates the response with [`respond_to`](Self::respond_to), or with
/// [`BearerLayer::refuse`](crate::BearerLayer::refuse) if there is no layer around it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request has no credentials, or credentials with a scheme that another layer may handle: 401.
    #[error("no credentials")]
    NoCredentials,
    /// An access token was presented in a way that this layer does not accept, such as the scheme `DPoP` without
    /// [`with_dpop`](crate::BearerLayer::with_dpop), or a DPoP proof was presented without a token: 401.
    #[error("unsupported credentials: {found}")]
    UnsupportedCredentials {
        /// The kind of credentials, and the setting that accepts it. Contains no text of the caller.
        found: &'static str,
    },
    /// The credentials are malformed, or there is more than one: 400.
    #[error("malformed or repeated credentials")]
    InvalidRequest,
    /// `Trailer` or `TE` names a header field that the layer removes from requests: 400.
    #[error(
        "`Trailer` or `TE` names a header field that this layer removes; add a StripTrailersLayer outside of it to remove \
         such trailers"
    )]
    ForbiddenTrailer,
    /// The token is invalid (401), or could not be verified during an outage (503).
    #[error(transparent)]
    Token(VerifyError),
    /// The token is valid and does not grant a required scope: 403.
    #[error("the scope {required:?} is required")]
    InsufficientScope {
        /// The required scopes, space-separated.
        required: String,
    },
    /// The token is valid, and its claims do not meet a condition of a [`Policy`](super::Policy): 403.
    #[error(
        "a policy is not met: {description}{}",
        required.as_ref().map_or_else(String::new, |required| format!(": {required}"))
    )]
    #[non_exhaustive]
    Policy {
        /// The `error_description` of the response.
        description: &'static str,
        /// The required role and its claim, or the type of the authorization detail: logged and never sent. `None` for
        /// a condition of the application.
        required: Option<String>,
    },
    /// The token is valid, and the authentication of its user is too old or too weak for a
    /// [`Policy`](super::Policy::and_acr): 401.
    #[error(
        "a more recent or stronger authentication is required: acr {}, max_age {}",
        acr_values.as_deref().unwrap_or("any"),
        max_age.map_or_else(|| "any".to_owned(), |age| age.as_secs().to_string())
    )]
    #[non_exhaustive]
    InsufficientUserAuthentication {
        /// The required authentication context classes, space-separated, in order of preference.
        acr_values: Option<String>,
        /// The maximum age of the authentication, in whole seconds.
        max_age: Option<Duration>,
    },
    /// [`MethodScopesLayer`](super::MethodScopesLayer) does not list the method: 403 for every caller.
    #[error("the method is not listed")]
    UnlistedMethod,
    /// `RouteScopesLayer` does not list the route: 403 for every caller.
    #[error("the route {route:?} is not listed; add it to the RouteScopesLayer")]
    #[non_exhaustive]
    UnlistedRoute {
        /// The method and the pattern of the route.
        route: String,
    },
    /// A layer or an extractor has no outer `BearerLayer` or expects other claims than it, or two settings of the
    /// `BearerLayer` contradict each other ([`check`](crate::BearerLayer::check)): 500.
    #[error("{0}")]
    MissingLayer(&'static str),
}

impl Refusal {
    /// Returns the status of the response. A gRPC caller also receives the corresponding `grpc-status`, and only that
    /// behind [`BearerLayer::with_grpc`](crate::BearerLayer::with_grpc).
    pub fn status(&self) -> StatusCode {
        wire_refusal(self).status
    }

    /// Returns the `error` of the challenge, if credentials were validated.
    pub fn error(&self) -> Option<BearerErrorCode> {
        wire_refusal(self).error
    }

    /// Returns the `error_description` of the challenge, one of a fixed set of texts.
    pub fn message(&self) -> &'static str {
        wire_refusal(self).message
    }
}

/// The part of a refusal that is sent to the caller.
pub(super) struct WireRefusal {
    pub(super) status: StatusCode,
    /// Whether the response has challenges: if credentials are missing or were validated.
    pub(super) has_challenges: bool,
    pub(super) error: Option<BearerErrorCode>,
    pub(super) retry_after: Option<Duration>,
    /// For `error_description`, `grpc-message` and problem details.
    pub(super) message: &'static str,
}

/// Converts a refusal to what is sent. No other code decides about status, error code and message.
pub(super) fn wire_refusal(refusal: &Refusal) -> WireRefusal {
    let with_error = |status, code, message| WireRefusal {
        status,
        has_challenges: true,
        error: Some(code),
        retry_after: None,
        message,
    };
    match refusal {
        // RFC 6750 §3.1: no error code if the request has no credentials.
        Refusal::NoCredentials => WireRefusal {
            status: StatusCode::UNAUTHORIZED,
            has_challenges: true,
            error: None,
            retry_after: None,
            message: "an access token is required",
        },
        // RFC 6750 §3.1: no error code after an unsupported authentication method either.
        Refusal::UnsupportedCredentials { .. } => WireRefusal {
            status: StatusCode::UNAUTHORIZED,
            has_challenges: true,
            error: None,
            retry_after: None,
            message: "unsupported credentials",
        },
        Refusal::InvalidRequest => with_error(
            StatusCode::BAD_REQUEST,
            BearerErrorCode::InvalidRequest,
            "malformed or repeated credentials",
        ),
        Refusal::ForbiddenTrailer => with_error(
            StatusCode::BAD_REQUEST,
            BearerErrorCode::InvalidRequest,
            "the request announces a forbidden trailer field",
        ),
        // The token was not validated, so it must not be reported as invalid: clients discard tokens on 401.
        Refusal::Token(error) if error.kind() == VerifyErrorKind::Unavailable => WireRefusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            has_challenges: false,
            error: None,
            retry_after: error
                .unavailable()
                .map(crate::issuer::Unavailable::retry_after),
            message: "access tokens cannot be validated right now",
        },
        // Neither: nor can the client correct it.
        Refusal::Token(error) if error.kind() == VerifyErrorKind::Configuration => WireRefusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            has_challenges: false,
            error: None,
            retry_after: None,
            message: "this API is not configured to validate access tokens",
        },
        // Whether the proof is a replay is unknown, so there is no error code either.
        Refusal::Token(error) if error.kind() == VerifyErrorKind::StoreUnavailable => WireRefusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            has_challenges: false,
            error: None,
            retry_after: Some(Duration::from_secs(1)),
            message: "DPoP proofs cannot be validated right now",
        },
        Refusal::Token(error) => with_error(
            StatusCode::UNAUTHORIZED,
            code(error.kind()),
            description(error.kind()),
        ),
        Refusal::InsufficientScope { .. } => with_error(
            StatusCode::FORBIDDEN,
            BearerErrorCode::InsufficientScope,
            "the access token lacks a required scope",
        ),
        Refusal::Policy { description, .. } => with_error(
            StatusCode::FORBIDDEN,
            BearerErrorCode::InsufficientScope,
            // An application can create this value, too.
            Some(*description)
                .filter(|text| is_description(text))
                .unwrap_or("the access token does not meet a condition"),
        ),
        // RFC 9470 §3: 401, because the client has to obtain a new token.
        Refusal::InsufficientUserAuthentication { .. } => with_error(
            StatusCode::UNAUTHORIZED,
            BearerErrorCode::InsufficientUserAuthentication,
            "a more recent or stronger authentication is required",
        ),
        // `insufficient_scope` would make clients request scopes that cannot help.
        Refusal::UnlistedMethod | Refusal::UnlistedRoute { .. } => WireRefusal {
            status: StatusCode::FORBIDDEN,
            has_challenges: false,
            error: None,
            retry_after: None,
            message: "method not allowed",
        },
        Refusal::MissingLayer(message) => WireRefusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            has_challenges: false,
            error: None,
            retry_after: None,
            message,
        },
    }
}

/// Returns whether a text can be sent in header fields unescaped, as `error_description` and `grpc-message`.
pub(super) fn is_description(text: &str) -> bool {
    !text.is_empty() && is_plain(text) && !text.contains('%')
}

/// RFC 9449 §7.1, §9: an invalid proof has another error code than an invalid token.
fn code(kind: VerifyErrorKind) -> BearerErrorCode {
    match kind {
        VerifyErrorKind::DpopProof(_) => BearerErrorCode::InvalidDpopProof,
        VerifyErrorKind::DpopNonce => BearerErrorCode::UseDpopNonce,
        _ => BearerErrorCode::InvalidToken,
    }
}

/// Returns the `error_description`. The texts are fixed, so that a response never contains text of the caller.
fn description(kind: VerifyErrorKind) -> &'static str {
    match kind {
        VerifyErrorKind::Expired | VerifyErrorKind::TooOld => "the access token has expired",
        VerifyErrorKind::Inactive => "the access token is not active",
        VerifyErrorKind::NotYetValid => "the access token is not valid yet",
        VerifyErrorKind::Audience => "the access token is for a different audience",
        VerifyErrorKind::Issuer => "the access token was issued by a different issuer",
        VerifyErrorKind::UnknownKey
        | VerifyErrorKind::UnfitKey
        | VerifyErrorKind::AmbiguousKey
        | VerifyErrorKind::Signature => "the signature of the access token cannot be verified",
        VerifyErrorKind::Type | VerifyErrorKind::NotAnAccessToken => {
            "the token is not an access token"
        }
        VerifyErrorKind::Bound => "proof of possession is missing",
        VerifyErrorKind::NotBound => "the access token is not sender-constrained",
        VerifyErrorKind::DpopKey => "the access token is bound to a different key",
        VerifyErrorKind::StrayDpopProof => "a DPoP proof requires the DPoP authentication scheme",
        VerifyErrorKind::DpopRequired => "the DPoP authentication scheme is required",
        VerifyErrorKind::DpopNonce => "the DPoP proof must contain the nonce of this response",
        VerifyErrorKind::DpopProof(flaw) => match flaw {
            ProofError::Missing => "the DPoP proof is missing",
            ProofError::Repeated => "more than one DPoP proof",
            ProofError::Method | ProofError::Target | ProofError::AmbiguousTarget(_) => {
                "the DPoP proof is for a different request"
            }
            ProofError::Time => "the DPoP proof was not created recently",
            ProofError::Token => "the DPoP proof is for a different access token",
            ProofError::Replayed => "the DPoP proof was already used",
            _ => "the DPoP proof is malformed or unsupported",
        },
        VerifyErrorKind::TooLong
        | VerifyErrorKind::Malformed
        | VerifyErrorKind::Algorithm
        | VerifyErrorKind::Extension
        | VerifyErrorKind::Claims
        | VerifyErrorKind::CustomClaims
        | VerifyErrorKind::Unavailable
        | VerifyErrorKind::Configuration
        | VerifyErrorKind::StoreUnavailable => "the access token is malformed or unsupported",
    }
}
