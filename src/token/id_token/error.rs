//! The reasons why ID tokens are rejected, each with a stable code.

use crate::issuer::Unavailable;
use crate::token::error::VerifyErrorKind;
use crate::token::explanation::Explanation;

/// Why an ID token was rejected.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum IdTokenError {
    #[error("the key set is unavailable")]
    Unavailable(#[source] Unavailable),
    #[error("{0}")]
    Token(VerifyErrorKind),
    #[error("sub is missing, empty, too long or not ASCII")]
    Subject,
    #[error("aud is missing, malformed or does not name this client")]
    Audience,
    #[error("aud has several values, and azp is missing")]
    NoAuthorizedParty,
    #[error("aud has untrusted additional values")]
    UntrustedAudience,
    #[error("azp does not match the client")]
    AuthorizedParty,
    #[error("exp is missing or malformed")]
    Expiry,
    #[error("iat is missing or malformed")]
    IssuedAt,
    #[error("iat is in the future")]
    IssuedLater,
    #[error("iat is too old for a login")]
    IssuedLongAgo,
    #[error("nbf is malformed")]
    NotBefore,
    #[error("nonce is missing")]
    NoNonce,
    #[error("nonce does not match the login")]
    Nonce,
    #[error("nonce is present, and none was sent")]
    UnexpectedNonce,
    #[error("at_hash does not match the access token")]
    AccessTokenHash,
    #[error("c_hash does not match the code")]
    CodeHash,
    #[error("s_hash does not match the state")]
    StateHash,
    #[error("auth_time is missing or malformed")]
    AuthTime,
    #[error("auth_time is older than max_age allows")]
    AuthenticatedLongAgo,
    #[error("acr is not one of the requested values")]
    AuthenticationContext,
    #[error("a claim is missing or does not have a value that the login requested in `claims`")]
    RequestedClaim,
    #[error("sub does not match the login")]
    OtherSubject,
    #[error("auth_time does not match the login")]
    OtherAuthTime,
    /// With what was found and expected, and the setting that changes it.
    #[error("{error}: {explanation}")]
    Explained {
        error: Box<Self>,
        explanation: Explanation,
    },
}

impl IdTokenError {
    pub(super) fn explained(self, explanation: Explanation) -> Self {
        Self::Explained {
            error: Box::new(self),
            explanation,
        }
    }

    /// Returns the stable code of the reason, for logs and error pages.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "keys_unavailable",
            Self::Token(kind) => match kind {
                VerifyErrorKind::TooLong => "id_token_too_long",
                VerifyErrorKind::Algorithm => "id_token_algorithm",
                VerifyErrorKind::Extension => "id_token_extension",
                VerifyErrorKind::Type => "id_token_type",
                VerifyErrorKind::Issuer => "id_token_issuer",
                VerifyErrorKind::UnknownKey => "id_token_key_unknown",
                VerifyErrorKind::UnfitKey => "id_token_key_unfit",
                VerifyErrorKind::AmbiguousKey => "id_token_key_ambiguous",
                VerifyErrorKind::Signature => "id_token_signature",
                VerifyErrorKind::Claims => "id_token_claims",
                VerifyErrorKind::Expired => "id_token_expired",
                VerifyErrorKind::NotYetValid => "id_token_not_yet_valid",
                _ => "id_token_malformed",
            },
            Self::Subject => "id_token_subject",
            Self::Audience => "id_token_audience",
            Self::NoAuthorizedParty => "id_token_no_authorized_party",
            Self::UntrustedAudience => "id_token_untrusted_audience",
            Self::AuthorizedParty => "id_token_authorized_party",
            Self::Expiry => "id_token_expiry",
            Self::IssuedAt => "id_token_issued_at",
            Self::IssuedLater => "id_token_issued_later",
            Self::IssuedLongAgo => "id_token_issued_long_ago",
            Self::NotBefore => "id_token_not_before",
            Self::NoNonce => "id_token_no_nonce",
            Self::Nonce => "id_token_nonce",
            Self::UnexpectedNonce => "id_token_unexpected_nonce",
            Self::AccessTokenHash => "id_token_access_token_hash",
            Self::CodeHash => "id_token_code_hash",
            Self::StateHash => "id_token_state_hash",
            Self::AuthTime => "id_token_auth_time",
            Self::AuthenticatedLongAgo => "id_token_authenticated_long_ago",
            Self::AuthenticationContext => "id_token_authentication_context",
            Self::RequestedClaim => "id_token_requested_claim",
            Self::OtherSubject => "id_token_other_subject",
            Self::OtherAuthTime => "id_token_other_auth_time",
            Self::Explained { error, .. } => error.code(),
        }
    }

    /// Returns whether the token is forged, of another issuer, of another user or for another client. The tokens of the
    /// same response must then not be used (OpenID Connect Core §12.2).
    ///
    /// Any other error says only that this ID token is of no use, such as one that has expired.
    pub(super) fn forbids_other_tokens(&self) -> bool {
        match self {
            Self::Explained { error, .. } => error.forbids_other_tokens(),
            Self::Token(kind) => matches!(
                kind,
                VerifyErrorKind::Issuer
                    | VerifyErrorKind::Signature
                    | VerifyErrorKind::Algorithm
                    | VerifyErrorKind::Extension
            ),
            Self::Subject
            | Self::OtherSubject
            | Self::Audience
            | Self::NoAuthorizedParty
            | Self::UntrustedAudience
            | Self::AuthorizedParty
            | Self::Nonce
            | Self::UnexpectedNonce
            | Self::AccessTokenHash => true,
            _ => false,
        }
    }
}
